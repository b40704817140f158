"""Checkpoints: self-describing, atomic, exact, and never a door for a stranger's code."""

import json
import os
import pickle
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors import safe_open
from torch import nn

from srkit import CheckpointError, Model, PluginError, SrkitError, UnknownName, UsageError, checkpoint
from srkit.train import initial, state
from srkit.weights.describe import describe
from srkit.weights.loading import load_model


def small(**changes) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Conv2d(4, changes.get("out", 3), 3))


def trained(net: nn.Module, steps: int) -> torch.optim.Adam:
    optimizer = torch.optim.Adam(net.parameters(), betas=(0.8, 0.99))
    for _ in range(steps):
        net(torch.rand(2, 3, 9, 9)).mean().backward()
        optimizer.step()
    return optimizer


def test_a_training_state_comes_back_exactly(tmp_path):
    net = small()
    parts = {"net": net, "optimizer": trained(net, 3)}
    state.save_state(tmp_path, 3, {"best": [1.5, 2]}, parts)
    other = small()
    back = {"net": other, "optimizer": trained(other, 1)}
    about = state.load_state(tmp_path, back)
    assert (about["step"], about["best"]) == (3, [1.5, 2])
    for name in parts:
        torch.testing.assert_close(back[name].state_dict(), parts[name].state_dict(), rtol=0, atol=0)


def test_the_newest_whole_state_is_taken_and_two_are_kept(tmp_path):
    net = small()
    for step in (1, 2, 3):
        net[0].bias.data.fill_(step)
        state.save_state(tmp_path, step, {}, {"net": net})
    assert [p.name for p in state.states(tmp_path)] == ["state-00000002.safetensors", "state-00000003.safetensors"]
    newest = state.states(tmp_path)[-1]
    newest.write_bytes(newest.read_bytes()[:-5])
    about = state.load_state(tmp_path, {"net": net})
    assert about["step"] == 2
    assert net[0].bias[0] == 2
    assert state.load_state(tmp_path / "empty", {"net": net}) is None
    with pytest.raises(CheckpointError, match="does not fit the run.toml beside it"):
        state.load_state(tmp_path, {"net": small(out=5)})
    for path in state.states(tmp_path):
        path.write_bytes(path.read_bytes()[:-5])
    with pytest.raises(CheckpointError, match="not a whole safetensors file"):
        state.load_state(tmp_path, {"net": net})


def test_a_full_disk_leaves_what_was_there(tmp_path, monkeypatch):
    path = tmp_path / "last.safetensors"
    checkpoint.save_tensors(path, small().state_dict(), {})
    before = path.read_bytes()

    def full(descriptor):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(CheckpointError, match="cannot write .*last.safetensors'.*No space left"):
        checkpoint.save_tensors(path, small().state_dict(), {})
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


class Bomb:
    def __reduce__(self):
        return os.system, ("touch exploded",)


@pytest.mark.parametrize("legacy", [False, True])
def test_a_malicious_pickle_is_refused_and_not_run(tmp_path, legacy):
    path = tmp_path / "model.pth"
    if legacy:
        path.write_bytes(pickle.dumps({"state_dict": Bomb()}))
    else:
        torch.save({"state_dict": Bomb()}, path)
    with pytest.raises(CheckpointError, match="model.pth' holds no tensors that can be read safely"):
        checkpoint.read_tensors(path)
    assert not os.path.exists("exploded")


def test_foreign_state_dicts_are_read_as_tensors(tmp_path):
    net = small()
    torch.save(net.state_dict(), tmp_path / "plain.pt")
    torch.save({"params_ema": net.state_dict(), "params": {}}, tmp_path / "basicsr.pth")
    torch.save([1, 2], tmp_path / "list.pt")
    for name in ("plain.pt", "basicsr.pth"):
        torch.testing.assert_close(checkpoint.read_tensors(tmp_path / name), dict(net.state_dict()), rtol=0, atol=0)
    with pytest.raises(CheckpointError, match="not a state dict"):
        checkpoint.read_tensors(tmp_path / "list.pt")


def test_init_from_takes_what_fits_and_says_what_did_not(tmp_path):
    path = tmp_path / "from.pt"
    source = small(out=7)
    torch.save({**source.state_dict(), "extra": torch.zeros(1)}, path)
    net = small()
    report = initial.init_from(net, checkpoint.read_tensors(path), path)
    assert str(report) == f"7 of 9 tensors from '{path}'; other shape: 2.bias, 2.weight; not used: extra"
    assert torch.equal(net[0].weight, source[0].weight)
    torch.save({"nothing": torch.zeros(1)}, path)
    with pytest.raises(CheckpointError, match="nothing in '.*' fits the model"):
        initial.init_from(net, checkpoint.read_tensors(path), path)


def edsr(registry, **options):
    return registry.choose("model", "edsr", {"n_resblocks": 1, "n_feats": 4, **options})


def save_edsr(registry, path, **about):
    model = edsr(registry)
    net = model.build(3)
    described = {"name": "srkit:edsr", "version": "0.1.0", "options": model.options}
    checkpoint.save_tensors(path, net.state_dict(), {"model": described, "scales": [3], **about})
    return net


def test_a_checkpoint_knows_what_it_is(tmp_path, registry):
    path = tmp_path / "m.safetensors"
    net = save_edsr(registry, path)
    loaded = load_model(registry, str(path), None)
    assert (loaded.scale, loaded.model.label, loaded.origin) == (3, "edsr", str(path))
    torch.testing.assert_close(loaded.net.state_dict(), net.state_dict(), rtol=0, atol=0)
    with safe_open(path, "pt") as file:
        assert "srkit" in file.metadata()
    with pytest.raises(UsageError, match="upscales x3, not x2"):
        load_model(registry, str(path), 2)


def test_what_a_checkpoint_can_be_wrong_in(tmp_path, registry):
    path = tmp_path / "m.safetensors"
    save_edsr(registry, path, model={"name": "srkit-hat:hat", "version": "1.2", "options": {}})
    with pytest.raises(CheckpointError, match="made with 'srkit-hat:hat' 1.2 and needs the plugin 'srkit-hat'"):
        load_model(registry, str(path), None)
    save_edsr(
        registry, path, model={"name": "srkit:edsr", "version": "0.1.0", "options": edsr(registry, n_feats=8).options}
    )
    with pytest.raises(CheckpointError, match="does not fit its model"):
        load_model(registry, str(path), None)
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(CheckpointError, match="not a whole safetensors file"):
        load_model(registry, str(path), None)
    with pytest.raises(UnknownName, match="no checkpoint '.*n.safetensors'; did you mean '.*m.safetensors'?"):
        load_model(registry, str(tmp_path / "n.safetensors"), None)
    from safetensors.torch import save_file

    save_file({"w": torch.zeros(1)}, path)
    with pytest.raises(CheckpointError, match="srkit did not write it"):
        load_model(registry, str(path), None)


@pytest.mark.parametrize("wrong", ["text", 3, [], [0], {"name": 3}, True, -1.5])
@pytest.mark.parametrize("key", ["model", "scales", "scores", "run", "step", "licence", "training_lr"])
def test_a_header_that_says_nonsense_is_one_line_in_every_command(tmp_path, registry, monkeypatch, key, wrong):
    right = [(key, {"name": 3}) for key in ("scores", "run")] + [(key, "text") for key in ("licence", "training_lr")]
    right.append(("step", 3))
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "runs" / "m" / "best.safetensors"
    path.parent.mkdir(parents=True)
    save_edsr(registry, path, **{key: wrong})
    for use in (lambda: load_model(registry, str(path), None), lambda: describe(registry, path)):
        if (key, wrong) in right:
            use()
        else:
            with pytest.raises(CheckpointError, match=f"best.safetensors' says of itself .* {key} = "):
                use()
    with pytest.raises(SrkitError, match="edsr"):  # a run that says nonsense is no run, and not the end of it
        load_model(registry, "edsr-large", 3)


def test_no_network_is_ever_used_with_random_weights(registry):
    with pytest.raises(SrkitError, match="no trained weights for x2 here. Get some with 'srkit weights pull"):
        load_model(registry, "edsr-large", 2)
    with pytest.raises(UsageError, match="does not upscale x5; it offers x1, x2, x3, x4"):
        load_model(registry, "edsr", 5)


def test_a_foreign_file_is_loaded_by_the_plugin_that_knows_it(tmp_path, registry):
    path = tmp_path / "their-x3.pth"
    net = nn.Sequential(nn.Conv2d(3, 27, 3, padding=1), nn.PixelShuffle(3))
    torch.save({"params": net.state_dict()}, path)
    with pytest.raises(CheckpointError, match="srkit did not write it"):
        load_model(registry, str(path), None)

    def from_file(file):
        tensors = checkpoint.read_tensors(file)
        if set(tensors) != {"0.weight", "0.bias"}:
            return None
        other = nn.Sequential(nn.Conv2d(3, 27, 3, padding=1), nn.PixelShuffle(3))
        other.load_state_dict(tensors)
        return other, 3

    registry.add("model", Model(name="theirs", build=print, from_file=from_file))
    loaded = load_model(registry, str(path), None)
    assert (loaded.scale, loaded.model.label, loaded.origin) == (3, "their-x3", str(path))
    torch.testing.assert_close(loaded.net.state_dict(), net.state_dict(), rtol=0, atol=0)
    with pytest.raises(UsageError, match="upscales x3, not x2"):
        load_model(registry, str(path), 2)
    torch.save({"else": torch.zeros(1)}, path)
    with pytest.raises(CheckpointError, match="srkit did not write it"):
        load_model(registry, str(path), None)


OTHER_RUNTIME = """
from srkit import Model, hookimpl

def from_file(path):
    import torch

    class Repeat(torch.nn.Module):
        runtime = "a runtime of its own, float32"

        def forward(self, lr):
            assert not torch.is_autocast_enabled(lr.device.type)
            return lr.repeat_interleave(2, -1).repeat_interleave(2, -2)

    return (Repeat(), 2) if path.suffix == ".onnx" else None

@hookimpl
def srkit_models():
    return [Model(name="repeat", build=print, from_file=from_file)]
"""


def test_a_network_of_another_runtime_is_told_and_computed_in_its_own_precision(run_srkit, install, photo):
    install("srkit-repeat", OTHER_RUNTIME)
    Path("net.onnx").write_bytes(b"no tensors for torch")
    Image.fromarray(photo[:9, :7]).save("a.png")
    code, _, err = run_srkit("upscale", "a.png", "--model", "net.onnx", "-o", "b.png", "--precision", "bf16")
    assert code == 0, err
    assert "computed by a runtime of its own, float32; --precision changes nothing" in err
    assert "PyTorch" not in err
    code, _, err = run_srkit("upscale", "a.png", "--model", "net.onnx", "-o", "auto.png", "--backend", "auto")
    assert code == 0, err
    assert "computed by a runtime of its own, float32" in err
    assert "backend" not in err
    assert (np.asarray(Image.open("b.png"))[::2, ::2] == photo[:9, :7]).all()
    code, out, err = run_srkit("weights", "show", "net.onnx", "--json")
    assert code == 0, err
    assert json.loads(out) == {
        "file": "net.onnx", "bytes": 20, "layout": "srkit-repeat:repeat", "scales": [2], "parameters": 0,
        "runtime": "a runtime of its own, float32",
    }  # fmt: skip
    assert "computed by" in run_srkit("weights", "show", "net.onnx")[1]
    code, _, err = run_srkit("upscale", "a.png", "--model", "none.onnx")
    assert (code, len(err.splitlines())) == (2, 1)
    assert "no checkpoint 'none.onnx'" in err


def test_an_onnx_file_without_its_plugin_names_it(run_srkit, photo):
    Path("net.onnx").write_bytes(b"no tensors for torch")
    Image.fromarray(photo[:9, :7]).save("a.png")
    code, _, err = run_srkit("upscale", "a.png", "--model", "net.onnx")
    assert (code, len(err.splitlines())) == (1, 1)
    assert "'net.onnx' is read by a plugin, srkit-onnx; none that is installed knows it" in err


def test_of_the_plugins_one_that_reads_a_file_comes_first_then_one_that_refuses_it(tmp_path, registry):
    path = tmp_path / "w.pth"
    torch.save({"0.weight": torch.zeros(3, 3, 1, 1)}, path)

    def failing(file):
        raise KeyError("body.0")

    def refusing(file):
        raise CheckpointError(f"'{file}' wants a mask")

    registry.add("model", Model(name="a", build=print, from_file=failing))
    with pytest.raises(PluginError, match=r"cannot be read by 'local:a': .*body\.0"):
        load_model(registry, str(path), None)
    about = describe(registry, path)
    assert (about["layout"], "shapes" in about) == ("", True)
    registry.add("model", Model(name="b", build=print, from_file=refusing))
    with pytest.raises(CheckpointError, match="wants a mask"):
        load_model(registry, str(path), None)
    about = describe(registry, path)
    assert (about["layout"], about["notes"]) == ("local:b", f"'{path}' wants a mask")
    registry.add("model", Model(name="c", build=print, from_file=lambda file: (nn.Conv2d(3, 3, 1), 1)))
    assert load_model(registry, str(path), None).model.entry.qualified == "local:c"
    assert describe(registry, path)["layout"] == "local:c"
