"""Turn a Run into live objects: network, losses, optimizer, batches, validation pictures."""

from itertools import groupby

import torch

from srkit.data.sampler import Batches
from srkit.errors import UsageError
from srkit.evaluate.selection import labels_of
from srkit.nets import build_net
from srkit.plugins import Choice, Registry, check_scales
from srkit.run import Run
from srkit.train.distributed import World
from srkit.train.loop import Guard
from srkit.train.optim import clipper, make_schedule
from srkit.train.parts import (
    averaged,
    built_augmentations,
    built_criterion,
    built_degrader,
    built_metrics,
    built_optimizer,
    placed,
)
from srkit.train.pictures import is_apart, look_at, look_at_lr, lr_maker, open_training, open_validations
from srkit.train.recompute import recompute_blocks
from srkit.train.sharding import split
from srkit.train.trainee import Display, Trainee

BAD_IN_A_ROW = 10  # steps without a usable gradient, before the run steps back


def assemble(
    run: Run, registry: Registry, device: torch.device, display: Display, world: World, resident: str = "auto"
) -> Trainee:
    """Build all that a resolved run names. resident: where the pixels to train on are kept, as in `Sampler`.

    Raises UsageError for what does not fit together, PluginError for a plugin whose code fails, DataError and
    ImageError for bad pictures.
    """
    model = registry.choose("model", run.model.name, run.model.options)
    check_fits(run, model, world)
    check_losses(run)
    check_degradation(run, registry)
    labels = labels_of(run)
    metrics = [built_metrics(registry, part) for part in run.validation]

    torch.manual_seed(run.seed)  # what is built from here on may draw its first weights, in this order
    net = placed(build_net(model, run.scales), run, device, world)
    criterion = built_criterion(run, registry, device)
    augmentations = built_augmentations(run, registry, device)
    degrader = built_degrader(registry, run.degradation, device)
    late = [module for module, record in augmentations if degrader and record.changes == "lr"]
    average = averaged(net, run.ema)
    if world.shard:
        split([net, *([average.module] if average else [])], world.size, device)
    optimizer = built_optimizer(run, registry, net)
    if run.checkpoint:
        recompute_blocks(net, model.label)

    apart = is_apart(run, registry, world)
    samplers = open_training(run, registry, device, display, world, resident=resident, apart=apart)
    validation = open_validations(run, registry, display, world, zip(labels, run.validation, metrics, strict=True))
    batches = Batches(
        samplers,
        [(module, record.per_rank) for module, record in augmentations if module not in late],
        run.seed,
        rank=world.rank,
        size=world.size,
        apart=apart,
        degrader=degrader,
        late=late,
    )
    if world.main:
        look_at(run, samplers, validation, display)
        look_at_lr(run, batches, display)
    return Trainee(
        run=run,
        model=model,
        device=device,
        net=net,
        average=average,
        criterion=criterion,
        optimizer=optimizer,
        rates=make_schedule(run.schedule.name, run.schedule.options, optimizer, run.steps),
        clip=clipper([p for p in net.parameters() if p.requires_grad], run.clip, run.clip_by),
        guard=Guard(run.skip_above, BAD_IN_A_ROW, device),
        scaler=torch.amp.GradScaler(device.type, enabled=run.precision == "fp16"),
        batches=batches,
        pictures=len(samplers[run.scales[0]]),
        validation=validation,
        lr_maker=lr_maker(run, registry) if world.main else "",
    )


def check_fits(run: Run, model: Choice, world: World) -> None:
    """UsageError for a model that cannot be trained, or not at these scales, and for a batch that cannot be shared."""
    if not model.component.trainable:
        raise UsageError(f"'{model.label}' has no parameters to train")
    check_scales(model, run.scales)
    if run.patches % (run.accumulate * world.size):
        raise UsageError(
            f"batch = {run.patches} cannot be shared by {world.size} ranks in {run.accumulate} parts; "
            f"take a multiple of {run.accumulate * world.size}"
        )


def check_losses(run: Run) -> None:
    """UsageError where a loss is adaptive and there is nothing to measure it against, or no layer to measure it at."""
    adaptive = [part.name.rpartition(":")[2] for part in run.loss if part.adaptive]
    if adaptive and len(adaptive) == len(run.loss):
        raise UsageError(f"loss '{adaptive[0]}' is adaptive, by the pull of the other losses, and there is none")
    if adaptive and run.compile != "off":
        raise UsageError(f"loss '{adaptive[0]}' is adaptive, which needs --set compile=off")
    if run.checkpoint and run.compile != "off":
        raise UsageError("checkpoint = true is for a network that is not compiled: --set compile=off")


def check_degradation(run: Run, registry: Registry) -> None:
    """UsageError where two make LR of the same HR, and where validation is to be degraded by nothing."""
    words = [word for word, _ in groupby(part.shuffle for part in run.degradation) if word]
    if twice := [word for word in words if words.count(word) > 1]:
        raise UsageError(f"[[degradation]] of shuffle = '{twice[0]}' do not follow one another; put them together")
    if not run.degradation:
        if any(part.degraded for part in run.validation):
            raise UsageError("[validation] has degraded = true, but the run has no [[degradation]]")
        return
    for part in run.augmentation:
        if registry.find("augmentation", part.name).component.changes == "new lr":
            raise UsageError(
                f"augmentation '{part.name.rpartition(':')[2]}' makes LR anew, as [[degradation]] does; leave one out"
            )
