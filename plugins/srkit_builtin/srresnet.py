"""SRResNet: Ledig et al., Photo-Realistic Single Image Super-Resolution Using a GAN, CVPR 2017, figure 4.

The authors published no code. Where the paper is silent this follows the PyTorch implementations: one
slope to each PReLU, and no bias in a convolution that batch normalisation follows.
"""

from typing import Annotated

from annotated_types import Gt
from torch import Tensor, nn

from srkit_builtin.edsr import exactly, factors


class SRResNet(nn.Module):
    """RGB `B,3,H,W` float in [0, 1] -> `B,3,scale*H,scale*W`, not clipped. scale: a power of two, or 3.

    The defaults are the paper's 16 blocks of 64 channels, 1.5 M parameters at x4. Inside, as there, LR is
    in [0, 1] and SR in [-1, 1]; nothing bounds it, since figure 4 ends in a convolution.
    """

    def __init__(
        self,
        scale: int,
        *,
        n_resblocks: Annotated[int, Gt(0), "residual blocks in the trunk"] = 16,
        n_feats: Annotated[int, Gt(0), "channels in the trunk"] = 64,
    ):
        super().__init__()
        self.head = nn.Sequential(nn.Conv2d(3, n_feats, 9, padding=4), nn.PReLU())
        self.body = nn.Sequential(*(NormalisedBlock(n_feats) for _ in range(n_resblocks)), *normalised(n_feats))
        steps = (m for s in factors(scale) for m in upsampled(n_feats, s))
        self.tail = nn.Sequential(*steps, nn.Conv2d(n_feats, 3, 9, padding=4))

    def forward(self, lr: Tensor) -> Tensor:
        features = self.head(lr)
        *upsample, last = self.tail
        x = features + self.body(features)
        for layer in upsample:
            x = layer(x)
        sr = exactly(last, x)  # B,C,H,W -> B,3,s*H,s*W
        return (sr + 1) / 2


class NormalisedBlock(nn.Module):
    """conv, batch normalisation, PReLU, conv, batch normalisation, added to the input."""

    def __init__(self, n_feats: int):
        super().__init__()
        self.body = nn.Sequential(*normalised(n_feats), nn.PReLU(), *normalised(n_feats))

    def forward(self, x: Tensor) -> Tensor:
        residual: Tensor = self.body(x)
        return x + residual


def normalised(n_feats: int) -> list[nn.Module]:
    return [nn.Conv2d(n_feats, n_feats, 3, padding=1, bias=False), nn.BatchNorm2d(n_feats)]


def upsampled(n_feats: int, factor: int) -> list[nn.Module]:
    return [nn.Conv2d(n_feats, n_feats * factor**2, 3, padding=1), nn.PixelShuffle(factor), nn.PReLU()]


def receptive_field(scale: int, *, n_resblocks: int, **_: object) -> int:
    """LR pixels to each side that can change an output pixel.

    Four of the first 9x9, one of each 3x3 up to the first upsampling; what follows reaches two further. At x1 there is
    no upsampling, and the last 9x9 reaches four further.
    """
    return 4 + 2 * n_resblocks + 1 + (4 if scale == 1 else 1 + 2)
