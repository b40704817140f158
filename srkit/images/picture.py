"""A picture as pixels, and what has to survive around them; colour under transparent pixels."""

from dataclasses import dataclass, field, replace

import numpy as np
from PIL import Image

from srkit.errors import ImageError
from srkit.images.about import About

ROWS = 256  # worked on at once; an even number


@dataclass(frozen=True)
class Picture:
    """A picture as pixels, upright, and what has to survive around them.

    rgb: H,W,3 uint8 or uint16; of a large file it may be a view of a mapped one, not to be written to. alpha: H,W of
    the same type, or None. gray: the file had one channel, so it gets one again. about: profile, EXIF and the like.
    notice: what the reading had to give up (16 bits, further frames, broken metadata), empty where nothing.
    """

    rgb: np.ndarray
    alpha: np.ndarray | None = None
    gray: bool = False
    about: About = field(default_factory=About)
    notice: str = ""

    @property
    def icc(self) -> bytes | None:
        """The colour profile."""
        return self.about.icc

    @property
    def exif(self) -> bytes | None:
        """The EXIF, a TIFF structure."""
        return self.about.exif

    @property
    def depth(self) -> int:
        """8 or 16 bits of a channel."""
        return 8 * self.rgb.dtype.itemsize

    def resized(self, rgb: np.ndarray, alpha: np.ndarray | None) -> "Picture":
        """The same picture with other pixels."""
        return replace(self, rgb=rgb, alpha=alpha)

    def channels(self) -> np.ndarray:
        """H,W,C as they are written: 1 gray, 2 gray and alpha, 3 RGB, 4 RGBA."""
        colour = self.rgb[..., :1] if self.gray else self.rgb
        return colour if self.alpha is None else np.concatenate([colour, self.alpha[..., None]], axis=2)


def picture_from(pixels: np.ndarray, about: About, notice: str = "") -> Picture:
    """H,W,C of one to four channels as a Picture, without a copy."""
    channels = pixels.shape[2]
    alpha = pixels[..., -1] if channels in (2, 4) else None
    gray = channels < 3
    rgb = np.broadcast_to(pixels[..., :1], (*pixels.shape[:2], 3)) if gray else pixels[..., :3]
    return Picture(rgb, alpha, gray, about, notice)


def image_of(picture: Picture) -> Image.Image:
    """A Picture of 8 bits as an image of Pillow's: L, LA, RGB or RGBA, with its profile in `info`.

    Gray of 16 bits becomes I;16. ImageError for colour of 16 bits, of which Pillow has no image.
    """
    if picture.depth == 16:
        if not picture.gray or picture.alpha is not None:
            raise ImageError("an image of Pillow's has no colour or transparency of 16 bits")
        return Image.fromarray(np.ascontiguousarray(picture.rgb[..., 0]))
    image = Image.fromarray(picture.rgb)
    if picture.alpha is not None:
        image.putalpha(Image.fromarray(picture.alpha))
    if picture.gray:
        image = image.convert("L" if picture.alpha is None else "LA")
    if picture.icc:
        image.info["icc_profile"] = picture.icc
    return image


def extended(rgb: np.ndarray, alpha: np.ndarray) -> np.ndarray:
    """Colour continued under the transparent pixels, so that nothing hidden there reaches a visible one.

    rgb: H,W,3 uint8 or uint16. alpha: H,W of the same type. Each pixel of alpha 0 gets the mean colour, weighted by
    alpha, of the smallest square of 2, 4, 8, ... pixels around it that has a visible one; all others stay.
    """
    hidden = alpha == 0
    if not hidden.any() or hidden.all():
        return rgb
    top, (height, width) = np.iinfo(rgb.dtype).max, alpha.shape
    mean = np.empty((-(-height // 2), -(-width // 2), 3), np.float32)
    total = np.empty((*mean.shape[:2], 1), np.float32)
    for start in range(0, height, ROWS):  # in bands, since floats of a large picture are many
        weight = alpha[start : start + ROWS].astype(np.float32)[..., None] / top
        colour = rgb[start : start + ROWS].astype(np.float32)
        part = slice(start // 2, start // 2 + -(-len(weight) // 2))
        mean[part], total[part] = halved(colour, weight)
    coarse = grow(mean, np.minimum(total, 1))
    made = np.array(rgb)
    for start in range(0, height, ROWS):
        end = min(start + ROWS, height)
        grown = coarse[start // 2 : -(-end // 2)].repeat(2, axis=0).repeat(2, axis=1)[: end - start, :width]
        filled = np.clip(np.floor(grown + 0.5), 0, top).astype(rgb.dtype)
        made[start:end] = np.where(hidden[start:end, :, None], filled, made[start:end])
    return made


def grow(colour: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """H,W,3 with weights H,W,1: where the weight is 0, the colour of the same picture at half the size."""
    if weight.all():
        return colour
    height, width = weight.shape[:2]
    mean, total = halved(colour, weight)
    coarse = grow(mean, np.minimum(total, 1))
    return np.where(weight > 0, colour, coarse.repeat(2, axis=0).repeat(2, axis=1)[:height, :width])


def halved(colour: np.ndarray, weight: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(mean colour, sum of the weights) of squares of four."""
    odd = ((0, weight.shape[0] % 2), (0, weight.shape[1] % 2), (0, 0))
    total = halves(np.pad(weight, odd))
    return halves(np.pad(colour * weight, odd)) / np.where(total > 0, total, 1), total


def halves(values: np.ndarray) -> np.ndarray:
    """2h,2w,C -> h,w,C: the sums of squares of four."""
    sums: np.ndarray = values[::2, ::2] + values[1::2, ::2] + values[::2, 1::2] + values[1::2, 1::2]
    return sums
