"""What people wanted of folders of pairs, from this field's public trackers and other toolkits' own layouts."""

import re
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

import srkit
from srkit import DataError, SrkitError, UsageError, imresize
from srkit.data.pairs import aligned

RNG = np.random.default_rng(0)
PHOTOS = {name: RNG.integers(0, 256, (24, 36, 3), dtype=np.uint8) for name in ("baby", "bird", "0801")}


def put(root: Path, name: str, pixels: np.ndarray) -> None:
    path = root / name
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)


def folder(root: Path, scale: int = 2, split: str = "train", **options):
    return srkit.load_plugins().choose("dataset", "folder", options).build(root, split, scale)


def lay_out(root: Path, hr: str, lr: str, scale: int = 2, photos=PHOTOS) -> None:
    """HR and LR files by these patterns; `{s}` is the scale, `{n}` the picture's name."""
    for name, pixels in photos.items():
        put(root, hr.format(n=name, s=scale), pixels)
        put(root, lr.format(n=name, s=scale), imresize(pixels, 1 / scale))


def check_pairs(pairs, photos=PHOTOS, scale: int = 2) -> None:
    """Each picture once, with the LR that is its own."""
    assert len(pairs) == len(photos)
    left = dict(photos)
    for pair in pairs:
        name = next(n for n, pixels in left.items() if np.array_equal(pixels, pair.hr))
        np.testing.assert_array_equal(pair.lr, imresize(left.pop(name), 1 / scale))


LAYOUTS = {
    "two folders, lower case": ("hr/{n}.png", "lr/{n}.png"),
    "EDSR-PyTorch's benchmark": ("HR/{n}.png", "LR_bicubic/X{s}/{n}x{s}.png"),
    "EDSR-PyTorch's DIV2K": ("DIV2K_train_HR/{n}.png", "DIV2K_train_LR_bicubic/X{s}/{n}x{s}.png"),
    "DIV2K x8": ("DIV2K_train_HR/{n}.png", "DIV2K_train_LR_x{s}/{n}x{s}.png"),
    "DIV2K in lower case": ("div2k_train_hr/{n}.png", "div2k_train_lr_bicubic/x{s}/{n}x{s}.png"),
    "BasicSR's test sets": ("Set5/GTmod12/{n}.png", "Set5/LRbicx{s}/{n}.png"),
    "BasicSR's sub-images": ("DIV2K_train_HR_sub/{n}_s001.png", "DIV2K_train_LR_bicubic/X{s}_sub/{n}_s001.png"),
    "old BasicSR, ESRGAN": ("val_set5/Set5/{n}.png", "val_set5/Set5_bicLRx{s}/{n}_bicLRx{s}.png"),
    "KAIR": ("trainH/{n}.png", "trainL/{n}.png"),
    "KAIR's test sets": ("testsets/Set5/H/{n}.png", "testsets/Set5/L/{n}.png"),
    "MMagic": ("gt/{n}.png", "lq/{n}_x{s}.png"),
    "MMEditing's Set5": ("Set5_mod12/{n}.png", "Set5_bicLRx{s}/{n}.png"),
    "Real-ESRGAN's paired data": ("gt_sub/{n}_s001.png", "lq_sub/{n}_s001.png"),
    "SelfExSR's zips": ("image_SRF_{s}/img_{n}_SRF_{s}_HR.png", "image_SRF_{s}/img_{n}_SRF_{s}_LR.png"),
    "RCAN's test data": ("HR/Set5/x{s}/{n}_HR_x{s}.png", "LR/LRBI/Set5/x{s}/{n}_LRBI_x{s}.png"),
    "RealSR's names": ("Canon/Train/{s}/Canon_{n}_HR.png", "Canon/Train/{s}/Canon_{n}_LR{s}.png"),
    "DRealSR": ("Train_x{s}/train_HR/p_{n}_x{s}.png", "Train_x{s}/train_LR/p_{n}_x1.png"),
    "Kaggle, high_res": ("train/high_res/{n}.png", "train/low_res/{n}.png"),
    "Kaggle, Unsplash": ("high res/{n}.png", "low res/{n}_{s}.png"),
    "OmniSR, DAT": ("DF2K/HR/{n}.png", "DF2K/LR_bicubic/X{s}/{n}.png"),
    "FSRCNN-PyTorch": ("T91/train/HR/{n}.png", "T91/train/LRbicx{s}/{n}.png"),
    "inputs and targets": ("LRbicx{s}/target/{n}.png", "LRbicx{s}/inputs/{n}.png"),
    "a folder a picture": ("{n}/HR.png", "{n}/LR.png"),
    "beside each other": ("{n}.png", "{n}x{s}.png"),
    "beside each other, marked": ("{n}_HR.png", "{n}_LR.png"),
    "suffix first": ("hr_{n}.png", "lr_{n}.png"),
    "a name nobody knows": ("{n}.png", "{n}-poor.png"),
    "a prefix nobody knows": ("{n}.png", "poor_{n}.png"),
    "folders nobody knows": ("foto/{n}.png", "kleiner/{n}.png"),
    "HR known, LR not": ("HR/{n}.png", "kleiner/{n}.png"),
    "LR known, HR not": ("foto/{n}.png", "LR/{n}.png"),
    "deeper": ("a/b/foto/part/{n}.png", "a/c/mini/part/{n}.png"),
    "other formats": ("hr/{n}.bmp", "lr/{n}.png"),
    "upper case": ("HR/{n}.PNG", "Lr/{n}X{s}.PNG"),
}


@pytest.mark.parametrize("scale", [2, 3, 4])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_layouts_are_pairs_and_what_is_what_is_said(tmp_path, layout, scale):
    """XPixelGroup/BasicSR#243, #71: HR and LR called as every toolkit calls them. Right: all pairs, and one line."""
    hr, lr = LAYOUTS[layout]
    lay_out(tmp_path, hr, lr, scale)
    for make in (lr.format(n="notes", s=scale), hr.format(n="notes", s=scale)):
        (tmp_path / make).with_suffix(".txt").parent.mkdir(parents=True, exist_ok=True)
    pairs = folder(tmp_path, scale)
    check_pairs(pairs, scale=scale)
    assert len(set(pairs.names)) == 3
    line = pairs.describe()
    assert line.startswith("3 pictures: HR in '")
    assert f"LR x{scale} in '" in line
    first = {name: pixels for name, pixels in PHOTOS.items() if np.array_equal(pixels, pairs[0].hr)}
    ((name, _),) = first.items()
    shown = (Path(p.format(n=name, s=scale)).name for p in (hr, lr))
    assert "{} with {}".format(*shown) in line
    alone = folder(tmp_path, scale, lr_dir="none")
    assert [pair.lr for pair in alone] == [None] * 3, "HR alone is still HR alone"
    assert "made from them" in alone.describe()


def test_lower_case_folders_give_the_score_of_their_own_lr(tmp_path, run_srkit):
    """The six pictures of `hr/` and `lr/`, LR counted among them, scored 43.27 dB instead of 51.79."""
    lay_out(tmp_path / "set", "hr/{n}.png", "lr/{n}.png", photos={k: v for k, v in PHOTOS.items() if k != "0801"})
    code, out, err = run_srkit("bench", "--sets", "set", "--models", "bicubic", "--scales", "2", "--json")
    assert code == 0
    assert '"images": 2' in out
    line = "2 pictures: HR in 'hr', LR x2 in 'lr', baby.png with baby.png"
    assert f"set x2: {line}" in err
    code, out, _ = run_srkit("data", "check", "set", "--patch", "8")
    assert line in out
    small = ["--set", "model.n_resblocks=1", "--set", "model.n_feats=4", "--set", "batch=1", "--set", "patch=8"]
    code, _, err = run_srkit("train", "--model", "edsr", "--data", "set", "--steps", "1", *small)
    assert code == 0
    assert f"train x2: {line}" in err
    assert "validation x2: 2 pictures: HR in '.', LR x2 made from them" in err


def test_all_scales_side_by_side(tmp_path):
    """sanghyun-son/EDSR-PyTorch's layout has every scale. Right: of each scale its own, and the others are said."""
    for scale in (2, 3, 4):
        lay_out(tmp_path, "HR/{n}.png", "LR_bicubic/X{s}/{n}x{s}.png", scale)
        lay_out(tmp_path / "flat", "{n}.png", "{n}_x{s}.png", scale)
    for root in (tmp_path / "flat", tmp_path):
        if root == tmp_path:
            import shutil

            shutil.rmtree(tmp_path / "flat")
        for scale in (2, 3, 4):
            pairs = folder(root, scale)
            check_pairs(pairs, scale=scale)
        assert "LR x2, x3 is for other scales" in pairs.describe()
        alone = folder(root, 6)
        assert [pair.lr for pair in alone] == [None] * 3
        assert "LR x2, x3, x4 is for other scales" in alone.describe()


def test_another_programs_results_beside_hr_are_no_hr(tmp_path):
    """The zips of SelfExSR hold each method's result. Right: HR and LR alone, the rest is counted and named."""
    lay_out(tmp_path, "image_SRF_{s}/img_{n}_SRF_{s}_HR.png", "image_SRF_{s}/img_{n}_SRF_{s}_LR.png")
    for method in ("bicubic", "SRCNN"):
        for name, pixels in PHOTOS.items():
            put(tmp_path, f"image_SRF_2/img_{name}_SRF_2_{method}.png", 255 - pixels)
    pairs = folder(tmp_path)
    check_pairs(pairs)
    assert "6 neither HR nor LR by name left out: image_SRF_2/" in pairs.describe()


def test_basicsrs_uncropped_originals_beside_the_cropped_are_not_taken_twice(tmp_path):
    """BasicSR's Set5 has `original` and `GTmod12`. Right: LR belongs to the one it was made from."""
    lay_out(tmp_path, "Set5/GTmod12/{n}.png", "Set5/LRbicx{s}/{n}.png")
    for name, pixels in PHOTOS.items():
        put(tmp_path, f"Set5/original/{name}.png", np.pad(pixels, ((0, 1), (0, 1), (0, 0))))
    check_pairs(folder(tmp_path))
    for name, pixels in PHOTOS.items():
        put(tmp_path, f"Set5/original/{name}.png", pixels)
    check_pairs(folder(tmp_path))


@pytest.mark.parametrize("layout", ["two folders, lower case", "folders nobody knows", "beside each other"])
def test_a_missing_partner_is_an_error_that_names_it(tmp_path, layout):
    """XPixelGroup/BasicSR#243: 'different number of images - 100, 149', and which? Right: it is named."""
    hr, lr = LAYOUTS[layout]
    lay_out(tmp_path, hr, lr)
    (tmp_path / lr.format(n="bird", s=2)).unlink()
    with pytest.raises(DataError, match=re.escape(hr.format(n="bird")) + "' has no (LR|such) partner"):
        folder(tmp_path)


def test_lr_without_hr_is_named(tmp_path):
    lay_out(tmp_path, "hr/{n}.png", "lr/{n}.png")
    (tmp_path / "hr/bird.png").unlink()
    pairs = folder(tmp_path)
    assert len(pairs) == 2
    assert pairs.describe().endswith("; 1 LR without HR left out: lr/bird.png")


def test_two_that_could_be_it_are_an_error_that_names_both_and_the_option(tmp_path):
    lay_out(tmp_path, "HR/{n}.png", "LR_bicubic/X2/{n}x2.png")
    lay_out(tmp_path, "HR/{n}.png", "LR_unknown/X2/{n}x2.png")
    with pytest.raises(
        DataError, match=r"LR_bicubic/X2/0801x2.png' and '.*LR_unknown/X2/0801x2.png' may .*data.lr_dir="
    ):
        folder(tmp_path)
    check_pairs(folder(tmp_path, lr_dir="LR_unknown/X2"))
    check_pairs(folder(tmp_path, lr_dir="LR_unknown/X{scale}"))


def test_some_of_one_name_that_fit_and_some_that_do_not_are_asked_about(tmp_path):
    put(tmp_path, "cats/1.png", PHOTOS["baby"])
    put(tmp_path, "dogs/1.png", PHOTOS["bird"][:12, :18])
    put(tmp_path, "dogs/2.png", PHOTOS["bird"])
    with pytest.raises(
        DataError, match=r"dogs/1.png' \(18x12\) may be the LR x2 of '.*cats/1.png'.*dogs/2.png'.*hr_dir"
    ):
        folder(tmp_path)
    pairs = folder(tmp_path, hr_dir=".", lr_dir="none")
    assert (pairs.names, [pair.lr for pair in pairs]) == (["cats/1", "dogs/1", "dogs/2"], [None] * 3)
    assert len(folder(tmp_path, 3)) == 3, "no sizes that fit"


def test_pictures_that_only_look_named_by_scale_are_hr(tmp_path):
    for i, name in enumerate(("box2", "box3", "box4", "matrix4", "bo")):
        put(tmp_path, f"{name}.png", RNG.integers(0, 256, (20 + i, 30, 3), dtype=np.uint8))
    pairs = folder(tmp_path, 3)
    assert (pairs.names, [pair.lr for pair in pairs]) == (["bo", "box2", "box3", "box4", "matrix4"], [None] * 5)


def test_what_a_name_claims_and_sizes_deny_is_told(tmp_path):
    put(tmp_path, "a.png", PHOTOS["baby"])
    put(tmp_path, "a_x2.png", PHOTOS["baby"][:9, :9])
    with pytest.raises(DataError, match=r"a_x2.png' \(9x9\) is not '.*a.png' \(36x24\) divided by 2"):
        folder(tmp_path)


def test_any_name_by_a_template_and_any_folder_by_name(tmp_path):
    """XPixelGroup/BasicSR#528, LongguangWang's SYSU-SAIL/SMSR#2: names nobody foresaw. Right: they can be said."""
    lay_out(tmp_path / "one", "ground/{n}.png", "g/q_{n}.w{s}.png")
    check_pairs(folder(tmp_path / "one", hr_dir="ground", lr_dir="g", lr_template="q_{stem}.w{scale}"))
    check_pairs(folder(tmp_path / "one", hr_dir="ground", lr_template="q_{stem}.w{scale}"))
    check_pairs(folder(tmp_path / "one", lr_template="q_{stem}.w{scale}.png"))
    lay_out(tmp_path / "two", "{n}.png", "{n}_bicLRx{s}.png")
    check_pairs(folder(tmp_path / "two", lr_template="{stem}_bicLRx{scale}"))
    lay_out(tmp_path / "three", "x/{n}.png", "y/{n}.png")
    check_pairs(folder(tmp_path / "three", hr_dir="x", lr_dir="y"))
    check_pairs(folder(tmp_path / "three", hr="x", lr="y"))  # the options' former names
    check_pairs(folder(tmp_path / "three", hr_dir="x"))
    check_pairs(folder(tmp_path / "three", lr_dir="y"))
    for wrong in ("_x{scale}", "{stem}{stem}", "{stem}_{what}", "LR/{stem}"):
        with pytest.raises(UsageError, match="lr_template = '.*': write how an LR file is named"):
            folder(tmp_path / "two", lr_template=wrong)
    (tmp_path / "one/g/q_bird.w2.png").unlink()
    with pytest.raises(DataError, match="has no LR partner"):
        folder(tmp_path / "one", hr_dir="ground", lr_dir="g", lr_template="q_{stem}.w{scale}")


def test_the_folders_of_a_split(tmp_path):
    for split, name in (("train", "baby"), ("val", "bird")):
        lay_out(tmp_path / split, "HR/{n}.png", "LR/{n}.png", photos={name: PHOTOS[name]})
    assert folder(tmp_path, split="train").names == ["baby"]
    assert folder(tmp_path, split="valid").names == ["bird"]
    assert folder(tmp_path, split="test").names == ["bird"], "what is for validation stands in for a test"
    lay_out(tmp_path / "b", "Set_train_HR/{n}.png", "Set_train_LR/X2/{n}.png", photos={"baby": PHOTOS["baby"]})
    lay_out(tmp_path / "b", "Set_test_HR/{n}.png", "Set_test_LR/X2/{n}.png", photos={"bird": PHOTOS["bird"]})
    (train,), (test,) = folder(tmp_path / "b", split="train"), folder(tmp_path / "b", split="test")
    np.testing.assert_array_equal(train.hr, PHOTOS["baby"])
    np.testing.assert_array_equal(test.lr, imresize(PHOTOS["bird"], 0.5))


def test_gray_of_twelve_bits_in_a_dataset_has_its_range_said(tmp_path):
    deep = np.linspace(0, 4095, 24 * 36).reshape(24, 36).astype(np.uint16)
    Image.fromarray(deep).save(tmp_path / "a.png")
    (pair,) = folder(tmp_path, range=[0, 4095])
    np.testing.assert_array_equal(pair.hr[..., 0], np.floor(deep * (65535 / 4095) + 0.5))
    with pytest.raises(UsageError, match="black must be less than white"):
        folder(tmp_path, range=[9, 1])


WORDS = ["", "", "", "w", "lowq", "LR", "lr", "HR", "x2", "X2", "2x", "x4", "bicLRx2", "small", "s2", "SRF_2", "gt",
         "2", "new", "HR_x2"]  # fmt: skip
FOLDERS = ["data", "HR", "hr", "LR", "lr", "gt", "lq", "X2", "big", "small", "a b", "p_1", "train", "Set5", "high_res",
           "low_res", "input", "target", "Set5_LR"]  # fmt: skip
words, folders = st.sampled_from(WORDS), st.lists(st.sampled_from(FOLDERS), max_size=2)


def affixed(before: str, name: str, after: str, separator: str) -> str:
    return separator.join(filter(None, [before, name, after]))


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    places=st.tuples(folders, folders), affixes=st.tuples(words, words, words, words),
    separator=st.sampled_from(["_", "-", ".", " "]), drop=st.sampled_from(["", "", "hr", "lr"]),
    names=st.lists(st.sampled_from(["a", "b", "img_1", "img_2", "0001", "0002", "10", "1"]), min_size=1, max_size=4,
                   unique=True),
)  # fmt: skip
def test_random_layouts_pair_fully_and_correctly_or_raise(tmp_path_factory, places, affixes, separator, names, drop):
    """Whatever folders and files are called: every pair, each HR with its own LR, or an error; never more HR."""
    root = tmp_path_factory.mktemp("layout")
    hr_of = {n: "/".join([*places[0], affixed(affixes[0], n, affixes[1], separator) + ".png"]) for n in names}
    lr_of = {n: "/".join([*places[1], affixed(affixes[2], n, affixes[3], separator) + ".png"]) for n in names}
    if len({*hr_of.values(), *lr_of.values()}) < 2 * len(names):
        return  # one file would be written over the other
    expected = {}
    for i, name in enumerate(names):
        pixels = np.random.default_rng(i).integers(0, 256, (12, 18 + 2 * i, 3), dtype=np.uint8)
        if drop != "hr" or i:
            put(root, hr_of[name], pixels)
            expected[hr_of[name]] = lr_of[name] if drop != "lr" or i else None
        if drop != "lr" or i:
            put(root, lr_of[name], imresize(pixels, 0.5))
    try:
        pairs = folder(root)
        for pair in pairs:
            aligned(pair, 2)
    except SrkitError:
        return
    found = {
        str(hr.relative_to(root)): lr and str(lr.relative_to(root))
        for hr, lr in zip(pairs.hr_files, pairs.lr_files, strict=True)
    }
    if drop == "hr" and len(names) == 1:
        expected[lr_of[names[0]]] = None  # one small picture is there, and nothing says that it is no HR
    assert found == expected
    assert len(set(pairs.names)) == len(pairs)
