"""Turn a Run into live objects: network, losses, optimizer, batches, validation pictures."""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from itertools import groupby
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from srkit import defaults
from srkit.components import PairSequence
from srkit.data.check import quick_check
from srkit.data.degrade import Degraded, Degrader, Step
from srkit.data.maker import MAKERS, looked_at, made_by, set_made_by
from srkit.data.pairs import described, few, open_dataset
from srkit.data.sampler import Batches, Sampler
from srkit.data.shards import Shards
from srkit.data.store import Store, packed
from srkit.errors import DataError, PluginError, SrkitError, UsageError, one_line
from srkit.evaluate import protocol as protocols
from srkit.evaluate.score import Metrics
from srkit.evaluate.selection import Selection, labels_of, selections_of
from srkit.nets import build_net, in_memory_format, out_of_memory
from srkit.plugins import Choice, Registry, check_scales
from srkit.progress import MB
from srkit.run import Part, Run, metrics_of
from srkit.train.asked import needed_by
from srkit.train.distributed import World
from srkit.train.loop import Criterion, Guard
from srkit.train.optim import clipper, make_optimizer, make_schedule
from srkit.train.recompute import recompute_blocks
from srkit.train.sharding import is_split, split, whole

FIRST_STEPS = 8  # whose LR is looked at, before anything is trained
VALIDATION_SEED = 0  # of its degradation: runs of any seed are scored on the same pictures
BAD_IN_A_ROW = 10  # steps without a usable gradient, before the run steps back


class Display(Protocol):
    """How a session speaks to whoever watches. score: of the latest validation, `PSNR 30.12 dB`; empty before it."""

    def say(self, text: str) -> None: ...
    def packing(self, what: str, done: int, total: int) -> None: ...
    def training(self, step: int) -> None: ...  # the loop begins, with `step` steps done
    def progress(self, step: int, loss: float, score: str) -> None: ...


@dataclass(frozen=True)
class Trainee:
    """A run as live objects, before its first step; nothing of it is written yet.

    Attributes:
        net: on its device, in its memory format.
        average: timm's moving average of the weights, or None.
        rates: rates(step) sets the learning rates of the schedule.
        clip: clip(lr) clips the gradients, and gives the norm they had.
        guard: which steps to trust.
        batches: batches(step) gives the scale drawn, and this rank's part of the batch.
        pictures: how many there are to train on at the first scale.
        validation: the sets that are scored, of which the first one chooses `best`.
        lr_maker: what made the LR that is trained on; empty where it is unknown.
    """

    run: Run
    model: Choice
    device: torch.device
    net: nn.Module
    average: Any
    criterion: Criterion
    optimizer: torch.optim.Optimizer
    rates: Callable[[int], None]
    clip: Callable[[float], Tensor]
    guard: Guard
    scaler: torch.amp.GradScaler
    batches: Batches
    pictures: int
    validation: Sequence["ValidationSet"]
    lr_maker: str = ""

    @property
    def selection(self) -> Selection:
        """What `best` is chosen by."""
        return self.validation[0].selections[0]

    @property
    def scored(self) -> nn.Module:
        """The network that is validated and saved, within `averaged`: the average where there is one."""
        return self.net if self.average is None else self.average.module

    @property
    def memory_format(self) -> torch.memory_format:
        return memory_format(self.run)

    def parts(self) -> dict[str, Any]:
        """What a training state holds, by name."""
        parts: dict[str, Any] = {"net": self.net, "optimizer": self.optimizer, "guard": self.guard}
        if self.average is not None:
            parts["ema"] = self.average.module
        if self.scaler.is_enabled():
            parts["scaler"] = self.scaler
        losses = enumerate(self.criterion.losses)
        return parts | {f"loss{i}": loss for i, loss in losses if hasattr(loss, "state_dict")}

    @contextmanager
    def scoring(self) -> Iterator[nn.Module]:
        """Inside, the network that is validated: `scored`, of which each rank has the whole for as long."""
        with self.averaged():
            if not is_split(self.scored):
                yield self.scored
                return
            net = build_net(self.model, self.run.scales, self.device)
            net.load_state_dict({name: whole(tensor) for name, tensor in self.scored.state_dict().items()})
            yield net

    @contextmanager
    def averaged(self) -> Iterator[None]:
        """Inside, `scored` has the weights of an optimizer that averages them itself.

        It goes there and back by arithmetic, which rounds: the weights it had are put back as they were, so that a
        training is the same whenever it is scored or saved.
        """
        if not averages(self.optimizer):
            yield
            return
        trained = [(parameter, parameter.detach().clone()) for parameter in self.net.parameters()]
        optimizer: Any = self.optimizer
        optimizer.eval()
        try:
            yield
        finally:
            optimizer.train()
            with torch.no_grad():
                for parameter, before in trained:
                    parameter.copy_(before)

    def learned(self, step: int) -> None:
        """The weights have changed in `step`; so does their average."""
        if self.average is not None:
            self.average.update(self.net, step)


@dataclass(frozen=True)
class ValidationSet:
    """Pictures that are scored while training. stores: packed, by scale. metrics: by name, one for each selection."""

    label: str
    part: Part
    stores: Mapping[int, Store]
    selections: Sequence[Selection]
    metrics: Metrics


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
    augmentations = [
        (build_part(registry, "augmentation", part).to(device), registry.find("augmentation", part.name).component)
        for part in run.augmentation
    ]
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
    validation = [
        ValidationSet(label, part, open_validation(run, registry, part, display, world, chosen[0]), chosen, built)
        for label, part, (chosen, built) in zip(labels, run.validation, metrics, strict=True)
    ]
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


def placed(net: nn.Module, run: Run, device: torch.device, world: World) -> nn.Module:
    """The network on its device, in its memory format; left where it is if it is to be split, which `split` does."""
    return net if world.shard else in_memory_format(net.to(device), memory_format(run))


def memory_format(run: Run) -> torch.memory_format:
    return torch.channels_last if run.channels_last else torch.contiguous_format


def averaged(net: nn.Module, decay: float) -> Any:
    """timm's moving average of the weights, or None without a decay.

    Its decay grows with the step up to `decay`, so that the random first weights are soon forgotten.
    """
    if not decay:
        return None
    from timm.utils import ModelEmaV3

    try:
        return ModelEmaV3(net, decay=decay, use_warmup=True)
    except RuntimeError as error:  # of torch's older weight_norm, for one
        if out_of_memory(error):
            raise
        why = f"the network cannot be copied ({one_line(error)})"
        raise UsageError(f"no average of these weights: {why}; --set ema=0") from None


def build_part(registry: Registry, kind: str, part: Part, *supplied: Any) -> Any:
    """Build a loss, augmentation, metric or tracker; PluginError, naming it, if its code fails."""
    choice = registry.choose(kind, part.name, part.options)
    try:
        return choice.build(*supplied)
    except SrkitError:
        raise
    except Exception as error:
        raise PluginError(f"{kind} '{choice.entry.qualified}' cannot be built: {one_line(error)}") from error


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


def averages(optimizer: Any) -> bool:
    """Does it average the weights itself, as `srkit.Optimizer` says?"""
    return hasattr(optimizer, "eval") and hasattr(optimizer, "train")


def built_metrics(registry: Registry, part: Part) -> tuple[tuple[Selection, ...], Metrics]:
    """What a [validation] is scored by."""
    selections = selections_of(part, registry)
    built = [build_part(registry, "metric", metric) for metric in metrics_of(part)]
    return selections, {selection.metric: metric for selection, metric in zip(selections, built, strict=True)}


def open_training(
    run: Run, registry: Registry, device: torch.device, display: Display, world: World, *, resident: str, apart: bool
) -> dict[int, Sampler]:
    """The samplers of the training pictures, by scale; packed where needed.

    apart: each rank has training pictures of its own. Pictures that are left out are said.
    """
    stores = world.one_after_another(
        lambda: {s: [pack(run, registry, part, s, display, world) for part in run.data] for s in run.scales}
    )
    samplers = {
        scale: Sampler(
            [store for of_part in each for store in of_part],
            scale=scale,
            batch=run.patches // (world.size if apart else 1),
            patch=run.patch,
            seed=run.seed + (2**32 * (1 + world.rank) if apart else 0),
            device=device,
            resident=resident,
            sets=[number for number, of_part in enumerate(each) for _ in of_part],
            weights=[part.weight for part in run.data],
        )
        for scale, each in stores.items()
    }
    for sampler in samplers.values():
        say_left_out(display, "a patch", sampler.left_out)
    return samplers


def open_validation(
    run: Run, registry: Registry, part: Part, display: Display, world: World, selection: Selection
) -> dict[int, Store]:
    """The packs of a [validation] by scale; packed where needed. Pictures that are left out are said."""
    packs = world.one_after_another(lambda: {s: pack(run, registry, part, s, display, world) for s in run.scales})
    stores = {scale: scorable(store, selection.protocol, scale) for scale, (store,) in packs.items()}
    for store in stores.values():
        say_left_out(display, "what can be scored", store.left_out)
    return stores


def say_left_out(display: Display, than: str, names: Sequence[str]) -> None:
    if names:
        are = "picture is" if len(names) == 1 else "pictures are"
        display.say(f"{len(names)} {are} smaller than {than} and left out: {few(names)}")


def look_at(run: Run, samplers: Mapping[int, Sampler], validation: Sequence[ValidationSet], display: Display) -> None:
    """Say what a quick look at the pairs finds wrong."""
    for scale, sampler in samplers.items():
        numbered = list(zip(sampler.stores, sampler.sets, strict=True))
        firsts = {number: store for store, number in reversed(numbered) if store.here}
        if len(firsts) < len(set(sampler.sets)):
            display.say("no quick look at the pairs of a dataset that stays at its address")
        for first in firsts.values():
            found = {
                f"{finding.severity}: {finding.name}: {finding.text} (srkit data check looks at all)"
                for tested in validation
                for finding in (quick_check(first, tested.stores[scale], scale) if first.has_lr else ())
            }
            for text in sorted(found):
                display.say(text)


def look_at_lr(run: Run, batches: Batches, display: Display) -> None:
    """Look at LR of the first steps: an error where it is HR itself, a line where its size has to be mended."""
    looked = [batches(step) for step in range(FIRST_STEPS if 1 in run.scales or run.degradation else 0)]
    restoring = [batch for scale, batch in looked if scale == 1]
    if restoring and all(torch.equal(batch.lr, batch.hr) for batch in restoring):
        raise UsageError(
            "at x1 every LR is HR itself, so there is nothing to learn: put [[degradation]] or an "
            "augmentation that makes LR into the run, or give pairs by data.hr_dir and data.lr_dir"
        )
    if batches.degrader and batches.degrader.resized:
        display.say("[[degradation]] does not end at LR's size: MATLAB's bicubic brings it there")


def lr_maker(run: Run, registry: Registry) -> str:
    """What made the LR that is trained on, as `srkit data check` names makers: MATLAB's `imresize` where srkit does.

    Empty where it is unknown: where the data's own LR does not tell, where shards are read, at x1, and where there is
    [[degradation]] or an augmentation beside flips and turns, which may make LR otherwise.
    """
    if run.degradation or run.scales[0] == 1:
        return ""
    plain = {registry.find("augmentation", name).qualified for name in defaults.AUGMENTATIONS}
    if any(registry.find("augmentation", part.name).qualified not in plain for part in run.augmentation):
        return ""
    found = {maker_of(registry, part, run.scales[0]) for part in run.data}
    return found.pop() if len(found) == 1 else ""


def maker_of(registry: Registry, part: Part, scale: int) -> str:
    """What made the LR of one dataset; empty where it is unknown."""
    pairs = opened(registry, part, scale)
    if hasattr(pairs, "stores"):
        return ""
    found = []
    for index in looked_at(len(pairs)):
        try:
            pair = pairs[index]
            if pair.lr is None:
                return MAKERS[0].name
            found.append(made_by(pair.lr, pair.hr, scale))
        except Exception:  # packing has said what is wrong with this picture
            continue
    return next(iter(set_made_by(found).made.makers), "") if found else ""


def scorable(store: Store, protocol: protocols.Protocol, scale: int) -> Store:
    """The pictures with pixels inside the protocol's border; the others are left out. DataError where none is left."""
    small = {i for i, sides in enumerate(store.hr[:, 1:3].tolist()) if min(sides) <= 2 * protocol.border(scale)}
    if len(small) == len(store):
        raise DataError(f"every validation picture is too small for protocol '{protocol.name}' at x{scale}: "
                        f"{few(store.names)}")  # fmt: skip
    return store.without(small) if small else store


def is_apart(run: Run, registry: Registry, world: World) -> bool:
    """Has each rank training data of its own, in shards?"""
    return world.size > 1 and any(hasattr(opened(registry, part, run.scales[0]), "stores") for part in run.data)


def opened(registry: Registry, part: Part, scale: int) -> PairSequence:
    return open_dataset(registry.choose("dataset", part.name, part.options), part.root, part.split, scale)


def pack(run: Run, registry: Registry, part: Part, scale: int, display: Display, world: World) -> list[Store]:
    """The pack of a dataset; of training data that is in shards, those of this rank."""
    trains = any(part is each for each in run.data)
    try:
        pairs = opened(registry, part, scale)
    except SrkitError as error:
        if trains:
            raise
        raise type(error)(f"[validation]: {str(error).replace('data.root', 'validation.root')}") from None
    if not trains:
        pairs = validated_pairs(run, registry, part, pairs, scale)
    display.say(f"{'train' if trains else 'validation'} x{scale}: {described(pairs)}")
    if trains and hasattr(pairs, "stores"):
        return own_stores(pairs, part, display, world)
    choice = registry.choose("dataset", part.name, part.options)
    what = f"packing {part.root or choice.label} x{scale}"
    low_res = not trains or run.make_low_res == "store"

    def progress(done: int, total: int) -> None:
        display.packing(what, done, total)

    try:
        store = packed(choice, part.root, part.split, scale, progress, lr=low_res, pairs=pairs)
    except KeyboardInterrupt:
        display.say(f"{what}: stopped; what is packed so far is kept, and the same command goes on from there")
        raise
    if store.given and not low_res:
        raise UsageError(f"'{choice.label}' brings its own LR pictures: make_low_res = \"device\" is for data without")
    if trains and store.given and run.degradation:
        display.say(f"the LR that '{part.root or choice.label}' brings is not used: [[degradation]] makes LR of HR")
    return [store]


def own_stores(pairs: Any, part: Part, display: Display, world: World) -> list[Store]:
    """The packs of this rank, of data that is in shards. What is not here is said."""
    if not isinstance(pairs, Shards):
        stores: list[Store] = pairs.stores(world.rank, world.size)
        return stores

    def progress(done: int, total: int) -> None:
        display.packing(f"copying shards of {part.root}, MB", done // MB, total // MB)

    stores = pairs.stores(world.rank, world.size, progress)
    for text in pairs.told:
        display.say(text)
    return stores


def validated_pairs(run: Run, registry: Registry, part: Part, pairs: PairSequence, scale: int) -> PairSequence:
    """The pairs of a [validation], with the LR that they are scored on.

    UsageError at x1 where that would be HR itself.
    """
    wanted = part.degraded
    if scale == 1 and not wanted and pairs[0].lr is None:
        if not run.degradation or wanted is False:
            raise UsageError(
                "[validation]: at x1 an LR made of HR is HR itself, and scores of it measure nothing. Put "
                "[[degradation]] into the run, which then makes it, or name pairs (validation.root, with lr_dir); "
                "'srkit data degrade' makes some"
            )
        wanted = True
    degrader = built_degrader(registry, run.degradation, torch.device("cpu")) if wanted else None
    if degrader is None:
        return pairs
    return Degraded(pairs, degrader, scale, VALIDATION_SEED, told_degradation(registry, run.degradation))
