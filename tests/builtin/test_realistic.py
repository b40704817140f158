"""The augmentation `realistic`: kernels, noise, JPEG and their order, each against its paper, its recipe or Pillow."""

import io
import tomllib

import numpy as np
import pytest
import torch
from PIL import Image

from srkit import Batch, OptionError, Run
from srkit_builtin import blur_kernels, realistic
from tests.builtin.conftest import apply, build, cut, numbers

pytestmark = pytest.mark.usefixtures("one_thread")

# the blur kernels ---------------------------------------------------------------------------------------------------


def restated(kind, size, sigma_x=1.0, sigma_y=1.0, theta=0.0, beta=1.0):
    """A kernel pixel by pixel, by the formulae of the paper's section 3.1, with the matrix written out."""
    turn = np.array([[np.cos(theta), -np.sin(theta)], [np.sin(theta), np.cos(theta)]])
    inverse = np.linalg.inv(turn @ np.diag([sigma_x**2, sigma_y**2]) @ turn.T)
    kernel = np.zeros((21, 21))
    for i in range(-(size // 2), size // 2 + 1):
        for j in range(-(size // 2), size // 2 + 1):
            d = np.array([j, i]) @ inverse @ np.array([j, i])
            kernel[10 + i, 10 + j] = np.exp(-0.5 * d**beta) if kind == "gaussian" else 1 / (1 + d**beta)
    return kernel / kernel.sum()


def column(*values):
    return torch.tensor(values, dtype=torch.float64)


@pytest.mark.parametrize("size", [7, 13, 21])
@pytest.mark.parametrize(
    ("sigma", "theta", "beta"), [((0.2, 0.2), 0.0, 1.0), ((3.0, 0.7), 0.6, 0.5), ((1.1, 2.4), -2.5, 3.9)]
)
def test_gaussian_and_plateau_kernels_are_the_papers(size, sigma, theta, beta):
    for kind in ("gaussian", "plateau"):
        made = getattr(blur_kernels, kind)(*map(column, (*sigma, theta, beta, size)))[0]
        np.testing.assert_allclose(made.numpy(), restated(kind, size, *sigma, theta, beta), atol=1e-6)


@pytest.mark.parametrize(("cutoff", "size"), [(np.pi / 3, 7), (2.0, 15), (np.pi, 21)])
def test_sinc_kernels_are_the_papers(cutoff, size):
    """The paper's equation 3, with J1 as its integral."""
    t = (np.arange(2000) + 0.5) * np.pi / 2000
    kernel = np.zeros((21, 21))
    for i in range(-(size // 2), size // 2 + 1):
        for j in range(-(size // 2), size // 2 + 1):
            r = np.hypot(i, j)
            j1 = np.cos(t - cutoff * r * np.sin(t)).mean()
            kernel[10 + i, 10 + j] = cutoff / (2 * np.pi * r) * j1 if r else cutoff**2 / (4 * np.pi)
    made = blur_kernels.sinc(column(cutoff), column(size))[0]
    np.testing.assert_allclose(made.numpy(), kernel / kernel.sum(), atol=1e-7)


def test_random_kernels_are_of_all_sizes_and_in_their_proportions():
    torch.manual_seed(0)
    kernels = blur_kernels.random_kernels(3000, (3, 0, 0, 0, 0, 1), 0.1, (2.0, 3.0), (0.5, 4), (1, 2))
    np.testing.assert_allclose(kernels.sum(dim=(1, 2)).numpy(), 1, atol=1e-5)
    sizes = (kernels[:, 10] != 0).sum(dim=1)
    assert set(sizes.tolist()) == {7, 9, 11, 13, 15, 17, 19, 21}
    assert len({kernel.numpy().tobytes() for kernel in kernels}) == 3000
    rings = (kernels < 0).flatten(1).any(dim=1)
    assert rings.float().mean() == pytest.approx(0.1, abs=0.02)
    bells = kernels[~rings]
    round_ones = (bells - bells.mT).abs().flatten(1).amax(dim=1) < 1e-6
    assert round_ones.float().mean() == pytest.approx(0.75, abs=0.03)


def test_a_picture_smaller_than_a_kernel_is_mirrored_again_and_again():
    """As numpy does it, of any size."""
    torch.manual_seed(0)
    kernels = blur_kernels.random_kernels(1, (0, 1, 0, 0, 0, 0), 0, (1.5, 3.0), (0.5, 4), (1, 2))
    for height, width in ((1, 1), (2, 5), (30, 7)):
        image = torch.rand(1, 3, height, width)
        wide = np.pad(numbers(image)[0], ((10, 10), (10, 10), (0, 0)), mode="reflect")
        wanted = np.zeros((height, width, 3))
        for i in range(21):
            for j in range(21):
                wanted += kernels[0, i, j].item() * wide[i : i + height, j : j + width]
        np.testing.assert_allclose(numbers(realistic.blurred(image, kernels))[0], wanted, atol=1e-5)


# noise and JPEG -----------------------------------------------------------------------------------------------------

GRAY = torch.tensor([True, False])[:, None, None, None]


def test_gaussian_noise_has_its_deviation_in_colour_or_gray():
    torch.manual_seed(0)
    image = torch.full((2, 3, 200, 200), 0.5)
    noise = realistic.gaussian_noise(image, torch.tensor([0.1, 0.02])[:, None, None, None], GRAY)
    assert noise.std(dim=(1, 2, 3)).tolist() == pytest.approx([0.1, 0.02], rel=0.02)
    assert noise.mean(dim=(1, 2, 3)).abs().max() < 1e-3
    assert torch.equal(noise[0, 0], noise[0, 2])
    assert abs(np.corrcoef(noise[1].flatten(1).numpy())[0, 1]) < 0.02


def test_poisson_noise_is_numpys():
    """Every level 400 times: mean and variance as x and x / n, and the distribution of one level as numpy draws it."""
    torch.manual_seed(0)
    levels = torch.arange(256).repeat(400) / 255
    image = levels.reshape(1, 1, 320, 320).expand(2, 3, -1, -1)
    noise = realistic.poisson_noise(
        image, torch.tensor([1.0, 3.0])[:, None, None, None], GRAY, realistic.poisson_table()
    )
    assert torch.equal(noise[0, 0], noise[0, 2])
    assert not torch.equal(noise[1, 0], noise[1, 2])
    by_level = noise[1].reshape(3, 400, 256).transpose(1, 2).reshape(3, 256, 400).permute(1, 0, 2).reshape(256, -1) / 3
    x = np.arange(256) / 255
    np.testing.assert_allclose(by_level.mean(dim=1).numpy(), 0, atol=5 * (1 / 256 / 1200) ** 0.5)
    np.testing.assert_allclose(by_level.var(dim=1).numpy()[20:], x[20:] / 256, rtol=0.25)
    assert by_level.var(dim=1).numpy().sum() == pytest.approx((x / 256).sum(), rel=0.02)
    assert by_level[0].abs().max() == 0
    counts = (256 * (by_level[100] + x[100])).numpy()
    np.testing.assert_allclose(counts, counts.round(), atol=1e-3)
    drawn = np.random.default_rng(0).poisson(256 * x[100], 100_000)
    for share in (0.05, 0.25, 0.5, 0.75, 0.95):
        assert (counts <= np.quantile(drawn, share) + 0.5).mean() == pytest.approx(
            (drawn <= np.quantile(drawn, share)).mean(), abs=0.05
        )


@pytest.mark.parametrize(("levels", "peak"), [(1, 1), (2, 2), (3, 4), (5, 8), (64, 64), (65, 128)])
def test_poisson_counts_go_to_the_number_of_levels_rounded_up_to_a_power_of_two(levels, peak):
    torch.manual_seed(0)
    image = (torch.arange(96 * 96) % levels + 60).reshape(1, 1, 96, 96).expand(1, 3, -1, -1) / 255
    noise = realistic.poisson_noise(image, torch.ones(1, 1, 1, 1), ~GRAY[:1], realistic.poisson_table())
    counts = peak * (image + noise)
    torch.testing.assert_close(counts, counts.round(), atol=1e-3, rtol=0)
    assert (counts.round() % 2 == 1).any()
    assert noise.var() == pytest.approx(float(image.mean()) / peak, rel=0.1)


def test_exact_jpeg_is_pillows(photo):
    image = torch.from_numpy(photo[:45, :61].copy()).permute(2, 0, 1)[None].float() / 255
    out = realistic.exact_jpeg(image.expand(2, -1, -1, -1), torch.tensor([30.4, 94.6]))
    for i, quality in enumerate((30, 95)):
        file = io.BytesIO()
        Image.fromarray(photo[:45, :61]).save(file, "JPEG", quality=quality)
        assert np.array_equal((255 * numbers(out)[i]).round().astype(np.uint8), np.asarray(Image.open(file)))


def test_differentiable_jpeg_is_near_it(photo):
    image = torch.from_numpy(photo[:96, :96].copy()).permute(2, 0, 1)[None].float() / 255
    for quality in (30, 60, 90):
        q = torch.tensor([float(quality)])
        exact, soft = realistic.exact_jpeg(image, q), realistic.differentiable_jpeg(image, q)
        loss, apart = (exact - image).abs().mean(), (exact - soft).abs().mean()
        assert apart < 0.75 * loss
        assert (soft - image).abs().mean() == pytest.approx(float(loss), rel=0.15)


# the whole ----------------------------------------------------------------------------------------------------------

PUBLISHED = """
resize_prob: [0.2, 0.7, 0.1]
resize_range: [0.15, 1.5]
gaussian_noise_prob: 0.5
noise_range: [1, 30]
poisson_scale_range: [0.05, 3]
gray_noise_prob: 0.4
jpeg_range: [30, 95]
second_blur_prob: 0.8
resize_prob2: [0.3, 0.4, 0.3]
resize_range2: [0.3, 1.2]
gaussian_noise_prob2: 0.5
noise_range2: [1, 25]
poisson_scale_range2: [0.05, 2.5]
gray_noise_prob2: 0.4
jpeg_range2: [30, 95]
kernel_prob: [0.45, 0.25, 0.12, 0.03, 0.12, 0.03]
sinc_prob: 0.1
blur_sigma: [0.2, 3]
betag_range: [0.5, 4]
betap_range: [1, 2]
kernel_prob2: [0.45, 0.25, 0.12, 0.03, 0.12, 0.03]
sinc_prob2: 0.1
blur_sigma2: [0.2, 1.5]
betag_range2: [0.5, 4]
betap_range2: [1, 2]
final_sinc_prob: 0.8
"""  # of options/train_realesrgan_x4plus.yml, github.com/xinntao/Real-ESRGAN


def test_the_defaults_are_the_published_ones(registry):
    published = tomllib.loads(PUBLISHED.replace(":", " ="))
    options = registry.choose("augmentation", "realistic").options
    for name, value in published.items():
        assert list(options[name]) == value if isinstance(value, list) else options[name] == value, name
    assert set(options) - set(published) == {"strength", "share", "jpeg", "sharpen"}


def test_the_steps_are_the_recipes(registry, photo, monkeypatch):
    """realesrgan/models/realesrnet_model.py, feed_data: what is done in which order, and to which sizes."""
    steps = []

    def told(name, function):
        def call(image, *rest):
            out = function(image, *rest)
            steps.append((name, out.shape[-1], rest))
            return out

        return call

    pair = cut(photo, 3, 40, 2)
    options = {"gaussian_noise_prob": 1, "gaussian_noise_prob2": 0, "jpeg_range": [30, 50], "jpeg_range2": [60, 90]}
    module = build(registry, "realistic", **options)
    for name in ("to_size", "gaussian_noise", "poisson_noise"):
        monkeypatch.setattr(realistic, name, told(name, getattr(realistic, name)))
    monkeypatch.setattr(realistic, "blurred", told("blurred", lambda image, kernels: image))
    module.jpeg = told("jpeg", lambda image, quality: image)
    seen, first_sizes, second_sizes = {}, [], []
    for seed in range(200):
        steps.clear()
        apply(module, pair, seed)
        order = " ".join(name for name, _, _ in steps)
        seen[order] = seen.get(order, 0) + 1
        sizes = [size for name, size, _ in steps if name == "to_size"]
        first_sizes.append(sizes[0] / 120)
        second_sizes.append(sizes[1] / 40)
        assert sizes[2] == 40
        qualities = [rest[0] for name, _, rest in steps if name == "jpeg"]
        for quality, (low, high) in zip(qualities, ((30, 50), (60, 90)), strict=True):
            assert low <= quality.min() < quality.max() <= high
    begin, again, noise = "blurred to_size gaussian_noise jpeg", "blurred", "to_size poisson_noise"
    ends = ("to_size blurred jpeg", "jpeg to_size blurred")
    shares = {f"{begin} {again} {noise} {end}": 0.8 / 2 for end in ends} | {
        f"{begin} {noise} {end}": 0.2 / 2 for end in ends
    }
    assert set(seen) == set(shares)
    for order, share in shares.items():
        assert seen[order] / 200 == pytest.approx(share, abs=0.1)
    for sizes, up, down, low, high in ((first_sizes, 0.2, 0.7, 0.15, 1.5), (second_sizes, 0.3, 0.4, 0.3, 1.2)):
        assert low - 0.03 <= min(sizes) < low + 0.1
        assert high - 0.1 < max(sizes) <= high
        assert np.mean(np.array(sizes) > 1) == pytest.approx(up, abs=0.1)
        assert np.mean(np.array(sizes) < 1) == pytest.approx(down, abs=0.1)


def test_pictures_that_share_sizes_are_as_many_as_are_said(registry, photo, monkeypatch):
    sizes = []
    original = realistic.to_size
    monkeypatch.setattr(realistic, "to_size", lambda image, size: sizes.append(len(image)) or original(image, size))
    pair = cut(photo, 2, 16, 5)
    for share, parts in ((1, [1] * 5), (4, [4, 1]), (9, [5])):
        sizes.clear()
        apply(build(registry, "realistic", share=share), pair)
        assert sizes[::3] == parts


def test_hr_stays_lr_has_256_levels_and_every_picture_its_own_degradation(registry, photo):
    one = cut(photo, 4, 24, 1)
    pair = Batch(one.lr.expand(8, -1, -1, -1), one.hr.expand(8, -1, -1, -1))
    for jpeg in ("differentiable", "exact"):
        out = apply(build(registry, "realistic", jpeg=jpeg), pair)
        assert torch.equal(out.hr, pair.hr)
        levels = 255 * out.lr
        torch.testing.assert_close(levels, levels.round(), atol=1e-3, rtol=0)
        assert len({image.numpy().tobytes() for image in out.lr}) == 8


def test_less_strength_leaves_more(registry, photo):
    pair = cut(photo, 2, 24, 16)
    errors = {}
    for strength in (0, 0.5, 1):
        out = apply(build(registry, "realistic", strength=strength), pair)
        errors[strength] = float((out.lr - pair.lr).abs().mean())
    assert errors[0] < 0.6 * errors[0.5] < 0.6 * errors[1]
    assert errors[0] < 0.03, "only the manner of the resize and JPEG of quality 100 are left"


def test_lr_stays_where_hr_is(registry, photo):
    """In the mean over many degradations LR fits HR best where it is, and worse a pixel to any side."""
    pair = cut(photo, 3, 24, 4)
    many = Batch(*(images.repeat(12, 1, 1, 1) for images in (pair.lr, pair.hr)))
    mean = apply(build(registry, "realistic", strength=0.5), many).lr.reshape(12, *pair.lr.shape).mean(dim=0)
    inner = (slice(None), slice(None), slice(2, -2), slice(2, -2))

    def error(down, right):
        return float((mean.roll((down, right), (2, 3)) - pair.lr)[inner].square().mean())

    assert min((error(y, x), y, x) for y in (-1, 0, 1) for x in (-1, 0, 1))[1:] == (0, 0)


def test_sharpen_is_the_recipes_unsharp_mask(registry, batch):
    out = apply(build(registry, "realistic", sharpen=0.5), batch)
    line = np.exp(-((np.arange(51) - 25) ** 2) / (2 * 8.0**2))  # OpenCV: sigma = 0.3 ((51 - 1) / 2 - 1) + 0.8 = 8
    line /= line.sum()

    def smooth(image):
        for axis in (0, 1):
            wide = np.pad(image, [(25, 25) if a == axis else (0, 0) for a in range(3)], mode="reflect")
            image = sum(w * np.take(wide, np.arange(i, i + image.shape[axis]), axis=axis) for i, w in enumerate(line))
        return image

    for before, after in zip(numbers(batch.hr), numbers(out.hr), strict=True):
        residual = before - smooth(before)
        mask = smooth((np.abs(residual) * 255 > 10).astype(np.float64))
        wanted = mask * np.clip(before + 0.5 * residual, 0, 1) + (1 - mask) * before
        np.testing.assert_allclose(after, wanted, atol=2e-3)
        assert np.abs(after - before).max() > 0.02


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"resize_range": [1.5, 0.15]}, "resize_range = [1.5, 0.15]: two numbers, the smaller first"),
        (
            {"jpeg_range2": [0, 95]},
            "jpeg_range2 = [0.0, 95.0]: two numbers, the smaller first, at least 1, at most 100",
        ),
        ({"noise_range": [0, float("inf")]}, "noise_range"),
        ({"kernel_prob": [0, 0, 0, 0, 0, 0]}, "kernel_prob = [0.0"),
        ({"resize_prob2": [1, -1, 1]}, "resize_prob2"),
        ({"blur_sigma": [1, 2, 3]}, "blur_sigma"),
        ({"strength": 1.5}, "strength = 1.5"),
        ({"jpeg": "exakt"}, "did you mean 'exact'?"),
    ],
)
def test_what_is_no_range_is_refused_by_name(registry, options, words):
    with pytest.raises(OptionError) as told:
        build(registry, "realistic", **options)
    assert words in str(told.value)


def test_a_run_file_keeps_its_options(registry):
    table = {"name": "realistic", "jpeg_range": [60, 90], "strength": 0.5}
    run = Run.from_dict({"augmentation": ["dihedral", table]}).resolved(registry)
    assert run.augmentation[1].options["jpeg_range"] == (60.0, 90.0)
    assert Run.from_dict(tomllib.loads(run.to_toml())).resolved(registry) == run
