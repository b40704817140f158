"""Pictures side by side on one labelled sheet."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageDraw, ImageFont

MARGIN, LABEL, CAPTION = 8, 26, 18  # pixels
LARGEST = 100e6  # pixels of a sheet, which is a picture to view


@dataclass(frozen=True)
class Strip:
    """A row of a sheet. pictures: uint8 H,W,3, one a column. captions: a line below each. heading: a line above all."""

    pictures: Sequence[np.ndarray]
    captions: Sequence[str] = ()
    heading: str = ""


def enlarged(pixels: np.ndarray, times: int) -> np.ndarray:
    """Each pixel repeated: H,W,3 -> times*H,times*W,3."""
    return pixels.repeat(times, axis=0).repeat(times, axis=1)


def draw_sheet(labels: Sequence[str], strips: Sequence[Strip], title: str = "") -> np.ndarray:
    """A white sheet, uint8 H,W,3: the labels of the columns on top, then the strips, their pixels unchanged.

    Pictures of one strip are equally tall; a column is as wide as its widest picture or text.
    """
    large, small = ImageFont.load_default(15), ImageFont.load_default(12)
    columns = [
        max(
            [large.getlength(label)]
            + [small.getlength(strip.captions[i]) for strip in strips if strip.captions]
            + [float(strip.pictures[i].shape[1]) for strip in strips]
        )
        for i, label in enumerate(labels)
    ]
    lefts = [MARGIN + sum(int(width) + MARGIN for width in columns[:i]) for i in range(len(columns) + 1)]
    lines = [small.getlength(strip.heading) for strip in strips] + [large.getlength(title)]
    width = max(lefts[-1], int(max(lines)) + 2 * MARGIN)
    height = LABEL * (2 if title else 1) + sum(
        strip.pictures[0].shape[0] + CAPTION * (bool(strip.heading) + bool(strip.captions)) + MARGIN for strip in strips
    )
    sheet = Image.new("RGB", (width, height), "white")
    draw = ImageDraw.Draw(sheet)
    if title:
        draw.text((MARGIN, 5), title, fill="black", font=large)
    top = LABEL if title else 0
    for label, left in zip(labels, lefts, strict=False):
        draw.text((left, top + 5), label, fill="black", font=large)
    top += LABEL
    for strip in strips:
        if strip.heading:
            draw.text((MARGIN, top + 2), strip.heading, fill="black", font=small)
            top += CAPTION
        for picture, left in zip(strip.pictures, lefts, strict=False):
            sheet.paste(Image.fromarray(picture), (left, top))
        top += strip.pictures[0].shape[0]
        if strip.captions:
            for caption, left in zip(strip.captions, lefts, strict=False):
                draw.text((left, top + 2), caption, fill="black", font=small)
            top += CAPTION
        top += MARGIN
    return np.asarray(sheet)
