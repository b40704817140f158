"""What runs on a worker: a model that was loaded once, and pictures one after the other."""

import errno
import platform
import posixpath
import shutil
import tempfile
import time
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from srkit_ray.places import WORK, Place, first_line

#: Of a disk that takes nothing more, as errors have it: the next picture would hear the same.
FULL = tuple(f"[Errno {code}]" for code in (errno.ENOSPC, errno.EDQUOT, errno.EROFS))
TRIES = 2  # more times that a picture is begun with which a worker died


@dataclass(frozen=True)
class Task:
    """What all workers are told.

    load, options: the keywords of `srkit.load` and of `upscale_file`. home: the folder of unfinished results, on the
    disk of the finished ones, so that those only change their name; empty for the worker's own. attempts: a handle of
    `Attempts`.
    """

    source: Place
    target: Place
    load: Mapping[str, Any]
    options: Mapping[str, Any]
    threads: int
    home: str
    attempts: Any


class Worker:
    """Called with `{"input": name, "output": name}`; gives a line of the manifest, and `full`: is the disk?

    A bad picture is such a line too.
    """

    def __init__(self, task: Task):
        import torch

        import srkit

        srkit.keep_freed_memory()
        torch.set_num_threads(task.threads)
        self.task = task
        self.upscaler = srkit.load(**task.load, progress=False)
        self.home = Path(task.home or tempfile.gettempdir())
        if not self.home.is_dir():
            raise srkit.SrkitError(f"'{task.target.word}' is not on a disk that worker {platform.node()} shares")

    def __call__(self, row: Mapping[str, str]) -> dict[str, Any]:
        import ray

        if ray.get(self.task.attempts.begin.remote(row["input"])) > TRIES:
            error = f"a worker died with it {TRIES + 1} times: give it more memory, or a smaller --tile"
            line = {**row, "width": 0, "height": 0, "seconds": 0.0, "error": error, "full": False}
        else:
            line = self.line(row)
        self.task.attempts.end.remote(row["input"])
        return line

    def line(self, row: Mapping[str, str]) -> dict[str, Any]:
        begun = time.perf_counter()
        line: dict[str, Any] = {"input": row["input"], "output": row["output"], "width": 0, "height": 0}
        folder = self.home / f"{WORK}{uuid.uuid4().hex}"
        try:
            folder.mkdir(mode=0o700)
            made = self.made(row, folder)
            import srkit

            line["height"], line["width"] = srkit.image_size(made)
            self.task.target.publish(made, row["output"])
            error = ""
        except Exception as problem:  # one bad picture costs no other
            error = self.told(problem, row, folder)
        finally:
            shutil.rmtree(folder, ignore_errors=True)
        return line | {
            "seconds": round(time.perf_counter() - begun, 3),
            "error": error,
            "full": any(word in error for word in FULL),
        }

    def made(self, row: Mapping[str, str], folder: Path) -> Path:
        name = posixpath.basename(row["input"])
        source = Path(self.task.source.path(row["input"]))
        if not self.task.source.local:
            (folder / "in").mkdir()
            source = folder / "in" / name
            self.task.source.read(row["input"], source)
        return self.upscaler.upscale_file(source, folder / posixpath.basename(row["output"]), **self.task.options)

    def told(self, problem: Exception, row: Mapping[str, str], folder: Path) -> str:
        """An error in one line, with the names that the user knows in the place of those in `folder`."""
        from srkit import SrkitError

        text = first_line(problem)
        for path, name in (
            (folder / "in" / posixpath.basename(row["input"]), self.task.source.shown(row["input"])),
            (folder / posixpath.basename(row["output"]), self.task.target.shown(row["output"])),
        ):
            text = text.replace(str(path), name)
        return text if isinstance(problem, SrkitError) else f"{type(problem).__name__}: {text}"
