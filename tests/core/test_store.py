"""The packed store and the sampler: the right pixels, aligned, and a pure function of (seed, step)."""

import multiprocessing
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from srkit import DataError, ImageError, Pair, Registry, imresize, load_plugins
from srkit.components import Dataset
from srkit.data.pairs import aligned
from srkit.data.sampler import Sampler
from srkit.data.store import packed, read_pack
from srkit.files import packs_folder


@pytest.fixture
def pictures(tmp_path: Path, photo) -> Path:
    folder = tmp_path / "pictures"
    (folder / "deep").mkdir(parents=True)
    Image.fromarray(photo).save(folder / "a.png")
    Image.fromarray(photo[:101, :77]).save(folder / "deep" / "b.bmp")
    Image.fromarray(photo[:20, :20]).save(folder / "small.png")
    return folder


def pack(folder: Path, scale: int = 2, **options):
    return packed(load_plugins().choose("dataset", "folder", options), str(folder), "train", scale)


def sampler(store, **changes):
    wanted = {"scale": 2, "batch": 5, "patch": 16, "seed": 3, "device": torch.device("cpu")} | changes
    return Sampler([store], **wanted)


@pytest.mark.parametrize("scale", [2, 3, 4])
def test_the_store_holds_the_very_pixels(pictures, photo, scale):
    store = pack(pictures, scale)
    assert store.names == ["a", "deep/b", "small"]
    hr = photo[: 299 // scale * scale, : 451 // scale * scale]
    np.testing.assert_array_equal(store.image("hr", 0), hr)
    np.testing.assert_array_equal(store.image("lr", 0), imresize(hr, 1 / scale))
    np.testing.assert_array_equal(store.image("hr", 2), photo[: 20 // scale * scale, : 20 // scale * scale])


def test_patches_are_cut_where_both_pictures_agree(pictures):
    """Each patch must be found in its picture, LR and HR at the same place; searched without the sampler's help."""
    store = pack(pictures)
    batch = sampler(store, batch=8)(11)
    assert batch.lr.shape == (8, 3, 16, 16)
    assert batch.hr.shape == (8, 3, 32, 32)
    assert batch.lr.is_contiguous(memory_format=torch.channels_last)
    windows = {}
    for lr, hr in zip(batch.lr, batch.hr, strict=True):
        lr, hr = ((t * 255).round().byte().permute(1, 2, 0).numpy() for t in (lr, hr))
        places = []
        for i in range(len(store)):
            whole = store.image("lr", i)
            if i not in windows and min(whole.shape[:2]) >= 16:
                windows[i] = np.lib.stride_tricks.sliding_window_view(whole[..., 0], (16, 16))
            if i in windows:
                for y, x in np.argwhere((windows[i] == lr[..., 0]).all(axis=(2, 3))):
                    places.append((i, y, x))
        assert places
        assert any(
            np.array_equal(store.image("hr", i)[2 * y : 2 * y + 32, 2 * x : 2 * x + 32], hr) for i, y, x in places
        )


def test_a_step_is_a_pure_function_of_seed_and_step(pictures):
    first, second = sampler(pack(pictures)), sampler(pack(pictures))
    second(5)
    second(6)
    assert torch.equal(first(7).hr, second(7).hr)
    assert not torch.equal(first(7).hr, first(8).hr)
    assert not torch.equal(first(7).hr, sampler(pack(pictures), seed=4)(7).hr)


def test_small_pictures_are_left_out_and_none_left_is_an_error(pictures):
    assert sampler(pack(pictures)).left_out == ["small"]
    with pytest.raises(DataError, match="every picture is smaller than a patch of 800x800 pixels"):
        sampler(pack(pictures), patch=400)


def test_every_place_of_a_picture_can_be_drawn(tmp_path, photo):
    (tmp_path / "one").mkdir()
    Image.fromarray(photo[:34, :34]).save(tmp_path / "one" / "p.png")  # LR 17x17: a patch of 16 has four places
    store = pack(tmp_path / "one")
    draw = sampler(store, batch=64)
    found = {patch.numpy().tobytes() for patch in draw(0).lr}
    assert len(found) == 4


def test_a_pack_is_found_again_and_made_anew_when_a_file_changes(pictures, photo):
    calls = []

    def pack_and_count():
        choice = load_plugins().choose("dataset", "folder")
        return packed(choice, str(pictures), "train", 2, lambda done, total: calls.append((done, total)))

    first = pack_and_count()
    assert calls == [(1, 3), (2, 3), (3, 3)]
    assert pack_and_count().path == first.path
    assert len(calls) == 3
    Image.fromarray(255 - photo).save(pictures / "a.png")
    assert pack_and_count().path != first.path
    assert len(calls) == 6


def test_a_torn_pack_is_built_again(pictures):
    store = pack(pictures)
    whole = store.path.read_bytes()
    store.path.write_bytes(whole[:-9])
    with pytest.raises(ValueError, match="not a pack"):
        read_pack(store.path)
    assert pack(pictures).path.read_bytes() == whole


def build_in_another_process(folder: str, out) -> None:
    out.put(pack(Path(folder)).path.read_bytes())


def test_two_processes_may_build_the_same_pack(pictures, monkeypatch, tmp_path):
    monkeypatch.setenv("SRKIT_CACHE", str(tmp_path / "own-cache"))
    context = multiprocessing.get_context("fork")
    out = context.Queue()
    workers = [context.Process(target=build_in_another_process, args=(str(pictures), out)) for _ in range(2)]
    for worker in workers:
        worker.start()
    first, second = out.get(timeout=60), out.get(timeout=60)
    for worker in workers:
        worker.join()
    assert first == second
    left = sorted(p.suffix for p in packs_folder().iterdir())
    assert left == [".lock", ".pack"], "no temporary file is left"


def test_a_dataset_without_fingerprint_is_packed_by_its_pixels(photo):
    class Plain(list):
        pass

    registry = Registry()
    pairs = Plain([Pair("p", None, photo)])
    registry.add("dataset", Dataset(name="plain", build=lambda root, split, scale: pairs))
    choice = registry.choose("dataset", "plain")
    first = packed(choice, "", "train", 2)
    assert packed(choice, "", "train", 2).path == first.path
    pairs[0] = Pair("p", None, 255 - photo)
    assert packed(choice, "", "train", 2).path != first.path


def test_a_corrupt_picture_is_named(pictures):
    (pictures / "broken.jpg").write_bytes(b"\xff\xd8\xff")
    with pytest.raises(ImageError, match="broken.jpg"):
        pack(pictures)


def test_given_lr_must_fit(photo):
    hr = photo[:100, :100]
    assert aligned(Pair("p", hr[:33, :33], hr), 3)[1].shape == (99, 99, 3)
    with pytest.raises(DataError, match="'p': LR is 40x40, but HR 100x100 divided by 3 is 33x33"):
        aligned(Pair("p", hr[:40, :40], hr), 3)
    with pytest.raises(DataError, match="must be a uint8 or uint16 array"):
        aligned(Pair("p", None, hr[..., 0]), 3)
    with pytest.raises(DataError, match="too small for x4"):
        aligned(Pair("p", None, hr[:3]), 4)
