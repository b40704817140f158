"""Named protocols: what is done to an SR and an HR picture before a metric sees them.

Every printed or saved figure carries the name of its protocol; figures of two protocols are not comparable.
"""

from dataclasses import dataclass

import numpy as np

from srkit.errors import UnknownName, did_you_mean

DEFAULT = "y"


@dataclass(frozen=True)
class Protocol:
    """colour: "y" or "rgb". border: pixels cropped from each side, beyond `scale` where `border` says so."""

    name: str
    summary: str
    colour: str = "y"
    round_luma: bool = False
    extra_border: int = 0

    def border(self, scale: int) -> int:
        return scale + self.extra_border

    def apply(self, sr: np.ndarray, hr: np.ndarray, scale: int) -> tuple[np.ndarray, np.ndarray]:
        """uint8 H,W,3 pictures -> what the metric compares: float64 in [0, 255], H,W for luma, H,W,3 for RGB.

        Luma is ITU-R BT.601's, 16..235, as MATLAB's rgb2ycbcr computes it.
        """
        return self.one(sr, scale), self.one(hr, scale)

    def one(self, image: np.ndarray, scale: int) -> np.ndarray:
        border = self.border(scale)
        image = image[border:-border, border:-border].astype(np.float64)
        if self.colour == "rgb":
            return image
        # In this order: with weights divided first, rounding gives other integers for some pixels.
        y = 16 + (65.481 * image[..., 0] + 128.553 * image[..., 1] + 24.966 * image[..., 2]) / 255
        return np.round(y) if self.round_luma else y


PROTOCOLS = {
    p.name: p
    for p in (
        Protocol("y", "luma of the 8-bit picture, not rounded; scale pixels cropped: the published tables"),
        Protocol("y-uint8", "luma rounded to 8 bits; scale pixels cropped", round_luma=True),
        Protocol("rgb", "all three channels; scale pixels cropped", colour="rgb"),
        Protocol(
            "div2k", "all three channels; scale + 6 pixels cropped: EDSR's validation", colour="rgb", extra_border=6
        ),
    )
}


def protocol_named(name: str) -> Protocol:
    if name not in PROTOCOLS:
        raise UnknownName(f"no protocol called '{name}'{did_you_mean(name, PROTOCOLS)}")
    return PROTOCOLS[name]
