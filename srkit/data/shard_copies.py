"""Copies of shards that lie at an address: in the cache, as many as there is room for; the others are read there.

Which patches are drawn does not depend on it: a picture that is not here is read where it lies, the rows of its patch
alone. Patches are drawn from all pictures alike, so that to copy another shard for each of them, and to remove one for
it, would move a whole shard for a patch. Hence nothing is removed while a training runs, and the least recently used
copies, those that no process has open, when one begins and needs room.

SRKIT_SHARD_CACHE is what all copies may take (`200GB`); half of what is free, with the copies themselves, if it is not
set. The ranks of a machine have equal parts of it. A copy has its name only when it is whole.
"""

import os
import re
import shutil
import sys
import threading
import time
import weakref
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, TypeVar

import numpy as np
from rich.filesize import decimal

from srkit.data.store import Progress, Store, read_index, read_pack, store_of
from srkit.errors import DataError, UsageError, one_line
from srkit.files import locked, packs_folder, remove_leftovers, write_atomically

VARIABLE = "SRKIT_SHARD_CACHE"
DEFAULT_SHARE = 0.5  # of the disk that is free, copies counted as free
NAME = re.compile(r"\.?(shard-\d+-of-\d+-[0-9a-f]{20}\.pack)(\.[0-9a-f]{8}-\d+\.tmp)?")  # a copy, or one being made
SIZE = re.compile(r"(\d+(?:\.\d+)?)\s*([kmgt]?)b?")
CHUNK = 1 << 24
TRIES, PAUSE = 5, 1.0  # of what is read at an address; seconds before the second one, doubled before each further one
Given = TypeVar("Given")


@dataclass(frozen=True)
class Shard:
    """files: fsspec's file system it lies in. source: its path there. bytes: as shards.json says."""

    files: Any
    source: str
    bytes: int

    @property
    def name(self) -> str:
        return self.source.rpartition("/")[2]

    @property
    def shown(self) -> str:
        return str(self.files.unstrip_protocol(self.source))

    @property
    def copy(self) -> Path:
        return packs_folder() / self.name


def opened(shards: Sequence[Shard], progress: Progress) -> tuple[list[Store], int]:
    """The packs of shards at an address, in their order, their pixels copied or left there; how many copies went.

    progress(done, total) is called with bytes copied. Raises DataError where a shard cannot be read or is not whole, or
    where SRKIT_SHARD_CACHE promises more than the disk has; UsageError where it is no size.
    """
    folder = packs_folder()
    folder.mkdir(parents=True, exist_ok=True)
    remove_leftovers(folder)
    limit = bound(folder)
    before = {path for _, path, _ in copies(folder)}
    with cache_lock(folder):
        make_room(folder, 0, limit)
        here = {shard: held(shard) for shard in shards}
    room = limit // int(os.environ.get("LOCAL_WORLD_SIZE", "1")) - sum(s.bytes for s, store in here.items() if store)
    chosen = []
    for shard in shards:
        if here[shard] is None and shard.bytes <= room and NAME.fullmatch(shard.name):
            chosen.append(shard)
            room -= shard.bytes
    total = sum(shard.bytes for shard in chosen)
    check_disk(folder, total)
    done = 0
    for shard in chosen:
        here[shard] = copied(shard, limit, lambda more: progress(done + more, total))  # noqa: B023 - called at once
        done += shard.bytes
        progress(done, total)
    return [here[shard] or far(shard) for shard in shards], sum(not path.exists() for path in before)


def bound(folder: Path) -> int:
    """Bytes that the copies in a folder may take, those of all processes together."""
    text = os.environ.get(VARIABLE, "").strip().lower()
    if not text:
        return int(DEFAULT_SHARE * (shutil.disk_usage(folder).free + sum(size for _, _, size in copies(folder))))
    match = SIZE.fullmatch(text)
    if match is None:
        raise UsageError(f"{VARIABLE} is '{text}', which is no size; write 200GB, or 0 for no copies")
    return int(float(match[1]) * 1000 ** " kmgt".index(match[2] or " "))


def copies(folder: Path) -> list[tuple[float, Path, int]]:
    """When it was last used, path and bytes of each copy, and of each that is being made, the oldest first."""
    found = []
    with suppress(OSError), os.scandir(folder) as entries:
        for entry in entries:
            if NAME.fullmatch(entry.name):
                with suppress(OSError):  # it has just been removed, or renamed
                    about = entry.stat()
                    found.append((about.st_mtime, Path(entry.path), about.st_size))
    return sorted(found)


def make_room(folder: Path, wanted: int, limit: int) -> bool:
    """Can copies take `wanted` bytes more? Those used least recently, and by no process now, are removed for them."""
    there = copies(folder)
    taken = sum(size for _, _, size in there)
    unused = [(path, size) for _, path, size in there if not in_use(path)] if taken + wanted > limit else []
    if taken - sum(size for _, size in unused) + wanted > limit and wanted:
        return False
    for path, size in unused:
        if taken + wanted <= limit:
            break
        with suppress(OSError):  # on Windows an open file cannot be removed
            path.unlink()
            taken -= size
    return taken + wanted <= limit


def check_disk(folder: Path, wanted: int) -> None:
    """Before anything is copied. DataError where the disk has less than that, whatever is removed from the cache."""
    unused = sum(size for _, path, size in copies(folder) if not in_use(path))
    if wanted > (free := shutil.disk_usage(folder).free + unused):
        raise DataError(
            f"copies of shards need {decimal(wanted)} more in '{folder}' (SRKIT_CACHE), where {decimal(free)} can be "
            f"had; {VARIABLE}={int(free / 2e9)}GB leaves the others at their address"
        )


def copied(shard: Shard, limit: int, progress: Callable[[int], None]) -> Store | None:
    """The pack of a shard, copied into the cache; None where other processes have taken the room for it."""
    folder = shard.copy.parent

    def write(file: BinaryIO) -> None:
        with cache_lock(folder):
            if not make_room(folder, shard.bytes, limit):
                raise NoRoom
            file.truncate(shard.bytes)  # so that others count it
        again(shard, lambda: receive(shard, file, progress))

    try:
        with writing(shard):
            write_atomically(shard.copy, write)
    except NoRoom:
        return None
    with cache_lock(folder):
        return held(shard)


@contextmanager
def writing(shard: Shard) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        where = f"into '{shard.copy.parent}' (SRKIT_CACHE)"
        raise DataError(f"cannot copy '{shard.shown}' {where}: {one_line(error)}") from None


class NoRoom(Exception):  # noqa: N818 - caught by the one who asks
    pass


def receive(shard: Shard, file: BinaryIO, progress: Callable[[int], None]) -> None:
    """All bytes of a shard into a file. DataError where they are not as many as they should be."""
    done = file.seek(0)
    with shard.files.open(shard.source, "rb") as source:
        while chunk := source.read(CHUNK):
            done += len(chunk)
            if done <= shard.bytes:
                with writing(shard):
                    file.write(chunk)
                progress(done)
    if done != shard.bytes:
        raise DataError(f"'{shard.shown}' has {done:,} bytes, not {shard.bytes:,}; pack it again")


def held(shard: Shard) -> Store | None:
    """The pack of a copy that is here, which no other process then removes; None where there is none that is whole."""
    if not NAME.fullmatch(shard.name) or not shard.copy.is_file() or shard.copy.stat().st_size != shard.bytes:
        return None
    try:
        store = read_pack(shard.copy)
        os.utime(shard.copy)
        file = open(shard.copy, "rb")  # noqa: SIM115 - open as long as its pixels are used
    except (OSError, ValueError):
        return None
    mark_used(file)
    weakref.finalize(store.pixels, file.close)
    return store


def cache_lock(folder: Path) -> Any:
    """Held while it is decided what is removed and who has which room."""
    return locked(folder / ".shards.lock")


if sys.platform == "win32":

    def mark_used(file: BinaryIO) -> None:
        """Nothing is needed: what is open cannot be removed."""

    def in_use(path: Path) -> bool:
        return False

else:
    import fcntl

    def mark_used(file: BinaryIO) -> None:
        """Until it is closed, or the process ends."""
        with suppress(OSError):  # a disk without locks: there what is removed in use stays until it is closed
            fcntl.flock(file, fcntl.LOCK_SH)

    def in_use(path: Path) -> bool:
        """By any process of this machine. What is being made is."""
        if path.suffix == ".tmp":
            return True
        with suppress(FileNotFoundError), open(path, "r+b") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                return True
            except OSError:
                return False
        return False


def far(shard: Shard) -> Store:
    """The pack of a shard that stays where it is."""

    def read(start: int, end: int) -> bytes:
        return read_part(shard, start, end)

    try:
        index, end = read_index(read, shard.bytes)
    except (ValueError, KeyError) as error:
        raise DataError(f"'{shard.shown}' is not a whole shard: {one_line(error)}; pack it again") from None
    return store_of(Path(shard.source), FarPixels(shard, end // 3), index)


class FarPixels:
    """The pixels of a shard at an address, as an array N,3 uint8 of which slices are read there, each time anew.

    read: bytes so far. DataError where one cannot be read.
    """

    def __init__(self, shard: Shard, count: int):
        self.shard, self.count = shard, count
        self.nbytes = 3 * count
        self.read = 0
        self.lock = threading.Lock()  # several threads read

    def __getitem__(self, wanted: slice) -> np.ndarray:
        start, stop, _ = wanted.indices(self.count)
        data = read_part(self.shard, 3 * start, 3 * stop) if stop > start else b""
        with self.lock:
            self.read += len(data)
        return np.frombuffer(bytearray(data), np.uint8).reshape(-1, 3)  # torch wants what can be written


def told(stores: Sequence[Store], removed: int) -> list[str]:
    """What was removed, and what stays at its address, in words."""
    said = []
    if removed:
        said.append(f"{removed} copies of shards, those used least recently, were removed to make room ({VARIABLE})")
    if away := [store for store in stores if not store.here]:
        size = decimal(sum(store.pixels.nbytes for store in away))
        said.append(
            f"{len(away)} of {len(stores)} shards ({size}) stay at their address, and each patch of their pictures is "
            f"read there, which is slower: copies have no more room ({VARIABLE})"
        )
    return said


def bytes_read(stores: Sequence[Store]) -> int:
    """Of pixels that stay at an address, so far."""
    return sum(store.pixels.read for store in stores if isinstance(store.pixels, FarPixels))


def read_part(shard: Shard, start: int, end: int) -> bytes:
    """Bytes `start` to `end`. DataError where they cannot be had."""
    data = again(shard, lambda: bytes(shard.files.cat_file(shard.source, start=start, end=end)))
    if len(data) != end - start:
        raise DataError(
            f"'{shard.shown}' gives {len(data):,} bytes where {end - start:,} were asked for: it is not whole, or its "
            f"server sends no parts of files; with a larger {VARIABLE} it is copied"
        )
    return data


def again(shard: Shard, read: Callable[[], Given]) -> Given:
    """What `read` gives, tried some times. DataError where it cannot be had."""
    for number in range(TRIES):
        try:
            return read()
        except DataError:
            raise
        except Exception as error:  # every file system raises its own
            if number + 1 == TRIES or isinstance(error, FileNotFoundError | PermissionError):
                raise DataError(f"'{shard.shown}' cannot be read: {one_line(error)}") from None
            time.sleep(PAUSE * 2**number)
    raise AssertionError
