"""spandrel's architectures as srkit models: the table against spandrel, files in both directions, training."""

import re
from pathlib import Path
from runpy import run_path

import pytest
import torch
from safetensors.torch import load_file
from torch import nn

from srkit import CheckpointError, Registry, UsageError
from srkit.options import faults_of, options_of
from srkit.testing.models import awake

spandrel = pytest.importorskip("spandrel")

from srkit_spandrel import fields, record  # noqa: E402 - after the skip
from srkit_spandrel.constructors import parameters  # noqa: E402
from srkit_spandrel.layouts import architecture, read, write  # noqa: E402
from srkit_spandrel.networks import pad  # noqa: E402
from srkit_spandrel.table import left_out, offered, rows, toml  # noqa: E402

ROOT = Path(__file__).parents[3]
NAMES = [row["name"] for row in offered()]
#: a second and more each, even when small: benchmarks/architectures.py has them too
SLOW = ("dctlsa", "fbcnn", "grl", "realcugan", "realcugan-fast", "scunet", "uformer")


def small(registry, name: str, scale: int, **options) -> tuple[nn.Module, dict]:
    """A small network with lively weights, and its options."""
    torch.manual_seed(1)
    choice = registry.choose("model", f"srkit-spandrel:{name}", {**rows()[name]["small"], **options})
    return awake(choice.build(scale), 1).eval(), choice.options


def test_every_architecture_of_spandrel_is_a_model_or_left_out_with_a_reason():
    ours = {row["arch"] for row in rows().values() if not row.get("extra")}
    theirs = {each.architecture.id for each in spandrel.MAIN_REGISTRY} - {"srkit-EDSR"}
    assert theirs <= ours | left_out().keys()
    assert ours <= theirs
    assert not ours & left_out().keys()
    assert all(left_out().values())


def test_those_with_restrictive_licences_are_listed_where_their_package_is(monkeypatch):
    extra = {name for name, row in rows().items() if row.get("extra")}
    assert extra >= {"restormer", "srformer"}
    for found, listed in ((None, set()), (object(), extra)):
        monkeypatch.setattr("srkit_spandrel.table.find_spec", lambda name, found=found: found)
        assert {row["name"] for row in offered()} & extra == listed
    for name in extra:
        assert re.search("-NC-|non-commercial", record(rows()[name]).licence)


@pytest.mark.parametrize("name", NAMES)
def test_its_options_are_typed_explained_and_fit_a_run_file(registry, name):
    options = options_of(record(rows()[name]).build)
    assert list(options) == list(parameters(name))
    assert faults_of("model", options.values()) == []
    assert [each.name for each in options.values() if not each.help or each.type == "Any"] == []
    for preset in rows()[name].get("presets", {}):
        registry.choose("model", f"srkit-spandrel:{preset}")


def test_no_meaning_of_an_option_is_left_over():
    told = {option for name in rows() if name in NAMES for option in parameters(name)}
    extra = {option for name in set(rows()) - set(NAMES) for option in rows()[name]["small"]}
    for section, meanings in toml("options.toml").items():
        assert section == "any" or section in rows()
        if section in NAMES:
            assert meanings.keys() <= parameters(section).keys()
    assert toml("options.toml")["any"].keys() - told <= extra | {"n_MRB", "chan_factor", "LayerNorm_type"}


@pytest.mark.parametrize("name", [name for name in NAMES if name not in SLOW])
def test_spandrel_reads_it_and_makes_the_same_pixels(registry, name):
    row = rows()[name]
    scale = row["scales"][-1] if row["scales"][-1] < 8 else 2
    net, options = small(registry, name, scale)
    model = architecture(row["arch"]).load(dict(net.state_dict()))
    wanted = row.get("size", {})
    assert model.scale == scale
    assert wanted == {
        key: getattr(model.size_requirements, key)
        for key in wanted
        if key != "minimum" or model.size_requirements.minimum
    }
    assert model.size_requirements.none == (not wanted) or row["arch"] == "ESRGAN"
    assert (options.get("embed_dim"), model.input_channels) == (model.model.hyperparameters.get("embed_dim"), 3)

    lr = torch.rand(2, 3, 37, 45, generator=torch.Generator().manual_seed(2))
    with torch.inference_mode():
        ours = net(lr)
        padding = model.size_requirements.get_padding(45, 37)
        theirs = [model._call_fn(model.model.eval(), pad(each, *padding)) for each in lr.split(1)]
    assert ours.shape == (2, 3, 37 * scale, 45 * scale)
    assert ours.std() > 1e-4
    torch.testing.assert_close(ours, torch.cat(theirs)[..., : 37 * scale, : 45 * scale], rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("name", ["compact", "hat", "realplksr", "nafnet"])
def test_its_layout_gives_back_scale_options_and_tensors(registry, name):
    scale = rows()[name]["scales"][0]
    net, options = small(registry, name, scale)
    written, _ = write(name, net.state_dict(), [scale], options)
    reading = read(name, written)
    assert reading.scales == [scale]
    assert {key: options[key] for key in reading.options} == reading.options
    assert all(torch.equal(tensor, reading.tensors[key]) for key, tensor in net.state_dict().items())
    assert read(name, {f"x.{key}": tensor for key, tensor in written.items()}) is None
    others = [other for other in NAMES if other != name and read(other, written)]
    assert others == []


def test_what_a_file_cannot_say_is_refused_or_said(registry):
    net, options = small(registry, "realplksr", 2, norm_groups=2)
    with pytest.raises(UsageError, match="cannot tell spandrel norm_groups=2: it would take 4"):
        write("realplksr", net.state_dict(), [2], options)
    assert read("realplksr", net.state_dict()).assumed["norm_groups"] == 4
    said = read("realplksr", net.state_dict(), norm_groups=2)
    assert said.options["norm_groups"] == 2
    assert "norm_groups" not in said.assumed
    with pytest.raises(UsageError, match="for x4 alone, not x2"):
        small(registry, "swin2sr", 2, upsampler="nearest+conv")


def test_a_gray_network_is_not_taken():
    from spandrel.architectures.Compact import Compact

    assert read("compact", Compact(num_in_ch=1, num_out_ch=1, num_feat=4, num_conv=1, upscale=2).state_dict()) is None


PRINTED = run_path(str(ROOT / "benchmarks" / "architectures.py"))["prints_as"]


@pytest.mark.parametrize(
    ("preset", "scale", "text"),
    [
        (preset, int(scale), text)
        for row in offered()
        for preset, said in row.get("published", {}).items()
        for scale, text in list(said.items())[-1:]
        if text.endswith("K")  # the large ones are counted by benchmarks/architectures.py
    ],
)
def test_it_has_the_parameters_that_its_paper_prints(registry, preset, scale, text):
    net = registry.choose("model", f"srkit-spandrel:{preset}").build(scale)
    assert PRINTED(sum(p.numel() for p in net.parameters() if p.requires_grad), text)


@pytest.mark.parametrize("name", ["compact", "dncnn", "esrgan", "mosr", "plksr", "realplksr", "span", "swift-srgan"])
def test_its_receptive_field_is_measured(registry, name):
    """By the gradient of one pixel, and of its tiles; as `srkit plugins check` does."""
    from srkit.testing.kit import Note
    from srkit.testing.models import receptive_field, tiles

    more = {"layer_norm": True} if name == "realplksr" else {}
    choice = registry.choose("model", f"srkit-spandrel:{name}", {**rows()[name]["small"], **more})
    scale = 2 if 2 in choice.component.scales else 1
    receptive_field(choice, scale)
    try:
        tiles(choice, scale)
    except Note as note:
        told = str(note)  # where float32 rounds in another order, float64 is compared
    else:
        told = "by rounding"
    assert "by rounding" in told


def test_without_a_bound_there_is_no_receptive_field():
    assert fields.realplksr(2, n_blocks=1, kernel_size=5, use_ea=True, layer_norm=False, dysample=False) is None
    assert fields.esrgan(2, num_blocks=1, shuffle_factor=2) is None
    assert fields.mosr(2, n_block=1, kernel_size=7, upsampler="dys") is None


@pytest.mark.parametrize("name", ["span", "hat", "nafnet"])
def test_a_step_of_training_is_read_by_spandrel(tmp_path, name):
    shown = run_path(str(ROOT / "benchmarks" / "architectures.py"))["trained"](rows()[name], tmp_path)
    assert shown["differ"] == 0, shown


def test_a_published_file_starts_a_training_and_goes_back(run_srkit, registry, tmp_path):
    net, _ = small(registry, "compact", 2)
    torch.save({"params": net.state_dict()}, "published.pth")
    size = [word for key, value in rows()["compact"]["small"].items() for word in ("--set", f"model.{key}={value}")]
    words = ("train", "--model", "compact", *size, "--scale", 2, "--set", "batch=2", "--set", "lr=1e-12", "--steps", 1)
    code, _, err = run_srkit(*words, "--init-from", "published.pth", "--out", "run")
    assert code == 0, err
    assert run_srkit("weights", "convert", "run", "-o", "back.pth", "--to", "spandrel")[0] == 0
    back = torch.load("back.pth", weights_only=True)["params"]
    for key, tensor in net.state_dict().items():
        torch.testing.assert_close(back[key], tensor, rtol=0, atol=1e-6)
    assert spandrel.ModelLoader().load_from_file("back.pth").architecture.id == "Compact"
    assert load_file("run/best.safetensors").keys() == back.keys()
    code, out, _ = run_srkit("weights", "show", "back.pth")
    assert code == 0
    assert "spandrel (spandrel, and the programs that use it)" in out


def test_a_file_of_another_size_does_not_start_a_training(registry):
    from srkit.train.initial import init_from

    net, _ = small(registry, "compact", 2)
    other, _ = small(registry, "span", 2)
    with pytest.raises(CheckpointError, match="nothing in"):
        init_from(net, other.state_dict(), "other.pth")


def test_a_registry_takes_them_all_without_torch(registry):
    ours = [entry for entry in registry.of("model") if entry.package == "srkit-spandrel"]
    assert [entry.component.name for entry in ours] == ["spandrel", *NAMES]
    assert isinstance(registry, Registry)
    assert not [notice for notice in registry.notices if "spandrel" in notice]
