"""Cut training patches: those of step k are a pure function of (seed, k), so any run can be resumed exactly."""

import numpy as np
import torch

from srkit.components import Batch
from srkit.data.store import Store
from srkit.errors import DataError

RESIDENT_SHARE = 0.5  # of the accelerator's free memory that the pixels may take


class Sampler:
    """sampler(step) -> Batch of `batch` aligned patches on `device`, float in [0, 1], NCHW in channels_last strides.

    patch: side of an LR patch. Each patch comes from a picture drawn uniformly, at a place drawn
    uniformly. Pixels are gathered on the device when they fit there, else from the memory map.
    Pictures smaller than a patch are left out (`left_out` names them); DataError if that leaves none.
    """

    def __init__(self, store: Store, *, scale: int, batch: int, patch: int, seed: int, device: torch.device):
        usable = store.lr[:, 1:].min(axis=1) >= patch
        self.left_out = [name for name, ok in zip(store.names, usable, strict=True) if not ok]
        if not usable.any():
            side = patch * scale
            raise DataError(f"every picture is smaller than a patch of {side}x{side} pixels; lower 'patch' ({patch})")
        self.lr, self.hr = store.lr[usable], store.hr[usable]
        self.scale, self.batch, self.patch, self.seed, self.device = scale, batch, patch, seed, device
        pixels = torch.from_numpy(store.pixels)
        self.pixels = pixels.to(device) if fits(pixels, device) else pixels

    def __call__(self, step: int) -> Batch:
        rng = np.random.default_rng([self.seed, step, self.scale])
        picked = rng.integers(len(self.lr), size=self.batch)
        corner = (rng.random((self.batch, 2)) * (self.lr[picked, 1:] - self.patch + 1)).astype(np.int64)
        return Batch(
            self.cut(self.lr[picked], corner, self.patch),
            self.cut(self.hr[picked], corner * self.scale, self.patch * self.scale),
        )

    def cut(self, places: np.ndarray, corners: np.ndarray, side: int) -> torch.Tensor:
        """places: B,3 offset, height, width. corners: B,2 top, left. -> B,3,side,side"""
        starts = places[:, 0] + corners[:, 0] * places[:, 2] + corners[:, 1]
        where = self.pixels.device
        start, width = (torch.from_numpy(a).to(where)[:, None, None] for a in (starts, places[:, 2]))
        side_range = torch.arange(side, device=where)
        index = start + side_range[:, None] * width + side_range  # B,side,side
        patches = self.pixels[index].permute(0, 3, 1, 2)
        if where != self.device:
            patches = patches.pin_memory() if self.device.type == "cuda" else patches
            patches = patches.to(self.device, non_blocking=True)
        return patches.float().div_(255)


def fits(pixels: torch.Tensor, device: torch.device) -> bool:
    return device.type == "cuda" and pixels.nbytes < RESIDENT_SHARE * torch.cuda.mem_get_info(device)[0]
