"""How wrong an enlarged picture may be, for each pixel of the input: an error in levels of 255, expected without HR.

Three things make a doubt: the spread of the eight self-ensemble passes, which would be none if the network knew; how
far the result, made small again, is from the input; and what was added to bicubic, the detail that is not in the input.
A doubt costs most where the result is steep, since a displaced edge is wrong by its gradient. How well the map ranks
true errors, and the fit of its calibration: `benchmarks/confidence.py`.
"""

from collections.abc import Callable, Iterator
from itertools import product

import torch
from torch import Tensor
from torch.nn import functional as F

from srkit.imresize import imresize_torch
from srkit.upscale.wrap import Upscale

NAMES = ("spread", "unfaithful", "added", "steep")  # what is measured
LEAST = 0.1  # levels: without doubt or without a gradient there still is rounding
POWER, FACTOR, FACTOR_PER_SCALE = 0.7, 0.63, 0.545  # fitted on photographs by edsr-small at x2 and x4
LUMA = (0.299, 0.587, 0.114)
SMOOTH = (1 / 6, 4 / 6, 1 / 6)  # over neighbours along each axis
REACH = 3  # LR pixels: bicubic reaches two, and smoothing one more
LEVELS = 255.0


def expected(measures: Tensor, scale: int) -> Tensor:
    """B,4,h,w measures in levels, those of `NAMES` -> B,1,h,w: the mean absolute error to expect, in levels."""
    return ((FACTOR + FACTOR_PER_SCALE * scale) * combined(measures) ** POWER).clamp_max(LEVELS)


def combined(measures: Tensor) -> Tensor:
    """B,4,h,w -> B,1,h,w: the geometric mean of the doubt and the steepness, in levels, smoothed."""
    doubt, steep = measures[:, :3].sum(1, keepdim=True), measures[:, 3:]
    return smoothed(((doubt + LEAST) * (steep + LEAST)).sqrt())


def with_confidence(
    call: Upscale, scale: int, *, margin: int = 0, ensemble: bool = False
) -> tuple[Callable[[Tensor], tuple[Tensor, Tensor]], int]:
    """(function, margin): B,3,h,w -> what `call` makes, and B,1,h,w expected error in levels of 255.

    `call` is run eight times, on all flips and transposes of a tile. ensemble: the result is their mean, as by
    `--self-ensemble`, else the pass on the tile as it is. margin: the LR pixels that `call` needs around a tile.
    """

    def upscale(lr: Tensor) -> tuple[Tensor, Tensor]:
        first, mean, spread = ensemble_of(call, lr)
        sr = mean if ensemble else first
        return sr, expected(measure(lr, sr.clamp(0, 1), spread, scale), scale)

    return upscale, margin + REACH


def ensemble_of(call: Upscale, lr: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """(first, mean, standard deviation) of the eight passes, all B,3,s*h,s*w; three of them are held at once."""
    passes = eight(call, lr)
    first = next(passes).to(lr)
    total, squares = torch.zeros_like(first), torch.zeros_like(first)
    for sr in passes:
        apart = sr.to(lr) - first  # small, so that its squares lose nothing
        total += apart
        squares += apart * apart
    return first, first + total / 8, (squares / 8 - (total / 8) ** 2).clamp_min(0).sqrt()


def eight(call: Upscale, lr: Tensor) -> Iterator[Tensor]:
    """What `call` makes of all flips and transposes of a tile, turned back; the first is the tile as it is."""
    for transpose, vertical, horizontal in product((False, True), repeat=3):
        axes = [axis for axis, flip in ((-2, vertical), (-1, horizontal)) if flip]
        sr = call((lr.mT if transpose else lr).flip(axes)).flip(axes)
        yield sr.mT if transpose else sr


def measure(lr: Tensor, sr: Tensor, spread: Tensor, scale: int) -> Tensor:
    """B,4,h,w in levels of 255, for each LR pixel: those of `NAMES`, the mean over its block and the channels.

    lr, sr: in [0, 1]. spread: a standard deviation, as sr. What is steep is the result's luma, per pixel of the result.
    """
    again = imresize_torch(sr, size=(lr.shape[-2], lr.shape[-1]))
    unfaithful = (again - lr).abs().mean(1, keepdim=True)
    added = (sr - imresize_torch(lr, scale).clamp(0, 1)).abs().mean(1, keepdim=True)
    blocks = [F.avg_pool2d(each, scale) for each in (spread.mean(1, keepdim=True), added, gradient(sr))]
    return LEVELS * torch.cat([blocks[0], unfaithful, blocks[1], blocks[2]], 1)


def gradient(rgb: Tensor) -> Tensor:
    """B,3,H,W -> B,1,H,W: the magnitude of the luma's gradient by central differences, one-sided at the edges."""
    luma = (rgb * torch.tensor(LUMA, device=rgb.device, dtype=rgb.dtype)[:, None, None]).sum(1, keepdim=True)
    return torch.hypot(slope(luma, -2), slope(luma, -1))


def slope(plane: Tensor, axis: int) -> Tensor:
    if plane.shape[axis] == 1:
        return torch.zeros_like(plane)
    steps = plane.diff(dim=axis)
    wide = F.pad(steps, (0, 0, 1, 1) if axis == -2 else (1, 1, 0, 0), mode="replicate")
    length = plane.shape[axis]
    return (wide.narrow(axis, 0, length) + wide.narrow(axis, 1, length)) / 2


def smoothed(plane: Tensor) -> Tensor:
    for axis, pad in ((-1, (1, 1, 0, 0)), (-2, (0, 0, 1, 1))):
        wide, length = F.pad(plane, pad, mode="replicate"), plane.shape[axis]
        parts = [weight * wide.narrow(axis, i, length) for i, weight in enumerate(SMOOTH)]
        plane = parts[0] + parts[1] + parts[2]
    return plane
