"""A file in which somebody says what is in the pictures of a test set: skin tones, places, anything."""

import csv
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from srkit.errors import DataError, missing_path

NAMED = 3


@dataclass(frozen=True)
class Tags:
    """tags: by the picture's name as the file has it, `img_5`, `img_5.png` or `set5/baby`."""

    path: Path
    tags: Mapping[str, Sequence[str]]

    def word_for(self, dataset: str, name: str) -> str:
        """How the file names a picture; empty where it does not. With the set before it comes first."""
        for word in (f"{dataset}/{name}", name):
            if word in self.tags:
                return word
        return ""


def read_tags(path: Path) -> Tags:
    """A CSV file: a line a picture, its name and one tag or more; a first line that begins with `image` is a heading.

    Raises DataError, in a line that names the file and the line.
    """
    path = path.expanduser()
    if not path.is_file():
        raise missing_path(path, "file")
    found: dict[str, list[str]] = {}
    try:
        with open(path, newline="", encoding="utf-8-sig") as file:
            reader = csv.reader(file, strict=True)
            for row in reader:
                word, *tags = (text.strip() for text in row) if row else ("",)
                tags = [tag for tag in tags if tag]
                if not any(map(str.strip, row)) or (not found and word.lower() == "image"):
                    continue
                where = f"'{path}', line {reader.line_num}"
                if not word or not tags:
                    raise DataError(f"{where}: {repr(word) if word else 'no picture'} has no tag; write image,tag")
                if (name := bare(word)) in found:
                    raise DataError(f"{where}: {word!r} is there already; write all its tags in one line")
                found[name] = list(dict.fromkeys(tags))
    except (UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"'{path}', line {reader.line_num + 1}: it is no CSV in UTF-8: {error}") from None
    except OSError as error:
        raise DataError(f"'{path}' cannot be read: {error.strerror}") from None
    if not found:
        raise DataError(f"'{path}' has no line; write image,tag for each picture")
    return Tags(path, found)


def bare(word: str) -> str:
    """Without the suffix of a picture's file."""
    path = PurePosixPath(word)
    suffixes = (".png", ".jpg", ".jpeg", ".webp", ".tif", ".tiff", ".bmp")
    return path.with_suffix("").as_posix() if path.suffix.lower() in suffixes else word


def tagged(tags: Tags, dataset: str, names: Sequence[str]) -> dict[str, list[str]]:
    """The names of a set's pictures, by tag."""
    groups: dict[str, list[str]] = {}
    for name in names:
        for tag in tags.tags.get(tags.word_for(dataset, name), ()):
            groups.setdefault(tag, []).append(name)
    return groups


def left_over(tags: Tags, sets: Mapping[str, Sequence[str]]) -> list[str]:
    """What has no counterpart, in words: names of no picture of any set, and pictures without a tag. sets: names."""
    used = {tags.word_for(dataset, name) for dataset, names in sets.items() for name in names}
    lines = []
    if unknown := [word for word in tags.tags if word not in used]:
        lines.append(f"'{tags.path}': {some(unknown, 'name')} of no picture")
    for dataset, names in sets.items():
        if bare_ := [name for name in names if not tags.word_for(dataset, name)]:
            lines.append(f"'{tags.path}': {some(bare_, 'picture')} of {dataset} without a tag")
    return lines


def some(names: Sequence[str], noun: str) -> str:
    more = ", ..." if len(names) > NAMED else ""
    return f"{len(names):,} {noun}{'' if len(names) == 1 else 's'} ({', '.join(names[:NAMED])}{more})"
