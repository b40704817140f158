"""MDSR against figure 5 of its paper, the reference code's names, and its way through every command."""

import json
import re

import pytest
import torch
from PIL import Image
from torch.nn import functional as F

from srkit import UsageError
from srkit.checkpoint import read_tensors
from srkit.nets import parameter_count
from srkit.upscale.wrap import make_upscaler, to_tensor
from tests.fixtures import loaded, reach

SCALES = (2, 3, 4)
SIZES = {"mdsr-baseline": (16, 3_227_203), "mdsr-large": (80, 7_953_987)}  # blocks, trainable parameters for SCALES


def reference_shapes(blocks: int, scales: tuple[int, ...], width: int = 64) -> dict[str, tuple[int, ...]]:
    """The reference code's state dict, written down from its names."""
    convs = {"head.0": (3, width, 3), f"body.{blocks}": (width, width, 3), "tail.0": (width, 3, 3)}
    for i, scale in enumerate(scales):
        for block in (0, 1):
            convs |= {f"pre_process.{i}.{block}.body.{j}": (width, width, 5) for j in (0, 2)}
        convs[f"upsample.{i}.0"] = (width, (9 if scale == 3 else 4) * width, 3)
        if scale == 4:
            convs[f"upsample.{i}.2"] = (width, 4 * width, 3)
    for i in range(blocks):
        convs |= {f"body.{i}.body.{j}": (width, width, 3) for j in (0, 2)}
    shapes: dict[str, tuple[int, ...]] = {}
    for name in ("sub_mean", "add_mean"):
        shapes |= {f"{name}.weight": (3, 3, 1, 1), f"{name}.bias": (3,)}
    for name, (before, after, side) in convs.items():
        shapes |= {f"{name}.weight": (after, before, side, side), f"{name}.bias": (after,)}
    return shapes


@pytest.mark.parametrize("scales", [(2, 3, 4), (4, 2), (3,)])
@pytest.mark.parametrize("preset", SIZES)
def test_names_shapes_and_counts_are_the_reference_codes(registry, preset, scales):
    blocks, count = SIZES[preset]
    with torch.device("meta"):
        net = registry.choose("model", preset).build(scales)
    assert {name: tuple(t.shape) for name, t in net.state_dict().items()} == reference_shapes(blocks, scales)
    assert parameter_count(net) == count or scales != SCALES


def paper(lr: torch.Tensor, state: dict[str, torch.Tensor], blocks: int, place: int, scale: int) -> torch.Tensor:
    """Figure 5 of the paper, in functions alone."""

    def conv(x, name):
        weight = state[f"{name}.weight"]
        return F.conv2d(x, weight, state[f"{name}.bias"], padding=weight.shape[-1] // 2)

    def block(x, name):
        return x + conv(F.relu(conv(x, f"{name}.body.0")), f"{name}.body.2")

    mean = 255 * torch.tensor([0.4488, 0.4371, 0.4040], dtype=lr.dtype).view(1, 3, 1, 1)
    x = conv(255 * lr - mean, "head.0")
    first = block(block(x, f"pre_process.{place}.0"), f"pre_process.{place}.1")
    x = first
    for i in range(blocks):
        x = block(x, f"body.{i}")
    x = first + conv(x, f"body.{blocks}")
    if scale == 3:
        x = F.pixel_shuffle(conv(x, f"upsample.{place}.0"), 3)
    else:
        for step in range(scale // 2):
            x = F.pixel_shuffle(conv(x, f"upsample.{place}.{2 * step}"), 2)
    return (conv(x, "tail.0") + mean) / 255


@pytest.mark.parametrize(("preset", "scales"), [
    ("mdsr-baseline", (2, 3, 4)), ("mdsr-baseline", (4, 2)), ("mdsr-large", (2, 3, 4)),
])  # fmt: skip
def test_the_forward_pass_is_the_papers(registry, preset, scales):
    torch.manual_seed(0)
    net = registry.choose("model", preset).build(scales)
    lr = torch.rand(2, 3, 8, 11)
    with torch.inference_mode():
        for place, scale in enumerate(scales):
            expected = paper(lr, net.state_dict(), SIZES[preset][0], place, scale)
            assert expected.shape[-1] == scale * 11
            torch.testing.assert_close(net(lr, scale), expected, rtol=0, atol=1e-6)


@pytest.mark.parametrize("scale", SCALES)
def test_one_scale_of_three_is_the_network_of_that_scale_alone(registry, scale):
    model = registry.choose("model", "mdsr", {"n_resblocks": 2, "n_feats": 8})
    together, alone = model.build(SCALES), model.build((scale,))
    own = re.compile(rf"^(pre_process|upsample)\.{SCALES.index(scale)}\.")
    named = together.state_dict().items()
    state = dict(named) | {own.sub(r"\1.0.", name): tensor for name, tensor in named if own.match(name)}
    alone.load_state_dict({name: state[name] for name in alone.state_dict()})
    lr = torch.rand(1, 3, 9, 10)
    with torch.inference_mode():
        assert torch.equal(alone(lr, scale), together(lr, scale))


def test_a_scale_it_was_not_built_for_is_told(registry):
    net = registry.choose("model", "mdsr", {"n_resblocks": 1, "n_feats": 4}).build((2, 3))
    with pytest.raises(UsageError, match="this MDSR was built for x2 and x3, not x4"):
        net(torch.rand(1, 3, 8, 8), 4)


@pytest.mark.parametrize("scale", [*SCALES, 8])
def test_the_receptive_field_is_the_declared_one(registry, scale):
    """Measured by gradient: which LR pixels can change one output pixel?"""
    torch.manual_seed(0)
    model = registry.choose("model", "mdsr", {"n_resblocks": 3, "n_feats": 8})
    declared = model.component.receptive_field(scale, **model.options)
    net = model.build((*SCALES, 8)).double()
    assert reach(lambda lr: net(lr, scale), scale, centre=24) == declared


@pytest.mark.parametrize("scale", SCALES)
def test_tiles_give_the_whole_picture(registry, photo, scale):
    torch.manual_seed(0)
    model = registry.choose("model", "mdsr", {"n_resblocks": 4, "n_feats": 32})
    net = model.build(SCALES)
    lr = to_tensor(photo[:71, :90])
    assert torch.equal(make_upscaler(net, model, scale, tile=32)(lr), make_upscaler(net, model, scale, tile=0)(lr))


SMALL = ["--set", "model.n_resblocks=1", "--set", "model.n_feats=4", "--set", "batch=2", "--set", "patch=8"]


def test_one_checkpoint_is_trained_resumed_scored_and_used_at_all_its_scales(run_srkit, tmp_path, photo):
    words = ["train", "--model", "mdsr", *SMALL, "--set", "scale=[2,3,4]"]
    assert run_srkit(*words, "--steps", 6, "--out", "whole")[0] == 0
    assert run_srkit(*words, "--steps", 2, "--out", "run")[0] == 0
    code, _, err = run_srkit("train", "--resume", "run", "--steps", 6)
    assert code == 0, err
    whole, resumed = (read_tensors(tmp_path / name / "last.safetensors") for name in ("whole", "run"))
    assert all(torch.equal(whole[name], resumed[name]) for name in whole)

    code, out, err = run_srkit("bench", "run", "--models", "bicubic", "--sets", "samples", "--json")
    assert code == 0, err
    assert [row["scale"] for row in json.loads(out)["rows"] if row["model"] == "run"] == [2, 3, 4]
    Image.fromarray(photo[:20, :30]).save("photo.png")
    for scale in (*SCALES, 8):  # x8 by two of them, one after the other
        assert run_srkit("upscale", "photo.png", "--model", "run", "--scale", scale, "-o", "large.png")[0] == 0
        assert loaded("large.png").size == (30 * scale, 20 * scale)


def test_training_starts_from_the_authors_file_and_from_other_scales(run_srkit, tmp_path):
    """Names go by position, as in the authors' code: of other scales what fits is taken, and the rest told."""
    torch.save({name: torch.randn(shape) / 50 for name, shape in reference_shapes(16, SCALES).items()}, "mdsr.pt")
    words = ["train", "--model", "mdsr-baseline", "--set", "batch=1", "--set", "patch=4", "--steps", 1]
    small_set = ["--set", 'validation={name="folder", root="tiny"}']
    (tmp_path / "tiny").mkdir()
    Image.new("RGB", (24, 24), (90, 120, 30)).save(tmp_path / "tiny" / "a.png")
    code, _, err = run_srkit(*words, *small_set, "--set", "scale=[2,3,4]", "--init-from", "mdsr.pt")
    assert code == 0, err
    total = len(reference_shapes(16, SCALES))
    assert "srkit: started from 'mdsr.pt':\n" in err
    table = [line.split(maxsplit=3)[1:] for line in err.splitlines() if line.startswith("srkit:   ")]
    assert {what for _, _, what in table} == {"loaded"}
    assert sum(int(count) for _, count, _ in table) == total
    code, _, err = run_srkit(*words, *small_set, "--set", "scale=[3]", "--init-from", "mdsr.pt")
    assert code == 0, err
    table = [line.split(maxsplit=3)[1:] for line in err.splitlines() if line.startswith("srkit:   ")]
    assert ["upsample.*.*", "2", "other shape, not loaded"] in table
    assert ["pre_process.*.*.body.*", "16", "in the file, not used"] in table
