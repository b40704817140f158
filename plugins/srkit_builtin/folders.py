"""Datasets that are folders of pictures: your own, the shipped samples, the published test sets."""

import hashlib
import os
import re
from collections.abc import Iterable, Sequence
from dataclasses import replace
from importlib.resources import files
from pathlib import Path
from typing import Annotated, Any

from annotated_types import Len

from srkit import DataError, Pair, UnknownName, UsageError, data_folder, list_files, missing_path, read_rgb
from srkit_builtin import pairing

HELD_OUT = ("chelsea", "coffee")
PLACES = ("bench", "benchmark", "testsets", "SR_testing_datasets", "SRBenchmark")
ALIASES = {"b100": ("b100", "bsd100", "bsds100")}
ALL = "none"  # the lr_dir that wants no LR
RUN, DRAWN = "run.toml", "images"  # in the folder of a training: its run file, its validation pictures
COPIES = ".copies.json"  # in a folder that `srkit data copies` made


class Pictures:
    """HR files below root and the LR file of each, or None; read when asked for.

    notes: what else is to be said of them, by `describe`. limits: black and white of gray pictures of more than 8 bits.
    crop: LR was made from HR that was cropped at the bottom and right first, so crop it.
    """

    crop = False

    def __init__(
        self, root: Path, scale: int, names: list[str], hr_files: list[Path], lr_files: list[Path | None], *,
        notes: Sequence[str] = (), limits: Sequence[float] | None = None,
    ):  # fmt: skip
        self.root, self.scale, self.names, self.hr_files, self.lr_files = root, scale, names, hr_files, lr_files
        self.notes, self.limits = list(notes), limits

    def __len__(self) -> int:
        return len(self.hr_files)

    def __getitem__(self, index: int) -> Pair:
        hr, lr_file = read_rgb(self.hr_files[index], range=self.limits, deep=True), self.lr_files[index]
        if lr_file is None:
            return Pair(self.names[index], None, hr)
        lr = read_rgb(lr_file, range=self.limits, deep=True)
        height, width = hr.shape[:2]
        if lr.shape[:2] == (-(-height // self.scale), -(-width // self.scale)):
            # MATLAB rounds sizes up: of an HR that was not cropped first, the last row and column are only partly there
            lr = lr[: height // self.scale, : width // self.scale]
        if self.crop:
            hr = hr[: height // self.scale * self.scale, : width // self.scale * self.scale]
        return Pair(self.names[index], lr, hr)

    def sources(self) -> list[tuple[str, list[Path]]]:
        """The name and the files of each picture."""
        files = zip(self.hr_files, self.lr_files, strict=True)
        return [(name, [hr, *([lr] if lr else [])]) for name, (hr, lr) in zip(self.names, files, strict=True)]

    def fingerprint(self) -> str:
        """Changes when a file is added, removed, renamed or rewritten."""
        digest = hashlib.sha256(str(self.root.resolve()).encode())
        for file in [*self.hr_files, *filter(None, self.lr_files)]:
            stat = file.stat()
            digest.update(f"\n{os.path.relpath(file, self.root)} {stat.st_size} {stat.st_mtime_ns}".encode())
        return digest.hexdigest()

    def describe(self) -> str:
        """What is HR, what is LR, and how they were matched, in one line."""
        lr_files = [file for file in self.lr_files if file]
        count = f"{len(self):,} {'picture' if len(self) == 1 else 'pictures'}"
        hr = f"HR in '{self.common(self.hr_files)}'"
        if lr_files:
            example = f"{self.hr_files[0].name} with {lr_files[0].name}"
            what = f"{count}: {hr}, LR x{self.scale} in '{self.common(lr_files)}', {example}"
        else:
            what = f"{count}: {hr}, LR x{self.scale} made from them"
        return "; ".join([what, *self.notes])

    def common(self, files: Sequence[Path]) -> str:
        """The folder that all are in, from root."""
        return os.path.relpath(os.path.commonpath([file.parent for file in files]), self.root)


def folder_validation(root: Path | None, **options: Any) -> dict[str, Any] | None:
    """The options of a training on a folder's part `train` for its part `valid`; None where there are not these two."""
    if root is None or not root.is_dir():
        return None
    splits = {pairing.item_of(path, root, None).split for path in list_files(root)[0]}
    return options if {"train", "valid"} <= splits else None


class Folder(Pictures):
    """The pictures of a folder, nested and linked ones included, each read when asked for.

    What is HR and what LR is read off the names of folders (HR, GT, high_res, ...; LR, lq, low_res, LR_bicubic/X2,
    ...) and files (`ax2`, `a_LR`, `a_bicLRx4`, ...), in any case, as published sets and other toolkits have them. Where
    names do not say it, files of one name at a size and at that size divided by the scale are pairs. In a folder that
    `srkit data copies` made all are HR. Folders may be called as the split (train, valid, val, test). What a training
    has written below root, its validation pictures among it, is left out.

    Raises UsageError or UnknownName for a wrong root or option, DataError for a folder without pictures, an HR picture
    that has no LR while others have, or files that could be matched in several ways.
    """

    def __init__(
        self,
        root: Path | None,
        split: str,
        scale: int,
        *,
        hr_dir: Annotated[str, "folder of HR below root; found when empty, '.' for all of root"] = "",
        lr_dir: Annotated[
            str, "folder of LR below root, as LR/X{scale}; found when empty, 'none' to have it made"
        ] = "",
        lr_template: Annotated[str, "how an LR file is named after its HR: {stem}_bicLRx{scale}"] = "",
        range: Annotated[  # noqa: A002 - the option's name
            list[float] | None, Len(2, 2), "black and white of gray 16-bit, 32-bit or float pixels: [0, 4095]"
        ] = None,
        hr: Annotated[str | None, "hr_dir's former name"] = None,
        lr: Annotated[str | None, "lr_dir's former name"] = None,
    ):
        if root is None:
            raise UsageError("dataset 'folder' needs a root: --data DIR, or root in the run file's [data]")
        root = Path(root).expanduser()
        if not root.is_dir():
            raise missing_path(root, "folder")
        if range is not None and range[0] >= range[1]:
            raise UsageError(f"range = {range}: black must be less than white")
        if not any((hr_dir, hr, lr_dir, lr, lr_template)) and (root / COPIES).exists():
            hr_dir, lr_dir = "HR", ALL  # among them are some that look like LR of others
        lr_dir = (lr_dir or lr or "").replace("{scale}", str(scale))
        base = first(root, [name for name, means in pairing.SPLITS.items() if means == split]) or root
        hr_folder = existing(base, root, said) if (said := hr_dir or hr) else None
        lr_folder = existing(base, root, lr_dir) if lr_dir not in ("", ALL) else None
        template = pairing.template_of(lr_template) if lr_template else None
        pictures, others, runs = without_runs(root)
        items = pairing.of_split([pairing.item_of(path, root, template) for path in pictures], split)
        if hr_folder or lr_folder:
            items = in_folders(items, hr_folder, lr_folder, template)
        pairing.size_of.cache_clear()  # files may have changed since
        if hr_folder and lr_dir == ALL:
            found = pairing.all_hr(items)
        else:
            found = pairing.match(items, scale, make=lr_dir == ALL)
        if not found.hr:
            what = f"HR pictures in '{root}', {len(found.lone)} LR alone" if found.lone else f"pictures in '{root}'"
            raise DataError(f"no {what}" + (f"; {without(others, root)}" if others else ""))
        order = sorted(zip(found.hr, found.lr, strict=True), key=lambda pair: pair[0].path)
        hr_files = [item.path for item, _ in order]
        lr_files = [item.path if item and lr_dir != ALL else None for _, item in order]
        super().__init__(
            root, scale, names_of(hr_files, hr_folder or root, root), hr_files, lr_files,
            notes=notes_of(found, others, runs, root, scale), limits=range,
        )  # fmt: skip
        if lr_dir != ALL and (found.lone or any(found.lr)):
            try:
                pairing.check_complete(found, scale)
            except DataError as error:
                error.partial = self
                raise


def in_folders(
    items: Sequence[pairing.Item], hr_folder: Path | None, lr_folder: Path | None, template: re.Pattern[str] | None
) -> list[pairing.Item]:
    """The items with the roles that the folders named give them; what is called so elsewhere is set aside."""
    named = {role: folder for role, folder in (("hr", hr_folder), ("lr", lr_folder)) if folder}
    said = {item.path: replace(item, role="aside") if item.role in named else item for item in items}
    if len(named) == 2:
        said = {}
    for role, folder in sorted(named.items(), key=lambda each: len(each[1].parts)):  # the inner one has the last word
        for path in without_runs(folder)[0]:
            item = pairing.item_of(path, folder, template)
            if role == "hr" and template and not lr_folder and template.fullmatch(path.stem):
                said[path] = item  # both in one folder, told apart by the template
            else:
                said[path] = replace(item, role=role, folder_role=role, folder_scale=None, stem_scale=None)
    return list(said.values())


def without_runs(root: Path) -> tuple[list[Path], list[Path], list[Path]]:
    """(pictures, other files, folders of trainings) below root, without the validation pictures and files of these."""
    pictures, others = list_files(root)
    runs = [path.parent for path in others if path.name == RUN]
    if runs:
        theirs, drawn = set(runs), {run / DRAWN for run in runs}
        pictures = [path for path in pictures if not drawn.intersection(path.parents)]
        others = [path for path in others if not theirs.intersection(path.parents)]
    return pictures, others, runs


def notes_of(found: pairing.Matched, others: Sequence[Path], runs: Sequence[Path], root: Path, scale: int) -> list[str]:
    """What is used for nothing, counted and named; and what was decided by sizes."""
    notes = []
    if found.by_size and any(found.lr):
        notes.append("told apart by size")
    if scales := sorted(found.scales - {scale}):
        notes.append(f"LR {', '.join(f'x{s}' for s in scales)} is for other scales")
    for items, what in ((found.lone, "LR without HR"), (found.strays, "neither HR nor LR by name")):
        if items:
            notes.append(f"{len(items)} {what} left out: {pairing.few([item.path for item in items], root)}")
    if runs:
        are = "training" if len(runs) == 1 else "trainings"
        notes.append(f"{len(runs)} {are} left out: {pairing.few(runs, root)}")
    if others:
        notes.append(without(others, root))
    return notes


def without(others: Sequence[Path], root: Path) -> str:
    """What is no picture, counted and named."""
    are = "file is no picture" if len(others) == 1 else "files are no pictures"
    return f"{len(others)} {are} and left out: {pairing.few(others, root)}"


def names_of(hr_files: Sequence[Path], folder: Path, root: Path) -> list[str]:
    """Each picture's name: its path below `folder` without suffix and without folders that only say HR or a split."""
    names = []
    for file in hr_files:
        relative = Path(os.path.relpath(file, folder if file.is_relative_to(folder) else root))
        kept = [part for part in relative.parts[:-1] if pairing.named(part, False).words]
        names.append("/".join([*kept, relative.stem]))
    if len(set(names)) == len(names):
        return names
    whole = [os.path.relpath(file.with_suffix(""), root) for file in hr_files]
    return whole if len(set(whole)) == len(whole) else [os.path.relpath(file, root) for file in hr_files]


def samples(root: Path | None, split: str, scale: int) -> Folder:
    """The ten shipped photographs: `train` is eight of them, any other split the two held out."""
    folder = Folder(Path(str(files("srkit_builtin") / "samples")), split, scale)
    chosen = [i for i, name in enumerate(folder.names) if (name in HELD_OUT) != (split == "train")]
    folder.hr_files, folder.lr_files = [folder.hr_files[i] for i in chosen], [None] * len(chosen)
    folder.names, folder.notes = [folder.names[i] for i in chosen], []
    return folder


def benchmark(name: str, root: Path | None, split: str, scale: int) -> Folder:
    """A published test set, `name` below root or the data folder, or in `bench/`, `benchmark/` or the like there."""
    place = Path(root or data_folder()).expanduser()
    if not place.is_dir() and (root or os.environ.get("SRKIT_DATA")):
        raise missing_path(place, "folder")
    for parent in (place, *(place / inner for inner in PLACES)):
        if parent.is_dir() and (folder := first(parent, ALIASES.get(name.lower(), (name,)))):
            found = Folder(folder, split, scale)
            found.crop = True  # as all who publish their LR have done
            return found
    raise UnknownName(
        f"{name} is not found below '{place}': srkit data fetch {name.lower()}, or name the folder that holds {name}/HR"
        " with --root or SRKIT_DATA"
    )


def first(base: Path, names: Iterable[str]) -> Path | None:
    """The first of these folders that is there, in any case; a name may have several parts."""
    for name in names:
        found = base
        for part in Path(name).parts:
            inner = [found / part] if (found / part).is_dir() else []
            if not inner and found.is_dir():
                inner = [p for p in sorted(found.iterdir()) if p.name.lower() == part.lower() and p.is_dir()]
            if not inner:
                break
            found = inner[0]
        else:
            return found
    return None


def existing(base: Path, root: Path, name: str) -> Path:
    """A folder the user named, below the split's folder or below root."""
    for place in (base, root):
        if (place / name).is_dir():
            return place / name
    raise missing_path(base / name, "folder")
