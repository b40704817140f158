"""PSNR and SSIM against scikit-image."""

import numpy as np
import pytest
from skimage.metrics import peak_signal_noise_ratio, structural_similarity

from srkit_builtin.metrics import psnr, ssim

RNG = np.random.default_rng(0)


def pair(*shape: int) -> tuple[np.ndarray, np.ndarray]:
    hr = RNG.uniform(0, 255, shape)
    return np.clip(hr + RNG.normal(0, 12, shape), 0, 255), hr


@pytest.mark.parametrize("shape", [(40, 37), (33, 64, 3), (11, 11)])
def test_against_scikit_image(shape):
    sr, hr = pair(*shape)
    assert psnr(sr, hr) == pytest.approx(peak_signal_noise_ratio(hr, sr, data_range=255), abs=1e-9)
    axis = 2 if len(shape) == 3 else None
    _, full = structural_similarity(
        hr,
        sr,
        data_range=255,
        gaussian_weights=True,
        sigma=1.5,
        use_sample_covariance=False,
        full=True,
        channel_axis=axis,
    )
    assert ssim(sr, hr) == pytest.approx(full[5:-5, 5:-5].mean(), abs=1e-9)


def test_identical_and_tiny_images():
    _, hr = pair(20, 20)
    assert psnr(hr, hr) == float("inf")
    assert ssim(hr, hr) == pytest.approx(1, abs=1e-12)
    assert np.isnan(ssim(hr[:10], hr[:10]))


def test_symmetric():
    sr, hr = pair(30, 30)
    assert psnr(sr, hr) == psnr(hr, sr)
    assert ssim(sr, hr) == pytest.approx(ssim(hr, sr), abs=1e-12)
