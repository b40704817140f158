"""MATLAB's imresize, bit for bit on uint8 and uint16: numpy for data sets, torch for batches.

The contributions of each output pixel follow MATLAB's `imresize.m`: an antialiasing kernel stretched
by 1/scale when shrinking, symmetric reflection at the edges, the dimension with the smaller scale
first (rows on a tie), and, for integers, rounding half up and clipping after *each* of the two passes.
That last point is where most Python ports differ, by 1 or 2 in every seventh value.
"""

import math
from collections.abc import Callable
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import torch

AT_ONCE = 2**22  # values of a batch of integers that are computed together, in float64
WITHOUT_FLOAT64 = ("mps",)  # devices on which integers cannot be resized exactly

__all__ = ["imresize", "imresize_torch"]


def cubic(x: np.ndarray) -> np.ndarray:
    """Keys' cubic convolution kernel, a = -0.5."""
    x = np.abs(x)
    near = (1.5 * x**3 - 2.5 * x**2 + 1) * (x <= 1)
    return np.asarray(near + (-0.5 * x**3 + 2.5 * x**2 - 4 * x + 2) * ((x > 1) & (x <= 2)))


def lanczos3(x: np.ndarray) -> np.ndarray:
    """Lanczos' windowed sinc over three lobes, as MATLAB writes it."""
    eps = np.finfo(np.float64).eps
    inside = np.abs(x) < 3
    return np.asarray(inside * (np.sin(np.pi * x) * np.sin(np.pi * x / 3) + eps) / (np.pi**2 * x**2 / 3 + eps))


KERNELS: dict[str, tuple[Callable[[np.ndarray], np.ndarray], float]] = {
    "bicubic": (cubic, 4.0),
    "lanczos3": (lanczos3, 6.0),
}


@lru_cache(maxsize=256)
def contributions(length: int, out: int, scale: float, method: str) -> tuple[np.ndarray, np.ndarray]:
    """For each of `out` output pixels: the weights (out,taps) float64 and the input indices (out,taps)."""
    kernel, width = KERNELS[method]
    stretch = min(scale, 1.0)
    width /= stretch
    u = np.arange(1, out + 1) / scale + 0.5 * (1 - 1 / scale)
    left = np.floor(u - width / 2)
    taps = left[:, None] + np.arange(math.ceil(width) + 2)
    weights = stretch * kernel(stretch * (u[:, None] - taps))
    weights /= weights.sum(axis=1, keepdims=True)
    mirror = np.concatenate([np.arange(length), np.arange(length)[::-1]])
    indices = mirror[np.mod(taps.astype(np.int64) - 1, 2 * length)]
    used = np.any(weights != 0, axis=0)
    return weights[:, used], indices[:, used]


def plan(
    height: int, width: int, scale: float | None, size: tuple[int, int] | None
) -> list[tuple[int, int, int, float]]:
    """The passes in MATLAB's order, each (axis, length in, length out, scale)."""
    if (scale is None) == (size is None):
        raise ValueError("give imresize either a scale or a size (height, width)")
    if size is not None:
        rows, columns = (0, height, int(size[0]), size[0] / height), (1, width, int(size[1]), size[1] / width)
    else:
        assert scale is not None
        rows, columns = (0, height, math.ceil(height * scale), scale), (1, width, math.ceil(width * scale), scale)
    if min(rows[2:] + columns[2:]) <= 0:
        raise ValueError(f"imresize wants a positive scale or size, not {scale if size is None else size}")
    return sorted([rows, columns], key=lambda p: p[3])


def imresize(
    image: np.ndarray, scale: float | None = None, *, size: tuple[int, int] | None = None, method: str = "bicubic"
) -> np.ndarray:
    """Resize `image`, H,W or H,W,C, as MATLAB's `imresize(image, scale)` or `imresize(image, size)`.

    scale: any positive number; the result is ceil(scale*H), ceil(scale*W). size: (height, width) instead.
    method: "bicubic" or "lanczos3". uint8 and uint16 stay what they are, equal to MATLAB's to the last bit;
    floating point gives float64, neither rounded nor clipped. Raises ValueError for both or neither of scale and size.
    """
    white = np.iinfo(image.dtype).max if image.dtype in (np.uint8, np.uint16) else 0
    result = image.astype(np.float64)
    for axis, length, out, step in plan(image.shape[0], image.shape[1], scale, size):
        weights, indices = contributions(length, out, step, method)
        shape = [1] * image.ndim
        shape[axis] = out
        total = np.zeros((*result.shape[:axis], out, *result.shape[axis + 1 :]))
        for tap in range(weights.shape[1]):
            total += weights[:, tap].reshape(shape) * result.take(indices[:, tap], axis=axis)
        result = np.clip(np.floor(total + 0.5), 0, white) if white else total
    return result.astype(image.dtype) if white else result


def imresize_torch(
    batch: "torch.Tensor",
    scale: float | None = None,
    *,
    size: tuple[int, int] | None = None,
    method: str = "bicubic",
) -> "torch.Tensor":
    """`imresize` of a batch `B,C,H,W` on its own device.

    uint8 and uint16 are computed in float64, on the CPU where the device has none, and equal `imresize` to the last
    bit; floating point keeps its type and carries gradients.
    """
    import torch

    exact = batch.dtype in (torch.uint8, torch.uint16)
    if exact and batch.device.type in WITHOUT_FLOAT64:
        return imresize_torch(batch.cpu(), scale, size=size, method=method).to(batch.device)
    if exact and batch.numel() > AT_ONCE and len(planes := batch.flatten(0, -3)) > 1:
        # float64 takes eight times the memory of the pixels: one plane at a time
        done = [imresize_torch(plane[None], scale, size=size, method=method) for plane in planes]
        return torch.cat(done).reshape(*batch.shape[:-2], *done[0].shape[-2:])
    white = torch.iinfo(batch.dtype).max if exact else 0
    result = batch.double() if exact else batch
    for axis, length, out, step in plan(batch.shape[-2], batch.shape[-1], scale, size):
        weights, indices = contributions(length, out, step, method)
        shape = (out, 1) if axis == 0 else (out,)
        w = torch.from_numpy(weights).to(result.dtype).to(result.device)
        i = torch.from_numpy(indices).to(result.device)
        total = torch.zeros((), dtype=result.dtype, device=result.device)
        for tap in range(weights.shape[1]):
            total = total + w[:, tap].reshape(shape) * result.index_select(axis - 2, i[:, tap])
        result = torch.floor(total + 0.5).clamp_(0, white) if exact else total
    return result.to(batch.dtype) if exact else result
