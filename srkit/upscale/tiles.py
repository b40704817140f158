"""Upscale in tiles that overlap by the receptive field, so that the result equals the whole picture's."""

from collections.abc import Callable, Iterator

import torch
from torch import Tensor

TILE = 384  # LR pixels: small photos go whole, and EDSR's x4 upsampler stays near 1 GB
SMALLEST = 64  # LR pixels: side of a tile, where memory allows no more
OVERLAP = 32  # LR pixels, where a network does not say how far it sees


def spans(length: int, tile: int, overlap: int, multiple: int = 1) -> Iterator[tuple[int, int, int, int]]:
    """Cut `length` into equal cores of at most `tile`: (input start, input stop, core start, core stop) of each.

    The input reaches `overlap` beyond the core on each side, less at the picture's edges, where the
    network's own padding must stay what it was. All starts are multiples of `multiple`.
    """
    tile = max(multiple, tile - tile % multiple)
    tile = -(-length // -(-length // tile))  # equal, since a CPU may compute a small rest by a kernel that rounds apart
    tile += -tile % multiple
    overlap += -overlap % multiple
    for start in range(0, length, tile):
        stop = min(start + tile, length)
        yield max(0, start - overlap), min(length, stop + overlap), start, stop


def grid(width: int, height: int, room: int, margin: int) -> tuple[int, int]:
    """(rows, columns) of tiles that compute the fewest pixels; a tile with `margin` around it has at most `room`."""

    def reach(length: int, parts: int) -> int:
        return -(-length // parts) + margin * min(2, parts - 1)

    best: tuple[int, int, int] | None = None
    rows = -(-height // SMALLEST)
    for columns in range(1, -(-width // SMALLEST) + 1):
        while rows > 1 and reach(height, rows - 1) * reach(width, columns) <= room:
            rows -= 1  # more columns leave room for higher tiles
        if reach(height, rows) * reach(width, columns) <= room:
            computed = (height + 2 * margin * (rows - 1)) * (width + 2 * margin * (columns - 1))
            best = min(filter(None, (best, (computed, rows, columns))))
    return best[1:] if best else (rows, -(-width // SMALLEST))


def tiled(
    net: Callable[[Tensor], Tensor],
    lr: Tensor,
    scale: int,
    tile: int,
    overlap: int,
    *,
    multiple: int = 1,
    done: Callable[[int, int], None] = lambda tiles, total: None,
) -> Tensor:
    """B,3,H,W -> B,3,s*H,s*W, on the CPU. done(tiles, total) is called after each tile."""
    rows = list(spans(lr.shape[-2], tile, overlap, multiple))
    columns = list(spans(lr.shape[-1], tile, overlap, multiple))
    sr = torch.empty(*lr.shape[:-2], lr.shape[-2] * scale, lr.shape[-1] * scale, dtype=lr.dtype)
    count = 0
    for top, bottom, row, row_end in rows:
        for left, right, column, column_end in columns:
            part = net(lr[..., top:bottom, left:right])
            sr[..., row * scale : row_end * scale, column * scale : column_end * scale] = part[
                ...,
                (row - top) * scale : (row_end - top) * scale,
                (column - left) * scale : (column_end - left) * scale,
            ]
            count += 1
            done(count, len(rows) * len(columns))
    return sr
