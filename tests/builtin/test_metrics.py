"""PSNR and SSIM against scikit-image."""

import numpy as np
import pytest
from skimage.metrics import peak_signal_noise_ratio, structural_similarity

from srkit.evaluate.protocol import PROTOCOLS
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


def test_fifty_random_pairs_give_the_figures_of_scikit_image():
    rng = np.random.default_rng(7)
    for _ in range(50):
        shape = rng.integers(11, 70, 2)
        hr = rng.integers(0, 256, (*shape, 3), dtype=np.uint8)
        sr = np.clip(hr + rng.normal(0, rng.uniform(1, 40), hr.shape), 0, 255).round().astype(np.uint8)
        for protocol in PROTOCOLS.values():
            if min(shape) - 2 * protocol.border(2) < 11:
                continue
            x, y = protocol.apply(sr, hr, 2)
            assert psnr(x, y) == pytest.approx(peak_signal_noise_ratio(y, x, data_range=255), abs=1e-9)
            _, full = structural_similarity(
                y, x, data_range=255, gaussian_weights=True, use_sample_covariance=False, full=True, win_size=11,
                sigma=1.5, channel_axis=2 if x.ndim == 3 else None,
            )  # fmt: skip
            assert ssim(x, y) == pytest.approx(full[5:-5, 5:-5].mean(), abs=1e-6)
