"""The starts of trainings that are put together from smaller networks that ship: they begin as these."""

import runpy
from pathlib import Path

import pytest
import torch

from srkit import load_plugins
from srkit.nets import build_net, forward_of
from srkit.weights.loading import load_model

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


def script(name):
    return runpy.run_path(str(BENCHMARKS / f"{name}.py"))["start"]


def made(registry, preset, scales, tensors, scale, lr):
    """What a network with these tensors makes of LR."""
    model = registry.choose("model", preset)
    net = build_net(model, scales)
    net.load_state_dict(tensors)
    with torch.inference_mode():
        return forward_of(net.eval(), model)(lr, scale)


@pytest.fixture(scope="module")
def builtin():
    return load_plugins()


@pytest.fixture(scope="module")
def lr():
    return torch.rand(1, 3, 20, 24, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("scale", [2, 3, 4])
def test_a_wider_and_deeper_network_begins_as_the_smaller_one(builtin, lr, scale):
    tensors, about = script("wider_start")("edsr-small@bicubic", "edsr-baseline", scale)
    assert about["scales"] == [scale]
    assert tensors["head.0.weight"].shape == (64, 3, 3, 3)
    with torch.inference_mode():
        expected = load_model(builtin, "edsr-small@bicubic", scale).net(lr)
    begun = made(builtin, "edsr-baseline", (scale,), tensors, scale, lr)
    torch.testing.assert_close(begun, expected, atol=1e-5, rtol=0)
    new = tensors["body.0.body.0.weight"][32:]
    assert new.std() > 0  # what is new learns: it is neither 0 nor all alike


def test_an_mdsr_begins_as_the_single_network_of_x2(builtin, lr):
    tensors, about = script("mdsr_start")((2, 3, 4))
    assert about["scales"] == [2, 3, 4]
    with torch.inference_mode():
        expected = load_model(builtin, "edsr-small@bicubic", 2).net(lr)
    torch.testing.assert_close(made(builtin, "mdsr-small", (2, 3, 4), tensors, 2, lr), expected, atol=1e-5, rtol=0)
