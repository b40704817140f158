"""How much of a picture's result is guesswork: the map of expected errors over the whole picture, tile by tile."""

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from srkit.errors import UsageError
from srkit.images import Picture, write_picture
from srkit.text_areas import text_mask
from srkit.upscale.areas import Box, PixelArray
from srkit.upscale.confidence import with_confidence
from srkit.upscale.guesswork import Confidence, Guesswork, guesswork, heat_map
from srkit.upscale.protect import luma_of
from srkit.upscale.render import source_of
from srkit.upscale.stages import Stage, clipped
from srkit.upscale.tiles import OVERLAP, spans

SIDE = 192  # of a tile in input pixels; eight results of it are computed, three held


def composed(stages: Sequence[Stage]) -> tuple[Callable[[Tensor], Tensor], int, int]:
    """(function of a tile, its scale, its margin) of networks one after the other."""
    scale, margin, calls = 1, 0, []
    for number, stage in enumerate(stages):
        reach = OVERLAP if stage.margin is None else stage.margin
        margin += -(-(reach + stage.multiple - 1) // scale)
        scale *= stage.scale
        calls.append(clipped(stage.call) if number else stage.call)

    def call(lr: Tensor) -> Tensor:
        for each in calls:
            lr = each(lr)
        return lr

    return call, scale, margin


def levels_of(
    picture: Picture, stages: Sequence[Stage], done: Callable[[int, int], None] = lambda tiles, total: None
) -> np.ndarray:
    """H,W float32: the mean absolute error to expect of each input pixel's block, in levels of 255.

    Eight passes of the networks. done(tiles, total) after each tile. UsageError where no network enlarges.
    """
    if not stages:
        raise UsageError("--confidence is of a network's result; an interpolation adds nothing to a picture")
    call, scale, margin = composed(stages)
    measured, reach = with_confidence(call, scale, margin=margin)
    source: PixelArray = source_of(picture, stages[0].device)
    multiple = max(stage.multiple for stage in stages)
    rows, columns = (list(spans(side, SIDE, reach, multiple)) for side in (source.height, source.width))
    levels = np.empty((source.height, source.width), np.float32)
    for number, (top, bottom, row, row_end) in enumerate(rows):
        for count, (left, right, column, column_end) in enumerate(columns):
            found = measured(source.read(Box(top, bottom, left, right)))[1][0, 0]
            part = found[row - top : row_end - top, column - left : column_end - left]
            levels[row:row_end, column:column_end] = part.to("cpu", torch.float32).numpy()
            done(number * len(columns) + count + 1, len(rows) * len(columns))
    return levels


def confidence_of(
    picture: Picture, stages: Sequence[Stage], done: Callable[[int, int], None] = lambda tiles, total: None
) -> Confidence:
    """`levels_of` and what they say."""
    levels = levels_of(picture, stages, done)
    found = said_of(picture, levels)[1]
    return Confidence(levels=levels, share=found.share, words=found.words)


def said_of(picture: Picture, levels: np.ndarray) -> tuple[np.ndarray, Guesswork]:
    """(H,W,3 uint8 of the picture, what its map says)."""
    white = int(np.iinfo(picture.rgb.dtype).max)
    rgb = picture.rgb if white == 255 else np.floor(picture.rgb * (255 / white) + 0.5).astype(np.uint8)
    return rgb, guesswork(levels, rgb, text_mask(luma_of(picture)))


def draw_map(picture: Picture, levels: np.ndarray, target: Path) -> Guesswork:
    """Write the heat map, and say what it shows."""
    rgb, found = said_of(picture, levels)
    write_picture(target, Picture(heat_map(levels, rgb, found.words)))
    return found
