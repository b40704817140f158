"""From a network and a scale to a function of a tile: PyTorch's own way, which the backend `torch` is."""

import logging
from collections.abc import Callable
from typing import Annotated

import torch
from torch import Tensor, nn

from srkit.errors import PluginError, SrkitError, one_line
from srkit.nets import AUTOCAST, Precision, in_memory_format
from srkit.plugins import Choice

LOG = logging.getLogger("srkit")

Tile = Callable[[Tensor], Tensor]


class AtScale(nn.Module):
    """A multi-scale network at one of its scales, called `net(lr)` as any other."""

    def __init__(self, net: nn.Module, scale: int):
        super().__init__()
        self.net, self.scale = net, scale
        self.training = net.training

    def forward(self, lr: Tensor) -> Tensor:
        sr: Tensor = self.net(lr, self.scale)
        return sr


def torch_backend(
    net: nn.Module,
    scale: int,
    *,
    precision: Annotated[Precision, "number format; bf16 and fp16 by autocast"] = "fp32",
    channels_last: Annotated[bool, "memory format; faster on most devices"] = True,
) -> Tile:
    """The network itself: `B,3,H,W` float32 in [0, 1] to `B,3,scale*H,scale*W` float32 on the same device.

    What has no parameters, an interpolation, is computed in fp32 in any case: it is fast, and bf16 would round pixels.
    A tile that is not finite in another format is computed again in fp32, which is logged.
    """
    memory = torch.channels_last if channels_last else torch.contiguous_format
    net = in_memory_format(net, memory)

    def upscale(lr: Tensor) -> Tensor:
        sr: Tensor = net(lr.contiguous(memory_format=memory))
        return sr

    def cast(lr: Tensor) -> Tensor:
        with torch.autocast(lr.device.type, AUTOCAST[precision]):
            sr = upscale(lr).float()
        if bool(sr.isfinite().all()):
            return sr
        LOG.warning("%s", f"a tile is not finite in {precision}: computed again in fp32")
        return upscale(lr)

    return cast if precision in AUTOCAST and any(True for _ in net.parameters()) else upscale


def tile_function(
    backend: Choice | None,
    net: nn.Module,
    model: Choice,
    scale: int,
    *,
    channels_last: bool = True,
    precision: Precision = "fp32",
) -> Tile:
    """What computes a tile, by a backend or, where it is None, by PyTorch, which the options are for.

    Raises PluginError, naming the backend, where it cannot be built for this network.
    """
    single = AtScale(net, scale) if model.component.multi_scale else net
    if backend is None:
        return torch_backend(single, scale, precision=precision, channels_last=channels_last)
    try:
        tile: Tile = backend.build(single, scale)
    except SrkitError:
        raise
    except Exception as error:
        what = f"backend '{backend.entry.qualified}' cannot run '{model.label}'"
        raise PluginError(f"{what}: {one_line(error)}") from error
    return tile
