"""`--backend auto`: the fastest that loses next to nothing, found once for these weights on this machine."""

import json
import re
import time
from pathlib import Path

import pytest
import torch
from PIL import Image
from torch import nn

from srkit import Backend, Model, Registry, UsageError
from srkit.nets import Loaded
from srkit.upscale.stages import stage_of
from srkit.weights import runtimes
from srkit.weights.ladder import Ladder
from srkit.weights.runtimes import fastest

CPU = torch.device("cpu")


class Slow(nn.Module):
    """Repeats each pixel, in no hurry: a twentieth of a second, where another runtime takes none."""

    def __init__(self):
        super().__init__()
        self.factor = nn.Parameter(torch.ones(()))

    def forward(self, lr):
        time.sleep(0.05)
        return self.quick(lr)

    def quick(self, lr):
        return self.factor * lr.repeat_interleave(2, -1).repeat_interleave(2, -2)


def backend(name: str, change, *, precisions=("fp32",), built=None) -> Backend:
    """One that gives `change(what the network gives, of what)` at once."""

    def build(net, scale, *, precision: str = precisions[0]):
        if built is not None:
            built.append((name, precision))
        return lambda lr: change(net.quick(lr), lr)

    return Backend(name=name, build=build, precisions=dict.fromkeys(precisions, 1.0))


def same(sr, lr):
    return sr


def coarse(sr, lr):
    """Rounded to 16 levels: more than 0.01 dB."""
    return sr.mul(15).round() / 15


@pytest.fixture(autouse=True)
def own_cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("SRKIT_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def with_backends(registry):
    """with_backends(...) -> a registry with a network that is slow in PyTorch, and these backends alone."""

    def make(*backends: Backend) -> Registry:
        registry.entries = [entry for entry in registry.entries if entry.kind != "backend"]
        registry.add("model", Model(name="slow", build=lambda scale: Slow(), scales=(2,), receptive_field=1), "local")
        for each in backends:
            registry.add("backend", each, "local", "1.0")
        return registry

    return make


def loaded(registry: Registry) -> Loaded:
    return Loaded(Slow(), registry.choose("model", "slow"), 2)


def test_the_fastest_that_loses_nothing_is_taken_and_told(with_backends):
    registry = with_backends(backend("quick", same, precisions=("fp32", "int8")), backend("coarse", coarse))
    choice, tried = fastest(registry, loaded(registry), CPU)
    assert choice is not None
    assert choice.entry.qualified == "local:quick"
    assert choice.options["precision"] in ("fp32", "int8")
    words = r"backend quick in (fp32|int8): \d+\.\d times as fast as torch, loses 0\.000 dB"
    assert re.fullmatch(words, tried.words)
    assert float(re.search(r"([\d.]+) times", tried.words)[1]) > 1
    (line,) = tried.left_out
    assert re.fullmatch(r"backend coarse in fp32 is left out: it loses \d\.\d{3} dB", line)


def test_it_is_tried_once_for_these_weights_threads_and_versions(with_backends, monkeypatch):
    built: list = []
    registry = with_backends(backend("quick", same, built=built))
    first, tried = fastest(registry, loaded(registry), CPU)
    again, known = fastest(registry, loaded(registry), CPU)
    assert built == [("quick", "fp32")]
    assert (tried.new, known.new) == (True, False)
    assert (known.words, known.exact, again) == (tried.words, tried.exact, first)
    monkeypatch.setattr(torch, "get_num_threads", lambda: 77)
    fastest(registry, loaded(registry), CPU)
    assert len(built) == 2
    next(entry for entry in registry.entries if entry.component.name == "quick").__dict__["version"] = "1.1"
    fastest(registry, loaded(registry), CPU)
    assert len(built) == 3


@pytest.mark.parametrize("text", ["", "{}", "[1]", '{"exact": "a", "side": 1, "trials": []}', '{"trials": [{}]}'])
def test_a_damaged_note_is_made_anew(with_backends, tmp_path, text):
    built: list = []
    registry = with_backends(backend("quick", same, built=built))
    fastest(registry, loaded(registry), CPU)
    (kept,) = (tmp_path / "cache/runtimes").iterdir()
    kept.write_text(text)
    assert fastest(registry, loaded(registry), CPU)[0].component.name == "quick"
    assert len(built) == 2
    assert json.loads(kept.read_text())["trials"]


def test_a_cache_that_cannot_be_written_costs_nothing(with_backends, monkeypatch, tmp_path):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("SRKIT_CACHE", str(tmp_path / "file"))
    registry = with_backends(backend("quick", same))
    assert fastest(registry, loaded(registry), CPU)[0].component.name == "quick"


def raises(error: BaseException):
    def change(sr, lr):
        raise error

    return change


def only_even(sr, lr):
    return sr[..., : lr.shape[-2] // 2 * 4, :]


def large_only(sr, lr):
    if lr.shape[-1] > runtimes.SMALLEST - 1 and lr.shape[-1] != runtimes.COMPARED:
        raise RuntimeError("too large a tile")
    return sr


#: what is wrong with a backend -> (what it makes, what is said)
WRONG = {
    "raises": (raises(RuntimeError("operator is not there")), "operator is not there"),
    "exits": (raises(SystemExit(3)), "SystemExit"),
    "not finite": (lambda sr, lr: sr * float("nan"), "not finite"),
    "another size": (lambda sr, lr: sr[..., 1:], "not 256x256"),
    "even sizes only": (only_even, "makes 106x88 of 53x45 pixels"),
    "another range": (lambda sr, lr: 255 * sr, "range is not [0, 1]"),
    "small tiles only": (large_only, "too large a tile"),
    "no tensor": (lambda sr, lr: None, "NoneType"),
}


@pytest.mark.parametrize("fault", WRONG)
def test_one_bad_backend_costs_no_other(with_backends, fault):
    change, words = WRONG[fault]
    registry = with_backends(backend("bad", change), backend("quick", same))
    choice, tried = fastest(registry, loaded(registry), CPU)
    assert choice.component.name == "quick"
    (line,) = [line for line in tried.left_out if " bad " in line]
    assert words in line
    assert "\n" not in line


def test_what_cannot_be_built_is_named(with_backends):
    def build(net, scale, *, precision: str = "fp32"):
        raise ImportError("no such library")

    registry = with_backends(Backend(name="bad", build=build))
    choice, tried = fastest(registry, loaded(registry), CPU)
    assert any("bad in fp32 is left out" in line and "no such library" in line for line in tried.left_out)
    assert choice is None


def test_a_precision_that_is_asked_for_is_kept(with_backends):
    registry = with_backends(backend("quick", same, precisions=("fp32", "int8")))
    for precision in ("fp32", "int8"):
        choice, _ = fastest(registry, loaded(registry), CPU, precision=precision)
        assert choice.options == {"precision": precision}


def test_pytorch_stays_where_nothing_is_faster(with_backends):
    registry = with_backends(backend("slower", lambda sr, lr: (time.sleep(0.1), sr)[1]))
    choice, tried = fastest(registry, loaded(registry), CPU)
    assert choice is None
    assert tried.words == "backend torch in fp32: none that is installed is faster and as good"


def test_an_interpolation_is_not_tried(registry, monkeypatch):
    monkeypatch.setattr("srkit.weights.ladder.fastest", lambda *_, **__: pytest.fail("tried"))
    ladder = Ladder(registry, "bicubic", scale=2, precision="auto", auto=True)
    assert ladder.runtime(2) is None
    assert ladder.stage(2).call(torch.rand(1, 3, 5, 5)).shape == (1, 3, 10, 10)


PLUGIN = """
from srkit import Backend, hookimpl

def build(net, scale, *, precision: str = "fp32"):
    return net

@hookimpl
def srkit_backends():
    return [Backend(name="quick", build=build, summary="Quick", licence="MIT")]
"""


def test_upscale_says_it_and_the_receipt_keeps_it(run_srkit, install, photo, monkeypatch):
    install("srkit-quick", PLUGIN)
    clock = iter(range(10**6))

    def timed(self, calls, side):  # PyTorch first
        next(clock)
        return [2.0, *([9.0] * (len(calls) - 2)), 0.5], [""] * len(calls)

    monkeypatch.setattr(runtimes.Race, "timed", timed)
    Image.fromarray(photo[:24, :24]).save("p.png")
    words = ("upscale", "p.png", "--backend", "auto", "--precision", "fp32")
    code, out, err = run_srkit(*words, "--dry-run")
    assert code == 0, err
    told = "backend quick in fp32: 4.0 times as fast as torch, loses 0.000 dB"
    assert f"srkit: {told}\n" in err
    assert "48x48" in out
    code, _, err = run_srkit(*words, "-o", "large.png", "--receipt", "sidecar")
    assert code == 0, err
    assert next(clock) == 1, "it was tried once"
    receipt = json.loads(Path("large.png.srkit.json").read_text())
    assert receipt["models"]["x2"]["backend"] == "srkit-quick:quick"
    assert receipt["models"]["x2"]["precision"] == "fp32"
    assert receipt["tried"] == {"x2": told}

    monkeypatch.setattr(runtimes.Race, "timed", lambda *_: pytest.fail("the receipt says what it was"))
    for path in (Path(runtimes.cache_folder()) / "runtimes").iterdir():
        path.unlink()
    code, _, err = run_srkit("upscale", "--again", "large.png")
    assert code == 0, err
    assert Path("large_again.png").read_bytes() == Path("large.png").read_bytes()

    receipt["models"]["x2"]["backend"] = "srkit-gone:gone"
    Path("large.png.srkit.json").write_text(json.dumps(receipt))
    code, _, err = run_srkit("upscale", "--again", "large.png", "--overwrite")
    assert code == 2
    assert "no backend called 'srkit-gone:gone'" in err


def test_what_was_measured_in_pytorch_is_not_said_of_another_runtime(run_srkit, install, photo):
    install(
        "srkit-quick",
        PLUGIN.replace('"fp32"', '"bf16"').replace("build=build", 'build=build, precisions={"bf16": 1.0}'),
    )
    Image.fromarray(photo[:24, :24]).save("p.png")
    code, _, err = run_srkit("upscale", "p.png", "--model", "edsr-small", "--backend", "quick")
    assert code == 0, err
    assert "computed in bf16 by quick\n" in err


def test_the_memory_of_another_runtime_is_taken_to_be_that_of_pytorch(with_backends):
    """Its own cannot be counted: without this a tile of 100 megapixels would be given to it at once."""
    registry = with_backends(backend("quick", same))
    small = loaded(registry)
    wide = nn.Sequential(nn.Conv2d(3, 64, 3, padding=1), nn.Conv2d(64, 12, 3, padding=1), nn.PixelShuffle(2))
    wide.quick = small.net.quick
    nn.init.zeros_(wide[1].weight)
    nn.init.constant_(wide[1].bias, 0.5)
    there = Loaded(wide, small.model, 2)
    own, other = stage_of(there), stage_of(there, backend=registry.choose("backend", "quick"))
    assert other.bytes_of_a_pixel == own.bytes_of_a_pixel > 4 * 64


def test_a_wrong_precision_is_told(registry):
    with pytest.raises(UsageError, match="no precision called 'int4'"):
        runtimes.chosen_backend(registry, "auto", "int4", CPU)
    assert runtimes.chosen_backend(registry, "auto", "bf16", CPU) is None
    assert runtimes.chosen_backend(registry, "", None, CPU) is None


def test_python_takes_a_backend_by_name_or_the_fastest(registry, monkeypatch):
    import srkit

    plain = srkit.load("edsr-small", 2, progress=False)
    exact = srkit.load("edsr-small", 2, backend="torch", progress=False)
    assert (plain.backend, exact.backend, exact.precision) == ("", "srkit:torch", "fp32")
    lr = torch.rand(1, 3, 20, 20)
    assert torch.equal(plain.upscale(lr), exact.upscale(lr))
    monkeypatch.setattr(runtimes.Race, "timed", lambda self, calls, side: ([9.0] * len(calls), [""] * len(calls)))
    found = srkit.load("edsr-small", 2, backend="auto", progress=False)
    assert (found.backend, found.precision) == ("", "fp32")
    with pytest.raises(UsageError, match="backend 'torch' computes in fp32, bf16, fp16, not in 'int8'"):
        srkit.load("edsr-small", 2, backend="torch", precision="int8")
