"""Losses on the pixels themselves: Charbonnier, Fourier, SSIM. Inputs: `B,3,H,W` float in [0, 1]."""

from collections.abc import Callable
from typing import Annotated

import torch
from annotated_types import Gt
from kornia.metrics import ssim
from torch import Tensor, nn

from srkit import UsageError

WINDOW = 11  # with kornia's sigma of 1.5, K1 = 0.01 and K2 = 0.03: the window of srkit's metric


class Charbonnier(nn.Module):
    """Mean of sqrt((sr - hr)^2 + eps^2): like L1 far from zero, like L2 near it. `eps` for identical images.

    Source: Lai et al., Deep Laplacian Pyramid Networks, CVPR 2017, the loss function (eps = 1e-3).
    """

    def __init__(
        self, *, eps: Annotated[float, Gt(0), "where it bends from L2 to L1, in units of the pixel range"] = 1e-3
    ):
        super().__init__()
        self.eps = eps

    def forward(self, sr: Tensor, hr: Tensor) -> Tensor:
        return ((sr - hr) ** 2 + self.eps**2).sqrt().mean()


def fft_loss() -> Callable[[Tensor, Tensor], Tensor]:
    return fft


def fft(sr: Tensor, hr: Tensor) -> Tensor:
    """Mean absolute difference of the real and imaginary parts of the 2-D Fourier transforms, per channel.

    The transform is orthonormal (divided by sqrt(H*W)), so that the loss does not grow with the patch;
    the source leaves it unnormalised. The mean goes over the whole spectrum, both halves.
    Source: Cho et al., Rethinking Coarse-to-Fine Approach in Single Image Deblurring, ICCV 2021, the MSFR loss.
    """
    return torch.view_as_real(torch.fft.fft2(sr - hr, norm="ortho")).abs().mean()


def ssim_loss() -> Callable[[Tensor, Tensor], Tensor]:
    return one_minus_ssim


def one_minus_ssim(sr: Tensor, hr: Tensor) -> Tensor:
    """1 - mean SSIM per channel over the valid region: Gaussian window 11x11, sigma 1.5, data range 1.

    Raises UsageError where a patch is smaller than the window.
    Source: Wang et al., Image quality assessment, 2004.
    """
    if min(hr.shape[-2:]) < WINDOW:
        raise UsageError(f"loss 'ssim' needs HR patches of at least {WINDOW} pixels, not {min(hr.shape[-2:])}")
    return 1 - ssim(sr, hr, WINDOW, padding="valid").mean()
