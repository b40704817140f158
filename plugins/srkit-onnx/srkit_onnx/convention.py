"""How a network in a file wants its pictures: layout, channels, range, sizes; and a picture through it by that."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from srkit import CheckpointError, UsageError, imresize_torch

LAYOUTS = ("nchw", "nhwc")
ORDERS = ("rgb", "bgr")
RANGES: dict[str, tuple[float, float]] = {"0..1": (0, 1), "0..255": (0, 255), "-1..1": (-1, 1)}
LUMA = "y"
WEIGHTS = (0.299, 0.587, 0.114)  # of ITU-R BT.601, which JPEG and Pillow have
VALID = {
    "layout": LAYOUTS, "layout_out": LAYOUTS, "channels": (*ORDERS, LUMA), "channels_out": (*ORDERS, LUMA),
    "range": tuple(RANGES), "range_out": tuple(RANGES),
}  # fmt: skip
OVERLAP = 16  # pixels that fixed tiles share, where a network does not say how far it sees

Run = Callable[[np.ndarray], np.ndarray]


@dataclass(frozen=True)
class Convention:
    """What goes into a network and what comes out.

    layout, channels, range: of the input; *_out: of the output. `y` is luma alone. multiple: of both sides.
    size: (height, width), the only one it takes; None where sizes vary. receptive_field: pixels to each side that can
    change a pixel; None where that is not known. source: `written` in the file, `measured`, or `said` by the user.
    """

    scale: int
    layout: str = "nchw"
    layout_out: str = "nchw"
    channels: str = "rgb"
    channels_out: str = "rgb"
    range: str = "0..1"
    range_out: str = "0..1"
    multiple: int = 1
    size: tuple[int, int] | None = None
    receptive_field: int | None = None
    source: str = "written"

    @property
    def words(self) -> str:
        def both(one: str, other: str) -> str:
            return one if one == other else f"{one} to {other}"

        size = f", {self.size[1]}x{self.size[0]} only" if self.size else ""
        return (
            f"{both(self.channels, self.channels_out).upper()} {both(self.layout, self.layout_out).upper()} "
            f"{both(self.range, self.range_out)}{size}"
        )

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for metadata; without `source`, which is of one reading."""
        kept = {key: value for key, value in vars(self).items() if key != "source"}
        return kept | {"size": list(self.size) if self.size else None}


def from_dict(values: Mapping[str, Any], what: str) -> Convention:
    """What `to_dict` gave, checked. CheckpointError, naming `what`, for anything else."""
    try:
        size = values.get("size")
        field = values.get("receptive_field")
        words = {key: values.get(key, getattr(Convention, key)) for key in VALID}
        found = Convention(
            scale=int(values["scale"]),
            multiple=int(values.get("multiple", 1)),
            **words,
            size=None if size is None else (int(size[0]), int(size[1])),
            receptive_field=None if field is None else int(field),
        )
    except (KeyError, TypeError, ValueError, IndexError, AttributeError):
        raise CheckpointError(f"{what} is damaged; export it again") from None
    odd = [key for key, choices in VALID.items() if getattr(found, key) not in choices]
    if odd or min(found.scale, found.multiple, *(found.size or (1,))) < 1:
        raise CheckpointError(f"{what} has {odd[0] if odd else 'a size'} that is none; export it again")
    return found


def check_said(said: Mapping[str, str]) -> None:
    """UsageError for an option's value that does not exist."""
    for key, value in said.items():
        if value not in VALID[key]:
            raise UsageError(f"--{key.replace('_', '-')} is {', '.join(VALID[key])}, not '{value}'")


def encode(lr: Tensor, how: Convention, dtype: type[np.generic]) -> np.ndarray:
    """B,3,H,W (B,1,H,W of luma) float in [0, 1] as the network wants it."""
    low, high = RANGES[how.range]
    values = lr.flip(1) if how.channels == "bgr" else lr
    values = values * (high - low) + low
    if how.layout == "nhwc":
        values = values.permute(0, 2, 3, 1)
    array = values.contiguous().cpu().numpy()
    if np.issubdtype(dtype, np.integer):
        array = np.floor(array.clip(0, 255) + 0.5)
    return array.astype(dtype, copy=False)


def decode(made: np.ndarray, how: Convention) -> Tensor:
    """What the network made as B,3,H,W (B,1,H,W of luma) float32 in [0, 1] about."""
    low, high = RANGES[how.range_out]
    values = torch.from_numpy(np.ascontiguousarray(made).astype(np.float32, copy=False))
    if how.layout_out == "nhwc":
        values = values.permute(0, 3, 1, 2)
    values = (values - low) / (high - low)
    return (values.flip(1) if how.channels_out == "bgr" else values).contiguous()


def through(run: Run, lr: Tensor, how: Convention, dtype: type[np.generic]) -> Tensor:
    """1,3,H,W float32 in [0, 1] through the network: 1,3,scale*H,scale*W, whatever sizes and channels it takes."""
    if how.channels == LUMA:
        return with_luma(lr, lambda luma: at_size(run, luma, how, dtype), how.scale)
    return at_size(run, lr, how, dtype)


def at_size(run: Run, lr: Tensor, how: Convention, dtype: type[np.generic]) -> Tensor:
    """One picture, padded to the sizes that the network takes, or in its fixed tiles."""

    def call(part: Tensor) -> Tensor:
        return decode(run(encode(part, how, dtype)), how)

    height, width = lr.shape[-2:]
    if how.size is not None:
        return in_tiles(call, lr, how)
    bottom, right = -height % how.multiple, -width % how.multiple
    if not bottom and not right:
        return call(lr)
    padded = torch.nn.functional.pad(lr, (0, right, 0, bottom), mode="replicate")
    return call(padded)[..., : height * how.scale, : width * how.scale]


def in_tiles(call: Callable[[Tensor], Tensor], lr: Tensor, how: Convention) -> Tensor:
    """A picture in tiles of the one size that a network takes.

    Each keeps what is at least the receptive field from its edges, but for those of the picture, where the network's
    own padding is what it would be for the whole. A picture smaller than a tile is continued by its edge pixels.
    """
    assert how.size is not None
    high, wide = how.size
    height, width = lr.shape[-2:]
    bottom, right = max(0, high - height), max(0, wide - width)
    whole = torch.nn.functional.pad(lr, (0, right, 0, bottom), mode="replicate") if bottom or right else lr
    overlap = OVERLAP if how.receptive_field is None else how.receptive_field
    scale, rows, columns = how.scale, spans(whole.shape[-2], high, overlap), spans(whole.shape[-1], wide, overlap)
    sr = whole.new_empty(*whole.shape[:-2], whole.shape[-2] * scale, whole.shape[-1] * scale)
    for top, from_row, to_row in rows:
        for left, from_column, to_column in columns:
            part = call(whole[..., top : top + high, left : left + wide])
            sr[..., from_row * scale : to_row * scale, from_column * scale : to_column * scale] = part[
                ...,
                (from_row - top) * scale : (to_row - top) * scale,
                (from_column - left) * scale : (to_column - left) * scale,
            ]
    return sr[..., : height * scale, : width * scale]


def spans(length: int, tile: int, overlap: int) -> list[tuple[int, int, int]]:
    """(start of a tile, first, end of what is kept of it) along one side; all tiles lie within the picture."""
    overlap = min(overlap, (tile - 1) // 2)
    found, kept = [], 0
    while kept < length:
        start = max(0, min(kept - overlap, length - tile))
        end = length if start + tile >= length else start + tile - overlap
        found.append((start, kept, end))
        kept = end
    return found


def with_luma(lr: Tensor, upscale: Callable[[Tensor], Tensor], scale: int) -> Tensor:
    """The network on luma, bicubic on the two colour differences: B,3,H,W in [0, 1] to B,3,scale*H,scale*W."""
    red, green, blue = WEIGHTS
    luma = (lr * lr.new_tensor(WEIGHTS).view(1, 3, 1, 1)).sum(1, keepdim=True)
    colours = torch.cat([(lr[:, 2:] - luma) / (2 - 2 * blue), (lr[:, :1] - luma) / (2 - 2 * red)], 1)
    y = upscale(luma)
    large = imresize_torch(colours, scale) if scale > 1 else colours
    b, r = y + (2 - 2 * blue) * large[:, :1], y + (2 - 2 * red) * large[:, 1:]
    g = (y - red * r - blue * b) / green
    return torch.cat([r, g, b], 1)


def with_source(how: Convention, source: str) -> Convention:
    return replace(how, source=source)
