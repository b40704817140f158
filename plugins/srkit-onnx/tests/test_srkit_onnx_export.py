"""`srkit export`: every format holds the network, says what it is, and is there whole or not at all."""

import hashlib
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import srkit
from srkit.checkpoint import save_tensors

onnx = pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")

pytest_plugins = "srkit.testing.pytest_plugin"


def checkpoint(registry, name: str, scales=(2,), **options) -> Path:
    """A small network with random weights."""
    torch.manual_seed(1)
    model = registry.choose("model", name, options)
    net = model.build(tuple(scales) if model.component.multi_scale else scales[0])
    described = {"name": model.entry.qualified, "version": "0", "options": model.options}
    about = {"model": described, "scales": list(scales), "licence": "CC0-1.0"}
    save_tensors(Path(f"{name}.safetensors"), net.state_dict(), about)
    return Path(f"{name}.safetensors")


def metadata(path) -> dict:
    found = {each.key: each.value for each in onnx.load(path).metadata_props}
    return json.loads(found["srkit"])


def test_the_command_keeps_the_contract(srkit_check):
    srkit_check("command", "export")
    srkit_check("model", "onnx")


def test_shipped_weights_as_onnx(run_srkit, photo):
    code, out, err = run_srkit("export", "edsr-small@bicubic", "--scale", 2, "-o", "a.onnx", "--json")
    assert code == 0, err
    (told,) = json.loads(out)
    assert told["largest_difference"] < 1e-4
    assert len(told["compared_at"]) == 3
    said = metadata("a.onnx")
    weights = srkit.load("edsr-small@bicubic", 2, progress=False)
    assert said["weights_sha256"] == hashlib.sha256(Path(weights.origin).read_bytes()).hexdigest()
    wanted = {
        "model": "edsr-small", "component": "srkit:edsr", "scale": 2, "licence": "CC-BY-SA-4.0", "opset": 20,
        "channels": "rgb", "range": "0..1", "precision": "fp32", "parameters": 195971, "takes": "any size",
        "srkit": srkit.__version__,
    }  # fmt: skip
    assert wanted.items() <= said.items()
    assert said["largest_difference"] == told["largest_difference"]
    assert b"/" not in b"".join(each.doc_string.encode() for each in onnx.load("a.onnx").graph.node)
    Image.fromarray(photo[:61, :75]).save("p.png")
    for model, name in (("edsr-small@bicubic", "torch.png"), ("a.onnx", "onnx.png")):
        code, _, err = run_srkit("upscale", "p.png", "--model", model, "-o", name)
        assert code == 0, err
    difference = np.asarray(Image.open("torch.png")).astype(int) - np.asarray(Image.open("onnx.png"))
    assert np.abs(difference).max() <= 1
    assert (difference != 0).mean() < 1e-3
    Path("hr").mkdir()
    Image.fromarray(photo[:96, :96]).save("hr/a.png")
    words = ("--models", "edsr-small", "--sets", "hr", "--scales", 2, "--metrics", "psnr", "--json")
    code, out, err = run_srkit("bench", "a.onnx", *words)
    assert code == 0, err
    by_name = {row["model"]: row for row in json.loads(out)["rows"] if row["scale"] == 2}
    assert by_name["a.onnx"]["psnr"] == pytest.approx(by_name["edsr-small"]["psnr"], abs=1e-3)
    assert by_name["a.onnx"]["parameters"] == 195971


def test_a_multi_scale_model_is_a_file_a_scale(run_srkit, registry):
    path = checkpoint(registry, "mdsr", (2, 3), n_resblocks=1, n_feats=8)
    code, _, err = run_srkit("export", path, "-o", "one.onnx")
    assert (code, len(err.splitlines())) == (2, 1)
    assert "write {scale} in it" in err
    net = srkit.load(path, 3, progress=False).net
    code, out, err = run_srkit("export", path, "-o", "x{scale}.pt2", "--json")
    assert code == 0, err
    assert [(each["file"], each["scale"]) for each in json.loads(out)] == [("x2.pt2", 2), ("x3.pt2", 3)]
    lr = torch.rand(1, 3, 9, 11)
    with torch.inference_mode():
        torch.testing.assert_close(torch.export.load("x3.pt2").module()(lr), net.eval()(lr, 3), rtol=0, atol=1e-6)


@pytest.mark.parametrize("form", ["torchscript", "exported", "safetensors"])
def test_the_other_formats_hold_the_network(form, run_srkit, registry):
    path = checkpoint(registry, "edsr", n_resblocks=1, n_feats=8)
    net = srkit.load(path, progress=False).net.eval()
    suffix = {"torchscript": ".pt", "exported": ".pt2", "safetensors": ".safetensors"}[form]
    code, out, err = run_srkit("export", path, "-o", f"made{suffix}", "--json")
    assert code == 0, err
    (told,) = json.loads(out)
    assert (told["format"], told["licence"], told["largest_difference"] < 1e-5) == (form, "CC0-1.0", True)
    lr, beside = torch.rand(1, 3, 21, 33), {"srkit.json": ""}
    with torch.inference_mode():
        if form == "torchscript":
            made = torch.jit.load("made.pt", _extra_files=beside)(lr)
        elif form == "exported":
            made = torch.export.load("made.pt2", extra_files=beside).module()(lr)
        else:
            made = srkit.load("made.safetensors", progress=False).net(lr)
        torch.testing.assert_close(made, net(lr), rtol=0, atol=1e-6)
    assert form == "safetensors" or json.loads(beside["srkit.json"])["scale"] == 2


def test_what_cannot_vary_in_size_is_of_one_tile(run_srkit, registry, photo):
    """VDSR interpolates by tables made for its input's size."""
    path = checkpoint(registry, "vdsr", depth=3, n_feats=4)
    code, out, err = run_srkit("export", path, "--tile", 48, "-o", "v.onnx", "--json")
    assert code == 0, err
    (told,) = json.loads(out)
    assert told["takes"] == "tiles of 48x48 pixels"
    assert told["compared_at"] == [[61, 51], [53, 64], [73, 54]]
    assert told["largest_difference"] < 1e-4, "at sizes above a tile, in tiles that cannot be seen"
    assert [each.dim_value for each in onnx.load("v.onnx").graph.input[0].type.tensor_type.shape.dim] == [1, 3, 48, 48]


def test_int8_is_small_and_near(run_srkit, tmp_path):
    code, out, err = run_srkit("export", "edsr-small@bicubic", "--scale", 2, "--precision", "int8", "--json")
    assert code == 0, err
    (told,) = json.loads(out)
    assert told["file"] == "edsr-small_x2_int8.onnx"
    assert 1e-3 < told["largest_difference"] < 0.1
    assert told["psnr"] > 40
    assert told["bytes"] < 400_000
    assert "int8" in srkit.load("edsr-small_x2_int8.onnx", progress=False).net.runtime


WRONG = {
    ("edsr-small", "--format", "tflite"): "--format tflite is none of onnx (.onnx), torchscript (.pt)",
    ("edsr-small", "-o", "a.tflite"): "the suffix of 'a.tflite' is none of onnx",
    ("edsr-small", "-o", "a.pt", "--precision", "int8"): "is written in fp32, not int8; --format onnx has it",
    ("edsr-small", "--precision", "fp8"): "is written in fp32 or fp16 or int8, not fp8",
    ("edsr-small", "-o", "no/such/a.onnx"): "'no/such' is no folder that can be written",
    ("edsr-small", "--calibrate", "."): "--calibrate is for --precision int8",
    ("edsr-small", "--precision", "int8", "--calibrate", "none"): "--calibrate 'none' is no folder",
    ("edsr-small", "--layout", "nhwc"): "it is for ONNX files",
    ("edsr-small", "--range", "0..2"): "--range is 0..1, 0..255, -1..1, not '0..2'",
    ("edsr-small", "-o", "a.pt2", "--opset", "18"): "--opset is of ONNX, not of exported",
    ("edsr-smal",): "no model called 'edsr-smal'; did you mean 'edsr-small'?",
    ("none.onnx",): "'none.onnx' cannot be read: No such file",
    ("edsr-baseline",): "has no trained weights",
}


@pytest.mark.parametrize("words", WRONG, ids=" ".join)
def test_what_is_wrong_is_one_line(words, run_srkit):
    code, _, err = run_srkit("export", *words)
    assert code in (1, 2)
    assert len(err.splitlines()) == 1
    assert WRONG[words] in err
    assert not [path for path in Path().iterdir() if path.suffix != ".json" and path.is_file()]


def test_a_failure_leaves_the_file_that_was_there(run_srkit, monkeypatch, registry):
    path = checkpoint(registry, "edsr", n_resblocks=1, n_feats=4)
    Path("a.onnx").write_text("before")
    from srkit_onnx import forms

    monkeypatch.setattr(forms, "onnx_of", lambda *args: (_ for _ in ()).throw(srkit.SrkitError("no such operator")))
    code, _, err = run_srkit("export", path, "-o", "a.onnx")
    assert code == 1
    assert "no such operator" in err
    assert Path("a.onnx").read_text() == "before"
    assert {each.name for each in Path().iterdir() if each.is_file()} == {"a.onnx", path.name}
