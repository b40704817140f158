"""EDSR against the paper's equations, the reference code's names, and its own declared receptive field."""

import pytest
import torch
from torch.nn import functional as F

from srkit.nets import parameter_count
from tests.fixtures import reach

BASELINE = {2: 1_369_859, 3: 1_554_499, 4: 1_517_571}
LARGE = {2: 40_729_603, 3: 43_680_003, 4: 43_089_923}
SIZES = {"edsr-baseline": (16, 64, 1.0, BASELINE), "edsr-large": (32, 256, 0.1, LARGE)}


def reference_shapes(blocks: int, width: int, scale: int) -> dict[str, tuple[int, ...]]:
    """The reference code's state dict, written down from its names."""
    convs = {"head.0": (3, width)}
    for i in range(blocks):
        convs |= {f"body.{i}.body.0": (width, width), f"body.{i}.body.2": (width, width)}
    convs[f"body.{blocks}"] = (width, width)
    factor = 9 if scale == 3 else 4
    convs["tail.0.0"] = (width, factor * width)
    if scale == 4:
        convs["tail.0.2"] = (width, 4 * width)
    convs["tail.1"] = (width, 3)
    shapes: dict[str, tuple[int, ...]] = {}
    for name in ("sub_mean", "add_mean"):
        shapes |= {f"{name}.weight": (3, 3, 1, 1), f"{name}.bias": (3,)}
    for name, (before, after) in convs.items():
        shapes |= {f"{name}.weight": (after, before, 3, 3), f"{name}.bias": (after,)}
    return shapes


@pytest.mark.parametrize("scale", [2, 3, 4])
@pytest.mark.parametrize("preset", SIZES)
def test_names_shapes_and_counts_are_the_reference_codes(registry, preset, scale):
    blocks, width, _, counts = SIZES[preset]
    with torch.device("meta"):
        net = registry.choose("model", preset).build(scale)
    assert {name: tuple(t.shape) for name, t in net.state_dict().items()} == reference_shapes(blocks, width, scale)
    assert parameter_count(net) == counts[scale]


def paper(lr: torch.Tensor, state: dict[str, torch.Tensor], blocks: int, res_scale: float, scale: int) -> torch.Tensor:
    """Figures 2c and 3 of the paper, in functions alone."""

    def conv(x, name):
        return F.conv2d(x, state[f"{name}.weight"], state[f"{name}.bias"], padding=1)

    mean = 255 * torch.tensor([0.4488, 0.4371, 0.4040], dtype=lr.dtype).view(1, 3, 1, 1)
    first = conv(255 * lr - mean, "head.0")
    x = first
    for i in range(blocks):
        x = x + res_scale * conv(F.relu(conv(x, f"body.{i}.body.0")), f"body.{i}.body.2")
    x = first + conv(x, f"body.{blocks}")
    if scale == 3:
        x = F.pixel_shuffle(conv(x, "tail.0.0"), 3)
    else:
        for step in range(scale // 2):
            x = F.pixel_shuffle(conv(x, f"tail.0.{2 * step}"), 2)
    return (conv(x, "tail.1") + mean) / 255


@pytest.mark.parametrize("scale", [2, 3, 4])
@pytest.mark.parametrize(("preset", "side"), [("edsr-baseline", 24), ("edsr-large", 8)])
def test_the_forward_pass_is_the_papers(registry, preset, side, scale):
    blocks, _, res_scale, _ = SIZES[preset]
    torch.manual_seed(scale)
    net = registry.choose("model", preset).build(scale)
    lr = torch.rand(2, 3, side, side + 3)
    with torch.inference_mode():
        torch.testing.assert_close(net(lr), paper(lr, net.state_dict(), blocks, res_scale, scale), rtol=0, atol=1e-6)


@pytest.mark.parametrize("scale", [2, 3, 4, 8])
def test_the_receptive_field_is_the_declared_one(registry, scale):
    """Measured by gradient: which LR pixels can change one output pixel?"""
    torch.manual_seed(0)
    model = registry.choose("model", "edsr", {"n_resblocks": 3, "n_feats": 8})
    declared = model.component.receptive_field(scale, **model.options)
    net = model.build(scale).double()
    assert reach(net, scale, centre=20) == declared


def test_the_mean_shift_is_not_trained_and_the_rest_is(registry):
    net = registry.choose("model", "edsr", {"n_resblocks": 2, "n_feats": 4}).build(2)
    net(torch.rand(1, 3, 8, 8)).mean().backward()
    for name, parameter in net.named_parameters():
        shift = name.startswith(("sub_mean", "add_mean"))
        assert (parameter.grad is None) == shift, name
        assert shift or (parameter.grad.isfinite().all() and parameter.grad.abs().sum() > 0), name
