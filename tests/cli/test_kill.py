"""kill -9 at a random moment, resume, and the weights are those of the run that was never killed."""

import os
import random
from pathlib import Path

import pytest

from srkit.checkpoint import read_tensors
from srkit.cli import run
from tests.processes import Running

from .conftest import SMALL

TIMES = int(os.environ.get("SRKIT_TEST_KILLS", "1"))  # per mode
STEPS = 100
#: how many ranks, and the settings
MODES = {
    "average": (1, ["ema=0.95", "clip=1.0", "optimizer=adamw", "schedule=cosine"]),
    "accumulation": (1, ["accumulate=2", "precision=bf16", "make_low_res=device"]),
    "mixup": (1, ["augmentation=[{name='dihedral'}, {name='mixup'}, {name='colour-jitter'}]"]),
    "two ranks": (2, ["ema=0.95", "augmentation=[{name='dihedral'}, {name='mixup'}]"]),
}


def finish(ranks: int, *words: object) -> None:
    """Here, where one process does: it need not import torch again."""
    if ranks == 1:
        assert run(["train", *map(str, words)]) == 0
        return
    code, said = Running("train", *words, ranks=ranks).finish()
    assert code == 0, said


@pytest.mark.parametrize("mode", MODES)
def test_killed_and_resumed_equals_uninterrupted(tmp_path: Path, mode: str):
    ranks, settings = MODES[mode]
    chance = random.Random(mode)
    words = [*SMALL, "--device", "cpu", "--steps", str(STEPS), "--set", "validate_every=40", "--save-every", "0.05s"]
    words += [word for setting in settings for word in ("--set", setting)]
    finish(ranks, *words, "--out", "whole")
    expected = read_tensors(tmp_path / "whole" / "last.safetensors")
    for number in range(TIMES):
        out = tmp_path / f"killed-{number}"
        killed = Running("train", *words, "--out", out, ranks=ranks)
        reached = killed.kill_at(chance.randrange(1, STEPS), out)
        finish(ranks, "--resume", out)
        found = read_tensors(out / "last.safetensors")
        assert found.keys() == expected.keys()
        assert all(found[name].equal(expected[name]) for name in expected), f"killed at {reached}"
        assert not list(out.glob(".*.tmp")), "nothing half-written is left over"


def test_killed_before_anything_was_saved(tmp_path: Path):
    """With only run.toml there, --resume begins at the beginning."""
    words = [*SMALL, "--device", "cpu", "--steps", "5"]
    finish(1, *words, "--out", "whole")
    finish(1, *words, "--out", "bare")
    for path in (tmp_path / "bare").glob("*.safetensors"):
        path.unlink()
    finish(1, "--resume", "bare")
    first, second = (read_tensors(tmp_path / name / "last.safetensors") for name in ("whole", "bare"))
    assert all(first[name].equal(second[name]) for name in first)
