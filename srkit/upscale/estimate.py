"""What a picture will take: tiles, memory, seconds; from its plan and one small run of each network."""

from dataclasses import dataclass

from srkit.upscale.file import How, Plan, tile_of, tiles_of
from srkit.upscale.render import boxes_of
from srkit.upscale.tiles import OVERLAP, spans

ENCODED = 25e6  # pixels of a result that are resized, rounded and encoded in a second on one core


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
    if not plan.steps:
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
    return Estimate(tiles, tile, memory, seconds)
