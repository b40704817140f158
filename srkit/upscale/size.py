"""Sizes: inputs padded to the multiple a network wants, results cropped back."""

from torch import Tensor
from torch.nn import functional as F


def pad_to_multiple(lr: Tensor, multiple: int) -> Tensor:
    """B,3,H,W with its last rows and columns repeated by reflection until both are multiples."""
    height, width = lr.shape[-2:]
    down, right = -height % multiple, -width % multiple
    if not down and not right:
        return lr
    if down < height and right < width:
        return F.pad(lr, (0, right, 0, down), mode="reflect")
    return F.pad(lr, (0, right, 0, down), mode="replicate")


def crop_to(sr: Tensor, height: int, width: int) -> Tensor:
    return sr[..., :height, :width]
