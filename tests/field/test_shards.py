"""Shards that are streamed: a cache that deletes what is no copy, waits for room for ever, or needs a bucket made anew.

mosaicml/streaming 417, 475, 844, 988 and 791, marin-community/marin 9213.
"""

import os

import fsspec
import pytest

from srkit.data.shards import Shards, write_shards
from tests.shard_pictures import copies, eight_pairs, packed

ROOT = "memory://streamed"


@pytest.fixture
def pairs(tmp_path, photo, monkeypatch):
    monkeypatch.setenv("SRKIT_CACHE", str(tmp_path / "own-cache"))
    return eight_pairs(tmp_path / "pictures", photo)


@pytest.fixture
def size(pairs):
    """Bytes of the largest shard of ROOT."""
    return packed(pairs, ROOT, 4)


def stores(rank=0, ranks=1):
    return Shards(ROOT, "train", 2).stores(rank, ranks)


def test_the_least_recently_used_copies_go_and_those_in_use_stay(size, tmp_path, monkeypatch):
    """mosaicml/streaming 988, 844, 791: what an earlier run copied counts, what is no copy or in use is not removed."""
    monkeypatch.setenv("SRKIT_SHARD_CACHE", str(3 * size))
    other = tmp_path / "own-cache/packs/mine-train-x2-0.pack"
    other.parent.mkdir(parents=True)
    other.write_bytes(b"0" * 10 * size)
    stores(0, 2)  # shards 0 and 2
    os.utime(next(other.parent.glob("shard-00000*")), (1, 1))
    kept = stores(1, 4)  # shard 1
    assert copies(tmp_path) == ["shard-00000", "shard-00001", "shard-00002"]
    stores(3, 4)
    assert copies(tmp_path) == ["shard-00001", "shard-00002", "shard-00003"]
    monkeypatch.setenv("SRKIT_SHARD_CACHE", str(size))
    assert not stores(2, 4)[0].here
    assert copies(tmp_path) == ["shard-00001"], "it is in use"
    del kept
    assert stores(2, 4)[0].here
    assert copies(tmp_path) == ["shard-00002"]
    assert other.exists()


def test_a_bound_below_one_shard_is_no_wait(size, tmp_path, monkeypatch):
    """mosaicml/streaming 417, 475: with a limit below the size of a shard the first sample never came."""
    monkeypatch.setenv("SRKIT_SHARD_CACHE", str(size // 4))
    found = stores()
    assert not any(store.here for store in found)
    assert found[0].image("hr", 0).shape[2] == 3
    assert copies(tmp_path) == []


def test_shards_at_an_address_are_left_where_they_are(pairs, size, tmp_path, monkeypatch):
    """mosaicml/streaming 988: shards in a folder of the user's were removed to make room."""
    monkeypatch.setenv("SRKIT_SHARD_CACHE", "0")
    write_shards(pairs, 2, 4, tmp_path / "mine", "test", lambda done, total: None)
    assert all(store.here for store in Shards(tmp_path / "mine", "train", 2).stores(0, 1))
    stores()
    assert len(list((tmp_path / "mine").glob("shard-*"))) == 4


def test_a_bucket_that_may_not_be_made_is_written_to(pairs, monkeypatch):
    """marin-community/marin 9213: an upload asked to create its bucket, and was refused."""
    files = type(fsspec.filesystem("memory"))
    made = files.makedirs
    asked = []

    def refused(self, path, exist_ok=False):
        asked.append(path)
        if len(asked) == 1:
            raise PermissionError("InvalidRegion: Region does not match")
        made(self, path, exist_ok=exist_ok)

    monkeypatch.setattr(files, "makedirs", refused)
    write_shards(pairs, 2, 2, "memory://refused", "test", lambda done, total: None)
    assert asked
    assert len(Shards("memory://refused", "train", 2)) == 8
