"""imresize against MATLAB's own pixels, and the torch version against the numpy one."""

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from srkit import imresize, imresize_torch, read_rgb


@pytest.mark.parametrize("scale", [2, 3, 4])
@pytest.mark.parametrize(("name", "count"), [("Set5", 5), ("Set14", 14)])
def test_every_lr_image_equals_matlabs(shared: Path, name: str, count: int, scale: int):
    files = sorted((shared / "bench" / name / "HR").glob("*.png"))
    assert len(files) == count
    for file in files:
        hr = read_rgb(file)
        hr = hr[: hr.shape[0] // scale * scale, : hr.shape[1] // scale * scale]
        matlab = read_rgb(shared / "expected/matlab_lr" / name / f"X{scale}" / f"{file.stem}x{scale}.png")
        np.testing.assert_array_equal(imresize(hr, 1 / scale), matlab, err_msg=str(file))
        batch = torch.from_numpy(hr).permute(2, 0, 1)[None]
        np.testing.assert_array_equal(imresize_torch(batch, 1 / scale)[0].permute(1, 2, 0).numpy(), matlab)


@settings(max_examples=60, deadline=None)
@given(
    height=st.integers(1, 23), width=st.integers(1, 23), scale=st.floats(0.11, 5.3),
    method=st.sampled_from(["bicubic", "lanczos3"]), seed=st.integers(0, 99),
)  # fmt: skip
def test_torch_equals_numpy_to_the_last_bit_at_any_scale(height, width, scale, method, seed):
    image = np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)
    ours = imresize(image, scale, method=method)
    assert ours.shape == (int(np.ceil(height * scale)), int(np.ceil(width * scale)), 3)
    other = imresize_torch(torch.from_numpy(image).permute(2, 0, 1)[None], scale, method=method)
    np.testing.assert_array_equal(other[0].permute(1, 2, 0).numpy(), ours)


@pytest.mark.parametrize("size", [(5, 40), (40, 5), (7, 9), (1, 1)])
def test_a_size_may_stretch_the_two_directions_differently(size: tuple[int, int]):
    image = np.random.default_rng(0).integers(0, 256, (13, 17), dtype=np.uint8)
    ours = imresize(image, size=size)
    assert ours.shape == size
    other = imresize_torch(torch.from_numpy(image)[None, None], size=size)
    np.testing.assert_array_equal(other[0, 0].numpy(), ours)


def test_a_constant_image_stays_constant_and_floats_are_not_rounded():
    assert np.unique(imresize(np.full((9, 11, 3), 77, np.uint8), 1 / 3)).tolist() == [77]
    ramp = np.linspace(0, 1, 64).reshape(8, 8)
    enlarged = imresize(ramp, 2)
    assert enlarged.dtype == np.float64
    # cubic convolution reproduces a straight line away from the edges
    np.testing.assert_allclose(np.diff(enlarged[4:-4, 4:-4], n=2, axis=1), 0, atol=1e-12)


def test_gradients_flow_through_float_batches():
    batch = torch.rand(1, 3, 6, 6, requires_grad=True)
    imresize_torch(batch, 2).sum().backward()
    torch.testing.assert_close(batch.grad.sum(), torch.tensor(3 * 12 * 12.0))


@pytest.mark.parametrize("wrong", [{}, {"scale": 2, "size": (3, 3)}, {"scale": 0.0}, {"scale": -1.0}, {"size": (0, 3)}])
def test_wrong_arguments_are_refused(wrong):
    with pytest.raises(ValueError, match="scale"):
        imresize(np.zeros((4, 4, 3), np.uint8), **wrong)
