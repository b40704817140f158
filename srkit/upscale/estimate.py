"""What a picture will take: tiles, memory, seconds; from its plan and one small run of each network."""

import time
from dataclasses import dataclass

import torch

from srkit.upscale.file import How, Plan, box_side, tile_of_plan
from srkit.upscale.memory import bytes_of_a_pixel
from srkit.upscale.stages import Stage
from srkit.upscale.tiles import OVERLAP, spans

TRIED = 192  # side of the picture that the pace is measured on, in pixels
ENCODED = 25e6  # pixels of a result that are resized, rounded and encoded in a second on one core


@dataclass(frozen=True)
class Estimate:
    """tiles: how many. tile: their side in pixels of what the last network is given. memory: of one. seconds: all."""

    tiles: int
    tile: int
    memory: float
    seconds: float


def estimate(plan: Plan, how: How) -> Estimate:
    """Of one picture; the networks are run twice on 192 times 192 pixels."""
    width, height = plan.head.width, plan.head.height
    seconds = plan.size.canvas[0] * plan.size.canvas[1] / ENCODED
    if not plan.steps:
        return Estimate(1, 0, 0.0, seconds)
    tile = tile_of_plan(plan, how)
    memory = 0.0
    for number, step in enumerate(plan.steps):
        stage = how.networks.stage(step)
        last = number == len(plan.steps) - 1
        margin = OVERLAP if stage.margin is None else stage.margin
        side = tile or max(width, height)
        rows, columns = (list(spans(length, side, 0)) for length in (height, width))
        grown = 1.0
        if tile and not stage.whole:
            grown = (1 + 2 * margin / side * (len(rows) > 1)) * (1 + 2 * margin / side * (len(columns) > 1))
        seconds += pace(stage) * width * height * grown
        if last:
            memory = bytes_of_a_pixel(stage.call, stage.device, stage.multiple) * min(side, height) * min(side, width)
        width, height = width * step, height * step
    boxes = tiles_of(plan, how, tile, (width, height))
    return Estimate(boxes, tile, memory, seconds)


def tiles_of(plan: Plan, how: How, tile: int, whole: tuple[int, int]) -> int:
    """How many tiles the result is computed in. whole: (width, height) after the last network."""
    stages = [how.networks.stage(step) for step in plan.steps]
    side = box_side(whole[0], plan.size, stages, tile)
    width, height = plan.size.canvas
    return len(list(spans(width, side or width, 0))) * len(list(spans(height, side or height, 0)))


def pace(stage: Stage) -> float:
    """Seconds for a pixel of what a network is given."""
    call, device, multiple = stage.call, stage.device, stage.multiple
    side = TRIED + -TRIED % multiple
    lr = torch.full((1, 3, side, side), 0.5, device=device)
    for _ in range(2):  # the first one chooses kernels
        begin = time.perf_counter()
        call(lr)
        if device.type != "cpu":
            torch.accelerator.synchronize()
        spent = time.perf_counter() - begin
    return spent / side**2
