"""Two benchmarks compared: what moved, by how much, and whether it matters."""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from srkit.errors import UsageError
from srkit.evaluate.statistics import ALPHA, METHOD, TEST, Difference, difference, holm, info, mean
from srkit.evaluate.table import Cost, Results, Score, SetInfo, plain

FORMAT = "srkit-compare-1"
BETTER, WORSE = "significantly better", "significantly worse"
UNSURE, SAME = "not significant", "identical"
ONLY_OLD, ONLY_NEW, NO_SCORE = "only in the old", "only in the new", "no score"
LESS, MORE, WITHIN, UNLIKE = "less", "more", "within the spread", "other conditions"

CONDITIONS = ("srkit", "torch", "precision", "backend", "device")

RowKey = tuple[str, str, int, str]  # model, set, scale, metric
Scores = Mapping[str, Score]  # by picture


@dataclass(frozen=True)
class Change:
    """One model on one set by one metric, then and now.

    Attributes:
        old, new: the means over the pictures that both have; over all where only one has any. None: no score.
        difference: of the new to the old, see `Difference`; None where only one has scores.
        p: of the Wilcoxon test, corrected by Holm over all rows in which anything differs.
        verdict: `significantly better`, `significantly worse`, `not significant`, `identical`, `only in the old`,
            `only in the new` or `no score`.
        note: what else must be known of it: few pictures, other weights.
    """

    model: str
    dataset: str
    scale: int
    metric: str
    old: float | None
    new: float | None
    difference: Difference | None = None
    p: float | None = None
    verdict: str = UNSURE
    note: str = ""


@dataclass(frozen=True)
class CostChange:
    """One cost of a model, then and now.

    Attributes:
        verdict: `less`, `more`, `identical`, `within the spread` of the latency, `other conditions`, or in which of the
            two it is.
        note: the conditions that differ.
    """

    model: str
    scale: int
    name: str
    size: str
    old: float | None
    new: float | None
    verdict: str
    note: str = ""


@dataclass(frozen=True)
class Comparison:
    """All that two benchmarks have.

    Attributes:
        old, new: how they are called, usually their files.
        conditions: what scores may depend on beside the weights, where it differs: then and now.
    """

    old: str
    new: str
    changes: Sequence[Change]
    costs: Sequence[CostChange] = ()
    conditions: Mapping[str, tuple[str, str]] = field(default_factory=dict)

    def to_json(self) -> str:
        """The whole as JSON; what is not finite is written as text (`"inf"`)."""
        about = {"format": FORMAT, "old": self.old, "new": self.new, "test": TEST, "interval": METHOD, "level": ALPHA,
                 "conditions": self.conditions}  # fmt: skip
        changes = [as_json(change) for change in self.changes]
        costs = [plain(asdict(cost)) for cost in self.costs]
        return json.dumps({"about": about, "changes": changes, "costs": costs}, indent=1, allow_nan=False)


def as_json(change: Change) -> dict[str, Any]:
    """A change as one flat object."""
    row = plain(asdict(replace(change, difference=None)))
    found = change.difference
    if found is not None:
        about = {
            "difference": found.mean,
            "low": found.interval.low,
            "high": found.interval.high,
            "p_uncorrected": found.p,
            "smallest_p": found.smallest_p,
            "images": found.images,
            "differing": found.differing,
        }
        row |= plain({key: value for key, value in about.items() if value is not None})
    return {key: value for key, value in row.items() if value is not None}


def compare(old: Results, new: Results, names: tuple[str, str] = ("OLD", "NEW")) -> Comparison:
    """What moved from the old to the new benchmark.

    Raises UsageError where they cannot be compared: other protocols, a set whose pictures are not the same ones, or
    nothing that both have.
    """
    check_comparable(old, new, names)
    before, now = by_place(old), by_place(new)
    places = dict.fromkeys([*before, *now])
    changes = [change_of(place, values(before.get(place)), values(now.get(place))) for place in places]
    if not any(change.difference for change in changes):
        raise UsageError(
            f"{names[0]} and {names[1]} have no model with scores on the same set in common; "
            f"they have {told(old)}, and {told(new)}"
        )
    tests = {i: c.difference.p for i, c in enumerate(changes) if c.difference and c.difference.differing}
    corrected = holm({i: p for i, p in tests.items() if p is not None})
    judged = [judge(change, corrected.get(i), len(corrected), new) for i, change in enumerate(changes)]
    noted = [
        replace(change, note=", ".join(filter(None, [change.note, *notes(before.get(place, {}), now.get(place, {}))])))
        for place, change in zip(places, judged, strict=True)
    ]
    return Comparison(*names, noted, cost_changes(old, new), conditions_of(old, new))


def conditions_of(old: Results, new: Results) -> dict[str, tuple[str, str]]:
    """Versions, precision and device, where two benchmarks differ in them and both say them."""
    pairs = {key: (old.about.get(key, ""), new.about.get(key, "")) for key in CONDITIONS}
    return {key: pair for key, pair in pairs.items() if all(pair) and pair[0] != pair[1]}


def told(results: Results) -> str:
    """Models and sets of a benchmark, for an error."""
    models = dict.fromkeys(score.model for score in results.scores)
    sets = dict.fromkeys(f"{score.dataset} x{score.scale}" for score in results.scores if score.dataset)
    return f"{', '.join(models) or 'no model'} on {', '.join(sets) or 'no set'}"


def check_comparable(old: Results, new: Results, names: tuple[str, str]) -> None:
    """Raises UsageError, naming what differs."""
    if old.protocol and new.protocol and old.protocol != new.protocol:
        raise UsageError(
            f"{names[0]} is by protocol '{old.protocol}' and {names[1]} by '{new.protocol}'; "
            "scores of two protocols cannot be compared: measure one of them again"
        )
    before = {(one.name, one.scale): one for one in old.sets}
    unlike = [how for one in new.sets if (how := other_pictures(before.get((one.name, one.scale)), one))]
    if unlike:
        raise UsageError(f"{names[0]} and {names[1]} were not measured on the same pictures: {'; '.join(unlike)}")


def other_pictures(old: SetInfo | None, new: SetInfo) -> str:
    """How the pictures of a set differ between two benchmarks; empty where they are the same or one has no such set."""
    if old is None or old.content == new.content or not (old.content and new.content):
        return ""
    count = f", {old.images} and {new.images} pictures" if old.images != new.images else ""
    maker = ""
    if old.lr_maker != new.lr_maker:
        maker = f", LR made by {old.lr_maker or 'unknown'} and by {new.lr_maker or 'unknown'}"
    return f"{new.name} x{new.scale} (content {old.content[:12]} and {new.content[:12]}{count}{maker})"


def by_place(results: Results) -> dict[RowKey, dict[str, Score]]:
    """The rows by model, set, scale and metric, and by picture; not the rows about a whole set."""
    found: dict[RowKey, dict[str, Score]] = {}
    for score in results.scores:
        if score.dataset and score.metric:
            found.setdefault((score.model, score.dataset, score.scale, score.metric), {})[score.image] = score
    return found


def values(rows: Scores | None) -> dict[str, float]:
    """By picture, those that are numbers."""
    found = {name: score.value for name, score in (rows or {}).items()}
    return {name: value for name, value in found.items() if value is not None and not math.isnan(value)}


def change_of(place: RowKey, before: Mapping[str, float], now: Mapping[str, float]) -> Change:
    """The means, and their difference where both have scores; the verdict on it needs the other rows' tests."""
    shared = [name for name in before if name in now]
    if shared:
        means = mean(before[name] for name in shared), mean(now[name] for name in shared)
        return Change(*place, *means, difference(before, now))
    first = mean(before.values()) if before else None
    second = mean(now.values()) if now else None
    verdict = {(True, False): ONLY_OLD, (False, True): ONLY_NEW}.get((bool(before), bool(now)), NO_SCORE)
    return Change(*place, first, second, verdict=verdict)


def judge(change: Change, p: float | None, tests: int, results: Results) -> Change:
    """The change with its verdict. p: corrected; None where no picture's score differs. tests: how many there are."""
    found = change.difference
    if found is None:
        return change
    if p is None:
        return replace(change, verdict=SAME)
    if p < ALPHA:
        up = found.direction > 0
        return replace(change, p=p, verdict=BETTER if up == info(results, change.metric).higher_is_better else WORSE)
    least = min(1.0, found.smallest_p * tests)
    note = ""
    if least >= ALPHA:
        pictures = f"{found.differing} picture{'s' if found.differing != 1 else ''}"
        note = f"{pictures} with a difference cannot give p below {least:.2g}"
    return replace(change, p=p, verdict=UNSURE, note=note)


def notes(before: Scores, now: Scores) -> list[str]:
    """What else must be known of a row: other weights, pictures that one of the two has no score of."""
    found = []
    if before and now and {s.weights for s in before.values()} != {s.weights for s in now.values()}:
        found.append("other weights")
    every = {name for name in (*before, *now) if name}
    lacking = every - (set(values(before)) & set(values(now)))
    if before and now and lacking:
        found.append(f"{len(lacking)} of {len(every)} pictures have no score in one of the two")
    return found


def cost_changes(old: Results, new: Results) -> list[CostChange]:
    """What each model costs then and now, latency judged by its spread."""
    before = {(c.model, c.scale, c.name, c.size): c for c in old.costs}
    now = {(c.model, c.scale, c.name, c.size): c for c in new.costs}
    found = []
    for key in dict.fromkeys([*before, *now]):
        first, second = before.get(key), now.get(key)
        model, scale, name, size = key
        if name == "latency_spread":
            continue
        spread = (model, scale, "latency_spread", size) if name == "latency" else None
        spreads = [c.value for c in (before.get(spread), now.get(spread)) if c and c.value] if spread else []
        verdict, note = cost_verdict(first, second, max(spreads, default=0.0))
        values = first.value if first else None, second.value if second else None
        found.append(CostChange(*key, *values, verdict, note))
    return found


def cost_verdict(old: Cost | None, new: Cost | None, spread: float) -> tuple[str, str]:
    """(verdict, note) of one cost."""
    if old is None or new is None:
        return (ONLY_NEW if old is None else ONLY_OLD), ""
    if old.value is None or new.value is None:
        return NO_SCORE, old.error or new.error
    differ = [
        f"{key}: {old.conditions.get(key, '-')} and {new.conditions.get(key, '-')}"
        for key in dict.fromkeys([*old.conditions, *new.conditions])
        if old.conditions.get(key) != new.conditions.get(key)
    ]
    if old.value == new.value:
        return SAME, "; ".join(differ)
    if differ:
        return UNLIKE, "; ".join(differ)
    if abs(new.value - old.value) <= spread:
        return WITHIN, ""
    return (MORE if new.value > old.value else LESS), ""


def to_table(results: Results, comparison: Comparison) -> tuple[list[str], list[list[str]]]:
    """(headings, cells) of the changes. results: the new ones, whose metrics say how many digits are shown."""
    headings = ["model", "scale", "set", "metric", "old", "new", "difference", "95 % interval", "p", "verdict", "note"]
    cells = []
    for change in comparison.changes:
        digits = info(results, change.metric).digits
        found = change.difference
        low, high = (found.interval.low, found.interval.high) if found and found.differing else (None, None)
        span = "-" if low is None or high is None else f"[{low:+.{digits}f}, {high:+.{digits}f}]"
        moved = number(found.mean if found and found.differing else None, digits, sign="+")
        means = [number(change.old, digits), number(change.new, digits), moved, span]
        p = "-" if change.p is None else f"{change.p:.2g}"
        place = [change.model, f"x{change.scale}", change.dataset, change.metric]
        cells.append([*place, *means, p, change.verdict, change.note])
    return headings, cells


def to_cost_table(comparison: Comparison) -> tuple[list[str], list[list[str]]]:
    """(headings, cells) of the costs."""
    headings = ["model", "scale", "cost", "of", "old", "new", "change", "verdict", "note"]
    cells = []
    for cost in comparison.costs:
        ratio = "-"
        if cost.old and cost.new is not None:
            ratio = f"{100 * (cost.new / cost.old - 1):+.1f} %"
        pair = [amount(cost.old), amount(cost.new)]
        cells.append([cost.model, f"x{cost.scale}", cost.name, cost.size, *pair, ratio, cost.verdict, cost.note])
    return headings, cells


def number(value: float | None, digits: int, sign: str = "") -> str:
    return "-" if value is None or math.isnan(value) else f"{value:{sign}.{digits}f}"


def amount(value: float | None) -> str:
    """A cost: whole numbers in full, others with four digits that count."""
    if value is None:
        return "-"
    return f"{value:,.0f}" if value == int(value) else f"{value:,.4g}"


def summary(comparison: Comparison) -> str:
    """How many rows are better, worse, and what else, in one line; in another what else differs."""
    verdicts = [change.verdict for change in comparison.changes]
    counts = {verdict: verdicts.count(verdict) for verdict in dict.fromkeys([BETTER, WORSE, *verdicts])}
    line = ", ".join(f"{count} {verdict}" for verdict, count in counts.items())
    differ = "; ".join(f"{key} {then} and {now}" for key, (then, now) in comparison.conditions.items())
    return line + (f"\nmeasured under other conditions: {differ}" if differ else "")
