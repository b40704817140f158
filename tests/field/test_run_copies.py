"""Runs whose checkpoints go to an object store: uploads that fail, stall, or remove what was needed.

ray-project/ray 47939, marin-community/marin 9209, Lightning-AI/pytorch-lightning 21813, pico-lm/pico-train 7.
"""

import threading
import time
from pathlib import Path

import fsspec

from srkit.train import state
from srkit.train.copying import Copier, Place
from tests.cli.conftest import SMALL

WORDS = [*SMALL, "--device", "cpu", "--steps", "60", "--set", "validate_every=20", "--save-every", "0.05s"]


def steps_at(place: str) -> list[int]:
    return [int(name[6:14]) for name in Place(place).names() if name.startswith("state-")]


def test_an_address_that_fails_ends_no_training(run_srkit, monkeypatch):
    """ray-project/ray 47939: an upload that was slowed down ended the training.

    pico-lm/pico-train 7: what was saved and not uploaded is uploaded by the next start.
    """
    files = type(fsspec.filesystem("memory"))
    tried, put = [], files.put_file

    def fails(self, source, target, **words):
        tried.append(target)
        if not mended:
            raise ConnectionError("Slow Down")
        put(self, source, target, **words)

    monkeypatch.setattr(files, "put_file", fails)
    for mended in ([], [True]):
        words = ["train", *WORDS, "--resume", "auto", "--out", "run", "--copy-to", "memory://failing"]
        code, _, err = run_srkit(*words)
        assert code == (0 if mended else 1), err
        if not mended:
            assert len(tried) > 2, "tried again"
            assert err.count("Slow Down; the training goes on") == 1
            assert "srkit train --resume run --copy-to memory://failing" in err
            assert max(int(path.name[6:14]) for path in Path("run").glob("state-*")) == 60
    assert steps_at("memory://failing") == [60]


def test_a_slow_address_blocks_nothing_and_gets_the_newest(tmp_path, monkeypatch):
    """marin-community/marin 9209: an upload that stalls. Its turn over, the newest state follows, not each between."""
    going, sent = threading.Event(), []

    def slow(self, source):
        assert going.wait(10)
        sent.append(source.name)

    monkeypatch.setattr(Place, "put", slow)
    copier = Copier(tmp_path, Place("memory://slow"))
    (tmp_path / "run.toml").write_text("")
    begun = time.monotonic()
    for step in range(1, 20):
        (tmp_path / state.state_name(step)).write_bytes(b"0" * step)
        if step > 2:
            (tmp_path / state.state_name(step - 2)).unlink()
        copier.offer()
    assert time.monotonic() - begun < 5
    going.set()
    copier.close(lambda text: None)
    assert sent[-1] == state.state_name(19)
    assert len([name for name in sent if name.startswith("state-")]) <= 2


def test_training_ends_while_the_first_state_is_on_its_way(run_srkit, monkeypatch):
    """marin-community/marin 9209, in a whole training: what waits for its end could not if a step waited for it."""
    files = type(fsspec.filesystem("memory"))
    put, ended, begun = files.put_file, [], time.monotonic()

    def waits(self, source, target, **words):
        while not Path("run", state.state_name(60)).exists():
            assert time.monotonic() - begun < 60
            time.sleep(0.01)
        ended.append(target)
        put(self, source, target, **words)

    monkeypatch.setattr(files, "put_file", waits)
    code, _, err = run_srkit("train", *WORDS, "--out", "run", "--copy-to", "memory://waits")
    assert code == 0, err
    assert ended
    assert 60 in steps_at("memory://waits")


def test_what_was_gone_on_from_stays_until_a_newer_one_is_there(tmp_path, monkeypatch):
    """Lightning-AI/pytorch-lightning 21813: the state that a run was resumed from was removed at the address."""
    files = fsspec.filesystem("memory")
    for step in (1, 2):
        files.pipe_file(f"/kept/{state.state_name(step)}", b"whole")
    copier = Copier(tmp_path, Place("memory://kept"))
    (tmp_path / "run.toml").write_text("")
    (tmp_path / state.state_name(3)).write_bytes(b"3")
    put = Place.put
    monkeypatch.setattr(Place, "put", lambda self, source: (_ for _ in ()).throw(OSError("no")))
    copier.offer()
    copier.queued.result()
    assert copier.failure == "'memory://kept' cannot be written: OSError: no"
    assert steps_at("memory://kept") == [1, 2]
    monkeypatch.setattr(Place, "put", put)
    copier.offer()
    copier.queued.result()
    assert steps_at("memory://kept") == [3]
    copier.close(lambda text: None)
