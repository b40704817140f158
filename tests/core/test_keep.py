"""The input's colours: within half a level, without ringing, the same in tiles as in the whole; soft borders."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from srkit import imresize, imresize_torch, load_plugins, read_rgb
from srkit.upscale.keep import colour_kept, softened
from srkit.upscale.tiles import tiled
from srkit.upscale.wrap import evaluation_mode, to_tensor
from srkit.weights.loading import load_model

LEVEL = 1 / 255


def shifted(call: Callable[[Tensor], Tensor]) -> Callable[[Tensor], Tensor]:
    """A network that changes colours, as adversarial ones do: less contrast, and another tint here and there."""

    def made(lr: Tensor) -> Tensor:
        sr = call(lr) * 0.94
        y, x = torch.linspace(0, 1, sr.shape[-2])[:, None], torch.linspace(0, 1, sr.shape[-1])
        return sr + torch.stack([0.04 + 0.03 * torch.sin(6 * x + 3 * y), -0.03 + 0 * x * y, 0.05 * (y - 0.5) + 0 * x])

    return made


@pytest.fixture(scope="module")
def network() -> Callable[[Tensor], Tensor]:
    net = load_model(load_plugins(), "edsr-small", 2).net.eval().to(memory_format=torch.channels_last)

    def call(lr: Tensor) -> Tensor:
        with evaluation_mode(net), torch.inference_mode():
            sr: Tensor = net(lr.contiguous(memory_format=torch.channels_last))
            return sr

    return call


@pytest.mark.parametrize("scale", [2, 3, 4])
def test_tiles_equal_the_whole_to_the_last_bit(photo: np.ndarray, scale: int) -> None:
    lr = to_tensor(photo[:73, :121])
    made, margin = colour_kept(shifted_everywhere(scale), scale, margin=2)
    assert torch.equal(tiled(made, lr, scale, 32, margin), made(lr))


def shifted_everywhere(scale: int) -> Callable[[Tensor], Tensor]:
    return lambda lr: imresize_torch(lr, scale) * 0.9 + torch.tensor([0.05, 0, 0.08])[:, None, None]


def test_a_soft_border_is_outside_of_what_is_protected() -> None:
    area = np.zeros((60, 80), bool)
    area[20:40, 30:50] = True
    mask = softened(area)
    assert mask[area].min() == 1
    assert (mask[30] > 0).sum() == 28
    assert np.abs(np.diff(mask[30])).max() < 0.21  # no seam
    assert softened(np.where(area, 0.5, 0)).max() == 0.5


def apart(sr: Tensor, lr: Tensor) -> Tensor:
    """In levels: the result, as it will be saved in 16 bits, made small again, against the input."""
    saved = (sr.clamp(0, 1) * 65535 + 0.5).floor() / 65535
    return (imresize_torch(saved, size=(lr.shape[-2], lr.shape[-1])) - lr).abs() / LEVEL


def test_the_small_result_has_the_inputs_colours(photo: np.ndarray, network: Callable[[Tensor], Tensor]) -> None:
    """Within half a level everywhere, of a network as it is and of one that changes colours by up to 25 levels."""
    lr = to_tensor(photo[60:180, 100:250])
    for call in (network, shifted(network)):
        before, after = apart(call(lr), lr), apart(colour_kept(call, 2)[0](lr), lr)
        assert before.max() > 2
        assert after.max() <= 0.5


def test_beside_black_and_white_few_pixels_are_farther_away(shared: Path, network: Callable[[Tensor], Tensor]) -> None:
    """Photographs with clipped lights, taken as small pictures: no picture within black and white may fit them."""
    for name in ("0000", "0060", "0180"):
        lr = to_tensor(read_rgb(shared / f"train/{name}.jpg")[100:200, 100:250])
        before, after = apart(shifted(network)(lr), lr), apart(colour_kept(shifted(network), 2)[0](lr), lr)
        assert (before > 0.5).float().mean() > 0.9
        assert (after > 0.5).float().mean() < 2e-3
        assert after.max() < 2


def test_corrected_colours_do_not_ring(photo: np.ndarray, network: Callable[[Tensor], Tensor]) -> None:
    """The error to the original is no larger than the network's own, and beside an edge nothing swings."""
    hr = to_tensor(photo[:198, :250])
    lr = to_tensor(imresize(photo[:198, :250], 0.5))
    own = (network(lr).clamp(0, 1) - hr).square().mean()
    kept = (colour_kept(shifted(network), 2)[0](lr) - hr).square().mean()
    assert (shifted(network)(lr) - hr).square().mean() > 3 * own
    assert kept < 1.02 * own
    edge = torch.full((1, 3, 40, 80), 0.3)
    edge[..., 39:] = 0.7
    small = imresize_torch(edge, 0.5)
    again = colour_kept(lambda lr: edge * 0.9 + 0.05, 2)[0](small)
    assert again.max() < 0.7 + 1.5 * LEVEL
    assert imresize_torch(small, 2, method="lanczos3").max() > 0.7 + 5 * LEVEL
