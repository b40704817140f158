"""What augmentations share that draw for a whole batch and can change any rows of it."""

from typing import Any

import torch
from torch import nn

from srkit import Batch


class ByRows(nn.Module):
    """`draw` gives the random numbers of a whole batch, `change` applies those of some rows to these rows.

    The contract is that of `Augmentation`; called with a whole batch, such a module is any other augmentation.
    """

    def draw(self, shape: torch.Size) -> dict[str, Any]:
        """shape: of LR, B,3,h,w. Tensors have a row for each sample; a `partner` is the number of another sample."""
        raise NotImplementedError

    def change(self, batch: Batch, drawn: dict[str, Any]) -> Batch:
        """batch: some rows; drawn: theirs, with the partners' pixels, a Batch, as `partner`."""
        raise NotImplementedError

    def forward(self, batch: Batch) -> Batch:
        drawn = self.draw(batch.lr.shape)
        if "partner" in drawn:
            at = drawn["partner"].to(batch.lr.device)
            drawn["partner"] = Batch(batch.lr[at], batch.hr[at])
        return self.change(batch, drawn)
