"""Datasets that are folders: layouts, partners, splits, and what is wrong told in one line."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from srkit import DataError, SrkitError, imresize


@pytest.fixture
def put(tmp_path: Path):
    def make(name: str, pixels: np.ndarray) -> None:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(path)

    return make


@pytest.fixture
def hr() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (12, 18, 3), dtype=np.uint8)


def folder(registry, root, split="train", scale=2, **options):
    return registry.choose("dataset", "folder", options).build(root, split, scale)


@pytest.mark.parametrize("suffix", ["png", "bmp", "webp", "tif", "jpg"])
def test_hr_alone_of_every_format(registry, put, tmp_path, hr, suffix):
    put(f"deep/er/a.{suffix}", hr)
    (pair,) = folder(registry, tmp_path)
    assert pair.name == "deep/er/a"
    assert pair.lr is None
    assert pair.hr.shape == hr.shape


@pytest.mark.parametrize("lr_name", ["LR_bicubic/X2/ax2.png", "LR/X2/a.png", "X2/ax2.png", "LR/a.png"])
@pytest.mark.parametrize("hr_name", ["HR/a.png", "a.png"])
def test_lr_is_found_in_the_usual_layouts(registry, put, tmp_path, hr, hr_name, lr_name):
    put(hr_name, hr)
    put(lr_name, imresize(hr, 0.5))
    (pair,) = folder(registry, tmp_path)
    np.testing.assert_array_equal(pair.hr, hr)
    np.testing.assert_array_equal(pair.lr, imresize(hr, 0.5))
    assert folder(registry, tmp_path, lr="none")[0].lr is None


def test_folders_may_be_named(registry, put, tmp_path, hr):
    put("big/a.png", hr)
    put("small/a.png", imresize(hr, 0.5))
    (pair,) = folder(registry, tmp_path, hr="big", lr="small")
    assert pair.lr.shape == (6, 9, 3)
    with pytest.raises(SrkitError, match="no folder '.*smal'; did you mean '.*small'?"):
        folder(registry, tmp_path, hr="big", lr="smal")


def test_split_folders(registry, put, tmp_path, hr):
    put("train/a.png", hr)
    put("valid/b.png", hr)
    assert folder(registry, tmp_path, "train").names == ["a"]
    assert folder(registry, tmp_path, "valid").names == ["b"]


def test_what_is_wrong_is_told(registry, put, tmp_path, hr):
    with pytest.raises(DataError, match="no pictures in"):
        folder(registry, tmp_path)
    put("HR/a.png", hr)
    put("LR/X2/b.png", hr)
    with pytest.raises(DataError, match="a.png' has no LR partner 'ax2' or 'a'"):
        folder(registry, tmp_path)
    with pytest.raises(SrkitError, match="needs a root"):
        folder(registry, None)


def test_the_samples_are_eight_and_two(registry):
    samples = registry.choose("dataset", "samples")
    train, valid = samples.build(None, "train", 2), samples.build(None, "valid", 2)
    assert (len(train), valid.names) == (8, ["chelsea", "coffee"])
    assert not set(train.names) & set(valid.names)


def test_the_published_sets_are_found_under_a_root(registry, shared, monkeypatch):
    for name, count in (("set5", 5), ("set14", 14), ("b100", 100)):
        for root in (shared, shared / "bench"):
            assert len(registry.choose("dataset", name).build(root, "test", 2)) == count
    monkeypatch.setenv("SRKIT_DATA", str(shared))
    pairs = registry.choose("dataset", "set14").build(None, "test", 2)
    bridge = pairs[pairs.names.index("bridge")]
    assert bridge.hr.shape == (512, 512, 3), "the gray one is three equal channels"
    with pytest.raises(SrkitError, match="Urban100 is not found below"):
        registry.choose("dataset", "urban100").build(None, "test", 2)


def test_the_fingerprint_follows_the_files(registry, put, tmp_path, hr):
    put("a.png", hr)
    first = folder(registry, tmp_path).fingerprint()
    assert folder(registry, tmp_path).fingerprint() == first
    put("b.png", hr)
    second = folder(registry, tmp_path).fingerprint()
    put("b.png", 255 - hr)
    assert len({first, second, folder(registry, tmp_path).fingerprint()}) == 3
