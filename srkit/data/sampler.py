"""Cut training patches: those of step k are a pure function of (seed, k), so any run can be resumed exactly."""

from collections.abc import Callable, Mapping, Sequence

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
    resident: keep the pixels on the device ("auto": where they fit), else gather them from the memory map.
    Pictures smaller than a patch are left out (`left_out` names them). Raises DataError if that leaves
    none, UsageError if they are to be resident and do not fit.
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
        pixels = [torch.from_numpy(store.pixels) for store in stores]
        self.pixels = [each.to(device) for each in pixels] if stays(pixels, device, resident) else pixels

    def __len__(self) -> int:
        return len(self.lr)

    def __call__(self, step: int, part: slice = slice(None)) -> Batch:
        rng = np.random.default_rng([self.seed, step, self.scale])
        picked = rng.integers(len(self.lr), size=self.batch)
        corner = (rng.random((self.batch, 2)) * (self.lr[picked, 1:] - self.patch + 1)).astype(np.int64)
        picked, corner = picked[part], corner[part]
        hr = self.cut(self.hr, picked, corner * self.scale, self.patch * self.scale)
        lr = self.cut(self.lr, picked, corner, self.patch) if self.has_lr else self.shrunk(picked, corner)
        return Batch(lr.float().div_(255), hr.float().div_(255))

    def shrunk(self, picked: np.ndarray, corner: np.ndarray) -> torch.Tensor:
        """LR patches made from HR on the device, the very pixels that shrinking the whole picture would give."""
        margin = MARGIN * self.scale
        wide = self.cut(self.hr, picked, corner * self.scale - margin, self.patch * self.scale + 2 * margin)
        lr = imresize_torch(wide, 1 / self.scale)[..., MARGIN:-MARGIN, MARGIN:-MARGIN]
        return lr.contiguous(memory_format=torch.channels_last)

    def cut(self, places: np.ndarray, picked: np.ndarray, corners: np.ndarray, side: int) -> torch.Tensor:
        """places: n,3 offset, height, width. corners: B,2 top, left, reflected where outside. -> B,3,side,side uint8"""
        offset, height, width = places[picked].T
        reach = np.arange(side)
        rows, columns = (
            reflected(corners[:, axis, None] + reach, length[:, None]) for axis, length in ((0, height), (1, width))
        )
        starts = offset[:, None] + rows * width[:, None]
        where = self.pixels[0].device
        indices = torch.from_numpy(starts).to(where)[:, :, None] + torch.from_numpy(columns).to(where)[:, None]
        if len(self.pixels) == 1:
            patches = self.pixels[0][indices]
        else:
            stores = self.store[picked]
            patches = torch.empty((*indices.shape, 3), dtype=torch.uint8, device=where)
            for number in np.unique(stores):
                mine = torch.from_numpy(np.flatnonzero(stores == number)).to(where)
                patches[mine] = self.pixels[number][indices[mine]]
        if where != self.device:
            patches = patches.pin_memory() if self.device.type == "cuda" else patches
            patches = patches.to(self.device, non_blocking=True)
        return patches.permute(0, 3, 1, 2)


def reflected(index: np.ndarray, length: np.ndarray) -> np.ndarray:
    """Indices outside 0..length-1 mirrored at the edge, which is repeated, as MATLAB's imresize does."""
    index = index % (2 * length)
    return np.where(index < length, index, 2 * length - 1 - index)


def stays(pixels: Sequence[torch.Tensor], device: torch.device, resident: str) -> bool:
    """Are the pixels to be kept on the device?"""
    if device.type != "cuda" or resident == "no":  # a CPU's memory map is as near as memory gets
        return False
    size, free = sum(each.nbytes for each in pixels), torch.cuda.mem_get_info(device)[0]
    if resident == "yes" and size >= free:
        raise UsageError(f"--resident yes: {size / 2**30:.1f} GiB of pixels, {free / 2**30:.1f} GiB free on {device}")
    return resident == "yes" or size < RESIDENT_SHARE * free


class Batches:
    """batches(step) -> the scale drawn and this rank's part of the batch, augmented: a function of (seed, step).

    samplers: by scale; of several, each step takes one at random. The whole batch is cut and augmented on
    every rank, so that any number of ranks trains on the same patches, but for augmentations that are
    `per_rank`. apart: each rank has data of its own, and its sampler draws its part alone.
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
        each = samplers[self.scales[0]].batch // (1 if apart else size)
        self.part = slice(None) if apart or size == 1 else slice(rank * each, (rank + 1) * each)

    def __call__(self, step: int) -> tuple[int, Batch]:
        rng = np.random.default_rng([self.seed, step])
        shared_seed = int(rng.integers(2**63))
        scale = self.scales[rng.integers(len(self.scales))]
        own_seed = int(np.random.default_rng([self.seed, step, 1 + self.rank, 1]).integers(2**63))
        sampler = self.samplers[scale]
        torch.manual_seed(own_seed if self.apart else shared_seed)
        if self.shared:
            batch = sampler(step)
            for augment in self.shared:
                batch = augment(batch)
            batch = Batch(batch.lr[self.part], batch.hr[self.part])
        else:
            batch = sampler(step, self.part)
        if self.own and not self.apart:
            torch.manual_seed(own_seed)
        for augment in self.own:
            batch = augment(batch)
        return scale, batch
