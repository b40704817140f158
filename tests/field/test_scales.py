"""What people wanted of scales, from this field's public trackers."""

import json

import numpy as np
import pytest
from PIL import Image

from tests.fixtures import reach

SMALL = ["--set", "model.n_resblocks=1", "--set", "model.n_feats=4", "--set", "batch=1", "--set", "patch=8"]


@pytest.mark.parametrize("name", ["edsr", "mdsr", "srresnet"])
def test_eight_times_larger(run_srkit, registry, name):
    """krasserm/super-resolution#32, ncarraz/ESRGANplus#7: how to train for x8? Right: as for any other scale."""
    model = registry.choose("model", name, {"n_resblocks": 2, "n_feats": 8})
    several = model.component.multi_scale
    net = model.build((8,) if several else 8).double().eval()
    declared = model.component.receptive_field(8, **model.options)
    assert reach(lambda lr: net(lr, 8) if several else net(lr), 8, centre=declared + 3) == declared
    code, _, err = run_srkit("train", "--model", name, "--scale", 8, "--steps", 1, "--out", "run", *SMALL)
    assert code == 0, err
    Image.fromarray(np.full((9, 7, 3), 110, np.uint8)).save("p.png")
    code, out, err = run_srkit("upscale", "p.png", "--model", "run", "-o", "large.png")
    assert (code, out) == (0, "large.png  (7x9 -> 56x72)\n"), err


def test_x8_of_div2k_is_trained_on_its_published_lr(run_srkit, tmp_path):
    """alterzero/DBPN-Pytorch#27: how was EDSR x8 trained? Right: on DIV2K's own LR x8."""
    for split, number in (("train", "0001"), ("valid", "0801")):
        for folder, side in ((f"DIV2K_{split}_HR", 128), (f"DIV2K_{split}_LR_x8", 16)):
            (tmp_path / folder).mkdir()
            pixels = np.random.default_rng(side).integers(0, 256, (side, side, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(tmp_path / folder / f"{number}{'x8' if side == 16 else ''}.png")
    words = ["--data", "div2k", "--set", f"data.root={json.dumps(str(tmp_path))}", "--scale", "8", "--steps", "1"]
    code, _, err = run_srkit("train", "--model", "edsr", *words, "--out", "run", *SMALL)
    assert code == 0, err
    assert "train x8: 1 picture: HR in 'DIV2K_train_HR', LR x8 in 'DIV2K_train_LR_x8', 0001.png with 0001x8.png" in err


def test_a_spacer_and_an_icon_are_left_out_and_named(run_srkit, tmp_path):
    """xinntao/Real-ESRGAN#172, jiny2001/dcscn-super-resolution#105: one small picture ends a training."""
    (tmp_path / "in").mkdir()
    for name, side in (("photo", 96), ("icon", 14), ("spacer", 3)):
        pixels = np.random.default_rng(side).integers(0, 256, (side, side, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(tmp_path / f"in/{name}.png")
    words = ["--data", "in", "--scale", "4", "--steps", "1", "--set", "validation.name=folder", "--set",
             "validation.root=in"]  # fmt: skip
    code, _, err = run_srkit("train", "--model", "edsr", *words, "--out", "run", *SMALL)
    assert code == 0, err
    assert "2 pictures are smaller than a patch and left out: spacer, icon" in err
    assert "1 picture is smaller than what can be scored and left out: spacer" in err
    code, out, err = run_srkit("bench", "--sets", "in", "--models", "bicubic", "--scales", "4", "--json")
    assert code == 0, err
    assert json.loads(out)["rows"][0]["images"] == 2
    assert "spacer (3x3): left out, too small for 'y' at x4" in err
    code, out, _ = run_srkit("data", "check", "in", "--scale", "4", "--patch", "8")
    assert code == 0
    assert "HR is 3x3, too small for x4: it is left out" in out
    assert "HR is 14x14, smaller than a patch of 32x32: training leaves it out" in out


def test_nothing_but_small_pictures_is_an_error(run_srkit, tmp_path):
    """tensorlayer/SRGAN#89: right is to say which, and what to do."""
    (tmp_path / "in").mkdir()
    Image.fromarray(np.zeros((3, 3, 3), np.uint8)).save("in/spacer.png")
    code, _, err = run_srkit("train", "--model", "edsr", "--data", "in", "--scale", "4", "--steps", "1", *SMALL)
    assert code == 1
    assert "every picture is too small for x4: spacer" in err
    code, _, err = run_srkit("bench", "--sets", "in", "--models", "bicubic", "--scales", "4")
    assert code == 1
    assert "'spacer' is 3x3: too small for x4" in err


def test_an_lr_of_the_wrong_size_is_refused_with_the_next_move(run_srkit, tmp_path):
    """xinntao/Real-ESRGAN#630: 'GT is not 4x multiplication of LQ', and now? Right: what to crop, or what to set."""
    for folder, size in (("HR", (125, 127)), ("LR", (31, 32))):
        (tmp_path / "set" / folder).mkdir(parents=True)
        pixels = np.random.default_rng(0).integers(0, 256, (*size, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(tmp_path / "set" / folder / "cat.png")
    line = (
        "'cat': LR is 32x31, but HR 127x125 divided by 4 is 31x31; crop HR to a multiple of the scale, 124x124, and "
        "make LR from that, or have all LR made: --set data.lr_dir=none"
    )
    words = ["--scale", "4", "--steps", "1", *SMALL]
    code, _, err = run_srkit("train", "--model", "edsr", "--data", "set", *words)
    assert code == 1
    assert line in err
    code, _, err = run_srkit("bench", "--sets", "set", "--models", "bicubic", "--scales", "4")
    assert code == 1
    assert line in err
    code, _, err = run_srkit("train", "--model", "edsr", "--data", "set", "--set", "data.lr_dir='none'", *words)
    assert code == 0, err
    assert "train x4: 1 picture: HR in 'HR', LR x4 made from them" in err
