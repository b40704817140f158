"""Cut training patches: those of step k are a pure function of (seed, k), so any run can be resumed exactly."""

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import numpy as np
import torch

from srkit.components import Batch
from srkit.data.store import Store
from srkit.errors import DataError, UsageError
from srkit.imresize import imresize_torch

RESIDENT_SHARE = 0.5  # of the accelerator's free memory that the pixels may take
MARGIN = 3  # LR pixels beyond a patch that MATLAB's bicubic, shrinking, can look at


class Sampler:
    """sampler(step, part) -> Batch of aligned patches on `device`, float in [0, 1], NCHW in channels_last strides.

    stores: one pack, or the shards of a dataset. patch: side of an LR patch. Each patch of the `batch`
    comes from a picture drawn uniformly, at a place drawn uniformly; `part` picks those wanted of it.
    resident: "yes" keeps the pixels on the device, "no" cuts from the memory map, "auto" keeps them where
    a GPU has room. Pictures smaller than a patch are left out (`left_out` names them). Raises DataError if
    that leaves none, UsageError if the pixels are to be resident and do not fit.
    """

    def __init__(
        self, stores: Sequence[Store], *, scale: int, batch: int, patch: int, seed: int, device: torch.device,
        resident: str = "auto",
    ):  # fmt: skip
        lr, hr = (np.concatenate([getattr(store, which) for store in stores]) for which in ("lr", "hr"))
        names = [name for store in stores for name in store.names]
        usable = lr[:, 1:].min(axis=1) >= patch
        self.left_out = [name for name, ok in zip(names, usable, strict=True) if not ok]
        if not usable.any():
            side = patch * scale
            raise DataError(f"every picture is smaller than a patch of {side}x{side} pixels; lower 'patch' ({patch})")
        self.lr, self.hr = lr[usable], hr[usable]
        self.store = np.repeat(np.arange(len(stores)), [len(store) for store in stores])[usable]
        self.has_lr = all(store.has_lr for store in stores)
        self.scale, self.batch, self.patch, self.seed, self.device = scale, batch, patch, seed, device
        self.mapped = [store.pixels for store in stores]
        self.resident = None
        if stays(sum(pixels.nbytes for pixels in self.mapped), device, resident):
            self.resident = [torch.from_numpy(pixels).to(device, copy=True) for pixels in self.mapped]

    def __len__(self) -> int:
        return len(self.lr)

    def __call__(self, step: int, part: slice = slice(None)) -> Batch:
        return self.finish(*self.cut(step, part))

    def cut(self, step: int, part: slice) -> tuple[torch.Tensor, torch.Tensor | None]:
        """HR and LR patches of a step, B,3,side,side uint8, still where the pixels are; LR None if it is to be made."""
        rng = np.random.default_rng([self.seed, step, self.scale])
        picked = rng.integers(len(self.lr), size=self.batch)
        corner = (rng.random((self.batch, 2)) * (self.lr[picked, 1:] - self.patch + 1)).astype(np.int64)
        picked, corner = picked[part], corner[part]
        margin = 0 if self.has_lr else MARGIN * self.scale
        hr = self.patches(self.hr, picked, corner * self.scale - margin, self.patch * self.scale + 2 * margin)
        return hr, self.patches(self.lr, picked, corner, self.patch) if self.has_lr else None

    def finish(self, hr: torch.Tensor, lr: torch.Tensor | None) -> Batch:
        """What `cut` gave as a batch on the device; a missing LR is made there, the pixels a shrunk picture has."""
        hr = self.moved(hr)
        if lr is None:
            small = imresize_torch(hr, 1 / self.scale)[..., MARGIN:-MARGIN, MARGIN:-MARGIN]
            margin = MARGIN * self.scale
            hr = hr[..., margin:-margin, margin:-margin]
            lr = small.contiguous(memory_format=torch.channels_last)
        return Batch(self.moved(lr).float().div_(255), hr.float().div_(255))

    def moved(self, patches: torch.Tensor) -> torch.Tensor:
        if patches.device == self.device:
            return patches
        return (patches.pin_memory() if self.device.type == "cuda" else patches).to(self.device, non_blocking=True)

    def patches(self, places: np.ndarray, picked: np.ndarray, corners: np.ndarray, side: int) -> torch.Tensor:
        """places: n,3 offset, height, width. corners: B,2 top, left, reflected where outside. -> B,3,side,side"""
        if self.resident is None:
            cut = [
                window(self.mapped[self.store[i]], places[i], corner, side)
                for i, corner in zip(picked, corners, strict=True)
            ]
            return torch.from_numpy(np.stack(cut)).permute(0, 3, 1, 2)
        offset, height, width = places[picked].T
        rows, columns = (
            reflected(corners[:, axis, None] + np.arange(side), length[:, None])
            for axis, length in ((0, height), (1, width))
        )
        starts = offset[:, None] + rows * width[:, None]
        indices = (
            torch.from_numpy(starts).to(self.device)[:, :, None] + torch.from_numpy(columns).to(self.device)[:, None]
        )
        if len(self.resident) == 1:
            return self.resident[0][indices].permute(0, 3, 1, 2)
        stores = self.store[picked]
        found = torch.empty((*indices.shape, 3), dtype=torch.uint8, device=self.device)
        for number in np.unique(stores):
            mine = torch.from_numpy(np.flatnonzero(stores == number)).to(self.device)
            found[mine] = self.resident[number][indices[mine]]
        return found.permute(0, 3, 1, 2)


def window(pixels: np.ndarray, place: np.ndarray, corner: np.ndarray, side: int) -> np.ndarray:
    """A square of one picture of a pack, side,side,3, reflected where it reaches outside."""
    (offset, height, width), (top, left) = place, corner
    picture: np.ndarray = pixels[offset : offset + height * width].reshape(height, width, 3)
    if 0 <= top <= height - side and 0 <= left <= width - side:
        return picture[top : top + side, left : left + side]
    rows, columns = (reflected(at + np.arange(side), length) for at, length in ((top, height), (left, width)))
    return np.asarray(picture[rows[:, None], columns])


def reflected(index: np.ndarray, length: Any) -> np.ndarray:
    """Indices outside 0..length-1 mirrored at the edge, which is repeated, as MATLAB's imresize does."""
    index = index % (2 * length)
    return np.where(index < length, index, 2 * length - 1 - index)


def stays(size: int, device: torch.device, resident: str) -> bool:
    """Are `size` bytes of pixels to be kept on the device?"""
    if resident == "no" or (resident == "auto" and device.type != "cuda"):
        return False
    if device.type != "cuda":
        return True
    free = torch.cuda.mem_get_info(device)[0]
    if resident == "yes" and size >= free:
        raise UsageError(f"--resident yes: {size / 2**30:.1f} GiB of pixels, {free / 2**30:.1f} GiB free on {device}")
    return resident == "yes" or size < RESIDENT_SHARE * free


class Batches:
    """batches(step) -> the scale drawn and this rank's part of the batch, augmented: a function of (seed, step).

    samplers: by scale; of several, each step takes one at random. The whole batch is cut and augmented on
    every rank, so that any number of ranks trains on the same patches, but for augmentations that are
    `per_rank`. apart: each rank has data of its own, and its sampler draws its part alone.
    Patches of the next step are cut from the memory map by another thread while this step is computed.
    """

    def __init__(
        self, samplers: Mapping[int, Sampler], augmentations: Sequence[tuple[Callable[[Batch], Batch], bool]],
        seed: int, rank: int = 0, size: int = 1, apart: bool = False,
    ):  # fmt: skip
        self.samplers, self.scales, self.seed, self.rank = samplers, sorted(samplers), seed, rank
        own = [alone for _, alone in augmentations]
        first = own.index(True) if True in own else len(own)
        self.shared = [augment for augment, _ in augmentations[:first]]
        self.own = [augment for augment, _ in augmentations[first:]]
        self.apart = apart
        self.thread = ThreadPoolExecutor(1, "patches")
        self.ahead: tuple[int, Future[Any]] | None = None
        each = samplers[self.scales[0]].batch // (1 if apart else size)
        self.part = slice(None) if apart or size == 1 else slice(rank * each, (rank + 1) * each)

    def __call__(self, step: int) -> tuple[int, Batch]:
        shared_seed, scale = self.drawn(step)
        own_seed = int(np.random.default_rng([self.seed, step, 1 + self.rank, 1]).integers(2**63))
        torch.manual_seed(own_seed if self.apart else shared_seed)
        batch = self.cut(step)
        for augment in self.shared:
            batch = augment(batch)
        if self.shared:
            batch = Batch(batch.lr[self.part], batch.hr[self.part])
        if self.own and not self.apart:
            torch.manual_seed(own_seed)
        for augment in self.own:
            batch = augment(batch)
        return scale, batch

    def drawn(self, step: int) -> tuple[int, int]:
        """The seed of what all ranks draw alike in a step, and the scale."""
        rng = np.random.default_rng([self.seed, step])
        return int(rng.integers(2**63)), self.scales[rng.integers(len(self.scales))]

    def cut(self, step: int) -> Batch:
        part = slice(None) if self.shared else self.part
        sampler = self.samplers[self.drawn(step)[1]]
        if sampler.resident is not None:
            return sampler(step, part)
        patches = self.ahead[1].result() if self.ahead and self.ahead[0] == step else sampler.cut(step, part)
        following = self.samplers[self.drawn(step + 1)[1]]
        self.ahead = (step + 1, self.thread.submit(following.cut, step + 1, part))
        return sampler.finish(*patches)
