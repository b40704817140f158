"""From a loaded model to what is made of a picture: its scales in a chain, the size wanted, memory and tiles."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from threading import Lock
from typing import Any

import torch
from torch import Tensor

from srkit.nets import Loaded, Precision
from srkit.plugins import Choice
from srkit.upscale.areas import FINAL, Area, Blended, Resized, Upscaled, Whole
from srkit.upscale.memory import bytes_of_a_pixel, free_memory, room_for
from srkit.upscale.tiles import OVERLAP, TILE, grid
from srkit.upscale.wrap import Upscale, make_upscaler

Change = Callable[[Upscale, int], tuple[Upscale, int]]

TRIED = 192  # side of the picture that the pace is measured on, in pixels


@dataclass(frozen=True)
class Stage:
    """One network at one scale, as a function of a part of a picture.

    margin: pixels around a part that can change what is made of it; None where that has no bound. whole: why a picture
    cannot be computed in parts, in words; empty where it can. wrapped: by something that turns or flips a picture, so
    that only a whole number of `multiple` has the same windows in a part. device: where it computes. counted: the same
    in PyTorch, where `call` runs in something whose memory cannot be counted.
    """

    call: Upscale
    scale: int
    margin: int | None
    multiple: int = 1
    whole: str = ""
    wrapped: bool = False
    label: str = ""
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))
    counted: Upscale | None = None

    @cached_property
    def bytes_of_a_pixel(self) -> float:
        """The memory it takes for each pixel of what it is given, tried on a small picture."""
        return bytes_of_a_pixel(self.counted or self.call, self.device, self.multiple)

    @cached_property
    def pace(self) -> float:
        """Seconds for a pixel of what it is given, tried on 192 times 192 pixels."""
        side = TRIED + -TRIED % self.multiple
        lr = torch.full((1, 3, side, side), 0.5, device=self.device)
        spent = 0.0
        for _ in range(2):  # the first one chooses kernels
            begin = time.perf_counter()
            self.call(lr)
            if self.device.type != "cpu":
                torch.accelerator.synchronize()
            spent = time.perf_counter() - begin
        return spent / side**2


def stage_of(
    loaded: Loaded,
    *,
    wrappers: Sequence[Choice] = (),
    backend: Choice | None = None,
    precision: Precision = "fp32",
    channels_last: bool = True,
    change: Change | None = None,
) -> Stage:
    """A loaded model with its wrappers, and `change` around them: each call is of one part of a picture.

    Threads that call it wait for one another: a call that ends sets the network back from evaluation mode to what it
    was, and a backend may not be made for several calls at once.
    """
    model = loaded.model.component
    how: dict[str, Any] = {"wrappers": wrappers, "precision": precision, "channels_last": channels_last}
    call = make_upscaler(loaded.net, loaded.model, loaded.scale, tile=0, backend=backend, **how)
    margin = model.receptive_field
    if callable(margin):
        margin = margin(loaded.scale, **loaded.model.options)
    if change is not None:
        call, more = change(call, loaded.scale)
        margin = None if margin is None else margin + more
    foreign = [wrapper.label for wrapper in wrappers if not wrapper.component.local]
    device = next((p.device for p in (*loaded.net.parameters(), *loaded.net.buffers())), torch.device("cpu"))
    lock, computed = Lock(), call

    def alone(lr: Tensor) -> Tensor:
        with lock:
            return computed(lr)

    return Stage(
        alone,
        loaded.scale,
        margin,
        multiple=model.size_multiple,
        wrapped=bool(wrappers),
        whole=f"wrapper '{foreign[0]}' wants the whole picture" if foreign else "",
        label=loaded.label,
        device=device,
        counted=make_upscaler(loaded.net, loaded.model, loaded.scale, tile=0, **how) if backend else None,
    )


def grid_of(stage: Stage, width: int, height: int, asked: int | None) -> tuple[int, int]:
    """(rows, columns) of tiles of what the last stage is given: as asked for by their side, or as there is memory for.

    asked: 0 is one tile. A picture of no more than 384 times 384 pixels is one without being asked.
    """
    if asked == 0 or stage.whole or (asked is None and width * height <= TILE**2):
        return 1, 1
    if asked is not None:
        return -(-height // asked), -(-width // asked)
    margin = OVERLAP if stage.margin is None else stage.margin
    return grid(width, height, room_for(stage.bytes_of_a_pixel, free_memory(stage.device)), margin + stage.multiple - 1)


def upscaled(
    below: Area,
    stages: Sequence[Stage],
    tile: int,
    tell: Callable[[str], None] = lambda line: None,
    *,
    least: tuple[int, int] = (0, 0),
) -> Area:
    """The area after all stages. tile: 0 computes each stage whole. tell(line): what is not exact about it.

    least: (height, width) of all parts that the last network is given.
    """
    area = below
    for number, stage in enumerate(stages):
        call = clipped(stage.call) if number else stage.call
        odd = stage.wrapped and (area.height % stage.multiple or area.width % stage.multiple)
        if stage.whole or not tile:
            area = Whole(area, call, stage.scale, stage.whole or "--tile 512 computes them in parts")
        elif stage.margin is None or odd:
            area = Blended(area, call, stage.scale, tile=tile, overlap=OVERLAP, multiple=stage.multiple, tell=tell)
            if area.windows > 1:
                why = f"needs whole windows of {stage.multiple} pixels" if odd else "has no bounded receptive field"
                tell(f"{stage.label} {why}: its tiles are blended, not exact")
        else:
            last = number == len(stages) - 1
            area = Upscaled(area, call, stage.scale, stage.margin, stage.multiple, least=least if last else (0, 0))
    return area


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
