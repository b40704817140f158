"""1 - MS-SSIM: structural similarity at several sizes, by the window of srkit's metric."""

from typing import Annotated

import torch
from annotated_types import Ge, Le
from torch import Tensor, nn
from torch.nn import functional as F

from srkit import UsageError

WEIGHTS = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)  # of the levels, the finest first; their sum is 1.0001
WINDOW, SIGMA = 11, 1.5
C1, C2 = 0.01**2, 0.03**2  # for values in [0, 1]
LEAST = 1e-6  # of what is raised to a power: at 0 and below the gradient would not be finite


class MSSSIM(nn.Module):
    """1 - the product over levels of (contrast and structure) ^ weight, of the coarsest level SSIM ^ weight.

    sr, hr: B,3,H,W float in [0, 1]; the mean over pictures and channels. A level is half as large as the one before, by
    means of 2x2. With less than five levels the weights of those that are left are divided by their sum. A factor that
    is not positive, as of inverted pictures, counts as 1e-6 and has no gradient: keep a pixel loss beside it.
    Source: Wang et al., Multiscale structural similarity for image quality assessment, Asilomar 2003.
    """

    def __init__(
        self,
        *,
        levels: Annotated[
            int | None,
            Ge(1),
            Le(5),
            "sizes to compare at; not said: as many of the five as a patch has room for",
        ] = None,
    ):
        super().__init__()
        self.levels = levels
        offsets = torch.arange(WINDOW) - WINDOW // 2
        window = torch.exp(-(offsets**2) / (2 * SIGMA**2))
        self.register_buffer("window", window / window.sum(), persistent=False)

    def forward(self, sr: Tensor, hr: Tensor) -> Tensor:
        levels = self.levels_of(min(hr.shape[-2:]))
        chosen = WEIGHTS[:levels]
        total = 1.0 if levels == len(WEIGHTS) else sum(chosen)
        product: Tensor | float = 1.0
        for level, weight in enumerate(chosen, 1):
            whole, contrast = self.similarity(sr, hr)  # each B,3
            factor = whole if level == levels else contrast
            product = product * factor.clamp(min=LEAST) ** (weight / total)
            odd = [side % 2 for side in hr.shape[-2:]]
            sr, hr = (F.avg_pool2d(picture, 2, padding=odd) for picture in (sr, hr))
        return 1 - torch.as_tensor(product).mean()

    def levels_of(self, side: int) -> int:
        """How many levels patches of this side are compared at. Raises UsageError where one has no room."""
        room = max((level for level in range(1, len(WEIGHTS) + 1) if side > (WINDOW - 1) * 2 ** (level - 1)), default=0)
        wanted = self.levels or max(room, 1)
        if wanted > room:
            least = (WINDOW - 1) * 2 ** (wanted - 1) + 1
            fewer = f", or set levels = {room}" if room else ""
            raise UsageError(
                f"loss 'ms-ssim' with {wanted} level{'s' if wanted > 1 else ''} needs HR patches of at least {least} "
                f"pixels, not {side}; raise patch{fewer}"
            )
        return wanted

    def similarity(self, sr: Tensor, hr: Tensor) -> tuple[Tensor, Tensor]:
        """SSIM, and its contrast and structure alone: each B,3, the mean over the valid region."""
        a, b, aa, bb, ab = (self.blurred(x) for x in (sr, hr, sr * sr, hr * hr, sr * hr))
        contrast = (2 * (ab - a * b) + C2) / (aa - a * a + bb - b * b + C2)
        luminance = (2 * a * b + C1) / (a * a + b * b + C1)
        return (luminance * contrast).mean((2, 3)), contrast.mean((2, 3))

    def blurred(self, picture: Tensor) -> Tensor:
        """B,3,H,W -> B,3,H-10,W-10."""
        channels = picture.shape[1]
        across = self.window.expand(channels, 1, 1, -1)
        return F.conv2d(F.conv2d(picture, across, groups=channels), across.mT, groups=channels)
