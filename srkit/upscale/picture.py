"""Upscale a whole picture, transparency and all."""

import torch

from srkit.images import Picture
from srkit.imresize import imresize
from srkit.upscale.wrap import Upscale, to_pixels, to_tensor


def upscale_picture(upscaler: Upscale, picture: Picture, scale: int, device: torch.device | str = "cpu") -> Picture:
    """The picture `scale` times larger: colour by the upscaler, transparency by bicubic, gray still gray."""
    rgb = to_pixels(upscaler(to_tensor(picture.rgb, device)))
    alpha = None if picture.alpha is None else imresize(picture.alpha, scale)
    return picture.resized(rgb, alpha)
