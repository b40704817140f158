"""Compute a picture tile by tile into an array of pixels, which may be a file."""

from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import torch
from torch import Tensor

from srkit.errors import SrkitError
from srkit.images import Picture, extended
from srkit.nets import ran_out
from srkit.upscale.areas import SMALLEST, Area, Box, PixelArray, Resized, overlap_of
from srkit.upscale.tiles import spans

BYTES = np.dtype(np.uint8)
LUMA = (0.299, 0.587, 0.114)  # ITU-R BT.601, as Pillow makes gray


@dataclass(frozen=True)
class Result:
    """A result to be computed.

    colour: RGB of the whole picture, at its final size. alpha: the same for its transparency, or None. gray: the result
    has one channel for colour. canvas: (width, height) of the result. offset: (x, y) of the picture in it. pad: the
    colour around it, in [0, 1]. dtype: uint8 or uint16.
    """

    colour: Area
    alpha: Area | None
    gray: bool
    canvas: tuple[int, int]
    offset: tuple[int, int] = (0, 0)
    pad: tuple[float, float, float] = (1.0, 1.0, 1.0)
    dtype: np.dtype = BYTES

    @property
    def shape(self) -> tuple[int, int, int]:
        return self.canvas[1], self.canvas[0], (1 if self.gray else 3) + (self.alpha is not None)

    def boxes(self, rows: int, columns: int) -> list[Box]:
        """The canvas in about so many equal boxes, row by row."""
        return boxes_of(*self.canvas, rows, columns)


def boxes_of(width: int, height: int, rows: int, columns: int) -> list[Box]:
    """A canvas in about so many equal boxes, row by row; small ones are at least a pixel."""
    down = [(a, b) for _, _, a, b in spans(height, -(-height // rows), 0)]
    across = [(a, b) for _, _, a, b in spans(width, -(-width // columns), 0)]
    return [Box(*row, *column) for row in down for column in across]


def source_of(picture: Picture, device: torch.device | str = "cpu") -> PixelArray:
    """The colour of a picture, continued under its transparent pixels: what is hidden there reaches no visible one."""
    return PixelArray(picture.rgb if picture.alpha is None else extended(picture.rgb, picture.alpha), device)


def alpha_of(picture: Picture, width: int, height: int) -> Area | None:
    """The transparency at the final size, by bicubic; of 8 bits as MATLAB's imresize gives it."""
    if picture.alpha is None:
        return None
    pixels = PixelArray(picture.alpha)
    if (pixels.width, pixels.height) == (width, height):
        return pixels
    return Resized(pixels, height, width, level=255 if picture.depth == 8 else None)


def render(
    result: Result,
    pixels: np.ndarray,
    boxes: list[Box],
    *,
    flags: np.ndarray | None = None,
    done: Callable[[int, int], None] = lambda boxes, total: None,
    tell: Callable[[str], None] = lambda line: None,
) -> None:
    """Compute `boxes` of `result` into `pixels`, H,W,C. flags: 1 for each box that is there already; set after each.

    done(boxes, total) is called after each box. A box that memory does not suffice for is halved until it does, which
    `tell` says once. Raises SrkitError where even a small one does not fit, OutputError of the network.
    """
    parts = 1
    for number, box in enumerate(boxes):
        if flags is None or not flags[number]:
            while True:
                try:
                    for piece in divided(box, parts):
                        pixels[piece.top : piece.bottom, piece.left : piece.right] = drawn(result, piece)
                    break
                except Exception as error:
                    if not ran_out(error):
                        raise
                    parts *= 2
                    if max(box.height, box.width) // parts < SMALLEST:
                        sides = f"{box.width * 2 // parts}x{box.height * 2 // parts}"
                        raise SrkitError(f"out of memory, even in tiles of {sides} pixels") from error
                    tell(f"out of memory: on with tiles of {box.width // parts}x{box.height // parts} pixels")
            if flags is not None:
                flags[number] = 1
        done(number + 1, len(boxes))


def divided(box: Box, parts: int) -> list[Box]:
    """A box in `parts` times `parts` of about its size."""
    rows = np.linspace(box.top, box.bottom, parts + 1).astype(int).tolist()
    columns = np.linspace(box.left, box.right, parts + 1).astype(int).tolist()
    boxes = [Box(top, bottom, left, right) for top, bottom in pairwise(rows) for left, right in pairwise(columns)]
    return [each for each in boxes if each.height and each.width]


def drawn(result: Result, box: Box) -> np.ndarray:
    """h,w,C: the pixels of a box of the canvas, rounded half up and clipped."""
    white = int(np.iinfo(result.dtype).max)
    (x, y), (width, height) = result.offset, (result.colour.width, result.colour.height)
    inside = overlap_of(box, Box(y, y + height, x, x + width))
    drawn = np.empty((box.height, box.width, result.shape[2]), result.dtype)
    if inside != box:
        pad = np.array([*result.pad, 1.0] if result.alpha is not None else result.pad)
        if result.gray:
            pad = np.array([float(np.dot(pad[:3], LUMA)), *pad[3:]])
        drawn[:] = np.floor(pad * white + 0.5).astype(result.dtype)
    if inside is None:
        return drawn
    part = Box(inside.top - y, inside.bottom - y, inside.left - x, inside.right - x)
    values = result.colour.read(part)
    if result.gray:
        values = (values * values.new_tensor(LUMA).view(1, 3, 1, 1)).sum(1, keepdim=True)
    planes = [to_levels(values, white)]
    if result.alpha is not None:
        planes.append(to_levels(result.alpha.read(part), white))
    place = drawn[inside.top - box.top : inside.bottom - box.top, inside.left - box.left : inside.right - box.left]
    place[:] = np.concatenate(planes, -1) if len(planes) > 1 else planes[0]
    return drawn


def to_levels(values: Tensor, white: int) -> np.ndarray:
    """1,C,h,w float in [0, 1] -> h,w,C of 0 to `white`: rounded half up, clipped."""
    levels = values[0].mul(white).add_(0.5).floor_().clamp_(0, white).permute(1, 2, 0)
    if white == 255:
        return levels.byte().contiguous().cpu().numpy()
    return levels.int().contiguous().cpu().numpy().astype(np.uint16)
