"""Tiles cannot be seen: the tiled result equals the whole picture's, bit for bit."""

import numpy as np
import pytest
import torch
from torch import nn

from srkit import Model, Registry
from srkit.upscale.size import pad_to_multiple
from srkit.upscale.tiles import spans
from srkit.upscale.wrap import make_upscaler, to_pixels, to_tensor


@pytest.mark.parametrize(
    ("tile", "blocks", "width", "scale"),
    [(40, 8, 32, 2), (40, 8, 32, 3), (40, 8, 32, 4), (48, 8, 32, 2), (48, 8, 32, 3), (40, 16, 64, 2)],
)
def test_edsr_in_tiles_equals_edsr_whole(registry, photo, scale, tile, blocks, width):
    torch.manual_seed(0)
    model = registry.choose("model", "edsr", {"n_resblocks": blocks, "n_feats": width})
    net = model.build(scale)
    lr = to_tensor(photo[:131, :97])
    tiles = []
    tiled = make_upscaler(net, model, scale, tile=tile, done=lambda n, total: tiles.append((n, total)))(lr)
    whole = make_upscaler(net, model, scale, tile=0)(lr)
    assert tiled.shape == (1, 3, 131 * scale, 97 * scale)
    assert torch.equal(tiled, whole)
    assert len(tiles) > 4
    assert tiles[-1] == (len(tiles), len(tiles))


def test_too_little_overlap_would_be_seen(registry, photo):
    """The test above can fail: with half of the receptive field the two differ."""
    torch.manual_seed(0)
    model = registry.choose("model", "edsr", {"n_resblocks": 2, "n_feats": 32})
    net = model.build(2)
    lying = Registry()
    lying.add("model", Model(name="edsr", build=model.component.build, receptive_field=3))
    liar = lying.choose("model", "edsr", model.options)
    lr = to_tensor(photo[:90, :90])
    whole = make_upscaler(net, model, 2, tile=0)(lr)
    assert torch.equal(make_upscaler(net, model, 2, tile=40)(lr), whole)
    assert not torch.equal(make_upscaler(net, liar, 2, tile=40)(lr), whole)


def test_spans_cover_everything_once_and_stay_on_the_grid():
    for length in (1, 7, 40, 41, 131):
        for multiple in (1, 8):
            cores = [(c, d) for _, _, c, d in spans(length, 40, 9, multiple)]
            assert [n for c, d in cores for n in range(c, d)] == list(range(length))
            assert all(a % multiple == 0 and c % multiple == 0 for a, _, c, _ in spans(length, 40, 9, multiple))


class Windowed(nn.Module):
    """Refuses sizes that are no multiple of 8, and repeats pixels."""

    def forward(self, lr):
        assert lr.shape[-1] % 8 == 0
        assert lr.shape[-2] % 8 == 0
        return lr.repeat_interleave(2, -1).repeat_interleave(2, -2)


@pytest.mark.parametrize("size", [(1, 1), (3, 20), (8, 8), (37, 61)])
def test_sizes_are_padded_to_the_multiple_a_model_wants(size):
    registry = Registry()
    registry.add("model", Model(name="w", build=lambda scale: Windowed(), size_multiple=8, receptive_field=0))
    lr = torch.rand(1, 3, *size)
    for tile in (0, 16):
        sr = make_upscaler(Windowed(), registry.choose("model", "w"), 2, tile=tile)(lr)
        assert torch.equal(sr, lr.repeat_interleave(2, -1).repeat_interleave(2, -2))
    assert pad_to_multiple(lr, 8).shape[-1] % 8 == 0


def test_a_multi_scale_model_is_told_the_scale():
    class Multi(nn.Module):
        def forward(self, lr, scale):
            return lr.repeat_interleave(scale, -1).repeat_interleave(scale, -2)

    registry = Registry()
    registry.add("model", Model(name="m", build=lambda scales: Multi(), multi_scale=True))
    for scale in (2, 3):
        assert (
            make_upscaler(Multi(), registry.choose("model", "m"), scale)(torch.rand(1, 3, 4, 5)).shape[-1] == 5 * scale
        )


def test_upscaling_leaves_training_as_it_was(registry):
    model = registry.choose("model", "edsr", {"n_resblocks": 1, "n_feats": 4})
    net = model.build(2).train()
    sr = make_upscaler(net, model, 2)(torch.rand(1, 3, 8, 8))
    assert net.training
    assert not sr.requires_grad


def test_rounding_to_pixels():
    values = np.array([-0.1, 0.0, 0.499 / 255, 0.501 / 255, 254.501 / 255, 1.2])
    pixels = to_pixels(torch.tensor(values).view(1, 1, 1, 6).expand(1, 3, 1, 6))
    assert pixels[0, :, 0].tolist() == [0, 0, 0, 1, 255, 255]
