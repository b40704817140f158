"""Super-resolution of luma on a bicubic enlargement: what SRCNN and VDSR share.

Both restore the Y of BT.601's YCbCr (16 to 235 of 255, as MATLAB's `rgb2ycbcr`) and take Cb and Cr from
the enlargement. Conversion is affine and Y enters R, G and B alike, so to change Y is to add to all three.
"""

from torch import Tensor

from srkit import imresize_torch

Y_SPAN = (235 - 16) / 255  # what Y spans while R, G and B span 1
KERNEL_REACH = 2  # pixels to each side that MATLAB's cubic kernel weighs


def enlarge(lr: Tensor, scale: int) -> Tensor:
    """B,3,H,W -> B,3,scale*H,scale*W by MATLAB's `imresize`, in floating point as in both papers' test code."""
    return imresize_torch(lr, scale)


def luma(rgb: Tensor) -> Tensor:
    """B,3,H,W in [0, 1] -> B,1,H,W in [16/255, 235/255]."""
    r, g, b = (rgb[:, i : i + 1] for i in range(3))
    return (16 + 65.481 * r + 128.553 * g + 24.966 * b) / 255


def add_to_luma(rgb: Tensor, difference: Tensor) -> Tensor:
    """The picture whose Y is larger by `difference`, B,1,H,W, and whose Cb and Cr are the same."""
    return rgb + difference / Y_SPAN


def receptive_field(scale: int, hr_reach: int) -> int:
    """LR pixels to each side for a network that sees `hr_reach` pixels of the enlargement to each side.

    One more than is needed at some scales.
    """
    return -(-hr_reach // scale) + KERNEL_REACH
