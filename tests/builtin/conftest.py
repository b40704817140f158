"""What the tests of the augmentations share: patches of a photograph, and one applied to them with a seed."""

import numpy as np
import pytest
import torch

from srkit import Batch, imresize


def numbers(images: torch.Tensor) -> np.ndarray:
    """B,C,H,W tensor as B,H,W,C array."""
    return images.permute(0, 2, 3, 1).numpy()


def cut(photo: np.ndarray, scale: int, side: int, count: int) -> Batch:
    """Patches of a photograph and their LR by MATLAB's bicubic, in the strides the sampler gives."""
    rng = np.random.default_rng(0)
    hr = []
    for _ in range(count):
        y, x = (rng.integers(length - side * scale + 1) for length in photo.shape[:2])
        hr.append(photo[y : y + side * scale, x : x + side * scale])
    pairs = [np.stack([imresize(image, 1 / scale) for image in hr]), np.stack(hr)]
    return Batch(*(torch.from_numpy(each).permute(0, 3, 1, 2).float() / 255 for each in pairs))


@pytest.fixture
def one_thread():
    """Pictures of a few pixels: on a busy machine threads would wait for one another far longer than they work."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture
def batch(photo) -> Batch:
    return cut(photo, 2, 24, 6)


def build(registry, name, **options):
    return registry.choose("augmentation", name, options).build()


def apply(augmentation, batch, seed=0):
    torch.manual_seed(seed)
    return augmentation(batch)
