"""What a benchmark has computed, kept so that it is computed once: files of JSON lines that are only added to.

One file holds the values of one key, which is all that a value depends on but the picture; each line is a picture's.
A line is written at once, so several processes may add to one file, an interrupted one leaves what it has done, and
a line that is not whole is passed over.
"""

import hashlib
import json
import math
import os
import re
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from srkit.errors import one_line
from srkit.fetch import file_sha256
from srkit.images import LOG

#: Part of every key: raised when the same weights and pictures would give other values than before.
SCORING_VERSION = 1
SETTLED = 2.0  # seconds after which a file that changes has another time of change, on any file system
FACTS = "facts.jsonl"


@dataclass(frozen=True)
class Kept:
    """One value of one picture.

    Attributes:
        value: infinite for the PSNR of identical pictures, NaN where the metric says so.
        seconds: that upscaling took; None where nothing was upscaled.
        parameters: of the network; None where there is none.
        where: device, threads and torch version, in words.
    """

    value: float
    seconds: float | None = None
    parameters: int | None = None
    where: str = ""


@dataclass
class Store:
    """The results folder; None keeps in memory only, for as long as the process lasts."""

    folder: Path | None
    values: dict[str, dict[str, Kept]] = field(default_factory=dict)
    facts: dict[str, Any] = field(default_factory=dict)
    broken: bool = False  # the folder cannot be written

    def __post_init__(self) -> None:
        for line in self.lines(FACTS):
            if isinstance(line.get("fact"), str):
                self.facts[line["fact"]] = line.get("value")

    def kept(self, key: Mapping[str, Any]) -> dict[str, Kept]:
        """The values of a key, by the picture's digest."""
        name = file_name(key)
        if name not in self.values:
            found = {}
            for line in self.lines(name):
                if (one := kept_of(line)) is not None:
                    found[line["picture"]] = one
            self.values[name] = found
        return self.values[name]

    def keep(self, key: Mapping[str, Any], picture: str, name: str, one: Kept) -> None:
        """Add a value. name: the picture's, for whoever reads the file."""
        self.kept(key)[picture] = one
        value = one.value if math.isfinite(one.value) else str(one.value)
        line = {"picture": picture, "name": name, "value": value, "seconds": one.seconds}
        self.add(file_name(key), line | {"parameters": one.parameters, "where": one.where}, {"key": key})

    def recall(self, fact: Any) -> Any:
        """What was remembered of it; None for nothing."""
        return self.facts.get(digest_of(fact))

    def remember(self, fact: Any, value: Any) -> None:
        """Keep what takes long to find out. fact: all that `value` depends on, as JSON."""
        self.facts[digest_of(fact)] = value
        self.add(FACTS, {"fact": digest_of(fact), "value": value})

    def lr_file(self, key: Any) -> Path | None:
        """Where the LR that is made of a picture is kept; None without a folder. key: all that it depends on."""
        return None if self.folder is None else self.folder / "lr" / f"{digest_of([key, SCORING_VERSION])}.png"

    def sha256(self, path: Path) -> str:
        """Of a file; remembered for as long as its size and its times stay."""
        about = path.stat()
        fact = ["sha256", str(path.resolve()), about.st_size, about.st_mtime_ns, about.st_ctime_ns]
        if isinstance(known := self.recall(fact), str):
            return known
        found = file_sha256(path)
        # A file that changed just now may change again without another time.
        if time.time() - max(about.st_mtime, about.st_ctime) > SETTLED:
            self.remember(fact, found)
        return found

    def lines(self, name: str) -> Iterator[dict[str, Any]]:
        """The whole lines of a file, with a notice where there are others."""
        if self.folder is None or not (self.folder / name).is_file():
            return
        bad = 0
        with open(self.folder / name, "rb") as file:
            for text in file:
                try:
                    line = json.loads(text)
                except ValueError:
                    line = None
                if isinstance(line, dict):
                    yield line
                else:
                    bad += bool(text.strip())
        if bad:
            LOG.warning("%s: %s", self.folder / name, "lines that are not whole are passed over, and computed again")

    def add(self, name: str, line: Mapping[str, Any], first: Mapping[str, Any] | None = None) -> None:
        """Append a line in one write; `first` before it, in a new file. Without a folder to write: nothing."""
        if self.folder is None or self.broken:
            return
        text = json.dumps(line) + "\n"
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            with open(self.folder / name, "a+b", buffering=0) as file:
                size = file.seek(0, os.SEEK_END)
                if size == 0 and first:
                    text = json.dumps(first) + "\n" + text
                elif size and not ends_line(file):
                    text = "\n" + text  # after what an interrupted process left
                file.write(text.encode())
        except OSError as error:
            self.broken = True
            LOG.warning("'%s' cannot be written, so these results are not kept: %s", self.folder, one_line(error))


def ends_line(file: Any) -> bool:
    file.seek(-1, os.SEEK_END)
    return bool(file.read(1) == b"\n")


def kept_of(line: Mapping[str, Any]) -> Kept | None:
    """The value a line holds; None for another line, or one that holds none."""
    try:
        one = Kept(float(line["value"]), line["seconds"], line["parameters"], str(line["where"]))
        numbers = all(n is None or isinstance(n, int | float) for n in (one.seconds, one.parameters))
    except (KeyError, TypeError, ValueError):
        return None
    return one if numbers and isinstance(line.get("picture"), str) else None


def digest_of(value: Any) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True, default=str).encode()).hexdigest()[:24]


def file_name(key: Mapping[str, Any]) -> str:
    """What the file of a key is called: for the reader, then a digest of the key."""
    named = [key.get("subject", {}).get("model", {}).get("name", "images"), key.get("metric", {}).get("name", "")]
    model, metric = (str(name).rpartition(":")[2] for name in named)
    readable = re.sub(r"[^\w.+-]+", "_", f"{model}-x{key.get('scale')}-{key.get('protocol')}-{metric}")[:60]
    return f"{readable}-{digest_of(key)}.jsonl"
