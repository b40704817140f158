"""Build the parts that a run names: losses, degradations, metrics, optimizer, average; each named where it fails."""

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import torch
from torch import nn

from srkit.data.degrade import Degrader, Step
from srkit.errors import PluginError, SrkitError, UsageError, one_line
from srkit.evaluate.score import Metrics
from srkit.evaluate.selection import Selection, selections_of
from srkit.nets import in_memory_format, out_of_memory
from srkit.plugins import Registry
from srkit.run import Part, Run, metrics_of
from srkit.train.asked import needed_by
from srkit.train.distributed import World
from srkit.train.loop import Criterion
from srkit.train.optim import make_optimizer
from srkit.train.trainee import averages, memory_format


@contextmanager
def naming_part(kind: str, part: Part) -> Iterator[None]:
    """Say which component it is whose code raises: its own errors by their type, any other as PluginError."""
    name = f"{kind} '{part.name.rpartition(':')[2]}'"
    try:
        yield
    except SrkitError as error:
        raise type(error)(f"{name}: {error}") from None
    except Exception as error:
        if out_of_memory(error):
            raise
        raise PluginError(f"{name}: {one_line(error)}") from error


def build_part(registry: Registry, kind: str, part: Part, *supplied: Any) -> Any:
    """Build a loss, augmentation, metric or tracker; PluginError, naming it, if its code fails."""
    choice = registry.choose(kind, part.name, part.options)
    try:
        return choice.build(*supplied)
    except SrkitError:
        raise
    except Exception as error:
        raise PluginError(f"{kind} '{choice.entry.qualified}' cannot be built: {one_line(error)}") from error


def built_criterion(run: Run, registry: Registry, device: torch.device) -> Criterion:
    """The run's losses on their device, each with what it asks for.

    UsageError where one wants the average of the weights and the run has none.
    """
    losses = []
    for part in run.loss:
        loss = build_part(registry, "loss", part)
        with naming_part("loss", part):
            if "average" in needed_by(loss) and not run.ema:
                raise UsageError("it compares with the average of the weights, and ema = 0 makes none; --set ema=0.999")
        losses.append(loss)
    names = [part.name.rpartition(":")[2] for part in run.loss]
    weights, adaptive = [part.weight for part in run.loss], [part.adaptive for part in run.loss]
    criterion = Criterion(losses, weights, names, adaptive=adaptive).to(device)
    for part, loss in zip(run.loss, losses, strict=True):
        if hasattr(loss, "prepare"):
            with naming_part("loss", part):
                loss.prepare(run.scales, device)
    return criterion


def built_augmentations(run: Run, registry: Registry, device: torch.device) -> list[tuple[Any, Any]]:
    """The run's augmentations on their device, each with its record."""
    return [
        (build_part(registry, "augmentation", part).to(device), registry.find("augmentation", part.name).component)
        for part in run.augmentation
    ]


def built_degrader(registry: Registry, parts: Sequence[Part], device: torch.device) -> Degrader | None:
    """What makes LR of HR by a run's [[degradation]]; None where there is none."""
    steps = []
    for part in parts:
        degrade = build_part(registry, "degradation", part)
        degrade = degrade.to(device) if isinstance(degrade, nn.Module) else degrade
        name = part.name.rpartition(":")[2]
        steps.append(Step(name, degrade, prob=part.prob, shuffle=part.shuffle, last=part.last))
    return Degrader(steps) if steps else None


def told_degradation(registry: Registry, parts: Sequence[Part]) -> str:
    """All that decides what a list of degradations makes, as text."""
    choices = [(part, registry.choose("degradation", part.name, part.options)) for part in parts]
    tables = [replace(part, name=each.entry.qualified, options=each.options).table() for part, each in choices]
    return json.dumps([tables, [each.entry.version for _, each in choices]], default=str)


def built_metrics(registry: Registry, part: Part) -> tuple[tuple[Selection, ...], Metrics]:
    """What a [validation] is scored by."""
    selections = selections_of(part, registry)
    built = [build_part(registry, "metric", metric) for metric in metrics_of(part)]
    return selections, {selection.metric: metric for selection, metric in zip(selections, built, strict=True)}


def built_optimizer(run: Run, registry: Registry, net: nn.Module) -> torch.optim.Optimizer:
    """The optimizer of a resolved run, ready to step. UsageError where it averages the weights and the run does too."""
    part = run.optimizer
    if ":" not in part.name:
        return make_optimizer(part.name, part.options, net, run.lr)
    built: Any = build_part(registry, "optimizer", part, [p for p in net.parameters() if p.requires_grad], run.lr)
    if averages(built):
        if run.ema:
            raise UsageError(f"optimizer '{part.name}' averages the weights itself; --set ema=0")
        built.train()
    if not isinstance(built, torch.optim.Optimizer):
        raise PluginError(f"optimizer '{part.name}' is a {type(built).__name__}, not a torch.optim.Optimizer")
    return built


def averaged(net: nn.Module, decay: float) -> Any:
    """timm's moving average of the weights, or None without a decay.

    Its decay grows with the step up to `decay`, so that the random first weights are soon forgotten.
    """
    if not decay:
        return None
    from timm.utils import ModelEmaV3

    # Without buffers to average, those of parameters need not be looked up by name in each step.
    buffers = any(buffer.is_floating_point() for buffer in net.buffers())
    try:
        return ModelEmaV3(net, decay=decay, use_warmup=True, exclude_buffers=not buffers)
    except RuntimeError as error:  # of torch's older weight_norm, for one
        if out_of_memory(error):
            raise
        why = f"the network cannot be copied ({one_line(error)})"
        raise UsageError(f"no average of these weights: {why}; --set ema=0") from None


def placed(net: nn.Module, run: Run, device: torch.device, world: World) -> nn.Module:
    """The network on its device, in its memory format; left where it is if it is to be split, which `split` does."""
    return net if world.shard else in_memory_format(net.to(device), memory_format(run))
