"""What models cost, as tables and plots show it: rows of numbers by model and scale, units, the Pareto front."""

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from srkit.errors import UsageError
from srkit.evaluate.table import Cost, Results

Size = tuple[int, int]  # width and height of an output

PUBLISHED: Size = (1280, 720)  # what papers count multiply-adds for
SIZES: tuple[Size, ...] = ((640, 360), (1280, 720))
TOO_MUCH = "needs too much memory in one piece"
PREFIXES = ("", "K", "M", "G", "T", "P")


@dataclass
class CostRow:
    """The costs of one model at one scale.

    Attributes:
        values: by (name, size), as in `Cost`; the size is empty for `parameters`.
        errors: what could not be measured and why, one line each.
        conditions: by (name, size).
    """

    model: str
    scale: int
    values: dict[tuple[str, str], float] = field(default_factory=dict)
    errors: list[str] = field(default_factory=list)
    conditions: dict[tuple[str, str], Mapping[str, str]] = field(default_factory=dict)


def lr_of(size: Size, scale: int) -> Size:
    """Width and height of the LR that gives an output of at least that size."""
    return -(-size[0] // scale), -(-size[1] // scale)


def text_of(size: Size) -> str:
    return f"{size[0]}x{size[1]}"


def size_named(word: str) -> Size:
    """`1280x720`. Raises UsageError."""
    found = re.fullmatch(r"(\d+)x(\d+)", word.strip().lower())
    if not found or not int(found[1]) or not int(found[2]):
        raise UsageError(f"'{word}' is not the size of a picture; write 1280x720")
    return int(found[1]), int(found[2])


def cost_rows(results: Results) -> list[CostRow]:
    """A row for each model and scale that has costs, in the table's order."""
    found: dict[tuple[str, int], CostRow] = {}
    for cost in results.costs:
        row = found.setdefault((cost.model, cost.scale), CostRow(cost.model, cost.scale))
        key = (cost.name, cost.size)
        row.conditions[key] = cost.conditions
        if cost.value is not None:
            row.values[key] = cost.value
        if cost.error:
            error = f"{cost.size}: {cost.error}" if cost.size else cost.error
            row.errors += [error] if error not in row.errors else []
    return list(found.values())


def sizes_of(costs: Sequence[Cost], name: str) -> list[str]:
    """The sizes a cost was measured at, the small ones first."""
    sizes = {cost.size for cost in costs if cost.name == name}
    return sorted(sizes, key=lambda text: (math.prod(size_named(text)) if text else 0, text))


def cost_table(results: Results) -> tuple[list[str], list[list[str]]]:
    """(headings, cells) of all costs; the last column says what could not be measured, if there is such a row."""
    rows = cost_rows(results)
    keys = [(name, size) for name in ("latency", "memory") for size in sizes_of(results.costs, name)]
    errors = any(row.errors for row in rows)
    headings = ["model", "scale", "parameters", f"multiply-adds ({text_of(PUBLISHED)})"]
    headings += [f"{name} ({size})" for name, size in keys]
    cells = []
    for row in rows:
        line = [row.model, f"x{row.scale}"]
        line += [cell(row, ("parameters", "")), cell(row, ("multiply_adds", text_of(PUBLISHED)))]
        line += [cell(row, key) for key in keys]
        cells.append(line + (["; ".join(row.errors)] if errors else []))
    return [*headings, "error"] if errors else headings, cells


def cell(row: CostRow, key: tuple[str, str]) -> str:
    """A number with its unit; a latency with the distance of its quartiles; `-` for one that is not there."""
    if key not in row.values:
        return "-"
    name, size = key
    spread = row.values.get(("latency_spread", size)) if name == "latency" else None
    return told(name, row.values[key]) if spread is None else with_spread(row.values[key], spread)


def told(name: str, value: float) -> str:
    """`1,369,859`, `315.75 G`, `1.24 s` or `12.4 ms`, `310 MB`."""
    if name == "parameters":
        return f"{value:,.0f}"
    if name == "multiply_adds":
        power = min(len(PREFIXES) - 1, int(math.log10(value) // 3)) if value >= 1 else 0
        return f"{value / 1000**power:,.2f} {PREFIXES[power]}".rstrip()
    if name == "memory":
        return f"{value / 1e6:,.0f} MB"
    return f"{value:.3g} s" if value >= 1 else f"{value * 1000:.3g} ms"


def with_spread(seconds: float, spread: float) -> str:
    """`1.24 ± 0.05 s`: a median, and half the distance between the quartiles."""
    times, unit = (1, "s") if seconds >= 1 else (1000, "ms")
    return f"{seconds * times:.3g} ± {spread / 2 * times:.2g} {unit}"


def notes(results: Results) -> list[str]:
    """What the figures of `cost_table` are of, in sentences: how they were made, and under which conditions."""
    shared: dict[str, set[str]] = {}
    for cost in results.costs:
        for key, value in cost.conditions.items():
            if key not in ("lr", "runs"):
                shared.setdefault(key, set()).add(value)
    found = [f"{key} {', '.join(sorted(values))}" for key, values in sorted(shared.items())]
    return [
        f"multiply-adds for an output of {text_of(PUBLISHED)}, the LR rounded up to whole pixels;"
        " latency is the median ± half the distance of the quartiles; memory is the peak beside the loaded network",
        "; ".join(found),
    ]


def front(points: Sequence[tuple[float, float]], higher_is_better: bool = True) -> list[int]:
    """The Pareto front of (cost, quality) pairs: the indices of those that no other one beats, the cheapest first.

    One beats another that is at least as cheap and as good, and in one of both better. Equal points are all on it.
    """
    sign = 1 if higher_is_better else -1
    order = sorted(range(len(points)), key=lambda i: (points[i][0], -sign * points[i][1]))
    found: list[int] = []
    for i in order:
        cost, quality = points[i][0], sign * points[i][1]
        last = points[found[-1]] if found else None
        if last is None or quality > sign * last[1] or (cost, quality) == (last[0], sign * last[1]):
            found.append(i)
    return found
