"""The published contract: a name or field that disappears from it does so on purpose."""

import dataclasses
import inspect
import json
from pathlib import Path

import srkit
from srkit import hookspecs
from srkit.components import KINDS

RECORDED = Path(__file__).with_name("api_surface.json")


def surface() -> dict:
    """Public names, hooks, and the fields of the records."""
    data = [srkit.Archive, srkit.Layout, srkit.Reading, srkit.Weights, srkit.Pair, srkit.Batch]
    records = [record for record, _ in KINDS.values()] + data
    hooks = [name for name in vars(hookspecs) if name.startswith("srkit_")]
    return {
        "names": sorted(srkit.__all__),
        "hooks": {name: str(inspect.signature(getattr(hookspecs, name))) for name in sorted(hooks)},
        "records": {r.__name__: [f.name for f in dataclasses.fields(r)] for r in records},
    }


def test_the_surface_is_the_recorded_one():
    """After a deliberate change: python tests/core/test_api_surface.py"""
    assert surface() == json.loads(RECORDED.read_text())


def test_all_is_sorted_and_true():
    assert list(srkit.__all__) == sorted(srkit.__all__)
    for name in srkit.__all__:
        assert getattr(srkit, name) is not None
    assert callable(srkit.imresize)


if __name__ == "__main__":
    RECORDED.write_text(json.dumps(surface(), indent=2) + "\n")
