"""Areas of a picture that are left to Lanczos: a mask the user draws, or what looks like text."""

from pathlib import Path

import numpy as np

from srkit.errors import UsageError
from srkit.images import Picture, read_picture
from srkit.text_areas import text_mask
from srkit.upscale.keep import softened

TEXT = "text"
LUMA = (0.299, 0.587, 0.114)


def mask_of(word: str, picture: Picture) -> np.ndarray:
    """H,W uint8 of the picture's size: 255 where Lanczos is wanted, with a soft border.

    word: "text", or a picture of the same size that is white there. UsageError for one of another size.
    """
    height, width = picture.rgb.shape[:2]
    if word == TEXT and not Path(word).exists():
        inside = text_mask(luma_of(picture))
    else:
        drawn = read_picture(word)
        if drawn.rgb.shape[:2] != (height, width):
            tall, wide = drawn.rgb.shape[:2]
            raise UsageError(f"the mask '{word}' has {wide}x{tall} pixels, its picture {width}x{height}")
        shown = drawn.rgb.mean(axis=2) if drawn.alpha is None else drawn.rgb.mean(axis=2) * (drawn.alpha / 255)
        inside = shown >= 128
    return np.floor(softened(inside) * 255 + 0.5).astype(np.uint8)


def luma_of(picture: Picture) -> np.ndarray:
    """H,W in 0..255."""
    white = float(np.iinfo(picture.rgb.dtype).max)
    return np.asarray(picture.rgb @ (np.array(LUMA) * (255 / white)))
