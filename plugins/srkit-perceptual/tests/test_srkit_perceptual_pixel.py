"""Charbonnier, Fourier and SSIM against plain formulas, scikit-image and srkit's own metric."""

import subprocess
import sys

import numpy as np
import pytest
import torch

from srkit import UsageError

NAMES = ("charbonnier", "fft", "ssim")


@pytest.fixture
def pair(photo):
    """A photograph and the same with noise, each 1,3,48,56 in [0, 1]."""
    hr = torch.from_numpy(photo[100:148, 120:176].copy()).permute(2, 0, 1)[None] / 255
    noise = 0.05 * torch.randn(hr.shape, generator=torch.Generator().manual_seed(0))
    return (hr + noise).clamp(0, 1), hr


def build(registry, name, **options):
    return registry.choose("loss", name, options).build()


def test_listing_the_losses_imports_no_torch():
    code = (
        "import srkit, sys; r = srkit.load_plugins(); assert 'torch' not in sys.modules; "
        "print(*[e.component.name for e in r.of('loss') if e.package == 'srkit-perceptual'])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    names = ["charbonnier", "fft", "ssim", "ms-ssim", "wavelet", "consistency", "ldl", "perceptual", "gan"]
    assert done.stdout.split() == names, done.stderr


@pytest.mark.parametrize("eps", [1e-3, 0.1])
def test_charbonnier_is_its_formula(registry, pair, eps):
    sr, hr = pair
    loss = build(registry, "charbonnier", eps=eps)
    expected = np.mean(np.sqrt((sr.double().numpy() - hr.double().numpy()) ** 2 + eps**2))
    assert float(loss(sr, hr)) == pytest.approx(expected, rel=1e-5)
    assert float(loss(hr, hr)) == pytest.approx(eps, rel=1e-6), "at its bottom it is eps, as published"


def test_fft_is_the_sum_written_out(registry, pair):
    """The discrete Fourier transform as two matrix products, in double precision."""
    sr, hr = pair
    height, width = hr.shape[-2:]
    rows, columns = (np.exp(-2j * np.pi * np.outer(range(n), range(n)) / n) / np.sqrt(n) for n in (height, width))
    spectrum = rows @ (sr.double().numpy() - hr.double().numpy()) @ columns
    expected = (np.abs(spectrum.real).mean() + np.abs(spectrum.imag).mean()) / 2
    assert float(build(registry, "fft")(sr, hr)) == pytest.approx(expected, rel=1e-5)


def test_ssim_is_that_of_scikit_image_and_of_the_metric(registry, pair):
    structural_similarity = pytest.importorskip("skimage.metrics").structural_similarity
    sr, hr = pair
    found = 1 - float(build(registry, "ssim")(sr, hr))
    a, b = (x[0].permute(1, 2, 0).double().numpy() for x in pair)
    theirs = structural_similarity(
        a, b, gaussian_weights=True, sigma=1.5, use_sample_covariance=False, data_range=1.0, channel_axis=2
    )
    assert found < 0.95, "the noise shows"
    assert found == pytest.approx(theirs, abs=1e-5)
    assert found == pytest.approx(registry.choose("metric", "ssim").build()(a * 255, b * 255), abs=1e-5)


def test_ssim_refuses_a_patch_smaller_than_its_window(registry):
    with pytest.raises(UsageError, match="at least 11 pixels, not 10"):
        build(registry, "ssim")(torch.rand(1, 3, 10, 20), torch.rand(1, 3, 10, 20))


@pytest.mark.parametrize("name", ["fft", "ssim"])
def test_identical_images_cost_nothing(registry, pair, name):
    assert abs(float(build(registry, name)(pair[1], pair[1]))) < 1e-6


@pytest.mark.parametrize("name", NAMES)
def test_gradients_are_finite_everywhere_and_lead_down(registry, pair, name):
    loss = build(registry, name)
    _, hr = pair
    for start in (hr.clone(), torch.zeros_like(hr), torch.full_like(hr, 2.0)):
        sr = start.requires_grad_()
        loss(sr, hr).backward()
        assert sr.grad.isfinite().all()
    sr = pair[0].clone().requires_grad_()
    before = loss(sr, hr)
    before.backward()
    assert float(loss(sr.detach() - 1e-3 * sr.grad / sr.grad.abs().max(), hr)) < before.item()
