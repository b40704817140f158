"""Every metric against pyiqa's own call on files, the table against pyiqa's own, and what is said without weights."""

import contextlib
import gc
import json
import re
import socket
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from urllib.request import install_opener

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file

import srkit
from srkit.evaluate.protocol import protocol_named

pyiqa = pytest.importorskip("pyiqa")
srkit_pyiqa = pytest.importorskip("srkit_pyiqa")

from huggingface_hub import constants  # noqa: E402 - after the skip
from pyiqa.archs.cnniqa_arch import CNNIQA  # noqa: E402
from pyiqa.default_model_configs import DEFAULT_CONFIGS  # noqa: E402
from pyiqa.utils import download_util  # noqa: E402
from srkit_pyiqa import srkit_name, table, weights  # noqa: E402

NOT_OF_ONE_PICTURE = {"clipscore", "fgresq_pair", "fid", "fid_dinov2", "inception_score", "sfid"}
WITHOUT_WEIGHTS = [row["name"] for row in table() if row["weights"] == "none"]
SET5 = ("baby", "bird", "butterfly", "head", "woman")
SCALE = 2


@pytest.fixture(autouse=True)
def offline(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Path]:
    """No weights on this machine and nobody at the other end of the network. Gives the folder of all caches."""
    home = tmp_path / "home"
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setenv("TORCH_HOME", str(home / "torch"))
    monkeypatch.setattr(download_util, "DEFAULT_CACHE_DIR", str(home / "torch/hub/pyiqa"))
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(home / "huggingface"))
    use_proxy(monkeypatch, 9)  # the discard port, where nothing listens
    yield home
    install_opener(None)


def use_proxy(monkeypatch: pytest.MonkeyPatch, port: int) -> None:
    for name in ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"):
        monkeypatch.setenv(name, f"http://127.0.0.1:{port}")
    monkeypatch.delenv("no_proxy", raising=False)
    monkeypatch.delenv("NO_PROXY", raising=False)
    install_opener(None)  # urllib keeps the first proxy it saw


def build(registry: srkit.Registry, name: str):
    return registry.choose("metric", name).build()


def picture(path: Path) -> np.ndarray:
    return np.asarray(Image.open(path).convert("RGB"))


def set5(shared: Path, names: Iterable[str] = SET5) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """(SR, HR) pairs of a published model at x2: uint8 H,W,3 of one size."""
    for name in names:
        (file,) = (shared / "expected/rcan_sr/RCAN/x2").glob(f"{name}*.png")
        sr = picture(file)
        yield sr, picture(shared / f"bench/Set5/HR/{name}.png")[: sr.shape[0], : sr.shape[1]]


def test_the_table_is_pyiqas_own():
    theirs = {
        (name, "full" if config["metric_mode"] == "FR" else "none", "lower" if config.get("lower_better") else "higher")
        for name, config in DEFAULT_CONFIGS.items()
        if name not in NOT_OF_ONE_PICTURE
    }
    assert {(row["name"], row["reference"], row["better"]) for row in table()} == theirs
    names = [srkit_name(row["name"]) for row in table()]
    assert len(set(names)) == len(names)


def test_listing_imports_neither_torch_nor_pyiqa():
    code = (
        "import sys, srkit; r = srkit.load_plugins(); assert not r.notices, r.notices; "
        "assert any(e.component.name == 'lpips' for e in r.of('metric')); print({'torch', 'pyiqa'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout.strip() == "set()", done.stderr


@pytest.mark.parametrize("name", WITHOUT_WEIGHTS)
@pytest.mark.parametrize("protocol", ["rgb", "y-uint8"])
def test_equal_to_pyiqas_own_call_on_files(registry, shared, tmp_path, name, protocol):
    """The pictures the protocol leaves are whole numbers, so pyiqa can read the very same from PNG files."""
    ours, theirs = build(registry, srkit_name(name)), pyiqa.create_metric(name)
    reference = theirs.metric_mode == "FR"
    for pair in set5(shared, ["butterfly"]):
        pair = [image[:180, :184] for image in pair]  # some take seconds of the whole, ms-ssim takes none below 161
        compared = protocol_named(protocol).apply(*pair, SCALE)
        paths = [tmp_path / "sr.png", tmp_path / "hr.png"]
        for path, image in zip(paths, compared, strict=True):
            Image.fromarray(image.astype(np.uint8)).save(path)
        assert ours(*compared) == float(theirs(*map(str, paths if reference else paths[:1])))
        if not reference:
            assert ours(compared[0], None) == ours(*compared)


@pytest.mark.parametrize("name", ["ssim", "ssimc", "ms_ssim", "vsi", "piqe"])
def test_luma_is_what_pyiqa_makes_of_one_channel(registry, shared, name):
    """Three equal channels are the same to pyiqa as one, where it takes one.

    Luma is not rounded here but pyiqa rounds it: one pixel in many that lies at a half may fall on the other side.
    """
    ours, theirs = build(registry, srkit_name(name)), pyiqa.create_metric(name)
    for pair in set5(shared, ["butterfly"]):  # the smallest
        compared = protocol_named("y").apply(*pair, SCALE)
        tensors = [torch.from_numpy(image / 255).float()[None, None] for image in compared]
        assert ours(*compared) == pytest.approx(
            float(theirs(*tensors[: 2 if theirs.metric_mode == "FR" else 1])), rel=1e-5
        )


@pytest.mark.parametrize(("theirs", "ours", "within"), [("pyiqa-ssim", "ssim", 1e-6), ("pyiqa-psnr", "psnr", 1e-3)])
def test_pyiqas_psnr_and_ssim_agree_with_srkits(registry, shared, theirs, ours, within):
    theirs, ours = build(registry, theirs), build(registry, ours)
    for pair in set5(shared, ["butterfly", "head"]):
        compared = protocol_named("y-uint8").apply(*pair, SCALE)
        assert theirs(*compared) == pytest.approx(ours(*compared), abs=within)


def test_a_picture_too_small_is_one_line(registry):
    tiny = np.full((8, 9), 100.0)
    with pytest.raises(srkit.DataError, match=r"metric 'ms-ssim' cannot score this 9x8 picture: \S"):
        build(registry, "ms-ssim")(tiny, tiny)


def test_bench_prints_them(run_srkit, shared):
    words = ("bench", "--models", "bicubic", "--sets", "set5", "--scales", "2", "--root", shared)
    code, out, err = run_srkit(*words, "--metrics", "psnr,ms-ssim,gmsd")
    assert code == 0, err
    assert "MS-SSIM (y)" in out
    assert "GMSD (y)" in out
    code, out, err = run_srkit(*words, "--metrics", "psnr,ms-ssim,gmsd", "--json")
    row = json.loads(out)["rows"][0]
    pairs = [protocol_named("y").apply(*pair, SCALE) for pair in bicubic(shared)]
    for name in ("ms-ssim", "gmsd"):
        metric = build(srkit.load_plugins(), name)
        assert row[name] == pytest.approx(np.mean([metric(*pair) for pair in pairs]), abs=1e-12)


def bicubic(shared: Path) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    for name in SET5:
        lr = picture(shared / f"expected/matlab_lr/Set5/X2/{name}x2.png")
        hr = picture(shared / f"bench/Set5/HR/{name}.png")[: 2 * lr.shape[0], : 2 * lr.shape[1]]
        yield srkit.imresize(lr, SCALE), hr


# What fetches through: torchvision, torch.hub, CLIP twice, timm, transformers twice.
FETCHED = {
    "lpips": ("https://download.pytorch.org/models/alexnet-owt-7be5be79.pth", "torch/hub/checkpoints/"),
    "niqe": ("https://huggingface.co/chaofengc/IQA-PyTorch-Weights/", "torch/hub/pyiqa/niqe_modelparameters.mat"),
    "clipiqa": ("https://openaipublic.azureedge.net/clip/models/", "torch/hub/clip/RN50.pt"),
    "afine-fr": ("https://openaipublic.azureedge.net/clip/models/", ".cache/clip/ViT-B-32.pt"),
    "topiq-fr": ("https://huggingface.co/timm/resnet50.a1_in1k", "huggingface/models--timm--resnet50.a1_in1k"),
    "fgresq": ("https://huggingface.co/openai/clip-vit-base-patch16", "huggingface/models--openai--clip-vit-base"),
    "qrealign": ("https://huggingface.co/q-future/Q-ReAlign-Mini-0.8B", "huggingface/models--q-future--Q-ReAlign-"),
}


@pytest.mark.parametrize("name", FETCHED)
def test_without_weights_one_line_names_url_and_place(run_srkit, offline, name):
    begin = time.monotonic()
    code, out, err = run_srkit("bench", "--models", "bicubic", "--scales", "2", "--sets", "samples", "--metrics", name)
    assert code == 1
    assert "needs weights that cannot be fetched" in out  # the row says why it has no score
    (line,) = [line for line in err.splitlines() if f"metric '{name}' needs weights that cannot be fetched" in line]
    url, place = FETCHED[name]
    assert url in line
    assert f"'{offline}/{place}" in line
    assert "Traceback" not in err
    assert time.monotonic() - begin < 30


@pytest.mark.filterwarnings("ignore:.*unclosed <socket:pytest.PytestUnraisableExceptionWarning")
@pytest.mark.filterwarnings("ignore:unclosed <socket:ResourceWarning")
@pytest.mark.parametrize("name", ["niqe", "topiq-fr"])
def test_a_server_that_never_answers_is_given_up(registry, monkeypatch, name):
    monkeypatch.setattr(weights, "PATIENCE", 1)
    with contextlib.closing(socket.create_server(("127.0.0.1", 0))) as silent:
        use_proxy(monkeypatch, silent.getsockname()[1])
        begin = time.monotonic()
        with pytest.raises(srkit.SrkitError, match=f"metric '{name}' needs weights that cannot be fetched"):
            build(registry, name)
        assert 1 <= time.monotonic() - begin < 20
    assert socket.getdefaulttimeout() is None
    gc.collect()  # urllib leaves the socket of a connection that timed out to the garbage collector


def place_asked_for(registry: srkit.Registry, name: str) -> Path:
    with pytest.raises(srkit.SrkitError) as error:
        build(registry, name)
    found = re.search(r"'([^']*)'$", str(error.value))
    assert found, error.value
    return Path(found[1])


def test_a_file_put_where_the_line_says_is_used(registry, run_srkit, shared, photo):
    path = place_asked_for(registry, "cnniqa")
    torch.manual_seed(0)
    net = CNNIQA(pretrained=None).eval().requires_grad_(False)
    path.parent.mkdir(parents=True, exist_ok=True)
    torch.save({"params": net.state_dict()}, path)
    expected = float(net(torch.from_numpy(photo.copy()).permute(2, 0, 1)[None] / 255))
    assert build(registry, "cnniqa")(photo.astype(np.float64)) == pytest.approx(expected, abs=1e-6)

    words = ("bench", "--models", "bicubic", "--sets", "samples", "--scales", "2", "--metrics", "cnniqa", "--json")
    code, out, err = run_srkit(*words)
    assert code == 0, err
    assert "Loading pretrained model CNNIQA" in err, "pyiqa prints, which must not reach stdout"
    assert "cnniqa" in json.loads(out)["rows"][0]


def test_a_repository_put_where_the_line_says_is_used(registry, offline):
    timm = pytest.importorskip("timm")
    folder = place_asked_for(registry, "hyperiqa")
    snapshot = folder / "snapshots" / ("0" * 40)
    snapshot.mkdir(parents=True)
    (folder / "refs").mkdir()
    (folder / "refs/main").write_text(snapshot.name)
    save_file(timm.create_model("resnet50").state_dict(), snapshot / "model.safetensors")
    assert place_asked_for(registry, "hyperiqa").parent == offline / "torch/hub/pyiqa", "the next file it needs"


class Hostile:
    """Unpickled freely, it makes a file."""

    def __init__(self, path: Path):
        self.path = path

    def __reduce__(self):
        return Path.touch, (self.path,)


def test_a_weight_file_is_not_unpickled_freely(registry, monkeypatch, tmp_path):
    path, trace = place_asked_for(registry, "cnniqa"), tmp_path / "trace"
    path.parent.mkdir(parents=True, exist_ok=True)
    torch.save({"params": Hostile(trace)}, path)
    with pytest.raises(srkit.CheckpointError, match="'cnniqa': its weight file holds more than weights"):
        build(registry, "cnniqa")
    assert not trace.exists()
    monkeypatch.setenv("TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD", "1")
    with pytest.raises(srkit.SrkitError, match="'cnniqa' cannot be built by pyiqa"):  # it is opened, and no weights
        build(registry, "cnniqa")
    assert trace.exists()


def test_a_package_pyiqa_forgot_is_named(registry, monkeypatch):
    monkeypatch.setitem(sys.modules, "icecream", None)
    with pytest.raises(srkit.SrkitError, match="metric 'qalign' needs the package 'icecream': pip install icecream"):
        build(registry, "qalign")
