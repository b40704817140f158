"""Augmentation of size: the pair shows its place from further away."""

from typing import Annotated, Any

import torch
from annotated_types import Ge, Gt, Le
from torch import Tensor

from srkit import Batch, imresize_torch
from srkit_builtin.by_rows import ByRows
from srkit_builtin.mixing import reduced


class Rescale(ByRows):
    """HR made smaller by a random factor, with antialiasing, and LR made again from it, both by MATLAB's bicubic.

    A patch that became smaller is continued by its mirror image and cut to the old shape at a random place.
    LR becomes the bicubic reduction of the new HR: not for photographed LR, and
    before `realistic`, not after it.
    """

    def __init__(
        self,
        *,
        smallest: Annotated[float, Gt(0), Le(1), "the smallest factor; the largest is 1"] = 0.5,
        p: Annotated[float, Ge(0), Le(1), "probability that a pair is rescaled"] = 0.5,
    ):
        super().__init__()
        self.smallest, self.p = smallest, p

    def draw(self, shape: torch.Size) -> dict[str, Any]:
        chosen = torch.rand(shape[0]) < self.p
        factors = self.smallest + (1 - self.smallest) * torch.rand(shape[0])
        return {"chosen": chosen, "factors": factors, "corners": torch.rand(shape[0], 2)}

    def change(self, batch: Batch, drawn: dict[str, Any]) -> Batch:
        chosen = drawn["chosen"].nonzero().flatten().tolist()
        factors, corners = drawn["factors"], drawn["corners"]
        lr, hr = batch.lr.clone(), batch.hr.clone()
        for i in chosen:
            size = [max(1, round(side * factors[i].item())) for side in hr.shape[-2:]]
            small = imresize_torch(batch.hr[i : i + 1], size=(size[0], size[1]))
            hr[i] = window(small, hr.shape[-2:], corners[i])[0].clamp(0, 1)
        if chosen:
            lr[chosen] = reduced(hr[chosen], lr.shape)
        return Batch(lr, hr)


def window(images: Tensor, size: torch.Size, corner: Tensor) -> Tensor:
    """`images` mirrored on and on, cut to `size`; corner: 2 numbers in [0, 1), as parts of the period."""
    for axis, length, place in zip((-2, -1), size, corner.tolist(), strict=True):
        side = images.shape[axis]
        at = (torch.arange(length) + int(place * 2 * side)) % (2 * side)  # each edge pixel twice, as MATLAB mirrors
        images = images.index_select(axis, torch.minimum(at, 2 * side - 1 - at).to(images.device))
    return images
