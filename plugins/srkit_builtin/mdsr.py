"""MDSR: one network for several scales; Lim et al., CVPRW 2017, section 3.3.

Parameter names and numerics are those of the authors' PyTorch code, as in `edsr.py`: `pre_process.{i}` and
`upsample.{i}` belong to the i-th of the scales the network was built for, the rest to all of them.
"""

from collections.abc import Sequence
from typing import Annotated

from annotated_types import Gt
from torch import Tensor, nn

from srkit import UsageError
from srkit_builtin import edsr
from srkit_builtin.edsr import PIXEL_RANGE, MeanShift, ResBlock, Upsampler, conv, exactly

PRE_PROCESS_KERNEL = 5


class MDSR(nn.Module):
    """`net(lr, scale)`: RGB `B,3,H,W` float in [0, 1] -> `B,3,scale*H,scale*W`, not clipped.

    The defaults are the paper's baseline (16 blocks of 64 channels, 3.2 M parameters for x2, x3 and x4);
    its large model has 80 blocks. Raises UsageError when called with a scale it was not built for.
    """

    def __init__(
        self,
        scales: Sequence[int],
        *,
        n_resblocks: Annotated[int, Gt(0), "residual blocks in the shared trunk"] = 16,
        n_feats: Annotated[int, Gt(0), "channels in the trunk"] = 64,
    ):
        super().__init__()
        self.scales = tuple(scales)
        self.sub_mean = MeanShift(-1)
        self.add_mean = MeanShift(+1)
        self.head = nn.Sequential(conv(3, n_feats))
        self.pre_process = nn.ModuleList(
            nn.Sequential(*(ResBlock(n_feats, kernel=PRE_PROCESS_KERNEL) for _ in range(2))) for _ in scales
        )
        self.body = nn.Sequential(*(ResBlock(n_feats) for _ in range(n_resblocks)), conv(n_feats, n_feats))
        self.upsample = nn.ModuleList(Upsampler(scale, n_feats) for scale in scales)
        self.tail = nn.Sequential(conv(n_feats, 3))

    def forward(self, lr: Tensor, scale: int) -> Tensor:
        if scale not in self.scales:
            raise UsageError(f"this MDSR was built for {' and '.join(f'x{s}' for s in self.scales)}, not x{scale}")
        place = self.scales.index(scale)
        features = self.pre_process[place](exactly(self.head, exactly(self.sub_mean, lr * PIXEL_RANGE)))
        sr = exactly(self.tail, self.upsample[place](features + self.body(features)))  # B,C,H,W -> B,3,s*H,s*W
        return exactly(self.add_mean, sr) / PIXEL_RANGE


def receptive_field(scale: int, *, n_resblocks: int, **_: object) -> int:
    """LR pixels to each side that can change an output pixel: EDSR's, and a scale's own four 5x5 convolutions."""
    return edsr.receptive_field(scale, n_resblocks=n_resblocks) + 4 * (PRE_PROCESS_KERNEL // 2)
