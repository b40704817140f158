"""What a picture will take: tiles, memory, seconds; from its plan and one small run of each network."""

from dataclasses import dataclass

from srkit.upscale.file import How, Plan, box_side, tile_of_plan
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
    if not plan.steps:
        return Estimate(tiles_of(plan, how, 0, (width, height)), 0, 0.0, seconds)
    tile = tile_of_plan(plan, how)
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
    boxes = tiles_of(plan, how, tile, (width, height))
    return Estimate(boxes, tile, memory, seconds)


def tiles_of(plan: Plan, how: How, tile: int, whole: tuple[int, int]) -> int:
    """How many tiles the result is computed in. whole: (width, height) after the last network."""
    stages = [how.networks.stage(step) for step in plan.steps]
    side = box_side(whole[0], plan.size, stages, tile)
    width, height = plan.size.canvas
    return len(list(spans(width, side or width, 0))) * len(list(spans(height, side or height, 0)))
