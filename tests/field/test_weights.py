"""What people wanted of other programs' weight files, from this field's public trackers: one test a complaint."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

import srkit
from srkit import CheckpointError, Layout, Model, Reading, UnknownName, UsageError, Weights
from srkit.cli.weights import weights_called
from srkit.weights.convert import convert
from srkit.weights.describe import describe
from srkit.weights.loading import find_tensors, load_model

DATA = Path(__file__).parent / "data"
PLAIN = torch.load(DATA / "edsr_plain.pth", weights_only=True)


def prefixed(prefix: str, tensors=PLAIN) -> dict:
    return {f"{prefix}{name}": tensor for name, tensor in tensors.items()}


def other(tensors=PLAIN) -> dict:
    return {name: tensor + 0.01 for name, tensor in tensors.items()}


CRITIC = {"features.0.weight": torch.zeros(4, 3, 3, 3), "features.0.bias": torch.zeros(4)}
OPTIMIZER = {"state": {0: {"step": torch.tensor(3.0), "exp_avg": torch.zeros(8, 3, 3, 3)}}, "param_groups": []}

FILES = {
    "wrapped twice": prefixed("model.module."),
    "compiled": prefixed("_orig_mod.module."),
    "below net_g": prefixed("net_g."),
    "around a part": {name.replace("body.", "body.module.", 1): tensor for name, tensor in PLAIN.items()},
    "model_state_dict": {"epoch": 3, "model_state_dict": PLAIN, "optimizer_state_dict": OPTIMIZER},
    "two deep": {"trainer": {"net": prefixed("module."), "best": torch.tensor(1.0)}, "loss": torch.zeros(9)},
    "generator": {"generator": PLAIN, "discriminator": CRITIC, "optimizer": OPTIMIZER},
    "params_ema": {"params": other(), "params_ema": PLAIN},
    "averaged": {"n_averaged": torch.tensor(3), **prefixed("module.")},
    "beside an epoch": {**PLAIN, "epoch": 5, "seen": torch.tensor(9)},
    "lightning": {
        "epoch": 1,
        "state_dict": {**prefixed("generator."), **prefixed("critic.", CRITIC)},
        "optimizer_states": [OPTIMIZER],
    },
    "lightning ema": {"state_dict": {**prefixed("net.", other()), **prefixed("net_ema.")}},
}


@pytest.mark.parametrize("name", FILES)
def test_a_network_is_found_wherever_a_file_keeps_it(registry, name, run_srkit):
    """TencentARC/AnimeSR#10, huggingface/pytorch-image-models#2003: KeyError, or a prefix. Right: the same network."""
    torch.save(FILES[name], "f.pth")
    loaded = load_model(registry, "f.pth", None)
    assert (loaded.model.component.name, loaded.scale) == ("edsr", 2)
    for key, tensor in PLAIN.items():
        assert torch.equal(loaded.net.state_dict()[key], tensor)
    assert torch.equal(find_tensors(registry, "f.pth", 2)[0]["head.0.weight"], PLAIN["head.0.weight"])
    assert describe(registry, Path("f.pth"))["layout"] == "edsr-pytorch"
    convert(registry, Path("f.pth"), Path("o.safetensors"))
    assert torch.equal(load_model(registry, "o.safetensors", 2).net.head[0].weight, PLAIN["head.0.weight"])


def test_three_ways_to_save_one_network_give_the_same_pixels():
    """amanchadha/iSeeBetter#12: an EDSR saved below `model.module.`, and one under `model_state_dict`."""
    picture = Image.open(DATA / "p.png").convert("RGB")
    made = [
        np.asarray(srkit.load(DATA / f"edsr_{name}.pth", device="cpu").upscale(picture))
        for name in ("plain", "wrapped_twice", "model_state_dict")
    ]
    assert made[0].shape[0] == 2 * picture.height
    np.testing.assert_array_equal(made[0], made[1])
    np.testing.assert_array_equal(made[0], made[2])


def test_of_two_networks_none_is_guessed(registry):
    """sgrvinod/a-PyTorch-Tutorial-to-Super-Resolution#13: which key is it? Right: the choice is shown."""
    torch.save({"teacher": PLAIN, "student": other()}, "f.pth")
    told = r"several networks: teacher \(edsr x2\), student \(edsr x2\).*--set key=teacher"
    with pytest.raises(CheckpointError, match=told):
        load_model(registry, "f.pth", None)
    convert(registry, Path("f.pth"), Path("o.safetensors"), values={"key": "student"})
    net = load_model(registry, "o.safetensors", 2).net
    assert torch.equal(net.head[0].weight, other()["head.0.weight"])
    with pytest.raises(UnknownName, match="nothing under 'studnt'; did you mean 'student'"):
        convert(registry, Path("f.pth"), Path("p.safetensors"), values={"key": "studnt"})


def build(scale):
    return nn.Sequential(nn.Upsample(scale_factor=scale), nn.Conv2d(3, 3, 3, padding=1))


def read(tensors, *, scale: int = 0):
    if set(tensors) != {"conv.weight", "conv.bias"}:
        return None
    state = {"1.weight": tensors["conv.weight"], "1.bias": tensors["conv.bias"]}
    return Reading(scales=(scale or 2,), options={}, tensors=state, assumed={} if scale else {"scale": 2})


def write(tensors, scales, options):
    return {"conv.weight": tensors["1.weight"], "conv.bias": tensors["1.bias"]}, {}


@pytest.fixture
def silent(registry):
    """A layout whose files do not say their scale."""
    registry.add("model", Model(name="pre", build=build, layouts={"lab": Layout(read=read, write=write)}))
    torch.save({"conv.weight": torch.zeros(3, 3, 3, 3), "conv.bias": torch.full((3,), 0.45)}, "f.pth")
    return registry


def test_the_scale_that_is_said_is_that_of_every_door(silent):
    """upscayl/upscayl#605: the scale of a model is detected in one place and not in another. Right: one reading."""
    assert (load_model(silent, "f.pth", None).scale, load_model(silent, "f.pth", None).note) == (2, "scale=2")
    loaded = load_model(silent, "f.pth", 3)
    assert (loaded.scale, loaded.note) == (3, "")
    assert srkit.load("f.pth", scale=3, registry=silent).scale == 3
    assert list(convert(silent, Path("f.pth"), Path("o.safetensors"), values={"scale": 3}).scales) == [3]
    assert describe(silent, Path("f.pth"))["assumed"] == {"scale": 2}
    about = describe(silent, Path("f.pth"), {"scale": 3})
    assert (about["scales"], about["assumed"]) == ([3], {})
    with pytest.raises(UsageError, match="upscales x2, not x3"):  # what nobody said is not assumed: bench tries scales
        load_model(silent, "f.pth", 3, scale_said=False)


def test_a_registered_scale_and_what_the_file_says_must_agree(registry, monkeypatch, tmp_path):
    """xinntao/Real-ESRGAN#540: weights of one scale used as another. Right: an error that names both."""
    net = registry.choose("model", "edsr", {"n_resblocks": 1, "n_feats": 8}).build(2)
    (tmp_path / "shelf").mkdir()
    (tmp_path / "shelf/__init__.py").write_text("")
    monkeypatch.syspath_prepend(str(tmp_path))
    torch.save(net.state_dict(), "shelf/w.pth")
    edsr = registry.choose("model", "edsr").component
    shipped = Weights(scale=3, resource="shelf:w.pth")
    registry.add("model", Model(name="mine", build=edsr.build, layouts=edsr.layouts, weights=[shipped]))
    told = "'local:mine' registers 'w.pth' for x3, and its layout 'edsr-pytorch' reads x2"
    with pytest.raises(CheckpointError, match=told):
        load_model(registry, "mine", 3)
    (about,) = weights_called(registry, "mine")
    assert about["notes"] == "registered for x3, but the file is x2: it cannot be used"
