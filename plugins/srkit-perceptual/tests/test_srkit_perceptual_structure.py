"""LDL, MS-SSIM, wavelet and consistency losses against their formulas in numpy and against other libraries."""

import numpy as np
import pytest
import torch

from srkit import UsageError
from srkit.testing import check

pywt = pytest.importorskip("pywt")

NAMES = ("ldl", "ms-ssim", "wavelet", "consistency")


@pytest.fixture
def pair(photo):
    """A photograph and the same with noise, each 2,3,48,56 in [0, 1], in double precision."""
    hr = torch.stack([torch.from_numpy(photo[y : y + 48, 120:176].copy()) for y in (60, 140)])
    hr = hr.permute(0, 3, 1, 2).double() / 255
    noise = 0.05 * torch.randn(hr.shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    return (hr + noise).clamp(0, 1), hr


def build(registry, name, **options):
    return registry.choose("loss", name, options).build().double()


def windows(plane, side):
    """H,W mirrored at its borders -> H,W,side,side."""
    return np.lib.stride_tricks.sliding_window_view(np.pad(plane, side // 2, mode="reflect"), (side, side))


def ldl_formula(sr, hr, average, window):
    """Equations 3 to 6 of Liang et al. 2022, one picture after another."""
    total = 0.0
    for each, wanted, averaged in zip(sr, hr, average, strict=True):
        residual = np.abs(wanted - each).sum(0)
        local = windows(residual, window).var((-2, -1), ddof=1)
        weights = residual.var(ddof=1) ** 0.2 * local
        weights[residual < np.abs(wanted - averaged).sum(0)] = 0
        total += np.abs(weights * (each - wanted)).mean()
    return total / len(sr)


@pytest.mark.parametrize("window", [7, 3])
def test_ldl_is_its_formula(registry, pair, window):
    sr, hr = pair
    average = hr + 0.04 * torch.randn(hr.shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    refined = build(registry, "ldl", window=window)(sr, hr, average=average)
    assert float(refined) == pytest.approx(ldl_formula(*(x.numpy() for x in (sr, hr, average)), window), rel=1e-6)
    plain = build(registry, "ldl", window=window, refine=False)(sr, hr)
    assert float(plain) == pytest.approx(ldl_formula(*(x.numpy() for x in (sr, hr, hr)), window), rel=1e-6)
    assert plain > refined > 0, "the average errs more at some pixels, and less at others"


def test_the_gradient_of_ldl_goes_through_its_map(registry):
    loss = build(registry, "ldl", window=3)
    torch.manual_seed(0)
    sr, hr, average = torch.rand(3, 1, 3, 5, 6, dtype=torch.float64)
    assert torch.autograd.gradcheck(lambda x: loss(x, hr, average=average), sr.requires_grad_())


def similarities(a, b):
    """SSIM, and its contrast and structure, of two H,W planes: means over the valid region of the 11x11 window."""
    kernel = np.exp(-(np.arange(-5, 6) ** 2) / (2 * 1.5**2))
    kernel /= kernel.sum()

    def blurred(plane):
        for axis in (0, 1):
            plane = np.apply_along_axis(np.convolve, axis, plane, kernel, mode="valid")
        return plane

    ma, mb = blurred(a), blurred(b)
    va, vb, cov = blurred(a * a) - ma**2, blurred(b * b) - mb**2, blurred(a * b) - ma * mb
    contrast = (2 * cov + 0.03**2) / (va + vb + 0.03**2)
    return ((2 * ma * mb + 0.01**2) / (ma**2 + mb**2 + 0.01**2) * contrast).mean(), contrast.mean()


def test_ms_ssim_is_its_formula_at_two_sizes(registry, pair):
    found = []
    for a, b in zip(*(x.numpy().reshape(-1, 48, 56) for x in pair), strict=True):
        _, contrast = similarities(a, b)
        half_a, half_b = (x.reshape(24, 2, 28, 2).mean((1, 3)) for x in (a, b))
        whole, _ = similarities(half_a, half_b)
        share = 0.0448 / (0.0448 + 0.2856)
        found.append(contrast**share * whole ** (1 - share))
    loss = build(registry, "ms-ssim", levels=2)
    assert float(loss(*pair)) == pytest.approx(1 - np.mean(found), rel=1e-5)
    for side, levels in ((40, 2), (41, 3)):
        part = [x[..., :side] for x in pair]
        assert build(registry, "ms-ssim")(*part) == build(registry, "ms-ssim", levels=levels)(*part)


def test_ms_ssim_is_that_of_pytorch_msssim(registry, photo):
    theirs = pytest.importorskip("pytorch_msssim").ms_ssim
    hr = torch.from_numpy(photo[10:187, 20:221].copy()).permute(2, 0, 1)[None].double() / 255  # 177x201: odd at levels
    sr = (hr + 0.1 * torch.randn(hr.shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)).clamp(0, 1)
    found = float(build(registry, "ms-ssim")(sr, hr))
    assert found > 0.01
    assert found == pytest.approx(1 - float(theirs(sr, hr, data_range=1.0)), abs=1e-6)


def test_ms_ssim_says_what_a_patch_must_be(registry):
    with pytest.raises(UsageError, match=r"3 levels needs HR patches of at least 41 pixels, not 40; .* levels = 2"):
        build(registry, "ms-ssim", levels=3)(torch.rand(1, 3, 40, 44), torch.rand(1, 3, 40, 44))
    with pytest.raises(UsageError, match=r"1 level needs HR patches of at least 11 pixels, not 10; raise patch$"):
        build(registry, "ms-ssim")(torch.rand(1, 3, 10, 20), torch.rand(1, 3, 10, 20))


@pytest.mark.parametrize(
    ("wavelet", "bands"),
    [("sym19", (0.05, 0.025, 0.025, 0.02)), ("sym7", (0.1, 0.01, 0.02, 0.05)), ("haar", (1.0, 0.5, 0.25, 2.0))],
)
def test_wavelet_is_pywavelets_own_transform(registry, pair, wavelet, bands):
    """PyWavelets' low-pass filters have a sum of sqrt(2), those of the source of 1."""
    sr, hr = (16 + np.tensordot(x.numpy(), (65.481, 128.553, 24.966), (1, 0)) for x in pair)
    expected = 0.0
    for difference in sr - hr:
        ((low, (across, down, both)),) = pywt.swt2(difference, wavelet, level=1)
        parts = (low / 2, across / np.sqrt(2), down / np.sqrt(2), both)
        expected += sum(w * np.abs(part).mean() for w, part in zip(bands, parts, strict=True)) / len(sr)
    found = build(registry, "wavelet", wavelet=wavelet, bands=list(bands))(*pair)
    assert float(found) == pytest.approx(expected, rel=1e-5)


def test_wavelet_says_what_it_lacks(registry):
    with pytest.raises(UsageError, match="no discrete wavelet 'sym77'"):
        build(registry, "wavelet", wavelet="sym77")
    with pytest.raises(UsageError, match="a filter of 38 needs HR patches of at least 19 pixels, not 16"):
        build(registry, "wavelet")(torch.rand(1, 3, 16, 16), torch.rand(1, 3, 16, 16))


#: a and b of Oklab for sRGB's red, green and blue: Ottosson 2020, by the reference implementation
OKLAB = {(1, 0, 0): (0.22486, 0.12585), (0, 1, 0): (-0.23389, 0.17950), (0, 0, 1): (-0.03246, -0.31153)}


@pytest.mark.parametrize("colour", OKLAB)
def test_the_colours_of_consistency_are_those_of_oklab(registry, colour):
    """Within what clipping to 1/255 changes."""
    picture = torch.tensor(colour, dtype=torch.float64).view(1, 3, 1, 1).clamp(1 / 255, 1)
    assert build(registry, "consistency").ab(picture).flatten().tolist() == pytest.approx(OKLAB[colour], abs=2e-3)


def test_the_lightness_of_consistency_is_that_of_scikit_image(registry, photo):
    rgb2lab = pytest.importorskip("skimage.color").rgb2lab
    dark = np.concatenate([photo[::7, ::7], photo[::7, ::7] // 8]).clip(1, 255) / 255
    found = build(registry, "consistency", blur=False).lightness(torch.from_numpy(dark).permute(2, 0, 1)[None])
    assert dark.min() < 0.03, "some are in the linear part of L*"
    np.testing.assert_allclose(found[0, 0].numpy(), rgb2lab(dark)[..., 0] / 100, atol=2e-4)


def test_consistency_is_the_sum_of_its_parts(registry, pair):
    sr, hr = (x.clamp(1 / 255, 1) for x in pair)
    loss = build(registry, "consistency", luma=0.7, chroma=0.3)
    expected = 0.7 * (loss.lightness(sr) - loss.lightness(hr)).abs().mean()
    expected += 0.3 * (loss.ab(sr) - loss.ab(hr)).abs().mean()
    assert float(loss(*pair)) == pytest.approx(float(expected), rel=1e-9)
    blurred = float(build(registry, "consistency", chroma=0)(*pair))
    assert blurred < 0.5 * float(build(registry, "consistency", chroma=0, blur=False)(*pair)), "noise is blurred away"


def test_the_blur_of_consistency_is_a_gaussian(registry):
    point = torch.full((1, 3, 41, 41), 0.5, dtype=torch.float64)
    point[..., 20, 20] = 0.6
    seen = build(registry, "consistency").lightness(point)[0, 0].numpy()
    weights = np.exp(-(np.arange(-10, 11) ** 2) / (2 * 3.0**2))
    weights /= weights.sum()
    assert seen[10:31, 20] - seen[0, 0] == pytest.approx((seen[20, 20] - seen[0, 0]) * weights / weights[10], abs=1e-6)


@pytest.mark.parametrize("name", NAMES)
def test_it_keeps_the_contract(registry, name):
    assert not [f for f in check(registry, "loss", name) if f.outcome == "fault"]


@pytest.mark.parametrize("name", NAMES)
def test_gradients_are_finite_everywhere(registry, pair, name):
    """At identical, black, white and inverted pictures, and outside [0, 1].

    jorge-pessoa/pytorch-msssim#2, One-sixth/ms_ssim_pytorch#3: NaN in the first steps of MS-SSIM, as of a power of 0 or
    of a negative contrast.
    """
    _, hr = (x.float() for x in pair)
    loss = registry.choose("loss", name).build()
    more = {"average": hr + 0.01} if name == "ldl" else {}
    for start in (hr, torch.zeros_like(hr), torch.ones_like(hr), 1 - hr, torch.full_like(hr, -0.5)):
        for wanted in (hr, torch.zeros_like(hr)):
            sr = start.clone().requires_grad_()
            loss(sr, wanted, **more).backward()
            assert sr.grad.isfinite().all()
