"""OpenVINO against torch: sizes, precisions, what is kept, what cannot be converted; and nothing is sent anywhere."""

import socket
import subprocess
import sys

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from srkit import PluginError, UsageError
from srkit.testing import check
from srkit.upscale.wrap import make_upscaler

openvino = pytest.importorskip("openvino")
runtime = pytest.importorskip("srkit_openvino.runtime")


def lively(net: nn.Module) -> nn.Module:
    """Random weights whose result has a spread that would show a fault."""
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in net.parameters():
            if parameter.ndim > 1:
                parameter.copy_(torch.randn(parameter.shape, generator=generator) / parameter[0].numel() ** 0.5)
    return net.eval()


def rand(*shape: int) -> torch.Tensor:
    return torch.rand(shape, generator=torch.Generator().manual_seed(1))


def compared(net: nn.Module, upscale, *shapes: tuple[int, ...]) -> float:
    """The largest difference over tiles of these shapes."""
    with torch.inference_mode():
        pairs = [(upscale(rand(*shape)), net(rand(*shape))) for shape in shapes]
    assert all(sr.shape == own.shape and sr.dtype == torch.float32 for sr, own in pairs)
    assert min(float(own.std()) for _, own in pairs) > 0.01
    return max(float((sr - own).abs().max()) for sr, own in pairs)


def has_bf16() -> bool:
    return "BF16" in runtime.core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")


def test_the_kit_finds_no_fault(registry):
    findings = list(check(registry, "backend", "openvino"))
    assert not [finding.text for finding in findings if finding.outcome == "fault"]
    assert any("in fp32 it equals" in finding.check and finding.outcome == "ok" for finding in findings)


@pytest.mark.parametrize(("name", "scale"), [("edsr", 2), ("srresnet", 4), ("mdsr", 3)])
def test_every_size_is_what_torch_makes(registry, name, scale):
    size = {"n_feats": 8} | ({"n_resblocks": 2} if name != "srresnet" else {"n_resblocks": 1})
    model = registry.choose("model", name, size)
    net = lively(model.build((2, 3, 4) if model.component.multi_scale else scale))
    backend = registry.choose("backend", "openvino")
    upscale = make_upscaler(net, model, scale, tile=0, backend=backend)
    own = make_upscaler(net, model, scale, tile=0)
    with torch.inference_mode():
        for shape in ((1, 3, 64, 64), (2, 3, 17, 31), (1, 3, 1, 1), (1, 3, 40, 23), (1, 3, 64, 64)):
            torch.testing.assert_close(upscale(rand(*shape)), own(rand(*shape)), rtol=0, atol=1e-5)


class Windows(nn.Module):
    """Its trace has the size of what it was traced on written into it, as Python's own numbers."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 3, 3, padding=1)

    def forward(self, lr):
        height, width = (int(side) for side in lr.shape[-2:])
        ramp = torch.arange(height * width, dtype=torch.float32).reshape(1, 1, height, width) / (height * width)
        return (self.conv(lr) + ramp).repeat_interleave(2, -1).repeat_interleave(2, -2)


class Padded(Windows):
    """Fills up to a multiple of 16 inside, which a trace on 64x64 does not show."""

    def forward(self, lr):
        height, width = (int(side) for side in lr.shape[-2:])
        filled = nn.functional.pad(lr, (0, -width % 16, 0, -height % 16), mode="replicate")
        return nn.functional.interpolate(self.conv(filled)[..., :height, :width], scale_factor=2)


@pytest.mark.parametrize("kind", [Windows, Padded])
def test_a_trace_that_holds_for_one_size_is_made_for_each(kind):
    net = lively(kind())
    upscale = runtime.openvino_backend(net, 2)
    assert upscale.model is None
    assert compared(net, upscale, (1, 3, 64, 64), (1, 3, 32, 48), (1, 3, 45, 53)) < 1e-5


def test_bf16_is_what_is_computed_and_near(registry):
    if not has_bf16():
        with pytest.raises(UsageError, match="no bf16 on this processor"):
            runtime.check_bf16()
        return
    net = lively(registry.choose("model", "edsr", {"n_resblocks": 2, "n_feats": 16}).build(2))
    with torch.no_grad():
        net.tail[1].weight *= 0.1 / net(rand(1, 3, 48, 48)).std()
    upscale = runtime.openvino_backend(net, 2, precision="bf16")
    difference = compared(net, upscale, (1, 3, 48, 48), (1, 3, 45, 53))
    assert 1e-5 < difference < 2e-2
    compiled = next(iter(upscale.running.values())).get_compiled_model()
    assert compiled.get_property("INFERENCE_PRECISION_HINT").get_type_name() == "bf16"


def test_fp32_is_fp32_where_openvino_would_take_bf16_by_itself(registry):
    """intel/ipex-llm#6473, openvinotoolkit/openvino.genai#164: with AMX it computes in bf16 unless it is told."""
    net = lively(registry.choose("model", "edsr", {"n_resblocks": 1, "n_feats": 8}).build(2))
    upscale = runtime.openvino_backend(net, 2)
    upscale(rand(1, 3, 9, 9))
    compiled = next(iter(upscale.running.values())).get_compiled_model()
    assert compiled.get_property("INFERENCE_PRECISION_HINT").get_type_name() == "f32"


class Without:
    """An OpenVINO on a processor that offers this."""

    def __init__(self, *offered: str):
        self.offered = offered

    def get_property(self, device: str, name: str) -> tuple[str, ...]:
        return self.offered


def test_a_processor_without_bf16_is_told(monkeypatch, caplog):
    """openvinotoolkit/openvino#15552, #23181: bf16 that the processor has not fails, or is slower than fp32."""
    monkeypatch.setattr(runtime, "core", lambda: Without("FP32"))
    with pytest.raises(UsageError, match="no bf16 on this processor; take --precision fp32"):
        runtime.openvino_backend(nn.Conv2d(3, 3, 1), 1, precision="bf16")
    monkeypatch.setattr(runtime, "core", lambda: Without("FP32", "BF16"))
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"avx512_bf16": False, "avx2": True}, raising=False)
    runtime.check_bf16()
    assert "imitates" in caplog.text
    caplog.clear()
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"avx512_bf16": True}, raising=False)
    runtime.check_bf16()
    assert not caplog.text


def test_a_shift_of_the_mean_is_no_convolution_any_more_and_nothing_else_changes():
    torch.manual_seed(0)
    shift = nn.Conv2d(3, 3, 1)
    with torch.no_grad():
        shift.weight.copy_(torch.diag(torch.tensor([1.0, 0.5, 2.0])).view(3, 3, 1, 1))
    for layer, left in ((shift, 0), (nn.Conv2d(3, 3, 1), 1), (nn.Conv2d(3, 3, 1, padding=1), 1)):
        model = runtime.traced(layer.eval(), (1, 3, 8, 8))
        assert [node.get_type_name() for node in model.get_ordered_ops()].count("Convolution") == left
        made = torch.from_numpy(runtime.compiled(model, "fp32")(rand(1, 3, 8, 8).numpy())[0])
        with torch.inference_mode():
            torch.testing.assert_close(made, layer(rand(1, 3, 8, 8)), rtol=0, atol=1e-6)


def test_it_is_converted_once(registry, monkeypatch):
    net = lively(registry.choose("model", "edsr", {"n_resblocks": 1, "n_feats": 4}).build(2))
    first = runtime.openvino_backend(net, 2)(rand(1, 3, 9, 9))
    monkeypatch.setattr(runtime, "traced", lambda net, shape: pytest.fail("converted again"))
    for precision in ("fp32", "bf16") if has_bf16() else ("fp32",):
        assert runtime.openvino_backend(net, 2, precision=precision)(rand(1, 3, 9, 9)).shape == first.shape


def test_threads_are_those_of_torch(registry):
    net = lively(registry.choose("model", "edsr", {"n_resblocks": 1, "n_feats": 4}).build(2))
    upscale = runtime.openvino_backend(net, 2)
    upscale(rand(1, 3, 9, 9))
    compiled = next(iter(upscale.running.values())).get_compiled_model()
    assert compiled.get_property("INFERENCE_NUM_THREADS") == torch.get_num_threads()


def test_a_few_sizes_stay_compiled(registry):
    upscale = runtime.openvino_backend(lively(nn.Conv2d(3, 3, 1)), 1)
    for side in range(8, 8 + 2 * runtime.AT_ONCE):
        upscale(rand(1, 3, side, side))
    assert len(upscale.running) == runtime.AT_ONCE


class Spectral(nn.Conv2d):
    """What OpenVINO's frontend has no rule for."""

    def forward(self, lr):
        return super().forward(lr) + torch.linalg.eigvalsh(lr[..., :3, :3]).sum()


class Failing(nn.Conv2d):
    def forward(self, lr):
        raise ValueError("not\ntoday")


@pytest.mark.parametrize(
    ("kind", "words"), [(Spectral, "OpenVINO has no aten::linalg_eigvalsh"), (Failing, "traced: not")]
)
def test_what_cannot_be_converted_is_one_line(registry, kind, words):
    backend = registry.choose("backend", "openvino")
    model = registry.choose("model", "edsr")
    with pytest.raises(PluginError) as told:
        make_upscaler(kind(3, 3, 1), model, 2, backend=backend)
    assert "backend 'srkit-openvino:openvino' cannot run 'edsr-baseline': RuntimeError" in str(told.value)
    assert words in str(told.value)
    assert len(str(told.value)) < 250
    assert "\n" not in str(told.value)


def test_what_openvino_is_not_for_is_said(run_srkit, photo):
    Image.fromarray(photo[:9, :9]).save("p.png")
    code, _, err = run_srkit("upscale", "p.png", "--model", "bicubic", "--backend", "openvino")
    assert code == 2
    assert "an interpolation needs no runtime" in err.splitlines()[-1]
    code, _, err = run_srkit("upscale", "p.png", "--backend", "openvino", "--precision", "int8")
    assert (code, err.strip()) == (2, "srkit: backend 'openvino' computes in fp32, bf16, not in 'int8'")
    with pytest.raises(UsageError, match="add --device cpu"):
        runtime.openvino_backend(nn.Conv2d(3, 3, 1, device="meta"), 1)


def test_upscale_gives_torchs_picture(run_srkit, photo):
    Image.fromarray(photo[:60, :70]).save("p.png")
    for backend in ("torch", "openvino"):
        code, _, err = run_srkit("upscale", "p.png", "--backend", backend, "-o", f"{backend}.png", "--tile", 32)
        assert code == 0, err
    assert "in fp32, by openvino" in err
    pictures = [np.asarray(Image.open(f"{backend}.png")).astype(int) for backend in ("torch", "openvino")]
    assert pictures[0].shape == (120, 140, 3)
    assert np.abs(pictures[0] - pictures[1]).max() <= 1


def test_nothing_is_sent_to_anybody(monkeypatch):
    """`openvino.convert_model` tells its maker of each conversion; what is used here does not."""

    def refuse(*_: object) -> None:
        raise AssertionError("a connection")

    import openvino_telemetry

    monkeypatch.setattr(openvino_telemetry.Telemetry, "send_event", refuse)
    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    runtime.traced(nn.Conv2d(3, 3, 1), (1, 3, 8, 8))


def test_listing_imports_neither_torch_nor_openvino():
    code = (
        "import sys, srkit; r = srkit.load_plugins(); assert not r.notices, r.notices; "
        "assert any(e.component.name == 'openvino' for e in r.of('backend')); "
        "print({'torch', 'openvino'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=300)
    assert done.stdout.strip() == "set()", done.stderr
