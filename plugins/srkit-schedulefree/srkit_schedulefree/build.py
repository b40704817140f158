"""The optimizers of Meta's package `schedulefree`, with their options declared.

Each trains at y, between the steps z and their average x: y = (1 - beta) z + beta x. x is what is scored and saved.
Source: Defazio et al., The Road Less Scheduled, NeurIPS 2024.
"""

from collections.abc import Iterable
from typing import Annotated

from annotated_types import Ge, Gt, Lt
from schedulefree import AdamWScheduleFree, RAdamScheduleFree, SGDScheduleFree
from torch import nn

Beta = Annotated[float, Gt(0), Lt(1)]  # 0 would have no way back from the average
Betas = Annotated[tuple[Beta, Beta], "how far it trains towards the average, and the decay of the squared gradients"]
Decay = Annotated[float, Ge(0), "weight decay, at the weights that are trained"]
Eps = Annotated[float, Gt(0), "added to the root of the squared gradients"]
Warmup = Annotated[int, Ge(0), "steps of linear warm-up"]
Power = Annotated[float, Ge(0), "a step weighs as much in the average as its number to this power; 0: all alike"]
RatePower = Annotated[float, Ge(0), "and as the largest learning rate so far to this power"]


def adamw(
    parameters: Iterable[nn.Parameter],
    lr: float,
    *,
    betas: Betas = (0.9, 0.999),
    eps: Eps = 1e-8,
    weight_decay: Decay = 0.0,
    warmup_steps: Warmup = 0,
    r: Power = 0.0,
    weight_lr_power: RatePower = 2.0,
) -> AdamWScheduleFree:
    return AdamWScheduleFree(
        parameters,
        lr,
        betas=betas,
        eps=eps,
        weight_decay=weight_decay,
        warmup_steps=warmup_steps,
        r=r,
        weight_lr_power=weight_lr_power,
    )


def radam(
    parameters: Iterable[nn.Parameter],
    lr: float,
    *,
    betas: Betas = (0.9, 0.999),
    eps: Eps = 1e-8,
    weight_decay: Decay = 0.0,
    r: Power = 0.0,
    weight_lr_power: RatePower = 2.0,
) -> RAdamScheduleFree:
    return RAdamScheduleFree(
        parameters, lr, betas=betas, eps=eps, weight_decay=weight_decay, r=r, weight_lr_power=weight_lr_power
    )


def sgd(
    parameters: Iterable[nn.Parameter],
    lr: float,
    *,
    momentum: Annotated[float, Gt(0), Lt(1), "how far it trains towards the average"] = 0.9,
    weight_decay: Decay = 0.0,
    warmup_steps: Warmup = 0,
    r: Power = 0.0,
    weight_lr_power: RatePower = 2.0,
) -> SGDScheduleFree:
    return SGDScheduleFree(
        parameters,
        lr,
        momentum=momentum,
        weight_decay=weight_decay,
        warmup_steps=warmup_steps,
        r=r,
        weight_lr_power=weight_lr_power,
    )
