"""Shards at an address: a bounded cache, whole copies or none, and the same batches whatever fits."""

import shutil
import signal
import subprocess
import sys

import fsspec
import numpy as np
import pytest
import torch

from srkit import DataError, UsageError
from srkit.checkpoint import read_tensors
from srkit.data import shard_copies
from srkit.data.sampler import Sampler
from srkit.data.shards import Shards, write_shards
from tests.shard_pictures import copies, eight_pairs, packed

ROOT = "memory://packed"
COUNT = 4


@pytest.fixture(autouse=True)
def own_cache(monkeypatch, tmp_path):
    monkeypatch.setenv("SRKIT_CACHE", str(tmp_path / "own-cache"))
    monkeypatch.setattr(shard_copies, "PAUSE", 0.0)


@pytest.fixture
def pairs(tmp_path, photo):
    return eight_pairs(tmp_path / "pictures", photo)


@pytest.fixture
def size(pairs):
    """Bytes of the largest shard of ROOT."""
    files = fsspec.filesystem("memory")
    files.store.clear()
    return packed(pairs, ROOT, COUNT)


def stores(rank=0, ranks=1, **words):
    return Shards(ROOT, "train", 2).stores(rank, ranks, **words)


def batches(found, patch=16, steps=6, **words):
    draw = Sampler(found, scale=2, batch=12, patch=patch, seed=3, device=torch.device("cpu"), **words)
    return [draw(step) for step in range(steps)]


@pytest.mark.parametrize("held", range(COUNT + 1))
@pytest.mark.parametrize("resident", ["no", "yes"])
def test_a_bound_changes_no_batch(size, held, resident, tmp_path, monkeypatch):
    """Patches of 45 reach beyond the pictures' edges where LR is cut with a margin; of 16 they are inside."""
    expected = [batches(stores(), patch) for patch in (16, 45)]
    copied = len(copies(tmp_path))
    assert copied == COUNT
    monkeypatch.setenv("SRKIT_CACHE", str(tmp_path / "smaller"))
    monkeypatch.setenv("SRKIT_SHARD_CACHE", str(held * size))
    found = stores()
    assert sum(store.here for store in found) == held
    assert len(list((tmp_path / "smaller/packs").glob("shard-*"))) == held
    for patch, wanted in zip((16, 45), expected, strict=True):
        for one, two in zip(wanted, batches(found, patch, resident=resident), strict=True):
            assert torch.equal(one.hr, two.hr)
            assert torch.equal(one.lr, two.lr)
    assert (shard_copies.bytes_read(found) > 0) == (held < COUNT), "what is read is counted"
    said = " ".join(shard_copies.told(found, 0))
    assert (f"{COUNT - held} of {COUNT} shards" in said) == (held < COUNT)


def test_only_the_rows_of_a_patch_are_read(size, monkeypatch):
    monkeypatch.setenv("SRKIT_SHARD_CACHE", "0")
    found = stores()
    batches(found, steps=1)
    assert shard_copies.bytes_read(found) <= 12 * 3 * (32 * 90 + 16 * 45)


def test_ranks_of_a_machine_share_the_bound(size, tmp_path, monkeypatch):
    monkeypatch.setenv("SRKIT_SHARD_CACHE", str(2 * size))
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "2")
    both = [stores(rank, 2) for rank in range(2)]
    assert [[store.here for store in found] for found in both] == [[True, False], [True, False]]


KILLED = """
import os, signal, sys
from srkit.data import shard_copies
from srkit.data.shards import Shards
shard_copies.CHUNK = 4096
done = []
def progress(bytes, total):
    done.append(bytes)
    if len(done) == 3:
        os.kill(os.getpid(), signal.SIGKILL)
Shards(sys.argv[1], "train", 2).stores(0, 1, progress)
"""


def test_a_killed_copy_is_not_taken_for_whole(pairs, tmp_path):
    """Read from an archive, which another process sees too."""
    write_shards(pairs, 2, 2, tmp_path / "packed/out", "test", lambda done, total: None)
    address = f"zip://out::{shutil.make_archive(str(tmp_path / 'all'), 'zip', tmp_path / 'packed')}"
    assert subprocess.run([sys.executable, "-c", KILLED, address]).returncode == -signal.SIGKILL
    packs = tmp_path / "own-cache/packs"
    assert not list(packs.glob("shard-*"))
    assert len(list(packs.glob(".shard-*.tmp"))) == 1
    found = Shards(address, "train", 2).stores(0, 1)
    assert not list(packs.glob(".shard-*.tmp")), "what it left is removed"
    assert all(store.here for store in found)
    whole = Shards(tmp_path / "packed/out", "train", 2).stores(0, 1)
    assert all(np.array_equal(one.pixels, two.pixels) for one, two in zip(found, whole, strict=True))


def test_what_cannot_be_read_is_said(size, monkeypatch, tmp_path):
    files = fsspec.filesystem("memory")
    name = next(path for path in files.store if "shard-00001" in path)
    whole = bytes(files.cat_file(name))
    files.pipe_file(name, whole[:-5])
    for bound in ("0", "1GB"):
        monkeypatch.setenv("SRKIT_SHARD_CACHE", bound)
        with pytest.raises(DataError, match="shard-00001"):
            stores()
    files.pipe_file(name, whole)
    monkeypatch.setenv("SRKIT_SHARD_CACHE", "much")
    with pytest.raises(UsageError, match="SRKIT_SHARD_CACHE is 'much', which is no size; write 200GB, or 0 for no"):
        stores()
    monkeypatch.setenv("SRKIT_SHARD_CACHE", "0")
    found = stores()
    content, failed = {path: bytes(files.cat_file(path)) for path in files.store}, set()

    def once(self, path, start, end):
        if (path, start) not in failed:
            failed.add((path, start))
            raise TimeoutError("no answer")
        return content[path][start:end]

    def never(self, path, start, end):
        raise OSError("gone")

    monkeypatch.setattr(type(files), "cat_file", once)
    assert len(batches(found, steps=1)) == 1
    assert failed, "tried again"
    monkeypatch.setattr(type(files), "cat_file", never)
    with pytest.raises(DataError, match=r"'memory://.*shard-0000.*' cannot be read: OSError: gone"):
        batches(found, steps=1)


def test_a_disk_with_too_little_room_is_said_first(size, monkeypatch):
    monkeypatch.setenv("SRKIT_SHARD_CACHE", "1TB")
    usage = shard_copies.shutil.disk_usage("/")
    monkeypatch.setattr(shard_copies.shutil, "disk_usage", lambda place: usage._replace(free=10))
    with pytest.raises(DataError, match=r"copies of shards need .* more in .* where 10 bytes can be had; SRKIT_SHARD"):
        stores()


def test_copies_have_progress(size):
    told = []
    stores(progress=lambda done, total: told.append((done, total)))
    assert told == sorted(told)
    assert told[-1][0] == told[-1][1] > 2 * size
    told.clear()
    stores(progress=lambda done, total: told.append((done, total)))
    assert not told, "they are there"


def test_a_run_is_the_same_whatever_is_here(run_srkit, size, tmp_path, monkeypatch):
    words = ["--set", "model.n_resblocks=1", "--set", "model.n_feats=4", "--set", "batch=4", "--set", "patch=16"]
    words += ["--steps", "12", "--set", "validate_every=6", "--set", "data.name=shards", "--set", f"data.root={ROOT}"]
    said = {}
    for name, bound in (("all", "1GB"), ("some", str(2 * size)), ("none", "0")):
        monkeypatch.setenv("SRKIT_CACHE", str(tmp_path / f"cache-{name}"))
        monkeypatch.setenv("SRKIT_SHARD_CACHE", bound)
        code, _, said[name] = run_srkit("train", *words, "--device", "cpu", "--out", name)
        assert code == 0, said[name]
    weights = [read_tensors(tmp_path / name / "last.safetensors") for name in said]
    for other in weights[1:]:
        assert all(other[key].equal(tensor) for key, tensor in weights[0].items())
    assert "address" not in said["all"]
    assert "2 of 4 shards" in said["some"]
    assert "4 of 4 shards" in said["none"]
    assert "no quick look at the pairs" in said["none"]
    monkeypatch.setenv("SRKIT_CACHE", str(tmp_path / "cache-all"))
    _, _, err = run_srkit("train", *words, "--device", "cpu", "--out", "removed")
    assert "4 copies of shards, those used least recently, were removed to make room" in err
    assert "kB of patches were read at the address of their shards" in said["none"]
