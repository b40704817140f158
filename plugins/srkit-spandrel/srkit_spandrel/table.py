"""The architectures as data: `models.toml` for what a listing needs, `options.toml` for what an option means."""

import tomllib
from functools import cache
from importlib.resources import files
from importlib.util import find_spec
from typing import Any

EXTRA = "spandrel_extra_arches"  # the package with the architectures under restrictive licences
#: what the authors of a network's code allow, where it was not read from their own repository
PERMISSIVE = "permissive, as all code in spandrel"


@cache
def rows() -> dict[str, dict[str, Any]]:
    """The rows of models.toml by name; models.toml explains the keys."""
    return {row["name"]: row for row in toml("models.toml")["model"]}


def offered() -> list[dict[str, Any]]:
    """The rows whose code is installed, or comes with spandrel. Nothing is imported for it."""
    extra = find_spec(EXTRA) is not None
    return [row for row in rows().values() if extra or not row.get("extra")]


def left_out() -> dict[str, str]:
    """Architectures of spandrel that are no srkit models, by their id, and why."""
    return dict(toml("models.toml")["left_out"])


@cache
def toml(name: str) -> dict[str, Any]:
    return tomllib.loads(files(__package__).joinpath(name).read_text(encoding="utf-8"))
