"""Which pictures of a benchmark to look at, the best and the worst of it, and crops of them made once more."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from srkit import defaults
from srkit.errors import SrkitError, one_line
from srkit.evaluate.bench_page import Shown
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
EXTREME = 2  # best and worst pictures at each scale

Psnr = Callable[[np.ndarray, np.ndarray], float]


@dataclass(frozen=True)
class Chosen:
    """A picture to look at.

    Attributes:
        why: in words.
        models: the columns, by their mean, the best first, and bicubic, or the model with the lowest mean, last.
        worst: whether the place is wanted where the best model is farthest from HR, else where it gains most on the
            last of `models`.
    """

    scale: int
    dataset: str
    image: str
    why: str
    models: tuple[str, ...]
    worst: bool = True


def choose(results: Results, most: int = MOST) -> list[Chosen]:
    """The worst and best pictures of the best model at each scale, then the worst of each group, by the first metric.

    Each picture once. most: pictures in the page; what is last is left out.
    """
    by_scale = {one.scale: list(chosen_at(results, one.scale)) for one in results.sets}
    found: list[Chosen] = []
    for rank in range(max(map(len, by_scale.values()), default=0)):  # of each scale in turn
        for chosen in by_scale.values():
            same = [(one.scale, one.dataset, one.image) for one in found]
            if rank < len(chosen) and (chosen[rank].scale, chosen[rank].dataset, chosen[rank].image) not in same:
                found.append(chosen[rank])
    room, kept = most, []
    for one in found:
        room -= len(one.models) + 2
        kept += [one] if room >= 0 else []
    return sorted(kept, key=lambda one: one.scale)


def chosen_at(results: Results, scale: int) -> Iterator[Chosen]:
    """Those at one scale, the most telling first."""
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
        return
    leader = ranked[0]
    floor = defaults.FLOOR if defaults.FLOOR in ranked[1:] else ranked[-1]
    others = [model for model in ranked if model != floor]
    models = (*others[: COLUMNS - 1], floor) if floor != leader else (leader,)
    order = sorted(values[leader], key=lambda key: values[leader][key])
    extreme = min(EXTREME, max(1, len(order) // 2))
    called = metric.upper()
    worst = [Chosen(scale, *key, f"{leader} has its worst {called}", models) for key in order[:extreme]]
    best = [
        Chosen(scale, *key, f"{leader} has its best {called}", models, worst=False) for key in order[::-1][:extreme]
    ]
    yield from (one for pair in zip(worst, best, strict=True) for one in pair)
    groups: dict[str, list[tuple[str, str]]] = {}
    for one in results.sets:
        for group, names in one.groups.items() if one.scale == scale else ():
            groups.setdefault(group, []).extend((one.name, name) for name in names)
    for group, keys in groups.items():
        known = [key for key in keys if key in values[leader]]
        if known:
            key = min(known, key=lambda key: values[leader][key])
            yield Chosen(scale, *key, f"{leader} has its worst {called} of '{group}'", models)


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
    return Shown(
        f"{number}. {one.dataset} x{one.scale} {one.image}: {one.why}; {where}, at {place}", crop.pixels, figures
    )
