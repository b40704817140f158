"""One picture file in, one out: planned by its header, computed in tiles, written whole or not at all."""

import hashlib
import json
from collections.abc import Callable, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field, replace
from math import ceil, prod
from pathlib import Path
from typing import Any, BinaryIO, Protocol

import numpy as np
import torch

from srkit.errors import ImageError, UsageError
from srkit.fetch import file_sha256
from srkit.files import lock_of, locked
from srkit.images import (
    MAX_PIXELS,
    About,
    Encoding,
    Header,
    Picture,
    check_encoding,
    header,
    read_picture,
    write_pixels,
)
from srkit.images.encoding import DEEP
from srkit.upscale.areas import FINAL, Area, Box, Mixed, PixelArray, Resized
from srkit.upscale.render import Result, alpha_of, render, source_of
from srkit.upscale.scratch import Grid, Scratch, unfinished
from srkit.upscale.sizes import Size, Wanted, chain, size_of
from srkit.upscale.stages import Stage, at_size, grid_of, upscaled

RESIZED = 1024  # side of a tile that no network makes
LANCZOS = "lanczos3"
LEFT_TO_RESIZE = 1.1  # times that the final resize may enlarge what the networks make

Given = Path | bytes
Target = Path | BinaryIO


class Networks(Protocol):
    """What enlarges: `srkit.weights.ladder.Ladder`."""

    def scales(self) -> tuple[int, ...]: ...
    def stage(self, scale: int) -> Stage: ...
    def resize(self) -> str: ...
    def identity(self, steps: Sequence[int]) -> dict[str, Any]: ...


@dataclass(frozen=True)
class How:
    """How pictures are made, the same for all of a command.

    wanted: how large. tile: side of a tile in input pixels, 0 for none, None for what memory allows. strength: of the
    network; the rest is Lanczos. protect: H,W mask of a picture, 1 where Lanczos is wanted, or None. reading: options
    of `read_picture`. identity: what else decides the pixels, in words.
    """

    networks: Networks
    wanted: Wanted
    tile: int | None = None
    strength: float = 1.0
    protect: Callable[[Picture], np.ndarray | None] = lambda picture: None
    reading: dict[str, Any] = field(default_factory=dict)
    identity: str = ""

    def __post_init__(self) -> None:
        if not 0 <= self.strength <= 1:  # nan, too
            raise UsageError(f"strength is between 0, Lanczos, and 1, the network; not {self.strength:g}")


@dataclass(frozen=True)
class Plan:
    """What will be made of a picture file. steps: the scales of its chain; empty where nothing is enlarged."""

    head: Header
    size: Size
    steps: tuple[int, ...]
    channels: int
    depth: int
    notices: tuple[str, ...] = ()

    @property
    def text(self) -> str:
        return f"{self.head.width}x{self.head.height} -> {self.size.canvas[0]}x{self.size.canvas[1]}"


def planned(source: Given, how: How, encoding: Encoding) -> Plan:
    """From the header alone. Raises UsageError for a size or a format that cannot be, ImageError for no picture."""
    head = header(source, max_pixels=how.reading.get("max_pixels", MAX_PIXELS))
    size = size_of(how.wanted, head.width, head.height)
    steps = steps_of(how, size.factor)
    notices = check_encoding(encoding, *size.canvas, head.channels, depth=head.depth)
    return Plan(head, size, steps, head.channels, depth_for(encoding, head.depth), tuple(notices))


def depth_for(encoding: Encoding, depth: int) -> int:
    """Bits of the result of a picture of so many: those asked for, else its own where the format has them."""
    return encoding.depth or (depth if encoding.format in DEEP else 8)


def steps_of(how: How, factor: float) -> tuple[int, ...]:
    """The scales of the networks, one after the other; none where an interpolation, or no strength, needs none.

    The last tenth of a factor is left to the final resize: x2.1 takes a quarter of the work of x4 made smaller, and
    looks the same.
    """
    if not how.strength or how.networks.resize():
        return ()
    scales = how.networks.scales()
    chain(scales, factor)  # is it possible at all?
    return chain(scales, factor / LEFT_TO_RESIZE)


@dataclass
class Work:
    """One picture in the making: opened, then computed, then written, each on the thread it is called on."""

    plan: Plan
    picture: Picture
    target: Target
    encoding: Encoding
    about: About
    result: Result
    boxes: list[Box]
    pixels: np.ndarray
    scratch: Scratch | None
    lock: ExitStack

    def compute(self, done: Callable[[int, int], None], tell: Callable[[str], None]) -> None:
        """The pixels; done(boxes, total) is called after each tile. What fails would fail again and leaves nothing."""
        flags = None if self.scratch is None else self.scratch.flags
        try:
            render(self.result, self.pixels, self.boxes, flags=flags, done=done, tell=tell)
        except Exception:
            if self.scratch is not None:
                self.scratch.remove()
            raise

    def write(self) -> str:
        """The file. Returns what the format could not take."""
        try:
            notice = write_pixels(self.target, self.pixels, self.about, self.encoding)
        except ImageError as error:
            kept = "" if self.scratch is None else "; its pixels are kept: the same command goes on from there"
            raise ImageError(f"{error}{kept}") from None
        if self.scratch is not None:
            self.scratch.remove()
        return notice

    def close(self) -> None:
        """Its lock, and the room for pixels where none is computed yet."""
        if self.scratch is not None and not self.scratch.done:
            self.scratch.remove()
        self.lock.close()


def opened(source: Given, target: Target, how: How, encoding: Encoding, tell: Callable[[str], None]) -> Work:
    """A picture, read and ready to be computed. tell(line): what the user should know. Close it in the end.

    Work that is killed leaves a hidden folder beside the target; the same call then goes on with the tiles that are
    missing. Raises SrkitError; then nothing is to be closed.
    """
    with ExitStack() as lock:
        if isinstance(target, Path):
            busy = f"'{target}' is being written by another srkit; wait for it, or name another file"
            with suppress(OSError):  # a cache that cannot be written keeps no two programs apart, and costs no picture
                lock.enter_context(locked(lock_of(target), wait=False, busy=busy))
        plan = planned(source, how, encoding)
        beside = target.parent if isinstance(target, Path) else None
        picture = read_picture(source, deep=True, scratch=beside, **how.reading)
        check_read(picture, plan.head)
        plan = replace(plan, depth=depth_for(encoding, picture.depth))
        for line in (*plan.notices, picture.notice, *plan.size.lines):
            if line:
                tell(line)
        mask = how.protect(picture)
        key = key_of(source, plan, how, mask)
        begun = unfinished(target, key) if isinstance(target, Path) else None
        grid = begun or tiles_of(plan, how)
        result = result_of(picture, plan, how, mask, grid, tell)
        boxes = result.boxes(*grid)
        scratch = None
        if isinstance(target, Path) and len(boxes) > 1:
            scratch = Scratch(target, key, grid, result.shape, result.dtype, len(boxes))
            if scratch.done:
                tell(f"{scratch.done} of {len(boxes)} tiles are there from before")
        pixels = np.empty(result.shape, result.dtype) if scratch is None else scratch.pixels
        about = picture.about
        if plan.size.dpi is not None:
            about = replace(about, dpi=(plan.size.dpi, plan.size.dpi))
        return Work(
            plan=plan,
            picture=picture,
            target=target,
            encoding=encoding,
            about=about,
            result=result,
            boxes=boxes,
            pixels=pixels,
            scratch=scratch,
            lock=lock.pop_all(),
        )


def check_read(picture: Picture, head: Header) -> None:
    """ImageError where the pixels are not those that the header says: the size is planned by it."""
    height, width = picture.rgb.shape[:2]
    if (width, height) != (head.width, head.height):
        raise ImageError(f"its header says {head.width}x{head.height} pixels, and it holds {width}x{height}")


def upscale_file(
    source: Given,
    target: Target,
    how: How,
    encoding: Encoding,
    *,
    done: Callable[[int, int], None] = lambda boxes, total: None,
    tell: Callable[[str], None] = lambda line: None,
) -> Plan:
    """Make one picture: `opened`, computed, written. Returns what was planned. Raises SrkitError."""
    work = opened(source, target, how, encoding, tell)
    try:
        work.compute(done, tell)
        if notice := work.write():
            tell(notice)
    finally:
        work.close()
    return work.plan


def made_of(picture: Picture, how: How, *, tell: Callable[[str], None] = lambda line: None) -> np.ndarray:
    """H,W,C of one picture, in memory, as `upscale_file` would write it. Errors likewise."""
    height, width = picture.rgb.shape[:2]
    size = size_of(how.wanted, width, height)
    channels = (1 if picture.gray else 3) + (picture.alpha is not None)
    head = Header("", width, height, picture.depth, channels)
    plan = Plan(head, size, steps_of(how, size.factor), channels, picture.depth)
    grid = tiles_of(plan, how)
    result = result_of(picture, plan, how, how.protect(picture), grid, tell)
    pixels = np.empty(result.shape, result.dtype)
    render(result, pixels, result.boxes(*grid), tell=tell)
    return pixels


def tiles_of(plan: Plan, how: How) -> Grid:
    """(rows, columns) of tiles that a result is computed in."""
    width, height = plan.size.canvas
    if not plan.steps:
        return -(-height // RESIZED), -(-width // RESIZED)
    stages = [how.networks.stage(step) for step in plan.steps]
    if any(stage.whole for stage in stages):
        return 1, 1
    tall, wide = sides_of(plan, (1, 1))
    return grid_of(stages[-1], wide, tall, how.tile)


def result_of(
    picture: Picture, plan: Plan, how: How, mask: np.ndarray | None, grid: Grid, tell: Callable[[str], None]
) -> Result:
    """What is to be computed. mask: what is protected. grid: (rows, columns) of its tiles."""
    size = plan.size
    stages = [how.networks.stage(step) for step in plan.steps]
    device = stages[0].device if stages else torch.device("cpu")
    source = source_of(picture, device)
    area = upscaled(source, stages, tile_of(plan, how, grid), tell, least=parts_of(plan, grid, stages))
    method = how.networks.resize() or FINAL if how.strength else LANCZOS
    rounded = not stages and picture.depth == 8  # as MATLAB does, where nothing but the resize is made
    colour = at_size(area, *size.virtual, method, level=255 if rounded else None)
    if 0 < how.strength < 1:
        colour = Mixed(colour, lanczos(source, size), how.strength)
    if mask is not None and how.strength:
        share = Resized(PixelArray(255 - mask, device), size.virtual[1], size.virtual[0])
        colour = Mixed(colour, lanczos(source, size), share)
    dtype = np.dtype(np.uint16 if plan.depth == 16 else np.uint8)
    red, green, blue = size.colour or (255, 255, 255)
    pad = (red / 255, green / 255, blue / 255)
    alpha = alpha_of(picture, *size.virtual)
    return Result(
        colour,
        alpha,
        gray=picture.gray and len(set(pad)) == 1,
        canvas=size.canvas,
        offset=size.offset,
        pad=pad,
        dtype=dtype,
    )


def tile_of(plan: Plan, how: How, grid: Grid) -> int:
    """Side of the largest tile in pixels of what the last network is given; 0 where none are wanted."""
    return max(1, *sides_of(plan, grid)) if how.tile != 0 else 0


def sides_of(plan: Plan, grid: Grid) -> tuple[int, int]:
    """(height, width) of a tile in pixels of what the last network is given."""
    given = plan.head.width * prod(plan.steps[:-1]) / plan.size.virtual[0]
    height, width = (ceil(-(-side // n) * given) for side, n in zip(reversed(plan.size.canvas), grid, strict=True))
    return height, width


def parts_of(plan: Plan, grid: Grid, stages: Sequence[Stage]) -> tuple[int, int]:
    """(height, width) of what the last network is given for a tile, so that it is one size for all."""
    if not stages or grid == (1, 1) or stages[-1].margin is None:
        return 0, 0
    margin = stages[-1].margin + stages[-1].multiple - 1
    tall, wide = (side + margin * min(2, n - 1) for side, n in zip(sides_of(plan, grid), grid, strict=True))
    return tall, wide


def lanczos(source: Area, size: Size) -> Area:
    """What needs no network, at the final size."""
    if (source.width, source.height) == size.virtual:
        return source
    return Resized(source, size.virtual[1], size.virtual[0], LANCZOS)


def key_of(source: Given, plan: Plan, how: How, mask: np.ndarray | None) -> str:
    """What decides each pixel of a result."""
    digest = hashlib.sha256(source).hexdigest() if isinstance(source, bytes) else file_sha256(source)
    said = {
        "source": digest, "mask": None if mask is None else hashlib.sha256(mask.tobytes()).hexdigest(),
        "virtual": plan.size.virtual, "canvas": plan.size.canvas,
        "offset": plan.size.offset, "colour": plan.size.colour, "steps": plan.steps,
        "depth": plan.depth, "tile": how.tile, "strength": how.strength, "reading": repr(sorted(how.reading.items())),
        "options": how.identity, "networks": how.networks.identity(plan.steps) | {"tried": None},
    }  # fmt: skip
    return hashlib.sha256(json.dumps(said, default=str).encode()).hexdigest()
