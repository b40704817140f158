"""The wavelet loss: L1 in the sub-bands of a stationary wavelet transform, each with a weight."""

from typing import Annotated

import pywt
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from srkit import UsageError

LUMA = (65.481, 128.553, 24.966)  # of BT.601 in 16..235, less the 16, which no difference sees


class Wavelet(nn.Module):
    """Sum over LL, LH, HL and HH of weight times the mean absolute difference of the luma's sub-band, not decimated.

    sr, hr: B,3,H,W float in [0, 1]. Luma is in 16..235 and the low-pass filter has a sum of 1, as in the source, so
    that its weights hold beside an L1 of weight 1. Colour is not seen. The picture goes on periodically at its borders.
    Source: Korkmaz and Tekalp, Training Transformer Models by Wavelet Losses Improves Quantitative and Visual
    Performance in Single Image Super-Resolution, CVPRW 2024, and their code (github.com/mandalinadagi/Wavelettention).
    WGSR, of CVPR 2024, is wavelet = "sym7" with bands = [0.1, 0.01, 0.01, 0.05].
    """

    def __init__(
        self,
        *,
        wavelet: Annotated[str, "a discrete wavelet of PyWavelets: haar, db4, sym7, sym19"] = "sym19",
        bands: Annotated[tuple[float, float, float, float], "of LL, LH, HL and HH"] = (0.05, 0.025, 0.025, 0.02),
    ):
        super().__init__()
        if wavelet not in pywt.wavelist(kind="discrete"):
            raise UsageError(
                f"loss 'wavelet': PyWavelets has no discrete wavelet '{wavelet}'; pywt.wavelist() lists them"
            )
        self.bands = bands
        filters = pywt.Wavelet(wavelet)
        low, high = (torch.tensor(f, dtype=torch.float64).flip(0) for f in (filters.dec_lo, filters.dec_hi))
        self.register_buffer("filters", torch.stack([low / low.sum(), high]).float()[:, None], persistent=False)
        self.register_buffer("luma", torch.tensor(LUMA).view(1, 3, 1, 1), persistent=False)

    def forward(self, sr: Tensor, hr: Tensor) -> Tensor:
        # The transform is linear, so the sub-bands of the difference are the differences of the sub-bands.
        found = self.sub_bands(((sr - hr) * self.luma).sum(1, keepdim=True))
        return torch.stack([weight * band.abs().mean() for weight, band in zip(self.bands, found, strict=True)]).sum()

    def sub_bands(self, luma: Tensor) -> list[Tensor]:
        """B,1,H,W -> LL, LH, HL, HH, each B,H,W. Raises UsageError for a patch that the filter is too long for."""
        length = self.filters.shape[-1]
        if min(luma.shape[-2:]) < length // 2:
            raise UsageError(
                f"loss 'wavelet' with a filter of {length} needs HR patches of at least {length // 2} pixels, "
                f"not {min(luma.shape[-2:])}; raise patch, or take a shorter wavelet"
            )
        before, after = length // 2 - 1, length - length // 2
        across = F.conv2d(F.pad(luma, (before, after, 0, 0), mode="circular"), self.filters[:, :, None])  # B,2,H,W
        padded = F.pad(across, (0, 0, before, after), mode="circular")
        both = F.conv2d(padded, self.filters[..., None].repeat(2, 1, 1, 1), groups=2)  # B,4,H,W
        return list(both.unbind(1))
