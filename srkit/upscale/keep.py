"""Keep what is there: less of a network's work, the input's colours, protected areas; all as functions of a tile.

Each function here takes a function of a tile, `B,3,h,w` float in [0, 1] to `B,3,s*h,s*w`, with its margin: the LR
pixels it needs beyond what is to be exact, none where the picture itself ends. It gives a new function with its own
margin, so that tiles still equal the whole picture to the last bit.
"""

from collections.abc import Callable

import numpy as np
import torch
from scipy.ndimage import grey_dilation, uniform_filter
from torch import Tensor
from torch.nn import functional as F

from srkit.errors import UsageError
from srkit.imresize import imresize_torch
from srkit.upscale.wrap import Upscale

LANCZOS, CUBIC = 3, 2  # how many LR pixels either kernel reaches, whichever way it resizes

PASSES = 5  # of back-projection: then photographs are within half a level wherever black and white leave room
SHARPEN = (0.105, -0.275, 1.34, -0.275, 0.105)  # close to the inverse of enlarging and making small again by bicubic
ROOM = 0.2  # the least share of a pixel's surroundings that is taken to be free to change
PER_PASS = 3 * CUBIC  # LR pixels that a pass looks around itself: made small, sharpened, enlarged

SOFT = 2  # LR pixels: half the width of a protected area's border
NEARLY = 1e-4  # what bicubic leaves of a mask's 0 and 1


def lanczos(lr: Tensor, scale: int) -> Tensor:
    """B,C,h,w -> B,C,s*h,s*w by MATLAB's lanczos3, neither rounded nor clipped."""
    return imresize_torch(lr, scale, method="lanczos3")


def blended(call: Upscale, scale: int, strength: float, *, margin: int = 0) -> tuple[Upscale, int]:
    """(function, margin): `strength` of the network and the rest of Lanczos.

    1 is `call` itself, 0 is Lanczos exactly, and then the network is not run. Raises UsageError outside 0 to 1.
    """
    if not 0 <= strength <= 1:
        raise UsageError(f"--strength is between 0, Lanczos, and 1, the network; not {strength:g}")
    if strength == 1:
        return call, margin
    if strength == 0:
        return lambda lr: lanczos(lr, scale), LANCZOS
    return lambda lr: torch.lerp(lanczos(lr, scale), call(lr).to(lr), strength), max(margin, LANCZOS)


def protected(call: Upscale, scale: int, *, margin: int = 0) -> tuple[Callable[[Tensor, Tensor], Tensor], int]:
    """(function of a tile and its mask, margin): Lanczos where the mask is 1, `call` where it is 0.

    The mask is B,1,h,w or 1,1,h,w float in [0, 1], the same window of what `softened` gives. A tile without any is
    `call` alone, and one that is all mask is not given to the network.
    """

    def upscale(lr: Tensor, mask: Tensor) -> Tensor:
        if not mask.any():
            return call(lr)
        plain = lanczos(lr, scale)
        if bool((mask == 1).all()):
            return plain
        sr = call(lr).to(plain)
        share = imresize_torch(mask.to(plain), scale).clamp(0, 1)
        mixed = torch.lerp(sr, plain, share)
        return torch.where(share > 1 - NEARLY, plain, torch.where(share < NEARLY, sr, mixed))

    return upscale, max(margin, LANCZOS)


def softened(mask: np.ndarray) -> np.ndarray:
    """H,W bool, or float in [0, 1], -> H,W float32: the same inside, with a border outside it that fades to 0."""
    side = 2 * SOFT + 1
    wide = grey_dilation(mask.astype(np.float32), size=(side, side), mode="nearest")
    soft = uniform_filter(wide.astype(np.float64), size=side, mode="nearest")
    result: np.ndarray = np.clip(soft.round(6), 0, 1).astype(np.float32)
    return result


def colour_kept(call: Upscale, scale: int, *, margin: int = 0) -> tuple[Upscale, int]:
    """(function, margin): what `call` makes, corrected until bicubic makes the input of it again.

    The difference to the input is enlarged and added, which back-projection does (Irani and Peleg 1991), here with the
    blur of doing so undone in advance, so that five passes suffice. What comes out is in [0, 1]. Within half a level
    of 255 everywhere but beside pure black and white, where no picture may exist that has these pixels when it is made
    small: there the correction goes to the pixels around that still can change.
    """

    def upscale(lr: Tensor) -> Tensor:
        sr = call(lr).to(lr).clamp(0, 1)
        for _ in range(PASSES):
            sr = corrected(sr, lr, scale)
        return sr

    return upscale, margin + PASSES * PER_PASS


def corrected(sr: Tensor, lr: Tensor, scale: int) -> Tensor:
    """One pass of back-projection."""
    size = (lr.shape[-2], lr.shape[-1])
    missing = lr - imresize_torch(sr, size=size)
    wanted = missing.repeat_interleave(scale, -1).repeat_interleave(scale, -2)
    free = torch.where(wanted > 0, sr < 1, sr > 0).to(sr)
    room = imresize_torch(free, size=size).clamp(ROOM, 1)
    return (sr + imresize_torch(sharpened(missing) / room, scale)).clamp(0, 1)


def sharpened(lr: Tensor) -> Tensor:
    """Weighted sums of five neighbours along both axes. No convolution: that may round by the size of a tile."""
    for axis, pad in ((-1, (2, 2, 0, 0)), (-2, (0, 0, 2, 2))):
        wide, length = F.pad(lr, pad, mode="replicate"), lr.shape[axis]
        lr = torch.zeros_like(lr)
        for i, weight in enumerate(SHARPEN):
            lr = lr + weight * wide.narrow(axis, i, length)
    return lr
