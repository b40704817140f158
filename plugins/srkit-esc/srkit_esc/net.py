"""ESC: Lee et al., Emulating Self-attention with Convolution for Efficient Image Super-Resolution, ICCV 2025.

Written from the paper's formulas, put together and named as in the authors' code, so that state dicts load in both
directions. The normalisation of channels is timm's.
"""

from contextlib import nullcontext
from typing import Annotated

import torch
from annotated_types import Gt
from timm.layers import LayerNorm2d
from torch import Tensor, nn
from torch.nn import functional as F

from srkit import OptionError

DYNAMIC = 3  # side of the kernel that is made of the picture

Dim = Annotated[int, Gt(0), "channels in the trunk"]
PDim = Annotated[int, Gt(0), "of these, the channels that the large kernel works on"]
KernelSize = Annotated[int, Gt(0), "side of the large kernel, which is odd"]
Blocks = Annotated[int, Gt(0), "blocks, each with one attention"]
ConvBlocks = Annotated[int, Gt(0), "convolutions in the place of attention, in each block"]
WindowSize = Annotated[int, Gt(0), "side of an attention window in pixels"]
Heads = Annotated[int, Gt(0), "attention heads"]
Ratio = Annotated[float, Gt(0), "width of the hidden layers between them, as a multiple of dim"]


class ESC(nn.Module):
    """RGB `B,3,H,W` float in [0, 1] -> `B,3,scale*H,scale*W`, not clipped, of any height and width.

    Raises OptionError for options that do not fit together.
    """

    def __init__(
        self,
        scale: int,
        *,
        dim: Dim = 64,
        pdim: PDim = 16,
        kernel_size: KernelSize = 13,
        n_blocks: Blocks = 5,
        conv_blocks: ConvBlocks = 5,
        window_size: WindowSize = 32,
        num_heads: Heads = 4,
        exp_ratio: Ratio = 1.25,
    ):
        super().__init__()
        check(dim, pdim, kernel_size, num_heads)
        self.scale = scale
        self.plk_filter = nn.Parameter(torch.empty(pdim, pdim, kernel_size, kernel_size))
        nn.init.orthogonal_(self.plk_filter)
        self.proj = conv(3, dim)
        self.blocks = nn.ModuleList(
            Block(dim, [ConvAttn(dim, pdim) for _ in range(conv_blocks)], window_size, num_heads, exp_ratio)
            for _ in range(n_blocks)
        )
        self.last = conv(dim, dim)
        self.to_img = conv(dim, 3 * scale**2)

    def forward(self, lr: Tensor) -> Tensor:
        first = self.proj(lr)
        kernel = symmetric(self.plk_filter)
        x = first
        for block in self.blocks:
            x = block(x, kernel)
        # B,3*s*s,h,w; the pixels themselves, each repeated s*s times, lie under it
        x = exactly(self.to_img, self.last(x) + first)
        return F.pixel_shuffle(x + lr.repeat_interleave(self.scale**2, 1), self.scale)


class ESCFP(nn.Module):
    """RGB `B,3,H,W` float in [0, 1] -> `B,3,scale*H,scale*W`, not clipped, of any height and width: ESC-FP.

    The large kernel is one of 1x1 and one for each channel; more is normalised; bicubic pixels lie under the result.
    Raises OptionError for options that do not fit together.
    """

    def __init__(
        self,
        scale: int,
        *,
        dim: Dim = 48,
        pdim: PDim = 16,
        kernel_size: KernelSize = 13,
        n_blocks: Blocks = 5,
        conv_blocks: ConvBlocks = 5,
        window_size: WindowSize = 32,
        num_heads: Heads = 3,
        exp_ratio: Ratio = 1.25,
    ):
        super().__init__()
        check(dim, pdim, kernel_size, num_heads)
        self.scale = scale
        self.lk_channel = nn.Parameter(torch.randn(pdim, pdim, 1, 1))
        self.lk_spatial = nn.Parameter(torch.empty(pdim, 1, kernel_size, kernel_size))
        nn.init.orthogonal_(self.lk_spatial)
        self.proj = conv(3, dim)
        self.blocks = nn.ModuleList(
            NormedBlock(dim, [ConvAttnFP(dim, pdim) for _ in range(conv_blocks)], window_size, num_heads, exp_ratio)
            for _ in range(n_blocks)
        )
        self.ln_last = LayerNorm2d(dim)
        self.last = conv(dim, dim)
        self.to_img = conv(dim, 3 * scale**2)

    def forward(self, lr: Tensor) -> Tensor:
        first = self.proj(lr)
        x = first
        for block in self.blocks:
            x = block(x, self.lk_channel, self.lk_spatial)
        x = exactly(self.to_img, self.last(self.ln_last(x)) + first)
        return F.pixel_shuffle(x, self.scale) + F.interpolate(lr, scale_factor=self.scale, mode="bicubic")


class Block(nn.Module):
    """One attention, then convolutions that stand for more of it, added to the input: B,C,H,W."""

    first_ratio = 2.0  # width of the first ConvFFN's hidden layer

    def __init__(self, dim: int, pconvs: list[nn.Module], window: int, heads: int, ratio: float):
        super().__init__()
        self.ln_proj = LayerNorm2d(dim)
        self.proj = ConvFFN(dim, self.first_ratio)
        self.ln_attn = LayerNorm2d(dim)
        self.attn = WindowAttention(dim, window, heads)
        self.pconvs = nn.ModuleList(pconvs)
        self.convffns = nn.ModuleList(ConvFFN(dim, ratio) for _ in pconvs)
        self.ln_out = LayerNorm2d(dim)
        self.conv_out = conv(dim, dim)

    def forward(self, x: Tensor, *kernels: Tensor) -> Tensor:
        y = self.proj(self.ln_proj(x))
        y = y + self.attn(self.ln_attn(y))
        for i, (convffn, pconv) in enumerate(zip(self.convffns, self.pconvs, strict=True)):
            y = y + pconv(convffn(self.normed(y, i)), *kernels)
        return x + self.conv_out(self.ln_out(y))

    def normed(self, x: Tensor, _: int) -> Tensor:
        return x


class NormedBlock(Block):
    """The block of ESC-FP: it normalises before each ConvFFN, and its first one is narrower."""

    first_ratio = 1.5

    def __init__(self, dim: int, pconvs: list[nn.Module], window: int, heads: int, ratio: float):
        super().__init__(dim, pconvs, window, heads, ratio)
        self.lns = nn.ModuleList(LayerNorm2d(dim) for _ in pconvs)

    def normed(self, x: Tensor, i: int) -> Tensor:
        result: Tensor = self.lns[i](x)
        return result


class ConvFFN(nn.Module):
    """A hidden layer with a 3x3 convolution of each channel in it: B,C,H,W."""

    def __init__(self, dim: int, ratio: float):
        super().__init__()
        hidden = int(dim * ratio)
        self.proj = nn.Conv2d(dim, hidden, 1)
        self.dwc = nn.Conv2d(hidden, hidden, 3, padding=1, groups=hidden)
        self.aggr = nn.Conv2d(hidden, dim, 1)

    def forward(self, x: Tensor) -> Tensor:
        x = F.gelu(self.proj(x))
        result: Tensor = self.aggr(x + F.gelu(self.dwc(x)))
        return result


class WindowAttention(nn.Module):
    """Attention in windows that are not shifted, with a bias for each relative position: B,C,H,W.

    A picture that windows do not fill is continued by its reflection below and to the right.
    """

    def __init__(self, dim: int, window: int, heads: int):
        super().__init__()
        self.window, self.heads = window, heads
        self.to_qkv = nn.Conv2d(dim, 3 * dim, 1)
        self.to_out = nn.Conv2d(dim, dim, 1)
        self.relative_position_bias = nn.Parameter(0.001 * torch.randn(heads, (2 * window - 1) ** 2))

    def forward(self, x: Tensor) -> Tensor:
        batch, channels, height, width = x.shape
        side, heads = self.window, self.heads
        x = reflected(reflected(x, 2, side), 3, side)
        rows, columns = x.shape[2] // side, x.shape[3] // side
        parts = self.to_qkv(x).reshape(batch, 3, heads, channels // heads, rows, side, columns, side)
        q, k, v = parts.permute(1, 0, 4, 6, 2, 5, 7, 3).reshape(3, -1, heads, side**2, channels // heads)
        x = F.scaled_dot_product_attention(q, k, v, attn_mask=self.bias().to(q.dtype))
        x = x.reshape(batch, rows, columns, heads, side, side, channels // heads)
        x = x.permute(0, 3, 6, 1, 4, 2, 5).reshape(batch, channels, rows * side, columns * side)
        result: Tensor = self.to_out(x[:, :, :height, :width])
        return result

    def bias(self) -> Tensor:
        """To add to the logits: heads,w*w,w*w, by where the key lies seen from the query."""
        side = self.window
        table = self.relative_position_bias.view(-1, 2 * side - 1, 2 * side - 1)
        # The keys a query sees are a part of the table, which begins the later the earlier the query lies.
        return table.unfold(1, side, 1).unfold(2, side, 1).flip(1, 2).reshape(-1, side**2, side**2)


class ConvAttn(nn.Module):
    """Convolution that emulates attention: B,C,H,W, with the shared kernel `pdim,pdim,k,k`.

    The first `pdim` channels see far through the shared kernel, and each of them its neighbours through
    a kernel made of the mean of the whole picture; then all channels are mixed.
    """

    def __init__(self, dim: int, pdim: int):
        super().__init__()
        self.plk = nn.ModuleDict({"dwc_proj": kernel_maker(pdim, pdim // 2)})
        nn.init.zeros_(self.plk["dwc_proj"][-1].weight)
        nn.init.zeros_(self.plk["dwc_proj"][-1].bias)
        self.aggr = nn.Conv2d(dim, dim, 1)

    def forward(self, x: Tensor, kernel: Tensor) -> Tensor:
        near, rest = x.split([len(kernel), x.shape[1] - len(kernel)], 1)
        own = self.plk["dwc_proj"](near).reshape(-1, 1, DYNAMIC, DYNAMIC)
        near = F.conv2d(near, kernel.to(x.dtype), padding="same") + each_by_its_own(near, own)
        result: Tensor = self.aggr(torch.cat([near, rest], 1))
        return result


class ConvAttnFP(nn.Module):
    """ConvAttn with the shared kernel taken apart: B,C,H,W, kernels `pdim,pdim,1,1` and `pdim,1,k,k` (ESC-FP).

    The kernel made of the picture is added to the middle of that for each channel.
    """

    def __init__(self, dim: int, pdim: int):
        super().__init__()
        self.plk = nn.ModuleDict({"proj": kernel_maker(pdim, pdim // 4)})
        self.aggr = nn.Conv2d(dim, dim, 1)

    def forward(self, x: Tensor, across: Tensor, along: Tensor) -> Tensor:
        near, rest = x.split([len(along), x.shape[1] - len(along)], 1)
        own = self.plk["proj"](near).reshape(len(x), len(along), 1, DYNAMIC, DYNAMIC)
        own = F.pad(own, [(along.shape[-1] - DYNAMIC) // 2] * 4) + along.to(x.dtype)
        near = each_by_its_own(F.conv2d(near, across.to(x.dtype)), own.flatten(0, 1))
        result: Tensor = self.aggr(torch.cat([near, rest], 1))
        return result


def kernel_maker(pdim: int, hidden: int) -> nn.Sequential:
    """Of a picture's mean, a kernel of 3x3 for each channel: B,pdim,H,W -> B,pdim*9,1,1."""
    return nn.Sequential(
        nn.AdaptiveAvgPool2d(1), nn.Conv2d(pdim, hidden, 1), nn.GELU(), nn.Conv2d(hidden, pdim * DYNAMIC**2, 1)
    )


def each_by_its_own(x: Tensor, kernels: Tensor) -> Tensor:
    """Convolve every channel of every picture by its own kernel: B,C,H,W and B*C,1,k,k -> B,C,H,W."""
    planes = x.reshape(1, -1, *x.shape[2:])
    return F.conv2d(planes, kernels, padding="same", groups=len(kernels)).reshape(x.shape)


def symmetric(kernel: Tensor) -> Tensor:
    """The mean of a kernel's eight turned and mirrored forms: O,I,k,k -> O,I,k,k."""
    kernel = (kernel + kernel.mT) / 2
    kernel = (kernel + kernel.flip(2)) / 2
    return (kernel + kernel.flip(3)) / 2


def reflected(x: Tensor, axis: int, multiple: int) -> Tensor:
    """Continue x at the end by its reflection to the next multiple, and by that one's where it is too short."""
    size = x.shape[axis]
    wanted = size + -size % multiple
    if wanted == size:
        return x
    places = torch.arange(wanted, device=x.device) % max(1, 2 * size - 2)
    return x.index_select(axis, torch.minimum(places, 2 * size - 2 - places).clamp(min=0))


def exactly(layer: nn.Module, x: Tensor) -> Tensor:
    """`layer(x)` in the type of the layer's weights, under autocast too: bfloat16 would round pixels to half levels."""
    device = x.device.type
    with torch.autocast(device, enabled=False) if torch.amp.is_autocast_available(device) else nullcontext():
        result: Tensor = layer(x.to(next(layer.parameters()).dtype))
    return result


def check(dim: int, pdim: int, kernel_size: int, num_heads: int) -> None:
    """Raises OptionError, naming what to set, for options that do not fit together."""
    if pdim > dim:
        raise OptionError(f"pdim = {pdim} is more than the dim = {dim} channels there are; set one of them")
    if pdim < 4:
        raise OptionError(f"pdim = {pdim} is too few for the layer that makes kernels; set it to 4 or more")
    if dim % num_heads:
        raise OptionError(f"dim = {dim} is no multiple of num_heads = {num_heads}; set one of them")
    if kernel_size % 2 == 0 or kernel_size < DYNAMIC:
        raise OptionError(f"kernel_size = {kernel_size} must be odd and {DYNAMIC} or more")


def conv(channels_in: int, channels_out: int) -> nn.Conv2d:
    return nn.Conv2d(channels_in, channels_out, 3, padding=1)
