"""A benchmark as one HTML page that needs no other file and no network: tables, plots, crops, and what made it."""

import json
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from html import escape
from itertools import combinations
from pathlib import Path
from typing import Any

from srkit.evaluate.cost_table import CostRow, cost_rows, notes, sizes_of, told, with_spread
from srkit.evaluate.markup import article, filled, head_row, smallest_kind
from srkit.evaluate.protocol import protocol_named
from srkit.evaluate.published import Quoted, sources
from srkit.evaluate.report import Row, differs
from srkit.evaluate.statistics import ALPHA, METHOD, TEST, Standing, info, interval, mean, standings, wilcoxon_p
from srkit.evaluate.table import Results, Score, fingerprint
from srkit.evaluate.views import rows_of

LISTED = 12  # pictures that are named in a line
LEFT = (
    "set",
    "LR made by",
    "content",
    "folder",
    "weights",
    "trained on",
    "its LR",
    "licence",
    "origin",
    "read in",
    "error",
)
ABOUT = {"command": "command", "date": "date", "srkit": "srkit", "torch": "torch", "device": "measured on"}

SCORES = """\
<p>Means over the pictures of a set. Bold: the best of its scale and set; ≈: not significantly different from the best
(never said of so few pictures that no difference could be significant). Below a score: {method}</p>
<p class=soft>{protocol} A press on a heading sorts.</p>
<div class=both id=filters hidden>
<label>model <input type=search id=only-model></label>
<label>scale <select id=only-scale><option value="">all</option>{scales}</select></label>
<label>set <select id=only-set><option value="">all</option>{sets}</select></label>
<span class=soft id=shown role=status></span></div>
"""
PLOT = """\
<p>Left is cheaper. Full dots are on the Pareto front: no other model is at least as good for no more.</p>
<div class=both data-menus hidden><label>set <select id=plot-where></select></label>
<label>quality <select id=plot-metric></select></label>
<label>cost <select id=plot-cost></select></label></div>
<div class=plot id=plot-box><div id=plot>A script draws this plot; the table above has its numbers.</div></div>
<p class=soft id=front role=status></p>
"""
PAIRS = """\
<p>Each dot is a picture; on the line both models score the same.</p>
<div class=both data-menus hidden><label>set <select id=pairs-where></select></label>
<label>metric <select id=pairs-metric></select></label>
<label>across <select id=pairs-a></select></label>
<label>up <select id=pairs-b></select></label></div>
<div class=plot id=pairs-box><div id=pairs>A script draws this plot.</div></div>
<p id=pairs-told role=status></p><p class=soft id=pairs-b-best></p><p class=soft id=pairs-a-best></p>
"""
CROPS = """\
<p class=soft>Drag over a picture, or move its slider with <kbd>&larr;</kbd> <kbd>&rarr;</kbd>. With the focus in
a crop, <kbd>1</kbd> to <kbd>9</kbd> put that version on the right, with <kbd>Shift</kbd> on the left; so does a
click on it.</p>
"""
GROUPS = """\
<p>{metric} of each set's pictures by what is in them; below it the difference to the whole set, and the 95 % interval.
A group far below the whole is where a model is weak. A picture may be in several groups.</p>
"""


@dataclass(frozen=True)
class Shown:
    """Crops of one picture in all versions. pixels: uint8 H,W,3 by label; figures: text under each, by label."""

    title: str
    pixels: Mapping[str, Any]
    figures: Mapping[str, str]


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


def page_of(results: Results, crops: Sequence[Shown] = (), quoted: Sequence[Quoted] = ()) -> str:
    """The whole page as text.

    crops: from `srkit.evaluate.bench_crops`; without them that part says why. quoted: published figures, from
    `srkit.evaluate.published.beside`. Raises UsageError for scores of two protocols.
    """
    page = page_parts(results)
    parts: dict[str, tuple[str, Callable[[], str]]] = {
        "scores": ("Scores", lambda: scores_part(page)),
        "quoted": ("Published figures, quoted", lambda: quoted_part(page, quoted)),
        "plots": ("Quality and cost", lambda: plot_part(page)),
        "costs": ("What it costs", lambda: costs_part(page)),
        "pictures": ("Picture by picture", lambda: pairs_part(page)),
        "crops": ("Best and worst pictures", lambda: crops_part(crops)),
        "groups": ("Where it fails", lambda: groups_part(page)),
        "failures": ("Failures", lambda: failures_part(page)),
        "sets": ("Test sets", lambda: sets_part(page)),
        "models": ("Models", lambda: models_part(page)),
        "made": ("How this was made", lambda: made_part(page)),
    }
    made = {anchor: (title, write()) for anchor, (title, write) in parts.items()}
    there = {anchor: part for anchor, part in made.items() if part[1]}
    title = f"Benchmark of {counted(len({row.model for row in page.rows}), 'model')}"
    protocol = f"protocol {results.protocol}" if results.protocol else "no protocol"
    lead = [protocol, f"fingerprint {fingerprint(results)}", results.about.get("date", "")]
    return filled(
        "bench.html",
        {
            "title": escape(title),
            "lead": escape(", ".join(filter(None, lead))),
            "nav": "".join(f'<a href="#{anchor}">{escape(text)}</a>' for anchor, (text, _) in there.items()),
            "main": "".join(
                f"<section aria-labelledby={anchor}><h2 id={anchor}>{escape(text)}</h2>\n{part}</section>\n"
                for anchor, (text, part) in there.items()
            ),
            "data": as_data(page),
        },
        scripts=("crops.js", "bench.js"),
    )


def counted(count: int, noun: str) -> str:
    return f"{count:,} {noun}" + ("" if count == 1 else "s")


def table(name: str, head: Iterable[str], body: Iterable[str], *, kind: str = "", anchor: str = "") -> str:
    """A table in a box of its own that scrolls; by keyboard too. head: text. body: rows as HTML."""
    identity = f" id={anchor}" if anchor else ""
    return (
        f'<div class=wide tabindex=0 role=region aria-label="{escape(name)}"><table{identity} class="{kind}">\n'
        f"<thead><tr>{head_row(head, LEFT)}</tr></thead>\n<tbody>\n{''.join(body)}</tbody></table></div>\n"
    )


def cell(text: str, sort: object = "", *, kind: str = "", below: str = "") -> str:
    """A cell with what it is sorted by: text as it is, a number, or nothing for what is not there."""
    small = f"<small>{escape(below)}</small>" if below else ""
    return f'<td class="{kind}" data-sort="{escape(str(sort))}">{escape(text)}{small}</td>'


def row_head(text: str, sort: object = "") -> str:
    return f'<th scope="row" data-sort="{escape(str(sort or text))}">{escape(text)}</th>'


def scores_part(page: Page) -> str:
    """The table of means, a row a model and set."""
    claimed = [metric for metric in page.metrics if any(metric in row.claims for row in page.rows)]
    head = ["model", "scale", "set"]
    head += [f"{metric.upper()}{unit(page, metric)}" for metric in page.metrics]
    head += [f"claimed {metric.upper()}" for metric in claimed]
    head += [cost_heading(key) for key in page.main_costs] + ["s/image"]
    errors = any(row.error for row in page.rows)
    body = [score_row(page, row, claimed, errors) for row in page.rows]
    scales = sorted({row.scale for row in page.rows})
    sets = list(dict.fromkeys(row.dataset for row in page.rows if row.dataset))
    protocol = protocol_named(page.results.protocol).summary if page.results.protocol else ""
    parts = {
        "method": escape(f"{METHOD}. {TEST[:1].upper()}{TEST[1:]}."),
        "protocol": escape(f"Protocol {page.results.protocol}: {protocol}." if protocol else ""),
        "scales": "".join(f"<option value={scale}>x{scale}</option>" for scale in scales),
        "sets": "".join(f"<option>{escape(name)}</option>" for name in sets),
    }
    head += ["error"] if errors else []
    return SCORES.format_map(parts) + table("scores", head, body, kind="sortable", anchor="scores-table")


def score_row(page: Page, row: Row, claimed: Sequence[str], errors: bool) -> str:
    cells = [row_head(row.model), cell(f"x{row.scale}", row.scale), cell(row.dataset, row.dataset, kind="text")]
    for metric in page.metrics:
        value = row.scores[metric]
        if math.isnan(value):
            cells.append(cell("–"))
            continue
        standing = page.standing(row, metric)
        best = standing is not None and standing.rank == 1
        near = bool(standing and standing.significant is False and standing.smallest_p < ALPHA and not best)
        found = interval(page.results.values(row.model, row.scale, row.dataset, metric).values())
        below = found.note if found.low is None or found.high is None else (
            f"{page.number(metric, found.low)} – {page.number(metric, found.high)}"
        )  # fmt: skip
        cells.append(cell(page.number(metric, value) + (" ≈" if near else ""), value, kind="best" * best, below=below))
    for metric in claimed:
        claim = row.claims.get(metric)
        if claim is None:
            cells.append(cell("–"))
        else:
            missed = differs(row, metric)
            below = f"measured {row.scores[metric] - claim:+.4f}" if missed else "as claimed"
            below = "not measured" if math.isnan(row.scores[metric]) else below
            cells.append(cell(f"{claim:g}", claim, kind="miss" * missed, below=below))
    for key in page.main_costs:
        value_ = page.cost(row.model, row.scale, key)
        cells.append(cell("–") if value_ is None else cell(told(key[0], value_), value_))
    cells.append(cell("–") if math.isnan(row.seconds) else cell(f"{row.seconds:.3f}", row.seconds))
    if errors:
        cells.append(cell(row.error, row.error, kind="long"))
    return f"<tr>{''.join(cells)}</tr>\n"


def unit(page: Page, metric: str) -> str:
    about = info(page.results, metric)
    return f" in {about.unit}" if about.unit else "" if about.higher_is_better else " (lower is better)"


def cost_heading(key: tuple[str, str]) -> str:
    name, size = key
    return name.replace("_", "-") + (f" {size}" if size else "")


def quoted_part(page: Page, quoted: Sequence[Quoted]) -> str:
    """Figures of others, which are no part of what was measured, with the documents they were read in."""
    if not quoted:
        return ""
    body = []
    for one in quoted:
        cells = [row_head(one.method), cell(f"x{one.scale}", one.scale), cell(one.dataset, one.dataset, kind="text")]
        cells += [cell(one.figures.get(metric, "–"), one.figures.get(metric, "")) for metric in page.metrics]
        names = ", ".join(one.documents)
        body.append(f"<tr>{''.join(cells)}{cell(names, names, kind='text')}</tr>\n")
    head = ["method", "scale", "set", *map(str.upper, page.metrics), "read in"]
    lines = "".join(f"<li>{escape(line)}</li>" for line in sources(quoted))
    told = "<p>Not measured here: read in the documents below, of the same sets by the same protocol.</p>\n"
    return told + table("published figures", head, body, kind="sortable") + f"<ul class=origins>{lines}</ul>\n"


def plot_part(page: Page) -> str:
    """The place of the plot that `bench.js` draws."""
    if not page.cost_keys:
        return ""
    return PLOT


def costs_part(page: Page) -> str:
    """The costs alone, with their conditions."""
    if not page.results.costs:
        return ""
    keys = [key for key in page.cost_keys if key[0] != "latency"]
    times = [key for key in page.cost_keys if key[0] == "latency"]
    errors = any(row.errors for row in page.costs.values())
    head = ["model", "scale", *map(cost_heading, keys), *map(cost_heading, times), *["error"] * errors]
    body = []
    for row in page.costs.values():
        cells = [row_head(row.model), cell(f"x{row.scale}", row.scale)]
        for key in keys:
            value = page.cost(row.model, row.scale, key)
            cells.append(cell("–") if value is None else cell(told(key[0], value), value))
        for key in times:
            time, spread = row.values.get(key), row.values.get(("latency_spread", key[1]), 0.0)
            below = f"{row.conditions[key].get('runs', '?')} runs" if time is not None else ""
            cells.append(cell("–") if time is None else cell(with_spread(time, spread), time, below=below))
        error = "; ".join(row.errors)
        cells += [cell(error, error, kind="long")] * errors
        body.append(f"<tr>{''.join(cells)}</tr>\n")
    lines = "".join(
        f"<p class=soft>{escape(line[:1].upper() + line[1:])}.</p>\n" for line in notes(page.results) if line
    )
    return f"{table('costs', head, body, kind='sortable')}{lines}"


def pairs_part(page: Page) -> str:
    """The place of the scatter plot of two models."""
    if len({row.model for row in page.rows}) < 2:
        return ""
    return PAIRS


def crops_part(crops: Sequence[Shown]) -> str:
    """The crops with their sliders."""
    if not crops:
        return "<p class=soft>No crops: this page was made from a table alone, which has no pictures.</p>\n"
    kind = smallest_kind()
    made = [article(f"crop-{n}", one.title, one.pixels, one.figures, kind) for n, one in enumerate(crops, 1)]
    return CROPS + "".join(made)


def groups_part(page: Page) -> str:
    """Means over the pictures of each group by the first metric, and how far they are from those of the whole set."""
    metric = page.metrics[0] if page.metrics else ""
    models = list(dict.fromkeys(row.model for row in page.rows))
    body = []
    for one in page.results.sets:
        values = {model: page.results.values(model, one.scale, one.name, metric) for model in models}
        for group, names in one.groups.items():
            cells = [group_cell(page, metric, values[model], names) for model in models]
            head = f"{row_head(group)}{cell(f'x{one.scale}', one.scale)}{cell(one.name, one.name, kind='text')}"
            body.append(f"<tr>{head}{cell(f'{len(names):,}', len(names))}{''.join(cells)}</tr>\n")
    if not body:
        return ""
    head_ = ["group", "scale", "set", "pictures", *models]
    return GROUPS.format(metric=metric.upper()) + table("groups", head_, body, kind="sortable")


def group_cell(page: Page, metric: str, values: Mapping[str, float], names: Sequence[str]) -> str:
    inside = [values[name] for name in names if name in values]
    if not inside:
        return cell("–")
    found, apart = interval(inside), mean(inside) - mean(values.values())
    below = f"{apart:+.{info(page.results, metric).digits}f}"
    if found.low is not None and found.high is not None:
        below += f"; {page.number(metric, found.low)} – {page.number(metric, found.high)}"
    return cell(page.number(metric, mean(inside)), mean(inside), below=below)


def failures_part(page: Page) -> str:
    """What has no score and why, what was left out, and costs that could not be measured."""
    found: dict[tuple[str, int, str, str], list[str]] = {}
    for score in page.results.scores:
        if score.error:
            names = found.setdefault((score.model, score.scale, score.dataset, score.error), [])
            names += [score.image] if score.image and score.image not in names else []
    lines = [
        f"{model} x{scale}{f' on {dataset}' if dataset else ''}: {error}{listed(names)}"
        for (model, scale, dataset, error), names in found.items()
    ]
    lines += [
        f"{one.name} x{one.scale}: {name} was scored by no model: {why}"
        for one in page.results.sets
        for name, why in one.left_out.items()
    ]
    lines += [f"cost of {row.model} x{row.scale}: {error}" for row in page.costs.values() for error in row.errors]
    if not lines:
        return "<p>None: every model has a score on every picture.</p>\n"
    return f"<ul>{''.join(f'<li>{escape(line)}</li>' for line in lines)}</ul>\n"


def listed(names: Sequence[str]) -> str:
    if not names:
        return ""
    more = f" and {len(names) - LISTED} more" if len(names) > LISTED else ""
    return f" ({counted(len(names), 'picture')}: {', '.join(names[:LISTED])}{more})"


def sets_part(page: Page) -> str:
    """What was scored on, and what made its LR."""
    if not page.results.sets:
        return ""
    body = []
    for one in page.results.sets:
        texts = [(one.lr_maker or "not asked", "long"), (one.content[:12], "text"), (short_path(one.folder), "long")]
        cells = [row_head(one.name), cell(f"x{one.scale}", one.scale), cell(f"{one.images:,}", one.images)]
        cells += [cell(text, text, kind=kind) for text, kind in texts]
        body.append(f"<tr>{''.join(cells)}</tr>\n")
    return table("sets", ["set", "scale", "pictures", "LR made by", "content", "folder"], body, kind="sortable")


def models_part(page: Page) -> str:
    """Where the weights come from."""
    if not page.results.models:
        return ""
    head = ["model", "scale", "parameters", "weights", "trained on", "its LR", "licence", "origin"]
    body = []
    for one in page.results.models:
        count = "" if one.parameters is None else one.parameters
        cells = [
            row_head(one.name),
            cell(f"x{one.scale}", one.scale),
            cell(f"{count:,}" if count != "" else "–", count),
        ]
        texts = [
            (one.weights[:12], "text"),
            (one.trained_on, "long"),
            (one.training_lr, "text"),
            (one.licence, "text"),
            (short_path(one.origin), "long"),
        ]
        cells += [cell(text or "–", text, kind=kind) for text, kind in texts]
        body.append(f"<tr>{''.join(cells)}</tr>\n")
    return table("models", head, body, kind="sortable")


def short_path(text: str) -> str:
    """The end of an absolute path, since a page is given to others; anything else as it is."""
    path = Path(text)
    return "/".join(path.parts[-2:]) if path.is_absolute() else text


def made_part(page: Page) -> str:
    """The command, the versions, the machine, and what makes two tables comparable."""
    about = dict(page.results.about)
    first = {name: about.pop(key) for key, name in ABOUT.items() if about.get(key)}
    shown = first | about | {"protocol": page.results.protocol, "fingerprint": fingerprint(page.results)}
    hardware = {value for cost in page.results.costs if (value := cost.conditions.get("processor"))}
    if hardware:
        shown["processor"] = ", ".join(sorted(hardware))
    items = "".join(
        f"<dt>{escape(name)}</dt><dd>{f'<code>{escape(value)}</code>' if name == 'command' else escape(value)}</dd>"
        for name, value in shown.items()
        if value
    )
    return f"<dl>{items}</dl>\n<p class=soft>Two tables can be compared where their fingerprints agree.</p>\n"


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
