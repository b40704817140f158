"""Complete a pair: HR cropped to a multiple of the scale, LR given or made, sizes checked."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from srkit.components import Pair, PairSequence
from srkit.errors import DataError
from srkit.imresize import imresize
from srkit.plugins import Choice

NAMED = 3  # pictures, where a line speaks of many


class TooSmall(DataError):  # noqa: N818 - a state of things
    """A picture from which nothing can be learned or measured: it is left out, and named."""


def aligned(pair: Pair, scale: int, *, deep: bool = False) -> tuple[np.ndarray, np.ndarray]:
    """(lr, hr) of `pair`, uint8 h,w,3 and scale*h,scale*w,3, cropped at the bottom and right.

    An LR that is missing is made by MATLAB's bicubic. deep: what has 16 bits stays uint16, else it is rounded to 8.
    Raises DataError, naming the picture, where a given LR is not HR's size divided by the scale.
    """
    hr = cropped(pair, scale, deep=deep)
    height, width = hr.shape[0] // scale, hr.shape[1] // scale
    if pair.lr is None:
        return imresize(hr, 1 / scale), hr
    check_pixels(pair.name, "LR", pair.lr)
    if pair.lr.shape[:2] != (height, width):
        raise DataError(
            f"'{pair.name}': LR is {size(pair.lr)}, but HR {size(pair.hr)} divided by {scale} is {width}x{height}; "
            f"{size_advice(pair.lr, pair.hr, scale)}"
        )
    return pair.lr if deep else shallow(pair.lr), hr


def shallow(pixels: np.ndarray) -> np.ndarray:
    """uint8 of uint8 or uint16: 16 bits are rounded to 8."""
    if pixels.dtype == np.uint8:
        return pixels
    return ((pixels.astype(np.uint32) + 128) // 257).astype(np.uint8)


def cropped(pair: Pair, scale: int, *, deep: bool = False) -> np.ndarray:
    """HR of `pair`, cropped at the bottom and right to a multiple of the scale. Raises DataError, TooSmall.

    deep: as for `aligned`.
    """
    check_pixels(pair.name, "HR", pair.hr)
    height, width = pair.hr.shape[0] // scale, pair.hr.shape[1] // scale
    if not height or not width:
        raise TooSmall(f"'{pair.name}' is {size(pair.hr)}: too small for x{scale}")
    hr: np.ndarray = pair.hr[: height * scale, : width * scale]
    return hr if deep else shallow(hr)


def size_advice(lr: np.ndarray, hr: np.ndarray, scale: int) -> str:
    """The next move where an LR has another size than HR's divided by the scale."""
    times = {round(n / m) for n, m in zip(hr.shape[:2], lr.shape[:2], strict=True) if m}
    if len(times) == 1 and times != {scale} and 1 not in times:
        return f"as x{times.pop()} they may fit: --scale says which is meant"
    fitting = f"{hr.shape[1] // scale * scale}x{hr.shape[0] // scale * scale}"
    return (
        f"crop HR to a multiple of the scale, {fitting}, and make LR from that, or have all LR made: "
        "--set data.lr_dir=none"
    )


def few(names: Sequence[str]) -> str:
    """The first of these names, in words."""
    return ", ".join(names[:NAMED]) + (", ..." if len(names) > NAMED else "")


def check_pixels(name: str, which: str, pixels: Any) -> None:
    array = isinstance(pixels, np.ndarray)
    if not array or pixels.dtype not in (np.uint8, np.uint16) or pixels.ndim != 3 or pixels.shape[2] != 3:
        got = f"{pixels.dtype} {pixels.shape}" if array else type(pixels).__name__
        raise DataError(f"'{name}': {which} must be a uint8 or uint16 array H,W,3, not {got}")


def size(pixels: np.ndarray) -> str:
    return f"{pixels.shape[1]}x{pixels.shape[0]}"


def described(pairs: PairSequence) -> str:
    """What is HR and what is LR in a dataset, in its own words, in one line; how many pictures where it has none."""
    describe = getattr(pairs, "describe", None)
    return str(describe()) if callable(describe) else f"{len(pairs):,} pictures"


def open_dataset(choice: Choice, root: str | Path | None, split: str, scale: int) -> PairSequence:
    """Build a dataset; raises DataError if it is empty."""
    pairs: PairSequence = choice.build(Path(root).expanduser() if root else None, split, scale)
    if len(pairs) == 0:
        raise DataError(f"dataset '{choice.label}' has no pictures in its split '{split}'")
    return pairs
