"""Files: written whole or not at all, locked, and the folders srkit keeps them in."""

import hashlib
import os
import platform
import re
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, BinaryIO

from srkit.errors import SrkitError

LONGEST_NAME = 255  # bytes that file systems take
TEMPORARY = re.compile(r"\..+\.([0-9a-f]{8})-(\d+)\.tmp", re.DOTALL)
DAY = 24 * 3600.0  # seconds


def data_folder() -> Path:
    """Where datasets are put and looked for when no root is named: $SRKIT_DATA, else the user's data folder."""
    from platformdirs import user_data_path

    return Path(os.environ.get("SRKIT_DATA") or user_data_path("srkit")).expanduser()


def cache_folder() -> Path:
    """Where is kept what can be made anew: $SRKIT_CACHE, else the user's cache folder. A package has a folder in it."""
    from platformdirs import user_cache_path

    return Path(os.environ.get("SRKIT_CACHE") or user_cache_path("srkit"))


def packs_folder() -> Path:
    return cache_folder() / "packs"


@contextmanager
def locked(lock: Path, *, wait: bool = True, busy: str = "") -> Iterator[None]:
    """Inside, no other program holds `lock`, a file that is made and stays, so that all lock the same one.

    wait: False raises SrkitError(busy) at once where another holds it. OSError where the file cannot be made; on a
    disk that has no locks, filelock makes and removes the file instead.
    """
    from filelock import FileLock, Timeout

    lock.parent.mkdir(parents=True, exist_ok=True)
    try:
        with FileLock(lock, blocking=wait, thread_local=False):  # it may be released by another thread
            yield
    except Timeout:
        raise SrkitError(busy) from None


def lock_of(path: Path) -> Path:
    """The lock of a file in a folder of the user's, kept in the cache so that nothing is left beside it."""
    digest = hashlib.sha256(str(path.resolve()).encode()).hexdigest()
    return cache_folder() / "locks" / f"{digest[:20]}.lock"


def temporary_of(path: Path) -> Path:
    """The hidden name beside `path` of what this process writes there; `remove_leftovers` knows it."""
    ending = f".{machine()}-{os.getpid()}.tmp"
    name = path.name
    if len(os.fsencode(name)) + len(ending) >= LONGEST_NAME:
        name = hashlib.sha256(os.fsencode(name)).hexdigest()[:20]
    return path.with_name(f".{name}{ending}")


def machine() -> str:
    """This computer, in eight letters: on a disk that several share, each knows its own files."""
    return hashlib.sha256(platform.node().encode()).hexdigest()[:8]


def remove_leftovers(folder: Path) -> int:
    """Remove what processes that were killed left half-written in `folder`; how many files that were.

    A file is one where its process ran on this machine and is gone; another machine's, where it is a day old.
    """
    removed = 0
    with suppress(OSError), os.scandir(folder) as entries:
        for entry in entries:
            match = TEMPORARY.fullmatch(entry.name)
            with suppress(OSError):
                if match and (is_gone(int(match[2])) if match[1] == machine() else is_old(entry.stat().st_mtime)):
                    os.unlink(entry.path)
                    removed += 1
    return removed


def is_gone(process: int) -> bool:
    """Does no process of this number run here? On Windows this cannot be asked, and open files cannot be removed."""
    if sys.platform == "win32":
        return process != os.getpid()
    try:
        os.kill(process, 0)
    except (ProcessLookupError, OverflowError):
        return True
    except OSError:  # another user's
        pass
    return False


def is_old(changed: float) -> bool:
    return time.time() - changed > DAY


def write_atomically(path: Path, write: Callable[[BinaryIO], Any]) -> None:
    """Give `write` a binary file beside `path`, flush it to the disk, then rename: all of it or nothing.

    OSError where it cannot be written; what was at `path` is then as it was.
    """
    temporary = temporary_of(path)
    try:
        with open(temporary, "w+b") as file:
            write(file)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException:
        with suppress(OSError):
            temporary.unlink()
        raise
