"""Pictures to train on, each once as it is and once in each smaller size.

A smaller copy has more detail to a patch, and less of the grain and the compression of its original. Source: Wang et
al., Real-ESRGAN, 2021, whose authors train on such copies (`generate_multiscale_DF2K.py`, by Lanczos); here they are
made by MATLAB's bicubic.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from srkit.components import PairSequence
from srkit.data.journal import Known, known
from srkit.data.made import check_distinct, claim_folder, file_in, made_once
from srkit.data.pairs import check_pixels, size
from srkit.errors import UsageError
from srkit.images import About, picture_from, write_picture
from srkit.imresize import imresize

NOTE, LINES = ".copies.json", ".copies.jsonl"  # in the folder: what is made in it, and what was made so far


@dataclass(frozen=True)
class Copied:
    """What a folder of copies holds: the names of its files. made: in this run. too_small: copies not made, as WxH."""

    kept: list[str]
    made: int
    too_small: dict[str, str]


def copy_into(
    pairs: PairSequence,
    folder: Path,
    factors: Sequence[float],
    smallest: int,
    about: str,
    progress: Callable[[int, int, int], None],
) -> Copied:
    """Write HR of every picture to `folder`/HR/NAME.png, and smaller to `folder`/HR/NAMEx0.5.png.

    factors: of each side, above 0 and below 1. smallest: pixels that the shorter side of a copy must have. LR is left
    where it is: that of a copy would be another. A picture of 16 bits gives files of 16 bits. about: the dataset, in
    words; a folder that holds copies of another one or of other sizes is refused, one that is not complete is
    completed. progress(done, total, done before) is called after each picture.

    Raises UsageError for such a folder or factor; DataError, naming the picture, for one that cannot be read, and for
    two that would have one file.
    """
    for factor in factors:
        if not 0 < factor < 1:
            raise UsageError(f"a factor of {factor:g} makes no smaller copy; it is above 0 and below 1")
    wanted = sorted(set(factors), reverse=True)
    pictures = known(pairs)
    check_distinct([name for picture in pictures for name in (picture.name, *named(picture.name, wanted))])
    settings = {"of": about, "factors": wanted, "smallest": smallest}
    claim_folder(folder, NOTE, settings, "copies of another dataset, or of other sizes")

    def is_there(_: Known, said: Mapping[str, Any]) -> bool:
        return all(file_in(folder / "HR", name).exists() for name in said["files"])

    def make(index: int) -> dict[str, Any]:
        return copy_one(pairs[index].hr, pictures[index].name, folder / "HR", wanted, smallest)

    said, made = made_once(pictures, folder, LINES, is_there, make, progress)
    too_small = {name: its_size for each in said for name, its_size in each["too_small"].items()}
    return Copied(
        [name for each in said for name in each["files"]], sum(len(said[i]["files"]) for i in made), too_small
    )


def named(picture: str, factors: Sequence[float]) -> list[str]:
    """What the copies of a picture are called."""
    return [f"{picture}x{factor:g}" for factor in factors]


def copy_one(hr: np.ndarray, name: str, folder: Path, factors: Sequence[float], smallest: int) -> dict[str, Any]:
    """Write a picture and its copies; what the journal keeps of them."""
    check_pixels(name, "HR", hr)
    files, too_small = [name], {}
    write(folder, name, hr)
    for copy, factor in zip(named(name, factors), factors, strict=True):
        height, width = (math.ceil(factor * length) for length in hr.shape[:2])
        if min(height, width) < smallest:
            too_small[copy] = f"{width}x{height}"
            continue
        write(folder, copy, imresize(hr, factor))
        files.append(copy)
    return {"size": size(hr), "files": files, "too_small": too_small}


def write(folder: Path, name: str, pixels: np.ndarray) -> None:
    path = file_in(folder, name)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_picture(path, picture_from(pixels, About()))
