"""The pictures of a run: opened, packed, degraded for validation, looked at."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import torch

from srkit import defaults
from srkit.components import PairSequence
from srkit.data.check import quick_check
from srkit.data.degrade import Degraded
from srkit.data.maker import MAKERS, looked_at, made_by, set_made_by
from srkit.data.pairs import described, few, open_dataset
from srkit.data.sampler import Batches, Sampler
from srkit.data.shards import Shards
from srkit.data.store import Store, packed
from srkit.errors import DataError, SrkitError, UsageError
from srkit.evaluate import protocol as protocols
from srkit.evaluate.score import Metrics
from srkit.evaluate.selection import Selection
from srkit.plugins import Registry
from srkit.progress import MB
from srkit.run import Part, Run
from srkit.train.distributed import World
from srkit.train.parts import built_degrader, told_degradation
from srkit.train.trainee import Display, ValidationSet

FIRST_STEPS = 8  # whose LR is looked at, before anything is trained
VALIDATION_SEED = 0  # of its degradation: runs of any seed are scored on the same pictures


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


def open_validations(
    run: Run,
    registry: Registry,
    display: Display,
    world: World,
    parts: Iterable[tuple[str, Part, tuple[Sequence[Selection], Metrics]]],
) -> list[ValidationSet]:
    """The sets of a run's [validation]. parts: each one's label, itself, and what it is scored by."""
    return [
        ValidationSet(label, part, open_validation(run, registry, part, display, world, chosen[0]), chosen, built)
        for label, part, (chosen, built) in parts
    ]


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
