"""VDSR: Kim et al., Accurate Image Super-Resolution Using Very Deep Convolutional Networks, CVPR 2016."""

from collections.abc import Sequence
from typing import Annotated

import torch
from annotated_types import Ge, Gt
from torch import Tensor, nn
from torch.nn import functional as F

from srkit_builtin import luma
from srkit_builtin.edsr import exactly


class VDSR(nn.Module):
    """`net(lr, scale)`: RGB `B,3,H,W` float in [0, 1] -> `B,3,scale*H,scale*W`, not clipped.

    Learns what the bicubic enlargement's luma lacks; colour is that of the enlargement. The same 665 k
    parameters serve every scale (section 3.2 of the paper): `scales` says only which it is trained for.
    Convolutions have no bias, as their 665 k say.
    """

    def __init__(
        self,
        scales: Sequence[int],
        *,
        depth: Annotated[int, Ge(2), "convolutions"] = 20,
        n_feats: Annotated[int, Gt(0), "channels between them"] = 64,
    ):
        super().__init__()
        first = FirstConv(1, n_feats, 3, padding=1, bias=False)
        middle = [nn.Conv2d(n_feats, n_feats, 3, padding=1, bias=False) for _ in range(depth - 2)]
        convs = [first, *middle, nn.Conv2d(n_feats, 1, 3, padding=1, bias=False)]
        for conv in convs:
            nn.init.kaiming_normal_(conv.weight, nonlinearity="relu")
        hidden = (m for conv in convs[:-1] for m in (conv, nn.ReLU(inplace=True)))
        self.body = nn.Sequential(*hidden, convs[-1])

    def forward(self, lr: Tensor, scale: int) -> Tensor:
        enlarged = luma.enlarge(lr, scale)
        *hidden, last = self.body
        x = luma.luma(enlarged)
        for layer in hidden:
            x = layer(x)
        return luma.add_to_luma(enlarged, exactly(last, x))


class FirstConv(nn.Conv2d):
    """A convolution of one channel that adds in the same order whatever the size of the picture."""

    def forward(self, y: Tensor) -> Tensor:
        # With weights in channels_last, torch has two ways on a CPU, by size, and tiles would differ in the last bit.
        weight = self.weight.clone(memory_format=torch.contiguous_format)
        return F.conv2d(y, weight, self.bias, padding=self.padding)


def receptive_field(scale: int, *, depth: int, **_: object) -> int:
    """LR pixels to each side that can change an output pixel."""
    return luma.receptive_field(scale, depth)
