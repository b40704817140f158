"""Cut the pictures of a dataset to training tiles, HR and LR in step, and drop those without detail.

A picture is read once for many patches of a training that reads files; of a large picture's patches those of sky are as
many as those of the subject. Source of the sizes: BasicSR's `extract_subimages.py`, which cuts DIV2K to 480x480 with
step 240, LR to as much divided by the scale, and calls them `0001_s001`.
"""

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from srkit.components import PairSequence
from srkit.data.journal import Known, known
from srkit.data.likeness import high_pass, luma
from srkit.data.made import check_distinct, claim_folder, file_in, made_once
from srkit.data.pairs import aligned, check_pixels, shallow, size
from srkit.errors import DataError, UsageError
from srkit.images import About, picture_from, write_picture

NOTE, LINES = ".tiles.json", ".tiles.jsonl"  # in the folder: what is cut in it, and what was cut so far
FLAT = 1.0  # gray levels of detail below which a tile is dropped: bicubic x2 restores it to 48 dB


@dataclass(frozen=True)
class Tiling:
    """How pictures are cut. size, step: in HR pixels. flat: the detail, in gray levels, that a tile must have."""

    size: int = 480
    step: int = 240
    flat: float = FLAT


@dataclass(frozen=True)
class Tile:
    """A tile. number: its place in the picture, from 1, row after row. top, left: HR pixels. detail: gray levels."""

    picture: str
    number: int
    top: int
    left: int
    detail: float

    @property
    def name(self) -> str:
        return f"{self.picture}_s{self.number:03d}"


@dataclass(frozen=True)
class Tiled:
    """What a folder of tiles holds. made: in this run. too_small: pictures from which no tile can be cut, as WxH."""

    kept: list[Tile]
    dropped: list[Tile]
    too_small: dict[str, str]
    made: int


def cut_into(
    sets: Mapping[int, PairSequence], folder: Path, cut: Tiling, about: str, progress: Callable[[int, int, int], None]
) -> Tiled:
    """Write the tiles of every picture to `folder`/HR/NAME_s001.png and `folder`/LR/X<scale>/NAME_s001.png.

    sets: scale -> the dataset for it; LR is cut where it brings its own. A picture of 16 bits gives tiles of 16 bits.
    about: the dataset, in words; a folder that holds tiles of another one or cut otherwise is refused, one that is not
    complete is completed. progress(done, total, done before) is called after each picture.

    Raises UsageError for such a folder, or a size and step that do not fit the scales; DataError, naming the picture,
    for one that cannot be read or whose LR does not fit.
    """
    pictures = checked(sets)
    if brings_lr(sets, pictures):
        fits(cut, sets)
    settings = {"of": about, "size": cut.size, "step": cut.step, "flat": cut.flat, "scales": list(sets)}
    claim_folder(folder, NOTE, settings, "tiles of another dataset, or cut otherwise")

    def is_there(picture: Known, found: Mapping[str, Any]) -> bool:
        kept = [tile for tile in tiles_in(picture.name, found) if tile.detail >= cut.flat]
        return all(path.exists() for tile in kept for path in files_of(folder, tile, found["lr"]))

    def make(index: int) -> dict[str, Any]:
        return cut_one(sets, index, pictures[index].name, folder, cut)

    found, made = made_once(pictures, folder, LINES, is_there, make, progress)
    named = [(picture.name, one) for picture, one in zip(pictures, found, strict=True)]
    tiles = [tile for name, one in named for tile in tiles_in(name, one)]
    kept, dropped = ([tile for tile in tiles if (tile.detail >= cut.flat) == wanted] for wanted in (True, False))
    fresh = {pictures[index].name for index in made}
    too_small = {name: one["size"] for name, one in named if not one["tiles"]}
    return Tiled(kept, dropped, too_small, sum(tile.picture in fresh for tile in kept))


def brings_lr(sets: Mapping[int, PairSequence], pictures: Sequence[Known]) -> bool:
    """Whether any picture has LR, as far as that is known without reading them all."""
    if any(len(picture.files) > 1 for pairs in sets.values() for picture in known(pairs)):
        return True
    return not any(picture.files for picture in pictures) and any(pairs[0].lr is not None for pairs in sets.values())


def fits(cut: Tiling, scales: Iterable[int]) -> None:
    """UsageError where a tile of LR would not be whole pixels."""
    for scale in scales:
        for what, value in (("size", cut.size), ("step", cut.step)):
            if value % scale:
                better = max(scale, value // scale * scale)
                raise UsageError(
                    f"{what} {value} is no multiple of {scale}, and LR x{scale} is cut in step: {better} is"
                )


def files_of(folder: Path, tile: Tile, scales: Iterable[int]) -> list[Path]:
    """The file of HR, then those of LR."""
    places = [folder / "HR", *(folder / "LR" / f"X{scale}" for scale in scales)]
    return [file_in(place, tile.name) for place in places]


def tiles_in(name: str, found: Mapping[str, Any]) -> list[Tile]:
    """The tiles of a picture that the journal has."""
    return [Tile(name, *place) for place in found["tiles"]]


def checked(sets: Mapping[int, PairSequence]) -> list[Known]:
    """The pictures, which must be the same for every scale. DataError where they are not, or two have one name."""
    (first, pairs), *others = sets.items()
    pictures = known(pairs)
    names = [picture.name for picture in pictures]
    check_distinct(names)
    for scale, other in others:
        if [picture.name for picture in known(other)] != names:
            raise DataError(f"the dataset has other pictures at x{scale} than at x{first}; cut each scale by itself")
    return pictures


def cut_one(sets: Mapping[int, PairSequence], index: int, name: str, folder: Path, cut: Tiling) -> dict[str, Any]:
    """Read one picture at every scale and write its tiles; what the journal keeps of it."""
    hr, lows = read_all(sets, index)
    fits(cut, lows)
    tiles = list(placed(name, hr, cut, math.lcm(*lows)))
    for tile in tiles:
        if tile.detail >= cut.flat:
            files = files_of(folder, tile, lows)
            for path, pixels, scale in zip(files, (hr, *lows.values()), (1, *lows), strict=True):
                write_tile(path, pixels, tile, cut, scale)
    places = [[tile.number, tile.top, tile.left, tile.detail] for tile in tiles]
    return {"size": size(hr), "lr": list(lows), "tiles": places}


def write_tile(path: Path, pixels: np.ndarray, tile: Tile, cut: Tiling, scale: int) -> None:
    """Cut a tile out of a picture that is `scale` times smaller than HR."""
    top, left, side = tile.top // scale, tile.left // scale, cut.size // scale
    path.parent.mkdir(parents=True, exist_ok=True)
    write_picture(path, picture_from(pixels[top : top + side, left : left + side], About()))


def read_all(sets: Mapping[int, PairSequence], index: int) -> tuple[np.ndarray, dict[int, np.ndarray]]:
    """(HR, LR by scale), uint8 or uint16. Raises DataError, naming the picture, where an LR does not fit."""
    found = {scale: pairs[index] for scale, pairs in sets.items()}
    first = next(iter(found.values()))
    check_pixels(first.name, "HR", first.hr)
    return first.hr, {s: aligned(pair, s, deep=True)[0] for s, pair in found.items() if pair.lr is not None}


def placed(name: str, hr: np.ndarray, cut: Tiling, multiple: int) -> Iterator[Tile]:
    """Every tile of a picture, with its detail."""
    gray = luma(shallow(hr))
    number = 0
    for top in starts(hr.shape[0], cut, multiple):
        for left in starts(hr.shape[1], cut, multiple):
            number += 1
            inside = gray[top : top + cut.size, left : left + cut.size]
            yield Tile(name, number, top, left, round(detail(inside), 3))


def starts(length: int, cut: Tiling, multiple: int = 1) -> list[int]:
    """Where tiles begin along a side: at every step, and one more at the end where a rest remains.

    multiple: of which each is one, so that a place in LR is whole.
    """
    found = list(range(0, length - cut.size + 1, cut.step))
    last = (length - cut.size) // multiple * multiple
    return [*found, last] if found and last > found[-1] else found


def detail(gray: np.ndarray) -> float:
    """The root mean square, in gray levels, of what a mean of 3x3 pixels takes away. gray: H,W in 0..255."""
    return float(np.sqrt(np.mean(high_pass(gray, 1) ** 2)))
