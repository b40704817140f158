"""Interpolations as models without parameters, so that every table has its floor."""

import torch
from torch import Tensor, nn

from srkit import imresize_torch


class Bicubic(nn.Module):
    """MATLAB's `imresize` on 8-bit pixels: the input is rounded to 1/255 first, as a picture file would be."""

    method = "bicubic"

    def __init__(self, scale: int):
        super().__init__()
        self.scale = scale

    def forward(self, lr: Tensor) -> Tensor:
        pixels = (lr * 255).round().clamp(0, 255).to(torch.uint8)
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
