"""The conformance kit as a pytest plugin: the fixture `srkit_check`."""

from collections.abc import Callable
from pathlib import Path

import pytest


@pytest.fixture
def srkit_check() -> Callable[..., None]:
    """srkit_check("model", "tiny"): fail with every fault the kit finds, each with what to change."""
    from srkit.plugins import load_plugins
    from srkit.testing.kit import check

    def run(kind: str, name: str, root: Path | None = None) -> None:
        registry = load_plugins()
        faults = [f for f in check(registry, kind, name, root) if f.outcome == "fault"]
        if faults:
            pytest.fail("\n".join(f"{f.check}: {f.text}\n    {f.advice}" for f in faults), pytrace=False)

    return run
