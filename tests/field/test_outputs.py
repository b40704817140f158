"""What people wanted of a model's output, from this field's public trackers: one test a complaint."""

import csv
import io
import json
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

import srkit
from srkit import Model, OutputError, Pair, Wrapper
from srkit.upscale.wrap import make_upscaler

PHOTO = np.random.default_rng(0).integers(60, 200, (30, 40, 3), dtype=np.uint8)

PLUGIN = """
import torch
from torch import nn
from srkit import Metric, Model, Wrapper, hookimpl

class Twice(nn.Module):
    def __init__(self, scale, fault):
        super().__init__()
        self.scale, self.fault = scale, fault

    def forward(self, lr):
        sr = nn.functional.interpolate(lr, scale_factor=self.scale)
        return {
            "nan": lambda: torch.where(sr == sr.amax(), torch.nan, sr),
            "inf": lambda: torch.where(sr == sr.amax(), torch.inf, sr),
            "small": lambda: sr[..., :-1],
            "same": lambda: lr,
            "gray": lambda: sr[:, :1],
            "tuple": lambda: (sr, lr),
            "255": lambda: sr * 255,
            "fails": lambda: sr @ torch.zeros(3, 3),
            "rare": lambda: sr * torch.nan if lr.shape[-1] == 21 else sr,
            "overshoot": lambda: sr * 1.3 - 0.15,
        }[self.fault]()

def hurt(upscaler, *, fault: str = "nan"):
    return lambda lr: upscaler(lr) * (torch.nan if fault == "nan" else 255)

@hookimpl
def srkit_models():
    faults = ["nan", "inf", "small", "same", "gray", "tuple", "255", "fails", "rare", "overshoot"]
    return [
        Model(name=f"m-{fault}", build=lambda scale, fault=fault: Twice(scale, fault), trainable=False)
        for fault in faults
    ]

@hookimpl
def srkit_wrappers():
    return [Wrapper(name="hurt", build=hurt)]

def broken(sr, hr):
    raise ZeroDivisionError("no edges")

@hookimpl
def srkit_metrics():
    return [Metric(name="edges", build=lambda: broken)]
"""

FAULTS = {
    "nan": "makes values that are not finite",
    "inf": "makes values that are not finite",
    "small": "makes 79x60 of 40x30 pixels, not 80x60",
    "same": "makes 40x30 of 40x30 pixels, not 80x60",
    "gray": r"makes \[1, 1, 60, 80\] of 40x30 pixels, not 80x60",
    "tuple": "makes a tuple, not a tensor",
    "255": r"makes values around 130 of 40x30 pixels around 0.508",
    "fails": "fails on 40x30 pixels: RuntimeError",
}


@pytest.fixture(autouse=True)
def models(install):
    install("srkit-faults", PLUGIN)
    Image.fromarray(PHOTO).save("butterfly.png")


@pytest.mark.parametrize("fault", FAULTS)
def test_no_picture_is_written_of_what_is_none(run_srkit, fault):
    """xinntao/Real-ESRGAN#632: all is NaN, and a black picture is written. Right: an error that names both."""
    code, _, err = run_srkit("upscale", "butterfly.png", "--model", f"m-{fault}")
    assert code == 1
    assert err.startswith(f"srkit: 'butterfly.png': 'm-{fault}' x2 ")
    assert not list(Path().glob("butterfly_*"))
    upscaler = srkit.load(f"m-{fault}")
    tensor = torch.tensor(PHOTO).permute(2, 0, 1) / 255
    opened = Image.open("butterfly.png")
    pictures = {"butterfly.png": opened, "the image": opened.copy(), "the array": PHOTO, "the tensor": tensor}
    for name, picture in pictures.items():
        with pytest.raises(OutputError, match=f"{name}': 'm-{fault}' x2 {FAULTS[fault]}"):
            upscaler.upscale(picture)


def test_one_bad_picture_in_a_folder_does_not_cost_the_others(run_srkit):
    """upscayl/upscayl#615, for outputs: the batch goes on, the bad one is named, and the exit code is 1."""
    Path("in").mkdir()
    for name, width in (("a", 20), ("b", 21), ("c", 22)):
        Image.fromarray(PHOTO[:, :width]).save(f"in/{name}.png")
    code, out, err = run_srkit("upscale", "in", "--model", "m-rare", "-o", "out")
    assert (code, out.count("\n")) == (1, 2)
    assert "in/b.png': 'm-rare' x2 makes values that are not finite" in err
    assert sorted(path.name for path in Path("out").iterdir()) == ["a_m-rare_x2.png", "c_m-rare_x2.png"]


def test_an_overshoot_is_clipped(run_srkit):
    """jiny2001/dcscn-super-resolution#123: spots of wrong colour where values leave 0..255. Right: clipped."""
    assert run_srkit("upscale", "butterfly.png", "--model", "m-overshoot", "-o", "out.png")[0] == 0
    expected = np.clip(np.floor(255 * (PHOTO / 255 * 1.3 - 0.15) + 0.5), 0, 255)
    assert np.abs(np.asarray(Image.open("out.png"))[::2, ::2].astype(float) - expected).max() <= 1


def test_tiles_of_a_wrong_size_are_not_cropped_to_fit(registry):
    """ssube/onnx-web#151: trained for x4, run as x2, and the picture is cut off. Right: an error, in tiles too."""
    quadruple = Model(name="four", build=lambda scale: nn.Upsample(scale_factor=4), receptive_field=0)
    registry.add("model", quadruple)
    model = registry.choose("model", "four")
    for tile in (0, 16):
        with pytest.raises(OutputError, match=r"'four' x2 makes \d+x\d+ of \d+x\d+ pixels, not"):
            make_upscaler(model.build(2), model, 2, tile=tile)(torch.rand(1, 3, 20, 40))


def test_what_a_wrapper_makes_is_checked_too(run_srkit, registry):
    """vladmandic/sdnext#374: black after the second pass only. Right: an error that names the pass."""
    code, _, err = run_srkit("upscale", "butterfly.png", "--model", "nearest", "--wrapper", "hurt")
    assert code == 1
    assert "'butterfly.png': wrapper 'hurt' around 'nearest' x2 makes values that are not finite" in err
    with pytest.raises(OutputError, match="'m-nan' x2 makes values that are not finite"):
        srkit.load("m-nan", ensemble=True).upscale(PHOTO)
    registry.add("wrapper", Wrapper(name="shift", build=lambda upscaler: lambda lr: upscaler(lr) + 0.4))
    bicubic = registry.choose("model", "bicubic")
    with pytest.raises(OutputError, match="wrapper 'shift' around 'bicubic' x2 makes values around 0.9"):
        make_upscaler(bicubic.build(2), bicubic, 2, wrappers=[registry.choose("wrapper", "shift")])(
            torch.full((1, 3, 8, 8), 0.5)
        )


def test_each_picture_of_a_batch_is_checked(registry):
    """sanghyun-son/EDSR-PyTorch#205: a white result, for a wrong range. Right: said of each picture of a batch."""
    dark = Model(name="dark", build=lambda scale: lambda lr: lr, trainable=False)
    registry.add("model", dark)

    class Swaps(nn.Module):
        def forward(self, lr):
            return nn.functional.interpolate(lr.flip(0), scale_factor=2)

    model = registry.choose("model", "dark")
    with pytest.raises(OutputError, match="'dark' x2 makes values around 0.9"):
        make_upscaler(Swaps(), model, 2)(torch.tensor([0.1, 0.9])[:, None, None, None].expand(2, 3, 8, 8))


def test_scores_are_of_every_picture_or_none(run_srkit):
    """drakelevy/ESPCN-TensorFlow#8: sizes differ, how is PSNR computed? Right: it is not; an error names both."""
    pairs = [Pair(name=name, lr=None, hr=PHOTO[:, :width]) for name, width in (("a", 38), ("b", 42 - 2))]
    rare = [Pair(name="a", lr=None, hr=np.repeat(PHOTO, 2, 1)[:, :42]), Pair(name="b", lr=None, hr=PHOTO)]
    with pytest.raises(OutputError, match="'a': 'm-rare' x2 makes values that are not finite"):
        srkit.score("m-rare", rare, 2)
    told = {"nan": "not finite", "small": "makes 37x30", "255": "around 1[23].", "fails": "RuntimeError"}
    for fault, words in told.items():
        with pytest.raises(OutputError, match=f"'a': 'm-{fault}' x2 .*{words}"):
            srkit.score(f"m-{fault}", pairs, 2)
    with pytest.raises(OutputError, match="'a': '<lambda>' x2 makes values that are not finite"):
        srkit.score(lambda lr: torch.full((1, 3, 30, 38), torch.nan), pairs, 2)


def test_a_training_that_makes_no_pictures_says_so_at_its_validation(run_srkit, install):
    """kozistr/Awesome-GANs#2: NaN in training, seen late. Right: its validation names model and picture and ends it.

    A mean that is not the picture's ends no training: a network that has just begun may be anywhere.
    """
    source = """
import torch
from torch import nn
from srkit import Model, hookimpl

class Net(nn.Module):
    def __init__(self, scale, bias, root):
        super().__init__()
        self.net = nn.Sequential(nn.Conv2d(3, 3 * scale**2, 3, padding=1), nn.PixelShuffle(scale))
        nn.init.constant_(self.net[0].bias, bias)
        self.root = root

    def forward(self, lr):
        sr = self.net(lr)
        return sr if self.training or not self.root else (-1 - sr.abs()).sqrt()

def build(scale, *, bias: float = 0.0, root: bool = False):
    return Net(scale, bias, root)

@hookimpl
def srkit_models():
    return [Model(name="young", build=build)]
"""
    install("srkit-young", source)
    small = ["--model", "young", "--steps", 1, "--set", "batch=1", "--set", "patch=8"]
    code, out, err = run_srkit("train", *small, "--set", "model.bias=3.0", "--out", "far")
    assert (code, "1 of 1 steps done" in out) == (0, True), err
    assert "validation of step 1: 'young' makes 'chelsea' 1.00 bright on average, not 0." in err
    code, out, err = run_srkit("train", *small, "--set", "model.root=true", "--out", "nan")
    assert code == 1
    assert "'young' x2 makes values that are not finite" in err
    assert "srkit: 'chelsea': " in err


def test_a_gallery_names_the_model_that_fails_and_the_picture(run_srkit):
    """xinntao/Real-ESRGAN#632, side by side: a black column is no comparison. Right: no sheet, an error."""
    code, _, err = run_srkit("gallery", "m-nan", "--scale", 2, "--random", 2)
    assert code == 1
    assert "'chelsea': 'm-nan' x2 makes values that are not finite" in err
    assert not Path("gallery/gallery.png").exists()


def test_one_failing_model_does_not_cost_a_bench(run_srkit):
    """datavaluepeople/kotsu#31: one combination breaks, and a night's results are lost. Right: its row says why."""
    words = ["bench", "--models", "m-fails,nearest,m-nan,m-255,m-small,bicubic", "--sets", "samples", "--scales", 2]
    code, out, err = run_srkit(*words, "--json")
    assert code == 1
    rows = {row["model"]: row for row in json.loads(out)["rows"]}
    assert list(rows) == ["m-fails", "nearest", "m-nan", "m-255", "m-small", "bicubic"]
    for name in ("nearest", "bicubic"):
        assert (rows[name]["psnr"] > 20, rows[name]["images"], rows[name]["error"]) == (True, 2, None)
    told = {
        "fails": "fails on .*RuntimeError",
        "nan": "not finite",
        "255": "makes values around",
        "small": "pixels, not",
    }
    for fault, reason in told.items():
        row = rows[f"m-{fault}"]
        assert (row["psnr"], row["ssim"], row["seconds_per_image"], row["images"]) == (None, None, None, 0)
        assert re.search(f"'chelsea': 'm-{fault}' x2 .*{reason}", row["error"])
        assert re.search(f"m-{fault} x2 on samples: 'chelsea': 'm-{fault}' x2", err)
    assert err.endswith("srkit: 4 of 6 rows have no scores\n")
    code, text, _ = run_srkit(*words, "--csv")
    assert code == 1
    lines = list(csv.DictReader(io.StringIO(text)))
    assert [line["psnr"] == "" for line in lines] == [bool(line["error"]) for line in lines]
    code, table, _ = run_srkit(*words)
    assert code == 1
    assert " ".join(table.split()).count("x2 samples - - 0 -") == 4


def test_a_picture_or_a_metric_that_fails_is_named(run_srkit):
    """alan-turing-institute/autoemulate#142: the comparison stops with an error. Right: it says whose, and goes on."""
    Path("set").mkdir()
    for name in ("a", "b"):
        Image.fromarray(np.tile(PHOTO, (2, 2, 1))).save(f"set/{name}.png")
    Path("set/b.png").write_bytes(Path("set/b.png").read_bytes()[:900])
    words = ["bench", "--models", "nearest,bicubic", "--scales", 2, "--json"]
    code, out, err = run_srkit(*words, "--sets", "set,samples")
    assert code == 1
    rows = json.loads(out)["rows"]
    assert [(row["set"], bool(row["error"])) for row in rows] == [("set", True)] * 2 + [("samples", False)] * 2
    assert all("b.png" in row["error"] for row in rows[:2])
    assert "nearest x2 on set: " in err
    code, out, _ = run_srkit(*words, "--sets", "samples", "--metrics", "psnr,edges")
    assert code == 1
    reasons = {row["error"] for row in json.loads(out)["rows"]}
    assert reasons == {"'chelsea': metric 'edges' fails: ZeroDivisionError: no edges"}


def test_a_broken_weight_file_among_others_costs_only_its_own_row(run_srkit):
    """GoogleCloudPlatform/PerfKitBenchmarker#573: one fails, the rest is not run. Right: it is; exit code 1."""
    Path("broken.pth").write_bytes(b"none")
    code, out, err = run_srkit("bench", "broken.pth", "--models", "bicubic", "--sets", "samples", "--json")
    assert code == 1
    rows = json.loads(out)["rows"]
    assert [(row["model"], row["scale"], bool(row["error"])) for row in rows] == [
        ("broken.pth", 2, True),
        *(("bicubic", scale, False) for scale in (2, 3, 4)),
    ]
    assert "broken.pth x2: 'broken.pth' holds" in err
