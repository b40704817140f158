"""Which optimizer a run means, and the options of timm's optimizers and learning-rate schedules, by timm's names.

An optimizer's options are those of its class (`betas`, `eps`, `weight_decay`, ...). A schedule's lengths are
counted in optimizer steps throughout.
"""

import inspect
from collections.abc import Mapping
from functools import partial
from types import NoneType
from typing import Annotated, Any, Literal

from annotated_types import Ge, Gt, Len

from srkit.errors import OptionError, UnknownName, did_you_mean
from srkit.options import Option, check, options_of
from srkit.plugins import Registry

SUPPLIED = ("params", "lr")
#: how an optimizer computes, not what: nothing that belongs into a run's file unless the user put it there
MECHANICS = ("foreach", "fused", "capturable", "differentiable", "maximize", "caution")
#: the types of defaults that a run file can hold; an option of another, a dtype, stays what it is
IN_A_FILE = (bool, int, float, str, list, NoneType)
Steps = Annotated[int, Ge(0)]


def timms() -> list[str]:
    """The names of timm's optimizers."""
    from timm.optim import list_optimizers

    return [str(each) for each in list_optimizers()]


def chosen_optimizer(registry: Registry, name: str, options: Mapping[str, Any]) -> tuple[str, dict[str, Any]]:
    """(name, options) as a run keeps them: timm's by its bare name, which no plugin takes, or a plugin's, qualified.

    UnknownName, with the nearest of both, and OptionError.
    """
    if name in timms():
        return name, resolved_optimizer(name, options)
    offered = [word for entry in registry.of("optimizer") for word in (entry.component.name, entry.qualified)]
    if name not in offered:
        raise UnknownName(f"no optimizer called '{name}'{did_you_mean(name, [*timms(), *offered])}")
    choice = registry.choose("optimizer", name, options)
    return choice.entry.qualified, choice.options


def optimizer_options(name: str) -> dict[str, Option]:
    """What an optimizer of timm's can be given, off its class. UnknownName if timm has none of that name."""
    from timm.optim import create_optimizer_v2, get_optimizer_class, get_optimizer_info

    known = timms()
    if name not in known:
        raise UnknownName(f"no optimizer called '{name}'{did_you_mean(name, known)}")
    try:
        bound = get_optimizer_class(name)
    except (AssertionError, ImportError) as error:  # CUDA, apex, bitsandbytes
        raise OptionError(f"optimizer '{name}' cannot be used here: {error}") from None
    fixed = bound.keywords if isinstance(bound, partial) else {}
    signature = inspect.signature(get_optimizer_class(name, bind_defaults=False))
    options = {}
    for key, parameter in signature.parameters.items():
        if key in SUPPLIED or parameter.kind in (parameter.VAR_KEYWORD, parameter.VAR_POSITIONAL):
            continue
        default = fixed.get(key, parameter.default)
        if key == "momentum" and get_optimizer_info(name).has_momentum:  # what the factory gives all of them
            default = inspect.signature(create_optimizer_v2).parameters["momentum"].default
        default = list(default) if isinstance(default, tuple) else default
        if isinstance(default, IN_A_FILE):
            options[key] = Option(key, annotation_of(default, parameter.annotation), default)
    return options


def annotation_of(default: Any, annotation: Any = Any) -> Any:
    """A checkable type from a default, since annotations of optimizers are many and loose; but whole numbers are."""
    if default is None:
        return bool | float | str | list[float] | None
    if isinstance(default, bool | str):
        return type(default)
    if isinstance(default, int | float):
        whole: Any = int if annotation in (int, "int") else int | float
        number = whole if isinstance(default, int) and annotation not in (float, "float") else float
        return Annotated[number, Ge(0)] if default >= 0 else number
    # As many as by default: an optimizer reads each by its place.
    each = Annotated[float, Ge(0)]
    return Annotated[list[each | None if None in default else each], Len(len(default), len(default))]  # type: ignore[misc]


def resolved_optimizer(name: str, options: Mapping[str, Any]) -> dict[str, Any]:
    """Every option that decides the outcome, with its value. UnknownName and OptionError as for a component."""
    declared = optimizer_options(name)
    values = check(f"optimizer '{name}'", declared, options)
    return {key: value for key, value in values.items() if key in options or key not in MECHANICS}


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
        "decay_rate": decay_rate,
        "min_lr": min_lr,
        "warmup_epochs": warmup,
        "warmup_lr": warmup_lr,
        "decay_epochs": {"step": decay_every, "share": decay_share},
    }


def resolved_schedule(name: str, options: Mapping[str, Any]) -> dict[str, Any]:
    """Every option with its value. UnknownName and OptionError as for a component."""
    known = Name.__args__  # type: ignore[attr-defined]
    if name not in known:
        raise UnknownName(f"no schedule called '{name}'{did_you_mean(name, known)}")
    return check(f"schedule '{name}'", options_of(schedule), options)
