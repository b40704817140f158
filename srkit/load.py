"""Moved to srkit.loading."""

from srkit.loading import *  # noqa: F403
