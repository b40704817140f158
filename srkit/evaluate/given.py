"""Folders of ready SR pictures, of any program: which file is which picture of a test set."""

import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
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

    @property
    def any(self) -> bool:
        """Is there a file of any picture?"""
        return bool(self.files or self.several)


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


def match(
    folder: Path,
    set_name: str,
    names: Sequence[str],
    scale: int,
    digest: Callable[[Path], str],
    *,
    others: Iterable[str] = (),
) -> Matched:
    """The file of each picture: of its name, or of its name with something added, `baby_RCAN_x2.png`.

    What says another scale, in the file's name or a folder's, is passed over, and so is what says that it is LR or HR.
    Of several sets in one folder those files are taken that lie in a folder called as the set; never those in a folder
    called as one of `others`.
    """
    paths = list_files(folder)[0]
    folders = {path: set(map(str.lower, path.relative_to(folder).parts[:-1])) for path in paths}
    own = [path for path in paths if set_name.lower() in folders[path]]
    strange = {name.lower() for name in others} - {set_name.lower()}
    paths = [path for path in paths if not folders[path] & strange]
    candidates: dict[str, list[Path]] = {name: [] for name in names}
    left = []
    for path in own or paths:
        inside = path.relative_to(folder)
        name, rest = name_of(inside.with_suffix("").as_posix(), names)
        said = scale_said([rest, *reversed(inside.parts[:-1]), folder.resolve().name])
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


def name_of(path: str, names: Sequence[str]) -> tuple[str, str]:
    """The longest name that a file's own begins with, where the rest is what programs add, and that rest.

    path: without suffix. Of pictures of one name in several folders it is the one in a folder of that name. An empty
    name where there is none.
    """
    above, _, stem = path.rpartition("/")
    fitting = []
    for name in names:
        inside, _, bare = name.rpartition("/")
        rest = stem.removeprefix(bare)
        if stem == bare or (stem.startswith(bare) and re.match(r"[_\-. +]|x\d(?!\d)", rest, re.IGNORECASE)):
            here = f"/{above}".endswith(f"/{inside}") if inside else True
            fitting.append((len(bare), here, len(inside), name, rest))
    if not fitting:
        return "", stem
    best = max(fitting)
    twins = [each for each in fitting if each[0] == best[0]]
    return ("", stem) if len(twins) > 1 and not best[1] else (best[3], best[4])


def scale_said(texts: Sequence[str]) -> int | None:
    """The scale that the first of these says that says one: `_RCAN_x2`, `x4`, `X3`."""
    for text in texts:
        if found := re.findall(r"(?<![a-z0-9])x(\d)(?![a-z0-9])", text.lower()):
            return int(found[-1])
    return None


def leftovers(name: str, scale: int, matched: Sequence[tuple[str, Matched]]) -> list[str]:
    """What is used for nothing, in words: files of no picture of any set, and sets of which there is no file.

    matched: what was found for each set, by its name.
    """
    told = [f"{name} x{scale}: no picture of {set_name}" for set_name, each in matched if not each.any]
    unused = [set(each.left) for _, each in matched if each.any]
    if left := sorted(set.intersection(*unused)) if unused else []:
        some = ", ".join(path.name for path in left[:NAMED]) + (", ..." if len(left) > NAMED else "")
        count = f"{len(left)} {'file' if len(left) == 1 else 'files'}"
        told.append(f"{name} x{scale}: {count} of no picture: {some}")
    return told


def check_scales_said(name: str, folder: Path) -> None:
    """Raises UsageError where no file or folder says a scale: then the user must."""
    files = list_files(folder)[0]
    inside = [path.relative_to(folder) for path in files]
    if files and not any(scale_said([path.stem, *path.parts[:-1], folder.resolve().name]) for path in inside):
        raise UsageError(f"--images {name}: '{folder}' does not say its scale; name it, as in --scales 2")
