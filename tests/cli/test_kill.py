"""kill -9 at a random moment, resume, and the weights are those of the run that was never killed."""

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

from srkit.train.checkpoint import read_tensors

from .conftest import SMALL

TIMES = int(os.environ.get("SRKIT_TEST_KILLS", "3"))  # the ten take two minutes
STEPS = 150
COMMAND = [sys.executable, "-m", "srkit", "train"]


def finish(words: list[str]) -> None:
    done = subprocess.run([*COMMAND, *words], capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr


def test_killed_and_resumed_equals_uninterrupted(tmp_path: Path):
    chance = random.Random(0)
    words = [*SMALL, "--device", "cpu", "--steps", str(STEPS), "--set", "validate_every=40", "--save-every", "0.05s"]
    finish([*words, "--out", "whole"])
    expected = read_tensors(tmp_path / "whole" / "last.safetensors")
    for number in range(TIMES):
        out = tmp_path / f"killed-{number}"
        process = subprocess.Popen(
            [*COMMAND, *words, "--out", str(out)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        at = chance.randrange(1, STEPS)
        while process.poll() is None and not any(int(p.stem[6:]) >= at for p in out.glob("state-*")):
            time.sleep(0.002)
        process.send_signal(signal.SIGKILL)
        process.wait()
        reached = [int(p.stem[6:]) for p in out.glob("state-*")]
        assert reached, "it was killed after its first checkpoint"
        finish(["--resume", str(out)])
        found = read_tensors(out / "last.safetensors")
        assert found.keys() == expected.keys()
        assert all(found[name].equal(expected[name]) for name in expected), f"killed at {reached}"
        assert not list(out.glob(".*.tmp")), "nothing half-written is left over"


def test_killed_before_anything_was_saved(tmp_path: Path):
    """With only run.toml there, --resume begins at the beginning."""
    words = [*SMALL, "--device", "cpu", "--steps", "5"]
    finish([*words, "--out", "whole"])
    finish([*words, "--out", "bare"])
    for path in (tmp_path / "bare").glob("*.safetensors"):
        path.unlink()
    finish(["--resume", "bare"])
    first, second = (read_tensors(tmp_path / name / "last.safetensors") for name in ("whole", "bare"))
    assert all(first[name].equal(second[name]) for name in first)
