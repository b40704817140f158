"""Files: written whole or not at all, locked, and the folders srkit keeps them in."""

import hashlib
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, BinaryIO

from srkit.errors import SrkitError


def data_folder() -> Path:
    """Where datasets are put and looked for when no root is named: $SRKIT_DATA, else the user's data folder."""
    from platformdirs import user_data_path

    return Path(os.environ.get("SRKIT_DATA") or user_data_path("srkit")).expanduser()


def cache_folder() -> Path:
    """Where packs are kept: $SRKIT_CACHE, else the user's cache folder."""
    from platformdirs import user_cache_path

    return Path(os.environ.get("SRKIT_CACHE") or user_cache_path("srkit")) / "packs"


@contextmanager
def locked(lock: Path, *, wait: bool = True, busy: str = "") -> Iterator[None]:
    """Inside, no other program holds `lock`, a file that is made and stays, so that all lock the same one.

    wait: False raises SrkitError(busy) at once where another holds it. OSError where the file cannot be made; on a
    disk that has no locks, filelock makes and removes the file instead.
    """
    from filelock import FileLock, Timeout

    lock.parent.mkdir(parents=True, exist_ok=True)
    try:
        with FileLock(lock, blocking=wait):
            yield
    except Timeout:
        raise SrkitError(busy) from None


def lock_of(path: Path) -> Path:
    """The lock of a file in a folder of the user's, kept in the cache so that nothing is left beside it."""
    digest = hashlib.sha256(str(path.resolve()).encode()).hexdigest()
    return cache_folder().parent / "locks" / f"{digest[:20]}.lock"


def write_atomically(path: Path, write: Callable[[BinaryIO], Any]) -> None:
    """Give `write` a file beside `path`, flush it to the disk, then rename: all of it or nothing."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
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
