"""Backends: what a network runs in is chosen, told the scale once, and equals the network's own forward."""

import pytest
import torch
from PIL import Image
from torch import nn

from srkit import Backend, Model, OutputError, PluginError, Registry
from srkit.testing import check
from srkit.upscale.wrap import make_upscaler


class Repeat(nn.Module):
    """A multi-scale network with a parameter, and what it was called with."""

    def __init__(self):
        super().__init__()
        self.factor = nn.Parameter(torch.ones(()))
        self.modes = []

    def forward(self, lr, scale):
        self.modes.append(self.training)
        return self.factor * lr.repeat_interleave(scale, -1).repeat_interleave(scale, -2)


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_the_built_in_backend_gives_what_the_network_gives(registry, precision):
    torch.manual_seed(0)
    model = registry.choose("model", "edsr", {"n_resblocks": 2, "n_feats": 8})
    net, lr = model.build(2), torch.rand(1, 3, 20, 30)
    backend = registry.choose("backend", "torch", {"precision": precision})
    sr = make_upscaler(net, model, 2, backend=backend)(lr)
    plain = make_upscaler(net, model, 2)(lr)
    assert sr.dtype == torch.float32
    if precision == "fp32":
        assert torch.equal(sr, plain)
    else:
        assert not torch.equal(sr, plain)
        torch.testing.assert_close(sr, plain, rtol=0, atol=0.05)


class Steep(nn.Module):
    """Values on its way that fp16 does not have."""

    def __init__(self):
        super().__init__()
        self.up = nn.Conv2d(3, 3, 1, groups=3, bias=False)
        nn.init.constant_(self.up.weight, 3e5)

    def forward(self, lr):
        return (self.up(lr).float() / 3e5).repeat_interleave(2, -1).repeat_interleave(2, -2)


def test_a_tile_that_is_not_finite_in_half_precision_is_computed_again_and_said(caplog):
    registry = Registry()
    registry.add("model", Model(name="steep", build=lambda scale: Steep(), scales=(2,)))
    model = registry.choose("model", "steep")
    lr = torch.rand(1, 3, 9, 9) / 2 + 0.5
    sr = make_upscaler(Steep(), model, 2, precision="fp16")(lr)
    torch.testing.assert_close(sr, lr.repeat_interleave(2, -1).repeat_interleave(2, -2))
    assert caplog.messages == ["a tile is not finite in fp16: computed again in fp32"]
    with pytest.raises(OutputError, match="not finite"):
        make_upscaler(Broken(), model, 2, precision="fp16")(lr)


class Broken(Steep):
    def forward(self, lr):
        return super().forward(lr) * float("nan")


def test_another_backend_is_given_the_network_in_evaluation_mode_at_one_scale(registry):
    seen = []

    def build(net, scale, *, precision: str = "fp32", gain: float = 1.0):
        seen.append((net.training, scale, precision, gain))
        assert net(torch.zeros(1, 3, 2, 2)).shape[-1] == 2 * scale
        return lambda tile: gain * net(tile)

    registry.add("model", Model(name="m", build=lambda scales: Repeat(), multi_scale=True, receptive_field=0))
    registry.add("backend", Backend(name="mine", build=build))
    net = Repeat().train()
    upscale = make_upscaler(
        net, registry.choose("model", "m"), 3, tile=16, backend=registry.choose("backend", "mine", {"gain": 1.5})
    )
    lr = torch.rand(1, 3, 20, 33) * 0.8
    assert torch.equal(upscale(lr), 1.5 * lr.repeat_interleave(3, -1).repeat_interleave(3, -2))
    assert seen == [(False, 3, "fp32", 1.5)]
    assert set(net.modes) == {False}
    assert net.training


def test_a_backend_that_cannot_run_a_network_is_named(registry):
    def build(net, scale, *, precision: str = "fp32"):
        raise RuntimeError("operator pixel_unshuffle is not there")

    registry.add("backend", Backend(name="mine", build=build))
    model = registry.choose("model", "edsr", {"n_resblocks": 1, "n_feats": 4})
    told = "backend 'local:mine' cannot run 'edsr': RuntimeError: operator pixel_unshuffle is not there"
    with pytest.raises(PluginError, match=told):
        make_upscaler(model.build(2), model, 2, backend=registry.choose("backend", "mine"))


def plain(net, scale, *, precision: str = "fp32"):
    return net


def of_result(change):
    """The build of a backend that changes what the network gives."""

    def build(net, scale, *, precision: str = "fp32"):
        return lambda lr: change(net(lr))

    return build


#: what is wrong with it -> (build, precisions, what the kit says)
BROKEN = {
    "another result": (of_result(lambda sr: sr + 0.01), {"fp32": 1e-3}, "differs by 0.01"),
    "not a number": (of_result(lambda sr: sr * float("nan")), {"fp32": 1}, "differs by nan"),
    "another type": (of_result(lambda sr: sr.half()), {"fp32": 1e-2}, "torch.float16"),
    "one size of tiles": (of_result(lambda sr: sr[..., :24, :24]), {"fp32": 1}, "made (2, 3, 24, 24)"),
    "no precision": (lambda net, scale: net, {}, "no option 'precision'"),
    "unstated precision": (plain, {"int8": 0.1}, "its default is 'fp32', and it states int8"),
}


@pytest.mark.parametrize("fault", BROKEN)
def test_the_kit_says_what_is_wrong_with_a_backend(fault):
    build, precisions, words = BROKEN[fault]
    registry = Registry()
    registry.add("backend", Backend(name="mine", build=build, precisions=precisions, summary="Mine", licence="MIT"))
    faults = [finding.text for finding in check(registry, "backend", "mine") if finding.outcome == "fault"]
    assert any(words in text for text in faults), faults


def test_the_kit_finds_no_fault_with_the_network_itself():
    registry = Registry()
    registry.add("backend", Backend(name="mine", build=plain, summary="Mine", licence="MIT"))
    texts = [f.text for f in check(registry, "backend", "mine") if f.outcome == "fault"]
    assert texts == ["option 'precision' has no help"]


def test_upscale_takes_a_backend_by_name(run_srkit, photo):
    Image.fromarray(photo[:10, :12]).save("p.png")
    assert run_srkit("upscale", "p.png", "--model", "bicubic", "--backend", "torch")[0] == 0
    with Image.open("p_bicubic_x2.png") as large:
        assert large.size == (24, 20)
    code, _, err = run_srkit("upscale", "p.png", "--model", "bicubic", "--backend", "trch")
    assert (code, err) == (2, "srkit: no backend called 'trch'; did you mean 'torch'?\n")
