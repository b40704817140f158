"""What can happen to a training: bad gradients, full disks, failing trackers, several ranks, an end in time."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from PIL import Image

from srkit.checkpoint import read_about, read_tensors

from .conftest import SMALL

SPOILT = """
import os
import torch
from srkit import Loss, hookimpl

class Spoilt(torch.nn.Module):
    calls = 0
    def __init__(self, *, at: list[int] = [], always_from: int = 10**9):
        super().__init__()
        self.at, self.always_from = at, always_from
    def forward(self, sr, hr):
        Spoilt.calls += 1
        loss = (sr - hr).abs().mean()
        if Spoilt.calls in self.at or Spoilt.calls >= self.always_from:
            return loss + (sr - sr.detach()).sum().sqrt() * 0  # its value is fine, its gradient is not a number
        return loss

@hookimpl
def srkit_losses():
    return [Loss(name="spoilt", build=Spoilt)]
"""


def log(folder: Path) -> list[dict]:
    return [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]


def weights(path: Path) -> dict[str, torch.Tensor]:
    return read_tensors(path)


def torchrun(ranks: int, *words: object) -> subprocess.CompletedProcess:
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", ranks]
    command += ["-m", "srkit", "train", "--device", "cpu", *words]
    return subprocess.run([str(w) for w in command], capture_output=True, text=True, timeout=300)


def test_a_planted_bad_gradient_is_skipped_and_said(run_srkit, install, tmp_path):
    install("srkit-spoilt", SPOILT)
    words = [*SMALL, "--steps", "100", "--set", "loss=[{name='spoilt', at=[7, 8, 30]}]", "--set", "validate_every=100"]
    code, _, err = run_srkit("train", *words, "--out", "run")
    assert code == 0, err
    assert re.search(r"step 7: the loss is 0\.\d+; skipped", err)
    assert "3 of the last 100 steps were skipped" in err
    assert log(tmp_path / "run")[0]["skipped"] == 3
    assert all(tensor.isfinite().all() for tensor in weights(tmp_path / "run/last.safetensors").values())


def test_ten_bad_gradients_in_a_row_step_back_to_the_last_state(run_srkit, install, tmp_path):
    install("srkit-spoilt", SPOILT)
    spoilt = f"loss=[{{name='spoilt', at={list(range(25, 35))}}}]"
    words = [*SMALL, "--steps", "60", "--save-every", "0.0001s", "--set", "validate_every=100", "--set", spoilt]
    code, _, err = run_srkit("train", *words, "--out", "run")
    assert code == 0, err
    assert "10 steps in a row up to step 33 gave no usable gradient: back to step 24" in err
    assert "with half the learning rate (1 of 3 times)" in err
    (about,) = (read_about(p) for p in (tmp_path / "run").glob("state-00000060*"))
    assert about["retreats"] == 1
    code, _, err = run_srkit("train", "--resume", "run", "--steps", "100")
    assert code == 0, err
    assert [line["lr"] for line in log(tmp_path / "run") if "lr" in line] == [5e-4], "the halved rate is kept"


def test_bad_gradients_for_good_end_with_a_word_and_keep_the_last_state(run_srkit, install, tmp_path):
    install("srkit-spoilt", SPOILT)
    words = [*SMALL, "--steps", "200", "--save-every", "0.0001s", "--set", "validate_every=500"]
    code, _, err = run_srkit("train", *words, "--set", "loss=[{name='spoilt', always_from=20}]", "--out", "run")
    assert code == 1
    assert "stepping back 3 times with half the learning rate each did not help; 'run' keeps the state" in err
    assert "Traceback" not in err
    assert all(tensor.isfinite().all() for tensor in weights(tmp_path / "run/last.safetensors").values())


LIMITED = """
import resource, signal, sys
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)  # so that a write beyond the limit fails as on a full disk

from srkit import checkpoint
from srkit.cli import run
written = 0
real = checkpoint.write_atomically
def limited(path, write):
    global written
    written += 1
    bound = {bound} if written in {when} else -1
    resource.setrlimit(resource.RLIMIT_FSIZE, (bound, -1))
    try:
        real(path, write)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (-1, -1))
checkpoint.write_atomically = limited
sys.exit(run(sys.argv[1:]))
"""


def test_a_disk_that_is_full_for_a_while_costs_nothing(tmp_path):
    """The operating system itself refuses the bytes, at some saves in the middle."""
    words = [*SMALL, "--device", "cpu", "--steps", "40", "--set", "validate_every=10", "--save-every", "0.01s"]
    code = LIMITED.format(bound=100, when="(4, 5, 6, 7)")
    command = [sys.executable, "-c", code, "train", *words, "--out", "run"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    assert re.search(
        r"cannot write 'run/\S+': OSError: \[Errno 27\].*; the training goes on and tries again", done.stderr
    )
    whole = subprocess.run([sys.executable, "-m", "srkit", "train", *words, "--out", "whole"], capture_output=True)
    assert whole.returncode == 0
    for file in ("last.safetensors", "best.safetensors"):
        one, two = weights(tmp_path / "run" / file), weights(tmp_path / "whole" / file)
        assert all(torch.equal(one[name], two[name]) for name in one)
    assert not list((tmp_path / "run").glob(".*.tmp"))


def test_a_disk_that_is_full_at_the_end_is_told_and_resumed(tmp_path):
    words = [*SMALL, "--device", "cpu", "--steps", "30", "--set", "validate_every=10", "--save-every", "1h"]
    code = LIMITED.format(bound=100, when="range(2, 99)")
    command = [sys.executable, "-c", code, "train", *words, "--out", "run"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert done.returncode == 1
    assert "make room, then srkit train --resume run" in done.stderr.splitlines()[-1]
    assert "Traceback" not in done.stderr


def test_a_tracker_that_fails_is_said_once_and_ends_nothing(run_srkit, install):
    install(
        "srkit-flaky",
        """
from srkit import Tracker, hookimpl

class Flaky:
    def __init__(self, run_dir): pass
    def scalars(self, step, values): raise OSError("the server is gone")
    def images(self, step, pictures): raise OSError("the server is gone")
    def close(self): raise OSError("the server is gone")

@hookimpl
def srkit_trackers():
    return [Tracker(name="flaky", build=Flaky)]
""",
    )
    words = ["--steps", "20", "--set", "validate_every=5", "--set", "tracker=flaky"]
    code, _, err = run_srkit("train", *SMALL, *words, "--out", "run")
    assert code == 0
    assert err.count("tracker Flaky fails, the training goes on: OSError: the server is gone") == 1


def test_early_stop(run_srkit, tmp_path):
    words = [*SMALL, "--set", "lr=1e-12", "--set", "optimizer=momentum", "--set", "validate_every=3"]
    code, out, err = run_srkit("train", *words, "--steps", "100", "--set", "early_stop=2", "--out", "run")
    assert code == 0, err
    assert "9 of 100 steps done" in out
    assert "ended early, 2 validations without a new best" in out
    assert (tmp_path / "run/last.safetensors").exists()


def test_average_weights_are_what_is_scored_and_kept(run_srkit, tmp_path):
    assert run_srkit("train", *SMALL, "--steps", "20", "--set", "ema=0.9", "--out", "run")[0] == 0
    state = weights(next((tmp_path / "run").glob("state-*")))
    last = weights(tmp_path / "run/last.safetensors")
    assert all(torch.equal(state[f"ema.{name}"], last[name]) for name in last)
    assert any(not torch.equal(state[f"net.{name}"], last[name]) for name in last)


def test_validation_pictures_among_those_to_train_on_are_said(run_srkit, tmp_path, photo):
    (tmp_path / "photos").mkdir()
    Image.fromarray(photo).save(tmp_path / "photos/mine.png")
    Image.fromarray(photo[::-1]).save(tmp_path / "photos/turned.png")
    words = ["--steps", "1", "--set", "data.name=folder", "--set", "data.root=photos"]
    code, _, err = run_srkit("train", *SMALL, *words, "--set", "validation={name='folder', root='photos'}")
    assert code == 0
    assert "warning: mine: it is 'mine' of the validation pictures too" in err


def test_packing_that_is_interrupted_goes_on(run_srkit, install, tmp_path, photo, monkeypatch):
    """Ctrl-C in the middle of packing: said in a line, and the pictures decoded so far are not decoded again."""
    monkeypatch.setenv("SRKIT_CACHE", str(tmp_path / "own-cache"))
    (tmp_path / "photos").mkdir()
    for i in range(40):
        Image.fromarray(photo[i : i + 120, :120]).save(tmp_path / f"photos/{i:02d}.png")
    install(
        "srkit-slow",
        """
from srkit import Dataset, Pair, hookimpl, list_images, read_rgb

class Slow:
    read = []
    interrupt_at = 25
    def __init__(self, root, split, scale): self.files = list_images(root)
    def __len__(self): return len(self.files)
    def fingerprint(self): return "always"
    def __getitem__(self, index):
        if index == Slow.interrupt_at:
            Slow.interrupt_at = None
            raise KeyboardInterrupt
        Slow.read.append(index)
        return Pair(self.files[index].stem, None, read_rgb(self.files[index]))

@hookimpl
def srkit_datasets():
    return [Dataset(name="slow", build=Slow)]
""",
    )
    words = [*SMALL, "--steps", "2", "--set", "data.name=slow", "--set", "data.root=photos", "--out", "run"]
    code, _, err = run_srkit("train", *words)
    assert code == 130
    assert "stopped; what is packed so far is kept, and the same command goes on from there" in err
    from srkit_slow import Slow

    Slow.read.clear()
    assert run_srkit("train", *words)[0] == 0
    assert 10 < len(Slow.read) < 30, "only those that were missing"
    Slow.read.clear()
    monkeypatch.setenv("SRKIT_CACHE", str(tmp_path / "other-cache"))
    assert run_srkit("train", *words[:-1], "again")[0] == 0
    assert len(Slow.read) == 40
    packs = [next((tmp_path / name).rglob("slow-*.pack")).read_bytes() for name in ("own-cache", "other-cache")]
    assert packs[0] == packs[1]


def test_two_ranks_are_one_process(run_srkit, tmp_path):
    """The same global batch, default augmentation: the weights agree to 1e-5 after 30 steps of Adam at 1e-3."""
    words = [*SMALL, "--steps", "30", "--set", "validate_every=15", "--set", "ema=0.9"]
    assert run_srkit("train", *words, "--out", "one")[0] == 0
    done = torchrun(2, *words, "--out", "two")
    assert done.returncode == 0, done.stderr
    one, two = (weights(tmp_path / name / "last.safetensors") for name in ("one", "two"))
    assert max(float((one[name] - two[name]).abs().max()) for name in one) < 1e-5
    scores = [[line["psnr_y"] for line in log(tmp_path / name) if "psnr_y" in line] for name in ("one", "two")]
    assert scores[0] == pytest.approx(scores[1], abs=1e-3)
    assert len(scores[0]) == 2, "one validation, shared between the ranks"
    code, _, err = run_srkit("train", "--resume", "two", "--steps", "32")
    assert code == 0, err
    assert "resumed at step 30, with 1 rank(s) instead of 2: the same batches, summed in another order" in err


def test_ranks_that_cannot_share_a_batch(run_srkit):
    done = torchrun(2, *SMALL, "--set", "batch=5", "--steps", "3", "--out", "two")
    assert done.returncode != 0
    assert "batch = 5 cannot be shared by 2 ranks in 1 parts; take a multiple of 2" in done.stderr
