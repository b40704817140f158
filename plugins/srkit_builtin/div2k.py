"""DIV2K and Flickr2K: numbered pictures and their published LR, in any layout they are usually kept in."""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

from srkit import DataError, SrkitError, UnknownName, UsageError, data_folder, list_images, missing_path
from srkit_builtin.folders import Pictures, first

#: track -> the scales it is published for, and the letter its files have after x4
TRACKS = {
    "bicubic": ((2, 3, 4, 8), ""), "unknown": ((2, 3, 4), ""),
    "mild": ((4,), "m"), "difficult": ((4,), "d"), "wild": ((4,), "w"),
}  # fmt: skip
WILD = ("w", "w1", "w2", "w3", "w4")  # four LR of each training picture, one of each validation picture

Images = Annotated[str, "only the pictures of these numbers, such as 1-800 or 801-810,850; empty for all of the split"]


def div2k(
    root: Path | None,
    split: str,
    scale: int,
    *,
    track: Annotated[
        Literal["bicubic", "unknown", "mild", "difficult", "wild"],
        "how LR was made; that of bicubic is made from HR if absent",
    ] = "bicubic",
    images: Images = "",
) -> Pictures:
    """DIV2K: split `train` is 0001 to 0800, any other the validation pictures 0801 to 0900.

    Found in root or `DIV2K` below it, as the official archives unpack (`DIV2K_train_HR`, `DIV2K_train_LR_bicubic/X2`,
    `DIV2K_train_LR_x8`, `DIV2K_train_LR_mild`, and so with `valid`), with all 900 pictures in the `train` folders as
    the EDSR code has them, or as BasicSR's sub-images (`DIV2K_train_HR_sub`, `X2_sub`). An LR that is not there is
    made from HR on track `bicubic`, and a DataError on the others. `wild` gives a pair for each of its LR.
    Source: Agustsson and Timofte 2017, NTIRE 2017 and 2018.
    """
    scales, letter = TRACKS[track]
    if scale not in scales and track != "bicubic":
        raise UsageError(f"DIV2K's track '{track}' is published for {spoken(scales)}, not x{scale}")
    get = f"srkit data fetch div2k --scale {scale}" + (f" --track {track}" if track != "bicubic" else "")
    base = found("DIV2K", root, ["DIV2K_train_HR", "DIV2K_valid_HR", "DIV2K_train_HR_sub", "DIV2K_valid_HR_sub"], get)
    wanted = numbers_of(images) or (set(range(1, 801)) if split == "train" else set(range(801, 901)))
    files: dict[str, tuple[Path, Path | None]] = {}
    for part in ("train", "valid"):
        hr_folder = first(base, [f"DIV2K_{part}_HR", f"DIV2K_{part}_HR_sub"])
        if hr_folder is None or not (hr_files := numbered(hr_folder, wanted)):
            continue
        looked_for = lr_names(f"DIV2K_{part}_LR_", track, scale, "_sub" if hr_folder.name.endswith("_sub") else "")
        lr_folder = first(base, looked_for)
        if lr_folder is None and track != "bicubic":
            raise DataError(f"no LR of track '{track}' in '{base}': looked for {' and '.join(looked_for[:2])}; {get}")
        for name, pair in partners(hr_files, lr_folder, scale, letter).items():
            files.setdefault(name, pair)
    if not files:
        raise DataError(f"'{base}' has no picture {images or ('1-800' if split == 'train' else '801-900')}; {get}")
    return pictures(base, scale, files)


def validation(root: Path | None, **options: Any) -> dict[str, Any] | None:
    """The options that find DIV2K's own validation pictures, 0801 to 0900, for a training with these; None without."""
    parts = [f"DIV2K_{part}_HR{sub}" for part in ("valid", "train") for sub in ("", "_sub")]
    try:
        base = found("DIV2K", root, parts, "")
    except SrkitError:
        return None
    there = any(numbered(base / part, set(range(801, 901))) for part in parts if (base / part).is_dir())
    return {**options, "images": ""} if there else None


def flickr2k(root: Path | None, split: str, scale: int, *, images: Images = "") -> Pictures:
    """Flickr2K: 2650 pictures, 000001 to 002650, all for training; `images` sets some apart for another split.

    Found in root or `Flickr2K` below it: `Flickr2K_HR`, and `Flickr2K_LR_bicubic/X2`, made from HR if absent.
    Source: Lim et al. 2017, Timofte et al. 2017.
    """
    if split != "train" and not images:
        raise UsageError(f"Flickr2K has no split '{split}'; name pictures, such as images = '2601-2650'")
    get = "srkit data fetch flickr2k"
    base = found("Flickr2K", root, ["Flickr2K_HR"], get)
    hr_files = numbered(base / "Flickr2K_HR", numbers_of(images) or set(range(1, 2651)))
    if not hr_files:
        raise DataError(f"'{base}' has no picture {images or '1-2650'}; {get}")
    return pictures(base, scale, partners(hr_files, first(base, lr_names("Flickr2K_LR_", "bicubic", scale)), scale))


def found(name: str, root: Path | None, signs: Sequence[str], get: str) -> Path:
    """root, or its folder `name`, whichever has one of the folders `signs`."""
    place = Path(root).expanduser() if root else data_folder()
    if root and not place.is_dir():
        raise missing_path(place, "folder")
    inner = [path for path in sorted(place.iterdir()) if path.name.lower() == name.lower()] if place.is_dir() else []
    for base in (place, *inner):
        if first(base, signs):
            return base
    raise UnknownName(
        f"{name} is not found: looked for {' and '.join(signs[:2])} in '{place}' and in '{place / name}'; "
        f"{get}, or name its folder: --set data.root=DIR"
    )


def numbers_of(text: str) -> set[int]:
    """`1-3,7` as {1, 2, 3, 7}; empty for nothing."""
    numbers: set[int] = set()
    for word in filter(None, (word.strip() for word in text.split(","))):
        match = re.fullmatch(r"(\d+)(?:-(\d+))?", word)
        if not match or not (chosen := range(int(match[1]), int(match[2] or match[1]) + 1)):
            raise UsageError(f"images = '{text}': '{word}' is neither a number nor a range such as 801-810")
        numbers.update(chosen)
    return numbers


def numbered(folder: Path, wanted: set[int]) -> list[Path]:
    """The pictures whose names begin with one of these numbers: `0801.png`, and its sub-image `0801_s001.png`."""
    return [f for f in list_images(folder) if (n := re.match(r"\d+", f.stem)) and int(n[0]) in wanted]


def lr_names(stem: str, track: str, scale: int, sub: str = "") -> list[str]:
    """The LR folders of a track, by the names in use: the official ones first."""
    if TRACKS[track][1]:
        return [f"{stem}{track}{sub}", f"{stem}{track}/X{scale}{sub}"]
    usual = [
        f"{stem}{track}/X{scale}{sub}",
        f"{stem}{track}_X{scale}{sub}",
        f"{stem}{track}X{scale}{sub}",
        f"{stem}{track}/x{scale}{sub}",
    ]
    return [f"{stem}x8{sub}", *usual] if (track, scale) == ("bicubic", 8) else usual


def partners(
    hr_files: Sequence[Path], lr_folder: Path | None, scale: int, letter: str = ""
) -> dict[str, tuple[Path, Path | None]]:
    """name -> (HR, LR); LR is None where there is no folder of them."""
    if lr_folder is None:
        return {file.stem: (file, None) for file in hr_files}
    lr_files = {file.stem: file for file in list_images(lr_folder)}
    pairs: dict[str, tuple[Path, Path | None]] = {}
    alone = []
    for file in hr_files:
        if letter == "w":
            mine = {f"{file.stem}{w}": lr_files.get(f"{file.stem}x{scale}{w}") for w in WILD}
        else:
            mine = {file.stem: lr_files.get(f"{file.stem}x{scale}{letter}") or lr_files.get(file.stem)}
        if not any(mine.values()):
            alone.append(file)
            pairs[file.stem] = (file, None)
        pairs |= {name: (file, lr_file) for name, lr_file in mine.items() if lr_file}
    if alone:
        more = f", nor have {len(alone) - 1} more" if len(alone) > 1 else ""
        error = DataError(
            f"'{alone[0]}' has no LR partner '{alone[0].stem}x{scale}{letter}' in '{lr_folder}'{more}; add it, or "
            "remove the HR picture"
        )
        error.partial = pictures(alone[0].parent, scale, pairs)
        raise error
    return pairs


def pictures(base: Path, scale: int, files: dict[str, tuple[Path, Path | None]]) -> Pictures:
    hr_files, lr_files = zip(*files.values(), strict=True)
    return Pictures(base, scale, list(files), list(hr_files), list(lr_files))


def spoken(scales: Sequence[int]) -> str:
    return ", ".join(f"x{scale}" for scale in scales)
