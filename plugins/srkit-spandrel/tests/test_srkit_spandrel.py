"""Foreign weight files through srkit, against spandrel's own forward; hostile and unusable ones."""

import json
import os
import pickle
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file
from torch import nn

from srkit import CheckpointError

spandrel = pytest.importorskip("spandrel")
foreign = pytest.importorskip("srkit_spandrel.foreign")

from spandrel.architectures.Compact import Compact, CompactArch  # noqa: E402 - after the skip
from spandrel.architectures.ESRGAN import ESRGAN  # noqa: E402
from spandrel.architectures.SAFMN import SAFMN  # noqa: E402
from spandrel.architectures.SPAN import SPAN  # noqa: E402
from spandrel.architectures.SwinIR import SwinIR  # noqa: E402

BUILDS = {
    "esrgan-x4": lambda: ESRGAN(num_filters=8, num_blocks=1, scale=4),
    "swinir-x2": lambda: SwinIR(
        embed_dim=12, depths=[2, 2], num_heads=[2, 2], window_size=8, upscale=2, upsampler="pixelshuffledirect"
    ),
    "span-x2": lambda: SPAN(num_in_ch=3, num_out_ch=3, feature_channels=8, upscale=2),
    "compact-x3": lambda: Compact(num_feat=8, num_conv=2, upscale=3),
    "safmn-x2": lambda: SAFMN(dim=8, n_blocks=2, upscaling_factor=2),  # wants sides that are multiples of 8
}


def lively(net: nn.Module) -> nn.Module:
    """Random weights whose output is neither flat nor clipped: a spread of 0.2 around 0.5."""
    last = [m for m in net.modules() if isinstance(m, nn.Conv2d)][-1]
    with torch.no_grad():
        last.bias.zero_()
        last.weight *= 0.2 / net.eval()(torch.rand(1, 3, 24, 24)).std()
        last.bias += 0.5 - net(torch.rand(1, 3, 24, 24)).mean()  # a network's mean is its picture's
    return net


def save(net: nn.Module, path) -> None:
    """As the networks' authors do: a state dict under `params`, or the bare tensors for safetensors."""
    if path.suffix == ".safetensors":
        save_file(net.state_dict(), path)
    else:
        torch.save({"params": net.state_dict()}, path)


def as_tensor(rgb: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(rgb.copy()).permute(2, 0, 1)[None] / 255


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
@pytest.mark.parametrize("name", BUILDS)
def test_upscale_gives_the_pixels_of_spandrel_itself(run_srkit, tmp_path, photo, name, suffix):
    torch.manual_seed(1)
    path = tmp_path / f"{name}{suffix}"
    save(lively(BUILDS[name]()), path)
    rgb = photo[60:91, 100:145]
    Image.fromarray(rgb).save("photo.png")
    code, _, err = run_srkit("upscale", "photo.png", "--model", path, "-o", "large.png")
    assert code == 0, err

    model = spandrel.ModelLoader().load_from_file(path)
    sr = model(as_tensor(rgb))[0].permute(1, 2, 0).numpy()
    expected = np.floor(sr * 255 + np.float32(0.5)).astype(np.uint8)
    assert expected.shape == (31 * model.scale, 45 * model.scale, 3)
    assert len(np.unique(expected)) > 50, "a flat picture would show nothing"
    np.testing.assert_array_equal(np.asarray(Image.open("large.png")), expected)


def test_a_batch_is_its_pictures_one_by_one(tmp_path):
    torch.manual_seed(2)
    net = lively(BUILDS["esrgan-x4"]())
    save(net, tmp_path / "a.pth")
    known, scale = foreign.load(tmp_path / "a.pth")
    lr = torch.rand(3, 3, 9, 7)
    assert scale == 4
    with torch.inference_mode():
        torch.testing.assert_close(known(lr), net(lr).clamp(0, 1), rtol=0, atol=1e-6)


class Picky(nn.Module):
    """Repeats each pixel twice, as one of a tuple, and only for one square picture of sides 16, 24, 32, ..."""

    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(1))

    def forward(self, lr):
        count, _, height, width = lr.shape
        assert count == 1
        assert height == width >= 16
        assert height % 8 == 0
        return lr.repeat_interleave(2, -1).repeat_interleave(2, -2) * self.weight, None


def described(net: nn.Module, **changes):
    about = {
        "architecture": CompactArch(), "purpose": "SR", "tags": [], "supports_half": False, "supports_bfloat16": False,
        "scale": 2, "input_channels": 3, "output_channels": 3,
    }  # fmt: skip
    return spandrel.ImageModelDescriptor(net, net.state_dict(), **{**about, **changes})


@pytest.mark.parametrize("size", [(5, 3), (16, 16), (17, 30), (1, 1)])
def test_sizes_a_model_wants_and_tuples_it_gives(size):
    wanted = spandrel.SizeRequirements(minimum=16, multiple_of=8, square=True)
    net = foreign.Foreign(described(Picky(), size_requirements=wanted, call_fn=lambda model, lr: model(lr)[0]))
    lr = torch.rand(2, 3, *size)
    assert torch.equal(net(lr), lr.repeat_interleave(2, -1).repeat_interleave(2, -2))


def flat_compact(scale: int, **changes) -> nn.Module:
    """A network that adds nothing to its nearest-neighbour base."""
    net = Compact(num_feat=4, num_conv=1, upscale=scale, **changes)
    for parameter in net.parameters():
        nn.init.zeros_(parameter)
    return net


def test_bench_scores_a_file(run_srkit, tmp_path):
    path = tmp_path / "repeats.pth"
    save(flat_compact(2).half(), path)  # half precision on disk, single in use
    code, out, err = run_srkit("bench", path, "--models", "nearest", "--sets", "samples", "--json")
    assert code == 0, err
    rows = [row for row in json.loads(out)["rows"] if row["scale"] == 2]
    assert [row["model"] for row in rows] == ["nearest", str(path)]
    assert rows[1]["psnr"] == pytest.approx(rows[0]["psnr"], abs=1e-9)
    assert rows[1]["psnr"] > 20
    assert rows[1]["parameters"] == sum(p.numel() for p in flat_compact(2).parameters())


def test_a_restoration_model_is_a_scale_of_one(run_srkit, tmp_path, photo):
    path = tmp_path / "same.pth"
    save(flat_compact(1), path)
    assert spandrel.ModelLoader().load_from_file(path).purpose == "Restoration"
    Image.fromarray(photo[:31, :45]).save("photo.png")
    assert run_srkit("upscale", "photo.png", "--model", path, "-o", "same.png")[0] == 0
    np.testing.assert_array_equal(np.asarray(Image.open("same.png")), photo[:31, :45])
    for folder, worse in (("set/HR", 0), ("set/LR", 9)):
        Path(folder).mkdir(parents=True)
        Image.fromarray(photo[:64, :80] // 2 + np.uint8(worse)).save(f"{folder}/a.png")
    code, out, err = run_srkit("bench", path, "--sets", "set", "--scales", "1", "--json")
    assert code == 0, err
    assert [row["scale"] for row in json.loads(out)["rows"] if row["model"] == str(path)] == [1]


class Bomb:
    def __reduce__(self):
        return os.system, ("touch exploded",)


def zipped(contents, path):
    torch.save(contents, path)


def legacy(contents, path):
    torch.save(contents, path, _use_new_zipfile_serialization=False)


def bare(contents, path):
    path.write_bytes(pickle.dumps(contents))


@pytest.mark.parametrize("write", [zipped, legacy, bare])
@pytest.mark.parametrize("suffix", [".pth", ".pt", ".ckpt"])
def test_a_malicious_pickle_is_refused_and_not_run(run_srkit, tmp_path, photo, write, suffix):
    path = tmp_path / f"model{suffix}"
    write({"params": BUILDS["compact-x3"]().state_dict(), "extra": Bomb()}, path)
    Image.fromarray(photo[:9, :9]).save("photo.png")
    code, _, err = run_srkit("upscale", "photo.png", "--model", path)
    assert code == 1
    assert "is refused: it is damaged, or holds more than tensors" in err
    assert len(err.splitlines()) == 1
    with pytest.raises((pickle.UnpicklingError, RuntimeError)):  # what install() hands our files to is as careful
        spandrel.ModelLoader().load_from_file(path)
    assert not os.path.exists("exploded")

    if write is bare:  # the bomb is a real one
        pickle.loads(path.read_bytes())
    else:
        torch.load(path, weights_only=False)
    assert os.path.exists("exploded")


def test_a_torchscript_archive_is_refused(tmp_path):
    torch.jit.save(torch.jit.trace(nn.Conv2d(3, 3, 1), torch.rand(1, 3, 4, 4)), tmp_path / "a.pt")
    with pytest.raises(CheckpointError, match=r"a\.pt' is refused"):
        foreign.load(tmp_path / "a.pt")


LATE = """
from srkit import Model, hookimpl

def from_file(path):
    from torch import nn
    return nn.Identity(), 1

@hookimpl
def srkit_models():
    return [Model(name="late", build=print, from_file=from_file)]
"""


def test_what_spandrel_does_not_know_is_left_to_other_plugins(run_srkit, install, tmp_path, photo, caplog):
    torch.save({"nothing": torch.zeros(1)}, tmp_path / "unknown.pth")
    torch.save([torch.zeros(1)], tmp_path / "list.pth")
    (tmp_path / "other.onnx").write_bytes(b"onnx")
    (tmp_path / "broken.safetensors").write_bytes(b"\x08")
    for name in ("unknown.pth", "list.pth", "other.onnx", "broken.safetensors"):
        assert foreign.load(tmp_path / name) is None
    assert not caplog.records

    # Two names are enough for spandrel to think of Compact, which then does not fit.
    torch.save({"body.0.weight": torch.zeros(4, 3, 3, 3), "body.1.weight": torch.zeros(4)}, "mistaken.pth")
    Image.fromarray(photo[:9, :7]).save("photo.png")
    assert run_srkit("upscale", "photo.png", "--model", "mistaken.pth")[0] == 1
    assert "spandrel took 'mistaken.pth' for a model it knows, and failed: KeyError" in caplog.text
    install("srkit-zzz", LATE)
    assert run_srkit("upscale", "photo.png", "--model", "mistaken.pth")[0] == 0
    np.testing.assert_array_equal(np.asarray(Image.open("photo_mistaken_x1.png")), photo[:9, :7])


def test_models_srkit_cannot_use_are_refused_in_one_line(run_srkit, tmp_path, photo):
    path = tmp_path / "gray.pth"
    save(flat_compact(2, num_in_ch=1, num_out_ch=1), path)
    Image.fromarray(photo[:9, :9]).save("photo.png")
    code, _, err = run_srkit("upscale", "photo.png", "--model", path)
    assert code == 1
    assert "gray.pth' is RealESRGAN Compact with 1 channels in and 1 out; srkit works on RGB" in err
    assert len(err.splitlines()) == 1

    with pytest.raises(CheckpointError, match="a model for FaceSR; srkit runs those for SR or Restoration"):
        foreign.usable(described(nn.Conv2d(3, 3, 1), purpose="FaceSR"), path)
    masked = spandrel.MaskedImageModelDescriptor(
        nn.Conv2d(4, 3, 1), nn.Conv2d(4, 3, 1).state_dict(), CompactArch(), "Inpainting", [], supports_half=False,
        supports_bfloat16=False, input_channels=3, output_channels=3,
    )  # fmt: skip
    with pytest.raises(CheckpointError, match="wants a mask"):
        foreign.usable(masked, path)


def test_the_name_alone_says_to_name_a_file(run_srkit, photo):
    code, _, err = run_srkit("train", "--model", "spandrel")
    assert code != 0
    assert "name a weight file: --model path/to/file.pth" in err
    Image.fromarray(photo[:9, :9]).save("photo.png")
    code, _, err = run_srkit("upscale", "photo.png", "--model", "spandrel")
    assert code != 0
    assert re.search("name a (weight file|checkpoint): --model", err)


def test_listing_plugins_imports_neither_torch_nor_spandrel():
    program = (
        "import sys; from srkit.cli import run; assert run(['plugins', 'spandrel']) == 0; "
        "assert not {'torch', 'spandrel'} & set(sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
