"""Pictures of 16 bits stay 16 bits in the store and in the batches, beside pictures of 8."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from srkit import Pair, Registry, imresize, imresize_torch, load_plugins, read_rgb
from srkit.components import Dataset
from srkit.data.pairs import aligned, shallow
from srkit.data.sampler import Sampler
from srkit.data.store import Store, packed
from srkit.images import About, Encoding, picture_from, write_picture
from srkit.plugins import Choice

SIDE = 64


@pytest.fixture
def gradient() -> np.ndarray:
    """64,64,3 uint16, all values different in a row, few of them multiples of 257."""
    ramp = np.arange(SIDE * SIDE, dtype=np.uint16).reshape(SIDE, SIDE) * np.uint16(15) + np.uint16(3)
    return np.stack([ramp, ramp[::-1], ramp.T], axis=2)


@pytest.fixture
def folder(tmp_path: Path, gradient: np.ndarray) -> Path:
    """A deep picture and one of 8 bits."""
    write_picture(tmp_path / "a_deep.png", picture_from(gradient, About()), Encoding("png"))
    Image.fromarray(shallow(gradient)[::-1].copy()).save(tmp_path / "b_plain.png")
    return tmp_path


class Plain(list[Pair]):
    """Pairs without files."""


def chosen(name: str = "folder") -> Choice:
    return load_plugins().choose("dataset", name)


def sampler(store: Store, *, scale: int = 2, resident: str = "no", batch: int = 32) -> Sampler:
    device = torch.device("cpu")
    return Sampler([store], scale=scale, batch=batch, patch=8, seed=3, device=device, resident=resident)


def values(picture: np.ndarray) -> set[tuple[float, ...]]:
    """The pixels of a picture as they are in a batch."""
    white = np.float32(np.iinfo(picture.dtype).max)
    return {tuple(pixel) for pixel in (picture.reshape(-1, 3).astype(np.float32) / white).tolist()}


def test_a_deep_picture_is_in_the_store_as_it_was(folder: Path, gradient: np.ndarray) -> None:
    store = packed(chosen(), str(folder), "train", 2)
    assert store.image("hr", 0).dtype == np.uint16
    assert np.array_equal(store.image("hr", 0), gradient)
    assert np.array_equal(store.image("lr", 0), imresize(gradient, 0.5))
    assert store.image("hr", 1).dtype == np.uint8
    assert np.array_equal(store.image("hr", 1), read_rgb(folder / "b_plain.png"))


@pytest.mark.parametrize("resident", ["no", "yes"])
def test_batches_have_every_bit(folder: Path, gradient: np.ndarray, resident: str) -> None:
    store = packed(chosen(), str(folder), "train", 2)
    batch = sampler(store, resident=resident)(0)
    known = values(gradient) | values(store.image("hr", 1))
    seen = {tuple(pixel) for pixel in batch.hr.permute(0, 2, 3, 1).reshape(-1, 3).tolist()}
    assert seen <= known
    assert seen & values(gradient)
    assert seen & values(store.image("hr", 1))
    deep = {tuple(pixel) for pixel in batch.lr.permute(0, 2, 3, 1).reshape(-1, 3).tolist()}
    assert deep <= values(store.image("lr", 0)) | values(store.image("lr", 1))


def test_resident_pixels_give_the_same_batches(folder: Path) -> None:
    store = packed(chosen(), str(folder), "train", 2)
    mapped, resident = (sampler(store, resident=where)(5) for where in ("no", "yes"))
    assert torch.equal(mapped.hr, resident.hr)
    assert torch.equal(mapped.lr, resident.lr)


@pytest.mark.parametrize("resident", ["no", "yes"])
def test_lr_made_on_the_device_is_that_of_the_store(folder: Path, resident: str) -> None:
    stored = sampler(packed(chosen(), str(folder), "train", 2))(0)
    made = sampler(packed(chosen(), str(folder), "train", 2, lr=False), resident=resident)(0)
    assert torch.equal(stored.hr, made.hr)
    assert torch.equal(stored.lr, made.lr)


def test_pictures_of_8_bits_give_the_same_values_beside_deep_ones() -> None:
    """255 in 8 bits and 65535 in 16 are one white, and all between are equal to the last bit of a float."""
    eight = np.arange(256, dtype=np.uint8)
    assert torch.equal(
        torch.from_numpy(eight).float() / 255,
        torch.from_numpy(eight.astype(np.uint16) * np.uint16(257)).float() / 65535,
    )


def test_imresize_rounds_16_bits_to_16_bits(gradient: np.ndarray) -> None:
    small = imresize(gradient, 0.5)
    assert small.dtype == np.uint16
    assert np.abs(small - imresize(gradient.astype(np.float64), 0.5)).max() <= 1  # two roundings
    assert len(np.unique(small % 257)) > 100  # not 8 bits made larger
    batch = torch.from_numpy(gradient).permute(2, 0, 1)[None]
    assert np.array_equal(imresize_torch(batch, 0.5)[0].permute(1, 2, 0).numpy(), small)


def test_what_is_scored_has_8_bits(gradient: np.ndarray) -> None:
    lr, hr = aligned(Pair("deep", None, gradient), 2)
    assert (lr.dtype, hr.dtype) == (np.uint8, np.uint8)
    assert np.array_equal(lr, imresize(shallow(gradient), 0.5))
    assert np.abs(hr * 257.0 - gradient).max() <= 128


def test_a_dataset_may_give_deep_lr_and_plain_hr(gradient: np.ndarray) -> None:
    pairs = Plain([Pair("mixed", gradient[:32, :32], shallow(gradient))])
    registry = Registry()
    registry.add("dataset", Dataset(name="plain", build=lambda root, split, scale: pairs))
    store = packed(registry.choose("dataset", "plain"), "", "train", 2)
    assert np.array_equal(store.image("lr", 0), gradient[:32, :32])
    assert np.array_equal(store.image("hr", 0), shallow(gradient))
    batch = sampler(store)(0)
    assert {tuple(p) for p in batch.lr.permute(0, 2, 3, 1).reshape(-1, 3).tolist()} <= values(gradient[:32, :32])
    assert {tuple(p) for p in batch.hr.permute(0, 2, 3, 1).reshape(-1, 3).tolist()} <= values(shallow(gradient))
