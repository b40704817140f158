"""Which files are pictures, by suffix; all pictures below a folder."""

import os
from collections.abc import Iterator, Sequence
from functools import cache
from importlib.util import find_spec
from pathlib import Path

from PIL import Image

from srkit.errors import ImageError, one_line

#: Formats Pillow knows that hold no pixels of their own, need another program, or are scientific data.
NO_PICTURES = {"BUFR", "EPS", "GRIB", "HDF5", "IMT", "IPTC", "MCIDAS", "MPEG", "PDF", "WMF", "XVTHUMB"}

NAMED = 3  # files named in a line about many


@cache
def readable_suffixes() -> dict[str, str]:
    """Suffix -> Pillow's format, for every kind of picture that can be read."""
    Image.init()
    kinds = {suffix: "JPEG" if kind == "MPO" else kind for suffix, kind in Image.registered_extensions().items()}
    kinds = {suffix: kind for suffix, kind in kinds.items() if kind in Image.OPEN and kind not in NO_PICTURES}
    return kinds | dict.fromkeys((".heic", ".heif"), "HEIF") if find_spec("pillow_heif") else kinds


def list_images(folder: str | Path) -> list[Path]:
    """Every picture below `folder`, at any depth, through links too, sorted by path; hidden files are passed over.

    Errors as `list_files`.
    """
    return list_files(folder)[0]


def list_files(folder: str | Path) -> tuple[list[Path], list[Path]]:
    """(pictures, other files) below `folder`, told apart by suffix; as `list_images`.

    Links are followed; a folder that is met again, by a circle of links or by two links, counts once, and its link
    is among the others, as is a link that leads nowhere. Raises ImageError where a folder cannot be read.
    """
    folder = Path(folder)
    kinds = readable_suffixes()
    pictures: list[Path] = []
    others: list[Path] = []
    for path in walk(folder, set()):
        picture = path.suffix.lower() in kinds and path.is_file()
        (pictures if picture else others).append(path)
    return sorted(pictures), sorted(others)


def walk(folder: Path, seen: set[tuple[int, int]]) -> Iterator[Path]:
    """All that is no folder below `folder`, and the folders that were seen before."""
    try:
        about = folder.stat()
        seen.add((about.st_dev, about.st_ino))
        with os.scandir(folder) as entries:
            visible = sorted((e for e in entries if not e.name.startswith(".")), key=lambda e: (e.is_symlink(), e.name))
        for entry in visible:  # folders first, links to them after: what is met twice has its own name
            path = folder / entry.name
            if not is_folder(entry):
                yield path
                continue
            about = path.stat()
            if (about.st_dev, about.st_ino) in seen:
                yield path
            else:
                yield from walk(path, seen)
    except FileNotFoundError:
        return  # removed meanwhile, or never there
    except OSError as error:
        raise ImageError(f"the folder '{folder}' cannot be read: {one_line(error)}") from None


def is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link to itself
        return False


def left_out(others: Sequence[Path], folder: Path) -> str:
    """Files that are no pictures, in words: `2 files are no pictures and left out: a.mov, b.txt`; empty for none."""
    if not others:
        return ""
    names = [str(path.relative_to(folder)) for path in others]
    are = "file is no picture" if len(names) == 1 else "files are no pictures"
    return f"{len(names)} {are} and left out: {', '.join(names[:NAMED])}{', ...' if len(names) > NAMED else ''}"
