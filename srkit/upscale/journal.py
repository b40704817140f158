"""What a run over many pictures has finished, so that the same command goes on after Ctrl-C or a kill.

One file of JSON lines in the cache for each command, removed when a run is complete. Imports no torch.
"""

import hashlib
import json
import os
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from srkit.files import cache_folder
from srkit.upscale.targets import Job

About = list[int]  # a file's size in bytes and its time of change in nanoseconds


class Journal:
    """The finished jobs of one command. A line counts only while picture and result are as they were then.

    key: all that decides the pixels of a result: weights (by their hash), options, format. Two programs with the same
    key may write at the same time: each line is one write at the end of the file.
    """

    def __init__(self, key: Mapping[str, Any], folder: Path | None = None) -> None:
        digest = hashlib.sha256(json.dumps(key, sort_keys=True, default=str).encode()).hexdigest()
        self.path = (folder or cache_folder() / "upscale") / f"{digest[:20]}.jsonl"
        self.begun: dict[Job, About] = {}
        self.lines: dict[tuple[str, str], tuple[About, About]] = {}
        for line in self.read():
            with suppress(ValueError, KeyError, TypeError):  # a line that a kill cut off
                entry = json.loads(line)
                self.lines[entry["source"], entry["target"]] = (entry["was"], entry["is"])

    def read(self) -> list[bytes]:
        try:
            return self.path.read_bytes().splitlines()
        except OSError:
            return []

    def finished(self, job: Job) -> bool:
        """Was it done by an earlier run of the command, and have neither picture nor result changed since?

        Ask this before the picture is read: a picture that changes meanwhile is done again next time.
        """
        source, target = about(job.source), about(job.target)
        if source is None:
            return False
        self.begun[job] = source
        return target is not None and self.lines.get(names_of(job)) == (source, target)

    def add(self, job: Job) -> None:
        """The result is written. Where the cache cannot be written, nothing is remembered, and no picture fails."""
        was, now = self.begun.get(job) or about(job.source), about(job.target)
        source, target = names_of(job)
        line = json.dumps({"source": source, "target": target, "was": was, "is": now})
        with suppress(OSError):
            self.path.parent.mkdir(parents=True, exist_ok=True)
            file = os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o666)
            try:
                os.write(file, f"\n{line}\n".encode())  # a line that a kill cut off before it ends there
            finally:
                os.close(file)

    def close(self, *, complete: bool) -> None:
        """The run has ended. complete: every picture had its turn, so that the next call begins anew."""
        if complete:
            with suppress(OSError):
                self.path.unlink()


def names_of(job: Job) -> tuple[str, str]:
    return os.path.abspath(job.source), os.path.abspath(job.target)


def about(path: Path) -> About | None:
    """Size and time of change of a file, None where there is none."""
    try:
        found = path.stat()
    except OSError:
        return None
    return [found.st_size, found.st_mtime_ns]
