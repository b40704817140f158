"""The loss of luma is what protocol y compares."""

import numpy as np
import pytest
import torch
from skimage.color import rgb2ycbcr

from srkit_builtin.luma_loss import LumaL1


def test_it_is_the_mean_difference_of_skimages_luma():
    sr, hr = np.random.default_rng(0).random((2, 3, 9, 7, 3))
    expected = np.abs(rgb2ycbcr(sr)[..., 0] - rgb2ycbcr(hr)[..., 0]).mean() / 255
    found = LumaL1()(*(torch.from_numpy(each).permute(0, 3, 1, 2) for each in (sr, hr)))
    assert found.item() == pytest.approx(expected, rel=1e-9)


def test_it_is_blind_to_colour():
    gray = torch.full((1, 3, 4, 4), 0.5, dtype=torch.float64)
    colour = gray + 0.1 * torch.tensor([1, -65.481 / 128.553, 0], dtype=torch.float64).reshape(1, 3, 1, 1)
    assert LumaL1()(colour, gray).item() == pytest.approx(0, abs=1e-12)
    assert (colour - gray).abs().max() > 0.05
