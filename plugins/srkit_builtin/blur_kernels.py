"""The blur kernels of real photographs: Gaussian, generalised, plateau-shaped and sinc, many at a time.

Each function gives B,21,21 float64 kernels that sum to 1; one of a smaller `size` is zero around it.
Source: Wang et al., Real-ESRGAN, ICCVW 2021, sections 3.1 and 3.3, and BasicSR's degradations.py.
"""

import math
from collections.abc import Sequence

import torch
from torch import Tensor

REACH = 10  # pixels to each side of the middle
SIZES = torch.arange(7, 2 * REACH + 2, 2)  # 7, 9, ..., 21
NARROWEST = 1e-3  # standard deviation in pixels; a kernel of 0 would be 0/0


def distance(sigma_x: Tensor, sigma_y: Tensor, theta: Tensor) -> Tensor:
    """x^T S^-1 x on the grid, for S with the deviations sigma_x, sigma_y (B, pixels) turned by theta (B, radians)."""
    x, y = axes()
    cos, sin = column(theta.cos()), column(theta.sin())
    along, across = cos * x + sin * y, cos * y - sin * x
    return (along / column(sigma_x.clamp(min=NARROWEST))) ** 2 + (across / column(sigma_y.clamp(min=NARROWEST))) ** 2


def gaussian(sigma_x: Tensor, sigma_y: Tensor, theta: Tensor, beta: Tensor, size: Tensor) -> Tensor:
    """exp(-d^beta / 2), d as `distance` gives it; beta 1 is the normal distribution."""
    return cut(torch.exp(-0.5 * distance(sigma_x, sigma_y, theta) ** column(beta)), size)


def plateau(sigma_x: Tensor, sigma_y: Tensor, theta: Tensor, beta: Tensor, size: Tensor) -> Tensor:
    """1 / (1 + d^beta), d as `distance` gives it."""
    return cut(1 / (1 + distance(sigma_x, sigma_y, theta) ** column(beta)), size)


def sinc(cutoff: Tensor, size: Tensor) -> Tensor:
    """The ideal low-pass filter of `cutoff` (B, radians per pixel, at most pi): c J1(c r) / (2 pi r)."""
    x, y = axes()
    r, c = torch.hypot(x, y), column(cutoff)
    ring = c * torch.special.bessel_j1(c * r) / (2 * math.pi * r)
    return cut(torch.where(r == 0, c**2 / (4 * math.pi), ring), size)


def random_kernels(
    count: int,
    kernel_prob: Sequence[float],
    sinc_prob: float,
    sigma: Sequence[float],
    betag: Sequence[float],
    betap: Sequence[float],
    sizes: Tensor = SIZES,
) -> Tensor:
    """`count` kernels, float32: sinc with `sinc_prob`, else one of six kinds in proportion to `kernel_prob`.

    The six: Gaussian, generalised Gaussian and plateau, each isotropic, then anisotropic. sigma, betag,
    betap: ranges of the deviation, and of beta of the generalised and of the plateau kind; beta is below 1
    as often as above. sizes: what their sides, odd, are drawn from.
    """
    size = sizes[torch.randint(len(sizes), (count,))]
    kind = torch.multinomial(torch.tensor(kernel_prob, dtype=torch.float64), count, replacement=True)
    sigma_x, sigma_y = uniform(count, *sigma), uniform(count, *sigma)
    theta = uniform(count, -math.pi, math.pi)
    sigma_y = torch.where(kind % 2 == 0, sigma_x, sigma_y)
    flat = torch.rand(count) < 0.5
    beta_g = torch.where(flat, uniform(count, betag[0], 1), uniform(count, 1, betag[1]))
    beta_p = torch.where(flat, uniform(count, betap[0], 1), uniform(count, 1, betap[1]))
    beta_g = torch.where(kind < 2, 1.0, beta_g)
    bells = gaussian(sigma_x, sigma_y, theta, beta_g, size)
    kernels = torch.where(kind[:, None, None] < 4, bells, plateau(sigma_x, sigma_y, theta, beta_p, size))
    lowest = torch.where(size < 13, math.pi / 3, math.pi / 5)  # a small kernel cannot hold a low frequency
    rings = sinc(uniform(count, lowest, math.pi), size)
    return torch.where(torch.rand(count, 1, 1) < sinc_prob, rings, kernels).float()


def random_sinc(count: int, probability: float) -> Tensor:
    """`count` sinc kernels, float32; without `probability`, the one that changes nothing."""
    size = SIZES[torch.randint(len(SIZES), (count,))]
    rings = sinc(uniform(count, math.pi / 3, math.pi), size)
    return torch.where(torch.rand(count, 1, 1) < probability, rings, nothing()).float()


def nothing() -> Tensor:
    """21,21: the kernel that changes nothing."""
    x, y = axes()
    return ((x == 0) & (y == 0)).double()


def uniform(count: int, low: float | Tensor, high: float | Tensor) -> Tensor:
    """`count` float64 numbers between `low` and `high`, from torch's global generator."""
    return low + (high - low) * torch.rand(count, dtype=torch.float64)


def axes() -> tuple[Tensor, Tensor]:
    """x as a row and y as a column of the grid, in pixels from its middle."""
    line = torch.arange(-REACH, REACH + 1, dtype=torch.float64)
    return line[None, :], line[:, None]


def column(values: Tensor) -> Tensor:
    return values.double()[:, None, None]


def cut(kernels: Tensor, size: Tensor) -> Tensor:
    """`kernels` with zeros outside of `size` (B, odd), and a sum of 1."""
    x, y = axes()
    inside = torch.maximum(x.abs(), y.abs()) <= column((size - 1) / 2)
    kernels = kernels * inside
    return kernels / kernels.sum(dim=(1, 2), keepdim=True)
