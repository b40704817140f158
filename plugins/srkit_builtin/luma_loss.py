"""Mean absolute error of luma: what protocol `y` scores."""

from torch import Tensor, nn
from torch.nn import functional as F

from srkit_builtin.luma import luma


class LumaL1(nn.Module):
    """sr, hr: B,3,H,W in [0, 1] -> the mean difference of their Y, a scalar; 219/255 for black against white.

    Y is that of BT.601's YCbCr, as MATLAB's `rgb2ycbcr` has it and protocol `y` scores it, not rounded. It says nothing
    of colour, so it stands beside a loss that does.
    """

    def forward(self, sr: Tensor, hr: Tensor) -> Tensor:
        return F.l1_loss(luma(sr), luma(hr))
