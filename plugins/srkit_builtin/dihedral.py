"""The eight symmetries of a square patch, at random and bit-exact on both images of the pair."""

from typing import Any

import torch
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
        count, channels, side, _ = images.shape
        forwards = torch.arange(side)
        across, down, transposed = ((kinds & kind > 0)[:, None] for kind in (1, 2, 4))
        column = torch.where(across, side - 1 - forwards, forwards)  # B,N: of the pixel that comes to each column
        row = torch.where(down, side - 1 - forwards, forwards) * side + torch.arange(count)[:, None] * side * side
        vertical, horizontal = torch.where(transposed, column, row), torch.where(transposed, row, column)
        source = vertical.to(images.device)[:, :, None] + horizontal.to(images.device)[:, None]  # B,N,N
        pixels = images.permute(0, 2, 3, 1).reshape(count * side * side, channels).index_select(0, source.flatten())
        return pixels.view(count, side, side, channels).permute(0, 3, 1, 2)
