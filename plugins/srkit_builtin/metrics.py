"""PSNR and SSIM as the published tables use them. Inputs: float64 in [0, 255], `H,W` or `H,W,3`, protocol applied."""

from collections.abc import Callable

import numpy as np

WINDOW = 11
SIGMA = 1.5
K1, K2 = 0.01, 0.03
PEAK = 255.0


def psnr(sr: np.ndarray, hr: np.ndarray) -> float:
    """10 log10(255^2 / mean squared error), in dB; infinite for identical images."""
    error = float(np.mean((sr - hr) ** 2))
    return float("inf") if error == 0 else float(10 * np.log10(PEAK**2 / error))


def ssim(sr: np.ndarray, hr: np.ndarray) -> float:
    """Mean structural similarity over the valid region, per channel and then averaged; at most 1.

    Gaussian window 11x11, sigma 1.5, K1 = 0.01, K2 = 0.03. NaN where the image is smaller than the window.
    Source: Wang et al., Image quality assessment, 2004, as in the authors' ssim_index.m.
    """
    if min(sr.shape[:2]) < WINDOW:
        return float("nan")
    c1, c2 = (K1 * PEAK) ** 2, (K2 * PEAK) ** 2
    mean_sr, mean_hr = blur(sr), blur(hr)
    means, squares = mean_sr * mean_hr, mean_sr**2 + mean_hr**2
    variances, covariance = blur(sr * sr + hr * hr) - squares, blur(sr * hr) - means
    return float(np.mean((2 * means + c1) * (2 * covariance + c2) / ((squares + c1) * (variances + c2))))


def blur(image: np.ndarray) -> np.ndarray:
    """Gaussian-weighted mean at each place where the whole window fits: H,W[,C] -> H-10,W-10[,C]."""
    offsets = np.arange(WINDOW) - WINDOW // 2
    weights = np.exp(-(offsets**2) / (2 * SIGMA**2))
    weights /= weights.sum()
    for axis in (0, 1):
        length = image.shape[axis] - WINDOW + 1
        parts = (w * np.moveaxis(np.moveaxis(image, axis, 0)[k : k + length], 0, axis) for k, w in enumerate(weights))
        image = sum(parts, start=np.zeros(()))
    return image


def psnr_metric() -> Callable[[np.ndarray, np.ndarray], float]:
    return psnr


def ssim_metric() -> Callable[[np.ndarray, np.ndarray], float]:
    return ssim
