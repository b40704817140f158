"""DIV2K and Flickr2K: the layouts people keep them in, the tracks, the ranges, and what is missing told in one line."""

import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from srkit import DataError, OptionError, UnknownName, UsageError
from srkit.data.pairs import aligned
from tests.server import pixels

PLACES = {"official": "", "EDSR's code": "DIV2K/", "lower case": "div2k/"}


@pytest.fixture
def put(tmp_path: Path):
    def make(*names: str, height: int = 24, width: int = 36) -> None:
        """Pictures that differ by their path."""
        for name in names:
            path = tmp_path / name
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(pixels(sum(name.encode()), height, width)).save(path)

    return make


def div2k(registry, root, split="train", scale=2, **options):
    return registry.choose("dataset", "div2k", options).build(root, split, scale)


def stored(root: Path, name: str) -> np.ndarray:
    return np.asarray(Image.open(root / name))


@pytest.mark.parametrize("place", PLACES.values(), ids=PLACES)
@pytest.mark.parametrize("split", ["train", "valid", "test"])
def test_the_official_layout(registry, put, tmp_path, place, split):
    part, number = ("train", "0001") if split == "train" else ("valid", "0801")
    for each, name in (("train", "0001"), ("valid", "0801")):
        put(f"{place}DIV2K_{each}_HR/{name}.png")
        put(f"{place}DIV2K_{each}_LR_bicubic/X2/{name}x2.png", height=12, width=18)
    (pair,) = div2k(registry, tmp_path, split)
    assert pair.name == number
    np.testing.assert_array_equal(pair.hr, stored(tmp_path, f"{place}DIV2K_{part}_HR/{number}.png"))
    np.testing.assert_array_equal(pair.lr, stored(tmp_path, f"{place}DIV2K_{part}_LR_bicubic/X2/{number}x2.png"))
    assert div2k(registry, tmp_path, split, 4)[0].lr is None, "no LR x4 is there, so it is made"


def test_the_edsr_codes_layout_holds_all_900_in_the_train_folder(registry, put, tmp_path):
    numbers = ["0001", "0002", "0800", "0801", "0810", "0900"]
    put(*(f"DIV2K/DIV2K_train_HR/{n}.png" for n in numbers))
    put(*(f"DIV2K/DIV2K_train_LR_bicubic/X2/{n}x2.png" for n in numbers), height=12, width=18)
    assert div2k(registry, tmp_path, "train").names == ["0001", "0002", "0800"]
    valid = div2k(registry, tmp_path, "valid")
    assert valid.names == ["0801", "0810", "0900"]
    np.testing.assert_array_equal(valid[1].lr, stored(tmp_path, "DIV2K/DIV2K_train_LR_bicubic/X2/0810x2.png"))


def test_a_range_as_the_edsr_code_has_it(registry, put, tmp_path):
    put(
        *(f"DIV2K_train_HR/{n:04}.png" for n in (1, 2, 7, 800)),
        *(f"DIV2K_valid_HR/{n:04}.png" for n in (801, 805, 811)),
    )
    assert div2k(registry, tmp_path, "valid", images="801-810").names == ["0801", "0805"]
    assert div2k(registry, tmp_path, "train", images="2-7").names == ["0002", "0007"]
    assert div2k(registry, tmp_path, "train", images="1, 7-9,811").names == ["0001", "0007", "0811"]
    for wrong in ("801-", "a", "810-801", "1;2"):
        with pytest.raises(
            UsageError, match=f"images = '{wrong}': '.*' is neither a number nor a range such as 801-810"
        ):
            div2k(registry, tmp_path, images=wrong)
    with pytest.raises(DataError, match="has no picture 100-200; srkit data fetch div2k --scale 2"):
        div2k(registry, tmp_path, images="100-200")


@pytest.mark.parametrize("lr", ["DIV2K_train_LR_bicubic/X2_sub", "DIV2K_train_LR_bicubic_X2_sub"])
def test_basicsrs_sub_images(registry, put, tmp_path, lr):
    subs = ["0001_s001", "0001_s002", "0801_s001"]
    put(*(f"DIV2K_train_HR_sub/{n}.png" for n in subs))
    put(*(f"{lr}/{n}.png" for n in subs), height=12, width=18)
    pairs = div2k(registry, tmp_path)
    assert pairs.names == ["0001_s001", "0001_s002"]
    np.testing.assert_array_equal(pairs[1].lr, stored(tmp_path, f"{lr}/0001_s002.png"))
    put("DIV2K_train_HR/0001.png")
    assert div2k(registry, tmp_path).names == ["0001"], "the whole pictures, where they are there"
    assert div2k(registry, tmp_path)[0].lr is None, "parts are no LR of a whole"


@pytest.mark.parametrize(
    ("track", "scale", "lr"),
    [
        ("bicubic", 3, "DIV2K_train_LR_bicubic/X3/0001x3.png"),
        ("bicubic", 2, "DIV2K_train_LR_bicubic_X2/0001x2.png"),
        ("bicubic", 8, "DIV2K_train_LR_x8/0001x8.png"),
        ("bicubic", 8, "DIV2K_train_LR_bicubic/X8/0001x8.png"),
        ("unknown", 2, "DIV2K_train_LR_unknown/X2/0001x2.png"),
        ("mild", 4, "DIV2K_train_LR_mild/0001x4m.png"),
        ("difficult", 4, "DIV2K_train_LR_difficult/0001x4d.png"),
    ],
)
def test_each_track_has_its_folder(registry, put, tmp_path, track, scale, lr):
    put("DIV2K_train_HR/0001.png")
    put(lr, height=24 // scale, width=36 // scale)
    (pair,) = div2k(registry, tmp_path, scale=scale, track=track)
    np.testing.assert_array_equal(pair.lr, stored(tmp_path, lr))
    assert pair.name == "0001"


def test_the_wild_track_gives_a_pair_for_each_lr(registry, put, tmp_path):
    put("DIV2K_train_HR/0001.png", "DIV2K_valid_HR/0801.png")
    lr = [f"DIV2K_train_LR_wild/0001x4w{i}.png" for i in (1, 2, 3, 4)]
    put(*lr, "DIV2K_valid_LR_wild/0801x4w.png", height=6, width=9)
    pairs = div2k(registry, tmp_path, scale=4, track="wild")
    assert pairs.names == ["0001w1", "0001w2", "0001w3", "0001w4"]
    for pair, name in zip(pairs, lr, strict=True):
        np.testing.assert_array_equal(pair.lr, stored(tmp_path, name))
        np.testing.assert_array_equal(pair.hr, stored(tmp_path, "DIV2K_train_HR/0001.png"))
    assert div2k(registry, tmp_path, "valid", 4, track="wild").names == ["0801w"]


def test_a_published_lr_that_was_rounded_up_is_cropped_to_whole_pixels(registry, put, tmp_path):
    """MATLAB's imresize makes 170 rows of 1356 by 1/8; only 169 of them lie wholly in HR."""
    put("DIV2K_train_HR/0001.png", height=28, width=40)
    put("DIV2K_train_LR_x8/0001x8.png", height=4, width=5)
    (pair,) = div2k(registry, tmp_path, scale=8)
    lr, hr = aligned(pair, 8)
    assert (lr.shape, hr.shape) == ((3, 5, 3), (24, 40, 3))
    np.testing.assert_array_equal(lr, stored(tmp_path, "DIV2K_train_LR_x8/0001x8.png")[:3])


def test_a_missing_lr_is_an_error_but_for_bicubic(registry, put, tmp_path):
    put("DIV2K_train_HR/0001.png", "DIV2K_train_HR/0002.png")
    line = "no LR of track 'unknown' in '.*': looked for DIV2K_train_LR_unknown/X3 .*; srkit data fetch div2k --scale 3"
    with pytest.raises(DataError, match=f"{line} --track unknown"):
        div2k(registry, tmp_path, scale=3, track="unknown")
    put("DIV2K_train_LR_unknown/X3/0001x3.png", height=8, width=12)
    with pytest.raises(DataError, match="0002.png' has no LR partner '0002x3' in '.*X3'"):
        div2k(registry, tmp_path, scale=3, track="unknown")
    with pytest.raises(UsageError, match="track 'mild' is published for x4, not x2"):
        div2k(registry, tmp_path, track="mild")
    with pytest.raises(OptionError, match="did you mean 'unknown'"):
        div2k(registry, tmp_path, track="unknow")


def test_where_it_is_not_the_way_to_it_is_told(registry, put, tmp_path, monkeypatch):
    (tmp_path / "empty").mkdir()
    line = (
        "DIV2K is not found: looked for DIV2K_train_HR and DIV2K_valid_HR in '{0}' and in '{0}/DIV2K'; "
        "srkit data fetch div2k --scale 2, or name its folder: --set data.root=DIR"
    )
    with pytest.raises(UnknownName, match=re.escape(line.format(tmp_path / "empty"))):
        div2k(registry, tmp_path / "empty")
    monkeypatch.setenv("SRKIT_DATA", str(tmp_path / "nowhere"))
    with pytest.raises(UnknownName, match=re.escape(line.format(tmp_path / "nowhere"))):
        div2k(registry, None)
    with pytest.raises(UnknownName, match="no folder '.*emty'; did you mean '.*empty'"):
        div2k(registry, tmp_path / "emty")
    put("DIV2K_train_HR/0001.png")
    with pytest.raises(DataError, match="has no picture 801-900; srkit data fetch div2k"):
        div2k(registry, tmp_path, "valid")


def test_without_a_root_it_is_in_the_data_folder(registry, put, tmp_path, monkeypatch):
    put("home/DIV2K/DIV2K_train_HR/0001.png")
    monkeypatch.setenv("SRKIT_DATA", str(tmp_path / "home"))
    assert div2k(registry, None).names == ["0001"]


def test_the_fingerprint_follows_the_lr_too(registry, put, tmp_path):
    put("DIV2K_train_HR/0001.png")
    first = div2k(registry, tmp_path).fingerprint()
    put("DIV2K_train_LR_bicubic/X2/0001x2.png", height=12, width=18)
    assert div2k(registry, tmp_path).fingerprint() != first


def test_flickr2k(registry, put, tmp_path):
    choose = registry.choose
    with pytest.raises(
        UnknownName, match="Flickr2K is not found: looked for Flickr2K_HR in .*srkit data fetch flickr2k"
    ):
        choose("dataset", "flickr2k").build(tmp_path, "train", 2)
    put("Flickr2K/Flickr2K_HR/000001.png", "Flickr2K/Flickr2K_HR/002650.png")
    put("Flickr2K/Flickr2K_LR_bicubic/X2/000001x2.png", height=12, width=18)
    put("Flickr2K/Flickr2K_LR_bicubic/X2/002650x2.png", height=12, width=18)
    pairs = choose("dataset", "flickr2k").build(tmp_path, "train", 2)
    assert pairs.names == ["000001", "002650"]
    np.testing.assert_array_equal(pairs[1].lr, stored(tmp_path, "Flickr2K/Flickr2K_LR_bicubic/X2/002650x2.png"))
    assert choose("dataset", "flickr2k").build(tmp_path, "train", 3)[0].lr is None
    with pytest.raises(UsageError, match="Flickr2K has no split 'valid'; name pictures"):
        choose("dataset", "flickr2k").build(tmp_path, "valid", 2)
    held_out = choose("dataset", "flickr2k", {"images": "2601-2650"}).build(tmp_path, "valid", 2)
    assert held_out.names == ["002650"]


def test_manga109_is_found_like_the_other_test_sets(registry, put, tmp_path):
    put("Manga109/HR/Arisa.png")
    assert registry.choose("dataset", "manga109").build(tmp_path, "test", 2).names == ["Arisa"]
