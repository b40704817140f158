"""The map of expected errors: local, higher where a picture is invented, better than gradients; words and colours."""

from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.stats import spearmanr
from skimage.color import rgb2lab
from torch import Tensor
from torch.nn import functional as F

from srkit import Registry, imresize, imresize_torch, list_files, read_rgb
from srkit.upscale.confidence import eight, ensemble_of, gradient, with_confidence
from srkit.upscale.guesswork import GUESSWORK, TOP, Guesswork, Region, colours, guesswork, heat_map
from srkit.upscale.wrap import make_upscaler, to_tensor
from srkit.weights.loading import load_model

ROOT = Path(__file__).parents[2]


def bicubic(lr: Tensor) -> Tensor:
    return imresize_torch(lr, 2)


def inventing(lr: Tensor) -> Tensor:
    """Bicubic, with stripes in a square that depend on how the picture is turned."""
    sr = bicubic(lr)
    sr[..., 40:80, 60:100] += 0.2 * torch.sin(torch.arange(40.0) * 2)
    return sr


def test_the_eight_passes_are_all_turns_turned_back(photo: np.ndarray) -> None:
    lr = to_tensor(photo[:20, :30])
    seen: list[Tensor] = []

    def call(part: Tensor) -> Tensor:
        seen.append(part)
        return part.repeat_interleave(2, -1).repeat_interleave(2, -2)

    made = list(eight(call, lr))
    assert len({tuple(part.flatten().tolist()) for part in seen}) == 8
    assert all(torch.equal(sr, made[0]) for sr in made)
    first, mean, spread = ensemble_of(inventing, to_tensor(photo[:60, :60]))
    stacked = torch.stack(list(eight(inventing, to_tensor(photo[:60, :60]))))
    assert torch.allclose(mean, stacked.mean(0), atol=1e-6)
    assert torch.allclose(spread, stacked.std(0, unbiased=False), atol=1e-6)
    assert torch.equal(first, stacked[0])


def test_the_map_is_local_and_of_the_input_size(photo: np.ndarray) -> None:
    """A tile with its margin gives what the whole gives; the picture is the function's own."""
    lr = to_tensor(photo[:60, :90])
    call, margin = with_confidence(bicubic, 2, margin=2)
    sr, levels = call(lr)
    assert levels.shape == (1, 1, 60, 90)
    assert torch.equal(sr, bicubic(lr))
    part_sr, part = call(lr[..., : 30 + margin, 40 - margin :])
    assert torch.allclose(part[..., :30, margin:], levels[..., :30, 40:], atol=1e-4)
    assert torch.equal(part_sr[..., :60, 2 * margin :], sr[..., :60, 80:])
    mean, _ = with_confidence(inventing, 2, ensemble=True)[0](lr)
    assert torch.allclose(mean, ensemble_of(inventing, lr)[1])


def test_what_is_invented_is_found_and_named(photo: np.ndarray) -> None:
    pixels = (photo[:60, :90] // 8 + 112).astype(np.uint8)  # of little contrast
    _, levels = with_confidence(inventing, 2)[0](to_tensor(pixels))
    found = guesswork(levels[0, 0].numpy(), pixels)
    place = np.zeros((60, 90), bool)
    place[20:40, 30:50] = True
    doubtful = levels[0, 0].numpy() > GUESSWORK
    assert doubtful[place].mean() > 0.9
    assert doubtful[~place].mean() < 0.05
    assert abs(found.share - place.mean()) < 0.03
    assert abs(found.regions[0].x - 40) <= 3
    assert abs(found.regions[0].y - 30) <= 3
    assert guesswork(levels[0, 0].numpy(), pixels, place).words.endswith(
        f" % of this picture is guesswork: text at {found.regions[0].x},{found.regions[0].y}"
    )


def test_the_words() -> None:
    two = (Region(120, 40, 0.02, "text"), Region(300, 200, 0.01, "edges"))
    assert Guesswork(0.031, two).words == "3 % of this picture is guesswork: text at 120,40; edges at 300,200"
    assert Guesswork(0.001, ()).words == "less than 1 % of this picture is guesswork"
    assert guesswork(np.zeros((8, 8)), np.zeros((8, 8, 3), np.uint8)).words == "nothing in this picture is guesswork"


def test_edges_and_texture_are_told_apart() -> None:
    levels = np.zeros((120, 240))
    levels[40:80, 40:80] = levels[40:80, 160:200] = TOP
    gray = np.full((120, 240), 128.0)
    gray[:, :120] += 60 * np.sin(np.arange(120) * 0.8)  # stripes
    gray[:, 120:] += np.random.default_rng(0).normal(0, 40, (120, 120))
    rgb = np.clip(gray, 0, 255).astype(np.uint8)[..., None].repeat(3, axis=2)
    assert {(region.x < 120, region.what) for region in guesswork(levels, rgb).regions} == {
        (True, "edges"),
        (False, "texture"),
    }


def test_the_map_ranks_true_errors_better_than_gradients(registry: Registry) -> None:
    """On the middle of all ten photographs that ship; benchmarks/confidence.py has the figures of B100."""
    loaded = load_model(registry, "edsr-small", 2)
    call, _ = with_confidence(make_upscaler(loaded.net, loaded.model, 2), 2)
    ranks, said, true = [], [], []
    for path in list_files(ROOT / "plugins/srkit_builtin/samples")[0]:
        whole = read_rgb(path)
        top, left = whole.shape[0] // 2 - 64, whole.shape[1] // 2 - 80
        hr = whole[top : top + 128, left : left + 160]
        lr = to_tensor(imresize(hr, 0.5))
        sr, levels = call(lr)
        error = 255 * F.avg_pool2d((sr.clamp(0, 1) - to_tensor(hr)).abs().mean(1, keepdim=True), 2)
        others = levels, gradient(lr), F.avg_pool2d(gradient(sr), 2)
        ranks.append([spearmanr(other.numpy().ravel(), error.numpy().ravel())[0] for other in others])
        said.append(levels.mean())
        true.append(error.mean())
    of_map, of_lr, of_result = np.mean(ranks, axis=0)
    assert len(ranks) == 10
    assert of_map > max(of_lr + 0.05, of_result)
    assert 0.5 < sum(said) / sum(true) < 2  # levels, not just an order


def test_gradients_are_numpys() -> None:
    plane = torch.rand(1, 1, 9, 12)
    y, x = np.gradient(plane[0, 0].numpy())
    assert np.allclose(gradient(plane.repeat(1, 3, 1, 1))[0, 0].numpy(), np.hypot(y, x), atol=1e-6)


@pytest.mark.parametrize("shape", [(1, 1), (1, 300), (700, 1), (2, 3)])
def test_tiny_and_thin_pictures_have_a_map(shape: tuple[int, int]) -> None:
    rgb = np.random.default_rng(0).integers(0, 256, (*shape, 3), np.uint8)
    for call, scale in ((bicubic, 2), (lambda lr: lr, 1)):
        levels = with_confidence(call, scale)[0](to_tensor(rgb))[1][0, 0].numpy()
        assert levels.shape == shape
        assert np.isfinite(levels).all()
    drawn = heat_map(levels, rgb, guesswork(levels, rgb).words)
    assert min(drawn.shape[:2]) > 60


def test_colours_grow_lighter_with_the_error_and_leave_certain_pixels_the_photograph() -> None:
    scale = np.linspace(GUESSWORK, TOP, 50)[None]
    lightness = rgb2lab(colours(scale, np.full(scale.shape, 128.0)))[0, :, 0]
    assert (np.diff(lightness) > 0).all()
    gray = np.arange(256.0)[None]
    assert np.allclose(colours(np.zeros(gray.shape), gray)[0, :, 0], gray[0] / 2, atol=0.6)


def test_the_heat_map_has_a_legend_and_is_large_enough_to_read(photo: np.ndarray) -> None:
    levels = np.zeros((50, 70))
    levels[10, 20] = TOP
    drawn = heat_map(levels, photo[:50, :70], "3 % of this picture is guesswork: text at 120,40 " * 3)
    assert drawn.shape[1] == 8 * 70
    assert drawn.shape[0] > 8 * 50 + 60
    assert (drawn[80:88, 160:168] == drawn[80, 160]).all()
    assert drawn[80, 160].tolist() == [252, 255, 164]
    large = heat_map(np.zeros((700, 900)), np.zeros((700, 900, 3), np.uint8), "")
    assert large.shape[1] == 900
