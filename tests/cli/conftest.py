"""Small trained things for command-line tests."""

from pathlib import Path

import pytest

from srkit.cli import run

SMALL = [
    "--set",
    "model.n_resblocks=1",
    "--set",
    "model.n_feats=4",
    "--set",
    "batch=4",
    "--set",
    "patch=16",
    "--set",
    "lr=1e-3",
    "--set",
    "precision=fp32",  # alike on every machine
]


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory, cache: Path) -> Path:
    """The folder of a finished run of a very small EDSR x2 on the samples."""
    out = tmp_path_factory.mktemp("trained") / "run"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SRKIT_CACHE", str(cache))
        assert run(["train", "--model", "edsr", *SMALL, "--steps", "60", "--out", str(out)]) == 0
    return out
