"""The pictures that are meant: files, folders with their subfolders, globs that the shell left as they are.

Imports no torch. What is no picture is left out and told; what is not there, or is no file, is an error in one line.
"""

import glob
import os
import stat
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path

from srkit.errors import UnknownName, UsageError, missing_path, one_line
from srkit.images import left_out, list_files, readable_suffixes

KINDS = {stat.S_IFIFO: "a pipe", stat.S_IFSOCK: "a socket", stat.S_IFCHR: "a device", stat.S_IFBLK: "a device"}


@dataclass(frozen=True)
class Source:
    """A picture. inside: the subfolders that its result keeps below an output folder; none for a file by its name."""

    path: Path
    inside: Path = Path()


@dataclass(frozen=True)
class Found:
    """The pictures, each once, in the order of the words, sorted in each folder; and what was left out, in words."""

    sources: tuple[Source, ...]
    notices: tuple[str, ...] = ()


def inputs_of(words: Sequence[str]) -> Found:
    """All pictures that `words` name.

    A word is a file, which is taken whatever its name; a folder, of which all pictures are taken, at any depth; or a
    glob, also `photos/**/*.jpg`. Hidden files are taken only by their name. A name that exists is meant itself,
    brackets and commas and all. Where several folders are named, each keeps its own name in an output folder, as
    `cp -r a b out` does.

    Raises UnknownName for what is not there, UsageError for what is no file or folder, or has no picture in it.
    """
    sources: dict[str, Source] = {}
    notices: list[str] = []
    named = [word for each in words for word in parted(each)]
    several = len({os.path.abspath(word) for word in named if os.path.isdir(word)}) > 1
    for word in named:
        if has_magic(word):
            found, others, root = globbed(word)
        elif (path := existing(word)).is_dir():
            found, others, root = in_folder(path, Path(os.path.basename(os.path.abspath(word))) if several else Path())
        else:
            found, others, root = [Source(path)], [], path.parent
        told = left_out(others, root)
        if not found:
            what = "match" if has_magic(word) else "in"
            raise UsageError(f"no pictures {what} '{printable(word)}'" + (f": {printable(told)}" if told else ""))
        notices += [printable(told)] if told else []
        for source in found:
            sources.setdefault(os.path.abspath(source.path), source)
    return Found(tuple(sources.values()), tuple(notices))


def parted(word: str) -> list[str]:
    """The word where there is such a file, else its parts between commas, as every list of a command line is read."""
    if "," not in word or os.path.lexists(word):
        return [word]
    parts = [part.strip() for part in word.split(",") if part.strip()]
    if not parts:
        raise UsageError(f"no picture is named in '{word}'")
    return parts


def existing(word: str) -> Path:
    """A file or folder that is there and can be read from more than once; errors as `inputs_of`."""
    path, shown = Path(word), printable(word)
    try:
        if not word:
            raise UsageError("'' names no picture; the current folder is '.'")
        mode = path.stat().st_mode
    except (FileNotFoundError, NotADirectoryError):
        if path.is_symlink():
            raise UsageError(f"'{shown}' is a link to '{printable(os.readlink(path))}', which is not there") from None
        raise missing(path) from None
    except ValueError:  # a null character
        raise UsageError(f"'{shown}' cannot be the name of a file") from None
    except OSError as error:  # a circle of links, a folder that may not be read, a name that is too long
        raise UsageError(f"'{shown}' cannot be read: {one_line(error)}") from None
    if kind := KINDS.get(stat.S_IFMT(mode)):
        hint = f"; to read from it: srkit upscale - < '{shown}'" if kind == "a pipe" else ""
        raise UsageError(f"'{shown}' is {kind}, not a file{hint}")
    return path


def missing(path: Path) -> UsageError:
    try:
        return missing_path(path, "picture")
    except OSError:  # the folder may not be listed
        return UnknownName(f"no picture '{printable(path)}'")


def in_folder(folder: Path, inside: Path) -> tuple[list[Source], list[Path], Path]:
    """(pictures, other files, `folder`): all below it, their subfolders kept below `inside`."""
    pictures, others = list_files(folder)
    return [Source(path, inside / path.parent.relative_to(folder)) for path in pictures], others, folder


def has_magic(word: str) -> bool:
    """Is it a glob, and not the name of something that is there?"""
    return glob.has_magic(word) and not os.path.lexists(word)


def globbed(word: str) -> tuple[list[Source], list[Path], Path]:
    """(pictures, other files, the folder above all) that a glob matches; matched folders give all that is in them."""
    root, pattern = literal(word)
    if "**" in pattern:  # links in circles are not followed
        below = [path for kind in list_files(root) for path in kind]
        files = [path for path in below if matches(path.relative_to(root).parts, pattern)]
    else:
        files = [root / name for name in sorted(glob.glob(os.path.join(*pattern), root_dir=root))]
    pictures: list[Source] = []
    others: list[Path] = []
    kinds = readable_suffixes()
    for path in files:
        if path.is_dir():
            found, rest, _ = in_folder(path, path.relative_to(root))
            pictures, others = pictures + found, others + rest
        elif path.suffix.lower() in kinds and path.is_file():
            pictures.append(Source(path, path.parent.relative_to(root)))
        else:
            others.append(path)
    return pictures, others, root


def literal(word: str) -> tuple[Path, list[str]]:
    """(the folder before the first wildcard, the parts of the pattern below it); `[a]` that is there is a name."""
    parts = list(Path(word).parts)
    root = Path()
    while len(parts) > 1 and (not glob.has_magic(parts[0]) or os.path.lexists(root / parts[0])):
        root /= parts.pop(0)
    return root, parts


def matches(parts: Sequence[str], pattern: Sequence[str]) -> bool:
    """Does a path match a pattern, part by part? `**` is any number of folders."""
    if not pattern:
        return not parts
    if pattern[0] == "**":
        return any(matches(parts[start:], pattern[1:] or ["*"]) for start in range(len(parts) + 1))
    return bool(parts) and fnmatch(parts[0], pattern[0]) and matches(parts[1:], pattern[1:])


def printable(path: str | Path, encoding: str | None = None) -> str:
    """A path as one line of text that `encoding` can take, stdout's if None: the rest of it as `\\n`, `\\udcff`.

    For showing, not for opening: names may be any bytes, and stdout may be ASCII.
    """
    encoding = encoding or getattr(sys.__stdout__ or sys.stdout, "encoding", None) or "utf-8"
    lines = "".join(c if c.isprintable() or c == " " else ascii(c)[1:-1] for c in str(path))
    return lines.encode(encoding, "backslashreplace").decode(encoding)


def listed(names: Iterable[str | Path], most: int = 3) -> str:
    """A few names, and how many more there are: `a.png, b.png, c.png, ...`."""
    shown = [printable(name) for name in names]
    return ", ".join(shown[:most]) + (", ..." if len(shown) > most else "")
