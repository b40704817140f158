"""What `srkit bench` is to score: from the words of its options to a plan, with notices of what is not scored."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from srkit.cli import display
from srkit.cli.choose import found_sets
from srkit.data.named import set_named
from srkit.data.pairs import described
from srkit.errors import SrkitError, UsageError, missing_path
from srkit.evaluate.given import check_scales_said, folder_named
from srkit.evaluate.plan import (
    Cell,
    Measure,
    Plan,
    ScoredSet,
    Subject,
    cells,
    check_references,
    open_set,
    without_hr,
)
from srkit.evaluate.protocol import Protocol
from srkit.evaluate.store import Store
from srkit.evaluate.table import ModelInfo
from srkit.evaluate.tags import Tags, left_over
from srkit.evaluate.traits import told, with_groups, with_maker
from srkit.plugins import Registry
from srkit.weights.subjects import Search, every_name, expanded, find_subjects


def planned(
    search: Search,
    measures: Sequence[Measure],
    protocol: Protocol,
    *,
    models: list[str],
    checkpoints: list[str],
    sets: list[str],
    images: Sequence[str],
    lr_only: list[str],
    root: Path | None,
    show_all: bool,
    groups: bool = False,
    tags: Tags | None = None,
) -> Plan:
    """All subjects on all sets of their scale.

    Models are those named; all, where neither models nor ready pictures are. Sets are those named, or those found;
    without HR, LR folders or the ready pictures themselves, where no metric compares. Raises UsageError for words that
    do not fit together, and what the words themselves raise. groups, tags: see `grouped`.
    """
    registry, store = search.registry, search.store
    named = [*expanded(registry, models), *checkpoints]
    asked = named if models or images else [*every_name(registry), *named]
    given = image_subjects(images, search.scales, search.scales_said)
    alone = bool(images) and not (sets or lr_only or any(measure.info.reference for measure in measures))
    if lr_only and sets:
        raise UsageError("--lr-only or --sets, not both: with and without HR there are different metrics")
    if alone or lr_only:
        tested = sets_without_hr(store, given if alone else [], lr_only, search.scales if search.scales_said else [])
        check_references(measures, tested)
    else:
        tested = opened_sets(registry, store, sets, root, search.scales)
    tested = grouped(store, tested, measured=groups, tags=tags) if groups or tags else tested
    subjects = [*model_subjects(search, asked, {*models, *checkpoints}, show_all), *given]
    made = cells_of(store, subjects, tested)
    for line in told(tested, made):
        display.say(line)
    return Plan(made, measures, protocol, store)


def model_subjects(search: Search, asked: list[str], explicit: set[str], show_all: bool) -> list[Subject]:
    """The models to be scored. explicit: words that must have weights. show_all: say which have none, and why."""
    with display.Meter() as meter:
        found = find_subjects(replace(search, downloads=meter), list(dict.fromkeys(asked)), explicit)
    for word, why in found.absent.items() if show_all else ():
        display.say(f"not scored: {word}: {why}")
    return list(found.subjects)


def image_subjects(images: Sequence[str], scales: Sequence[int], said: bool) -> list[Subject]:
    """A subject at each scale for each folder of ready pictures. said: the user named the scales.

    Raises UsageError for two folders of one name, or one whose scale nobody says.
    """
    folders = [folder_named(word) for word in images]
    twice = {name for name, _ in folders if [other for other, _ in folders].count(name) > 1}
    if twice:
        raise UsageError(f"--images names two folders '{twice.pop()}'; give each its own name")
    for name, folder in () if said else folders:
        check_scales_said(name, folder)
    return [
        Subject(ModelInfo(name, scale, origin=str(folder)), {"images": 1}, given=folder)
        for scale in scales
        for name, folder in folders
    ]


def opened_sets(
    registry: Registry, store: Store, asked: list[str], root: Path | None, scales: Sequence[int]
) -> list[ScoredSet]:
    """The sets asked for, else those found, each at each scale; says what is HR and LR in them."""
    chosen = [set_named(registry, word, root) for word in asked] or found_sets(registry, root)
    names = [name for name, _, _ in chosen]
    opened = []
    for scale in scales:
        for (name, choice, folder), word in zip(chosen, asked or names, strict=True):
            unique = name if names.count(name) == 1 else word
            opened.append(one := with_maker(store, open_set(store, unique, choice, folder, scale)))
            if one.pairs is not None:
                display.say(f"{one.name} x{scale}: {described(one.pairs)}")
    return opened


def grouped(store: Store, tested: Sequence[ScoredSet], *, measured: bool, tags: Tags | None) -> list[ScoredSet]:
    """The sets with their groups of pictures; says what of a tag file is used for nothing, and what has no tag."""
    names = {one.name: [picture.name for picture in one.pictures] for one in tested}
    for line in left_over(tags, names) if tags else ():
        display.say(line)
    with display.Progress("looking at pictures", sum(map(len, names.values()))) as progress:
        return [with_groups(store, one, measured=measured, tags=tags, done=progress.one_more) for one in tested]


def sets_without_hr(
    store: Store, given: Sequence[Subject], low_res: list[str], scales: Sequence[int]
) -> list[ScoredSet]:
    """Folders of LR pictures, or ready pictures by themselves, at the scales the user named: nothing else says them."""
    if not scales or (given and len(scales) > 1):
        raise UsageError("pictures without HR do not say their scale: name it, as in --scales 2")
    opened = [
        without_hr(store, subject.given, subject.info.scale, low_res=False, name=subject.info.name)
        for subject in given
        if subject.given
    ]
    for word in low_res:
        if not (folder := Path(word).expanduser()).is_dir():
            raise missing_path(folder, "folder")
        same = [other for other in low_res if Path(other).expanduser().resolve().name == folder.resolve().name]
        name = folder.resolve().name if len(same) == 1 else word
        opened += [without_hr(store, folder, scale, low_res=True, name=name) for scale in scales]
    for one in opened:
        if one.pairs is not None:
            display.say(f"{one.name} x{one.scale}: {described(one.pairs)}")
    return opened


def cells_of(store: Store, subjects: list[Subject], tested: list[ScoredSet]) -> list[Cell]:
    """Each set with each subject of its scale: the rows of the table, in order."""
    made, notices = cells(store, subjects, tested)
    for notice in notices:
        display.say(notice)
    if not made:
        raise SrkitError("nothing was scored: no model with weights fits the scales and sets asked for")
    return made
