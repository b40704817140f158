"""The augmentation `photo`, against Pillow and formulas restated."""

import io

import numpy as np
import pytest
import torch
from PIL import Image

from srkit import Batch, OptionError, imresize
from srkit_builtin import photo as module

pytestmark = pytest.mark.usefixtures("one_thread")

CALM = {"clean_prob": 0, "blur_sigma": 0, "noise": 0, "jpeg_prob": 0}


def pair(photo: np.ndarray, count: int = 8, scale: int = 2, height: int = 40, width: int = 48) -> Batch:
    """One part of a photograph, `count` times, and its LR by MATLAB's bicubic."""
    hr = photo[40 : 40 + height * scale, 60 : 60 + width * scale]
    images = [torch.from_numpy(each).permute(2, 0, 1).float() / 255 for each in (imresize(hr, 1 / scale), hr)]
    return Batch(*(image.expand(count, -1, -1, -1) for image in images))


def changed(registry, batch: Batch, seed: int = 0, **options) -> Batch:
    torch.manual_seed(seed)
    return registry.choose("augmentation", "photo", options).build()(batch)


def levels(images: torch.Tensor) -> np.ndarray:
    return (255 * images).round().byte().permute(0, 2, 3, 1).numpy()


@pytest.mark.parametrize("scale", [2, 3, 4])
def test_without_blur_noise_and_jpeg_it_is_one_of_pillows_resizes(registry, photo, scale):
    batch = pair(photo, 24, scale, 20, 28)
    hr = Image.fromarray(levels(batch.hr[:1])[0])
    wanted = [np.asarray(hr.resize((28, 20), kind), dtype=int) for kind in module.KINDS]
    seen = set()
    for picture in levels(changed(registry, batch, **CALM).lr):
        apart = [np.abs(picture - each).max() for each in wanted]
        assert min(apart) <= 1  # Pillow's integers round between the two directions
        seen.add(int(np.argmin(apart)))
    assert seen == {0, 1, 2, 3}


def test_the_blur_is_gaussian_in_pixels_of_lr_and_mirrored_at_the_edges():
    line = np.random.default_rng(0).random(30)
    sigma = 1.7
    at = np.arange(-12, 13)
    kernel = np.exp(-0.5 * (at / sigma) ** 2)
    wanted = np.convolve(np.pad(line, 12, mode="symmetric"), kernel / kernel.sum(), mode="valid")
    none, some = module.blur_matrices(30, torch.tensor([0.0, sigma])).numpy()
    np.testing.assert_allclose(some @ line, wanted, atol=1e-5)
    np.testing.assert_allclose(none @ line, line, atol=1e-6)
    point = torch.zeros(1, 1, 90, 90)
    point[..., 45, 45] = 1
    wide = module.resized(point, torch.Size([30, 30]), torch.tensor([2.0]))[0, 0].sum(0)  # 6 pixels of HR
    place = torch.arange(30)
    mean = (wide * place).sum() / wide.sum()
    assert float((wide * (place - mean) ** 2).sum() / wide.sum()) == pytest.approx(2.0**2, rel=0.15)


def test_each_jpeg_is_pillows_of_a_quality_in_the_range_and_begins_anywhere(registry, photo):
    batch = pair(photo, 40)
    options = CALM | {"jpeg_prob": 1, "jpeg_range": [50, 52], "full_colour_prob": 0.3}
    clean = [np.asarray(Image.fromarray(levels(batch.hr[:1])[0]).resize((48, 40), k)) for k in module.KINDS]
    plain = {  # at no offset: those that begin at the corner of a block
        (quality, full): [jpeg(each, quality, full) for each in clean] for quality in (50, 51, 52) for full in (0, 2)
    }
    exact = 0
    for picture in levels(changed(registry, batch, **options).lr):
        nearest = min(float(np.abs(picture - each.astype(int)).mean()) for every in plain.values() for each in every)
        assert nearest < 6, "a JPEG of about this quality"
        exact += nearest < 0.5
    assert exact < 8, "few patches begin where a JPEG's blocks do"
    same = module.jpeg(clean[0], 50), module.jpeg(clean[0], 50, full_colour=True)
    assert np.array_equal(same[0], jpeg(clean[0], 50, 2))
    assert np.array_equal(same[1], jpeg(clean[0], 50, 0))


def jpeg(pixels: np.ndarray, quality: int, subsampling: int) -> np.ndarray:
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "JPEG", quality=quality, subsampling=subsampling)
    return np.asarray(Image.open(file))


def test_noise_has_the_deviation_asked_and_is_gray_in_every_second(registry):
    gray = Batch(torch.full((200, 3, 24, 24), 0.5), torch.full((200, 3, 48, 48), 0.5))
    noise = 255 * (changed(registry, gray, **CALM | {"noise": 12}).lr - 128 / 255)
    spread = noise.flatten(1).std(1)
    assert spread.max() < 12.6
    assert float(spread.mean()) == pytest.approx(6, rel=0.15)
    alike = (noise[:, 0] == noise[:, 1]).flatten(1).all(1) & (spread > 1)
    assert 70 < int(alike.sum()) < 125


def test_a_part_stays_clean_to_the_bit_and_hr_always(registry, photo):
    batch = pair(photo, 200, height=16, width=16)
    out = changed(registry, batch, clean_prob=0.2)
    clean = (out.lr == batch.lr).flatten(1).all(1)
    assert 25 <= int(clean.sum()) <= 58
    assert torch.equal(out.hr, batch.hr)
    assert torch.equal(changed(registry, batch, clean_prob=1).lr, batch.lr)
    assert len({image.numpy().tobytes() for image in out.lr[~clean]}) == int((~clean).sum())


def test_lr_stays_where_hr_is(registry, photo):
    batch = pair(photo, 60, 3)
    mean = changed(registry, batch, clean_prob=0).lr.mean(0)

    def error(down: int, right: int) -> float:
        return float((mean.roll((down, right), (1, 2)) - batch.lr[0])[:, 2:-2, 2:-2].square().mean())

    assert min((error(y, x), y, x) for y in (-1, 0, 1) for x in (-1, 0, 1))[1:] == (0, 0)


@pytest.mark.parametrize("value", [[95, 40], [0, 95], [40, 101]])
def test_a_quality_that_is_none_is_refused_by_name(registry, value):
    with pytest.raises(OptionError, match="jpeg_range"):
        registry.choose("augmentation", "photo", {"jpeg_range": value}).build()
