"""Upscale a whole picture, transparency and all."""

import torch

from srkit.images import Picture, extended
from srkit.imresize import imresize
from srkit.upscale.wrap import Upscale, to_pixels, to_tensor


def upscale_picture(upscaler: Upscale, picture: Picture, scale: int, device: torch.device | str = "cpu") -> Picture:
    """The picture `scale` times larger: colour by the upscaler, transparency by bicubic, gray still gray.

    The upscaler sees colour continued under the transparent pixels, not what happens to be hidden there.
    """
    rgb = picture.rgb if picture.alpha is None else extended(picture.rgb, picture.alpha)
    rgb = to_pixels(upscaler(to_tensor(rgb, device)))
    alpha = None if picture.alpha is None else imresize(picture.alpha, scale)
    return picture.resized(rgb, alpha)
