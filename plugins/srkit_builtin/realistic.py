"""LR made from HR with the degradations of photographs: blur, resizing, noise and compression, applied twice.

Source: Wang et al., Real-ESRGAN: Training Real-World Blind Super-Resolution with Pure Synthetic Data, ICCVW
2021. Defaults: options/train_realesrgan_x4plus.yml of github.com/xinntao/Real-ESRGAN, the same for x2; its
names are kept. Related: Zhang et al., BSRGAN, ICCV 2021.
"""

import io
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Annotated, Literal

import numpy as np
import torch
from annotated_types import Ge, Gt, Le
from kornia.color import rgb_to_grayscale
from kornia.enhance import jpeg_codec_differentiable
from kornia.filters import filter2d, filter2d_separable, get_gaussian_kernel1d
from PIL import Image
from torch import Tensor, nn
from torch.nn import functional as F

from srkit import Batch, OptionError
from srkit_builtin.blur_kernels import REACH, random_kernels, random_sinc

Range = tuple[float, float]
Six = tuple[float, float, float, float, float, float]
Three = tuple[float, float, float]
Probability = Annotated[float, Ge(0), Le(1)]

KERNEL_WEIGHTS: Six = (0.45, 0.25, 0.12, 0.03, 0.12, 0.03)
RESIZES = ("area", "bilinear", "bicubic")
MOST = 512  # larger than any count of photons, whose mean is at most 256


@dataclass(frozen=True)
class Order:
    """One of the two degradations: how it blurs, resizes, adds noise and compresses."""

    kernel_prob: Sequence[float]
    sinc_prob: float
    blur_sigma: Range
    betag_range: Range
    betap_range: Range
    resize_prob: Sequence[float]
    resize_range: Range
    gaussian_noise_prob: float
    noise_range: Range
    poisson_scale_range: Range
    gray_noise_prob: float
    jpeg_range: Range

    def eased(self, strength: float) -> "Order":
        """The same with every range brought nearer to no change at all."""

        def towards(none: float, values: Range) -> Range:
            low, high = (none + strength * (value - none) for value in values)
            return low, high

        return replace(
            self,
            sinc_prob=strength * self.sinc_prob,
            blur_sigma=towards(0, self.blur_sigma),
            resize_range=towards(1, self.resize_range),
            noise_range=towards(0, self.noise_range),
            poisson_scale_range=towards(0, self.poisson_scale_range),
            jpeg_range=towards(100, self.jpeg_range),
        )


class Realistic(nn.Module):
    """LR by the second-order degradation of Real-ESRGAN, from HR, which stays as it is (unless `sharpen`).

    blur, resize, noise, JPEG; blur, resize, noise; then, in either order, JPEG and a resize to LR's size with
    a sinc filter. What the recipe draws for each picture is drawn for each picture. What it draws once for a
    batch, most of it because the pictures of a batch have one size (factor and kind of each resize, kind of
    noise, whether to blur again, the last order), is drawn once for each `share` pictures; the recipe mixes
    its batches in a pool of 180 pairs instead, which a run that resumes exactly cannot have.

    Two more differences: a resize goes to a size in whole pixels rather than by a factor, which keeps LR and
    HR aligned; and where the recipe degrades 400 pixels and cuts 256 from their inside, a patch is degraded
    as it is, with its edges mirrored.
    """

    photons: Tensor

    def __init__(
        self,
        *,
        strength: Annotated[float, Ge(0), Le(1), "1 is the recipe; less brings every range nearer to no change"] = 1.0,
        share: Annotated[int, Gt(0), "pictures that share sizes and kinds; fewer is more varied and slower"] = 4,
        jpeg: Annotated[
            Literal["differentiable", "exact"], "kornia's JPEG on the device, or Pillow's on the CPU"
        ] = "differentiable",
        sharpen: Annotated[
            float, Ge(0), "weight of an unsharp mask on HR before all; the recipe has 0.5 for L1 and perceptual loss"
        ] = 0.0,
        kernel_prob: Annotated[
            Six, "weights of Gaussian, generalised Gaussian and plateau kernels, each isotropic, then anisotropic"
        ] = KERNEL_WEIGHTS,
        sinc_prob: Annotated[Probability, "probability of a sinc kernel instead"] = 0.1,
        blur_sigma: Annotated[Range, "deviation of the kernels in pixels"] = (0.2, 3.0),
        betag_range: Annotated[Range, "exponent of the generalised Gaussian kernels"] = (0.5, 4.0),
        betap_range: Annotated[Range, "exponent of the plateau kernels"] = (1.0, 2.0),
        resize_prob: Annotated[Three, "weights of enlarging, reducing, keeping"] = (0.2, 0.7, 0.1),
        resize_range: Annotated[Range, "smallest and largest factor, of HR's size"] = (0.15, 1.5),
        gaussian_noise_prob: Annotated[Probability, "probability of Gaussian noise; else Poisson"] = 0.5,
        noise_range: Annotated[Range, "deviation of Gaussian noise, of 255"] = (1.0, 30.0),
        poisson_scale_range: Annotated[Range, "factor on Poisson noise"] = (0.05, 3.0),
        gray_noise_prob: Annotated[Probability, "probability that noise is gray"] = 0.4,
        jpeg_range: Annotated[Range, "quality of JPEG"] = (30.0, 95.0),
        second_blur_prob: Annotated[Probability, "probability of the second blur"] = 0.8,
        kernel_prob2: Annotated[Six, "as kernel_prob, of the second degradation"] = KERNEL_WEIGHTS,
        sinc_prob2: Annotated[Probability, "as sinc_prob"] = 0.1,
        blur_sigma2: Annotated[Range, "as blur_sigma"] = (0.2, 1.5),
        betag_range2: Annotated[Range, "as betag_range"] = (0.5, 4.0),
        betap_range2: Annotated[Range, "as betap_range"] = (1.0, 2.0),
        resize_prob2: Annotated[Three, "as resize_prob"] = (0.3, 0.4, 0.3),
        resize_range2: Annotated[Range, "smallest and largest factor, of LR's size"] = (0.3, 1.2),
        gaussian_noise_prob2: Annotated[Probability, "as gaussian_noise_prob"] = 0.5,
        noise_range2: Annotated[Range, "as noise_range"] = (1.0, 25.0),
        poisson_scale_range2: Annotated[Range, "as poisson_scale_range"] = (0.05, 2.5),
        gray_noise_prob2: Annotated[Probability, "as gray_noise_prob"] = 0.4,
        jpeg_range2: Annotated[Range, "as jpeg_range"] = (30.0, 95.0),
        final_sinc_prob: Annotated[Probability, "probability of the last sinc filter"] = 0.8,
    ):
        super().__init__()
        first = Order(
            kernel_prob=kernel_prob,
            sinc_prob=sinc_prob,
            blur_sigma=blur_sigma,
            betag_range=betag_range,
            betap_range=betap_range,
            resize_prob=resize_prob,
            resize_range=resize_range,
            gaussian_noise_prob=gaussian_noise_prob,
            noise_range=noise_range,
            poisson_scale_range=poisson_scale_range,
            gray_noise_prob=gray_noise_prob,
            jpeg_range=jpeg_range,
        )
        second = Order(
            kernel_prob=kernel_prob2,
            sinc_prob=sinc_prob2,
            blur_sigma=blur_sigma2,
            betag_range=betag_range2,
            betap_range=betap_range2,
            resize_prob=resize_prob2,
            resize_range=resize_range2,
            gaussian_noise_prob=gaussian_noise_prob2,
            noise_range=noise_range2,
            poisson_scale_range=poisson_scale_range2,
            gray_noise_prob=gray_noise_prob2,
            jpeg_range=jpeg_range2,
        )
        check(first, "")
        check(second, "2")
        self.first, self.second = first.eased(strength), second.eased(strength)
        self.second_blur_prob, self.final_sinc_prob = second_blur_prob, strength * final_sinc_prob
        self.share, self.sharpen = share, sharpen
        self.jpeg = exact_jpeg if jpeg == "exact" else differentiable_jpeg
        self.register_buffer("photons", poisson_table(), persistent=False)

    @torch.no_grad()
    def forward(self, batch: Batch) -> Batch:
        hr = sharpened(batch.hr, self.sharpen) if self.sharpen else batch.hr
        size = (batch.lr.shape[-2], batch.lr.shape[-1])
        lr = torch.cat([self.degraded(part.float(), size) for part in hr.split(self.share)])
        return Batch(lr.to(batch.lr.dtype), hr)

    def degraded(self, hr: Tensor, size: tuple[int, int]) -> Tensor:
        """hr: B,3,H,W -> LR, B,3,*size, in 256 levels."""
        first, second = self.first, self.second
        image = blurred(hr, self.kernels(first, len(hr)))
        image = resized(image, hr.shape[-2:], first)
        image = self.noisy(image, first)
        image = self.compressed(image, first)

        if torch.rand(()) < self.second_blur_prob:
            image = blurred(image, self.kernels(second, len(hr)))
        image = resized(image, size, second)
        image = self.noisy(image, second)

        ringing = random_sinc(len(hr), self.final_sinc_prob)
        if torch.rand(()) < 0.5:
            image = blurred(to_size(image, size), ringing)
            image = self.compressed(image, second)
        else:
            image = self.compressed(image, second)
            image = blurred(to_size(image, size), ringing)
        return (255 * image).round().clamp(0, 255) / 255

    @staticmethod
    def kernels(order: Order, count: int) -> Tensor:
        return random_kernels(
            count, order.kernel_prob, order.sinc_prob, order.blur_sigma, order.betag_range, order.betap_range
        )

    def noisy(self, image: Tensor, order: Order) -> Tensor:
        """Gaussian or Poisson noise, in colour or gray."""
        gray = torch.rand(len(image), 1, 1, 1) < order.gray_noise_prob
        if torch.rand(()) < order.gaussian_noise_prob:
            noise = gaussian_noise(image, amount(image, order.noise_range) / 255, gray)
        else:
            noise = poisson_noise(image, amount(image, order.poisson_scale_range), gray, self.photons)
        return (image + noise).clamp(0, 1)

    def compressed(self, image: Tensor, order: Order) -> Tensor:
        return self.jpeg(image.clamp(0, 1), amount(image, order.jpeg_range).flatten())


def check(order: Order, suffix: str) -> None:
    """OptionError, naming the option, for a range that is none and for weights that choose nothing."""
    bounds = {
        "blur_sigma": (0, math.inf), "betag_range": (0, math.inf), "betap_range": (0, math.inf),
        "resize_range": (1e-3, 8), "noise_range": (0, math.inf), "poisson_scale_range": (0, math.inf),
        "jpeg_range": (1, 100),
    }  # fmt: skip
    for name, (lowest, highest) in bounds.items():
        low, high = getattr(order, name)
        if not lowest <= low <= high <= highest or math.isinf(high):
            above = "" if math.isinf(highest) else f", at most {highest}"
            wanted = f"two numbers, the smaller first, at least {lowest}{above}"
            raise OptionError(f"augmentation 'realistic': {name}{suffix} = {[low, high]}: {wanted}")
    for name in ("kernel_prob", "resize_prob"):
        weights = getattr(order, name)
        if not (all(0 <= weight < math.inf for weight in weights) and sum(weights) > 0):
            wanted = "weights are not negative, and not all 0"
            raise OptionError(f"augmentation 'realistic': {name}{suffix} = {list(weights)}: {wanted}")


def amount(image: Tensor, values: Range) -> Tensor:
    """B,1,1,1: a number from the range for each picture of `image`."""
    low, high = values
    return low + (high - low) * torch.rand(len(image), 1, 1, 1)


def blurred(image: Tensor, kernels: Tensor) -> Tensor:
    """image: B,3,H,W, of any size; kernels: B or 1,21,21. The edges are mirrored."""
    return filter2d(mirrored(image, REACH), kernels.to(image), padding="valid")


def mirrored(image: Tensor, margin: int) -> Tensor:
    """`image` continued by `margin` pixels to each side, mirrored at its edge pixels as often as needed."""
    for axis in (-2, -1):
        last = image.shape[axis] - 1
        at = torch.arange(-margin, last + margin + 1) % max(2 * last, 1)
        image = image.index_select(axis, torch.minimum(at, 2 * last - at).clamp(min=0).to(image.device))
    return image


def resized(image: Tensor, base: Sequence[int], order: Order) -> Tensor:
    """`image` enlarged, reduced or neither, to a random part of the size `base`."""
    low, high = order.resize_range
    way = int(torch.multinomial(torch.tensor(order.resize_prob, dtype=torch.float64), 1))
    span = (max(low, 1.0), max(high, 1.0)) if way == 0 else (min(low, 1.0), min(high, 1.0))
    factor = span[0] + (span[1] - span[0]) * torch.rand(()).item() if way < 2 else 1.0
    return to_size(image, [max(1, int(side * factor)) for side in base])


def to_size(image: Tensor, size: Sequence[int]) -> Tensor:
    """`image` resized in a random one of three ways, none of which smooths what it leaves out but "area"."""
    mode = RESIZES[int(torch.randint(len(RESIZES), ()))]
    if image.shape[-2:] == torch.Size(size):
        return image
    return F.interpolate(image, size=tuple(size), mode=mode)


def gaussian_noise(image: Tensor, sigma: Tensor, gray: Tensor) -> Tensor:
    """Noise for `image`, B,3,H,W. sigma: B,1,1,1, its deviation. gray: B,1,1,1 bool, the same in all channels."""
    noise = torch.randn(image.shape)
    return (sigma * torch.where(gray, noise[:, :1], noise)).to(image)


def poisson_noise(image: Tensor, scale: Tensor, gray: Tensor, table: Tensor) -> Tensor:
    """Shot noise for `image`, B,3,H,W in [0, 1]: (Poisson(n x) / n - x) * scale, x in 256 levels.

    n: the number of levels that occur in the picture, rounded up to a power of two, as in BasicSR and
    scikit-image. gray, B,1,1,1 bool: noise of the gray picture, in all channels. table: `poisson_table()`.
    """
    gray, scale, table = gray.to(image.device), scale.to(image), table.to(image.device)
    levels = (255 * torch.where(gray, rgb_to_grayscale(image), image)).round().clamp(0, 255).long()
    chance = torch.rand(image.shape)
    chance = torch.where(gray, chance[:, :1].to(image), chance.to(image))
    seen = torch.zeros(len(image), 256, dtype=torch.long, device=image.device).scatter_(1, levels.flatten(1), 1)
    exponent = (seen.sum(1, keepdim=True) > 2 ** torch.arange(8, device=image.device)).sum(1)[:, None, None, None]
    row = (256 * exponent + levels) * MOST
    count = torch.zeros_like(levels)
    step = MOST // 2
    while step:  # a binary search for how many entries of the row `chance` has reached
        count += step * (table.take(row + count + step - 1) <= chance)
        step //= 2
    return scale * (count / 2**exponent - levels / 255)


def poisson_table() -> Tensor:
    """9,256,MOST float32: P(count <= k) where the mean is level / 255 * 2**exponent.

    Looked up with a number drawn on the CPU it gives the same noise on every device; torch.poisson would not.
    """
    mean = (torch.arange(256, dtype=torch.float64) / 255 * 2 ** torch.arange(9)[:, None])[..., None]
    k = torch.arange(MOST, dtype=torch.float64)
    return (torch.xlogy(k, mean) - mean - torch.lgamma(k + 1)).exp().cumsum(-1).float()


def differentiable_jpeg(image: Tensor, quality: Tensor) -> Tensor:
    """image: B,3,H,W in [0, 1]; quality: B in 1..100. Rounds softly, so it loses less than `exact_jpeg`."""
    return jpeg_codec_differentiable(image, quality)  # on the CPU, where kornia looks at it without a wait


def exact_jpeg(image: Tensor, quality: Tensor) -> Tensor:
    """The same through Pillow's encoder and decoder, quality rounded, 4:2:0."""
    pixels = (255 * image).round().byte().permute(0, 2, 3, 1).cpu().numpy()
    done = []
    for picture, q in zip(pixels, quality.tolist(), strict=True):
        file = io.BytesIO()
        Image.fromarray(picture).save(file, "JPEG", quality=round(q))
        done.append(np.asarray(Image.open(file)))
    return torch.from_numpy(np.stack(done)).permute(0, 3, 1, 2).to(image) / 255


def sharpened(hr: Tensor, weight: float, radius: int = 25, threshold: float = 10 / 255) -> Tensor:
    """The recipe's unsharp mask of `hr`, where it differs from its blur by more than `threshold`."""
    kernel = get_gaussian_kernel1d(2 * radius + 1, 0.3 * (radius - 1) + 0.8).to(hr)  # OpenCV's sigma for a size
    blur = filter2d_separable(mirrored(hr, radius), kernel, kernel, padding="valid")
    residual = hr - blur
    mask = (residual.abs() > threshold).to(hr)
    mask = filter2d_separable(mirrored(mask, radius), kernel, kernel, padding="valid")
    return torch.lerp(hr, (hr + weight * residual).clamp(0, 1), mask)
