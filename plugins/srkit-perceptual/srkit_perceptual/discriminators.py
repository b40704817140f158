"""Discriminators: `B,3,H,W` in [0, 1] to a map of logits, high where the picture looks real."""

from itertools import pairwise

from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils.parametrizations import spectral_norm

from srkit import UsageError

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


def normed_conv(channels_in: int, channels_out: int) -> nn.Module:
    return spectral_norm(nn.Conv2d(channels_in, channels_out, 3, padding=1, bias=False))
