"""Interpolations as models without parameters, so that every table has its floor."""

import torch
from torch import Tensor, nn

from srkit import imresize_torch


class Bicubic(nn.Module):
    """MATLAB's `imresize`: of 8-bit pixels, which are rounded after each pass as there, or of finer ones in floats.

    Values that are all within 1/25500 of a multiple of 1/255 are 8-bit pixels.
    """

    method = "bicubic"

    def __init__(self, scale: int):
        super().__init__()
        self.scale = scale

    def forward(self, lr: Tensor) -> Tensor:
        levels = lr * 255
        pixels = levels.round().clamp(0, 255)
        if bool(((levels - pixels).abs() > 0.01).any()):
            return imresize_torch(lr, self.scale, method=self.method)
        pixels = pixels.to(torch.uint8)
        return imresize_torch(pixels, self.scale, method=self.method).to(lr.dtype) / 255


class Lanczos(Bicubic):
    method = "lanczos3"


class Nearest(nn.Module):
    """Each pixel repeated `scale` times in both directions."""

    def __init__(self, scale: int):
        super().__init__()
        self.scale = scale

    def forward(self, lr: Tensor) -> Tensor:
        return lr.repeat_interleave(self.scale, dim=-2).repeat_interleave(self.scale, dim=-1)
