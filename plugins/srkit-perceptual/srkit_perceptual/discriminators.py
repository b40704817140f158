"""Discriminators: `B,3,H,W` in [0, 1] to logits, of any shape, high where the picture looks real."""

from itertools import pairwise

import timm
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils.parametrizations import spectral_norm

from srkit import UsageError
from srkit_perceptual.perceptual import feature_net

SLOPE = 0.2  # of every leaky ReLU, in both sources


class UNet(nn.Module):
    """A logit for each pixel, B,1,H,W: down three times, up again over additive skips, spectral norm inside.

    H and W: multiples of 8. Source: Wang et al., Real-ESRGAN, ICCVW 2021, section 3.4.
    """

    def __init__(self, num_feat: int):
        super().__init__()
        widths = [num_feat * 2**level for level in range(4)]
        self.first = nn.Conv2d(3, num_feat, 3, padding=1)
        self.down = nn.ModuleList(
            spectral_norm(nn.Conv2d(a, b, 4, stride=2, padding=1, bias=False)) for a, b in pairwise(widths)
        )
        self.up = nn.ModuleList(normed_conv(a, b) for a, b in pairwise(widths[::-1]))
        self.refine = nn.ModuleList(normed_conv(num_feat, num_feat) for _ in range(2))
        self.last = nn.Conv2d(num_feat, 1, 3, padding=1)

    def forward(self, picture: Tensor) -> Tensor:
        if any(side % 8 for side in picture.shape[-2:]):
            raise UsageError(
                f"discriminator 'unet' needs HR patches whose side is a multiple of 8, not {picture.shape[-1]}; "
                "set patch so that patch times scale is one"
            )
        x = F.leaky_relu(self.first(picture), SLOPE)
        skips = []
        for conv in self.down:
            skips.append(x)
            x = F.leaky_relu(conv(x), SLOPE)  # B,C,H,W -> B,2C,H/2,W/2
        for conv in self.up:
            x = F.interpolate(x, scale_factor=2, mode="bilinear", align_corners=False)
            x = F.leaky_relu(conv(x), SLOPE) + skips.pop()  # B,C,H,W -> B,C/2,2H,2W
        for conv in self.refine:
            x = F.leaky_relu(conv(x), SLOPE)
        return self.last(x)


class Patch(nn.Sequential):
    """A logit for each overlapping patch, 70x70 pixels with three strided layers (PatchGAN).

    Instance norm rather than the paper's batch norm, as in the authors' CycleGAN: a picture is judged by itself
    and judging changes no statistics. H and W: at least 3 * 2^num_layers.
    Source: Isola et al., Image-to-Image Translation with Conditional Adversarial Networks, CVPR 2017, section 3.2.2.
    """

    def __init__(self, num_feat: int, num_layers: int):
        widths = [num_feat * min(2**level, 8) for level in range(num_layers + 1)]
        layers: list[nn.Module] = [nn.Conv2d(3, num_feat, 4, stride=2, padding=1), nn.LeakyReLU(SLOPE)]
        for level, (a, b) in enumerate(pairwise(widths), 1):
            stride = 2 if level < num_layers else 1
            layers += [nn.Conv2d(a, b, 4, stride, padding=1), nn.InstanceNorm2d(b), nn.LeakyReLU(SLOPE)]
        super().__init__(*layers, nn.Conv2d(widths[-1], 1, 4, padding=1))
        self.least = 3 * 2**num_layers

    def forward(self, picture: Tensor) -> Tensor:
        if min(picture.shape[-2:]) < self.least:
            raise UsageError(
                f"discriminator 'patch' needs HR patches of at least {self.least} pixels, "
                f"not {min(picture.shape[-2:])}; raise patch or lower num_layers"
            )
        return super().forward(picture)


class Projected(nn.Module):
    """Logits of the features of a frozen, trained network, mixed by random convolutions that are not trained; B,N.

    One small discriminator for each of the layers, of strided spectral-norm convolutions down to the same size. As the
    authors' code with cross-scale mixing, but that a picture is judged at its own size rather than at 224, without
    random changes, and with group norm, which that code offers, so that it is judged by itself. The network is no part
    of the state; the random convolutions are.
    Source: Sauer et al., Projected GANs Converge Faster, NeurIPS 2021, section 3.

    num_feat: channels of the shallowest mixed features; each deeper one has twice as many. backbone, layers,
    pretrained: as `Perceptual` has them.
    """

    def __init__(self, num_feat: int, backbone: str, layers: tuple[int, ...], pretrained: bool | str):
        super().__init__()
        net = feature_net(backbone, layers, pretrained).requires_grad_(False).eval()
        data = timm.data.resolve_model_data_config(net)
        net.pretrained_cfg = net.default_cfg = None  # it may hold a copy of all weights
        self.apart = (net,)  # in a tuple, so that it is no part of the state
        self.mean, self.std = (torch.tensor(data[word]).view(1, 3, 1, 1) for word in ("mean", "std"))
        widths = [num_feat * 2**level for level in range(len(layers))]
        mixed = [widths[0], *widths[:-1]]  # channels after the mixing of scales
        self.channels = nn.ModuleList(
            nn.Conv2d(a, b, 1) for a, b in zip(net.feature_info.channels(), widths, strict=True)
        )
        self.scales = nn.ModuleList(nn.Conv2d(a, b, 1) for a, b in zip(widths, mixed, strict=True))
        for each in (*self.channels, *self.scales):
            each.requires_grad_(False)
        self.heads = nn.ModuleList(head([mixed[i], *widths[i:]]) for i in range(len(widths)))
        self.least = 4 * net.feature_info.reduction()[-1]

    def forward(self, picture: Tensor) -> Tensor:
        if min(picture.shape[-2:]) < self.least:
            raise UsageError(
                f"discriminator 'projected' needs HR patches of at least {self.least} pixels with these layers, not "
                f"{min(picture.shape[-2:])}; raise patch or leave out the deepest layer"
            )
        net = self.apart[0].to(picture.device)
        features = net((picture - self.mean.to(picture.device)) / self.std.to(picture.device))
        features = [mix(feature) for mix, feature in zip(self.channels, features, strict=True)]
        logits, below = [], torch.zeros((), device=picture.device)
        for level in reversed(range(len(features))):
            x = features[level] + below
            size = features[level - 1].shape[-2:] if level else [2 * side for side in x.shape[-2:]]
            below = self.scales[level](F.interpolate(x, size=size, mode="bilinear", align_corners=True))
            logits.append(self.heads[level](below).flatten(1))
        return torch.cat(logits[::-1], 1)

    def requires_grad_(self, requires_grad: bool = True) -> "Projected":
        """Of the heads: nothing else is ever trained."""
        self.heads.requires_grad_(requires_grad)
        return self


def head(widths: list[int]) -> nn.Module:
    """A strided convolution from each width to the next, then a logit for each 4x4 window."""
    layers: list[nn.Module] = []
    for a, b in pairwise(widths):
        conv = spectral_norm(nn.Conv2d(a, b, 4, stride=2, padding=1))
        layers += [conv, nn.GroupNorm(b // 2 if b % 2 == 0 else 1, b), nn.LeakyReLU(SLOPE)]
    return nn.Sequential(*layers, spectral_norm(nn.Conv2d(widths[-1], 1, 4, bias=False)))


def normed_conv(channels_in: int, channels_out: int) -> nn.Module:
    return spectral_norm(nn.Conv2d(channels_in, channels_out, 3, padding=1, bias=False))
