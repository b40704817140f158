"""A run's copy at an address: a fresh machine goes on from it, bit for bit, and an address that fails ends nothing."""

import shutil
import time
from pathlib import Path
from types import SimpleNamespace

import fsspec
import pytest

from srkit import UsageError
from srkit.checkpoint import read_tensors
from srkit.train import state
from srkit.train.copying import Place
from srkit.train.distributed import World
from srkit.train.session import loaded
from tests.processes import Running

from .conftest import SMALL

WORDS = [*SMALL, "--device", "cpu", "--steps", "60", "--set", "validate_every=20", "--set", "ema=0.9"]
OFTEN = ["--save-every", "0.05s"]


def equal(one: Path, two: Path) -> bool:
    a, b = read_tensors(one), read_tensors(two)
    return a.keys() == b.keys() and all(a[name].equal(b[name]) for name in a)


def steps_at(place: str) -> list[int]:
    return [int(name[6:14]) for name in Place(place).names() if name.startswith("state-")]


def test_killed_and_gone_on_from_the_copy_alone(tmp_path):
    """Two ranks, of which one writes, and one brings and says it."""
    copy = ["--copy-to", f"file://{tmp_path}/far", *OFTEN]
    assert Running("train", *WORDS, "--out", "whole", ranks=2).finish()[0] == 0
    killed = Running("train", *WORDS, *copy, "--out", "run", ranks=2)
    while killed.ranks[0].is_alive() and max(steps_at("far"), default=0) < 10:
        time.sleep(0.005)
    killed.kill_at(0, "run")
    assert max(steps_at("far")) < 60
    shutil.rmtree("run")
    code, said = Running("train", *WORDS, *copy, "--resume", "auto", "--out", "run", ranks=2).finish()
    assert code == 0, said
    assert said.count("brought the run from file://") == 1
    assert "resumed at step" in said
    for place in ("run", "far"):
        for name in ("last.safetensors", "best.safetensors"):
            assert equal(Path("whole", name), Path(place, name)), f"{place}/{name}"
    assert max(steps_at("far")) == 60
    assert len(steps_at("far")) <= state.STATES_KEPT
    files = {"run.toml", "log.jsonl", "best.safetensors", "last.safetensors"}
    assert {path.name for path in Path("far").iterdir() if not path.name.startswith("state-")} == files
    assert Path("far/log.jsonl").read_text() == Path("run/log.jsonl").read_text()


def test_the_further_one_is_gone_on_with(run_srkit):
    """A machine that comes back with an older state takes the newer one; one that is further keeps its own."""
    words, copy = ["train", *WORDS, "--resume", "auto"], ["--copy-to", "memory://further"]
    assert run_srkit(*words, "--out", "run", *copy, "--max-time", "0.001s")[0] == 0
    shutil.copytree("run", "old")
    (first,) = steps_at("memory://further")
    assert run_srkit(*words, "--out", "run", *copy)[0] == 0
    code, out, err = run_srkit(*words, "--out", "old", *copy)
    assert code == 0, err
    assert "brought the run from memory://further, at step 60" in err
    assert "60 of 60 steps done" in out
    files = fsspec.filesystem("memory")
    files.rm("/further/state-00000060.safetensors")
    assert run_srkit(*words, "--out", "old", *copy)[0] == 0
    assert steps_at("memory://further") == [first, 60], "what was not there is copied, of a run that is finished too"


def test_a_torn_state_is_passed_over(run_srkit):
    """An address that shows what is half-written: no object store, but some of fsspec's file systems."""
    words, copy = ["train", *WORDS, "--resume", "auto"], ["--copy-to", "memory://torn"]
    assert run_srkit(*words, "--out", "run", *copy)[0] == 0
    files = fsspec.filesystem("memory")
    files.pipe_file("/torn/state-00000099.safetensors", bytes(files.cat_file("/torn/state-00000060.safetensors"))[:-9])
    code, out, err = run_srkit(*words, "--out", "fresh", *copy)
    assert code == 0, err
    assert "'memory://torn/state-00000099.safetensors' is not whole; the one before it is taken" in err
    assert "60 of 60 steps done" in out
    assert not list(Path("fresh").glob(".*"))


def test_wrong_copies_are_said(run_srkit, monkeypatch):
    words = ["train", *WORDS, "--max-time", "0.001s"]
    assert run_srkit(*words, "--out", "run", "--copy-to", "memory://words")[0] == 0
    for more, told in (
        (["--out", "other", "--copy-to", "memory://words"], "'memory://words' already holds a run; go on with it by"),
        (["--out", "other", "--copy-to", "nothing://words"], "'nothing://words' cannot be opened"),
        (["--out", "other", "--copy-to", "other"], "--copy-to 'other' is the run's own folder"),
        (["--out", "run", "--resume", "auto", "--set", "lr=2e-3", "--copy-to", "memory://words"], "lr is 0.001 there"),
    ):
        code, _, err = run_srkit(*words, *more)
        assert code == 2
        assert told in err
    assert not Path("other").exists()
    assert run_srkit(*words, "--set", "lr=3e-3", "--out", "third")[0] == 0
    code, _, err = run_srkit("train", "--resume", "third", "--copy-to", "memory://words")
    assert code == 2
    assert "'memory://words' holds another run than 'third': lr is 0.001 there and 0.003 here" in err

    def denied(self, path, **words):
        raise PermissionError("Access Denied")

    monkeypatch.setattr(type(fsspec.filesystem("memory")), "ls", denied)
    code, _, err = run_srkit(*words, "--resume", "auto", "--out", "other", "--copy-to", "memory://words")
    assert code == 1, "it does not begin anew, to write over what may be there"
    assert "'memory://words' cannot be read: PermissionError: Access Denied" in err


def test_ranks_that_see_different_folders_are_told(tmp_path):
    class Two(World):
        def collect(self, mine):
            return [mine, 5]

    with pytest.raises(
        UsageError, match=r"the ranks see different states in '.*' \(none, that of step 5\); --out must"
    ):
        loaded(tmp_path, SimpleNamespace(parts=dict), Two())
