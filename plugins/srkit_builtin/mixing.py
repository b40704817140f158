"""Augmentations that mix: a pair with another pair of the batch, with a colour, or LR with a clean LR.

Source: Yoo, Ahn and Sohn, Rethinking Data Augmentation for Image Super-resolution, CVPR 2020, where one
of these (and the channels' order) is taken for each batch; its ratios are the defaults here. What the
paper draws once per batch is drawn for each pair.
"""

from typing import Annotated

import torch
from annotated_types import Ge, Gt, Le
from torch import Tensor, nn

from srkit import Batch, imresize_torch

P = Annotated[float, Ge(0), Le(1), "probability that a pair is changed"]


class Mixup(nn.Module):
    """v * pair + (1 - v) * another pair of the batch, v from Beta(alpha, alpha). One pair alone stays as it is."""

    def __init__(
        self,
        *,
        alpha: Annotated[float, Gt(0), "of the Beta distribution; below 1 most mixtures are faint"] = 1.2,
        p: P = 0.5,
    ):
        super().__init__()
        self.alpha, self.p = alpha, p

    def forward(self, batch: Batch) -> Batch:
        count = len(batch.lr)
        partner = torch.randperm(count)
        v = torch.distributions.Beta(self.alpha, self.alpha).sample((count, 1, 1, 1))
        v = torch.where(torch.rand(count, 1, 1, 1) < self.p, v, 1.0)
        return Batch(*(self.mix(images, partner, v) for images in (batch.lr, batch.hr)))

    @staticmethod
    def mix(images: Tensor, partner: Tensor, v: Tensor) -> Tensor:
        return torch.lerp(images[partner.to(images.device)], images, v.to(images))


class Blend(nn.Module):
    """v * pair + (1 - v) * one random colour, v uniform in [least, 1]."""

    def __init__(
        self,
        *,
        least: Annotated[float, Ge(0), Le(1), "the least that is kept of a pair"] = 0.6,
        p: P = 0.5,
    ):
        super().__init__()
        self.least, self.p = least, p

    def forward(self, batch: Batch) -> Batch:
        count = len(batch.lr)
        colour = torch.rand(count, 3, 1, 1)
        v = self.least + (1 - self.least) * torch.rand(count, 1, 1, 1)
        v = torch.where(torch.rand(count, 1, 1, 1) < self.p, v, 1.0)
        return Batch(*(torch.lerp(colour.to(images), images, v.to(images)) for images in (batch.lr, batch.hr)))


class CutMix(nn.Module):
    """A random rectangle of another pair of the batch laid over the pair, at the same place in LR and HR."""

    def __init__(
        self,
        *,
        ratio: Annotated[float, Gt(0), Le(1), "sides of the rectangle as a part of the patch's"] = 0.7,
        p: P = 0.5,
    ):
        super().__init__()
        self.ratio, self.p = ratio, p

    def forward(self, batch: Batch) -> Batch:
        partner = torch.randperm(len(batch.lr)).to(batch.lr.device)
        inside = rectangles(batch.lr, self.ratio, self.p)
        scale = batch.hr.shape[-1] // batch.lr.shape[-1]
        inside_hr = inside.repeat_interleave(scale, -1).repeat_interleave(scale, -2)
        return Batch(
            torch.where(inside, batch.lr[partner], batch.lr), torch.where(inside_hr, batch.hr[partner], batch.hr)
        )


class CutBlur(nn.Module):
    """In a random rectangle, or all around it, LR becomes HR made small by MATLAB's bicubic; HR stays.

    So an LR that is blurred, noisy or compressed is clean in a part, and a network learns where to restore
    and how much: set it after `realistic`, or use it on photographed LR. Where LR is the bicubic reduction
    of HR already there is nothing to learn: it stays as it is, but for the patch's edge.

    The paper pastes HR itself, which needs a network whose input has HR's size; this is its counterpart for
    networks whose input is LR.
    """

    def __init__(
        self,
        *,
        ratio: Annotated[float, Gt(0), Le(1), "sides of the rectangle as a part of the patch's"] = 0.7,
        p: P = 0.5,
    ):
        super().__init__()
        self.ratio, self.p = ratio, p

    def forward(self, batch: Batch) -> Batch:
        around = torch.rand(len(batch.lr), 1, 1, 1) < 0.5
        chosen = torch.rand(len(batch.lr), 1, 1, 1) < self.p
        clean = rectangles(batch.lr, self.ratio, 1.0) ^ around.to(batch.lr.device)
        clean &= chosen.to(batch.lr.device)
        return Batch(torch.where(clean, reduced(batch.hr, batch.lr.shape), batch.lr), batch.hr)


def rectangles(images: Tensor, ratio: float, p: float) -> Tensor:
    """B,1,H,W bool: true in a random rectangle of each of `images`, B,C,H,W, or with 1 - `p` nowhere."""
    count, _, *size = images.shape
    inside = torch.rand(count, 1, 1, 1) < p
    for axis, length in ((2, size[0]), (3, size[1])):
        side = max(1, int(length * ratio))
        start = torch.randint(length - side + 1, (count, 1, 1, 1))
        shape = [1, 1, 1, 1]
        shape[axis] = length
        at = torch.arange(length).reshape(shape)
        inside = inside & (at >= start) & (at < start + side)
    return inside.to(images.device)


def reduced(hr: Tensor, shape: torch.Size) -> Tensor:
    """LR of `shape` from `hr` by MATLAB's bicubic, in the 256 levels that a stored LR has."""
    small = imresize_torch(hr, size=(shape[-2], shape[-1]))
    return (255 * small).round().clamp(0, 255) / 255
