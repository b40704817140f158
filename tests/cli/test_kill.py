"""kill -9 at a random moment, resume, and the weights are those of the run that was never killed."""

import os
import random
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import pytest

from srkit.checkpoint import read_tensors
from srkit.cli import run

from .conftest import SMALL, TWO_FORKED

TIMES = int(os.environ.get("SRKIT_TEST_KILLS", "1"))  # per mode
STEPS = 100
ALONE = [sys.executable, "-m", "srkit", "train"]
TWO_RANKS = [sys.executable, "-c", TWO_FORKED, "train"]
MODES = {
    "average": (ALONE, ["ema=0.95", "clip=1.0", "optimizer=adamw", "schedule=cosine"]),
    "accumulation": (ALONE, ["accumulate=2", "precision=bf16", "make_low_res=device"]),
    "mixup": (ALONE, ["augmentation=[{name='dihedral'}, {name='mixup'}, {name='colour-jitter'}]"]),
    "two ranks": (TWO_RANKS, ["ema=0.95", "augmentation=[{name='dihedral'}, {name='mixup'}]"]),
}


def finish(command: list[str], words: list[str]) -> None:
    """Here, where one process does: it need not import torch again."""
    if command == ALONE:
        assert run(["train", *words]) == 0
        return
    done = subprocess.run([*command, *words], capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr


def kill_at(command: list[str], words: list[str], out: Path, at: int) -> list[int]:
    """Train until a state of step `at` or later is there, then kill every process of it; the states there are."""
    process = subprocess.Popen(
        [*command, *words, "--out", str(out)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        start_new_session=True,
    )  # fmt: skip
    while process.poll() is None and not any(int(p.stem[6:]) >= at for p in out.glob("state-*")):
        time.sleep(0.005)
    kill_all(process.pid)
    process.wait()
    return sorted(int(p.stem[6:]) for p in out.glob("state-*"))


def kill_all(pid: int) -> None:
    """A process and all below it."""
    children = [int(p.parent.name) for p in Path("/proc").glob("[0-9]*/stat") if parent_of(p) == pid]
    for child in children:
        kill_all(child)
    with suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)


def parent_of(stat: Path) -> int:
    try:
        return int(stat.read_text().rpartition(")")[2].split()[1])
    except OSError:
        return -1


@pytest.mark.parametrize("mode", MODES)
def test_killed_and_resumed_equals_uninterrupted(tmp_path: Path, mode: str):
    command, settings = MODES[mode]
    chance = random.Random(mode)
    words = [*SMALL, "--device", "cpu", "--steps", str(STEPS), "--set", "validate_every=40", "--save-every", "0.05s"]
    words += [word for setting in settings for word in ("--set", setting)]
    finish(command, [*words, "--out", "whole"])
    expected = read_tensors(tmp_path / "whole" / "last.safetensors")
    for number in range(TIMES):
        out = tmp_path / f"killed-{number}"
        reached = kill_at(command, words, out, chance.randrange(1, STEPS))
        assert reached, "it was killed after its first checkpoint"
        finish(command, ["--resume", str(out)])
        found = read_tensors(out / "last.safetensors")
        assert found.keys() == expected.keys()
        assert all(found[name].equal(expected[name]) for name in expected), f"killed at {reached}"
        assert not list(out.glob(".*.tmp")), "nothing half-written is left over"


def test_killed_before_anything_was_saved(tmp_path: Path):
    """With only run.toml there, --resume begins at the beginning."""
    words = [*SMALL, "--device", "cpu", "--steps", "5"]
    finish(ALONE, [*words, "--out", "whole"])
    finish(ALONE, [*words, "--out", "bare"])
    for path in (tmp_path / "bare").glob("*.safetensors"):
        path.unlink()
    finish(ALONE, ["--resume", "bare"])
    first, second = (read_tensors(tmp_path / name / "last.safetensors") for name in ("whole", "bare"))
    assert all(first[name].equal(second[name]) for name in first)
