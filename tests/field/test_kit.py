"""What authors wanted of `srkit plugins check`, from public trackers: one test a complaint."""

from pathlib import Path
from typing import Annotated

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from srkit import Dataset, Loss, Metric, Model, Pair, Registry, UsageError, Weights, Wrapper
from srkit.checkpoint import save_tensors
from srkit.nets import in_memory_format
from srkit.testing import check, models

WIDTH = Annotated[int, "channels"]


def outcomes(registry, kind, name):
    return {f.check: f for f in check(registry, kind, name)}


def faults(registry, kind, name):
    return [f for f in check(registry, kind, name) if f.outcome == "fault"]


def with_model(build, **fields):
    registry = Registry()
    registry.add("model", Model(name="mine", build=build, summary="a test", licence="MIT", **fields))
    return registry


class Gated(nn.Module):
    """Channel gates by sigmoid, whose last bit depends on the place in memory."""

    def __init__(self, scale):
        super().__init__()
        self.head, self.gate = nn.Conv2d(3, 24, 3, padding=1), nn.Conv2d(24, 24, 1)
        self.tail = nn.Sequential(nn.Conv2d(24, 3 * scale**2, 3, padding=1), nn.PixelShuffle(scale))

    def forward(self, lr):
        x = self.head(lr)
        return torch.sigmoid(self.tail(x * torch.sigmoid(self.gate(x))))


def test_a_network_with_a_sigmoid_keeps_the_contract():
    """pytorch/pytorch#188382: the vectorised and the scalar path of one function differ in the last bit.

    Right: that is rounding; the receptive field of 2 is the true one and nobody is told to enlarge it.
    """
    assert not faults(with_model(Gated, scales=(2, 3), receptive_field=2), "model", "mine")


def test_rounding_and_a_receptive_field_that_is_too_small_are_told_apart():
    """tensorflow/tensorflow#33878: sigmoid of equal values differs by place. Right: only float64 can say why."""

    class Amplifying(Gated):
        def forward(self, lr):
            noise = super().forward(lr)
            return noise + 1e4 * (torch.sigmoid(noise * 3 + 1e-3) - 1 / (1 + torch.exp(-(noise * 3 + 1e-3))))

    registry = with_model(Amplifying, scales=(2,), receptive_field=2)
    tiles = outcomes(registry, "model", "mine")["tiles give the whole picture"]
    assert tiles.outcome != "fault"
    small = outcomes(with_model(Gated, scales=(2,), receptive_field=1), "model", "mine")
    assert (
        "it sees 2 pixels or more to each side and declares 1" in small["the receptive field is the declared one"].text
    )
    assert "tiles differ from the whole picture" in small["tiles give the whole picture"].text


def test_every_scale_and_preset_is_checked():
    """Found in a review: a network that was wrong at x3, or as its preset, passed."""

    class Wrong(Gated):
        def __init__(self, scale, *, wide: WIDTH = 8):
            super().__init__(scale)
            self.odd = nn.Conv2d(3, 3, 7, padding=3) if (scale, wide) == (3, 16) else None

        def forward(self, lr):
            return super().forward(lr if self.odd is None else self.odd(lr))

    registry = with_model(Wrong, scales=(2, 3), presets={"mine-wide": {"wide": 16}}, receptive_field=2)
    found = [f.text for f in faults(registry, "model", "mine")]
    assert found
    assert all("mine-wide x3" in text for text in found)


def test_what_was_left_out_for_time_is_named(monkeypatch):
    """Found in a review. Right: a note, never silence."""
    monkeypatch.setattr(models, "SECONDS", 0.0)
    found = outcomes(with_model(Gated, scales=(2, 3, 4), receptive_field=2), "model", "mine")
    last = found["every scale and preset was tried"]
    assert last.outcome == "note"
    assert "mine x3, mine x4" in last.text


def test_one_nan_is_one_fault():
    """Found in a review: nine faults for one NaN, none of which said so."""

    class Broken(Gated):
        def forward(self, lr):
            return super().forward(lr) / 0 * 0

    (fault,) = faults(with_model(Broken, scales=(2, 3, 4), receptive_field=2), "model", "mine")
    assert "values that are not finite" in fault.text
    registry = Registry()
    registry.add("loss", Loss(name="nan", build=lambda: lambda sr, hr: (sr - hr).mean() * float("nan"), summary="a"))
    registry.add("metric", Metric(name="nan", build=lambda: lambda sr, hr: float("nan"), summary="a", range=(0, 1)))
    for kind in ("loss", "metric"):
        assert len([f for f in faults(registry, kind, "nan") if "licence" not in f.text]) == 1


def test_layers_that_begin_as_zero_are_no_fault():
    """Found in a review: a last layer of zeros, as many papers start with, "is reached by no gradient"."""

    class Residual(Gated):
        def __init__(self, scale):
            super().__init__(scale)
            nn.init.zeros_(self.tail[0].weight)
            nn.init.zeros_(self.tail[0].bias)

    assert not faults(with_model(Residual, scales=(2,), receptive_field=2), "model", "mine")


def test_a_wrapper_that_is_meant_to_change_pictures_is_no_fault():
    """Found in a review. Right: it says changes=True; one that does not and changes them is told so."""

    def sharpen(upscaler):
        def call(lr):
            sr = upscaler(lr)
            return sr + 0.5 * (sr - nn.functional.avg_pool2d(sr, 3, 1, 1))

        return call

    registry = Registry()
    for name, changes in (("says", True), ("silent", False)):
        registry.add("wrapper", Wrapper(name=name, build=sharpen, summary="a", licence="MIT", changes=changes))
    assert not faults(registry, "wrapper", "says")
    (fault,) = faults(registry, "wrapper", "silent")
    assert "changes=True" in fault.advice


def test_a_wrapper_that_says_it_is_local_and_is_not_is_told_so():
    """Its tiles would have seams. One that is local passes."""
    registry = Registry()
    for name, build in (
        ("level", lambda upscaler: lambda lr: upscaler(lr) - upscaler(lr).mean() + lr.mean()),
        ("plain", lambda upscaler: lambda lr: upscaler(lr)),
    ):
        registry.add("wrapper", Wrapper(name=name, build=build, summary="a", licence="MIT", local=True))
    told = [fault.advice for fault in faults(registry, "wrapper", "level")]
    assert any("leave out local=True" in advice for advice in told)
    assert not faults(registry, "wrapper", "plain")


class OnlyX2:
    def __init__(self, root, split, scale):
        if scale != 2:
            raise UsageError(f"it has no LR for x{scale}")

    def __len__(self):
        return 2

    def __getitem__(self, index):
        return Pair(str(index), None, np.full((32, 32, 3), 9 * index, np.uint8))


def test_a_dataset_of_one_scale_is_asked_for_that_one():
    """Found in a review. Right: what `Dataset.scales` declares; where nothing is declared, what opens, and a note."""
    registry = Registry()
    for name, scales in (("declared", (2,)), ("silent", ()), ("wrong", (2, 3))):
        registry.add("dataset", Dataset(name=name, build=OnlyX2, summary="a", licence="MIT", scales=scales))
    assert not [f for f in check(registry, "dataset", "declared", Path()) if f.outcome == "fault"]
    silent = {f.check: f for f in check(registry, "dataset", "silent", Path())}
    assert "fault" not in {f.outcome for f in silent.values()}
    assert "it does not open for x3, x4" in silent["every scale was tried"].text
    (fault,) = [f for f in check(registry, "dataset", "wrong", Path()) if f.outcome == "fault"]
    assert "no LR for x3" in fault.text


@pytest.mark.parametrize(
    ("file", "says", "words"),
    [
        ("mine.safetensors", {"scale": 2}, ""),
        ("gone.safetensors", {"scale": 2}, "which are not there"),
        ("mine.safetensors", {"scale": 3}, "does not fit its model"),
        ("mine.safetensors", {"scale": 2, "sha256": "0" * 64}, "SHA-256 differs"),
        ("mine.safetensors", {"scale": 4}, "they are of x4, which the model does not offer"),
        ("mine.safetensors", {"scale": 2, "preset": "mien"}, "there is no preset 'mien'"),
    ],
)
def test_registered_weights_are_opened(tmp_path, monkeypatch, file, says, words):
    """yukariin/SAN_pytorch#2: weights of x2 were used for x4 and gave noise. Right: the file is compared."""
    package = tmp_path / "kit_weights"
    package.mkdir()
    (package / "__init__.py").touch()
    torch.manual_seed(0)
    save_file(Gated(2).state_dict(), package / "mine.safetensors")
    monkeypatch.syspath_prepend(tmp_path)
    weights = Weights(resource=f"kit_weights:{file}", **says)
    registry = with_model(Gated, scales=(2, 3), receptive_field=2, weights=[weights])
    found = [f for f in check(registry, "model", "mine") if "weights of" in f.check]
    assert [f.outcome for f in found] == ["fault" if words else "ok"]
    assert words in found[0].text


def test_the_scale_that_a_file_says_of_itself_is_compared(tmp_path, monkeypatch):
    """yukariin/SAN_pytorch#2, where tensors fit any scale: only the file's own words can tell."""
    package = tmp_path / "kit_said"
    package.mkdir()
    (package / "__init__.py").touch()

    def build(scale):
        return nn.Sequential(nn.Upsample(scale_factor=scale), nn.Conv2d(3, 3, 3, padding=1))

    about = {"model": {"name": "local:mine", "version": "", "options": {}}, "scales": [2]}
    save_tensors(package / "x2.safetensors", build(2).state_dict(), about)
    monkeypatch.syspath_prepend(tmp_path)
    mine = with_model(build, scales=(2, 3), weights=[Weights(scale=3, resource="kit_said:x2.safetensors")])
    (fault,) = faults(mine, "model", "mine")
    assert "for x3, and the file says x2" in fault.text


def test_weights_of_a_url_are_not_downloaded_by_a_check(tmp_path):
    """Found in a review. Right: a note that they were not opened."""
    weights = Weights(scale=2, url="https://example.invalid/mine.safetensors", sha256="0" * 64)
    found = outcomes(with_model(Gated, scales=(2,), receptive_field=2, weights=[weights]), "model", "mine")
    (opened,) = [f for name, f in found.items() if "weights of" in name]
    assert opened.outcome == "note"
    assert "not fetched" in opened.text


def test_a_network_with_parameters_of_five_dimensions_keeps_the_contract():
    """pytorch/pytorch#77821: channels_last is refused for a network that has a Conv3d beside its Conv2d.

    Right: what has four dimensions is put into the format, the rest stays. FFTformer has such parameters.
    """

    class Deep(Gated):
        def __init__(self, scale):
            super().__init__(scale)
            self.deep = nn.Conv3d(1, 1, 3, padding=1)

        def forward(self, lr):
            return super().forward(lr + self.deep(lr[:, None])[:, 0])

    registry = with_model(Deep, scales=(2,), receptive_field=3)
    assert not faults(registry, "model", "mine")
    net = in_memory_format(Deep(2), torch.channels_last)
    assert net.head.weight.is_contiguous(memory_format=torch.channels_last)
    assert net.deep.weight.is_contiguous()
