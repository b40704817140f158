"""Folders of ready SR pictures, of any program: which file is which picture of a test set."""

import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from srkit.components import Pair
from srkit.errors import DataError, UsageError, missing_path
from srkit.images import list_files, read_rgb

OTHER = {"lr", "lq", "hr", "gt", "hq", "input", "target"}  # said of what is no SR picture
NAMED = 3


@dataclass(frozen=True)
class Matched:
    """files: by the picture's name. contents: their digests. left: files that are not used.

    faults: why a picture has none. several: those of them for which there is more than one file.
    """

    files: Mapping[str, Path]
    contents: Mapping[str, str]
    faults: Mapping[str, str]
    several: Sequence[str]
    left: Sequence[Path]


class Unpaired:
    """Pictures without HR, for metrics that need none: LR to be upscaled, or ready SR, of which it gives the names.

    Raises DataError for a folder without pictures.
    """

    def __init__(self, folder: Path, low_res: bool):
        self.folder, self.low_res = folder, low_res
        self.files = list_files(folder)[0]
        if not self.files:
            raise DataError(f"no pictures in '{folder}'")
        stems = Counter(path.relative_to(folder).with_suffix("") for path in self.files)
        below = [path.relative_to(folder) for path in self.files]
        self.names = [(path.with_suffix("") if stems[path.with_suffix("")] == 1 else path).as_posix() for path in below]

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, index: int) -> Pair:
        lr = read_rgb(self.files[index]) if self.low_res else None
        return Pair(self.names[index], lr, None)  # type: ignore[arg-type]  # there is none

    def sources(self) -> list[tuple[str, list[Path]]]:
        """The name and the file of each picture."""
        return [(name, [file]) for name, file in zip(self.names, self.files, strict=True)]

    def describe(self) -> str:
        """How many there are, in one line."""
        return f"{len(self)} {'LR' if self.low_res else 'SR'} pictures in '{self.folder}', without HR"


def own_pictures(folder: Path, digest: Callable[[Path], str]) -> Matched:
    """Each picture of a folder as it is called, for metrics that need no HR."""
    alone = Unpaired(folder, low_res=False)
    files = dict(zip(alone.names, alone.files, strict=True))
    return Matched(files, contents_of(files, digest), {}, [], [])


def folder_named(word: str) -> tuple[str, Path]:
    """`RCAN=results/x2` as name and folder. Raises UsageError, or UnknownName where there is no folder."""
    name, equals, text = word.partition("=")
    folder = Path(text).expanduser()
    if not equals or not name.strip() or not text.strip():
        raise UsageError(f"--images wants NAME=DIR, as in RCAN=results/x2, not '{word}'")
    if not folder.is_dir():
        raise missing_path(folder, "folder")
    return name.strip(), folder


def match(folder: Path, set_name: str, names: Sequence[str], scale: int, digest: Callable[[Path], str]) -> Matched:
    """The file of each picture: of its name, or of its name with something added, `baby_RCAN_x2.png`.

    What says another scale, in the file's name or a folder's, is passed over, and so is what says that it is LR or HR.
    Of several sets in one folder those files are taken that lie in a folder called as the set.
    """
    paths = list_files(folder)[0]
    own = [path for path in paths if set_name.lower() in map(str.lower, path.relative_to(folder).parts[:-1])]
    candidates: dict[str, list[Path]] = {name: [] for name in names}
    left = []
    for path in own or paths:
        name, rest = name_of(path.stem, names)
        said = scale_said([rest, *reversed(path.relative_to(folder).parts[:-1])])
        if said not in (None, scale):
            continue
        if name and not set(re.split(r"[\W_]+", rest.lower())) & OTHER:
            candidates[name].append(path)
        else:
            left.append(path)
    files, faults = {}, {}
    for name, found in candidates.items():
        if len(found) == 1:
            files[name] = found[0]
        elif found:
            faults[name] = f"'{found[0]}' and '{found[1]}' may both be it: keep one, or name a folder that has one"
        else:
            faults[name] = f"'{folder}' has no picture of this name"
    several = [name for name, found in candidates.items() if len(found) > 1]
    return Matched(files, contents_of(files, digest), faults, several, left)


def contents_of(files: Mapping[str, Path], digest: Callable[[Path], str]) -> dict[str, str]:
    contents = {}
    for name, path in files.items():
        with suppress(OSError):  # reading it will say why
            contents[name] = digest(path)
    return contents


def name_of(stem: str, names: Sequence[str]) -> tuple[str, str]:
    """The longest name that a file's stem begins with, where the rest is what programs add, and that rest.

    An empty name where there is none.
    """
    for name in sorted(names, key=len, reverse=True):
        bare = name.rpartition("/")[2]
        rest = stem.removeprefix(bare)
        if stem == bare or (stem.startswith(bare) and re.match(r"[_\-. +]|x\d(?!\d)", rest, re.IGNORECASE)):
            return name, rest
    return "", stem


def scale_said(texts: Sequence[str]) -> int | None:
    """The scale that the first of these says that says one: `_RCAN_x2`, `x4`, `X3`."""
    for text in texts:
        if found := re.findall(r"(?<![a-z0-9])x(\d)(?![a-z0-9])", text.lower()):
            return int(found[-1])
    return None


def leftovers(name: str, set_name: str, scale: int, matched: Matched) -> str:
    """The files that no picture of the set is called after, in words; empty for none."""
    if not matched.left:
        return ""
    some = ", ".join(path.name for path in matched.left[:NAMED]) + (", ..." if len(matched.left) > NAMED else "")
    count = f"{len(matched.left)} {'file' if len(matched.left) == 1 else 'files'}"
    return f"{name} x{scale}: {count} not of {set_name}: {some}"
