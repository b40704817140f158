"""Cut training patches: those of step k are a pure function of (seed, k), so any run can be resumed exactly."""

from collections.abc import Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, NamedTuple

import numpy as np
import torch

from srkit.components import Batch
from srkit.data.degrade import Degrader
from srkit.data.store import Store, picture_at
from srkit.errors import DataError, UsageError
from srkit.imresize import imresize_torch
from srkit.nets import seed_torch

RESIDENT_SHARE = 0.5  # of the accelerator's free memory that the pixels may take
READERS = 16  # that read at an address at once
MARGIN = 3  # LR pixels beyond a patch that MATLAB's bicubic, shrinking, can look at


class Cut(NamedTuple):
    """Patches before they are a batch: B,3,side,side uint8, or, where any picture has 16 bits, uint16.

    lr: None where it is to be made. plain: B booleans, the rows whose picture has 8 bits.
    """

    hr: torch.Tensor
    lr: torch.Tensor | None
    plain: torch.Tensor


class Sampler:
    """sampler(step, rows) -> Batch of aligned patches on `device`, float in [0, 1], NCHW in channels_last strides.

    stores: packs, a dataset's one or its shards. patch: side of an LR patch. Each patch of the `batch` comes from a
    picture drawn uniformly, at a place drawn uniformly; `rows`, numbers, picks those wanted of it. sets: of several
    datasets, the number of that of each store; a patch then comes from a dataset drawn by its weight first.
    resident: "yes" keeps the pixels on the device, "no" cuts from the memory map, "auto" keeps them where
    a GPU has room. Pictures smaller than a patch are left out (`left_out` names them). Raises DataError if
    that leaves none, UsageError if the pixels are to be resident and do not fit.
    """

    def __init__(
        self,
        stores: Sequence[Store],
        *,
        scale: int,
        batch: int,
        patch: int,
        seed: int,
        device: torch.device,
        resident: str = "auto",
        sets: Sequence[int] = (),
        weights: Sequence[float] = (),
    ):
        self.stores, self.sets = list(stores), list(sets) or [0] * len(stores)
        lr, hr = (np.concatenate([getattr(store, which) for store in stores]) for which in ("lr", "hr"))
        names = [name for store in stores for name in store.names]
        usable = lr[:, 1:3].min(axis=1) >= patch
        too_small = [name for store in stores for name in store.left_out]
        self.left_out = [*too_small, *(name for name, ok in zip(names, usable, strict=True) if not ok)]
        if not usable.any():
            side = patch * scale
            raise DataError(f"every picture is smaller than a patch of {side}x{side} pixels; lower 'patch' ({patch})")
        self.lr, self.hr = lr[usable], hr[usable]
        self.store = np.repeat(np.arange(len(stores)), [len(store) for store in stores])[usable]
        self.heaps = heaps([self.sets[number] for number in self.store], weights)
        self.has_lr = all(store.has_lr for store in stores)
        self.scale, self.batch, self.patch, self.seed, self.device = scale, batch, patch, seed, device
        self.deep = bool((self.hr[:, 3] > 1).any() or (self.has_lr and (self.lr[:, 3] > 1).any()))
        # Plain arrays, where they are arrays: a slice of numpy's memmap takes three times as long.
        self.mapped = [np.asarray(store.pixels) if store.here else store.pixels for store in stores]
        # What stays at an address is read there by several at once, since each waits for an answer.
        self.each = map if all(store.here for store in stores) else ThreadPoolExecutor(READERS, "far").map
        self.resident = None
        if stays(sum(pixels.nbytes for pixels in self.mapped) * (2 if self.deep else 1), device, resident):
            if self.deep:
                self.widen()
            self.resident = [torch.from_numpy(pixels[:]).to(device, copy=True) for pixels in self.mapped]

    def __len__(self) -> int:
        return len(self.lr)

    def __call__(self, step: int, rows: np.ndarray | None = None) -> Batch:
        return self.finish(self.cut(step, rows))

    def cut(self, step: int, rows: np.ndarray | None = None) -> Cut:
        """The patches of a step, still where the pixels are."""
        rng = np.random.default_rng([self.seed, step, self.scale])
        picked = self.picked(rng)
        corner = (rng.random((self.batch, 2)) * (self.lr[picked, 1:3] - self.patch + 1)).astype(np.int64)
        if rows is not None:
            picked, corner = picked[rows], corner[rows]
        margin = 0 if self.has_lr else MARGIN * self.scale
        hr = self.patches(self.hr, picked, corner * self.scale - margin, self.patch * self.scale + 2 * margin)
        lr = self.patches(self.lr, picked, corner, self.patch) if self.has_lr else None
        return Cut(hr, lr, torch.from_numpy(self.hr[picked, 3] == 1))

    def picked(self, rng: np.random.Generator) -> np.ndarray:
        """The number of the picture of each patch."""
        if self.heaps is None:
            return rng.integers(len(self.lr), size=self.batch)
        return np.searchsorted(self.heaps, rng.random(self.batch), side="right")

    def finish(self, cut: Cut) -> Batch:
        """A batch on the device; a missing LR is made there, the pixels a shrunk picture has."""
        hr, lr = self.moved(cut.hr), cut.lr
        if lr is None:
            lr = self.shrunk(hr, cut.plain.to(hr.device))[..., MARGIN:-MARGIN, MARGIN:-MARGIN]
            margin = MARGIN * self.scale
            hr = hr[..., margin:-margin, margin:-margin]
            lr = lr.contiguous(memory_format=torch.channels_last)
        white = 65535 if self.deep else 255
        return Batch(self.moved(lr).float().div_(white), hr.float().div_(white))

    def shrunk(self, hr: torch.Tensor, plain: torch.Tensor) -> torch.Tensor:
        """HR made small, rounded as the picture is: to 8 bits in the rows that are `plain`, also beside deep ones."""
        lr = imresize_torch(hr, 1 / self.scale)
        if self.deep and plain.any():
            eight = imresize_torch((hr[plain].to(torch.int32) // 257).to(torch.uint8), 1 / self.scale)
            wide = lr.to(torch.int32)
            wide[plain] = eight.to(torch.int32) * 257
            lr = wide.to(torch.uint16)
        return lr

    def moved(self, patches: torch.Tensor) -> torch.Tensor:
        if patches.device == self.device:
            return patches
        return (patches.pin_memory() if self.device.type == "cuda" else patches).to(self.device, non_blocking=True)

    def patches(self, places: np.ndarray, picked: np.ndarray, corners: np.ndarray, side: int) -> torch.Tensor:
        """places: n,4 as in a Store. corners: B,2 top, left, reflected where outside. -> B,3,side,side"""
        if self.resident is None:
            cut = list(self.each(lambda i, corner: window(self.mapped[self.store[i]], places[i], corner, side), picked,
                                 corners))  # fmt: skip
            return torch.from_numpy(np.stack([deepened(each) for each in cut] if self.deep else cut)).permute(
                0, 3, 1, 2
            )
        offset, height, width, _ = places[picked].T
        rows, columns = (
            reflected(corners[:, axis, None] + np.arange(side), length[:, None])
            for axis, length in ((0, height), (1, width))
        )
        starts = offset[:, None] + rows * width[:, None]
        indices = (
            torch.from_numpy(starts).to(self.device)[:, :, None] + torch.from_numpy(columns).to(self.device)[:, None]
        )
        if len(self.resident) == 1:
            return self.unsigned(self.resident[0][indices].permute(0, 3, 1, 2))
        stores = self.store[picked]
        found = torch.empty((*indices.shape, 3), dtype=self.resident[0].dtype, device=self.device)
        for number in np.unique(stores):
            mine = torch.from_numpy(np.flatnonzero(stores == number)).to(self.device)
            found[mine] = self.resident[number][indices[mine]]
        return self.unsigned(found.permute(0, 3, 1, 2))

    def widen(self) -> None:
        """All pixels as 16 bits in arrays of their own, N,3, by which they can be kept on a device.

        They are held as int16, since torch looks few things up in uint16.
        """
        for number, pixels in enumerate(self.mapped):
            wide, end = [], 0
            for places in (self.hr, self.lr) if self.has_lr else (self.hr,):
                for index in np.flatnonzero(self.store == number):
                    picture = deepened(picture_at(pixels, places[index]))
                    wide.append(picture.reshape(-1, 3).view(np.int16))
                    places[index, 0] = end
                    end += len(wide[-1])
            self.mapped[number] = np.concatenate(wide) if wide else np.empty((0, 3), np.int16)

    def unsigned(self, patches: torch.Tensor) -> torch.Tensor:
        return patches.to(torch.int32).bitwise_and_(0xFFFF).to(torch.uint16) if self.deep else patches


def heaps(sets: Sequence[int], weights: Sequence[float]) -> np.ndarray | None:
    """Where in [0, 1] each picture's share ends, by the dataset it is of; None for one dataset.

    A dataset of which no picture is left raises DataError: its share would be taken by the others, unsaid.
    """
    if len(weights) < 2:
        return None
    counts = np.bincount(sets, minlength=len(weights))
    if not counts.all():
        number = int(np.flatnonzero(counts == 0)[0]) + 1
        raise DataError(f"every picture of [[data]] {number} is smaller than a patch; lower 'patch', or leave it out")
    ends = np.cumsum(np.asarray(weights, dtype=np.float64)[sets] / counts[sets])
    ends /= ends[-1]
    return ends


def deepened(picture: np.ndarray) -> np.ndarray:
    """uint16 of uint8 or uint16; 255 becomes 65535."""
    return picture if picture.dtype == np.uint16 else picture.astype(np.uint16) * np.uint16(257)


def window(pixels: Any, place: np.ndarray, corner: np.ndarray, side: int) -> np.ndarray:
    """A square of one picture of a pack, side,side,3, reflected where it reaches outside. It reads its rows alone."""
    (offset, height, width, size), (top, left) = place.tolist(), corner.tolist()

    def band(first: int, last: int) -> np.ndarray:
        return picture_at(pixels, (offset + first * width * size, last - first, width, size))

    if 0 <= top <= height - side and 0 <= left <= width - side:
        return band(top, top + side)[:, left : left + side]
    rows, columns = (reflected(at + np.arange(side), length) for at, length in ((top, height), (left, width)))
    first, last = int(rows.min()), int(rows.max()) + 1
    return np.asarray(band(first, last)[(rows - first)[:, None], columns])


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


class Begun(NamedTuple):
    """What of a step can be had ahead of it. seed: of what all ranks draw alike; own_seed: of what this rank draws.

    patches: None where the pixels are kept on the device.
    """

    seed: int
    own_seed: int
    scale: int
    patches: Cut | None


class Batches:
    """batches(step) -> the scale drawn and this rank's part of the batch, augmented: a function of (seed, step).

    samplers: by scale; of several, each step takes one at random. augmentations: each with its record's `per_rank`.
    Any number of ranks trains on the same patches. The random numbers of a step are drawn for the whole batch on
    every rank; pixels are cut and changed only for the rows that the rank needs: its part, and the partners that a
    mixing augmentation gives them. Three kinds of augmentations, in the order of the run:

    - with `draw` and `change` (see `srkit.components.Augmentation`): only the rows needed are changed.
    - with `forward` alone: it, and all before it, are applied to the whole batch on every rank.
    - `per_rank`: it, and all after it, draw and change this rank's part, by a seed of the rank's own.

    degrader: makes LR of the HR that these leave, of each row by a seed of its own; `late` are applied after it, those
    without partners by rows, others as `per_rank`.

    apart: each rank has data of its own, and its sampler draws its part alone.
    `ahead` lets another thread begin with the step that follows.
    """

    def __init__(
        self,
        samplers: Mapping[int, Sampler],
        augmentations: Sequence[tuple[Any, bool]],
        seed: int,
        rank: int = 0,
        size: int = 1,
        apart: bool = False,
        *,
        degrader: Degrader | None = None,
        late: Sequence[Any] = (),
    ):
        self.degrader, self.late = degrader, late
        self.samplers, self.scales, self.seed, self.rank, self.apart = samplers, sorted(samplers), seed, rank, apart
        modules, alone = [module for module, _ in augmentations], [per_rank for _, per_rank in augmentations]
        shared = alone.index(True) if True in alone else len(alone)
        whole = max((i + 1 for i in range(shared) if not by_rows(modules[i])), default=0)
        self.whole, self.by_rows, self.own = modules[:whole], modules[whole:shared], modules[shared:]
        self.count, self.device = samplers[self.scales[0]].batch, samplers[self.scales[0]].device
        each = self.count if apart else self.count // size
        self.part = range(each) if apart else range(rank * each, (rank + 1) * each)
        self.thread = ThreadPoolExecutor(1, "patches")
        self.following: tuple[int, np.ndarray | None] = (-1, None)  # the step, and its rows that are to be cut
        self.begun: Future[Begun] | None = None  # of that step

    def __call__(self, step: int) -> tuple[int, Batch]:
        rows = self.following[1] if step == self.following[0] else self.rows(step)
        begun = self.begun.result() if self.begun and step == self.following[0] else self.begin(step, rows)
        seed, own_seed, scale = begun.seed, begun.own_seed, begun.scale
        batch, plain = self.finish(step, begun, rows)
        seed_torch(own_seed if self.apart else seed, self.device)
        for augment in self.whole:
            batch = augment(batch)
        batch = self.change_rows(batch, scale)
        if self.own and not self.apart:
            seed_torch(own_seed, self.device)
        for augment in self.own:
            batch = augment(batch)
        if self.degrader:
            batch = self.changed_late(self.degraded(step, scale, batch, plain), step, scale, own_seed)
        self.following, self.begun = (step + 1, self.rows(step + 1)), None
        return scale, batch

    def ahead(self) -> None:
        """Let another thread begin with the step that follows, unless it has.

        Call it when the interpreter will be free for a while, as it is while gradients are computed: two threads that
        both want it wait for each other.
        """
        if self.begun is None and self.following[0] >= 0:
            self.begun = self.thread.submit(self.begin, *self.following)

    def begin(self, step: int, rows: np.ndarray | None) -> Begun:
        own_seed = int(np.random.default_rng([self.seed, step, 1 + self.rank, 1]).integers(2**63))
        seed, scale = self.drawn(step)
        sampler = self.samplers[scale]
        return Begun(seed, own_seed, scale, sampler.cut(step, rows) if sampler.resident is None else None)

    def finish(self, step: int, begun: Begun, rows: np.ndarray | None) -> tuple[Batch, torch.Tensor]:
        """The rows needed as a batch, and which rows of this rank's part have 8 bits."""
        sampler = self.samplers[begun.scale]
        patches = begun.patches or sampler.cut(step, rows)
        mine = np.array(self.part) if rows is None else np.searchsorted(rows, self.part)
        return sampler.finish(patches), patches.plain[mine]

    def degraded(self, step: int, scale: int, batch: Batch, plain: torch.Tensor) -> Batch:
        """LR made of HR, of this rank's part. plain: its rows of 8 bits; the others get LR of 16."""
        assert self.degrader is not None
        whose = 1 + self.rank if self.apart else 0
        made = []
        for hr, row, eight in zip(batch.hr.split(1), self.part, plain.tolist(), strict=True):
            seed = int(np.random.default_rng([self.seed, step, row, whose, 2]).integers(2**63))
            made.append(self.degrader(hr.float(), scale, seed, 255 if eight else 65535))
        lr = torch.cat(made).to(batch.lr.dtype).contiguous(memory_format=torch.channels_last)
        return Batch(lr, batch.hr)

    def changed_late(self, batch: Batch, step: int, scale: int, own_seed: int) -> Batch:
        """What changes LR alone, after LR has been made."""
        shape = torch.Size((self.count, 3, self.samplers[scale].patch, self.samplers[scale].patch))
        for number, augment in enumerate(self.late):
            seed_torch(int(np.random.default_rng([self.seed, step, number, 3]).integers(2**63)), self.device)
            drawn = augment.draw(shape) if by_rows(augment) and not self.apart else {"partner": None}
            if "partner" in drawn:
                seed_torch(own_seed + number, self.device)
                batch = augment(batch)
            else:
                mine = {
                    name: value[list(self.part)] if torch.is_tensor(value) else value for name, value in drawn.items()
                }
                batch = augment.change(batch, mine)
        return batch

    def drawn(self, step: int) -> tuple[int, int]:
        """The seed of what all ranks draw alike in a step, and the scale."""
        rng = np.random.default_rng([self.seed, step])
        return int(rng.integers(2**63)), self.scales[rng.integers(len(self.scales))]

    def draw_rows(self, scale: int) -> tuple[list[dict[str, Any]], list[np.ndarray]]:
        """What each augmentation by rows draws for the whole batch, and the rows needed before each and at the end."""
        patch = self.samplers[scale].patch
        draws = [augment.draw(torch.Size((self.count, 3, patch, patch))) for augment in self.by_rows]
        rows = [np.array(self.part)]
        for drawn in reversed(draws):  # backwards: a partner's pixels have been changed by what comes before
            partner = drawn.get("partner")
            rows.insert(0, rows[0] if partner is None else np.union1d(rows[0], partner.numpy()[rows[0]]))
        return draws, rows

    def change_rows(self, batch: Batch, scale: int) -> Batch:
        """Apply the augmentations by rows to a batch of the rows needed, or of all; this rank's part of it."""
        draws, rows = self.draw_rows(scale)
        have = np.arange(self.count) if self.whole else rows[0]
        for augment, drawn, wanted in zip(self.by_rows, draws, rows[1:], strict=True):
            mine = {name: value[wanted] if torch.is_tensor(value) else value for name, value in drawn.items()}
            if "partner" in mine:
                mine["partner"] = picked(batch, have, mine["partner"].numpy())
            batch, have = augment.change(picked(batch, have, wanted), mine), wanted
        return picked(batch, have, rows[-1])

    def rows(self, step: int) -> np.ndarray | None:
        """The rows of a step's batch that are to be cut; None for all."""
        if self.whole or len(self.part) == self.count:
            return None
        seed, scale = self.drawn(step)
        seed_torch(seed, self.device)
        return self.draw_rows(scale)[1][0]


def by_rows(augmentation: Any) -> bool:
    """Can it draw for a whole batch and change some rows of it?"""
    return hasattr(augmentation, "draw") and hasattr(augmentation, "change")


def picked(batch: Batch, have: np.ndarray, wanted: np.ndarray) -> Batch:
    """The rows `wanted` of a batch that holds the rows `have`, both numbers in the whole batch, `have` ascending."""
    if np.array_equal(have, wanted):
        return batch
    at = torch.from_numpy(np.searchsorted(have, wanted)).to(batch.lr.device)
    return Batch(batch.lr[at], batch.hr[at])
