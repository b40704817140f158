"""Compute what a benchmark's plan is missing: each picture read once for all models, each value kept at once."""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from importlib.metadata import version

import numpy as np
import torch

from srkit.data.pairs import TooSmall, size
from srkit.errors import DataError, SrkitError, naming, one_line
from srkit.evaluate.plan import Cell, Measure, Opened, Picture, Plan, ScoredSet
from srkit.evaluate.score import Metrics, Prepared, build_metric, check_size, measured, read_pair
from srkit.evaluate.store import Kept
from srkit.images import LOG, read_rgb
from srkit.nets import out_of_memory, ran_out
from srkit.plugins import Registry
from srkit.upscale.wrap import to_pixels, to_tensor

#: The next move, since pictures are scored as wholes.
NO_ROOM = "srkit upscale --tile 256 makes it in parts, and --images NAME=DIR scores what was made"
Wanted = list[tuple[int, Cell, list[Measure]]]  # by which cell, with its number, a picture is to be scored by what
Done = Callable[[str, float | None], None]  # what was done, and the seconds that are left


@dataclass
class Work:
    """One call of `compute`: what is opened and how fast it is."""

    plan: Plan
    device: torch.device
    metrics: Metrics
    faults: dict[str, str]  # of metrics that cannot be built
    opened: dict[int, Opened | str] = field(default_factory=dict)  # by cell's subject; or why it cannot be opened
    pace: dict[int, tuple[float, int]] = field(default_factory=dict)  # seconds and pictures, by subject
    waiting: dict[int, int] = field(default_factory=dict)  # pictures, by subject

    @property
    def left(self) -> float | None:
        """Seconds until all is done: each model at its own pace, one that has not begun at the mean of the others.

        None where none has begun.
        """
        paces = {key: seconds / count for key, (seconds, count) in self.pace.items()}
        if not paces:
            return None
        usual = sum(paces.values()) / len(paces)
        return sum(paces.get(key, usual) * count for key, count in self.waiting.items())


def compute(plan: Plan, registry: Registry, device: torch.device, done: Done = lambda text, left: None) -> None:
    """Fill the store of `plan` with what it has not, and its `failures` with what cannot be computed.

    Whatever a model, a metric or a picture does, the rest goes on. What is done is in the store at once, so that an
    interruption loses one picture. done(text, seconds left) is called after each model's each picture.
    """
    metrics, faults = built(registry, plan, device)
    work = Work(plan, device, metrics, faults)
    for tested, cells in by_set(plan):
        for number, cell in cells:
            count = sum(
                bool(plan.missing(cell, picture)) and plan.mine(number, index)
                for index, picture in enumerate(tested.pictures)
            )
            work.waiting[id(cell.subject)] = work.waiting.get(id(cell.subject), 0) + count
    scale = None
    for tested, cells in by_set(plan):
        if tested.scale != scale:
            work.opened.clear()  # the networks of the last scale
            scale = tested.scale
        for index, picture in enumerate(tested.pictures):
            wanted = [
                (number, cell, missing)
                for number, cell in cells
                if plan.mine(number, index) and (missing := plan.missing(cell, picture))
            ]
            if wanted:
                score_picture(work, tested, index, picture, wanted, done)


def built(registry: Registry, plan: Plan, device: torch.device) -> tuple[Metrics, dict[str, str]]:
    """The metrics, on the device where they can be moved to one, and why others cannot be had."""
    metrics, faults = {}, {}
    for measure in plan.measures:
        try:
            metrics[measure.name] = build_metric(registry, measure.choice.entry.qualified, measure.options, device)
        except Exception as error:
            faults[measure.name] = f"metric '{measure.name}' cannot be had: {one_line(error)}"
    return metrics, faults


def by_set(plan: Plan) -> Iterator[tuple[ScoredSet, list[tuple[int, Cell]]]]:
    """The cells with their numbers, those of one set together."""
    found: dict[int, tuple[ScoredSet, list[tuple[int, Cell]]]] = {}
    for number, cell in enumerate(plan.cells):
        found.setdefault(id(cell.tested), (cell.tested, []))[1].append((number, cell))
    yield from found.values()


def score_picture(
    work: Work,
    tested: ScoredSet,
    index: int,
    picture: Picture,
    wanted: list[tuple[int, Cell, list[Measure]]],
    done: Done,
) -> None:
    """One picture by all models that want it."""
    plan = work.plan
    pair = None
    try:
        assert tested.pairs is not None
        pair = read_pair(tested.pairs, index)
        made = plan.store.lr_file([tested.dataset, picture.content, tested.scale]) if picture.content else None
        prepared = Prepared(pair, tested.scale, plan.protocol, made)
    except TooSmall as error:
        told = f"left out, too small for '{plan.protocol.name}' at x{tested.scale}"
        LOG.warning("%s (%s): %s", picture.name, size(pair.hr) if pair else "", told)
        plan.leave_out(tested, picture, one_line(error))
        prepared, why = None, one_line(error)
    except SrkitError as error:
        prepared, why = None, one_line(error)
    for number, cell, missing in wanted:
        begin = time.perf_counter()
        subject = id(cell.subject)
        faults = dict.fromkeys((m.name for m in missing), why) if prepared is None else {}
        if prepared is not None:
            faults = score_cell(work, cell, picture, prepared, missing)
            seconds, count = work.pace.get(subject, (0.0, 0))
            work.pace[subject] = seconds + time.perf_counter() - begin, count + 1
        plan.failures |= {(number, picture.name, metric): text for metric, text in faults.items()}
        work.waiting[subject] -= 1
        done(f"{cell.subject.info.name} x{tested.scale} {tested.name}", work.left)


def score_cell(work: Work, cell: Cell, picture: Picture, prepared: Prepared, missing: list[Measure]) -> dict[str, str]:
    """One picture by one model: the values go to the store; why others cannot be had, by metric."""
    plan = work.plan
    names = [measure.name for measure in missing]
    try:
        sr, seconds, parameters = made(work, cell, picture, prepared)
        check_size(picture.name, sr, cell.tested.scale, plan.protocol)
    except Exception as error:
        if ran_out(error):
            return dict.fromkeys(names, f"'{picture.name}': out of memory on {size(prepared.lr)} pixels: {NO_ROOM}")
        if not isinstance(error, SrkitError):
            raise
        return dict.fromkeys(names, one_line(error))
    compared = plan.protocol.one(sr, cell.tested.scale)
    faults = {}
    for measure in missing:
        if measure.name in work.faults:
            faults[measure.name] = work.faults[measure.name]
            continue
        try:
            with naming(picture.name):
                value = measured(measure.name, work.metrics[measure.name], compared, prepared.reference)
        except SrkitError as error:
            faults[measure.name] = one_line(error)
            continue
        if np.isnan(value):  # as SSIM of less than its window: a number that is not one, and so is the mean
            LOG.warning("%s: %s", picture.name, f"metric '{measure.name}' gives nan at x{cell.tested.scale}")
        kept = Kept(value, seconds, parameters, conditions(work.device) if seconds is not None else "")
        if key := cell.picture_keys.get(picture.name):
            plan.store.keep(cell.store_key(measure, plan.protocol), key, picture.name, kept)
    return faults


def made(work: Work, cell: Cell, picture: Picture, prepared: Prepared) -> tuple[np.ndarray, float | None, int | None]:
    """(SR, seconds, parameters): upscaled, or read from a folder of ready pictures, then without the other two."""
    if cell.matched is not None:
        if fault := cell.matched.faults.get(picture.name):
            raise DataError(f"'{picture.name}': {fault}")
        file = cell.matched.files[picture.name]
        sr = read_rgb(file)
        if prepared.hr is not None and sr.shape != prepared.hr.shape:
            raise DataError(f"'{file}' is {size(sr)}, and HR '{picture.name}' {size(prepared.hr)}")
        return sr, None, None
    opened = opened_by(work, cell)
    with naming(picture.name):
        begin = time.perf_counter()
        sr = to_pixels(opened.upscale(to_tensor(prepared.lr, work.device)))
    return sr, time.perf_counter() - begin, opened.parameters


def opened_by(work: Work, cell: Cell) -> Opened:
    """The cell's model, loaded when it is first needed. Raises SrkitError, each time, where it cannot be."""
    key = id(cell.subject)
    if key not in work.opened:
        assert cell.subject.open is not None
        try:
            work.opened[key] = opened = cell.subject.open(work.device)
            work.plan.counted[cell.subject.info.name, cell.subject.info.scale] = opened.parameters
        except Exception as error:  # whatever its plugin raises
            work.opened[key] = (
                f"out of memory loading '{cell.subject.info.name}'" if out_of_memory(error) else one_line(error)
            )
    found = work.opened[key]
    if isinstance(found, str):
        raise SrkitError(found)
    return found


def conditions(device: torch.device) -> str:
    threads = f"{torch.get_num_threads()} threads, " if device.type == "cpu" else ""
    return f"{device}, {threads}torch {version('torch')}"
