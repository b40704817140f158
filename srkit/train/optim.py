"""Optimizers and learning-rate schedules, by timm's names.

An optimizer's options are those of its class (`betas`, `eps`, `weight_decay`, ...). A schedule is a
pure function of the step, counted in steps throughout, so a resumed run needs no state of it.
"""

import inspect
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Annotated, Any, Literal

import torch
from annotated_types import Ge, Gt
from torch import nn

from srkit.errors import OptionError, UnknownName, did_you_mean, one_line
from srkit.options import Option, check, options_of

SUPPLIED = ("params", "lr")
#: how an optimizer computes, not what: nothing that belongs into a run's file unless the user put it there
MECHANICS = ("foreach", "fused", "capturable", "differentiable", "maximize", "caution")

Steps = Annotated[int, Ge(0)]


def optimizer_options(name: str) -> dict[str, Option]:
    """What an optimizer of timm's can be given, off its class. UnknownName if timm has none of that name."""
    from timm.optim import get_optimizer_class, list_optimizers

    known = [str(each) for each in list_optimizers()]
    if name not in known:
        raise UnknownName(f"no optimizer called '{name}'{did_you_mean(name, known)}")
    bound = get_optimizer_class(name)
    fixed = bound.keywords if isinstance(bound, partial) else {}
    signature = inspect.signature(get_optimizer_class(name, bind_defaults=False))
    options = {}
    for key, parameter in signature.parameters.items():
        if key in SUPPLIED or parameter.kind in (parameter.VAR_KEYWORD, parameter.VAR_POSITIONAL):
            continue
        default = fixed.get(key, parameter.default)
        default = list(default) if isinstance(default, tuple) else default
        options[key] = Option(key, annotation_of(default), default)
    return options


def annotation_of(default: Any) -> Any:
    """A checkable type from a default, since annotations of optimizers are many and loose."""
    if isinstance(default, bool) or default is None:
        return bool | None if default is None else bool
    if isinstance(default, int | float):
        return Annotated[float, Ge(0)]
    return list[Annotated[float, Ge(0)]] if isinstance(default, list) else Any


def resolved_optimizer(name: str, options: Mapping[str, Any]) -> dict[str, Any]:
    """Every option that decides the outcome, with its value. UnknownName and OptionError as for a component."""
    declared = optimizer_options(name)
    values = check(f"optimizer '{name}'", declared, options)
    return {key: value for key, value in values.items() if key in options or key not in MECHANICS}


def make_optimizer(name: str, options: Mapping[str, Any], net: nn.Module, lr: float) -> torch.optim.Optimizer:
    """The optimizer over a network's parameters. OptionError where it refuses its options or is not installed."""
    from timm.optim import create_optimizer_v2

    given = {key: value for key, value in options.items() if value is not None}
    values: dict[str, Any] = {key: tuple(v) if isinstance(v, list) else v for key, v in given.items()}
    try:
        return create_optimizer_v2(net, opt=name, lr=lr, **values)
    except (TypeError, ValueError, AssertionError, RuntimeError, ImportError) as error:
        raise OptionError(f"optimizer '{name}' with {dict(options)}: {one_line(error)}") from None


Name = Literal["step", "multistep", "cosine", "tanh", "poly", "wsd", "rsqrt", "constant"]


def schedule(
    *,
    decay_every: Annotated[int, Gt(0), "step: steps after which the rate decays, again and again"] = 200_000,
    milestones: Annotated[list[Steps], "multistep: the steps at which it decays"] = [],  # noqa: B006 - only read
    decay_rate: Annotated[float, Gt(0), "step, multistep: factor of each decay; poly: the power"] = 0.5,
    decay_share: Annotated[float, Gt(0), "wsd, rsqrt: share of the steps that decay, at the end"] = 0.2,
    min_lr: Annotated[float, Ge(0), "cosine, tanh, poly, wsd, rsqrt: where it ends"] = 0.0,
    warmup: Annotated[int, Ge(0), "steps of linear warm-up at the beginning"] = 0,
    warmup_lr: Annotated[float, Ge(0), "learning rate at step 0 of a warm-up"] = 1e-6,
) -> dict[str, Any]:
    """What timm's factory calls them: there an epoch, here a step."""
    return {
        "decay_milestones": [step + 1 for step in milestones],  # timm decays one early
        "decay_rate": decay_rate, "min_lr": min_lr, "warmup_epochs": warmup,
        "warmup_lr": warmup_lr, "decay_epochs": {"step": decay_every, "share": decay_share},
    }  # fmt: skip


def resolved_schedule(name: str, options: Mapping[str, Any]) -> dict[str, Any]:
    """Every option with its value. UnknownName and OptionError as for a component."""
    known = Name.__args__  # type: ignore[attr-defined]
    if name not in known:
        raise UnknownName(f"no schedule called '{name}'{did_you_mean(name, known)}")
    return check(f"schedule '{name}'", options_of(schedule), options)


def make_schedule(
    name: str, options: Mapping[str, Any], optimizer: torch.optim.Optimizer, steps: int
) -> Callable[[int], None]:
    """rates(step) sets the learning rate of every group for `step`, counted from 0, of `steps`."""
    from timm.scheduler import create_scheduler_v2

    words = schedule(**resolved_schedule(name, options))
    words["decay_epochs"] = words["decay_epochs"]["share" if name in ("wsd", "rsqrt") else "step"]
    try:
        scheduler, _ = create_scheduler_v2(
            optimizer, sched=name, num_epochs=steps, step_on_epochs=False, updates_per_epoch=1, **words
        )
    except ValueError as error:
        raise OptionError(f"schedule '{name}' over {steps} steps: {one_line(error)}") from None
    return scheduler.step_update


def clipper(parameters: Sequence[nn.Parameter], limit: float, by: str) -> Callable[[float], torch.Tensor]:
    """clip(lr) -> the norm of the gradients before they were clipped, a scalar on their device.

    by: "norm", the norm of all at most `limit`; "value", each value within ±limit; "value/lr", each
    within ±limit/lr, the adjustable clipping of Kim et al. 2016 (VDSR), section 3.2. limit 0: none.
    """

    def clip(lr: float) -> torch.Tensor:
        gradients = [p.grad for p in parameters if p.grad is not None]
        norm = nn.utils.get_total_norm(gradients)
        if limit and by == "norm":
            nn.utils.clip_grads_with_norm_(parameters, limit, norm)
        elif limit:
            nn.utils.clip_grad_value_(parameters, limit if by == "value" else limit / lr)
        return norm

    return clip
