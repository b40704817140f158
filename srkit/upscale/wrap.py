"""Put a network, its padding, its tiles and the chosen wrappers together into one upscaler."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from math import prod

import numpy as np
import torch
from torch import Tensor, nn

from srkit.errors import SrkitError
from srkit.plugins import Choice
from srkit.upscale.backend import tile_function
from srkit.upscale.size import crop_to, pad_to_multiple
from srkit.upscale.tiles import TILE, tiled

Upscale = Callable[[Tensor], Tensor]


def make_upscaler(
    net: nn.Module,
    model: Choice,
    scale: int,
    *,
    tile: int | None = None,
    wrappers: Sequence[Choice] = (),
    backend: Choice | None = None,
    channels_last: bool = True,
    done: Callable[[int, int], None] = lambda tiles, total: None,
) -> Upscale:
    """An upscaler, `B,3,H,W` float in [0, 1] to `B,3,s*H,s*W`, without gradients, in evaluation mode.

    tile: side of a tile in LR pixels; 0 for none; None for the default where the model declares its
    receptive field, so that tiles cannot be seen, and none where it does not. backend: what the network runs in,
    with its options; None for PyTorch, which `channels_last` is for. Any other may hold the weights as they are now.
    """
    record = model.component
    with evaluation_mode(net):
        forward = tile_function(backend, net, model, scale, channels_last)
    field = record.receptive_field
    if callable(field):
        field = field(scale, **model.options)
    if tile is None:
        tile = TILE if field is not None else 0
    overlap = 32 if field is None else field

    def upscale(lr: Tensor) -> Tensor:
        height, width = lr.shape[-2:]
        padded = pad_to_multiple(lr, record.size_multiple)
        try:
            with evaluating(net):
                if tile and max(padded.shape[-2:]) > tile:
                    sr = tiled(forward, padded, scale, tile, overlap, multiple=record.size_multiple, done=done)
                else:
                    sr = forward(padded)
        except (torch.OutOfMemoryError, MemoryError) as error:
            raise SrkitError(
                f"out of memory on {width}x{height} pixels; try --tile {max(64, (tile or 512) // 2)}"
            ) from error
        return crop_to(sr, height * scale, width * scale)

    upscaler: Upscale = upscale
    for wrapper in wrappers:
        upscaler = wrapper.build(upscaler)
    return upscaler


@contextmanager
def evaluating(net: nn.Module) -> Iterator[None]:
    """Evaluation mode inside, without gradients."""
    with evaluation_mode(net), torch.inference_mode():
        yield


@contextmanager
def evaluation_mode(net: nn.Module) -> Iterator[None]:
    """Evaluation mode inside, what it was outside: validation must leave training as it found it."""
    in_training = [module for module in net.modules() if module.training]  # some may be frozen
    net.eval()
    try:
        yield
    finally:
        for module in in_training:
            module.training = True


def mark(wrappers: Sequence[Choice]) -> str:
    """What wrappers add to a model's name in tables and file names."""
    return "".join(w.component.mark or f"+{w.label}" for w in wrappers)


def passes(wrappers: Sequence[Choice]) -> int:
    """How often the innermost upscaler is called for one picture."""
    counts = [w.component.passes for w in wrappers]
    return prod(n(**w.options) if callable(n) else n for n, w in zip(counts, wrappers, strict=True))


def to_tensor(pixels: np.ndarray, device: torch.device | str = "cpu") -> Tensor:
    """H,W,3 uint8 -> 1,3,H,W float in [0, 1] on `device`."""
    return torch.tensor(pixels).to(device).permute(2, 0, 1)[None].float() / 255


def to_pixels(sr: Tensor) -> np.ndarray:
    """1,3,H,W float in [0, 1] -> H,W,3 uint8: rounded half up, clipped."""
    return sr[0].mul(255).add_(0.5).floor_().clamp_(0, 255).byte().permute(1, 2, 0).contiguous().cpu().numpy()
