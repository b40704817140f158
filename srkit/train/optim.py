"""Build optimizers, learning-rate schedules and gradient clipping.

A schedule is a pure function of the step, so a resumed run needs no state of it.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import nn

from srkit.errors import OptionError, one_line
from srkit.optim_options import MECHANICS, resolved_schedule, schedule
from srkit.train.sharding import is_split, whole

FUSED = ("adam", "adamw")  # which torch can step in one pass over each parameter


def make_optimizer(name: str, options: Mapping[str, Any], net: nn.Module, lr: float) -> torch.optim.Optimizer:
    """The optimizer over a network's parameters. OptionError where it refuses its options or is not installed.

    Adam and AdamW are fused on a CPU, unless the options say how they compute: it takes half the time.
    """
    from timm.optim import create_optimizer_v2

    given = {key: value for key, value in options.items() if value is not None}
    if name in FUSED and not given.keys() & set(MECHANICS) and can_be_fused(net):
        given["fused"] = True
    values: dict[str, Any] = {key: tuple(v) if isinstance(v, list) else v for key, v in given.items()}
    try:
        return create_optimizer_v2(net, opt=name, lr=lr, **values)
    except (TypeError, ValueError, AssertionError, RuntimeError, ImportError) as error:
        raise OptionError(f"optimizer '{name}' with {dict(options)}: {one_line(error)}") from None


def can_be_fused(net: nn.Module) -> bool:
    """Can a fused step on a CPU be right for it? It reads weight, gradient and moments in the order of memory.

    Gradients and moments have the strides of a weight that is dense, says torch of both, and others of any other.
    """

    def dense(p: nn.Parameter) -> bool:
        return p.is_contiguous() or (p.ndim == 4 and p.is_contiguous(memory_format=torch.channels_last))

    on_cpu = all(p.device.type == "cpu" and p.is_floating_point() and dense(p) for p in net.parameters())
    return on_cpu and not is_split(net)


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
    rates: Callable[[int], None] = scheduler.step_update
    return rates


def clipper(parameters: Sequence[nn.Parameter], limit: float, by: str) -> Callable[[float], torch.Tensor]:
    """clip(lr) -> the norm of the gradients before they were clipped, a scalar on their device.

    by: "norm", the norm of all at most `limit`; "value", each value within ±limit; "value/lr", each
    within ±limit/lr, the adjustable clipping of Kim et al. 2016 (VDSR), section 3.2. limit 0: none.
    """

    def clip(lr: float) -> torch.Tensor:
        gradients = [p.grad for p in parameters if p.grad is not None]
        norm = whole(nn.utils.get_total_norm(gradients))
        if limit and by == "norm":
            nn.utils.clip_grads_with_norm_(parameters, limit, norm)
        elif limit:
            nn.utils.clip_grad_value_(parameters, limit if by == "value" else limit / lr)
        return norm

    return clip
