"""Run with `pytest` after `pip install -e .`"""

import torch

from srkit import load_plugins


def test_the_output_is_scale_times_the_input():
    for scale in (2, 3, 4):
        net = load_plugins().choose("model", "tiny").build(scale)
        assert net(torch.rand(1, 3, 7, 5)).shape == (1, 3, 7 * scale, 5 * scale)
