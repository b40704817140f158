"""The eight symmetries of a square patch, at random and bit-exact on both images of the pair."""

from typing import Any

import torch
from kornia.geometry.transform import hflip, vflip
from torch import Tensor

from srkit import Batch
from srkit_builtin.by_rows import ByRows


class Dihedral(ByRows):
    """Each patch flipped left-right, flipped top-bottom and transposed, each with probability one half."""

    def draw(self, shape: torch.Size) -> dict[str, Any]:
        coins = torch.rand(3, shape[0]) < 0.5
        return {"kinds": coins[0] + 2 * coins[1] + 4 * coins[2]}

    def change(self, batch: Batch, drawn: dict[str, Any]) -> Batch:
        return Batch(*(self.turn(images, drawn["kinds"]) for images in (batch.lr, batch.hr)))

    @staticmethod
    def turn(images: Tensor, kinds: Tensor) -> Tensor:
        """images: B,C,N,N. kinds: B, 1 to flip left-right, 2 to flip top-bottom and 4 to transpose, added up."""
        turned = torch.empty_like(images)
        # Those of a kind together: each pixel is moved once.
        groups = kinds.argsort().to(images.device).split(kinds.bincount(minlength=8).tolist())
        for kind, members in enumerate(groups):
            if len(members):
                some = images[members]
                some = hflip(some) if kind & 1 else some
                some = vflip(some) if kind & 2 else some
                turned[members] = some.mT if kind & 4 else some
        return turned
