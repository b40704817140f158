"""Put a network, its padding, its tiles and the chosen wrappers together into one upscaler."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from math import isfinite

import numpy as np
import torch
from torch import Tensor, nn

from srkit.errors import OutputError, SrkitError, one_line
from srkit.nets import Precision, out_of_memory
from srkit.plugins import Choice
from srkit.upscale.backend import tile_function
from srkit.upscale.size import crop_to, pad_to_multiple
from srkit.upscale.tiles import OVERLAP, TILE, tiled

Upscale = Callable[[Tensor], Tensor]

FAR = 0.25  # between the mean of a picture and that of what is made of it: then these are no values in [0, 1]


def make_upscaler(
    net: nn.Module,
    model: Choice,
    scale: int,
    *,
    tile: int | None = None,
    wrappers: Sequence[Choice] = (),
    backend: Choice | None = None,
    channels_last: bool = True,
    precision: Precision = "fp32",
    in_range: bool = True,
    done: Callable[[int, int], None] = lambda tiles, total: None,
) -> Upscale:
    """An upscaler, `B,3,H,W` float in [0, 1] to `B,3,s*H,s*W`, without gradients, in evaluation mode.

    tile: side of a tile in LR pixels; 0 for none; None for the default where the model declares its
    receptive field, so that tiles cannot be seen, and none where it does not. backend: what the network runs in,
    with its options; None for PyTorch, which `channels_last` and `precision` (fp32, bf16 or fp16) are for. Any other
    may hold the weights as they are now.

    What comes out is checked as `checked` says, of the network and of each wrapper. The range is that of the
    outermost, and of none where `in_range` is False: a network in training may be anywhere, and is told of.
    """
    record = model.component
    with evaluation_mode(net):
        computed = tile_function(backend, net, model, scale, channels_last=channels_last, precision=precision)
        forward = sized(computed, f"'{model.label}'", scale)
    field = record.receptive_field
    if callable(field):
        field = field(scale, **model.options)
    if tile is None:
        tile = TILE if field is not None else 0
    overlap = OVERLAP if field is None else field

    def upscale(lr: Tensor) -> Tensor:
        height, width = lr.shape[-2:]
        padded = pad_to_multiple(lr, record.size_multiple)
        try:
            with evaluating(net):
                if tile and max(padded.shape[-2:]) > tile:
                    sr = tiled(forward, padded, scale, tile, overlap, multiple=record.size_multiple, done=done)
                else:
                    sr = forward(padded)
        except Exception as error:
            if not out_of_memory(error):
                raise
            raise SrkitError(
                f"out of memory on {width}x{height} pixels; try --tile {max(64, (tile or 512) // 2)}"
            ) from error
        return crop_to(sr, height * scale, width * scale)

    # A wrapper that is there to change pictures may change their mean as well.
    in_range = in_range and not any(wrapper.component.changes for wrapper in wrappers)
    upscaler = checked(upscale, f"'{model.label}'", scale, in_range=in_range and not wrappers)
    for number, wrapper in enumerate(wrappers, 1):
        name = f"wrapper '{wrapper.label}' around '{model.label}'"
        upscaler = checked(wrapper.build(upscaler), name, scale, in_range=in_range and number == len(wrappers))
    return upscaler


def checked(upscaler: Upscale, name: str, scale: int, *, in_range: bool = True) -> Upscale:
    """The same upscaler, which raises OutputError where it fails or gives no picture of what it was given.

    That is a tensor of another size, a value that is not finite, and, with `in_range`, a mean farther than 0.25 from
    the picture's: bicubic keeps the mean exactly, values in 0..255 or -1..1 do not. What overshoots is clipped later.
    """

    def call(lr: Tensor) -> Tensor:
        size = f"{lr.shape[-1]}x{lr.shape[-2]} pixels"
        try:
            sr = upscaler(lr)
        except SrkitError:
            raise
        except Exception as error:
            raise OutputError(f"{name} x{scale} fails on {size}: {one_line(error)}") from error
        check_size(sr, lr, name, scale)
        means = sr.mean((1, 2, 3), dtype=torch.float32)
        pairs = torch.stack([means, lr.mean((1, 2, 3)).to(means)], 1)
        for mean, wanted in pairs.tolist():  # one copy from the device
            if not isfinite(mean):
                raise OutputError(
                    f"{name} x{scale} makes values that are not finite of {size}: "
                    "its weights are damaged, or its number format overflows"
                )
            if in_range and abs(mean - wanted) > FAR:
                raise OutputError(
                    f"{name} x{scale} makes values around {mean:.3g} of {size} around {wanted:.3g}: "
                    "its range is not [0, 1], or it is not trained"
                )
        return sr

    return call


def sized(forward: Upscale, name: str, scale: int) -> Upscale:
    """The same function of a tile, which raises OutputError for a wrong size: after cropping it would not be seen."""

    def call(lr: Tensor) -> Tensor:
        sr = forward(lr)
        check_size(sr, lr, name, scale)
        return sr

    return call


def check_size(sr: object, lr: Tensor, name: str, scale: int) -> None:
    """Raises OutputError for what is no tensor of B,3,scale*H,scale*W."""
    height, width = lr.shape[-2:]
    if not isinstance(sr, Tensor):
        raise OutputError(f"{name} x{scale} makes a {type(sr).__name__}, not a tensor of B,3,H,W")
    if tuple(sr.shape) != (lr.shape[0], 3, height * scale, width * scale):
        made = f"{sr.shape[-1]}x{sr.shape[-2]}" if sr.shape[:2] == (lr.shape[0], 3) else str(list(sr.shape))
        raise OutputError(
            f"{name} x{scale} makes {made} of {width}x{height} pixels, not {width * scale}x{height * scale}: "
            "is its scale another one, or its padding too small?"
        )


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


def to_tensor(pixels: np.ndarray, device: torch.device | str = "cpu") -> Tensor:
    """H,W,3 uint8 or uint16 -> 1,3,H,W float in [0, 1] on `device`."""
    return torch.tensor(pixels).to(device).permute(2, 0, 1)[None].float() / float(np.iinfo(pixels.dtype).max)


def to_pixels(sr: Tensor) -> np.ndarray:
    """1,3,H,W float in [0, 1] -> H,W,3 uint8: rounded half up, clipped."""
    return sr[0].mul(255).add_(0.5).floor_().clamp_(0, 255).byte().permute(1, 2, 0).contiguous().cpu().numpy()
