"""Augmentations of colour: jitter and the order of the channels, the same for both images of a pair."""

import math
from typing import Annotated

import torch
from annotated_types import Ge, Le
from kornia import enhance
from torch import Tensor, nn

from srkit import Batch


class ColourJitter(nn.Module):
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

    def forward(self, batch: Batch) -> Batch:
        count = len(batch.lr)
        chosen = torch.rand(count, 1, 1, 1) < self.p
        factors = 2 * torch.rand(len(self.changes), count) - 1
        order = torch.randperm(len(self.changes)).tolist()
        # One strip of pixels holds both images: kornia then takes one mean for the two.
        sizes = [images.shape[-2] * images.shape[-1] for images in (batch.lr, batch.hr)]
        before = torch.cat([images.flatten(2) for images in (batch.lr, batch.hr)], dim=2)[:, :, None]  # B,3,1,n
        after = before
        for i in order:
            adjust, centre, reach = self.changes[i]
            if reach:
                after = adjust(after, (centre + reach * factors[i]).to(after))
        after = torch.where(chosen.to(after.device), after.clamp(0, 1), before)
        lr, hr = after[:, :, 0].split(sizes, dim=2)
        return Batch(lr.reshape(batch.lr.shape), hr.reshape(batch.hr.shape))


class ChannelShuffle(nn.Module):
    """Red, green and blue of a pair in a random one of their six orders. Source: "RGB permutation", Yoo et al. 2020."""

    def __init__(self, *, p: Annotated[float, Ge(0), Le(1), "probability that a pair is shuffled"] = 0.5):
        super().__init__()
        self.p = p

    def forward(self, batch: Batch) -> Batch:
        count = len(batch.lr)
        orders = torch.rand(count, 3).argsort(dim=1)
        orders = torch.where(torch.rand(count, 1) < self.p, orders, torch.arange(3))
        return Batch(self.reorder(batch.lr, orders), self.reorder(batch.hr, orders))

    @staticmethod
    def reorder(images: Tensor, orders: Tensor) -> Tensor:
        """images: B,3,H,W. orders: B,3, the channels wanted of each."""
        orders = orders.to(images.device)
        return images.gather(1, orders[:, :, None, None].expand_as(images))
