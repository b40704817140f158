"""Networks in onnxruntime: the same values as in PyTorch, converted once, at every size."""

import pytest
import torch
from torch import nn

import srkit
from srkit import SrkitError

onnx = pytest.importorskip("onnx")
backend = pytest.importorskip("srkit_onnx.backend")

pytest_plugins = "srkit.testing.pytest_plugin"


@pytest.fixture(autouse=True)
def own_cache(monkeypatch, tmp_path):
    monkeypatch.setenv("SRKIT_CACHE", str(tmp_path / "cache"))


def difference(upscale, net, *sizes, count=1):
    found = 0.0
    for height, width in sizes:
        lr = torch.rand(count, 3, height, width)
        with torch.inference_mode():
            sr = upscale(lr)
            assert sr.dtype == torch.float32
            found = max(found, float((sr - net(lr)).abs().max()))
    return found


def told(caplog) -> int:
    """How often it was said that a network is converted."""
    return sum(record.message.startswith("converting the network") for record in caplog.records)


def test_it_keeps_the_contract(srkit_check):
    srkit_check("backend", "onnxruntime")


def test_a_network_is_converted_once_and_a_damaged_file_again(caplog):
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(3, 12, 3, padding=1), nn.PixelShuffle(2)).eval()
    assert difference(backend.onnxruntime_backend(net, 2), net, (5, 9), (40, 31), count=2) < 1e-5
    assert told(caplog) == 1
    backend.onnxruntime_backend(net, 2)
    assert told(caplog) == 1, "the second time it is in the cache"
    (kept,) = srkit.cache_folder().rglob("net.onnx")
    kept.write_bytes(kept.read_bytes()[:-50])
    assert difference(backend.onnxruntime_backend(net, 2), net, (5, 9)) < 1e-5
    assert told(caplog) == 2
    with torch.no_grad():
        net[0].weight *= 1.5
    assert difference(backend.onnxruntime_backend(net, 2), net, (5, 9)) < 1e-5, "other weights, another file"


class Windows(nn.Module):
    """Works on windows of 4 by 4 pixels, as SwinIR does, whose own conversion takes many times as long."""

    def __init__(self):
        super().__init__()
        self.mix = nn.Conv2d(48, 192, 1)

    def forward(self, lr):
        return nn.functional.pixel_shuffle(self.mix(nn.functional.pixel_unshuffle(lr, 4)), 8)


def test_windows_that_want_multiples():
    torch.manual_seed(0)
    net = Windows().eval()
    own = backend.Converted(net, 2, "fp32")
    assert own.multiple == 4
    assert own.any_size is not None
    assert difference(own.upscale, net, (4, 8), (16, 12), (64, 44), count=2) < 1e-5


class Fixed(nn.Module):
    """A network whose forward depends on its input's size in plain Python, as an interpolation table does."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 12, 3, padding=1)

    def forward(self, lr):
        table = torch.tensor([float(i % 3) for i in range(int(lr.shape[-1]))])
        return nn.functional.pixel_shuffle(self.conv(lr) * table, 2)


def test_a_network_of_fixed_sizes_is_converted_for_each(caplog):
    torch.manual_seed(0)
    net = Fixed().eval()
    own = backend.Converted(net, 2, "fp32")
    assert own.any_size is None
    assert difference(own.upscale, net, (8, 9), (8, 9), (7, 6), count=2) < 1e-5
    assert sorted(own.sessions) == [(7, 6), (8, 9)]
    before = told(caplog)
    again = backend.Converted(net, 2, "fp32")
    assert difference(again.upscale, net, (8, 9)) < 1e-5
    assert told(caplog) == before


class Odd(nn.Module):
    def forward(self, lr):
        raise RuntimeError("no picture suits me")


def test_what_cannot_be_converted_is_an_error_in_one_line():
    with pytest.raises(SrkitError, match="does not run at any size that was tried: RuntimeError: no picture suits me"):
        backend.onnxruntime_backend(Odd(), 2)
