"""The trained weights that ship with srkit: `weights/weights.toml` says all of each file."""

import tomllib
from functools import cache
from importlib.resources import files
from typing import Any

from srkit import Weights

FOLDER = "weights"  # of this package; benchmarks/ship_weights.py writes it


@cache
def listed() -> list[dict[str, Any]]:
    """The tables of `weights.toml`, one a file."""
    text = files("srkit_builtin").joinpath(FOLDER, "weights.toml").read_text(encoding="utf-8")
    tables: list[dict[str, Any]] = tomllib.loads(text).get("weights", [])
    return tables


def shipped(model: str) -> list[Weights]:
    """The weights of a model, as records."""
    return [
        Weights(
            scales=tuple(each["scales"]),
            resource=f"srkit_builtin:{FOLDER}/{each['file']}",
            preset=each["preset"],
            tag=each["tag"],
            sha256=each["sha256"],
            claims=each["claims"],
            licence=each["licence"],
            trained_on=each["trained_on"],
        )
        for each in listed()
        if each["model"] == model
    ]
