"""Datasets that are folders of pictures: your own, the shipped samples, the published test sets."""

import hashlib
import os
from collections.abc import Iterable
from importlib.resources import files
from pathlib import Path
from typing import Annotated

from srkit import DataError, Pair, UnknownName, UsageError, data_folder, list_images, missing_path, read_rgb

HELD_OUT = ("chelsea", "coffee")


class Pictures:
    """HR files below root and the LR file of each, or None; read when asked for."""

    def __init__(self, root: Path, scale: int, names: list[str], hr_files: list[Path], lr_files: list[Path | None]):
        self.root, self.scale, self.names, self.hr_files, self.lr_files = root, scale, names, hr_files, lr_files

    def __len__(self) -> int:
        return len(self.hr_files)

    def __getitem__(self, index: int) -> Pair:
        hr, lr_file = read_rgb(self.hr_files[index]), self.lr_files[index]
        if lr_file is None:
            return Pair(self.names[index], None, hr)
        lr = read_rgb(lr_file)
        height, width = hr.shape[:2]
        if lr.shape[:2] == (-(-height // self.scale), -(-width // self.scale)):
            # MATLAB rounds sizes up: of an HR that was not cropped first, the last row and column are only partly there
            lr = lr[: height // self.scale, : width // self.scale]
        return Pair(self.names[index], lr, hr)

    def fingerprint(self) -> str:
        """Changes when a file is added, removed, renamed or rewritten."""
        digest = hashlib.sha256(str(self.root.resolve()).encode())
        for file in [*self.hr_files, *filter(None, self.lr_files)]:
            stat = file.stat()
            digest.update(f"\n{file.relative_to(self.root)} {stat.st_size} {stat.st_mtime_ns}".encode())
        return digest.hexdigest()


class Folder(Pictures):
    """The pictures of a folder, nested ones included, each read when asked for.

    Layouts: `root/*.png`; `root/HR` with or without LR beside it as `LR_bicubic/X2`, `LR/X2`, `X2`,
    `LR_X2` or `LR`; and any of these under `root/train`, `root/valid`, `root/test`. An LR file has the
    stem of its HR file, or that and `x2`. Raises UsageError or UnknownName for a wrong root, DataError
    for one without pictures or with an HR picture that has no LR.
    """

    def __init__(
        self,
        root: Path | None,
        split: str,
        scale: int,
        *,
        hr: Annotated[str, "HR folder below root; found by its usual names when empty"] = "",
        lr: Annotated[str, "LR folder below root; found by its usual names when empty, 'none' to ignore it"] = "",
    ):
        if root is None:
            raise UsageError("dataset 'folder' needs a root: --data DIR, or root in the run file's [data]")
        root = Path(root).expanduser()
        if not root.is_dir():
            raise missing_path(root, "folder")
        base = root / split if (root / split).is_dir() else root
        hr_folder = existing(base, hr) if hr else first(base, ["HR"]) or base
        lr_folder = None
        if lr != "none":
            usual = [f"LR_bicubic/X{scale}", f"LR/X{scale}", f"X{scale}", f"LR_X{scale}", "LR"]
            lr_folder = existing(base, lr) if lr else first(base, usual)
        hr_files = [f for f in list_images(hr_folder) if hr_folder != base or not in_lr(f.relative_to(base))]
        if not hr_files:
            raise DataError(f"no pictures in '{hr_folder}' (PNG, JPEG, BMP, WebP or TIFF)")
        lr_files: list[Path | None] = [None] * len(hr_files)
        if lr_folder:
            lr_files = lr_partners(hr_files, hr_folder, lr_folder, scale)
        names = [str(f.relative_to(hr_folder).with_suffix("")) for f in hr_files]
        super().__init__(root, scale, names, hr_files, lr_files)


def samples(root: Path | None, split: str, scale: int) -> Folder:
    """The ten shipped photographs: `train` is eight of them, any other split the two held out."""
    folder = Folder(Path(str(files("srkit_builtin") / "samples")), split, scale)
    chosen = [i for i, name in enumerate(folder.names) if (name in HELD_OUT) != (split == "train")]
    folder.hr_files = [folder.hr_files[i] for i in chosen]
    folder.names = [folder.names[i] for i in chosen]
    return folder


def benchmark(name: str, root: Path | None, split: str, scale: int) -> Folder:
    """A published test set, `name` below root or the data folder, or in `bench/` or `benchmark/` there."""
    place = Path(root or data_folder()).expanduser()
    if not place.is_dir() and (root or os.environ.get("SRKIT_DATA")):
        raise missing_path(place, "folder")
    for parent in (place, place / "bench", place / "benchmark"):
        for folder in sorted(parent.iterdir()) if parent.is_dir() else ():
            if folder.name.lower() == name.lower() and folder.is_dir():
                return Folder(folder, split, scale)
    raise UnknownName(
        f"{name} is not found below '{place}': srkit data fetch {name.lower()}, or name the folder that holds {name}/HR"
        " with --root or SRKIT_DATA"
    )


def first(base: Path, names: Iterable[str]) -> Path | None:
    return next((base / name for name in names if (base / name).is_dir()), None)


def existing(base: Path, name: str) -> Path:
    if not (base / name).is_dir():
        raise missing_path(base / name, "folder")
    return base / name


def in_lr(relative: Path) -> bool:
    """Is this file in one of the usual LR folders, and so no HR picture?"""
    return relative.parts[0].split("_")[0] in ("LR", "X2", "X3", "X4", "X8") and len(relative.parts) > 1


def lr_partners(hr_files: list[Path], hr_folder: Path, lr_folder: Path, scale: int) -> list[Path | None]:
    """For each HR file its LR file: the same relative path and stem, or the stem and `x2`."""
    by_stem = {f.relative_to(lr_folder).with_suffix(""): f for f in list_images(lr_folder)}
    partners: list[Path | None] = []
    for file in hr_files:
        stem = file.relative_to(hr_folder).with_suffix("")
        partner = by_stem.get(stem.with_name(f"{stem.name}x{scale}")) or by_stem.get(stem)
        if partner is None:
            raise DataError(f"'{file}' has no LR partner '{stem.name}x{scale}' or '{stem.name}' in '{lr_folder}'")
        partners.append(partner)
    return partners
