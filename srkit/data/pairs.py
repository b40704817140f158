"""Complete a pair: HR cropped to a multiple of the scale, LR given or made, sizes checked."""

from pathlib import Path
from typing import Any

import numpy as np

from srkit.components import Pair, PairSequence
from srkit.errors import DataError
from srkit.imresize import imresize
from srkit.plugins import Choice


def aligned(pair: Pair, scale: int) -> tuple[np.ndarray, np.ndarray]:
    """(lr, hr) of `pair`, uint8 h,w,3 and scale*h,scale*w,3, cropped at the bottom and right.

    An LR that is missing is made by MATLAB's bicubic. Raises DataError, naming the picture, where a
    given LR is not HR's size divided by the scale.
    """
    check_pixels(pair.name, "HR", pair.hr)
    height, width = pair.hr.shape[0] // scale, pair.hr.shape[1] // scale
    if not height or not width:
        raise DataError(f"'{pair.name}' is {size(pair.hr)}: too small for x{scale}")
    hr = pair.hr[: height * scale, : width * scale]
    if pair.lr is None:
        return imresize(hr, 1 / scale), hr
    check_pixels(pair.name, "LR", pair.lr)
    if pair.lr.shape[:2] != (height, width):
        raise DataError(
            f"'{pair.name}': LR is {size(pair.lr)}, but HR {size(pair.hr)} divided by {scale} is {width}x{height}"
        )
    return pair.lr, hr


def check_pixels(name: str, which: str, pixels: Any) -> None:
    if not isinstance(pixels, np.ndarray) or pixels.dtype != np.uint8 or pixels.ndim != 3 or pixels.shape[2] != 3:
        got = f"{pixels.dtype} {pixels.shape}" if isinstance(pixels, np.ndarray) else type(pixels).__name__
        raise DataError(f"'{name}': {which} must be a uint8 array H,W,3, not {got}")


def size(pixels: np.ndarray) -> str:
    return f"{pixels.shape[1]}x{pixels.shape[0]}"


def open_dataset(choice: Choice, root: str | Path | None, split: str, scale: int) -> PairSequence:
    """Build a dataset; raises DataError if it is empty."""
    pairs: PairSequence = choice.build(Path(root).expanduser() if root else None, split, scale)
    if len(pairs) == 0:
        raise DataError(f"dataset '{choice.label}' has no pictures in its split '{split}'")
    return pairs
