"""Say in words where a picture is guesswork, and draw it: a share, the largest places, a heat map with its legend."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageDraw, ImageFont

GUESSWORK = 10.0  # levels of 255: where the expected error is larger, the detail is mostly invented

NAMED = 3  # regions in the words
NEAR = 48  # parts of a picture's long side: closer doubtful pixels are one region
SMALLEST = 2e-4  # share of the picture, below which a region is not named
OF_TEXT = 0.3  # share of a region that is text, above which it is called so
LINED = 0.55  # coherence of the gradients, above which a region has edges and no texture

TOP = 2 * GUESSWORK  # levels at the upper end of the colours
SHORT, LONG = 360, 640  # pixels: smaller maps are enlarged, so that the legend can be read
DIM = 0.5  # brightness of the photograph under the colours
#: Inferno, by Nathaniel Smith and Stéfan van der Walt (CC0): its lightness rises evenly
INFERNO = np.array([
    (0, 0, 4), (33, 12, 74), (87, 16, 110), (138, 34, 106), (188, 55, 84), (228, 90, 49), (249, 142, 9), (249, 203, 53),
    (252, 255, 164),
])  # fmt: skip


@dataclass(frozen=True)
class Region:
    """A doubtful place. x, y: its middle in pixels of the input. share: of the picture. what: text, edges, texture."""

    x: int
    y: int
    share: float
    what: str


@dataclass(frozen=True)
class Guesswork:
    """share: of the input's pixels whose expected error is above `GUESSWORK`. regions: the largest first."""

    share: float
    regions: tuple[Region, ...]

    @property
    def words(self) -> str:
        """`3 % of this picture is guesswork: text at 120,40; texture at 310,200`."""
        if not self.share:
            return "nothing in this picture is guesswork"
        percent = "less than 1" if self.share < 0.005 else f"{100 * self.share:.0f}"
        places = "; ".join(f"{region.what} at {region.x},{region.y}" for region in self.regions)
        return f"{percent} % of this picture is guesswork" + (f": {places}" if places else "")


@dataclass(frozen=True, kw_only=True)
class Confidence:
    """How much of a picture's result is guesswork, as `Upscaler.confidence` gives it.

    Attributes:
        levels: H,W float32 for the pixels of the input: the mean absolute error to expect, in levels of 255.
        share: of the pixels whose detail is mostly invented, 0 to 1.
        words: both in a line: `3 % of this picture is guesswork: text at 120,40`.
    """

    levels: np.ndarray
    share: float
    words: str

    def layer(self) -> np.ndarray:
        """H,W,4 uint8, RGBA: colours to lay over the picture, clear where there is no doubt."""
        return heat_of(self.levels)


def guesswork(levels: np.ndarray, rgb: np.ndarray, text: np.ndarray | None = None) -> Guesswork:
    """What to say of a map. levels: H,W expected error in levels of 255. rgb: H,W,3 uint8, the input.

    text: H,W bool, where the input has text, if that is known.
    """
    from scipy import ndimage  # heavy, and public names of srkit are in this module

    doubtful = levels > GUESSWORK
    if not doubtful.any():
        return Guesswork(0.0, ())
    side = max(3, max(levels.shape) // NEAR | 1)
    dense = ndimage.uniform_filter(doubtful.astype(np.float32), side, mode="constant")
    labels, count = ndimage.label(dense > 0.25)
    sizes = np.bincount(labels[doubtful], minlength=count + 1)[1:]
    coherence = coherence_of(rgb, side) if count else levels
    regions = []
    for number in np.argsort(-sizes, kind="stable")[:NAMED]:
        if sizes[number] < max(4, SMALLEST * levels.size):
            break
        inside = (labels == number + 1) & doubtful
        y, x = middle_of(inside)
        regions.append(Region(x, y, float(sizes[number] / levels.size), what_is(inside, coherence, text)))
    return Guesswork(float(doubtful.mean()), tuple(regions))


def middle_of(inside: np.ndarray) -> tuple[int, int]:
    """(row, column) of the pixel of a region that is nearest to its centre."""
    rows, columns = np.nonzero(inside)
    nearest = np.argmin((rows - rows.mean()) ** 2 + (columns - columns.mean()) ** 2)
    return int(rows[nearest]), int(columns[nearest])


def what_is(inside: np.ndarray, coherence: np.ndarray, text: np.ndarray | None) -> str:
    if text is not None and text[inside].mean() > OF_TEXT:
        return "text"
    return "edges" if coherence[inside].mean() > LINED else "texture"


def coherence_of(rgb: np.ndarray, side: int) -> np.ndarray:
    """H,W in [0, 1]: 1 where all gradients around a pixel have one direction, 0 where they have every one."""
    from scipy import ndimage

    gray = rgb.mean(axis=2)
    y, x = (ndimage.sobel(gray, axis=axis) for axis in (0, 1))
    yy, xx, xy = (ndimage.uniform_filter(part, side) for part in (y * y, x * x, x * y))
    result: np.ndarray = np.sqrt((yy - xx) ** 2 + 4 * xy**2) / (yy + xx + 1e-6)
    return result


def colours(levels: np.ndarray, gray: np.ndarray) -> np.ndarray:
    """H,W levels over H,W gray in [0, 255] -> H,W,3 uint8: the darkened gray, then colours as the error grows."""
    heat, cover = scaled_colours(levels)
    mixed = (1 - cover) * DIM * gray[..., None] + cover * heat
    return np.asarray(np.clip(mixed + 0.5, 0, 255).astype(np.uint8))


def heat_of(levels: np.ndarray) -> np.ndarray:
    """H,W levels -> H,W,4 uint8: the same colours, the more opaque the larger the error."""
    heat, cover = scaled_colours(levels)
    return np.floor(np.concatenate([heat, 255 * cover], axis=-1) + 0.5).astype(np.uint8)


def scaled_colours(levels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(H,W,3 colours in [0, 255], H,W,1 in [0, 1]: how much they cover) of H,W levels."""
    part = np.clip(levels / TOP, 0, 1)
    at = np.linspace(0, 1, len(INFERNO))
    heat = np.stack([np.interp(part, at, INFERNO[:, channel]) for channel in range(3)], axis=-1)
    return heat, np.clip(levels / GUESSWORK, 0, 1)[..., None]


def heat_map(levels: np.ndarray, rgb: np.ndarray, words: str) -> np.ndarray:
    """The map over the darkened input, with a legend and the words below it: uint8, at least 360 pixels on a side."""
    times = max(1, -(-SHORT // min(levels.shape)) if max(levels.shape) < LONG else 1)
    seen = colours(levels, rgb.mean(axis=2)).repeat(times, axis=0).repeat(times, axis=1)
    strip = legend(max(seen.shape[1], SHORT), words)
    wide = max(seen.shape[1], strip.shape[1])
    rows = [np.pad(part, ((0, 0), (0, wide - part.shape[1]), (0, 0)), constant_values=BACK) for part in (seen, strip)]
    return np.concatenate(rows)


BACK = 24  # gray of the legend's ground
MARGIN, BAR = 12, 14  # pixels


def legend(width: int, words: str) -> np.ndarray:
    """A strip of that width: the words, then the colours with the levels that they mean."""
    size = int(np.clip(width / 45, 12, 40))
    font, line = ImageFont.load_default(size), round(1.35 * size)
    lines = [*wrapped(words, font, width - 2 * MARGIN), "", "expected error in levels of 255"]
    bar = max(BAR, size)
    sheet = Image.new("RGB", (width, 2 * MARGIN + line * (len(lines) + 1) + bar), (BACK, BACK, BACK))
    draw = ImageDraw.Draw(sheet)
    for number, text in enumerate(lines):
        draw.text((MARGIN, MARGIN + line * number), text, fill="white", font=font)
    top, long = MARGIN + line * len(lines), min(width - 2 * MARGIN, 24 * size)
    scale = np.broadcast_to(np.linspace(0, TOP, long), (bar, long))
    sheet.paste(Image.fromarray(colours(scale, np.full(scale.shape, 128.0))), (MARGIN, top))
    ticks = ((0.0, "0", "la"), (GUESSWORK, f"{GUESSWORK:.0f} guesswork", "ma"), (TOP, f"{TOP:.0f} and more", "ra"))
    for level, text, anchor in ticks:
        draw.text((MARGIN + long * level / TOP, top + bar + 2), text, fill="white", font=font, anchor=anchor)
    draw.line([(MARGIN + long // 2, top), (MARGIN + long // 2, top + bar)], fill="white")
    return np.asarray(sheet)


def wrapped(text: str, font: ImageFont.FreeTypeFont | ImageFont.ImageFont, width: float) -> Sequence[str]:
    lines = [""]
    for word in text.split():
        longer = f"{lines[-1]} {word}".strip()
        lines = [*lines[:-1], longer] if font.getlength(longer) <= width or not lines[-1] else [*lines, word]
    return lines
