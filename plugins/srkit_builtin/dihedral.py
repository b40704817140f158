"""The eight symmetries of a square patch, at random and bit-exact on both images of the pair."""

import torch
from kornia.geometry.transform import hflip, vflip
from torch import Tensor, nn

from srkit import Batch


class Dihedral(nn.Module):
    """Each patch flipped left-right, flipped top-bottom and transposed, each with probability one half."""

    def forward(self, batch: Batch) -> Batch:
        coins = torch.rand(3, len(batch.lr), 1, 1, 1) < 0.5
        return Batch(*(self.turn(images, coins.to(images.device)) for images in (batch.lr, batch.hr)))

    @staticmethod
    def turn(images: Tensor, coins: Tensor) -> Tensor:
        """images: B,C,N,N. coins: 3,B,1,1,1 bool, which of the three to do to each."""
        images = torch.where(coins[0], hflip(images), images)
        images = torch.where(coins[1], vflip(images), images)
        return torch.where(coins[2], images.mT, images)
