"""Folders that a command of `srkit data` makes: whose they are, and where a picture's file is in them."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from srkit.errors import DataError, UsageError, one_line
from srkit.files import write_atomically


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


def file_in(folder: Path, name: str, suffix: str = ".png") -> Path:
    """The file of a picture called `name`, which may have folders. DataError where it would be outside `folder`."""
    if not name or name.startswith(("/", "\\")) or ".." in name.replace("\\", "/").split("/") or ":" in name:
        raise DataError(f"'{name}' is no name for a file in a folder")
    return folder / f"{name}{suffix}"
