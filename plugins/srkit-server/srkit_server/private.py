"""A temporary folder for one server that nobody else can read, gone when the server is; also after a kill."""

import os
import shutil
import tempfile
import time
from contextlib import suppress
from pathlib import Path

from filelock import FileLock, Timeout

PREFIX = "srkit-server-"
LOCK = "in-use"
YOUNG = 60  # seconds: a folder without a lock may still get one


class PrivateFolder:
    """A folder of mode 0700 with a lock that the process holds; what killed servers left beside it is removed."""

    def __init__(self, within: Path | None = None):
        base = Path(tempfile.gettempdir() if within is None else within)
        remove_leftovers(base)
        self.path = Path(tempfile.mkdtemp(prefix=PREFIX, dir=base))
        self.lock = FileLock(self.path / LOCK)
        self.lock.acquire(timeout=0)

    def new(self) -> Path:
        """A folder in it whose name cannot be guessed."""
        return Path(tempfile.mkdtemp(dir=self.path))

    def folders(self) -> list[Path]:
        return [path for path in self.path.iterdir() if path.is_dir()]

    def close(self) -> None:
        self.lock.release()
        shutil.rmtree(self.path, ignore_errors=True)


def remove_leftovers(base: Path) -> list[Path]:
    """Remove the folders of servers that no longer run, and say which. Only one's own, and no links."""
    removed = []
    for path in base.glob(f"{PREFIX}*"):
        with suppress(OSError):
            about = path.lstat()
            own = not hasattr(os, "getuid") or about.st_uid == os.getuid()
            if path.is_symlink() or not path.is_dir() or not own or not abandoned(path, about.st_mtime):
                continue
            shutil.rmtree(path, ignore_errors=True)
            removed.append(path)
    return removed


def abandoned(path: Path, changed: float) -> bool:
    """Does no process hold its lock?"""
    if not (path / LOCK).exists():
        return time.time() - changed > YOUNG
    lock = FileLock(path / LOCK)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        return False
    lock.release()
    return True
