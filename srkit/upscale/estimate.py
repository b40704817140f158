"""What a picture will take: tiles, memory, seconds; from its plan and one small run of each network."""

import time
from dataclasses import dataclass
from functools import cache
from statistics import median

import numpy as np

from srkit.upscale.areas import Box, PixelArray, Resized
from srkit.upscale.file import How, Plan, tile_of, tiles_of
from srkit.upscale.render import boxes_of
from srkit.upscale.tiles import OVERLAP, spans

ENCODED = 12e6  # pixels of a result that are rounded and encoded in a second on one core
TRIED = 256  # side of the picture that the pace of resizing is measured on, in pixels


@dataclass(frozen=True)
class Estimate:
    """tiles: how many. tile: their side in pixels of what the last network is given. memory: of one. seconds: all."""

    tiles: int
    tile: int
    memory: float
    seconds: float


def estimate(plan: Plan, how: How) -> Estimate:
    """Of one picture. Each network is run on small pictures once, to measure its pace."""
    width, height = plan.head.width, plan.head.height
    seconds = plan.size.canvas[0] * plan.size.canvas[1] / ENCODED
    grid = tiles_of(plan, how)
    tiles = len(boxes_of(*plan.size.canvas, *grid))
    virtual = plan.size.virtual
    if not plan.steps:
        seconds += virtual[0] * virtual[1] * resize_pace(plan.head.depth == 8) * (virtual != (width, height))
        return Estimate(tiles, 0, 0.0, seconds)
    tile = tile_of(plan, how, grid)
    memory = 0.0
    for number, step in enumerate(plan.steps):
        stage = how.networks.stage(step)
        last = number == len(plan.steps) - 1
        margin = OVERLAP if stage.margin is None else stage.margin
        side = 0 if stage.whole else tile
        rows, columns = (
            [stop - start for start, stop, _, _ in spans(length, side or length, margin, stage.multiple)]
            for length in (height, width)
        )
        seconds += stage.pace * sum(rows) * sum(columns)
        if last:
            memory = stage.bytes_of_a_pixel * max(rows) * max(columns)
        width, height = width * step, height * step
    seconds += virtual[0] * virtual[1] * resize_pace(False) * (virtual != (width, height))
    return Estimate(tiles, tile, memory, seconds)


@cache
def resize_pace(rounded: bool) -> float:
    """Seconds for a pixel of what is resized, tried on a small picture. rounded: as 8-bit pixels, in float64."""
    source = PixelArray(np.zeros((TRIED, TRIED, 3), np.uint8))
    area = Resized(source, 2 * TRIED, 2 * TRIED, level=255 if rounded else None)
    spent = []
    for _ in range(3):
        begin = time.perf_counter()
        area.read(Box(0, area.height, 0, area.width))
        spent.append(time.perf_counter() - begin)
    return median(spent) / (area.height * area.width)
