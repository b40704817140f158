"""LDL: an L1 that counts where the picture in training looks like artifacts rather than detail."""

from typing import Annotated

import torch
from annotated_types import Ge
from torch import Tensor, nn
from torch.nn import functional as F

from srkit import UsageError

TINY = 1e-12  # under the root: its gradient at identical pictures is 0, not NaN


class LDL(nn.Module):
    """Mean of map * |sr - hr|, where the map is the local variance of the residual times a root of its whole variance.

    sr, hr: B,3,H,W float in [0, 1]. The residual is summed over the channels, and gradients go through the map, both as
    in the authors' code (github.com/csjliang/LDL). Source: Liang et al., Details or Artifacts: A Locally Discriminative
    Learning Approach to Realistic Image Super-Resolution, CVPR 2022, equations 3 to 5.
    """

    def __init__(self, window: int):
        super().__init__()
        self.window = window

    def forward(self, sr: Tensor, hr: Tensor) -> Tensor:
        return weighted(self.artifacts(sr, hr), sr, hr)

    def artifacts(self, sr: Tensor, hr: Tensor) -> Tensor:
        """B,1,H,W: how much each pixel looks like an artifact."""
        residual = (hr - sr).abs().sum(1, keepdim=True)
        whole = (residual.var((1, 2, 3), keepdim=True) + TINY) ** 0.2
        return whole * local_variance(residual, self.window)


class RefinedLDL(LDL):
    """Where the average of the weights errs more than the network in training, the map is 0. Equation 6."""

    def forward(self, sr: Tensor, hr: Tensor, *, average: Tensor) -> Tensor:
        better = (hr - sr).abs().sum(1, keepdim=True) < (hr - average).abs().sum(1, keepdim=True)
        return weighted(self.artifacts(sr, hr).masked_fill(better, 0), sr, hr)


def ldl(
    *,
    refine: Annotated[bool, "leave out pixels where the average of the weights (ema) errs more, as published"] = True,
    window: Annotated[int, Ge(3), "side of the window of local variance in pixels, odd"] = 7,
) -> LDL:
    if window % 2 == 0:
        raise UsageError(f"loss 'ldl': window is an odd number of pixels, not {window}")
    return (RefinedLDL if refine else LDL)(window)


def weighted(weights: Tensor, sr: Tensor, hr: Tensor) -> Tensor:
    return F.l1_loss(weights * sr, weights * hr)


def local_variance(residual: Tensor, window: int) -> Tensor:
    """B,1,H,W -> the unbiased variance around each pixel, mirrored at the borders.

    Raises UsageError where a patch is too small to be mirrored.
    """
    side = window // 2
    if min(residual.shape[-2:]) <= side:
        raise UsageError(f"loss 'ldl' needs HR patches of more than {side} pixels, not {min(residual.shape[-2:])}")
    padded = F.pad(residual, (side,) * 4, mode="reflect")
    windows = padded.unfold(2, window, 1).unfold(3, window, 1)  # B,1,H,W,window,window
    return torch.var(windows, dim=(-2, -1))
