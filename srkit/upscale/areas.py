"""Pictures that are computed where they are read: pixels, what a network makes of them, and that resized.

Each knows its size and gives any box of itself, reading of the one below only what it needs. So a box of a result is
that box of the whole result, to the bit, where a network says how far it sees, and nothing is ever held whole.
"""

from collections.abc import Callable
from typing import NamedTuple, Protocol

import numpy as np
import torch
from torch import Tensor

from srkit.errors import SrkitError
from srkit.imresize import contributions
from srkit.nets import ran_out
from srkit.upscale.tiles import spans

FINAL = "bicubic"  # how a result is resized at the end
LEAST = 40  # side of a part that a network is given: a convolution of 16 channels on less may round in another way
SMALLEST = 64  # side of a part that is not halved any more when memory runs out


class Box(NamedTuple):
    """Rows top to bottom and columns left to right, without the last, in pixels of the picture that is read."""

    top: int
    bottom: int
    left: int
    right: int

    @property
    def height(self) -> int:
        return self.bottom - self.top

    @property
    def width(self) -> int:
        return self.right - self.left


class Area(Protocol):
    """A picture of `height` times `width` pixels of which any box can be read: 1,C,h,w float32, near [0, 1]."""

    height: int
    width: int

    def read(self, box: Box) -> Tensor: ...


class PixelArray:
    """H,W or H,W,C uint8 or uint16, as 1,C,h,w in [0, 1] on `device`. The array may be a memory map."""

    def __init__(self, pixels: np.ndarray, device: torch.device | str = "cpu"):
        self.pixels, self.device = pixels, device
        self.height, self.width = pixels.shape[:2]
        self.white = float(np.iinfo(pixels.dtype).max)

    def read(self, box: Box) -> Tensor:
        part = np.ascontiguousarray(self.pixels[box.top : box.bottom, box.left : box.right])
        if part.dtype == np.uint16:  # torch computes little in uint16
            part = part.astype(np.int32)
        values = torch.tensor(part).to(self.device)
        values = values[None] if part.ndim == 2 else values.permute(2, 0, 1)
        return values[None].float() / self.white


class Upscaled:
    """What `call`, a function of a part of a picture, makes of the area below.

    margin: how many pixels around a part can change what is made of it. multiple: of all sizes and places, as windows
    of attention want it. least: height and width of the parts that `call` is given, where the picture has as much:
    parts of one size take the same memory again, where each new size would take new.
    """

    def __init__(
        self,
        below: Area,
        call: Callable[[Tensor], Tensor],
        scale: int,
        margin: int,
        multiple: int = 1,
        *,
        least: tuple[int, int] = (0, 0),
    ):
        self.below, self.call, self.scale, self.margin, self.multiple = below, call, scale, margin, multiple
        self.least = least
        self.height, self.width = below.height * scale, below.width * scale

    def read(self, box: Box) -> Tensor:
        height, width = self.below.height, self.below.width
        tall, wide = (
            least if 2 * side > least * self.scale else 0  # a tile that is halved for memory is to take less
            for least, side in zip(self.least, (box.height, box.width), strict=True)
        )
        rows = self.enlarged(self.reach(box.top, box.bottom, height), height, max(LEAST, tall))
        columns = self.enlarged(self.reach(box.left, box.right, width), width, wide)
        columns = self.enlarged(columns, width, -(-LEAST * LEAST // (rows[1] - rows[0])))
        rows = self.enlarged(rows, height, -(-LEAST * LEAST // (columns[1] - columns[0])))
        sr = self.call(self.below.read(Box(*rows, *columns)))
        return cut(sr, box, rows[0] * self.scale, columns[0] * self.scale)

    def reach(self, start: int, stop: int, length: int) -> tuple[int, int]:
        """The pixels below that can change start to stop."""
        first = max(0, start // self.scale - self.margin)
        last = -(-stop // self.scale) + self.margin
        return first - first % self.multiple, min(length, last + -last % self.multiple)

    def enlarged(self, reach: tuple[int, int], length: int, least: int) -> tuple[int, int]:
        """At least so many pixels, as far as there are: few are computed by kernels that round in another way."""
        first, last = reach
        least += -least % self.multiple
        last = max(last, min(length, first + least))
        first = min(first, max(0, last - least))
        return first - first % self.multiple, last


class Whole:
    """What `call` makes of the whole area below, computed once and kept, for what cannot be computed in parts.

    why: in an error where memory does not suffice for that.
    """

    def __init__(self, below: Area, call: Callable[[Tensor], Tensor], scale: int, why: str):
        self.below, self.call, self.why = below, call, why
        self.height, self.width = below.height * scale, below.width * scale
        self.result: Tensor | None = None

    def read(self, box: Box) -> Tensor:
        if self.result is None:
            size = f"{self.below.width}x{self.below.height}"
            try:
                self.result = self.call(self.below.read(Box(0, self.below.height, 0, self.below.width)))
            except Exception as error:
                if not ran_out(error):
                    raise
                # `from None`: smaller boxes of the result would not help
                raise SrkitError(f"memory does not suffice for {size} pixels at once: {self.why}") from None
        return cut(self.result, box, 0, 0)


class Blended:
    """What `call` makes of overlapping windows, mixed where they overlap: for a network that sees without bound.

    Near what the whole picture would give, not equal to it, unless there is one window. tile, overlap: of the windows,
    in pixels of the area below; one is mixed into the next over twice the overlap. A window that memory does not
    suffice for is itself blended of smaller ones, which `tell` says.
    """

    def __init__(
        self,
        below: Area,
        call: Callable[[Tensor], Tensor],
        scale: int,
        *,
        tile: int,
        overlap: int,
        multiple: int = 1,
        tell: Callable[[str], None] = lambda line: None,
    ):
        self.below, self.call, self.scale, self.tell = below, call, scale, tell
        self.tile, self.overlap, self.multiple = tile, overlap, multiple
        self.smaller = 0  # the tile that windows are blended of, once memory has not sufficed
        self.height, self.width = below.height * scale, below.width * scale
        self.rows = list(spans(below.height, tile, overlap, multiple))
        self.columns = list(spans(below.width, tile, overlap, multiple))
        self.down = ramps(self.rows, self.height, scale)
        self.across = ramps(self.columns, self.width, scale)
        self.kept: dict[tuple[int, int], Tensor] = {}

    @property
    def windows(self) -> int:
        return len(self.rows) * len(self.columns)

    def read(self, box: Box) -> Tensor:
        total: Tensor | None = None
        self.forget(box)
        for row, (top, bottom, *_) in enumerate(self.rows):
            for column, (left, right, *_) in enumerate(self.columns):
                window = Box(*(edge * self.scale for edge in (top, bottom, left, right)))
                common = overlap_of(window, box)
                if not common:
                    continue
                sr = self.window(row, column)
                if total is None:
                    total = sr.new_zeros(1, sr.shape[1], box.height, box.width)
                down = self.down[row, common.top : common.bottom]
                across = self.across[column, common.left : common.right]
                place = cut(total, common, box.top, box.left)
                place += cut(sr, common, window.top, window.left) * (down[:, None] * across).to(sr)
        assert total is not None
        return total

    def window(self, row: int, column: int) -> Tensor:
        key = row, column
        if key not in self.kept:
            top, bottom, *_ = self.rows[row]
            left, right, *_ = self.columns[column]
            self.kept[key] = self.computed(Box(top, bottom, left, right))
        return self.kept[key]

    def computed(self, place: Box) -> Tensor:
        """A window; in smaller ones from the first on that memory did not suffice for."""
        if not self.smaller:
            half = min(self.tile, max(place.height, place.width)) // 2
            try:
                return self.call(self.below.read(place))
            except Exception as error:
                if not ran_out(error) or half < max(SMALLEST, self.multiple):
                    raise
            self.smaller = half
            self.tell(f"out of memory: on with windows of {half} pixels")
        part = Part(self.below, place)
        within = Blended(
            part,
            self.call,
            self.scale,
            tile=self.smaller,
            overlap=min(self.overlap, self.smaller // 4),
            multiple=self.multiple,
            tell=self.tell,
        )
        made = within.read(Box(0, part.height * self.scale, 0, part.width * self.scale))
        self.smaller = within.smaller or self.smaller
        return made

    def forget(self, box: Box) -> None:
        """Drop the windows that no box after `box` needs, where boxes are read row by row, left to right."""
        middle = (box.top + box.bottom) // 2
        for row, column in list(self.kept):
            end, right = self.rows[row][1] * self.scale, self.columns[column][1] * self.scale
            if end <= box.top or (end <= middle and right <= box.left):
                del self.kept[row, column]


class Part:
    """A box of another area."""

    def __init__(self, area: Area, place: Box):
        self.area, self.place = area, place
        self.height, self.width = place.height, place.width

    def read(self, box: Box) -> Tensor:
        top, left = self.place.top, self.place.left
        return self.area.read(Box(box.top + top, box.bottom + top, box.left + left, box.right + left))


class Mixed:
    """`share` of one area and the rest of another of the same size. share: in [0, 1], or an area of one channel."""

    def __init__(self, one: Area, other: Area, share: "float | Area"):
        self.one, self.other, self.share = one, other, share
        self.height, self.width = one.height, one.width

    def read(self, box: Box) -> Tensor:
        if isinstance(self.share, float | int):
            share = torch.tensor([float(self.share)])
        else:
            share = self.share.read(box).clamp(0, 1)  # a resized mask overshoots
        if bool((share == 0).all()):  # exactly that one, and no work for the other
            return self.other.read(box)
        if bool((share == 1).all()):
            return self.one.read(box)
        one, other = self.one.read(box), self.other.read(box)
        share = share.to(one)
        return torch.where(share == 1, one, other + share * (one - other))


def ramps(places: list[tuple[int, int, int, int]], length: int, scale: int) -> Tensor:
    """windows,length: how much of each pixel each window gives, from 0 at its ends to 1; the sum of all is 1."""
    at = torch.arange(length, dtype=torch.float32) + 0.5
    weights = torch.stack([(torch.minimum(at - start * scale, stop * scale - at)) for start, stop, _, _ in places])
    for number, (start, stop, first, last) in enumerate(places):  # the ends of the picture are the ends of no window
        if start == first:
            weights[number] = stop * scale - at
        if stop == last:
            weights[number] = at - start * scale if start != first else 1.0
    widths = torch.tensor(
        [max(1, 2 * (first - start), 2 * (stop - last)) * scale for start, stop, first, last in places]
    )
    weights = (weights / widths[:, None]).clamp(0, 1)
    return weights / weights.sum(0)


class Resized:
    """The area below at another size by MATLAB's kernels, neither rounded nor clipped.

    level: white of pixels that are rounded after each of the two passes, as MATLAB does with uint8; None for none.
    """

    def __init__(self, below: Area, height: int, width: int, method: str = FINAL, *, level: int | None = None):
        self.below, self.height, self.width, self.level = below, height, width, level
        ratios = {-2: height / below.height, -1: width / below.width}
        self.order = sorted(ratios, key=lambda axis: ratios[axis])  # MATLAB's: the smaller scale first, rows on a tie
        self.rows = contributions(below.height, height, ratios[-2], method)
        self.columns = contributions(below.width, width, ratios[-1], method)

    def read(self, box: Box) -> Tensor:
        taps = {-2: part(self.rows, box.top, box.bottom), -1: part(self.columns, box.left, box.right)}
        values = self.below.read(Box(*taps[-2][2:], *taps[-1][2:]))
        exact = values.mul(self.level).round().double() if self.level else values
        for axis in self.order:
            weights, indices, first, _ = taps[axis]
            shape = (-1, 1) if axis == -2 else (-1,)
            total = torch.zeros((), dtype=exact.dtype, device=values.device)
            for tap in range(weights.shape[1]):
                index = torch.from_numpy(indices[:, tap] - first).to(values.device)
                weight = torch.from_numpy(weights[:, tap]).to(exact)
                total = total + weight.reshape(shape) * exact.index_select(axis, index)
            exact = total.add(0.5).floor().clamp(0, self.level) if self.level else total
        return exact.div(self.level).to(values.dtype) if self.level else exact


def part(taps: tuple[np.ndarray, np.ndarray], start: int, stop: int) -> tuple[np.ndarray, np.ndarray, int, int]:
    """(weights, indices, first, last) of the outputs start to stop; they read first to last, without the last."""
    weights, indices = taps[0][start:stop], taps[1][start:stop]
    return weights, indices, int(indices.min()), int(indices.max()) + 1


def cut(values: Tensor, box: Box, top: int, left: int) -> Tensor:
    """The box of values that begin at (top, left)."""
    return values[..., box.top - top : box.bottom - top, box.left - left : box.right - left]


def overlap_of(one: Box, other: Box) -> Box | None:
    """What two boxes have in common; None for nothing."""
    top, bottom = max(one.top, other.top), min(one.bottom, other.bottom)
    left, right = max(one.left, other.left), min(one.right, other.right)
    return Box(top, bottom, left, right) if top < bottom and left < right else None
