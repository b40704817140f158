"""The tests of srkit itself see no plugin but what ships, and what a test installs."""

import pytest

from tests.server import server

__all__ = ["server"]


@pytest.fixture(autouse=True)
def only_built_ins(apart: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SRKIT_PLUGINS", "")
