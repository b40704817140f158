"""CATANet: Liu et al., Efficient Content-Aware Token Aggregation for Lightweight Image Super-Resolution, CVPR 2025.

Put together and named as in the authors' code, parameters and buffers, so that state dicts load in both directions.
A token is the features of one pixel. The first values of linear layers are drawn by timm.
"""

from contextlib import AbstractContextManager, nullcontext
from typing import Annotated

import torch
from annotated_types import Ge, Gt, Lt, MinLen
from timm.layers import trunc_normal_
from torch import Tensor, nn
from torch.nn import functional as F

from srkit import OptionError

OVERLAP = 2  # pixels that neighbouring windows of local attention share


class CATANet(nn.Module):
    """RGB `B,3,H,W` float in [0, 1] -> `B,3,scale*H,scale*W`, not clipped, of any height and width.

    The defaults are the authors' CATANet-L. num_tokens, group_size and patch_size have one number for each
    residual group. Raises OptionError for options that do not fit together.
    """

    def __init__(
        self,
        scale: int,
        *,
        dim: Annotated[int, Gt(0), "channels in the trunk"] = 40,
        qk_dim: Annotated[int, Gt(0), "channels of queries and keys"] = 36,
        mlp_dim: Annotated[int, Gt(0), "channels of the hidden layers"] = 96,
        heads: Annotated[int, Gt(0), "attention heads"] = 4,
        num_tokens: Annotated[list[int], MinLen(1), "centres that tokens are grouped by"] = [16, 32, 64, 128] * 2,
        group_size: Annotated[list[int], MinLen(1), "tokens in a subgroup of like content"] = [256, 128, 64, 32] * 2,
        patch_size: Annotated[list[int], MinLen(1), "side of a window in pixels"] = [16, 20, 24, 28] * 2,
        n_iter: Annotated[int, Gt(0), "times the centres are moved in a step of training"] = 5,
        ema_decay: Annotated[float, Ge(0), Lt(1), "part of a centre that a step of training keeps"] = 0.999,
    ):
        super().__init__()
        check(dim, qk_dim, heads, num_tokens, group_size, patch_size)
        self.scale = scale
        self.first_conv = conv(3, dim)
        self.blocks = nn.ModuleList(
            nn.ModuleList(
                [
                    TokenAggregation(dim, qk_dim, mlp_dim, heads, tokens, group, n_iter, ema_decay),
                    LocalAttention(dim, qk_dim, mlp_dim, heads, side),
                ]
            )
            for tokens, group, side in zip(num_tokens, group_size, patch_size, strict=True)
        )
        self.mid_convs = nn.ModuleList(conv(dim, dim) for _ in num_tokens)
        if scale == 4:
            self.upconv1, self.upconv2 = conv(dim, 4 * dim), conv(dim, 4 * dim)
        else:
            self.upconv = conv(dim, scale**2 * dim)
        self.last_conv = conv(dim, 3)
        self.apply(initialise)

    def forward(self, lr: Tensor) -> Tensor:
        first = self.first_conv(lr)
        x = first
        for (tokens, local), mid in zip(self.blocks, self.mid_convs, strict=True):
            x = x + mid(local(tokens(x)))
        x = x + first
        for layer in [self.upconv1, self.upconv2] if self.scale == 4 else [self.upconv]:
            x = F.pixel_shuffle(layer(x), 2 if self.scale == 4 else self.scale)
            x = F.leaky_relu(x, 0.1)
        with full_precision(x):  # near 1, bfloat16 would round pixels to half levels
            x = self.last_conv(x.to(self.last_conv.weight.dtype))
            return x + F.interpolate(lr, scale_factor=self.scale, mode="bilinear")


class TokenAggregation(nn.Module):
    """Sort tokens by the centre they are most like, attend within subgroups and to all centres: B,C,H,W.

    The centres are those of all training pictures, `means`. A step of training moves them among the tokens of its
    batch and mixes the result into `means`; the first such step, before which `initted` is False, sets them.
    """

    def __init__(
        self, dim: int, qk_dim: int, mlp_dim: int, heads: int, num_tokens: int, group: int, n_iter: int, decay: float
    ):
        super().__init__()
        self.n_iter, self.decay = n_iter, decay
        self.norm = nn.LayerNorm(dim)
        self.mlp = PreNorm(dim, ConvFFN(dim, mlp_dim))
        self.irca_attn = Centres(dim, qk_dim, heads)
        self.iasa_attn = SubgroupAttention(dim, qk_dim, heads, group)
        self.register_buffer("means", torch.randn(num_tokens, dim))
        self.register_buffer("initted", torch.tensor(False))
        self.conv1x1 = nn.Conv2d(dim, dim, 1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        normed = self.norm(x.flatten(2).mT)  # B,C,H,W -> B,H*W,C
        centres = self.moved(normed) if self.training else self.means
        order = nearest(normed, centres).argsort(dim=-1, stable=True)
        y = self.iasa_attn(normed, order, *self.irca_attn(centres.to(normed.dtype)))
        x = x + self.conv1x1(y.mT.reshape(x.shape))
        if self.training:
            self.remember(centres.detach())
        result: Tensor = x + self.mlp(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)
        return result

    def moved(self, tokens: Tensor) -> Tensor:
        """The centres after `n_iter` times: each token to the nearest, each centre to the middle of its own; M,C.

        tokens: B,N,C. The last time has a gradient. Where there are none yet, they begin as the means of M stretches.
        """
        tokens = at_least_float32(tokens)
        with torch.no_grad():
            count, size = len(self.means), tokens.shape[1]
            stretches = continued(tokens, size + count - size % count).unflatten(1, (count, -1))
            centres = torch.where(self.initted, self.means.to(tokens.dtype), stretches.mean((0, 2)))
            for _ in range(self.n_iter - 1):
                centres = middles(tokens, centres)
        return middles(tokens, centres)

    def remember(self, centres: Tensor) -> None:
        mixed = self.decay * self.means + (1 - self.decay) * centres
        self.means.copy_(torch.where(self.initted, mixed, centres))
        self.initted.fill_(True)


class Centres(nn.Module):
    """Keys and values of the centres, for attention across groups: M,C -> heads,M,qk_dim/heads and heads,M,C/heads."""

    def __init__(self, dim: int, qk_dim: int, heads: int):
        super().__init__()
        self.heads = heads
        self.to_k = nn.Linear(dim, qk_dim, bias=False)
        self.to_v = nn.Linear(dim, dim, bias=False)

    def forward(self, centres: Tensor) -> tuple[Tensor, Tensor]:
        return by_head(self.to_k(centres), self.heads), by_head(self.to_v(centres), self.heads)


class Attention(nn.Module):
    """Attention of all tokens to all: B,N,C."""

    def __init__(self, dim: int, qk_dim: int, heads: int):
        super().__init__()
        self.heads = heads
        self.to_q = nn.Linear(dim, qk_dim, bias=False)
        self.to_k = nn.Linear(dim, qk_dim, bias=False)
        self.to_v = nn.Linear(dim, dim, bias=False)
        self.proj = nn.Linear(dim, dim, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = (by_head(layer(x), self.heads) for layer in (self.to_q, self.to_k, self.to_v))
        result: Tensor = self.proj(attend(q, k, v).transpose(1, 2).flatten(2))
        return result


class SubgroupAttention(Attention):
    """Attention in the order of likeness: a subgroup to itself and the next, and to all centres (intra-group).

    x: B,N,C; order: B,N, which token is first, second, ...; the keys and values of the centres as `Centres` gives them.
    """

    def __init__(self, dim: int, qk_dim: int, heads: int, group: int):
        super().__init__(dim, qk_dim, heads)
        self.group = group

    def forward(self, x: Tensor, order: Tensor, centre_keys: Tensor, centre_values: Tensor) -> Tensor:
        batch, count, channels = x.shape
        size = min(count, self.group)
        groups = -(-count // size)
        ordered = x.gather(1, order[..., None].expand_as(x))
        ordered = continued(ordered, (groups + 1) * size)  # for the last subgroup, and for the one next to it
        q = self.to_q(ordered[:, : groups * size])
        # B,N,C -> B*groups,heads,2*size,C/heads
        k, v = (
            by_head(layer(ordered).unfold(1, 2 * size, size).mT.flatten(0, 1), self.heads)
            for layer in (self.to_k, self.to_v)
        )
        within = attend(by_head(q.reshape(batch * groups, size, -1), self.heads), k, v)
        within = within.transpose(1, 2).reshape(batch, groups * size, channels)
        to_centres = attend(
            by_head(q, self.heads), centre_keys.expand(batch, -1, -1, -1), centre_values.expand(batch, -1, -1, -1)
        )
        y = self.proj(within + to_centres.transpose(1, 2).flatten(2))[:, :count]
        return torch.zeros_like(y).scatter(1, order[..., None].expand_as(y), y)


class LocalAttention(nn.Module):
    """Attention in windows of `side` pixels that overlap, whose mean is taken where they do: B,C,H,W."""

    def __init__(self, dim: int, qk_dim: int, mlp_dim: int, heads: int, side: int):
        super().__init__()
        self.side = side
        self.layer = nn.ModuleList([PreNorm(dim, Attention(dim, qk_dim, heads)), PreNorm(dim, ConvFFN(dim, mlp_dim))])

    def forward(self, x: Tensor) -> Tensor:
        attention, ffn = self.layer
        x = x.permute(0, 2, 3, 1)
        rows, columns = (places(size, self.side, x.device) for size in x.shape[1:3])
        # B,H,W,C -> B,windows down,side,windows across,side,C
        parts = x[:, rows.flatten()][:, :, columns.flatten()].unflatten(2, columns.shape).unflatten(1, rows.shape)
        parts = parts.transpose(2, 3)
        tokens = parts.flatten(3, 4).flatten(0, 2)
        tokens = tokens + attention(tokens)
        parts = tokens.reshape(parts.shape).transpose(2, 3)
        x = put_back(put_back(parts.flatten(3, 4).flatten(1, 2), columns, 2, x.shape[2]), rows, 1, x.shape[1])
        result: Tensor = (x + ffn(x)).permute(0, 3, 1, 2)
        return result


class PreNorm(nn.Module):
    """`fn` of the normalised channels, which come last."""

    def __init__(self, dim: int, fn: nn.Module):
        super().__init__()
        self.norm = nn.LayerNorm(dim)
        self.fn = fn

    def forward(self, x: Tensor) -> Tensor:
        result: Tensor = self.fn(self.norm(x))
        return result


class ConvFFN(nn.Module):
    """A hidden layer with a 5x5 convolution of each channel in it: B,H,W,C."""

    def __init__(self, dim: int, hidden: int):
        super().__init__()
        self.fc1 = nn.Linear(dim, hidden)
        depthwise = nn.Conv2d(hidden, hidden, 5, padding=2, groups=hidden)
        self.dwconv = nn.ModuleDict({"depthwise_conv": nn.Sequential(depthwise, nn.GELU())})
        self.fc2 = nn.Linear(hidden, dim)

    def forward(self, x: Tensor) -> Tensor:
        x = F.gelu(self.fc1(x))
        y = self.dwconv["depthwise_conv"](x.permute(0, 3, 1, 2))
        result: Tensor = self.fc2(x + y.permute(0, 2, 3, 1))
        return result


def likeness(tokens: Tensor, centres: Tensor) -> Tensor:
    """The cosine of each token and each centre: B,N,C and M,C -> B,N,M; in float32 at least, since it decides."""
    with full_precision(tokens):
        return F.normalize(at_least_float32(tokens), dim=-1) @ F.normalize(at_least_float32(centres), dim=-1).mT


def nearest(tokens: Tensor, centres: Tensor) -> Tensor:
    """Which centre each token is most like: B,N,C and M,C -> B,N."""
    with torch.no_grad():
        return likeness(tokens, centres).argmax(-1)


def middles(tokens: Tensor, centres: Tensor) -> Tensor:
    """Each centre moved to the direction of the tokens that are most like it, of length 1; one of none stays: M,C."""
    mine = nearest(tokens, centres).flatten()
    directions = F.normalize(tokens, dim=-1).flatten(0, 1)
    sums = torch.zeros_like(centres).index_add(0, mine, directions)
    used = torch.zeros(len(centres), dtype=torch.bool, device=mine.device).index_fill(0, mine, True)
    return torch.where(used[:, None], F.normalize(sums, dim=-1), F.normalize(centres, dim=-1))


def continued(tokens: Tensor, length: int) -> Tensor:
    """Lengthened at the end by its mirror image: B,N,C -> B,length,C."""
    count = tokens.shape[1]
    place = torch.arange(length, device=tokens.device)
    return tokens[:, torch.minimum(place, 2 * count - 1 - place).clamp(min=0)]


def places(size: int, side: int, device: torch.device) -> Tensor:
    """The pixels of each window along an axis of `size` pixels: windows,side. The last one ends where the axis does."""
    side = min(size, side)
    starts = range(0, size - side, max(1, side - OVERLAP))
    first = torch.tensor([*starts, size - side], device=device)
    return first[:, None] + torch.arange(side, device=device)


def put_back(x: Tensor, places: Tensor, axis: int, size: int) -> Tensor:
    """The mean, at each pixel along an axis, of all windows it lies in. x has them one after another."""
    shape = list(x.shape)
    shape[axis] = size
    place = places.flatten()
    sums = x.new_zeros(shape).index_add(axis, place, x)
    count = x.new_zeros(size).index_add(0, place, x.new_ones(len(place)))
    return sums / count.view(-1, *[1] * (x.ndim - 1 - axis))


def by_head(x: Tensor, heads: int) -> Tensor:
    """...,N,C -> ...,heads,N,C/heads."""
    return x.unflatten(-1, (heads, -1)).transpose(-2, -3)


def attend(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """B,heads,N,d; B,heads,M,d; B,heads,M,e -> B,heads,N,e.

    Filled with zeros to one width, since the kernels that keep no N,M matrix want that; of 8 channels on CUDA.
    """
    width = max(q.shape[-1], v.shape[-1])
    if q.is_cuda:
        width += -width % 8
    filled = (F.pad(x, (0, width - x.shape[-1])) for x in (q, k, v))
    return F.scaled_dot_product_attention(*filled, scale=q.shape[-1] ** -0.5)[..., : v.shape[-1]]


def at_least_float32(x: Tensor) -> Tensor:
    return x.to(torch.promote_types(x.dtype, torch.float32))


def full_precision(x: Tensor) -> AbstractContextManager[object]:
    device = x.device.type
    return torch.autocast(device, enabled=False) if torch.amp.is_autocast_available(device) else nullcontext()


def initialise(module: nn.Module) -> None:
    """The authors' start for linear layers; torch already does the rest as they do."""
    if isinstance(module, nn.Linear):
        trunc_normal_(module.weight, std=0.02)
        if module.bias is not None:
            nn.init.zeros_(module.bias)


def check(
    dim: int, qk_dim: int, heads: int, num_tokens: list[int], group_size: list[int], patch_size: list[int]
) -> None:
    """Raises OptionError, naming what to set, for options that do not fit together."""
    for name, value in (("dim", dim), ("qk_dim", qk_dim)):
        if value % heads:
            raise OptionError(f"{name} = {value} is no multiple of heads = {heads}; set one of them")
    lists = {"num_tokens": num_tokens, "group_size": group_size, "patch_size": patch_size}
    if len({len(each) for each in lists.values()}) > 1:
        told = ", ".join(f"{name} has {len(each)}" for name, each in lists.items())
        raise OptionError(f"each residual group wants one number of each list: {told}")
    for name, each in lists.items():
        least = OVERLAP + 1 if name == "patch_size" else 1
        if min(each) < least:
            raise OptionError(f"{name} = {each} must all be {least} or more")


def conv(channels_in: int, channels_out: int) -> nn.Conv2d:
    return nn.Conv2d(channels_in, channels_out, 3, padding=1)
