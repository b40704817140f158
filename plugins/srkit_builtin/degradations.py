"""Steps from HR to LR, in any order and number: blur, resize, noise, sharpening; in linear light where wanted.

Each is called with `image`, B,3,H,W float in [0, 1], LR's size and the scale, and draws anew for each picture; kinds
and factors of a resize for each call. Source of the kernels, noises and defaults: Real-ESRGAN, as in `realistic`.
"""

import math
from collections.abc import Callable, Sequence
from typing import Annotated, Literal

import torch
from annotated_types import Ge, Gt, Le
from torch import Tensor, nn
from torch.nn import functional as F

from srkit import OptionError, imresize_torch
from srkit_builtin.blur_kernels import REACH, random_kernels, random_sinc
from srkit_builtin.realistic import (
    KERNEL_WEIGHTS,
    Probability,
    Range,
    Six,
    Three,
    amount,
    blurred,
    gaussian_noise,
    poisson_noise,
    poisson_table,
    sharpened,
)

Four = tuple[float, float, float, float]
Size = tuple[int, int]
KINDS = ("area", "bilinear", "bicubic", "lanczos")
LinearLight = Annotated[bool, "computed on light, not on sRGB's values"]


class Blur(nn.Module):
    """A kernel of 7 to 21 pixels, another for each picture; the edges are mirrored."""

    def __init__(
        self,
        *,
        kernel_prob: Annotated[
            Six, "weights of Gaussian, generalised Gaussian and plateau kernels, each isotropic, then anisotropic"
        ] = KERNEL_WEIGHTS,
        sinc_prob: Annotated[Probability, "probability of a sinc kernel instead, which rings"] = 0.1,
        sigma: Annotated[Range, "deviation of the kernels, in pixels"] = (0.2, 3.0),
        pixels: Annotated[Literal["image", "lr"], "whose pixels: the picture's as it is, or LR's"] = "image",
        betag: Annotated[Range, "exponent of the generalised Gaussian kernels"] = (0.5, 4.0),
        betap: Annotated[Range, "exponent of the plateau kernels"] = (1.0, 2.0),
        size: Annotated[tuple[int, int], "smallest and largest side of a kernel, odd"] = (7, 2 * REACH + 1),
        linear: LinearLight = False,
    ):
        super().__init__()
        for name, values in (("sigma", sigma), ("betag", betag), ("betap", betap)):
            check_range("blur", name, values, 0, math.inf)
        check_range("blur", "size", size, 1, 2 * REACH + 1)
        if size[0] % 2 == 0 or size[1] % 2 == 0:
            raise OptionError(f"degradation 'blur': size = {list(size)}: two odd numbers are wanted")
        check_weights("blur", "kernel_prob", kernel_prob)
        self.kernel_prob, self.sinc_prob, self.sigma, self.pixels = kernel_prob, sinc_prob, sigma, pixels
        self.betag, self.betap, self.linear = betag, betap, linear
        self.sizes = torch.arange(size[0], size[1] + 1, 2)

    def forward(self, image: Tensor, size: Size, scale: int) -> Tensor:
        unit = image.shape[-1] / size[1] if self.pixels == "lr" else 1.0
        sigma = (unit * self.sigma[0], unit * self.sigma[1])
        kernels = random_kernels(
            len(image), self.kernel_prob, self.sinc_prob, sigma, self.betag, self.betap, sizes=self.sizes
        )
        return in_light(image, lambda light: blurred(light, kernels), self.linear)


class Resize(nn.Module):
    """To LR's size, or enlarged or reduced by a random factor, to a size in whole pixels.

    Lanczos, and the mean of areas, always smooth what they leave out; the others do with `antialias`.
    """

    def __init__(
        self,
        *,
        to: Annotated[Literal["lr", "factor"], "LR's size, or a random factor"] = "lr",
        of: Annotated[Literal["image", "hr", "lr"], "whose size the factor is of; image: as it is so far"] = "image",
        factor: Annotated[Range, "smallest and largest factor"] = (0.5, 1.5),
        way_prob: Annotated[Three, "weights of enlarging, reducing, keeping"] = (0.2, 0.7, 0.1),
        kind_prob: Annotated[Four, "weights of area, bilinear, bicubic, Lanczos"] = (1, 1, 1, 1),
        antialias: Annotated[bool, "bilinear and bicubic smooth what they leave out"] = True,
        sinc_prob: Annotated[Probability, "probability that a sinc filter follows, which rings"] = 0.0,
        linear: LinearLight = False,
    ):
        super().__init__()
        check_range("resize", "factor", factor, 1e-3, 8)
        check_weights("resize", "way_prob", way_prob)
        check_weights("resize", "kind_prob", kind_prob)
        self.to_lr, self.of, self.factor, self.way_prob = to == "lr", of, factor, way_prob
        self.kind_prob, self.antialias, self.sinc_prob, self.linear = kind_prob, antialias, sinc_prob, linear

    def forward(self, image: Tensor, size: Size, scale: int) -> Tensor:
        kind, target = KINDS[drawn(self.kind_prob)], self.target(image, size, scale)
        image = in_light(image, lambda light: resized(light, target, kind, antialias=self.antialias), self.linear)
        return blurred(image, random_sinc(len(image), self.sinc_prob)).clamp(0, 1) if self.sinc_prob else image

    def target(self, image: Tensor, size: Size, scale: int) -> Size:
        if self.to_lr:
            return size
        here = (image.shape[-2], image.shape[-1])
        base = {"image": here, "hr": (scale * size[0], scale * size[1]), "lr": size}[self.of]
        (low, high), way = self.factor, drawn(self.way_prob)
        first, last = (max(low, 1.0), max(high, 1.0)) if way == 0 else (min(low, 1.0), min(high, 1.0))
        factor = first + (last - first) * torch.rand(()).item() if way < 2 else 1.0
        return max(1, int(base[0] * factor)), max(1, int(base[1] * factor))


class Noise(nn.Module):
    """Gaussian or Poisson noise, in colour or gray."""

    photons: Tensor

    def __init__(
        self,
        *,
        gaussian_prob: Annotated[Probability, "probability of Gaussian noise; else Poisson"] = 0.5,
        sigma: Annotated[Range, "deviation of Gaussian noise, of 255"] = (1.0, 30.0),
        poisson: Annotated[Range, "factor on Poisson noise"] = (0.05, 3.0),
        gray_prob: Annotated[Probability, "probability that noise is gray"] = 0.4,
        linear: LinearLight = False,
    ):
        super().__init__()
        check_range("noise", "sigma", sigma, 0, math.inf)
        check_range("noise", "poisson", poisson, 0, math.inf)
        self.gaussian_prob, self.sigma, self.poisson = gaussian_prob, sigma, poisson
        self.gray_prob, self.linear = gray_prob, linear
        self.register_buffer("photons", poisson_table(), persistent=False)

    def forward(self, image: Tensor, size: Size, scale: int) -> Tensor:
        return in_light(image, self.noisy, self.linear)

    def noisy(self, image: Tensor) -> Tensor:
        gray = torch.rand(len(image), 1, 1, 1) < self.gray_prob
        image = image.clamp(0, 1)
        if torch.rand(()) < self.gaussian_prob:
            noise = gaussian_noise(image, amount(image, self.sigma) / 255, gray)
        else:
            noise = poisson_noise(image, amount(image, self.poisson), gray, self.photons)
        return (image + noise).clamp(0, 1)


class Sharpen(nn.Module):
    """An unsharp mask, where a pixel differs from its blur by more than a threshold: halos, as cameras draw them."""

    def __init__(
        self,
        *,
        weight: Annotated[Range, "of what the blur takes away, which is added"] = (0.2, 1.0),
        radius: Annotated[int, Gt(0), "reach of the blur in pixels"] = 25,
        threshold: Annotated[float, Ge(0), Le(255), "difference, of 255, below which nothing changes"] = 10.0,
    ):
        super().__init__()
        check_range("sharpen", "weight", weight, 0, math.inf)
        self.weight, self.radius, self.threshold = weight, radius, threshold

    def forward(self, image: Tensor, size: Size, scale: int) -> Tensor:
        weights = amount(image, self.weight).flatten().tolist()
        parts = zip(image.clamp(0, 1).split(1), weights, strict=True)
        return torch.cat([sharpened(part, weight, self.radius, self.threshold / 255) for part, weight in parts])


def resized(image: Tensor, size: Size, kind: str, *, antialias: bool) -> Tensor:
    """image: B,3,H,W -> B,3,*size in [0, 1]."""
    if image.shape[-2:] == torch.Size(size):
        return image
    if kind == "area":
        return F.interpolate(image, size=size, mode="area")
    if kind == "lanczos":
        return imresize_torch(image, size=size, method="lanczos3").clamp(0, 1)
    return F.interpolate(image, size=size, mode=kind, antialias=antialias).clamp(0, 1)


def in_light(image: Tensor, change: Callable[[Tensor], Tensor], linear: bool) -> Tensor:
    """`change` of an image; `linear`: of the light that its sRGB values stand for."""
    return from_light(change(to_light(image))) if linear else change(image)


def to_light(values: Tensor) -> Tensor:
    """sRGB's values as light, both in [0, 1]: IEC 61966-2-1."""
    values = values.clamp(0, 1)
    return torch.where(values <= 0.04045, values / 12.92, ((values + 0.055) / 1.055) ** 2.4)


def from_light(light: Tensor) -> Tensor:
    """Light as sRGB's values, both in [0, 1]."""
    light = light.clamp(0, 1)
    return torch.where(light <= 0.0031308, 12.92 * light, 1.055 * light.clamp(min=0.0031308) ** (1 / 2.4) - 0.055)


def drawn(weights: Sequence[float]) -> int:
    """An index, drawn in proportion to the weights."""
    return int(torch.multinomial(torch.tensor(weights, dtype=torch.float64), 1))


def check_range(owner: str, name: str, values: Sequence[float], lowest: float, highest: float) -> None:
    """OptionError, naming the option, for what is no range of numbers between these."""
    low, high = values
    if not lowest <= low <= high <= highest or math.isinf(high):
        above = "" if math.isinf(highest) else f", at most {highest:g}"
        wanted = f"two numbers, the smaller first, at least {lowest:g}{above}"
        raise OptionError(f"degradation '{owner}': {name} = {list(values)}: {wanted}")


def check_weights(owner: str, name: str, weights: Sequence[float]) -> None:
    """OptionError, naming the option, for weights that choose nothing."""
    if not (all(0 <= weight < math.inf for weight in weights) and sum(weights) > 0):
        raise OptionError(
            f"degradation '{owner}': {name} = {list(weights)}: weights that are not negative, and not all 0, are wanted"
        )
