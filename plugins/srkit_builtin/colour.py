"""Augmentations of colour: jitter and the order of the channels, the same for both images of a pair."""

import math
from typing import Annotated, Any

import torch
from annotated_types import Ge, Le
from kornia import enhance
from torch import Tensor

from srkit import Batch
from srkit_builtin.by_rows import ByRows


class ColourJitter(ByRows):
    """Brightness, contrast, saturation and hue of a pair changed by random factors, in a random order.

    The four are those of torchvision's ColorJitter: factors uniform in [1 - x, 1 + x], the hue turned by a
    part of the circle uniform in [-x, x]. Every change is a function of the pixel alone, with the mean that
    contrast turns about taken over both images, so a colour that was equal in LR and HR stays equal.
    """

    def __init__(
        self,
        *,
        brightness: Annotated[float, Ge(0), Le(1), "largest change of the brightness factor from 1"] = 0.2,
        contrast: Annotated[float, Ge(0), Le(1), "largest change of the contrast factor from 1"] = 0.2,
        saturation: Annotated[float, Ge(0), Le(1), "largest change of the saturation factor from 1"] = 0.2,
        hue: Annotated[float, Ge(0), Le(0.5), "largest turn of the hue, as a part of the circle"] = 0.05,
        p: Annotated[float, Ge(0), Le(1), "probability that a pair is changed"] = 0.5,
    ):
        super().__init__()
        self.changes = [
            (enhance.adjust_brightness_accumulative, 1.0, brightness),
            (enhance.adjust_contrast_with_mean_subtraction, 1.0, contrast),
            (enhance.adjust_saturation_with_gray_subtraction, 1.0, saturation),
            (enhance.adjust_hue, 0.0, 2 * math.pi * hue),
        ]
        self.p = p

    def draw(self, shape: torch.Size) -> dict[str, Any]:
        chosen = torch.rand(shape[0], 1, 1, 1) < self.p
        factors = 2 * torch.rand(len(self.changes), shape[0]) - 1
        return {"chosen": chosen, "factors": factors.T, "order": torch.randperm(len(self.changes)).tolist()}

    def change(self, batch: Batch, drawn: dict[str, Any]) -> Batch:
        # One strip of pixels holds both images: kornia then takes one mean for the two.
        sizes = [images.shape[-2] * images.shape[-1] for images in (batch.lr, batch.hr)]
        before = torch.cat([images.flatten(2) for images in (batch.lr, batch.hr)], dim=2)[:, :, None]  # B,3,1,n
        after = before
        for i in drawn["order"]:
            adjust, centre, reach = self.changes[i]
            if reach:
                after = adjust(after, (centre + reach * drawn["factors"][:, i]).to(after))
        after = torch.where(drawn["chosen"].to(after.device), after.clamp(0, 1), before)
        lr, hr = after[:, :, 0].split(sizes, dim=2)
        return Batch(lr.reshape(batch.lr.shape), hr.reshape(batch.hr.shape))


class ChannelShuffle(ByRows):
    """Red, green and blue of a pair in a random one of their six orders. Source: "RGB permutation", Yoo et al. 2020."""

    def __init__(self, *, p: Annotated[float, Ge(0), Le(1), "probability that a pair is shuffled"] = 0.5):
        super().__init__()
        self.p = p

    def draw(self, shape: torch.Size) -> dict[str, Any]:
        orders = torch.rand(shape[0], 3).argsort(dim=1)
        return {"orders": torch.where(torch.rand(shape[0], 1) < self.p, orders, torch.arange(3))}

    def change(self, batch: Batch, drawn: dict[str, Any]) -> Batch:
        return Batch(self.reorder(batch.lr, drawn["orders"]), self.reorder(batch.hr, drawn["orders"]))

    @staticmethod
    def reorder(images: Tensor, orders: Tensor) -> Tensor:
        """images: B,3,H,W. orders: B,3, the channels wanted of each."""
        orders = orders.to(images.device)
        return images.gather(1, orders[:, :, None, None].expand_as(images))
