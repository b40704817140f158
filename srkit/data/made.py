"""Folders that a command of `srkit data` makes: whose they are, what is in them, where a picture's file is."""

import json
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from srkit.data.cores import each
from srkit.data.journal import Journal, Known
from srkit.errors import DataError, UsageError, one_line
from srkit.files import remove_leftovers, write_atomically


def claim_folder(folder: Path, note: str, about: Mapping[str, Any], what: str) -> None:
    """Say in the folder, in a hidden file `note`, what is made in it: `about`, as JSON.

    Raises UsageError where something else is. what: that differs then, in words: `pairs of another list or scale`.
    """
    file = folder / note
    try:
        if file.exists():
            if json.loads(file.read_text(encoding="utf-8")) != json.loads(json.dumps(about)):
                raise UsageError(f"'{folder}' holds {what} ({note}); name another folder")
            return
        if folder.is_dir() and any(folder.iterdir()):
            raise UsageError(f"'{folder}' is not empty, and not of this command; name another folder")
        folder.mkdir(parents=True, exist_ok=True)
        write_atomically(file, lambda out: out.write(json.dumps(about, indent=2).encode()))
    except (OSError, ValueError) as error:
        raise UsageError(f"cannot write into '{folder}': {one_line(error)}") from None


def check_distinct(names: Iterable[str]) -> None:
    """DataError where two pictures would have one file."""
    if twice := [name for name, count in Counter(names).items() if count > 1]:
        raise DataError(f"two pictures are called '{twice[0]}', so that one file cannot hold both")


def made_once(
    pictures: Sequence[Known],
    folder: Path,
    lines: str,
    is_there: Callable[[Known, Mapping[str, Any]], bool],
    make: Callable[[int], dict[str, Any]],
    progress: Callable[[int, int, int], None],
) -> tuple[list[dict[str, Any]], list[int]]:
    """What `make(index)` says of each picture, in order; and the indices of those that were made now.

    A picture is not made again that `lines`, a journal in the folder, has, that has not changed since, and of which
    all files are there: is_there(picture, what was said). progress(done, total, done before) is called after each.
    """
    for place in [path for path in folder.rglob("*") if path.is_dir()]:
        remove_leftovers(place)
    journal = Journal(folder / lines)
    found = [journal.get(picture) for picture in pictures]
    waiting = [i for i, said in enumerate(found) if not said or not is_there(pictures[i], said)]
    start = len(pictures) - len(waiting)

    def job(index: int) -> dict[str, Any]:
        stamp = pictures[index].stamp()
        said = make(index)
        journal.add(pictures[index], stamp, said)
        return said

    done = each(job, waiting, lambda done, _: progress(start + done, len(pictures), start))
    for index, said in zip(waiting, done, strict=True):
        found[index] = said
    return found, waiting


def file_in(folder: Path, name: str, suffix: str = ".png") -> Path:
    """The file of a picture called `name`, which may have folders. DataError where it would be outside `folder`."""
    if not name or name.startswith(("/", "\\")) or ".." in name.replace("\\", "/").split("/") or ":" in name:
        raise DataError(f"'{name}' is no name for a file in a folder")
    return folder / f"{name}{suffix}"
