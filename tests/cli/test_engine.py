"""What can happen to a training: bad gradients, full disks, failing trackers, several ranks, an end in time."""

import itertools
import json
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from PIL import Image

from srkit import checkpoint
from srkit.checkpoint import read_about, read_tensors
from tests.processes import Running

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
    assert [line["lr"] for line in log(tmp_path / "run") if "lr" in line] == [5e-4, 5e-4], "the halved rate is kept"


def test_bad_gradients_for_good_end_with_a_word_and_keep_the_last_state(run_srkit, install, tmp_path):
    install("srkit-spoilt", SPOILT)
    words = [*SMALL, "--steps", "200", "--save-every", "0.0001s", "--set", "validate_every=500"]
    code, _, err = run_srkit("train", *words, "--set", "loss=[{name='spoilt', always_from=20}]", "--out", "run")
    assert code == 1
    assert "stepping back 3 times with half the learning rate each did not help; 'run' keeps the state" in err
    assert "Traceback" not in err
    assert all(tensor.isfinite().all() for tensor in weights(tmp_path / "run/last.safetensors").values())


@pytest.fixture
def fill_the_disk(monkeypatch):
    """fill_the_disk(saves): the operating system itself refuses the bytes of these saves, counted from 1."""
    resource = pytest.importorskip("resource")
    before = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)  # so that a write beyond the limit fails as on a full disk
    real = checkpoint.write_atomically
    count = itertools.count(1)

    def fill(saves):
        def limited(path, write):
            soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
            resource.setrlimit(resource.RLIMIT_FSIZE, (100 if next(count) in saves else soft, hard))
            try:
                real(path, write)
            finally:
                resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))

        monkeypatch.setattr(checkpoint, "write_atomically", limited)

    yield fill
    signal.signal(signal.SIGXFSZ, before)


def test_a_disk_that_is_full_for_a_while_costs_nothing(run_srkit, fill_the_disk, tmp_path):
    """At some saves in the middle."""
    words = [*SMALL, "--device", "cpu", "--steps", "40", "--set", "validate_every=10", "--save-every", "0.01s"]
    assert run_srkit("train", *words, "--out", "whole")[0] == 0
    fill_the_disk((4, 5, 6, 7))
    code, _, err = run_srkit("train", *words, "--out", "run")
    assert code == 0, err
    assert re.search(r"cannot write 'run/\S+': OSError: \[Errno 27\].*; the training goes on and tries again", err)
    for file in ("last.safetensors", "best.safetensors"):
        one, two = weights(tmp_path / "run" / file), weights(tmp_path / "whole" / file)
        assert all(torch.equal(one[name], two[name]) for name in one)
    assert not list((tmp_path / "run").glob(".*.tmp"))


def test_a_disk_that_is_full_at_the_end_is_told_and_resumed(run_srkit, fill_the_disk):
    words = [*SMALL, "--device", "cpu", "--steps", "30", "--set", "validate_every=10", "--save-every", "1h"]
    fill_the_disk(range(2, 99))
    code, _, err = run_srkit("train", *words, "--out", "run")
    assert code == 1
    assert "make room, then srkit train --resume run" in err.splitlines()[-1]
    assert "Traceback" not in err


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
    words = ["--steps", "1", "--set", "ema=0", "--set", "lr=1e-30", "--init-from", "run"]
    assert run_srkit("train", *SMALL, *words, "--out", "again")[0] == 0
    best, began = (weights(tmp_path / name) for name in ("run/best.safetensors", "again/last.safetensors"))
    assert all(torch.equal(best[name], began[name]) for name in best), "a training starts from the average"


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
    assert set(Slow.read) == set(range(40))
    assert len(Slow.read) <= 41, "one is looked at to know whether it brings its LR"
    packs = [next((tmp_path / name).rglob("slow-*.pack")).read_bytes() for name in ("own-cache", "other-cache")]
    assert packs[0] == packs[1]


def test_four_ranks_are_one_process(run_srkit, tmp_path):
    """The same global batch, each rank with its own rows: the weights agree to 1e-5 after 20 steps of Adam at 1e-3.

    There are two pictures to validate on, so that two of the ranks have none.
    """
    mixing = "augmentation=[{name='dihedral'}, {name='colour-jitter'}, {name='mixup'}]"
    words = [
        *SMALL,
        "--steps",
        "20",
        "--set",
        "batch=8",
        "--set",
        "validate_every=10",
        "--set",
        "ema=0.9",
        "--set",
        mixing,
    ]
    assert run_srkit("train", *words, "--out", "1")[0] == 0
    one = weights(tmp_path / "1/last.safetensors")
    scores = [line["psnr_y"] for line in log(tmp_path / "1") if "psnr_y" in line]
    assert len(scores) == 2
    code, said = Running("train", "--device", "cpu", *words, "--out", "4", ranks=4).finish()
    assert code == 0, said
    several = weights(tmp_path / "4/last.safetensors")
    assert max(float((one[name] - several[name]).abs().max()) for name in one) < 1e-5
    shared = [line["psnr_y"] for line in log(tmp_path / "4") if "psnr_y" in line]
    assert shared == pytest.approx(scores, abs=1e-3), "one validation, shared between the ranks"
    code, _, err = run_srkit("train", "--resume", "4", "--steps", "22")
    assert code == 0, err
    assert "resumed at step 20, with 1 rank(s) instead of 4: the same batches, summed in another order" in err


def test_auto_starts_and_goes_on(run_srkit, tmp_path):
    words = ["train", *SMALL, "--set", "validate_every=10", "--resume", "auto"]
    code, _, err = run_srkit(*words, "--steps", "4")
    assert code == 2
    assert "name it by --out" in err
    code, _, err = run_srkit("train", "--resume", "./auto")
    assert code == 2
    assert "'auto'" in err, "a folder of that name"
    assert run_srkit("train", *SMALL, "--set", "validate_every=10", "--steps", "8", "--out", "whole")[0] == 0
    code, out, err = run_srkit(*words, "--steps", "8", "--out", "run", "--max-time", "0.001s")
    assert code == 0, err
    assert "of 8 steps done" in out
    code, out, err = run_srkit(*words, "--steps", "8", "--out", "run")
    assert code == 0, err
    assert "resumed at step" in err
    one, two = (weights(tmp_path / name / "last.safetensors") for name in ("whole", "run"))
    assert all(one[name].equal(two[name]) for name in one)
    code, out, err = run_srkit(*words, "--steps", "8", "--out", "run")
    assert code == 0, "a finished run is finished: a restart of it is no error"
    code, _, err = run_srkit(*words, "--steps", "9", "--set", "model.n_feats=8", "--out", "run")
    assert code == 2
    assert "model.n_feats is 4 there and 8 here; steps is 8 there and 9 here; name another --out" in err


KILLED_ONCE = """
import os, signal, sys, threading, time
from pathlib import Path
from srkit.cli import run

mark = Path(sys.argv[1])
if os.environ["RANK"] == "1" and os.environ.get("TORCHELASTIC_RESTART_COUNT") == "0":
    def kill():
        while len(list(mark.parent.glob("run/state-*"))) < 2:  # more than the one before the first step
            time.sleep(0.01)
        mark.write_text("killed")
        os.kill(os.getpid(), signal.SIGKILL)
    threading.Thread(target=kill, daemon=True).start()
sys.exit(run(sys.argv[2:]))
"""


def test_a_rank_that_is_killed_is_restarted_by_torchrun(run_srkit, tmp_path):
    script, mark = tmp_path / "rank.py", tmp_path / "mark"
    script.write_text(KILLED_ONCE)
    words = [
        "train",
        *SMALL,
        "--set",
        "validate_every=100",
        "--steps",
        "150",
        "--device",
        "cpu",
        "--save-every",
        "0.1s",
    ]
    two = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    elastic = [*two, "--max-restarts", "2", str(script), str(mark)]
    done = subprocess.run([*elastic, *words, "--resume", "auto", "--out", "run"], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert mark.read_text() == "killed"
    assert "resumed at step" in done.stderr
    assert Running(*words, "--out", "whole", ranks=2).finish()[0] == 0
    one, two = (weights(tmp_path / name / "last.safetensors") for name in ("whole", "run"))
    assert all(one[name].equal(two[name]) for name in one)


def test_ranks_that_cannot_share_a_batch():
    code, said = Running("train", *SMALL, "--set", "batch=5", "--steps", "3", "--out", "two", ranks=2).finish()
    assert code == 2
    assert "batch = 5 cannot be shared by 2 ranks in 1 parts; take a multiple of 2" in said


COST = """
from srkit import Metric, hookimpl

class Cost:  # 5, 3, 4, 2, 6, ... for one picture after another; the samples have two to validate on
    plan = [5, 3, 4, 2, 6, 7]
    calls = 0
    def __init__(self, *, add: float = 0.0): self.add = add
    def __call__(self, sr, hr):
        assert sr.ndim == 3, "the protocol is rgb"
        Cost.calls += 1
        return Cost.plan[(Cost.calls - 1) // 2] + self.add

@hookimpl
def srkit_metrics():
    return [Metric(name="cost", build=Cost, higher_is_better=False)]
"""
BY_COST = ["--set", "validation.metric={name='cost', add=0.5}", "--set", "validation.protocol=rgb"]


def test_best_is_the_lowest_where_lower_is_better(run_srkit, install, tmp_path):
    install("srkit-cost", COST)
    words = [*SMALL, *BY_COST, "--set", "validate_every=2", "--set", "early_stop=2"]
    code, out, err = run_srkit("train", *words, "--steps", "6", "--out", "run")
    assert code == 0, err
    assert "best COST 3.5000 (protocol rgb, srkit:samples) at step 4" in out
    assert [line["cost_rgb"] for line in log(tmp_path / "run") if "cost_rgb" in line] == [5.5, 3.5, 4.5]
    about = read_about(tmp_path / "run/best.safetensors")
    assert (about["step"], about["scores"]) == (4, {"cost": 3.5, "protocol": "rgb", "set": "srkit:samples"})

    code, out, err = run_srkit("train", "--resume", "run", "--steps", "20")
    assert code == 0, err
    assert "best COST 2.5000 (protocol rgb, srkit:samples) at step 8" in out, "the best so far is known after a resume"
    assert "12 of 20 steps done" in out
    assert "ended early, 2 validations without a new best" in out

    text = (tmp_path / "run/run.toml").read_text()
    (tmp_path / "run/run.toml").write_text(re.sub(r"(?s)\[validation.metric\].*?(?=\n\[)", "", text))
    code, out, err = run_srkit("train", "--resume", "run", "--steps", "13")
    assert code == 0, err
    assert "the best checkpoint was chosen by cost_rgb; from here on it is by psnr_rgb" in err
    assert "best PSNR" in out


def test_a_sweep_compares_by_the_metric_of_the_run(run_srkit, install, tmp_path):
    install("srkit-cost", COST)
    words = [*SMALL, *BY_COST, "--set", "validate_every=1", "--steps", "3", "--device", "cpu", "--out", "grid"]
    code, out, err = run_srkit("sweep", "--vary", "seed=0,1", *words, "--json")
    assert code == 0, err
    table = json.loads(out)
    assert (table["metric"], table["protocol"]) == ("cost", "rgb")
    assert [(row["best_cost"], row["best_step"], row["final_cost"]) for row in table["rows"]] == [
        (3.5, 2, 4.5), (2.5, 1, 7.5)
    ]  # fmt: skip
    assert "best COST (rgb, samples x2)" in (tmp_path / "grid/table.md").read_text()
    code, _, err = run_srkit("sweep", "--vary", "validation.protocol=y,rgb", *SMALL, "--steps", "1")
    assert code == 2
    assert "cells are compared by one metric and protocol" in err


def test_an_unknown_metric_or_protocol_is_told_before_anything_is_made(run_srkit, tmp_path):
    for word, told in (("metric=psnrr", "did you mean 'psnr'"), ("protocol=ygb", "no protocol called 'ygb'")):
        code, _, err = run_srkit("train", *SMALL, "--set", f"validation.{word}", "--steps", "1", "--out", "run")
        assert (code, told in err) == (2, True), err
    assert not (tmp_path / "run").exists()
