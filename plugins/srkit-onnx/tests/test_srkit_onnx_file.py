"""ONNX files of other programs: used rightly, or refused in a line."""

import json
from importlib.resources import files
from pathlib import Path
from runpy import run_path

import numpy as np
import pytest
import torch
from PIL import Image

import srkit
from srkit import CheckpointError

onnx = pytest.importorskip("onnx")
file = pytest.importorskip("srkit_onnx.file")

from onnx import TensorProto, helper, numpy_helper  # noqa: E402 - after the skip
from srkit_onnx.convention import Convention, spans  # noqa: E402

edsr = run_path(str(Path(__file__).with_name("foreign_exporter.py")))["edsr"]
WEIGHTS = Path(str(files("srkit_builtin"))) / "weights" / "edsr-small-x2-bicubic.safetensors"


@pytest.fixture(scope="module")
def right():
    """(a part of a photograph, what srkit makes of it in PyTorch)."""
    photo = srkit.read_rgb(srkit.list_images(WEIGHTS.parents[1] / "samples")[2])[60:111, 100:159]
    return photo, srkit.load("edsr-small@bicubic", 2, device="cpu", progress=False).upscale(photo).astype(int)


def made(path, photo) -> np.ndarray:
    return srkit.load(path, device="cpu", progress=False).upscale(photo).astype(int)


USED = {
    "plain": {},
    "NHWC, 0..255": {"layout": "nhwc", "values": "0..255"},
    "-1..1": {"values": "-1..1"},
    "uint8, NHWC": {"layout": "nhwc", "values": "0..255", "dtype": "uint8"},
    "float16": {"dtype": "float16"},
}
IN_DOUBT = {
    "BGR": ({"channels": "bgr"}, "channel order is in doubt, .* --channels"),
    "BGR, uint8, NHWC": (
        {"channels": "bgr", "layout": "nhwc", "values": "0..255", "dtype": "uint8"},
        "channel order is in doubt, .* --channels",
    ),
    "RGB in, BGR out": ({"swap_out": True}, "channel order is in doubt, .* --channels"),
}


@pytest.mark.parametrize("name", USED)
def test_another_programs_file_gives_the_pixels_of_the_network_in_pytorch(name, right, tmp_path):
    edsr(tmp_path / "theirs.onnx", WEIGHTS, **USED[name])
    photo, expected = right
    assert np.abs(made(tmp_path / "theirs.onnx", photo) - expected).max() <= 1
    net = srkit.load(tmp_path / "theirs.onnx", progress=False).net
    assert net.runtime.startswith("onnxruntime (CPUExecutionProvider) in ")
    assert net.runtime.endswith("measured")


@pytest.mark.parametrize("name", IN_DOUBT)
def test_a_doubt_is_a_line_with_the_option_that_settles_it(name, right, tmp_path, run_srkit):
    how, message = IN_DOUBT[name]
    edsr(tmp_path / "theirs.onnx", WEIGHTS, **how)
    photo, expected = right
    with pytest.raises(CheckpointError, match=message):
        srkit.load(tmp_path / "theirs.onnx")
    order = "rgb" if "swap_out" in how else "bgr"
    code, out, err = run_srkit("export", "theirs.onnx", "--channels", order, "-o", "named.onnx")
    assert code == 0, err
    assert "named.onnx: theirs x2 as onnx" in out
    assert np.abs(made(tmp_path / "named.onnx", photo) - expected).max() <= 1


def test_a_file_of_one_size_is_used_in_tiles(right, tmp_path):
    edsr(tmp_path / "fixed.onnx", WEIGHTS, size=(40, 48))
    photo, expected = right
    differences = np.abs(made(tmp_path / "fixed.onnx", photo) - expected)
    assert differences.max() <= 3, "tiles share 16 pixels, and the network sees 20"
    assert differences.mean() < 0.01
    assert made(tmp_path / "fixed.onnx", photo[:20, :30]).shape == (40, 60, 3)


def test_a_network_of_luma_is_used_on_luma(right, tmp_path):
    edsr(tmp_path / "luma.onnx", WEIGHTS, channels="y", values="0..255")
    photo, _ = right
    gray = np.repeat(photo.mean(2, keepdims=True).astype(np.uint8), 3, 2)
    expected = srkit.load("edsr-small@bicubic", 2, device="cpu", progress=False).upscale(gray).astype(int)
    assert np.abs(made(tmp_path / "luma.onnx", gray) - expected.mean(2, keepdims=True)).max() <= 1.5
    colour = made(tmp_path / "luma.onnx", photo)
    small = np.asarray(Image.fromarray(colour.astype(np.uint8)).resize(photo.shape[1::-1], Image.Resampling.BOX))
    assert np.abs(small.astype(int) - photo).mean() < 4, "the colours are the photograph's"


def test_the_commands_take_a_file_of_another_program(run_srkit, right, tmp_path):
    photo, expected = right
    edsr("theirs.onnx", WEIGHTS, layout="nhwc", values="0..255")
    Image.fromarray(photo).save("photo.png")
    code, _, err = run_srkit("upscale", "photo.png", "--model", "theirs.onnx", "-o", "large.png")
    assert code == 0, err
    assert "computed by onnxruntime (CPUExecutionProvider) in float32, RGB NHWC 0..255, measured" in err
    assert np.abs(np.asarray(Image.open("large.png")).astype(int) - expected).max() <= 1
    code, out, err = run_srkit("weights", "show", "theirs.onnx", "--json")
    assert code == 0, err
    about = json.loads(out)
    assert (about["layout"], about["scales"]) == ("srkit-onnx:onnx", [2])
    assert about["parameters"] - 195971 == 24, "the two mean shifts are among them"
    code, _, err = run_srkit("upscale", "photo.png", "--model", "theirs.onnx", "--scale", "3", "-o", "x.png")
    assert code == 0, err  # by x2 twice, made small
    code, _, err = run_srkit("upscale", "photo.png", "--model", "theirs.onnx", "--backend", "onnxruntime")
    assert code == 1
    assert "leave --backend out" in err


def write(name: str, nodes, inputs, outputs, constants=(), opset=18) -> Path:
    ports = [
        [helper.make_tensor_value_info(n, kind, dims) for n, kind, dims in each] for each in (inputs, outputs)
    ]  # fmt: skip
    graph = helper.make_graph(nodes, "g", *ports, list(constants))
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=9)
    Path(name).write_bytes(model.SerializeToString())
    return Path(name)


IMAGE = ["n", 3, "h", "w"]
FLOAT = TensorProto.FLOAT


def hostile(name: str) -> Path:
    same = [helper.make_node("Identity", ["a"], ["b"])]
    a, b = ("a", FLOAT, IMAGE), ("b", FLOAT, None)
    if name == "empty":
        Path("x.onnx").write_bytes(b"")
    elif name == "no protobuf":
        Path("x.onnx").write_bytes(b"\x80\x04 this is a pickle, it says")
    elif name == "truncated":
        edsr("x.onnx", WEIGHTS)
        Path("x.onnx").write_bytes(Path("x.onnx").read_bytes()[:-1000])
    elif name == "huge":
        with open("x.onnx", "wb") as stream:
            stream.truncate(2**31 + 7)  # sparse
    elif name == "two inputs":
        write("x.onnx", [helper.make_node("Add", ["a", "c"], ["b"])], [a, ("c", FLOAT, IMAGE)], [b])
    elif name == "two outputs":
        write("x.onnx", [*same, helper.make_node("Relu", ["a"], ["c"])], [a], [b, ("c", FLOAT, None)])
    elif name == "external weights":
        tensor = numpy_helper.from_array(np.ones(1, np.float32), "c")
        tensor.data_location = TensorProto.EXTERNAL
        tensor.external_data.add(key="location", value="../../etc/passwd")
        write("x.onnx", [helper.make_node("Mul", ["a", "c"], ["b"])], [a], [b], [tensor])
    elif name == "a custom operator":
        write("x.onnx", [helper.make_node("Mine", ["a"], ["b"], domain="my.own")], [a], [b])
    elif name == "int64":
        write("x.onnx", same, [("a", TensorProto.INT64, IMAGE)], [("b", TensorProto.INT64, None)])
    elif name == "a vector":
        write("x.onnx", same, [("a", FLOAT, ["n"])], [b])
    elif name == "four channels":
        write("x.onnx", same, [("a", FLOAT, ["n", 4, "h", "w"])], [b])
    elif name == "a classifier":
        write("x.onnx", [helper.make_node("GlobalAveragePool", ["a"], ["b"])], [a], [b])
    elif name == "a negative":
        write("x.onnx", [helper.make_node("Neg", ["a"], ["b"])], [a], [b])
    elif name == "any layout":
        write("x.onnx", same, [("a", FLOAT, ["n", "x", "y", "z"])], [b])
    return Path("x.onnx")


REFUSED = {
    "empty": "is not a whole ONNX file", "no protobuf": "is not a whole ONNX file",
    "truncated": "is not a whole ONNX file", "huge": "2,147,483,655 bytes",
    "two inputs": "takes 2 tensors (a, c); srkit runs one picture in, one out",
    "two outputs": "gives 2 tensors (b, c)", "external weights": "keeps its weights in another file",
    "a custom operator": "cannot be run by onnxruntime", "int64": "'a' is int64; srkit runs networks of float32",
    "a vector": "'a' has 1 dimensions", "four channels": "srkit cannot use it", "a classifier": "srkit cannot use it",
    "a negative": "what it makes is not the picture it is given", "any layout": "its layout is in doubt",
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_used_is_refused_in_one_line(name, run_srkit, tmp_path, photo):
    path = hostile(name)
    Image.fromarray(photo[:9, :9]).save("photo.png")
    code, _, err = run_srkit("upscale", "photo.png", "--model", path, "-o", "y.png")
    assert code == 1
    assert len(err.splitlines()) == 1
    assert REFUSED[name] in err
    assert "Traceback" not in err
    assert not Path("y.png").exists()


@pytest.mark.parametrize("text", ["[]", "{", '{"io": 3}', '{"io": {"scale": "two"}}', '{"io": {"scale": 3}}'])
def test_metadata_that_is_wrong_is_told(text, tmp_path):
    edsr("x.onnx", WEIGHTS)
    model = onnx.load("x.onnx")
    model.metadata_props.add(key="srkit", value=text)
    onnx.save(model, "x.onnx")
    with pytest.raises(CheckpointError, match=r"x\.onnx'.* (is damaged|does not make what its metadata says)"):
        srkit.load("x.onnx")


def test_other_files_are_left_to_other_plugins(tmp_path):
    assert file.load(Path("a.pth")) is None


@pytest.mark.parametrize("length", [1, 31, 32, 33, 47, 48, 64, 101])
def test_tiles_keep_each_pixel_once_and_as_far_from_their_edges_as_is_said(length):
    tile, overlap = 32, 5
    kept = []
    for start, first, end in spans(length, tile, overlap):
        assert start >= 0
        assert start + tile <= max(length, tile)
        assert first - start >= overlap or first == 0
        assert start + tile - end >= overlap or end == length
        kept += range(first, end)
    assert kept == list(range(length))


def test_batches_and_autocast(tmp_path):
    edsr("x.onnx", WEIGHTS)
    net, _ = file.load(Path("x.onnx"))
    lr = torch.rand(2, 3, 12, 14)
    with torch.inference_mode():
        assert torch.equal(net(lr)[1:], net(lr[1:]))
        with pytest.raises(srkit.UsageError, match="leave --precision out"), torch.autocast("cpu", torch.bfloat16):
            net(lr)
    assert Convention(2).words == "RGB NCHW 0..1"


def test_a_fall_back_to_the_cpu_is_said(caplog, monkeypatch):
    import onnxruntime
    from srkit_onnx.session import Session

    path = write("x.onnx", [helper.make_node("Identity", ["a"], ["b"])], [("a", FLOAT, IMAGE)], [("b", FLOAT, None)])
    assert Session(path.read_bytes(), torch.device("cpu")).provider == "CPUExecutionProvider"
    assert not caplog.records
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: ["CPUExecutionProvider"])
    assert Session(path.read_bytes(), torch.device("cuda", 0)).provider == "CPUExecutionProvider"
    (record,) = caplog.records
    assert record.message == "onnxruntime computes on the CPU: its CUDAExecutionProvider is not installed"
    assert record.levelname == "WARNING"
