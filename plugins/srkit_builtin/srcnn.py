"""SRCNN: Dong et al., Image Super-Resolution Using Deep Convolutional Networks, TPAMI 2016 (ECCV 2014)."""

from typing import Annotated, Literal

from annotated_types import Gt
from torch import Tensor, nn

from srkit_builtin import luma
from srkit_builtin.edsr import exactly

F1, F3 = 9, 5  # sides of the first and the last layer's filters, in the paper's letters
INITIAL_STD = 0.001


class SRCNN(nn.Module):
    """RGB `B,3,H,W` float in [0, 1] -> `B,3,scale*H,scale*W`, not clipped.

    Three convolutions restore the luma of the bicubic enlargement; colour is that of the enlargement. The
    defaults are the paper's 9-1-5 with 64 and 32 filters, 8,032 weights; `f2=5` is its 9-5-5 with 57,184.
    The edge is repeated before each convolution, as the authors' test code does.
    """

    def __init__(
        self,
        scale: int,
        *,
        f2: Annotated[Literal[1, 3, 5], "side of the second layer's filters"] = 1,
        n1: Annotated[int, Gt(0), "filters of the first layer"] = 64,
        n2: Annotated[int, Gt(0), "filters of the second layer"] = 32,
    ):
        super().__init__()
        self.scale = scale
        self.extract = conv(1, n1, F1)
        self.map = conv(n1, n2, f2)
        self.reconstruct = conv(n2, 1, F3)
        self.relu = nn.ReLU(inplace=True)

    def forward(self, lr: Tensor) -> Tensor:
        enlarged = luma.enlarge(lr, self.scale)
        before = luma.luma(enlarged)
        after = exactly(self.reconstruct, self.relu(self.map(self.relu(self.extract(before)))))
        return luma.add_to_luma(enlarged, after - before)


def conv(channels_in: int, channels_out: int, kernel: int) -> nn.Conv2d:
    """With the paper's start (section 3.3): narrow Gaussian weights, no bias."""
    made = nn.Conv2d(channels_in, channels_out, kernel, padding=kernel // 2, padding_mode="replicate")
    nn.init.normal_(made.weight, std=INITIAL_STD)
    assert made.bias is not None
    nn.init.zeros_(made.bias)
    return made


def receptive_field(scale: int, *, f2: int, **_: object) -> int:
    """LR pixels to each side that can change an output pixel."""
    return luma.receptive_field(scale, F1 // 2 + f2 // 2 + F3 // 2)
