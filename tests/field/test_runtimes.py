"""What went wrong in this field's public trackers where a network runs elsewhere: exported, in a window, over HTTP."""

import os
import subprocess
import sys
from pathlib import Path
from runpy import run_path

import numpy as np
import pytest
import torch
from PIL import Image

import srkit

onnx = pytest.importorskip("onnx")
session = pytest.importorskip("srkit_onnx.session")

from onnx import TensorProto, helper  # noqa: E402 - after the skip

FLOAT = TensorProto.FLOAT
Builder = run_path(str(Path(__file__).parents[2] / "plugins/srkit-onnx/tests/foreign_exporter.py"))["Builder"]


def write(build, path: str, dims=("n", 3, "h", "w"), *, dtype: int = FLOAT, ir_version: int = 9) -> Path:
    """The nodes as a file that takes `a` and gives `b`."""
    build.nodes[-1].output[0] = "b"
    ports = [[helper.make_tensor_value_info(name, dtype, each)] for name, each in (("a", list(dims)), ("b", None))]
    graph = helper.make_graph(build.nodes, "g", *ports, build.constants)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=ir_version)
    Path(path).write_bytes(model.SerializeToString())
    return Path(path)


def resized(scale: int):
    """A network that repeats pixels, whose right result everybody can see."""
    build = Builder("a")
    wanted = build.constant(np.array([1, 1, scale, scale], np.float32))
    build.add("Resize", "", wanted, mode="nearest", coordinate_transformation_mode="asymmetric", nearest_mode="floor")
    return build


def refused(run_srkit, path: Path, text: str, picture: str = "p.png") -> None:
    """In one line, and no file is there."""
    code, _, err = run_srkit("upscale", picture, "--model", path, "-o", "out.png")
    assert code == 1, err
    assert text in err
    assert "Traceback" not in err
    assert not Path("out.png").exists()


@pytest.fixture(autouse=True)
def small(photo, monkeypatch):
    """A small part of a photograph, a file too; the plugins that are installed are seen."""
    monkeypatch.delenv("SRKIT_PLUGINS")
    Image.fromarray(photo[:50, :70]).save("p.png")
    return photo[:50, :70]


def test_a_picture_that_a_network_has_no_value_for_is_an_error_not_a_black_one(run_srkit):
    """chaiNNer-org/chaiNNer#3071, neosr-project/neosr#96: now and then a frame was black, by what was in it."""
    build = resized(2)
    large = build.last
    build.add("ReduceMean", build.constant(np.array([1, 2, 3])), keepdims=1)
    build.add("Sub", build.constant(np.float32(1)))  # 0 of a picture that is white
    build.add("Div", build.last)
    build.add("Mul", large)
    path = write(build, "one.onnx")
    code, _, err = run_srkit("upscale", "p.png", "--model", path, "-o", "fine.png")
    assert code == 0, err
    Image.new("RGB", (40, 30), "white").save("white.png")
    refused(run_srkit, path, "not finite", "white.png")


def test_another_scale_than_the_files_own_does_not_mix_up_its_tiles(run_srkit, small):
    """xinntao/Real-ESRGAN-ncnn-vulkan#73, xinntao/Real-ESRGAN#247: -s 2 of a network for x4 put tiles anywhere."""
    path = write(resized(4), "x4.onnx")
    code, _, err = run_srkit("upscale", "p.png", "--model", path, "--scale", 2, "--tile", 24, "-o", "out.png")
    assert code == 0, err
    made = np.asarray(Image.open("out.png")).astype(int)
    assert made.shape == (100, 140, 3)
    off = np.abs(made - small.repeat(2, 0).repeat(2, 1).astype(int))
    assert off.mean() < 6, "the picture's own places; 4 to 1 is made small by bicubic"
    assert np.abs(made[::2, ::2] - small.astype(int)).mean() < 8


def test_sizes_that_an_exporter_wrote_into_the_graph_are_not_taken_for_any_size(run_srkit, small):
    """onnx/onnx#2618, pytorch/pytorch#34352: it says that sizes vary, and its Reshape has those it was traced with."""
    build = Builder("a")
    build.add("Concat", "a", "a", "a", axis=1)  # 12 channels, from which 3 times 2x2 are made
    channels = np.arange(12).reshape(4, 3).T.ravel()
    build.add("Gather", build.constant(channels), axis=1)
    build.add("Reshape", build.constant(np.array([-1, 3, 2, 2, 64, 64])))
    build.add("Transpose", perm=[0, 1, 4, 2, 5, 3])
    build.add("Reshape", build.constant(np.array([-1, 3, 128, 128])))
    path = write(build, "baked.onnx")
    net = srkit.load(path, progress=False)
    assert net.net.how.size == (64, 64), "it is used in tiles of that size"
    assert (net.upscale(small) == small.repeat(2, 0).repeat(2, 1)).all()


def test_a_grid_of_small_pictures_is_no_upscaled_one(run_srkit):
    """pytorch/pytorch#23529: exported, a network made nine thumbnails instead of one picture three times as large."""
    build = Builder("a")
    build.add("Tile", build.constant(np.array([1, 1, 3, 3])))
    refused(run_srkit, write(build, "grid.onnx"), "is not the picture it is given")


def test_a_file_of_a_later_onnx_is_one_line(run_srkit):
    """notAI-tech/NudeNet#156, microsoft/onnxruntime#20559: Unsupported model IR version."""
    refused(run_srkit, write(resized(2), "later.onnx", ir_version=99), "Unsupported model IR version: 99")


@pytest.mark.parametrize("raises", [False, True])
def test_a_gpu_that_cannot_be_used_is_told_and_the_cpu_computes(caplog, monkeypatch, raises):
    """microsoft/onnxruntime#23372: it fell back to the CPU in silence; #21424: on other machines it raised instead."""
    import onnxruntime

    real, cpu = onnxruntime.InferenceSession, "CPUExecutionProvider"

    def broken(model, options, providers):
        if raises and providers != [cpu]:
            raise RuntimeError("CUDA_PATH is set but CUDA wasn't able to be loaded")
        return real(model, options, providers=[cpu])

    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: ["CUDAExecutionProvider", cpu])
    monkeypatch.setattr(onnxruntime, "InferenceSession", broken)
    path = write(resized(2), "x2.onnx")
    made = session.Session(path.read_bytes(), torch.device("cuda", 0))
    assert made.provider == cpu
    assert made.run(np.ones((1, 3, 4, 5), np.float32)).shape == (1, 3, 8, 10)
    assert [record.message for record in caplog.records if record.levelname == "WARNING"] == [
        "onnxruntime computes on the CPU: its CUDAExecutionProvider cannot be used"
    ]


def test_onnxruntime_tells_its_maker_nothing(tmp_path):
    """OHF-Voice/wyoming-piper#64, microsoft/onnxruntime#27379: from 1.29 on it keeps an id and sends what it runs."""
    code = (
        "import srkit_onnx.session as s, torch; from pathlib import Path; "
        "s.Session(Path('x2.onnx').read_bytes(), torch.device('cpu'))"
    )
    write(resized(2), "x2.onnx")
    environment = {key: value for key, value in os.environ.items() if "TELEMETRY" not in key}
    environment |= {"HOME": str(tmp_path / "home"), "XDG_CACHE_HOME": str(tmp_path / "home/cache")}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stderr
    assert not list((tmp_path / "home").rglob("*.db*")), "what waits to be sent"
    assert not list((tmp_path / "home").rglob("deviceid"))


def test_a_model_is_opened_once_for_many_pictures(run_srkit, monkeypatch):
    """chaiNNer-org/chaiNNer#933: an ONNX model was loaded anew for each picture."""
    import onnxruntime

    real, opened = onnxruntime.InferenceSession, []
    monkeypatch.setattr(
        onnxruntime, "InferenceSession", lambda *words, **more: opened.append(1) or real(*words, **more)
    )
    path = write(resized(2), "x2.onnx")
    for name in "bcd":
        Image.open("p.png").save(f"{name}.png")
    code, _, err = run_srkit("upscale", "b.png", "c.png", "d.png", "--model", path, "-o", "out")
    assert code == 0, err
    assert len(list(Path("out").iterdir())) == 3
    assert len(opened) == 1, "once for all; at first it was opened again to be asked for its scale"


def test_a_palette_with_a_transparent_colour_keeps_it(run_srkit, small):
    """upscayl/upscayl#496: transparency of indexed colours was lost."""
    flat = Image.fromarray(small).quantize(16)
    flat.info["transparency"] = 0
    flat.save("indexed.png", transparency=0)
    alpha = np.asarray(flat) != 0
    assert 0.02 < alpha.mean() < 0.98
    code, _, err = run_srkit("upscale", "indexed.png", "--model", write(resized(2), "x2.onnx"), "-o", "out.png")
    assert code == 0, err
    made = Image.open("out.png")
    assert made.mode == "RGBA"
    assert np.abs((np.asarray(made)[::2, ::2, 3] > 127) ^ alpha).mean() < 0.1


def test_what_comes_back_over_http_may_have_any_name_and_failed_uploads_leave_nothing(tmp_path, small):
    """Kludex/starlette#1019: a name beyond Latin-1 broke the answer; MTG/freesound#623: uploads filled a disk."""
    server = run_path(str(Path(__file__).parents[2] / "plugins/srkit-server/tests/test_srkit_server.py"))
    good, words = Path("p.png").read_bytes(), {"model": "bicubic", "scale": "2"}
    with server["served"](tmp_path) as site:
        answer = site.post(good, name="L\u2019\u00e9t\u00e9 \u4f60\u597d.png", **words)
        assert answer.status == 200, answer.body
        assert "filename*=utf-8''L_%C3%A9t%C3%A9_%E4%BD%A0%E5%A5%BD" in answer.headers["content-disposition"]
        for data in (b"", b"<html>", good[:300]):
            assert site.post(data, **words).status in (415, 422)
        assert site.post(good, scale="nan").status == 422
        server["until"](lambda: server["empty"](site.jobs), 20)
        folder = site.jobs.folder
    assert not folder.exists()
