"""What the parts of a benchmark's page share, and the data its plots are drawn from."""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import combinations
from typing import Any

from srkit.evaluate.cost_table import CostRow, cost_rows, sizes_of
from srkit.evaluate.report import Row
from srkit.evaluate.statistics import Standing, info, standings, wilcoxon_p
from srkit.evaluate.table import Results, Score
from srkit.evaluate.views import rows_of


@dataclass(frozen=True)
class Shown:
    """Crops of one picture in all versions.

    pixels: uint8 H,W,3 by label. figures: text under each, by label. group: of which it is one of the worst.
    """

    title: str
    pixels: Mapping[str, Any]
    figures: Mapping[str, str]
    group: str = ""


@dataclass
class Page:
    """What the parts of a page share."""

    results: Results
    rows: Sequence[Row]
    costs: Mapping[tuple[str, int], CostRow]
    standings: dict[tuple[str, int, str], Mapping[str, Standing]] = field(default_factory=dict)

    @property
    def metrics(self) -> list[str]:
        return [metric.name for metric in self.results.metrics]

    @property
    def cost_keys(self) -> list[tuple[str, str]]:
        """(name, size) of the costs that some model has."""
        costs = [cost for cost in self.results.costs if cost.value is not None]
        names = ("parameters", "multiply_adds", "latency", "memory")
        keys = [(name, size) for name in names for size in sizes_of(costs, name)]
        known = any(model.parameters is not None for model in self.results.models)
        return keys if ("parameters", "") in keys or not known else [("parameters", ""), *keys]

    @property
    def main_costs(self) -> list[tuple[str, str]]:
        """Those of the first table: of several sizes that which most models have, the largest of them; not memory."""
        counts = {key: sum(key in row.values for row in self.costs.values()) for key in self.cost_keys}
        chosen: dict[str, tuple[str, str]] = {}
        for key, count in counts.items():  # the small sizes first
            if key[0] != "memory" and (key[0] not in chosen or count >= counts[chosen[key[0]]]):
                chosen[key[0]] = key
        return list(chosen.values())

    def cost(self, model: str, scale: int, key: tuple[str, str]) -> float | None:
        row = self.costs.get((model, scale))
        if row and key in row.values:
            return row.values[key]
        if key[0] != "parameters":
            return None
        found = [m.parameters for m in self.results.models if (m.name, m.scale) == (model, scale)]
        return None if not found or found[0] is None else float(found[0])

    def standing(self, row: Row, metric: str) -> Standing | None:
        key = (row.dataset, row.scale, metric)
        if key not in self.standings:
            self.standings[key] = standings(self.results, row.dataset, row.scale, metric)
        return self.standings[key].get(row.model)

    def number(self, metric: str, value: float) -> str:
        return f"{value:.{info(self.results, metric).digits}f}"


def page_parts(results: Results) -> Page:
    return Page(results, rows_of(results), {(row.model, row.scale): row for row in cost_rows(results)})


def as_data(page: Page) -> str:
    """What the plots are drawn from, as JSON that can stand in a page: nothing in it ends a script."""
    columns: dict[tuple[str, int], list[Row]] = {}
    for row in page.rows:
        if row.dataset:
            columns.setdefault((row.dataset, row.scale), []).append(row)
    values: dict[tuple[str, int, str, str], dict[str, float]] = {}
    for score in page.results.scores:
        if finite(score):
            values.setdefault((score.dataset, score.scale, score.model, score.metric), {})[score.image] = (
                score.value or 0.0
            )
    data = {
        "metrics": [
            {"name": m.name, "unit": m.unit, "digits": m.digits, "better": 1 if m.higher_is_better else -1}
            for m in page.results.metrics
        ],
        "costs": [" ".join(filter(None, key)) for key in page.cost_keys],
        "columns": [column(page, key, rows, values) for key, rows in columns.items()],
        "tests": tests(page.results, values),
    }
    return json.dumps(data, allow_nan=False, separators=(",", ":")).replace("<", "\\u003c")


def finite(score: Score) -> bool:
    return bool(score.image) and score.value is not None and math.isfinite(score.value)


def column(
    page: Page,
    key: tuple[str, int],
    rows: Sequence[Row],
    values: Mapping[tuple[str, int, str, str], Mapping[str, float]],
) -> dict[str, Any]:
    """One set at one scale: the models with their means and costs, and the value of each picture."""
    dataset, scale = key
    known = [values.get((dataset, scale, row.model, metric), {}) for row in rows for metric in page.metrics]
    images = list(dict.fromkeys(name for each in known for name in each))
    found = []
    for row in rows:
        of = {metric: values.get((dataset, scale, row.model, metric), {}) for metric in page.metrics}
        means = {m: round(v, 6) for m, v in row.scores.items() if math.isfinite(v)}
        costs = {" ".join(filter(None, k)): page.cost(row.model, scale, k) for k in page.cost_keys}
        digits = {metric: info(page.results, metric).digits for metric in page.metrics}
        picture = {m: [round(v[i], digits[m]) if i in v else None for i in images] for m, v in of.items() if v}
        found.append({"model": row.model, "means": means, "costs": costs, "values": picture})
    return {"set": dataset, "scale": scale, "images": images, "rows": found}


def tests(results: Results, values: Mapping[tuple[str, int, str, str], Mapping[str, float]]) -> dict[str, float]:
    """The p of the paired test of each two models, not corrected, by set, scale, metric and both names in order."""
    columns: dict[tuple[str, int, str], list[str]] = {}
    for dataset, scale, model, metric in values:
        columns.setdefault((dataset, scale, metric), []).append(model)
    found = {}
    for (dataset, scale, metric), models in columns.items():
        for pair in combinations(sorted(models), 2):
            a, b = (values[dataset, scale, model, metric] for model in pair)
            apart = [b[name] - a[name] for name in a if name in b and b[name] != a[name]]
            found["\n".join([dataset, str(scale), metric, *pair])] = float(f"{wilcoxon_p(apart):.3g}")
    return found
