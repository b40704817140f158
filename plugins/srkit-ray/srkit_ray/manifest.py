"""The manifest: one line of JSON a picture, in files `manifest-00001.jsonl` that stand beside the results.

Each run adds files and changes none of an earlier one; of a picture that has several lines the last one counts. The
first line of each file says what the results are made with.
"""

import json
import re
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from srkit import OutputError, UsageError
from srkit_ray.places import MANIFEST, Place

NAME = re.compile(rf"{MANIFEST}(\d{{5,}})\.jsonl")
LINES = 50_000  # of one file
EVERY = 15.0  # seconds between two uploads of a file that grows, where the manifest is at an address


def lines_of(place: Place) -> Iterator[tuple[str, dict[str, Any]]]:
    """(file, line) of all whole lines, in the order they were written."""
    for name in place.files():
        if not NAME.fullmatch(name):
            continue
        for text in place.text(name).splitlines():
            try:
                line = json.loads(text)
            except ValueError:  # the last one of a process that was killed
                continue
            if isinstance(line, dict):
                yield name, line


def done_in(place: Place, made_with: Mapping[str, Any]) -> tuple[set[str], int]:
    """(pictures that were finished, the number of the last file).

    UsageError where the results there were made with something else.
    """
    done: set[str] = set()
    last = 0
    for name, line in lines_of(place):
        last = max(last, int(name[len(MANIFEST) : -len(".jsonl")]))
        if "made_with" in line:
            check_same(place, line["made_with"], made_with)
        elif isinstance(line.get("input"), str):
            (done.discard if line.get("error") else done.add)(line["input"])
    return done, last


def check_same(place: Place, before: Any, now: Mapping[str, Any]) -> None:
    now = json.loads(json.dumps(now))
    if before == now:
        return
    keys = sorted(key for key in {*before, *now} if before.get(key) != now.get(key))
    words = "; ".join(f"{key} was {before.get(key)!r} and is {now.get(key)!r}" for key in keys)
    raise UsageError(f"the results in '{place.word}' were made with other options: {words}. Name another folder")


class Manifest:
    """Writes the lines of one run. Here each line is on the disk at once; at an address after some seconds.

    OutputError where that fails.
    """

    def __init__(self, place: Place, made_with: Mapping[str, Any], last: int):
        self.place, self.made_with, self.number = place, made_with, last
        self.count = 0
        self.file: Any = None
        self.folder = tempfile.TemporaryDirectory(prefix="srkit-ray-") if not place.local else None
        self.sent = time.monotonic()

    def add(self, line: Mapping[str, Any]) -> None:
        try:
            if self.file is None or self.count >= LINES:
                self.begin()
            self.write(line)
        except OSError as error:
            raise OutputError(f"'{self.path}' cannot be written: {error.strerror}; the same command goes on") from None
        self.count += 1
        if self.folder is not None and time.monotonic() - self.sent > EVERY:
            self.send()

    def begin(self) -> None:
        """The next file, with what all is made with."""
        self.close_file()
        self.number, self.count = self.number + 1, 0
        while self.folder and self.place.has(self.name):  # another command's, since this one looked
            self.number += 1
        self.path = Path(self.folder.name) / self.name if self.folder else Path(self.place.path(self.name))
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self.file = open(self.path, "x", encoding="utf-8")  # noqa: SIM115 - closed by close_file
        self.write({"made_with": self.made_with})
        if self.folder:
            self.send()

    @property
    def name(self) -> str:
        return f"{MANIFEST}{self.number:05}.jsonl"

    def write(self, line: Mapping[str, Any]) -> None:
        self.file.write(json.dumps(line, ensure_ascii=False) + "\n")
        self.file.flush()

    def send(self) -> None:
        """Upload the file as it is now: an object store writes it whole or not at all."""
        self.sent = time.monotonic()
        system = self.place.opened[0]
        self.place.asked(system.put_file, str(self.path), self.place.path(self.path.name))

    def close_file(self) -> None:
        if self.file is not None:
            with suppress(OSError):  # what could not be written was told
                self.file.close()
            if self.folder is not None:
                self.send()
        self.file = None

    def close(self) -> None:
        self.close_file()
        if self.folder is not None:
            self.folder.cleanup()
