"""Augmentations that mix: a pair with another pair of the batch, with a colour, or LR with a clean LR.

Source: Yoo, Ahn and Sohn, Rethinking Data Augmentation for Image Super-resolution, CVPR 2020, where one
of these (and the channels' order) is taken for each batch; its ratios are the defaults here. What the
paper draws once per batch is drawn for each pair.
"""

from typing import Annotated, Any

import torch
from annotated_types import Ge, Gt, Le
from torch import Tensor

from srkit import Batch, imresize_torch
from srkit_builtin.by_rows import ByRows

P = Annotated[float, Ge(0), Le(1), "probability that a pair is changed"]


class Mixup(ByRows):
    """v * pair + (1 - v) * another pair of the batch, v from Beta(alpha, alpha). One pair alone stays as it is."""

    def __init__(
        self,
        *,
        alpha: Annotated[float, Gt(0), "of the Beta distribution; below 1 most mixtures are faint"] = 1.2,
        p: P = 0.5,
    ):
        super().__init__()
        self.alpha, self.p = alpha, p

    def draw(self, shape: torch.Size) -> dict[str, Any]:
        count = shape[0]
        partner = torch.randperm(count)
        v = torch.distributions.Beta(self.alpha, self.alpha).sample((count, 1, 1, 1))
        chosen = torch.rand(count, 1, 1, 1) < self.p
        return {"partner": partner_where(chosen, partner), "v": torch.where(chosen, v, 1.0)}

    def change(self, batch: Batch, drawn: dict[str, Any]) -> Batch:
        other, v = drawn["partner"], drawn["v"]
        return Batch(torch.lerp(other.lr, batch.lr, v.to(batch.lr)), torch.lerp(other.hr, batch.hr, v.to(batch.hr)))


class Blend(ByRows):
    """v * pair + (1 - v) * one random colour, v uniform in [least, 1]."""

    def __init__(
        self,
        *,
        least: Annotated[float, Ge(0), Le(1), "the least that is kept of a pair"] = 0.6,
        p: P = 0.5,
    ):
        super().__init__()
        self.least, self.p = least, p

    def draw(self, shape: torch.Size) -> dict[str, Any]:
        count = shape[0]
        colour = torch.rand(count, 3, 1, 1)
        v = self.least + (1 - self.least) * torch.rand(count, 1, 1, 1)
        return {"colour": colour, "v": torch.where(torch.rand(count, 1, 1, 1) < self.p, v, 1.0)}

    def change(self, batch: Batch, drawn: dict[str, Any]) -> Batch:
        colour, v = drawn["colour"], drawn["v"]
        return Batch(*(torch.lerp(colour.to(images), images, v.to(images)) for images in (batch.lr, batch.hr)))


class CutMix(ByRows):
    """A random rectangle of another pair of the batch laid over the pair, at the same place in LR and HR."""

    def __init__(
        self,
        *,
        ratio: Annotated[float, Gt(0), Le(1), "sides of the rectangle as a part of the patch's"] = 0.7,
        p: P = 0.5,
    ):
        super().__init__()
        self.ratio, self.p = ratio, p

    def draw(self, shape: torch.Size) -> dict[str, Any]:
        partner = torch.randperm(shape[0])
        inside = rectangles(shape, self.ratio, self.p)
        return {"partner": partner_where(inside.any(-1, keepdim=True).any(-2, keepdim=True), partner), "inside": inside}

    def change(self, batch: Batch, drawn: dict[str, Any]) -> Batch:
        other, inside = drawn["partner"], drawn["inside"].to(batch.lr.device)
        scale = batch.hr.shape[-1] // batch.lr.shape[-1]
        inside_hr = inside.repeat_interleave(scale, -1).repeat_interleave(scale, -2)
        return Batch(torch.where(inside, other.lr, batch.lr), torch.where(inside_hr, other.hr, batch.hr))


class CutBlur(ByRows):
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

    def draw(self, shape: torch.Size) -> dict[str, Any]:
        around = torch.rand(shape[0], 1, 1, 1) < 0.5
        chosen = torch.rand(shape[0], 1, 1, 1) < self.p
        return {"clean": (rectangles(shape, self.ratio, 1.0) ^ around) & chosen}

    def change(self, batch: Batch, drawn: dict[str, Any]) -> Batch:
        clean = drawn["clean"].to(batch.lr.device)
        return Batch(torch.where(clean, reduced(batch.hr, batch.lr.shape), batch.lr), batch.hr)


def partner_where(chosen: Tensor, partner: Tensor) -> Tensor:
    """B: the partner of each sample that is `chosen`, B,1,1,1 bool, and the sample itself of the others."""
    return torch.where(chosen.flatten(), partner, torch.arange(len(partner)))


def rectangles(shape: torch.Size, ratio: float, p: float) -> Tensor:
    """B,1,H,W bool for images of `shape`, B,C,H,W: true in a random rectangle of each, or with 1 - `p` nowhere."""
    count, _, *size = shape
    inside = torch.rand(count, 1, 1, 1) < p
    for axis, length in ((2, size[0]), (3, size[1])):
        side = max(1, int(length * ratio))
        start = torch.randint(length - side + 1, (count, 1, 1, 1))
        across = [1, 1, 1, 1]
        across[axis] = length
        at = torch.arange(length).reshape(across)
        inside = inside & (at >= start) & (at < start + side)
    return inside


def reduced(hr: Tensor, shape: torch.Size) -> Tensor:
    """LR of `shape` from `hr` by MATLAB's bicubic, in the 256 levels that a stored LR has."""
    small = imresize_torch(hr, size=(shape[-2], shape[-1]))
    return (255 * small).round().clamp(0, 255) / 255
