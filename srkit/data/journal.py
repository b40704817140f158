"""What was found of a dataset's pictures, one line each, so that a stopped command goes on where it was."""

import json
import os
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from threading import Lock
from typing import Any

from srkit.components import PairSequence

Stamp = list[list[int]]  # of each file its size in bytes and its time of change in nanoseconds


@dataclass(frozen=True)
class Known:
    """A picture as its dataset names it before it is read. files: HR and, where there is one, LR; none if not known."""

    name: str
    files: tuple[Path, ...] = ()

    def stamp(self) -> Stamp | None:
        """None where the picture has no files, so that nobody can say whether it has changed."""
        try:
            found = [file.stat() for file in self.files]
        except OSError:
            return None
        return [[about.st_size, about.st_mtime_ns] for about in found] or None


def known(pairs: PairSequence) -> list[Known]:
    """The pictures of a dataset in its order; where it does not say their names, each is read for that."""
    sources = getattr(pairs, "sources", None)
    if callable(sources):
        return [Known(str(name), tuple(map(Path, files))) for name, files in sources()]
    names = getattr(pairs, "names", None)
    if isinstance(names, list) and len(names) == len(pairs):
        return [Known(str(name)) for name in names]
    return [Known(pairs[index].name) for index in range(len(pairs))]


class Journal:
    """A file of JSON lines; a line counts while the picture's files are as they were.

    Several programs may add to one at the same time: each line is one write at the end of the file.
    """

    def __init__(self, path: Path) -> None:
        self.path, self.lock = path, Lock()
        self.lines: dict[str, tuple[Stamp, dict[str, Any]]] = {}
        with suppress(OSError):
            for line in path.read_bytes().splitlines():
                with suppress(ValueError, KeyError, TypeError):  # a line that a kill cut off
                    entry = json.loads(line)
                    self.keep(entry["name"], entry["was"], entry["found"])

    def keep(self, name: str, stamp: Stamp, found: Mapping[str, Any]) -> None:
        before, values = self.lines.get(name, (stamp, {}))
        self.lines[name] = (stamp, {**(values if before == stamp else {}), **found})

    def get(self, picture: Known) -> dict[str, Any]:
        """All that was found of a picture; nothing where it has changed since."""
        stamp, found = self.lines.get(picture.name, (None, {}))
        return dict(found) if stamp is not None and picture.stamp() == stamp else {}

    def add(self, picture: Known, stamp: Stamp | None, found: Mapping[str, Any]) -> None:
        """stamp: from before the picture was read. OSError where the file cannot be written."""
        if stamp is None:
            return
        line = json.dumps({"name": picture.name, "was": stamp, "found": found})
        with self.lock:
            self.keep(picture.name, stamp, found)
            self.path.parent.mkdir(parents=True, exist_ok=True)
            file = os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o666)
            try:
                os.write(file, f"\n{line}\n".encode())  # a line that a kill cut off before it ends there
            finally:
                os.close(file)
