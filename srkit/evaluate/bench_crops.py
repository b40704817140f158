"""Which pictures of a benchmark to look at, the best and the worst of it, and crops of them made once more."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from srkit import defaults
from srkit.errors import SrkitError, one_line
from srkit.evaluate.bench_data import Shown
from srkit.evaluate.compute import Work, made
from srkit.evaluate.gallery import Crop, Place, Windows, cut, largest
from srkit.evaluate.plan import Plan
from srkit.evaluate.score import ImageScore, Prepared, read_pair
from srkit.evaluate.statistics import info, mean
from srkit.evaluate.table import Results
from srkit.images import LOG

SIDE = 64  # of a crop, in HR pixels, on the LR grid
COLUMNS = 4  # models in a crop at most
MOST = 72  # pictures in a page, HR and LR among them: some 500 KB
MOST_GROUPS = 48  # pictures beside those, for the groups
WORST = 2  # pictures of a group
EXTREME = 2  # best and worst pictures at each scale

Leading = tuple[tuple[str, ...], dict[tuple[str, str], float]]  # the columns of a crop, values of the first
Psnr = Callable[[np.ndarray, np.ndarray], float]


@dataclass(frozen=True)
class Chosen:
    """A picture to look at.

    Attributes:
        why: in words.
        models: the columns, by their mean, the best first, and bicubic, or the model with the lowest mean, last.
        group: of which it is one of the worst; empty where it is of all pictures.
        worst: whether the place is wanted where the best model is farthest from HR, else where it gains most on the
            last of `models`.
    """

    scale: int
    dataset: str
    image: str
    why: str
    models: tuple[str, ...]
    worst: bool = True
    group: str = ""


def choose(results: Results, most: int = MOST) -> list[Chosen]:
    """The worst and best pictures of the best model at each scale, then the worst of each group, by the first metric.

    Each picture once among the former, and once in a group, at the first scale that has it. most: pictures in the page
    for the former; what is last is left out.
    """
    scales = list(dict.fromkeys(one.scale for one in results.sets))
    leading = {scale: found for scale in scales if (found := leaders(results, scale))}
    by_scale = [list(extremes(results, scale, leading[scale])) for scale in leading]
    in_turn = [chosen[rank] for rank in range(2 * EXTREME) for chosen in by_scale if rank < len(chosen)]
    whole = within(most, in_turn)
    return sorted(whole, key=lambda one: one.scale) + within(MOST_GROUPS, list(worst_of_groups(results, leading)))


def within(most: int, chosen: Sequence[Chosen]) -> list[Chosen]:
    """Those that have room, each with HR and LR beside its models."""
    kept = []
    for one in chosen:
        most -= len(one.models) + 2
        kept += [one] if most >= 0 else []
    return kept


def leaders(results: Results, scale: int) -> Leading | None:
    """The columns of a crop, and the values of the first of them by (set, picture): higher is better.

    None where no model has a value.
    """
    metric = results.metrics[0].name
    sign = 1 if info(results, metric).higher_is_better else -1
    values: dict[str, dict[tuple[str, str], float]] = {}
    for score in results.scores:
        if score.scale == scale and score.metric == metric and score.value is not None:
            values.setdefault(score.model, {})[score.dataset, score.image] = sign * score.value
    whole = max(map(len, values.values()), default=0)
    ranked = sorted(
        (model for model, own in values.items() if len(own) == whole), key=lambda model: -mean(values[model].values())
    )
    if not ranked:
        return None
    leader = ranked[0]
    floor = defaults.FLOOR if defaults.FLOOR in ranked[1:] else ranked[-1]
    others = [model for model in ranked if model != floor]
    return ((*others[: COLUMNS - 1], floor) if floor != leader else (leader,)), values[leader]


def extremes(results: Results, scale: int, leading: Leading) -> Iterator[Chosen]:
    """The worst and the best of one scale, in turn."""
    models, values = leading
    order = sorted(values, key=lambda key: values[key])
    count = min(EXTREME, max(1, len(order) // 2))
    called = results.metrics[0].name.upper()
    for bad, good in zip(order[:count], order[::-1][:count], strict=True):
        yield Chosen(scale, *bad, f"{models[0]} has its worst {called}", models)
        if good != bad:
            yield Chosen(scale, *good, f"{models[0]} has its best {called}", models, worst=False)


def worst_of_groups(results: Results, leading: dict[int, Leading]) -> Iterator[Chosen]:
    """The worst pictures of each group, of all groups in turn: the best model beside the last."""
    called = results.metrics[0].name.upper() if results.metrics else ""
    groups: dict[str, tuple[int, list[tuple[str, str]]]] = {}
    for one in results.sets:
        for group, names in one.groups.items() if one.scale in leading else ():
            scale, keys = groups.setdefault(group, (one.scale, []))
            if scale == one.scale:
                keys += [(one.name, name) for name in names if (one.name, name) in leading[scale][1]]
    for rank in range(WORST):
        for group, (scale, keys) in groups.items():
            models, values = leading[scale]
            order = sorted(keys, key=lambda key, values=values: values[key])  # type: ignore[misc]
            if rank < len(order):
                why = f"{models[0]} has its {'second ' * rank}worst {called} of '{group}'"
                columns = tuple(dict.fromkeys((models[0], models[-1])))
                yield Chosen(scale, *order[rank], why, columns, group=group)


def crops_of(
    plan: Plan, chosen: Sequence[Chosen], device: torch.device, psnr: Psnr, done: Callable[[str], None]
) -> list[Shown]:
    """The crops: each picture is upscaled again by the models of its columns; one that fails has no column.

    done(text) is called after each picture.
    """
    work = Work(plan, device, {}, {})
    found: list[Shown] = []
    for one in chosen:
        try:
            if crop := crop_of(work, one, psnr):
                found.append(shown(one, crop, len(found) + 1))
        except SrkitError as error:
            LOG.warning("%s: %s", one.image, f"no crop: {one_line(error)}")
        done(f"{one.dataset} x{one.scale} {one.image}")
    return found


def crop_of(work: Work, one: Chosen, psnr: Psnr) -> Crop | None:
    """None where the picture is smaller than a crop, or has no HR. Raises SrkitError where it cannot be read."""
    protocol = work.plan.protocol
    cells = {
        c.subject.info.name: c for c in work.plan.cells if (c.tested.name, c.tested.scale) == (one.dataset, one.scale)
    }
    tested = next(iter(cells.values())).tested
    index = next(i for i, picture in enumerate(tested.pictures) if picture.name == one.image)
    assert tested.pairs is not None
    prepared = Prepared(read_pair(tested.pairs, index), one.scale, protocol)
    if prepared.hr is None:
        return None
    images: dict[str, ImageScore] = {}
    for model in reversed(one.models):  # the best comes last, as in the gallery
        try:
            sr = made(work, cells[model], tested.pictures[index], prepared)[0]
        except (SrkitError, MemoryError) as error:
            LOG.warning("%s: %s", model, f"no crop of {one.image}: {one_line(error)}")
            continue
        whole = float(psnr(*protocol.apply(sr, prepared.hr, one.scale)))
        images[model] = ImageScore(one.image, {"psnr": whole}, 0.0, sr)
    windows = Windows(SIDE // one.scale * one.scale, one.scale, protocol.border(one.scale))
    place = place_in(prepared.hr, list(images.values()), windows, one.worst)
    if place is None:
        return None
    return cut(place, windows, prepared.lr, prepared.hr, images, psnr=psnr, protocol=protocol)


def place_in(hr: np.ndarray, images: Sequence[ImageScore], windows: Windows, worst: bool) -> Place | None:
    """Where the last is farthest from HR, or nearer to it than the first by most: sums of absolute differences."""
    if not images:
        return None
    apart = [np.abs(image.sr.astype(np.int32) - hr).sum(axis=2) for image in images]
    wanted = apart[-1] if worst or len(apart) == 1 else apart[0] - apart[-1]
    found = largest(wanted, windows)
    return Place((0,), found[0][1], found[0][2]) if found else None


def shown(one: Chosen, crop: Crop, number: int) -> Shown:
    figures = {"HR": "original", "LR": f"{one.scale} times smaller"}
    figures |= {k: f"<b>{psnr:.2f} dB</b> crop<br>{crop.whole[k]:.2f} dB whole" for k, psnr in crop.psnr.items()}
    gains = not one.worst and len(one.models) > 1
    where = f"where it gains most on {one.models[-1]}" if gains else "where it is farthest from HR"
    place = f"x={crop.place.left}, y={crop.place.top}"
    title = f"{number}. {one.dataset} x{one.scale} {one.image}: {one.why}; {where}, at {place}"
    return Shown(title, crop.pixels, figures, one.group)
