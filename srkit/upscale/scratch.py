"""The pixels of a result while it is made: a file that is mapped to memory, and which tiles of it are there.

It lies in a hidden folder beside the target. A process that is killed leaves it; the next with the same key goes on.
"""

import errno
import hashlib
import json
import os
import shutil
from contextlib import suppress
from pathlib import Path

import numpy as np

from srkit.errors import SrkitError, one_line
from srkit.files import LONGEST_NAME

BOOT = Path("/proc/sys/kernel/random/boot_id")
ENDING = ".unfinished"
UNKNOWN = (errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP)  # of a file system that cannot reserve

Grid = tuple[int, int]  # rows and columns of tiles


class Scratch:
    """Room for `shape` pixels of `dtype` in `tiles` tiles, beside `target`.

    key: what decides the pixels. What is found under another key, or was written before the machine was last started,
    whose memory may not have reached the disk, is begun again. grid: rows and columns of tiles, as `unfinished` gives
    them back.
    """

    def __init__(self, target: Path, key: str, grid: Grid, shape: tuple[int, ...], dtype: np.dtype, tiles: int):
        self.folder = folder_of(target)
        about = {"key": key, "boot": boot(), "grid": list(grid)}
        try:
            if unfinished(target, key) != grid:
                self.remove()
            self.folder.mkdir(exist_ok=True)
            size = int(np.prod(shape)) * dtype.itemsize
            reserve(self.folder / "pixels", size)
            reserve(self.folder / "tiles", tiles)
            self.pixels: np.ndarray = np.memmap(self.folder / "pixels", dtype, "r+", shape=shape)
            self.flags: np.ndarray = np.memmap(self.folder / "tiles", np.uint8, "r+", shape=(tiles,))
            (self.folder / "job.json").write_text(json.dumps(about))
        except OSError as error:
            self.remove()
            raise SrkitError(
                f"the {int(np.prod(shape)) * dtype.itemsize / 1e6:,.0f} MB of '{target.name}' cannot be kept beside it "
                f"while it is made, in '{target.parent}': {one_line(error)}"
            ) from None

    @property
    def done(self) -> int:
        return int(self.flags.sum())

    def remove(self) -> None:
        shutil.rmtree(self.folder, ignore_errors=True)


def unfinished(target: Path, key: str) -> Grid | None:
    """The tiles of a result that was begun under the same key, None where there is none."""
    with suppress(OSError, ValueError, TypeError, AttributeError):
        about = json.loads((folder_of(target) / "job.json").read_text())
        if about.get("key") == key and about.get("boot") == boot():
            rows, columns = about.get("grid")
            return int(rows), int(columns)
    return None


def folder_of(target: Path) -> Path:
    """The hidden folder beside a target; a name that the system would not take then is told by its hash."""
    name = target.name
    if len(os.fsencode(name)) > LONGEST_NAME - len(ENDING) - 1:
        name = hashlib.sha256(os.fsencode(name)).hexdigest()[:20]
    return target.with_name(f".{name}{ENDING}")


def reserve(path: Path, size: int) -> None:
    """A file of `size` bytes that the disk really has: where it is full, writing to its map would end the process."""
    with open(path, "a+b") as file:
        have = os.fstat(file.fileno()).st_size
        if have == size:
            return
        if have > size:
            file.truncate(have := size)
        with suppress(AttributeError):  # of a system that has no such call
            try:
                os.posix_fallocate(file.fileno(), 0, size)
                return
            except OSError as error:
                if error.errno not in UNKNOWN:
                    raise
        while have < size:
            have += file.write(bytes(min(size - have, 2**20)))


def boot() -> str:
    """Which start of the machine this is, where the system says it."""
    with suppress(OSError):
        return BOOT.read_text().strip()
    return ""
