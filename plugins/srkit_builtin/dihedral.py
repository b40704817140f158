"""The eight symmetries of a square patch, at random and bit-exact on both images of the pair."""

import torch
from kornia.geometry.transform import hflip, vflip
from torch import Tensor, nn

from srkit import Batch


class Dihedral(nn.Module):
    """Each patch flipped left-right, flipped top-bottom and transposed, each with probability one half."""

    def forward(self, batch: Batch) -> Batch:
        coins = torch.rand(3, len(batch.lr)) < 0.5
        kinds = coins[0] + 2 * coins[1] + 4 * coins[2]
        return Batch(*(self.turn(images, kinds) for images in (batch.lr, batch.hr)))

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
