"""From a loaded model to what is made of a picture: its scales in a chain, the size wanted, memory and tiles."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from srkit.nets import Loaded, Precision
from srkit.plugins import Choice
from srkit.upscale.areas import FINAL, Area, Blended, Resized, Upscaled, Whole
from srkit.upscale.memory import bytes_of_a_pixel, free_memory, tile_for
from srkit.upscale.tiles import OVERLAP
from srkit.upscale.wrap import Upscale, make_upscaler

Change = Callable[[Upscale, int], tuple[Upscale, int]]


@dataclass(frozen=True)
class Stage:
    """One network at one scale, as a function of a part of a picture.

    margin: pixels around a part that can change what is made of it; None where that has no bound. whole: what it makes
    of a part is no part of what it makes of the whole, because of a wrapper. device: where it computes.
    """

    call: Upscale
    scale: int
    margin: int | None
    multiple: int = 1
    whole: str = ""
    label: str = ""
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))


def stage_of(
    loaded: Loaded,
    *,
    wrappers: Sequence[Choice] = (),
    backend: Choice | None = None,
    precision: Precision = "fp32",
    channels_last: bool = True,
    change: Change | None = None,
) -> Stage:
    """A loaded model with its wrappers, and `change` around them: each call is of one part of a picture."""
    model = loaded.model.component
    call = make_upscaler(
        loaded.net,
        loaded.model,
        loaded.scale,
        tile=0,
        wrappers=wrappers,
        backend=backend,
        precision=precision,
        channels_last=channels_last,
    )
    margin = model.receptive_field
    if callable(margin):
        margin = margin(loaded.scale, **loaded.model.options)
    if change is not None:
        call, more = change(call, loaded.scale)
        margin = None if margin is None else margin + more
    foreign = [wrapper.label for wrapper in wrappers if not wrapper.component.local]
    device = next((p.device for p in (*loaded.net.parameters(), *loaded.net.buffers())), torch.device("cpu"))
    return Stage(
        call,
        loaded.scale,
        margin,
        multiple=model.size_multiple,
        whole=f"wrapper '{foreign[0]}' wants the whole picture" if foreign else "",
        label=loaded.label,
        device=device,
    )


def tile_of(stage: Stage, asked: int | None) -> int:
    """Side of a tile in pixels of what the stage is given: as asked for, or as there is memory for; 0 is none."""
    if asked is not None:
        return asked
    pixel = bytes_of_a_pixel(stage.call, stage.device, stage.multiple)
    return tile_for(pixel, free_memory(stage.device), stage.multiple)


def upscaled(below: Area, stages: Sequence[Stage], tile: int) -> tuple[Area, list[str]]:
    """(the area after all stages, what is not exact about it, in words). tile: 0 computes each stage whole."""
    area, told = below, []
    for number, stage in enumerate(stages):
        call = clipped(stage.call) if number else stage.call
        if stage.whole or not tile or (stage.margin is None and max(area.height, area.width) <= tile):
            area = Whole(area, call, stage.scale)
        elif stage.margin is None:
            told.append(f"{stage.label} has no bounded receptive field: its tiles are blended, not exact")
            area = Blended(area, call, stage.scale, tile=tile, overlap=OVERLAP, multiple=stage.multiple)
        else:
            area = Upscaled(area, call, stage.scale, stage.margin, stage.multiple)
    return area, told


def clipped(call: Upscale) -> Upscale:
    """The same of what another network made, which may leave [0, 1] a little."""

    def first_clip(lr: Tensor) -> Tensor:
        return call(lr.clamp(0, 1))

    return first_clip


def at_size(area: Area, width: int, height: int, method: str = FINAL, *, level: int | None = None) -> Area:
    """The area at its final size, resized once. level: as for `Resized`."""
    if (area.width, area.height) == (width, height):
        return area
    return Resized(area, height, width, method, level=level)
