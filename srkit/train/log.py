"""The log that every run writes: one JSON object a line in `log.jsonl`, the latest pictures beside it."""

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from PIL import Image

if TYPE_CHECKING:
    import numpy as np


class JsonLines:
    """Writes `run_dir/log.jsonl` and `run_dir/images/<name>.png`. A resumed run overwrites what it repeats."""

    def __init__(self, run_dir: Path):
        self.path = Path(run_dir) / "log.jsonl"
        self.begun = False

    def scalars(self, step: int, values: Mapping[str, float | str]) -> None:
        if not self.begun:
            self.forget_from(step)
            self.begun = True
        with open(self.path, "a", encoding="utf-8") as file:
            file.write(json.dumps({"step": step, **values}) + "\n")

    def images(self, step: int, pictures: Mapping[str, "np.ndarray"]) -> None:
        folder = self.path.with_name("images")
        folder.mkdir(exist_ok=True)
        for name, pixels in pictures.items():
            Image.fromarray(pixels).save(folder / f"{name.replace('/', '-')}.png")

    def close(self) -> None:
        pass

    def forget_from(self, step: int) -> None:
        """Drop the lines of steps that are about to be run again, and one that was cut off by a kill."""
        if not self.path.exists():
            return
        kept = []
        for line in self.path.read_text(encoding="utf-8").splitlines():
            try:
                if json.loads(line)["step"] < step:
                    kept.append(line + "\n")
            except (ValueError, KeyError):
                continue
        self.path.write_text("".join(kept), encoding="utf-8")


def with_log(folder: Path, trackers: Iterable[Any]) -> list[Any]:
    """A run's log, then the trackers it names; the log, where a run names that too, is not written twice."""
    return [JsonLines(folder), *(tracker for tracker in trackers if not isinstance(tracker, JsonLines))]
