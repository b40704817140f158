"""SwinIR: Liang et al., SwinIR: Image Restoration Using Swin Transformer, ICCVW 2021.

Attention, window cutting, MLP and stochastic depth are timm's; what is here puts them together under
the parameter and buffer names of the authors' code, so that state dicts load in both directions.
"""

from collections.abc import Iterator
from contextlib import nullcontext
from typing import Annotated, Any, Literal

import torch
from annotated_types import Ge, Gt, Lt, MinLen
from timm.layers import DropPath, Mlp, trunc_normal_
from timm.models.swin_transformer import WindowAttention, window_partition, window_reverse
from torch import Tensor, nn

from srkit import OptionError, UsageError

DIV2K_MEAN = (0.4488, 0.4371, 0.4040)  # RGB, in [0, 1]
UPSAMPLER_FEATS = 64  # channels of the upsampler of "pixelshuffle"; the authors never vary it
MASKED = -100.0  # added to a logit: exp(-100) vanishes in a float32 sum, as the authors' code has it


class SwinIR(nn.Module):
    """RGB `B,3,H,W` float in [0, 1] -> `B,3,scale*H,scale*W`, not clipped. H, W: multiples of `window_size`.

    The defaults are the paper's lightweight model; its classical one is the preset `swinir-classic`.
    scale: 3 or a power of two. Raises OptionError for options that do not fit together, and UsageError
    when called with a size that windows do not fill.
    """

    def __init__(
        self,
        scale: int,
        *,
        embed_dim: Annotated[int, Gt(0), "channels in the trunk"] = 60,
        depths: Annotated[list[int], MinLen(1), "attention blocks in each residual group"] = [6, 6, 6, 6],  # noqa: B006
        num_heads: Annotated[list[int], MinLen(1), "attention heads in each residual group"] = [6, 6, 6, 6],  # noqa: B006
        window_size: Annotated[Literal[4, 8], "side of an attention window in pixels"] = 8,
        mlp_ratio: Annotated[float, Gt(0), "width of a block's MLP, as a multiple of embed_dim"] = 2.0,
        drop_path_rate: Annotated[float, Ge(0), Lt(1), "chance that training skips the last block; less before"] = 0.1,
        upsampler: Annotated[
            Literal["pixelshuffledirect", "pixelshuffle"], "one convolution, or the classical chain of them"
        ] = "pixelshuffledirect",
    ):
        super().__init__()
        if len(depths) != len(num_heads) or min(depths + num_heads) < 1:
            raise OptionError(f"depths = {depths} and num_heads = {num_heads} must be as long, and all above 0")
        for heads in num_heads:
            if embed_dim % heads:
                raise OptionError(f"embed_dim = {embed_dim} is no multiple of num_heads = {heads}; set one of them")
        self.window_size = window_size
        self.register_buffer("mean", torch.tensor(DIV2K_MEAN).view(1, 3, 1, 1), persistent=False)

        total = sum(depths)
        rates = iter([drop_path_rate * i / max(1, total - 1) for i in range(total)])
        self.conv_first = conv(3, embed_dim)
        self.patch_embed = nn.ModuleDict({"norm": nn.LayerNorm(embed_dim)})
        self.layers = nn.Sequential(
            *(
                ResidualGroup(embed_dim, heads, window_size, mlp_ratio, [next(rates) for _ in range(depth)])
                for depth, heads in zip(depths, num_heads, strict=True)
            )
        )
        self.norm = nn.LayerNorm(embed_dim)
        self.conv_after_body = conv(embed_dim, embed_dim)
        if upsampler == "pixelshuffle":
            self.conv_before_upsample = nn.Sequential(conv(embed_dim, UPSAMPLER_FEATS), nn.LeakyReLU(inplace=True))
            self.upsample = nn.Sequential(
                *(
                    m
                    for s in factors(scale)
                    for m in (conv(UPSAMPLER_FEATS, UPSAMPLER_FEATS * s * s), nn.PixelShuffle(s))
                )
            )
            self.conv_last = conv(UPSAMPLER_FEATS, 3)
        else:
            self.conv_before_upsample = nn.Identity()
            self.upsample = nn.Sequential(conv(embed_dim, 3 * scale**2), nn.PixelShuffle(scale))
            self.conv_last = nn.Identity()
        self.apply(initialise)

    def forward(self, lr: Tensor) -> Tensor:
        height, width = lr.shape[-2:]
        if height % self.window_size or width % self.window_size:
            raise UsageError(
                f"SwinIR attends in windows of {self.window_size} pixels, which do not fill {width}x{height}; "
                f"give it multiples of {self.window_size} (in training: --set patch=48)"
            )
        first = self.conv_first(lr - self.mean)
        x = self.patch_embed["norm"](first.permute(0, 2, 3, 1))  # B,C,H,W -> B,H,W,C
        x = self.norm(self.layers(x)).permute(0, 3, 1, 2)
        x = self.conv_before_upsample(first + self.conv_after_body(x))
        if isinstance(self.conv_last, nn.Identity):
            return exactly(self.upsample, x) + self.mean  # B,C,H,W -> B,3,s*H,s*W
        return exactly(self.conv_last, self.upsample(x)) + self.mean


def exactly(layer: nn.Module, x: Tensor) -> Tensor:
    """`layer(x)` in the type of the layer's weights, under autocast too: bfloat16 would round pixels to half levels."""
    device = x.device.type
    with torch.autocast(device, enabled=False) if torch.amp.is_autocast_available(device) else nullcontext():
        result: Tensor = layer(x.to(next(layer.parameters()).dtype))
    return result


class ResidualGroup(nn.Module):
    """Attention blocks, windows shifted in every second one, then a convolution, added to the input: B,H,W,C."""

    def __init__(self, dim: int, heads: int, window: int, mlp_ratio: float, drop_path: list[float]):
        super().__init__()
        shifts = [window // 2 if i % 2 else 0 for i in range(len(drop_path))]
        blocks = (Block(dim, heads, window, shift, mlp_ratio, p) for shift, p in zip(shifts, drop_path, strict=True))
        self.residual_group = nn.ModuleDict({"blocks": nn.Sequential(*blocks)})
        self.conv = conv(dim, dim)

    def forward(self, x: Tensor) -> Tensor:
        y = self.residual_group["blocks"](x)
        return x + self.conv(y.permute(0, 3, 1, 2)).permute(0, 2, 3, 1)


class Block(nn.Module):
    """Attention in windows, then an MLP, each normalised before and added to its input: B,H,W,C (section 3.2).

    shift: by how many pixels the windows are moved down and right. Those at the picture's edges then hold
    pixels of two opposite sides, which a mask keeps from each other.
    """

    def __init__(self, dim: int, heads: int, window: int, shift: int, mlp_ratio: float, drop_path: float):
        super().__init__()
        self.window, self.shift = (window, window), shift
        self.norm1 = nn.LayerNorm(dim)
        self.attn = WindowAttention(dim, heads, window_size=window)
        self.attn.fused_attn = True  # off by default in timm; twice as fast here, and held to the authors' numbers
        # timm computes this one anew; the authors' files, and programs that recognise them by it, have it.
        self.attn.register_buffer("relative_position_index", self.attn.relative_position_index)
        self.drop_path = DropPath(drop_path)
        self.norm2 = nn.LayerNorm(dim)
        self.mlp = Mlp(dim, int(dim * mlp_ratio))
        self.register_buffer("attn_mask", masks(window, shift) if shift else None)
        self.register_load_state_dict_pre_hook(keep_mask)

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.drop_path(self.attend(self.norm1(x)))
        return x + self.drop_path(self.mlp(self.norm2(x)))

    def attend(self, x: Tensor) -> Tensor:
        _, height, width, _ = x.shape
        if self.shift:
            x = x.roll((-self.shift, -self.shift), (1, 2))
        windows = window_partition(x, self.window).flatten(1, 2)  # B,H,W,C -> B*windows,w*w,C
        windows = self.attn(windows, self.mask(height // self.window[0], width // self.window[1]))
        x = window_reverse(windows, self.window, height, width)
        return x.roll((self.shift, self.shift), (1, 2)) if self.shift else x

    def mask(self, rows: int, columns: int) -> Tensor | None:
        """The mask of each window of a picture of that many: rows*columns,w*w,w*w."""
        if self.attn_mask is None:
            return None
        last_row = torch.arange(rows, device=self.attn_mask.device) == rows - 1
        last_column = torch.arange(columns, device=self.attn_mask.device) == columns - 1
        return self.attn_mask[(2 * last_row[:, None] + last_column).flatten()]


def masks(window: int, shift: int) -> Tensor:
    """What to add to the logits of a picture of 2x2 shifted windows, 0 or MASKED: 4,w*w,w*w.

    These are all the kinds there are: inside, at the right edge, at the bottom, in the corner.
    """
    wrapped = torch.arange(2 * window) >= 2 * window - shift  # rows, or columns, that came from the other side
    side = (2 * wrapped[:, None] + wrapped).view(1, 2 * window, 2 * window, 1)
    side = window_partition(side, (window, window)).flatten(1)  # 4,w*w
    return MASKED * (side[:, :, None] != side[:, None, :]).float()


def keep_mask(block: nn.Module, state_dict: dict[str, Any], prefix: str, *_: object) -> None:
    """Load hook: a file's mask is the same constant for a picture of another size, so the block keeps its own."""
    if block.attn_mask is not None:
        state_dict[f"{prefix}attn_mask"] = block.attn_mask


def initialise(module: nn.Module) -> None:
    """The authors' start for linear layers; timm and torch already do the rest as they do."""
    if isinstance(module, nn.Linear):
        trunc_normal_(module.weight, std=0.02)
        nn.init.zeros_(module.bias)


def conv(channels_in: int, channels_out: int) -> nn.Conv2d:
    return nn.Conv2d(channels_in, channels_out, 3, padding=1)


def factors(scale: int) -> list[int]:
    """The upsampling steps of "pixelshuffle": one of 3, or of 2 each."""
    return [3] if scale == 3 else [2] * (scale.bit_length() - 1)


def receptive_field(scale: int, *, depths: list[int], window_size: int, upsampler: str, **_: object) -> int:
    """LR pixels to each side that can change an output pixel, exactly.

    Follows the pixels needed along one axis from the output back to the input, for each place an
    output pixel can have on the grid of windows.
    """
    reach = 0
    for pixel in range(scale * window_size):
        first = last = pixel
        for step, size in steps_back(scale, depths, window_size, upsampler):
            if step == "conv":
                first, last = first - 1, last + 1
            elif step == "shuffle":
                first, last = first // size, last // size
            else:  # windows shifted by `size`
                first = (first - size) // window_size * window_size + size
                last = (last - size) // window_size * window_size + size + window_size - 1
        reach = max(reach, pixel // scale - first, last - pixel // scale)
    return reach


def steps_back(scale: int, depths: list[int], window_size: int, upsampler: str) -> Iterator[tuple[str, int]]:
    """What mixes neighbouring pixels, from the output back to the input: (kind, its size)."""
    direct = upsampler == "pixelshuffledirect"
    if not direct:
        yield "conv", 3  # conv_last
    for factor in [scale] if direct else reversed(factors(scale)):
        yield "shuffle", factor
        yield "conv", 3
    if not direct:
        yield "conv", 3  # conv_before_upsample
    yield "conv", 3  # conv_after_body
    for depth in reversed(depths):
        yield "conv", 3
        for i in reversed(range(depth)):
            yield "windows", window_size // 2 if i % 2 else 0
    yield "conv", 3  # conv_first
