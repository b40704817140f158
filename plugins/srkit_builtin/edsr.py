"""EDSR: Lim et al., Enhanced Deep Residual Networks for Single Image Super-Resolution, CVPRW 2017.

Parameter names and numerics are those of the authors' PyTorch code (pixels in 0..255 inside, mean
shift outside the trunk), so that their weights load unchanged.
"""

import math
from contextlib import nullcontext
from typing import Annotated

import torch
from annotated_types import Gt
from torch import Tensor, nn

PIXEL_RANGE = 255
DIV2K_MEAN = (0.4488, 0.4371, 0.4040)  # RGB, as the authors measured it


class EDSR(nn.Module):
    """RGB `B,3,H,W` float in [0, 1] -> `B,3,scale*H,scale*W`, not clipped. scale: 3 or a power of two, 1 too.

    The defaults are the baseline of the paper's table 1 (16 blocks of 64 channels, 1.37 M parameters
    at x2); its large model is 32 blocks of 256 with residual scaling 0.1.
    """

    def __init__(
        self,
        scale: int,
        *,
        n_resblocks: Annotated[int, Gt(0), "residual blocks in the trunk"] = 16,
        n_feats: Annotated[int, Gt(0), "channels in the trunk"] = 64,
        res_scale: Annotated[float, Gt(0), "factor on each residual, 0.1 keeps wide models stable"] = 1.0,
    ):
        super().__init__()
        self.sub_mean = MeanShift(-1)
        self.add_mean = MeanShift(+1)
        self.head = nn.Sequential(conv(3, n_feats))
        self.body = nn.Sequential(*(ResBlock(n_feats, res_scale) for _ in range(n_resblocks)), conv(n_feats, n_feats))
        self.tail = nn.Sequential(Upsampler(scale, n_feats), conv(n_feats, 3))

    def forward(self, lr: Tensor) -> Tensor:
        features = exactly(self.head, exactly(self.sub_mean, lr * PIXEL_RANGE))
        upsample, last = self.tail
        sr = exactly(last, upsample(features + self.body(features)))  # B,C,H,W -> B,3,s*H,s*W
        return exactly(self.add_mean, sr) / PIXEL_RANGE


def exactly(layer: nn.Module, x: Tensor) -> Tensor:
    """`layer(x)` in the type of the layer's weights, under autocast too: near 255 bfloat16 steps by a whole level."""
    device = x.device.type
    with torch.autocast(device, enabled=False) if torch.amp.is_autocast_available(device) else nullcontext():
        result: Tensor = layer(x.to(next(layer.parameters()).dtype))
    return result


class ResBlock(nn.Module):
    """conv, ReLU, conv, scaled and added to the input: no batch normalisation (section 3.1)."""

    def __init__(self, n_feats: int, res_scale: float = 1.0, kernel: int = 3):
        super().__init__()
        first, second = (conv(n_feats, n_feats, kernel) for _ in range(2))
        self.body = nn.Sequential(first, nn.ReLU(inplace=True), second)
        self.res_scale = res_scale

    def forward(self, x: Tensor) -> Tensor:
        residual: Tensor = self.body(x)
        return x + (residual if self.res_scale == 1 else residual * self.res_scale)


class Upsampler(nn.Sequential):
    """Sub-pixel convolution: one step of 3, or log2(scale) steps of 2."""

    def __init__(self, scale: int, n_feats: int):
        super().__init__(*(m for s in factors(scale) for m in (conv(n_feats, n_feats * s * s), nn.PixelShuffle(s))))


class MeanShift(nn.Conv2d):
    """Adds `sign` times the mean of DIV2K, in 0..255. Fixed: not a parameter to train."""

    def __init__(self, sign: int):
        super().__init__(3, 3, 1)
        self.weight = nn.Parameter(torch.eye(3).view(3, 3, 1, 1), requires_grad=False)
        self.bias = nn.Parameter(sign * PIXEL_RANGE * torch.tensor(DIV2K_MEAN), requires_grad=False)


def conv(channels_in: int, channels_out: int, kernel: int = 3) -> nn.Conv2d:
    return nn.Conv2d(channels_in, channels_out, kernel, padding=kernel // 2)


def factors(scale: int) -> list[int]:
    """The steps of sub-pixel upsampling, none for x1. ValueError for a scale that is neither 3 nor a power of two."""
    if scale == 3:
        return [3]
    if scale > 0 and scale & (scale - 1) == 0:
        return [2] * int(math.log2(scale))
    raise ValueError(f"sub-pixel convolution upsamples by 3 or a power of two, not {scale}")


def receptive_field(scale: int, *, n_resblocks: int, **_: object) -> int:
    """LR pixels to each side that can change an output pixel: one for each 3x3 convolution.

    Head, two per block, the trunk's last and the first upsampling convolution count one each; what
    follows works on a finer grid and together reaches less than one LR pixel further.
    """
    return 1 + 2 * n_resblocks + 1 + 1 + 1
