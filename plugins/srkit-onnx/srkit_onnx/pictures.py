"""Natural pictures to try networks on: crops of the photographs that ship with srkit, or of a folder."""

from collections.abc import Iterator, Sequence
from functools import lru_cache
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from srkit import UsageError, imresize, list_images, load_plugins, read_rgb


@lru_cache
def samples() -> tuple[np.ndarray, ...]:
    """The sample photographs, H,W,3 uint8: those that weights are trained on first, the two held out at the end."""
    dataset = load_plugins().choose("dataset", "samples")
    return tuple(pair.hr for split in ("train", "valid") for pair in dataset.build(None, split, 1))


def crop(picture: np.ndarray, height: int, width: int) -> np.ndarray:
    """The middle of a picture, which is mirrored at its edges where it is too small."""
    high, wide = max(0, height - picture.shape[0]), max(0, width - picture.shape[1])
    if high or wide:
        picture = np.pad(picture, ((0, high), (0, wide), (0, 0)), mode="symmetric")
    top, left = (picture.shape[0] - height) // 2, (picture.shape[1] - width) // 2
    return picture[top : top + height, left : left + width]


def detailed(picture: np.ndarray, height: int, width: int) -> np.ndarray:
    """The part of a picture, of nine by nine, in which neighbouring rows and columns differ most."""
    if picture.shape[0] <= height or picture.shape[1] <= width:
        return crop(picture, height, width)
    gray = picture.astype(np.float32).mean(2)
    fine = np.abs(np.diff(gray, axis=0))[:, :-1] + np.abs(np.diff(gray, axis=1))[:-1]
    tops, lefts = (np.linspace(0, room, 9, dtype=int) for room in (gray.shape[0] - height, gray.shape[1] - width))
    places = [(top, left) for top in tops for left in lefts]
    top, left = max(places, key=lambda at: float(fine[at[0] : at[0] + height, at[1] : at[1] + width].mean()))
    return picture[top : top + height, left : left + width]


def tensor_of(picture: np.ndarray) -> Tensor:
    """H,W,3 uint8 -> 1,3,H,W float32 in [0, 1]."""
    return torch.from_numpy(np.ascontiguousarray(picture)).permute(2, 0, 1)[None].float() / 255


def low_resolution(picture: np.ndarray, height: int, width: int, scale: int) -> tuple[Tensor, Tensor]:
    """(LR 1,3,H,W, HR 1,3,scale*H,scale*W): the most detailed part, and the same made small as benchmarks do."""
    hr = detailed(picture, height * scale, width * scale)
    lr = imresize(hr, 1 / scale) if scale > 1 else hr
    return tensor_of(lr), tensor_of(hr)


@lru_cache(maxsize=32)
def sample(number: int, height: int, width: int, scale: int) -> tuple[Tensor, Tensor]:
    """`low_resolution` of a sample photograph; the same tensors each time, which nobody may change."""
    return low_resolution(samples()[number], height, width, scale)


def calibration(folder: Path | None, scale: int, height: int, width: int, count: int = 24) -> Iterator[Tensor]:
    """LR pictures of one size, 1,3,H,W, of a folder's photographs made small, or of the samples: several crops of each.

    Raises UsageError for a folder without pictures.
    """
    pictures: Sequence[np.ndarray] = samples()[:-2]  # what is held out stays so
    if folder is not None:
        pictures = [read_rgb(path) for path in list_images(folder)[:count]]
        if not pictures:
            raise UsageError(f"'{folder}' has no pictures to calibrate with")
    generator = np.random.default_rng(0)
    each = -(-count // len(pictures))
    for picture in pictures:
        lr = imresize(picture, 1 / scale) if scale > 1 else picture
        for _ in range(each):
            top = int(generator.integers(0, max(1, lr.shape[0] - height + 1)))
            left = int(generator.integers(0, max(1, lr.shape[1] - width + 1)))
            yield tensor_of(crop(lr[top : top + height, left : left + width], height, width))
