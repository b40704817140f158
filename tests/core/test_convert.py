"""Weights of the authors' EDSR-PyTorch and of BasicSR, written by networks restated here from their sources."""

import math
import os
import re
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from srkit import CheckpointError, Layout, Model, PluginError, Reading, UnknownName, UsageError
from srkit.checkpoint import read_about, read_tensors
from srkit.testing import check
from srkit.train.initial import init_from
from srkit.weights.convert import convert
from srkit.weights.loading import find_tensors, load_model

MEAN = (0.4488, 0.4371, 0.4040)


def upsampler(scale: int, feats: int) -> nn.Sequential:
    steps = [3] if scale == 3 else [2] * int(math.log2(scale))
    layers: list[nn.Module] = []
    for step in steps:
        layers += [nn.Conv2d(feats, step * step * feats, 3, 1, 1), nn.PixelShuffle(step)]
    return nn.Sequential(*layers)


class Shift(nn.Conv2d):
    """src/model/common.py: MeanShift."""

    def __init__(self, rgb_range: float, sign: int):
        super().__init__(3, 3, kernel_size=1)
        self.weight.data = torch.eye(3).view(3, 3, 1, 1)
        self.bias.data = sign * rgb_range * torch.Tensor(MEAN)
        self.requires_grad_(False)


class Block(nn.Module):
    """src/model/common.py: ResBlock."""

    def __init__(self, feats: int, kernel: int = 3, res_scale: float = 1.0):
        super().__init__()
        pad = kernel // 2
        self.body = nn.Sequential(
            nn.Conv2d(feats, feats, kernel, padding=pad), nn.ReLU(True), nn.Conv2d(feats, feats, kernel, padding=pad)
        )
        self.res_scale = res_scale

    def forward(self, x: Tensor) -> Tensor:
        return self.body(x).mul(self.res_scale) + x


class AuthorsEDSR(nn.Module):
    """src/model/edsr.py; it works on pixels in 0..rgb_range."""

    def __init__(self, scale: int, feats: int = 6, blocks: int = 2, res_scale: float = 1.0, rgb_range: float = 255):
        super().__init__()
        self.range = rgb_range
        self.sub_mean, self.add_mean = Shift(rgb_range, -1), Shift(rgb_range, 1)
        self.head = nn.Sequential(nn.Conv2d(3, feats, 3, padding=1))
        body = [Block(feats, res_scale=res_scale) for _ in range(blocks)]
        self.body = nn.Sequential(*body, nn.Conv2d(feats, feats, 3, padding=1))
        self.tail = nn.Sequential(upsampler(scale, feats), nn.Conv2d(feats, 3, 3, padding=1))

    def forward(self, x: Tensor) -> Tensor:
        x = self.head(self.sub_mean(x * self.range))
        return self.add_mean(self.tail(self.body(x) + x)) / self.range


class AuthorsMDSR(nn.Module):
    """src/model/mdsr.py."""

    def __init__(self, scales: tuple[int, ...], feats: int = 6, blocks: int = 2):
        super().__init__()
        self.scales = scales
        self.sub_mean = Shift(255, -1)
        self.pre_process = nn.ModuleList([nn.Sequential(Block(feats, 5), Block(feats, 5)) for _ in scales])
        self.upsample = nn.ModuleList([upsampler(scale, feats) for scale in scales])
        self.add_mean = Shift(255, 1)
        self.head = nn.Sequential(nn.Conv2d(3, feats, 3, padding=1))
        self.body = nn.Sequential(*(Block(feats) for _ in range(blocks)), nn.Conv2d(feats, feats, 3, padding=1))
        self.tail = nn.Sequential(nn.Conv2d(feats, 3, 3, padding=1))

    def forward(self, x: Tensor, scale: int) -> Tensor:
        index = self.scales.index(scale)
        x = self.pre_process[index](self.head(self.sub_mean(x * 255)))
        return self.add_mean(self.tail(self.upsample[index](self.body(x) + x))) / 255


class TheirBlock(nn.Module):
    """basicsr/archs/arch_util.py: ResidualBlockNoBN."""

    def __init__(self, feats: int, res_scale: float):
        super().__init__()
        self.res_scale = res_scale
        self.conv1, self.conv2 = nn.Conv2d(feats, feats, 3, 1, 1), nn.Conv2d(feats, feats, 3, 1, 1)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.conv2(torch.relu(self.conv1(x))) * self.res_scale


class BasicSR(nn.Module):
    """basicsr/archs/edsr_arch.py, built from its network_g."""

    def __init__(
        self, *, num_feat: int = 6, num_block: int = 2, upscale: int = 4, res_scale: float = 1.0,
        img_range: float = 255.0, rgb_mean=MEAN, num_in_ch: int = 3, num_out_ch: int = 3, type: str = "EDSR",  # noqa: A002
    ):  # fmt: skip
        super().__init__()
        self.range, self.mean = img_range, torch.Tensor(rgb_mean).view(1, 3, 1, 1)
        self.conv_first = nn.Conv2d(num_in_ch, num_feat, 3, 1, 1)
        self.body = nn.Sequential(*(TheirBlock(num_feat, res_scale) for _ in range(num_block)))
        self.conv_after_body = nn.Conv2d(num_feat, num_feat, 3, 1, 1)
        self.upsample = upsampler(upscale, num_feat)
        self.conv_last = nn.Conv2d(num_feat, num_out_ch, 3, 1, 1)

    def forward(self, x: Tensor) -> Tensor:
        x = self.conv_first((x - self.mean) * self.range)
        return self.conv_last(self.upsample(x + self.conv_after_body(self.body(x)))) / self.range + self.mean


def lively(net: nn.Module, last: nn.Conv2d, *scale: int) -> nn.Module:
    """Random weights whose output is neither flat nor huge: a spread of 0.2."""
    with torch.no_grad():
        spread = net(picture(), *scale).std()
        last.weight *= 0.2 / spread
        last.bias *= 0.2 / spread
        last.bias += torch.tensor([0.01, -0.02, 0.03]) * getattr(net, "range", 255)  # a bias that shows
    return net


def picture() -> Tensor:
    return torch.rand(1, 3, 12, 9, generator=torch.Generator().manual_seed(7))


def authors(scale: int = 2, **options) -> AuthorsEDSR:
    torch.manual_seed(1)
    net = AuthorsEDSR(scale, **options)
    return lively(net, net.tail[1])


def basicsr(**options) -> BasicSR:
    torch.manual_seed(2)
    net = BasicSR(**options)
    return lively(net, net.conv_last)


def same_pixels(ours: nn.Module, theirs: nn.Module, *scale: int) -> None:
    with torch.inference_mode():
        expected = theirs(picture(), *scale)
        assert 0.1 < expected.std() < 0.6
        torch.testing.assert_close(ours(picture(), *scale), expected, rtol=0, atol=1e-6)


def same_bits(path: Path, expected) -> None:
    found = torch.load(path, weights_only=True) if path.suffix != ".safetensors" else read_tensors(path)
    found = found.get("params", found)
    assert found.keys() == expected.keys()
    assert all(torch.equal(found[name], expected[name]) for name in expected)


@pytest.mark.parametrize("scale", [2, 3, 4])
def test_the_authors_edsr_gives_its_own_pixels(registry, scale):
    net = authors(scale)
    torch.save(net.state_dict(), "edsr.pt")
    loaded = load_model(registry, "edsr.pt", None)
    assert (loaded.scale, loaded.model.options) == (scale, {"n_resblocks": 2, "n_feats": 6, "res_scale": 1.0})
    assert loaded.note == "res_scale=1.0"
    same_pixels(loaded.net, net)
    with pytest.raises(UsageError, match=rf"'edsr.pt' upscales x{scale}, not x8"):
        load_model(registry, "edsr.pt", 8)


@pytest.mark.parametrize(
    "rename", [lambda n: f"module.{n}", lambda n: f"model.{n}", lambda n: n.replace("_mean.", "_mean.shifter.")]
)
def test_names_as_wrapping_and_older_code_leave_them(registry, rename):
    net = authors()
    torch.save({rename(name): tensor for name, tensor in net.state_dict().items()}, "edsr.pt")
    same_pixels(load_model(registry, "edsr.pt", 2).net, net)


def test_rgb_range_1_is_seen_in_the_mean_shift(registry):
    net = authors(rgb_range=1)
    torch.save(net.state_dict(), "edsr.pt")
    same_pixels(load_model(registry, "edsr.pt", 2).net, net)


def test_residual_scaling_is_assumed_by_width_or_said(registry, tmp_path):
    wide = authors(feats=256, blocks=1, res_scale=0.1)
    torch.save(wide.state_dict(), "wide.pt")
    loaded = load_model(registry, "wide.pt", 2)
    assert loaded.note == "res_scale=0.1"
    same_pixels(loaded.net, wide)

    narrow = authors(res_scale=0.5)
    torch.save(narrow.state_dict(), "narrow.pt")
    with pytest.raises(AssertionError):
        same_pixels(load_model(registry, "narrow.pt", 2).net, narrow)
    done = convert(registry, tmp_path / "narrow.pt", tmp_path / "n.safetensors", values={"res_scale": 0.5})
    assert done.note == ""
    same_pixels(load_model(registry, "n.safetensors", 2).net, narrow)


def test_the_authors_mdsr_gives_its_own_pixels_at_every_scale(registry, tmp_path):
    torch.manual_seed(3)
    net = AuthorsMDSR((2, 3, 4))
    lively(net, net.tail[0], 3)
    torch.save(net.state_dict(), "mdsr.pt")
    for scale in (2, 3, 4):
        loaded = load_model(registry, "mdsr.pt", scale)
        assert (loaded.scale, loaded.model.component.name, loaded.note) == (scale, "mdsr", "")
        same_pixels(loaded.net, net, scale)
    assert convert(registry, tmp_path / "mdsr.pt", tmp_path / "m.safetensors").scales == (2, 3, 4)
    done = convert(registry, tmp_path / "m.safetensors", tmp_path / "back.pt")
    assert done.settings["scale"] == "2+3+4"
    same_bits(tmp_path / "back.pt", net.state_dict())
    with pytest.raises(UnknownName, match="'mdsr' has no layout 'basicsr'; there is srkit, edsr-pytorch"):
        convert(registry, tmp_path / "m.safetensors", tmp_path / "m.pth", "basicsr")


@pytest.mark.parametrize("key", ["params", "params_ema", "both", ""])
@pytest.mark.parametrize("upscale", [2, 3, 4])
def test_basicsr_gives_its_own_pixels(registry, upscale, key):
    net = basicsr(upscale=upscale)
    state = net.state_dict()
    worse = {name: tensor + 1 for name, tensor in state.items()}
    torch.save({"params": worse, "params_ema": state} if key == "both" else {key: state} if key else state, "b.pth")
    loaded = load_model(registry, "b.pth", None)
    assert loaded.scale == upscale
    same_pixels(loaded.net, net)


@pytest.mark.parametrize("img_range", [1.0, 255.0, 2.0])
@pytest.mark.parametrize("mean", [MEAN, (0.5, 0.25, 0.4)])
def test_range_and_mean_go_into_the_mean_shift_and_no_trained_value_changes(registry, tmp_path, img_range, mean):
    net = basicsr(img_range=img_range, rgb_mean=mean, res_scale=0.1)
    torch.save({"params": net.state_dict()}, "b.pth")
    values = {"img_range": img_range, "rgb_mean": list(mean), "res_scale": 0.1}
    convert(registry, tmp_path / "b.pth", tmp_path / "b.safetensors", values=values)
    same_pixels(load_model(registry, "b.safetensors", None).net, net)
    done = convert(registry, tmp_path / "b.safetensors", tmp_path / "back.pth", "basicsr")
    same_bits(tmp_path / "back.pth", net.state_dict())
    assert (done.settings["img_range"], tuple(done.settings["rgb_mean"])) == (img_range, mean)
    again = BasicSR(**done.settings)
    again.load_state_dict(torch.load("back.pth", weights_only=True)["params"])
    same_pixels(again, net)

    convert(registry, tmp_path / "b.safetensors", tmp_path / "e.pt")  # the authors' code, called as it is by default
    theirs = AuthorsEDSR(4, res_scale=0.1)
    theirs.load_state_dict(torch.load("e.pt", weights_only=True))
    same_pixels(theirs, net)


@pytest.mark.parametrize(("own", "wanted"), [(255.0, 1.0), (1.0, 255.0), (255.0, 2.0)])
def test_another_img_range_changes_what_it_must_and_nothing_else(registry, tmp_path, own, wanted):
    net = basicsr(img_range=own)
    torch.save({"params": net.state_dict()}, "b.pth")
    convert(registry, tmp_path / "b.pth", tmp_path / "b.safetensors", values={"img_range": own})
    done = convert(registry, tmp_path / "b.safetensors", tmp_path / "o.pth", "basicsr", {"img_range": wanted})
    assert done.settings["img_range"] == wanted
    other = BasicSR(**done.settings)
    state = torch.load("o.pth", weights_only=True)["params"]
    other.load_state_dict(state)
    same_pixels(other, net)
    changed = [name for name, tensor in net.state_dict().items() if not torch.equal(tensor, state[name])]
    assert changed == ["conv_first.weight", "conv_last.weight", "conv_last.bias"]


def test_round_trips_are_exact(registry, tmp_path):
    net = authors(3)
    torch.save(net.state_dict(), "a.pt")
    steps = [("a.pt", "b.safetensors", ""), ("b.safetensors", "c.pth", "basicsr"), ("c.pth", "d.pt", ""),
             ("d.pt", "e.pth", ""), ("e.pth", "f.safetensors", ""), ("f.safetensors", "g.pt", "")]  # fmt: skip
    for source, out, to in steps:
        convert(registry, tmp_path / source, tmp_path / out, to)
    for name in ("b.safetensors", "d.pt", "f.safetensors", "g.pt"):
        same_bits(tmp_path / name, net.state_dict())
    same_bits(tmp_path / "e.pth", torch.load("c.pth", weights_only=True)["params"])
    about = read_about(tmp_path / "f.safetensors")
    assert about["model"]["options"] == {"n_resblocks": 2, "n_feats": 6, "res_scale": 1.0}
    assert about["scales"] == [3]
    assert about["converted_from"]["layout"] == "basicsr"
    half = {name: tensor.half() for name, tensor in net.state_dict().items()}
    torch.save(half, "half.pt")
    convert(registry, tmp_path / "half.pt", tmp_path / "half.safetensors")
    same_bits(tmp_path / "half.safetensors", half)


def test_what_is_nearly_edsr_is_not_taken_for_it(registry):
    state = authors().state_dict()
    nearly = {
        "rcan": {**state, "body.0.body.3.conv_du.0.weight": torch.zeros(1)},
        "less": {name: tensor for name, tensor in state.items() if name != "body.1.body.2.bias"},
        "gray": {**state, "head.0.weight": torch.zeros(6, 1, 3, 3)},
        "kernel": {**state, "body.2.weight": torch.zeros(6, 6, 1, 1)},
        "scale": {**state, "tail.0.0.weight": torch.zeros(150, 6, 3, 3), "tail.0.0.bias": torch.zeros(150)},
        "msrresnet": {**basicsr().state_dict(), "conv_hr.weight": torch.zeros(6, 6, 3, 3)},
        "empty": {},
        "flat": {f"{name}.weight": torch.zeros(3) for name in ("head.0", "body.0.body.0", "body.1", "tail.0.0")},
    }  # fmt: skip
    for name, tensors in nearly.items():
        torch.save(tensors, f"{name}.pt")
        with pytest.raises(CheckpointError, match="srkit did not write it"):
            load_model(registry, f"{name}.pt", None)
        with pytest.raises(CheckpointError, match="is in no layout srkit knows .basicsr, edsr-pytorch."):
            convert(registry, Path(f"{name}.pt"), Path("out.safetensors"))
        assert not Path("out.safetensors").exists()
    torch.save(authors(16).state_dict(), "x16.pt")
    with pytest.raises(UsageError, match="'edsr' does not upscale x16; it offers x1, x2, x3, x4, x8"):
        load_model(registry, "x16.pt", None)


def test_a_mean_shift_that_was_trained_cannot_go_to_basicsr(registry, tmp_path):
    state = authors().state_dict()
    state["sub_mean.weight"] = state["sub_mean.weight"] + 0.1 * torch.rand(3, 3, 1, 1)
    torch.save(state, "a.pt")
    with pytest.raises(CheckpointError, match="mean shift was changed in training"):
        convert(registry, tmp_path / "a.pt", tmp_path / "b.pth")


def test_wrong_words_are_told_before_anything_is_written(registry, tmp_path):
    torch.save(authors().state_dict(), "a.pt")
    convert(registry, Path("a.pt"), Path("a.safetensors"))
    before = sorted(p.name for p in tmp_path.iterdir())
    wrong = [
        ("a.safetensors", "o.pth", "", {}, UsageError, "'o.pth' can be edsr-pytorch or basicsr; say --to edsr-pytorch"),
        ("a.safetensors", "o.safetensors", "", {}, UsageError, "in the layout 'srkit' already"),
        ("a.pt", "o.pth", "edsr-pytorch", {}, UsageError, "in the layout 'edsr-pytorch' already"),
        ("a.pt", "o.onnx", "", {}, UsageError, "'o.onnx': a file to write ends in .safetensors .srkit., .pth"),
        ("a.pt", "o.pt", "srkit", {}, UsageError, "a file in the layout 'srkit' ends in .safetensors, not 'o.pt'"),
        ("a.pt", "o.pth", "basicsrr", {}, UnknownName, "has no layout 'basicsrr'"),
        ("a.pt", "o.pth", "", {"img_rang": 1}, UnknownName, "img_rang.*did you mean 'img_range'?"),
        ("a.pt", "o.pth", "", {"img_range": -1}, UsageError, "img_range = -1: input should be greater than 0"),
        ("a.safetensors", "o.pth", "basicsr", {"res_scale": 0.1}, UnknownName, "neither 'srkit' nor 'basicsr' has it"),
        ("a.pt", "a.pt", "", {}, UsageError, "is the file itself"),
        ("a.pt", "nowhere/o.pth", "", {}, UnknownName, "no folder 'nowhere'"),
        ("b.pt", "o.pth", "", {}, UnknownName, "no checkpoint 'b.pt'; did you mean"),
    ]  # fmt: skip
    for source, out, to, values, error, words in wrong:
        with pytest.raises(error, match=words):
            convert(registry, Path(source), Path(out), to, values)
        assert sorted(p.name for p in tmp_path.iterdir()) == before


def test_a_full_disk_leaves_no_half_file(registry, tmp_path, monkeypatch):
    torch.save(authors().state_dict(), "a.pt")
    (tmp_path / "o.pth").write_bytes(b"old")

    def full(descriptor):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(CheckpointError, match="cannot write 'o.pth'.*No space left"):
        convert(registry, Path("a.pt"), Path("o.pth"))
    assert (tmp_path / "o.pth").read_bytes() == b"old"
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.pt", "o.pth"]


class Bomb:
    def __reduce__(self):
        return os.system, ("touch exploded",)


def test_a_malicious_pickle_is_not_run(registry):
    torch.save({**authors().state_dict(), "extra": Bomb()}, "a.pt")
    for act in (
        lambda: convert(registry, Path("a.pt"), Path("o.safetensors")),
        lambda: load_model(registry, "a.pt", 2),
    ):
        with pytest.raises(CheckpointError, match="'a.pt' holds no tensors that can be read safely"):
            act()
    assert not os.path.exists("exploded")


def other(scale: int, *, width: int = 3):
    return nn.Sequential(nn.Conv2d(3, 3 * scale**2, 3, padding=1), nn.PixelShuffle(scale))


def read_other(tensors, *, width: int = 3):
    if set(tensors) != {"up.w", "up.b"}:
        return None
    state = {"0.weight": tensors["up.w"], "0.bias": tensors["up.b"]}
    return Reading(scales=(2,), options={"width": width}, tensors=state, assumed={"width": width})


def write_other(tensors, scales, options):
    return {"up.w": tensors["0.weight"], "up.b": tensors["0.bias"]}, {"s": scales[0]}


def test_a_plugin_brings_its_own_layout(registry, tmp_path):
    layout = Layout(read=read_other, write=write_other, suffixes=(".pt",), key="net")
    registry.add("model", Model(name="other", build=other, scales=(2,), layouts={"theirs": layout}))
    net = other(2)
    torch.save({"up.w": net[0].weight.detach(), "up.b": net[0].bias.detach()}, "o.pt")
    loaded = load_model(registry, "o.pt", None)
    assert (loaded.model.label, loaded.note) == ("other", "width=3")
    convert(registry, Path("o.pt"), Path("o.safetensors"), values={"width": 5})
    assert load_model(registry, "o.safetensors", None).model.options == {"width": 5}
    assert convert(registry, Path("o.safetensors"), Path("back.pt")).settings == {"s": 2}
    assert torch.equal(torch.load("back.pt", weights_only=True)["net"]["up.w"], net[0].weight)


def test_a_layout_that_fails_hides_no_other(registry, tmp_path):
    def broken(tensors):
        raise KeyError("up.w")

    layout = Layout(read=broken, write=write_other)
    registry.add("model", Model(name="aaa", build=other, layouts={"bad": layout}), package="aaa")
    good = Layout(read=read_other, write=write_other)
    registry.add("model", Model(name="other", build=other, scales=(2,), layouts={"theirs": good}), package="zzz")
    torch.save({"up.w": other(2)[0].weight.detach(), "up.b": torch.zeros(12)}, "o.pt")
    assert load_model(registry, "o.pt", None).model.label == "other"
    torch.save({"x": torch.zeros(1)}, "x.pt")
    with pytest.raises(PluginError, match="layout 'bad' of 'aaa:aaa' fails: KeyError: 'up.w'"):
        load_model(registry, "x.pt", None)


def test_the_builtin_layout_comes_before_a_plugin_that_reads_everything(registry):
    registry.add("model", Model(name="greedy", build=other, from_file=lambda path: (nn.Identity(), 1)), package="aaa")
    torch.save(authors().state_dict(), "a.pt")
    torch.save({"x": torch.zeros(1)}, "x.pt")
    assert load_model(registry, "a.pt", None).model.component.name == "edsr"
    assert load_model(registry, "x.pt", None).model.component.name == "greedy"


def test_training_starts_from_foreign_weights_and_a_table_says_what_became_of_them(registry):
    source = basicsr(upscale=2, num_block=3)
    torch.save({"params": source.state_dict()}, "b.pth")
    net = registry.choose("model", "edsr", {"n_resblocks": 2, "n_feats": 6}).build(4)
    fresh = net.tail[0][2].weight.detach().clone()
    tensors, where = find_tensors(registry, "b.pth", 4)
    report = init_from(net, tensors, where)
    assert torch.equal(net.body[1].body[2].weight, source.body[1].conv2.weight)
    assert torch.equal(net.tail[0][2].weight, fresh)
    assert (len(report.loaded), report.other_shape) == (18, ())
    assert report.missing == ("body.2.bias", "body.2.weight", "tail.0.2.bias", "tail.0.2.weight")
    assert {name.rpartition(".")[0] for name in report.unused} == {"body.2.body.0", "body.2.body.2", "body.3"}
    assert str(report).startswith("18 of 22 tensors from 'b.pth'; not in it: body.2.bias, body.2.weight, tail.0.2.bias")
    assert [line.split(maxsplit=2) for line in report.table()] == [
        ["add_mean", "2", "loaded"], ["body.*", "2", "in the file, not used"], ["body.*", "2", "not in the file"],
        ["body.*.body.*", "4", "in the file, not used"], ["body.*.body.*", "8", "loaded"], ["head.*", "2", "loaded"],
        ["sub_mean", "2", "loaded"], ["tail.*", "2", "loaded"], ["tail.*.*", "2", "loaded"],
        ["tail.*.*", "2", "not in the file"],
    ]  # fmt: skip
    wide = registry.choose("model", "edsr", {"n_resblocks": 2, "n_feats": 5}).build(2)
    with pytest.raises(CheckpointError, match="nothing in 'b.pth' fits the model"):
        init_from(wide, *find_tensors(registry, "b.pth", 2))
    assert "other shape, not loaded" in " ".join(init_from_some(registry, tensors).table())
    with pytest.raises(UsageError, match="'bicubic' has no weights to start from"):
        find_tensors(registry, "bicubic", 2)


@pytest.mark.parametrize("known", [True, False])
@pytest.mark.parametrize("keys", [("params", "params_ema"), ("state_dict", "ema_state_dict"), ("model", "model_ema")])
def test_training_starts_from_the_average_where_a_file_has_one(registry, keys, known):
    """Of a layout that a model knows, and of a network that none does; a file of two networks is not guessed at."""
    plain = basicsr(upscale=2).state_dict() if known else {"own.weight": torch.zeros(2, 3, 1, 1)}
    average = {name: tensor + 1 for name, tensor in plain.items()}
    torch.save(dict(zip(keys, (plain, average), strict=True)), "file.pth")
    tensors, _ = find_tensors(registry, "file.pth", 2)
    weights = [tensor for tensor in tensors.values() if tensor.ndim == 4]
    wanted = [tensor for tensor in average.values() if tensor.ndim == 4]
    assert all(any(torch.equal(w, each) for each in weights) for w in wanted)
    if not known:
        torch.save({"net_g": plain, "net_d_ema": {"other.weight": torch.zeros(2, 3, 1, 1)}}, "two.pth")
        with pytest.raises(CheckpointError, match="keeps tensors under several keys: net_g, net_d_ema"):
            find_tensors(registry, "two.pth", 2)


def init_from_some(registry, tensors):
    net = registry.choose("model", "edsr", {"n_resblocks": 2, "n_feats": 6}).build(3)
    return init_from(net, tensors, "b.pth")


@pytest.mark.parametrize(
    ("name", "read", "write", "words"),
    [
        ("good", read_other, write_other, ""),
        ("deaf", lambda tensors: None, write_other, "it does not know what it wrote"),
        ("lossy", read_other, lambda t, s, o: ({k: v * 3 for k, v in write_other(t, s, o)[0].items()}, {}), "changed"),
        (
            "greedy",
            lambda t: Reading(scales=[2], options={"width": 9}, tensors={}),
            write_other,
            r"it reads \['width'\]",
        ),
    ],
)
def test_the_conformance_kit_tells_a_layout_that_is_not_faithful(registry, name, read, write, words):
    layouts = {"theirs": Layout(read=read, write=write)}
    registry.add("model", Model(name=name, build=other, scales=(2,), layouts=layouts))
    (finding,) = [f for f in check(registry, "model", name) if f.check.startswith("layout 'theirs'")]
    assert finding.outcome == ("fault" if words else "ok")
    assert re.search(words, finding.text)
