"""The consistency loss: lightness that is right at a distance, and colour that is right at every pixel."""

from typing import Annotated

import torch
from annotated_types import Ge
from kornia.filters import gaussian_blur2d
from torch import Tensor, nn
from torch.nn import functional as F

from srkit import UsageError

LEAST = 1 / 255  # below it a cube root would magnify what nobody sees
WINDOW, SIGMA = 21, 3.0  # of the blur before lightness is compared
# Linear sRGB to the cones' answers, and their cube roots to a and b: Ottosson, A perceptual color space, 2020.
TO_CONES = (
    (0.4122214708, 0.5363325363, 0.0514459929),
    (0.2119034982, 0.6806995451, 0.1073969566),
    (0.0883024619, 0.2817188376, 0.6299787005),
)
TO_AB = ((1.9779984951, -2.4285922050, 0.4505937099), (0.0259040371, 0.7827717662, -0.8086757660))
TO_Y = (0.2126, 0.7152, 0.0722)  # linear sRGB to CIE Y
DARK = 216 / 24389  # Y up to which CIE's L* is linear


class Consistency(nn.Module):
    """luma * mean |difference of L* / 100| of the blurred pictures + chroma * mean |difference of Oklab's a and b|.

    sr, hr: B,3,H,W float in [0, 1], clipped to [1/255, 1]: a pixel outside has no gradient, so keep a pixel loss beside
    it. Source: `consistency_loss` of neosr (github.com/neosr-project/neosr), without its factors for saturation and
    brightness and its cosine term, which is at most 1e-3 there; dark pixels by CIE's own formula of L*.
    """

    def __init__(
        self,
        *,
        luma: Annotated[float, Ge(0), "weight of lightness"] = 1.0,
        chroma: Annotated[float, Ge(0), "weight of colour"] = 1.0,
        blur: Annotated[bool, "blur before lightness is compared (21x21, sigma 3): detail is left alone"] = True,
    ):
        super().__init__()
        self.weights, self.blur = (luma, chroma), blur
        for name, table in (("to_cones", TO_CONES), ("to_ab", TO_AB), ("to_y", (TO_Y,))):
            self.register_buffer(name, torch.tensor(table)[..., None, None], persistent=False)  # as 1x1 convolutions

    def forward(self, sr: Tensor, hr: Tensor) -> Tensor:
        if self.blur and min(hr.shape[-2:]) <= WINDOW // 2:
            raise UsageError(
                f"loss 'consistency' needs HR patches of more than {WINDOW // 2} pixels, not {min(hr.shape[-2:])}; "
                "raise patch or set blur = false"
            )
        sr, hr = (picture.clamp(LEAST, 1) for picture in (sr, hr))
        lightness, colour = F.l1_loss(self.lightness(sr), self.lightness(hr)), F.l1_loss(self.ab(sr), self.ab(hr))
        return self.weights[0] * lightness + self.weights[1] * colour

    def lightness(self, picture: Tensor) -> Tensor:
        """B,3,H,W sRGB -> B,1,H,W: L* / 100."""
        if self.blur:
            picture = gaussian_blur2d(picture, (WINDOW, WINDOW), (SIGMA, SIGMA), border_type="reflect")
        y = F.conv2d(linear(picture), self.to_y)
        return torch.where(y <= DARK, y / DARK * 8, 116 * y ** (1 / 3) - 16) / 100

    def ab(self, picture: Tensor) -> Tensor:
        """B,3,H,W sRGB -> B,2,H,W: Oklab's a (green to red) and b (blue to yellow)."""
        return F.conv2d(F.conv2d(linear(picture), self.to_cones) ** (1 / 3), self.to_ab)


def linear(picture: Tensor) -> Tensor:
    """sRGB to linear light."""
    return torch.where(picture <= 0.04045, picture / 12.92, ((picture + 0.055) / 1.055) ** 2.4)
