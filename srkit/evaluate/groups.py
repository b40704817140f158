"""A benchmark by groups of pictures: each group's score, how sure it is, and how far it is from the whole set."""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from srkit.evaluate.statistics import (
    ALPHA,
    CONFIDENCE,
    FEWEST,
    METHOD,
    RESAMPLES,
    SEED,
    Interval,
    holm,
    info,
    interval,
    mean,
)
from srkit.evaluate.store import Store
from srkit.evaluate.table import Results, Score

TEST = (
    "Mann-Whitney test of a group's pictures against the others of its set, two-sided;"
    f" p corrected by Holm over the groups of a set; matters: p below {ALPHA}"
)
FEW = f"fewer than {FEWEST} pictures in a group, or outside it, say next to nothing: no interval, or no test"


NO_INTERVAL = Interval(None, None, 0)


@dataclass(frozen=True)
class GroupScore:
    """One model on one group of a set's pictures, by one metric.

    Attributes:
        images: of the group, that have a score.
        mean: over them; NaN of none.
        interval: of that mean.
        apart: the mean less that of the whole set; NaN where one of them is not finite.
        p: that the group's pictures score as the others do, corrected; None with fewer than five on either side.
    """

    model: str
    scale: int
    dataset: str
    group: str
    metric: str
    images: int = 0
    mean: float = math.nan
    interval: Interval = NO_INTERVAL
    apart: float = math.nan
    p: float | None = None

    @property
    def matters(self) -> bool | None:
        """None where there are too few pictures to say."""
        return None if self.p is None else self.p < ALPHA


def group_scores(results: Results, metrics: Sequence[str], store: Store | None = None) -> list[GroupScore]:
    """Each model on each group of each set, in the table's order. store: remembers the figures, which take long."""
    named = {(one.name, one.scale): one.groups for one in results.sets if one.groups}
    cells: dict[tuple[str, int, str, str], list[Score]] = {}
    for score in results.scores:
        if score.metric in metrics and (score.dataset, score.scale) in named:
            cells.setdefault((score.model, score.scale, score.dataset, score.metric), []).append(score)
    found = []
    for (model, scale, dataset, metric), scores in cells.items():
        values = {s.image: s.value for s in scores if s.value is not None and not math.isnan(s.value)}
        one = GroupScore(model, scale, dataset, "", metric)
        found += corrected(list(of_groups(one, values, named[dataset, scale], store)))
    return found


def of_groups(
    one: GroupScore, values: Mapping[str, float], groups: Mapping[str, Sequence[str]], store: Store | None
) -> Iterator[GroupScore]:
    """Those of one cell, p not yet corrected."""
    whole = mean(values.values())
    for group, names in groups.items():
        members = set(names)
        inside = sorted(values[name] for name in members if name in values)
        outside = sorted(value for name, value in values.items() if name not in members)
        if not inside:
            continue
        span, p = compared(inside, outside, store)
        average = mean(inside)
        apart = average - whole if math.isfinite(average) and math.isfinite(whole) else math.nan
        yield replace(one, group=group, images=len(inside), mean=average, interval=span, apart=apart, p=p)


def compared(inside: Sequence[float], outside: Sequence[float], store: Store | None) -> tuple[Interval, float | None]:
    """The interval of a group's mean, and the p of its difference to the other pictures."""
    fact = ["group", CONFIDENCE, RESAMPLES, SEED, FEWEST, list(map(repr, inside)), list(map(repr, outside))]
    known = store.recall(fact) if store else None
    if isinstance(known, list):
        return Interval(known[0], known[1], len(inside), known[2]), known[3]
    span, p = interval(inside), None
    if min(len(inside), len(outside)) >= FEWEST:
        from scipy.stats import mannwhitneyu

        p = float(mannwhitneyu(inside, outside).pvalue)
    if store:
        store.remember(fact, [span.low, span.high, span.note, p])
    return span, p


def corrected(cell: Sequence[GroupScore]) -> list[GroupScore]:
    known = holm({one.group: one.p for one in cell if one.p is not None})
    return [replace(one, p=known.get(one.group)) for one in cell]


def flat(one: GroupScore, results: Results) -> dict[str, Any]:
    """As JSON and CSV give it; what is not finite is null."""
    values = {"": one.mean, "_low": one.interval.low, "_high": one.interval.high, "_difference": one.apart, "_p": one.p}
    return {
        "model": one.model,
        "scale": one.scale,
        "set": one.dataset,
        "group": one.group,
        "images": one.images,
        "protocol": results.protocol,
        **{one.metric + end: v if v is not None and math.isfinite(v) else None for end, v in values.items()},
    }


def flat_rows(found: Sequence[GroupScore], results: Results) -> list[dict[str, Any]]:
    """A row for each group of each model, with all its metrics."""
    rows: dict[tuple[str, int, str, str], dict[str, Any]] = {}
    for one in found:
        rows.setdefault((one.model, one.scale, one.dataset, one.group), {}).update(flat(one, results))
    return list(rows.values())


def group_table(found: Sequence[GroupScore], results: Results) -> tuple[list[str], list[list[str]]]:
    """(headings, cells): a line for each model and group, by the first metric."""
    metric = results.metrics[0].name
    digits = info(results, metric).digits
    headings = ["model", "scale", "set", "group", "pictures", f"{metric.upper()} ({results.protocol})"]
    cells = []
    for one in found:
        if one.metric != metric:
            continue
        low, high = one.interval.low, one.interval.high
        span = "-" if low is None or high is None else f"{low:.{digits}f} - {high:.{digits}f}"
        apart = "-" if math.isnan(one.apart) else f"{one.apart:+.{digits}f}"
        words = [one.model, f"x{one.scale}", one.dataset, one.group, f"{one.images:,}", f"{one.mean:.{digits}f}"]
        cells.append([*words, span, apart, {None: "-", True: "yes", False: "no"}[one.matters]])
    return [*headings, "95 % interval", "to the whole set", "matters"], cells


def group_notes(results: Results, found: Sequence[GroupScore]) -> list[str]:
    """What the columns of `group_table` are, in lines."""
    metric = results.metrics[0].name
    few = any(one.matters is None for one in found if one.metric == metric)
    return [METHOD, TEST, *[FEW] * few]
