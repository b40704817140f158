"""How far a converted network is from the one it was made of, on natural pictures of several sizes."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from srkit import OutputError
from srkit_onnx.pictures import crop, samples, tensor_of

Upscale = Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class Difference:
    """Of a converted network's results from the original's, both in [0, 1] about.

    largest: of all values, unclipped. psnr: of the clipped results against each other, in dB; infinite where they are
    equal. sizes: (height, width) of what was tried.
    """

    largest: float
    psnr: float
    sizes: Sequence[tuple[int, int]]

    @property
    def words(self) -> str:
        sizes = ", ".join(f"{width}x{height}" for height, width in self.sizes)
        psnr = "equal" if math.isinf(self.psnr) else f"PSNR {self.psnr:.2f} dB"
        return f"largest difference {self.largest:.2g}, {psnr} against the original at {sizes}"


def three_sizes(multiple: int, tile: int = 0) -> list[tuple[int, int]]:
    """(height, width): small, odd where that is allowed, and larger than what a network is converted with.

    tile: the side of the one size that it takes, which all three are larger than, by less than that again.
    """
    sizes = [(tile + tile // 4 + 1, tile + 3), (tile + 5, tile + tile // 3), (tile + tile // 2 + 1, tile + tile // 8)]
    return [
        (-(-high // multiple) * multiple, -(-wide // multiple) * multiple)
        for high, wide in (sizes if tile else ((24, 31), (57, 45), (96, 136)))
    ]


def compare(made: Upscale, original: Upscale, sizes: Sequence[tuple[int, int]], device: torch.device) -> Difference:
    """Both on a photograph of each size. Raises OutputError where the converted one gives no picture of its size."""
    largest, squares, count = 0.0, 0.0, 0
    for number, (height, width) in enumerate(sizes):
        lr = tensor_of(crop(samples()[-1 - number], height, width)).to(device)
        with torch.inference_mode():
            wanted, got = original(lr), made(lr)
        if got.shape != wanted.shape or not bool(got.isfinite().all()):
            what = "values that are not finite" if got.shape == wanted.shape else f"a result of {tuple(got.shape)}"
            raise OutputError(f"converted, it makes {what} of {width}x{height} pixels")
        largest = max(largest, float((got - wanted).abs().max()))
        squares += float((got.clamp(0, 1) - wanted.clamp(0, 1)).double().square().sum())
        count += got.numel()
    psnr = 10 * math.log10(count / squares) if squares else math.inf
    return Difference(largest, psnr, list(sizes))


def device_of(net: nn.Module) -> torch.device:
    return next((p.device for p in (*net.parameters(), *net.buffers())), torch.device("cpu"))
