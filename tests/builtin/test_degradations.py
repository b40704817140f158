"""Degradations, each against Pillow, scipy or a formula; and what a list of them does."""

import io
import sys

import numpy as np
import pytest
import torch
from PIL import Image
from scipy.ndimage import gaussian_filter

from srkit import PluginError, SrkitError, UsageError, imresize
from srkit.data.degrade import Degrader, Step
from srkit_builtin import degradations

pytestmark = pytest.mark.usefixtures("one_thread")
ROUND = {"kernel_prob": [1, 0, 0, 0, 0, 0], "sinc_prob": 0, "size": [21, 21]}


def tensor(pixels: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(np.ascontiguousarray(pixels)).permute(2, 0, 1)[None].float() / 255


def values(image: torch.Tensor) -> np.ndarray:
    return 255 * image[0].permute(1, 2, 0).double().numpy()


def made(registry, name, image, onto=None, scale=2, seed=0, **options):
    torch.manual_seed(seed)
    degrade = registry.choose("degradation", name, options).build()
    return degrade(image, onto or (image.shape[-2] // scale, image.shape[-1] // scale), scale)


@pytest.fixture
def part(photo):
    return photo[20:68, 30:90]


@pytest.mark.parametrize(("pixels", "sigma"), [("image", 1.3), ("lr", 2.6)])
def test_blur_is_scipys_gaussian(registry, part, pixels, sigma):
    out = made(registry, "blur", tensor(part), sigma=[1.3, 1.3], pixels=pixels, **ROUND)
    wanted = gaussian_filter(part.astype(float), (sigma, sigma, 0), mode="mirror", radius=(10, 10, 0))
    np.testing.assert_allclose(values(out), wanted, atol=0.02)


def test_blur_in_linear_light_is_that_of_the_light(registry, part):
    out = made(registry, "blur", tensor(part), sigma=[1.3, 1.3], linear=True, **ROUND)
    srgb = part / 255
    light = np.where(srgb <= 0.04045, srgb / 12.92, ((srgb + 0.055) / 1.055) ** 2.4)
    light = gaussian_filter(light, (1.3, 1.3, 0), mode="mirror", radius=(10, 10, 0))
    wanted = 255 * np.where(light <= 0.0031308, 12.92 * light, 1.055 * light ** (1 / 2.4) - 0.055)
    np.testing.assert_allclose(values(out), wanted, atol=0.02)


def test_light_and_back_is_the_same_and_half_the_light_is_188():
    line = torch.linspace(0, 1, 256)
    torch.testing.assert_close(degradations.from_light(degradations.to_light(line)), line, atol=1e-6, rtol=0)
    assert round(255 * float(degradations.from_light(torch.tensor(0.5)))) == 188


@pytest.mark.parametrize(("kind", "resampling"), enumerate(["BOX", "BILINEAR", "BICUBIC", "LANCZOS"]))
def test_resize_to_lr_is_pillows(registry, part, kind, resampling):
    weights = [float(i == kind) for i in range(4)]
    out = values(made(registry, "resize", tensor(part), kind_prob=weights))
    wanted = Image.fromarray(part).resize((30, 24), Image.Resampling[resampling])
    inner = (slice(3, -3), slice(3, -3))  # Lanczos' edges are MATLAB's
    np.testing.assert_allclose(out[inner], np.asarray(wanted, float)[inner], atol=1.05)


@pytest.mark.parametrize(("of", "base"), [("image", 40), ("hr", 64), ("lr", 32)])
def test_resize_by_a_factor_of_the_size_that_is_said(registry, of, base):
    image, found = torch.rand(1, 3, 40, 40), []
    for seed in range(60):
        out = made(registry, "resize", image, (32, 32), 2, seed, to="factor", of=of, factor=[0.5, 1.5])
        assert out.shape[-2] == out.shape[-1]
        found.append(out.shape[-1] / base)
    assert 0.48 <= min(found) < 0.6
    assert 1.25 < max(found) <= 1.5
    assert 0.5 < np.mean(np.array(found) < 1) < 0.9  # 0.7 is asked


def test_noise_has_its_deviation_and_its_share_of_gray(registry):
    image, gray, spread = torch.full((1, 3, 64, 64), 0.5), [], []
    for seed in range(60):
        options = {"gaussian_prob": 1, "sigma": [10, 10], "gray_prob": 0.25}
        noise = 255 * (made(registry, "noise", image, seed=seed, **options) - 0.5)[0]
        gray.append(torch.equal(noise[0], noise[1]))
        spread.append(float(noise.std()))
    assert np.mean(spread) == pytest.approx(10, rel=0.03)
    assert 5 <= sum(gray) <= 25
    ramp = tensor(np.arange(60, 188, 2, np.uint8)[None, :, None].repeat(64, 0).repeat(3, 2))  # 64 levels: n = 64
    shot = made(registry, "noise", ramp, gaussian_prob=0, poisson=[1, 1]) - ramp
    assert float(shot.mean()) == pytest.approx(0, abs=0.003)
    assert float(shot.var()) == pytest.approx(float(ramp.mean()) / 64, rel=0.1)


@pytest.mark.parametrize(("full", "subsampling"), [(0, 2), (1, 0)])
def test_jpeg_is_pillows(registry, part, full, subsampling):
    out = made(registry, "jpeg", tensor(part), quality=[40, 40], full_colour_prob=full, anywhere=False)
    assert np.array_equal(values(out).round(), decoded(part, "JPEG", quality=40, subsampling=subsampling))


def test_webp_is_pillows(registry, part):
    out = made(registry, "webp", tensor(part), quality=[35, 35], anywhere=False)
    assert np.array_equal(values(out).round(), decoded(part, "WEBP", quality=35))


def decoded(pixels: np.ndarray, kind: str, **options) -> np.ndarray:
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, kind, **options)
    return np.asarray(Image.open(file).convert("RGB"))


def test_the_jpeg_of_the_device_is_near_pillows(registry, part):
    exact, soft = (
        made(registry, "jpeg", tensor(part), quality=[50, 50], codec=codec) for codec in ("exact", "differentiable")
    )
    assert float((exact - soft).abs().mean()) < 0.75 * float((exact - tensor(part)).abs().mean())


def test_blocks_begin_anywhere(registry, part):
    corner = decoded(part, "JPEG", quality=30, subsampling=2)
    equal = [
        np.array_equal(values(made(registry, "jpeg", tensor(part), seed=seed, quality=[30, 30])).round(), corner)
        for seed in range(12)
    ]
    assert sum(equal) < 3


def test_sharpen_is_an_unsharp_mask(registry, part):
    image = tensor(part)
    assert torch.equal(made(registry, "sharpen", image, weight=[0, 0]), image)
    out = values(made(registry, "sharpen", image, weight=[0.8, 0.8], threshold=0))
    blur = gaussian_filter(part.astype(float), (8, 8, 0), mode="mirror", radius=(25, 25, 0))
    np.testing.assert_allclose(out, np.clip(part + 0.8 * (part - blur), 0, 255), atol=0.5)


def test_video_says_what_to_install(registry, monkeypatch):
    monkeypatch.setitem(sys.modules, "av", None)
    with pytest.raises(UsageError, match="pip install av"):
        registry.choose("degradation", "video").build()


def test_video_is_a_frame_of_x264(registry, photo):
    pytest.importorskip("av")
    image = tensor(photo[20:81, 30:121])  # odd sides
    error = {}
    for crf in (18, 40):
        first, again = (made(registry, "video", image, crf=[crf, crf]) for _ in range(2))
        assert first.shape == image.shape
        assert torch.equal(first, again)
        error[crf] = float((first - image).abs().mean())
    assert 0 < error[18] < 0.02 < error[40] < 0.1


WRONG = [
    ("blur", {"sigma": [3, 1]}, "sigma = [3.0, 1.0]: two numbers, the smaller first, at least 0"),
    ("blur", {"size": [6, 21]}, "size = [6, 21]: two odd numbers"),
    ("resize", {"factor": [0, 1]}, "factor = [0.0, 1.0]"),
    ("resize", {"kind_prob": [0, 0, 0, 0]}, "not all 0"),
    ("noise", {"sigma": [0, float("inf")]}, "sigma"),
    ("jpeg", {"quality": [0, 95]}, "at least 1, at most 100"),
    ("jpeg", {"codec": "differentiable", "full_colour_prob": 0.5}, "4:2:0 alone"),
    ("webp", {"quality": [40, 101]}, "quality"),
    ("sharpen", {"weigth": [0, 1]}, "did you mean 'weight'?"),
]


@pytest.mark.parametrize(("name", "options", "words"), WRONG)
def test_a_wrong_option_is_named(registry, name, options, words):
    with pytest.raises(SrkitError) as told:
        registry.choose("degradation", name, options).build()
    assert words in str(told.value)


# the list -----------------------------------------------------------------------------------------------------------

HR = torch.full((1, 3, 8, 8), 0.5)


def steps(*marks, **words):
    """Steps that note that they were called."""
    called = []

    def step(mark):
        return lambda image, size, scale: called.append(mark) or image

    return [Step(mark, step(mark), **words.get(mark, {})) for mark in marks], called


def orders(listed, called, count=300):
    found = {}
    for seed in range(count):
        called.clear()
        Degrader(listed)(HR, 2, seed)
        found["".join(called)] = found.get("".join(called), 0) + 1
    return found


def test_probabilities_an_end_and_any_order():
    assert orders(*steps("a", "b", "c")) == {"abc": 300}
    some = orders(*steps("a", "b", b={"prob": 0.3}))
    assert set(some) == {"a", "ab"}
    assert 60 < some["ab"] < 120
    ended = orders(*steps("a", "b", a={"prob": 0.4, "last": True}))
    assert set(ended) == {"a", "b"}
    assert 90 < ended["a"] < 150
    mixed = orders(*steps("a", "b", "c", "d", **{mark: {"shuffle": "x"} for mark in "bc"}))
    assert set(mixed) == {"abcd", "acbd"}
    assert 110 < mixed["abcd"] < 190
    assert orders(*steps("a", a={"prob": 0})) == {"": 300}


def test_the_end_is_matlabs_bicubic_in_so_many_levels(part):
    bare = Degrader([])
    assert np.array_equal(values(bare(tensor(part), 2, 0)).round(), imresize(part, 0.5))
    assert bare.resized
    deep = Degrader([Step("half", lambda image, size, scale: image[..., ::2, ::2] * 0.7)])
    for white in (255, 65535):
        lr = white * deep(tensor(part), 2, 0, white).double()
        torch.testing.assert_close(lr, lr.round(), atol=2e-3 * white / 255, rtol=0)
    assert not deep.resized
    assert not torch.equal(deep(tensor(part), 2, 0, 65535), deep(tensor(part), 2, 0, 255))


@pytest.mark.parametrize(
    ("degrade", "words"),
    [
        (lambda image, size, scale: image[0], "degradation 'bad' gave"),
        (lambda image, size, scale: image.mean(1, keepdim=True), "degradation 'bad' gave"),
        (lambda image, size, scale: 1 / 0, "degradation 'bad' fails: "),
    ],
)
def test_one_that_fails_is_named(degrade, words):
    with pytest.raises(PluginError, match=words):
        Degrader([Step("bad", degrade)])(HR, 2, 0)
