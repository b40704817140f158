"""A benchmark as one HTML page that needs no other file and no network: tables, plots, crops, and what made it."""

import math
from collections.abc import Callable, Sequence
from html import escape

from srkit.evaluate.bench_about import failures_part, made_part, models_part, sets_part
from srkit.evaluate.bench_data import Page, Shown, as_data, page_parts
from srkit.evaluate.bench_groups import groups_part
from srkit.evaluate.cost_table import notes, told, with_spread
from srkit.evaluate.groups import GroupScore
from srkit.evaluate.markup import article, cell, counted, filled, row_head, smallest_kind, table
from srkit.evaluate.protocol import protocol_named
from srkit.evaluate.published import Quoted, sources
from srkit.evaluate.report import Row, differs
from srkit.evaluate.statistics import ALPHA, METHOD, TEST, info, interval
from srkit.evaluate.table import Results, fingerprint

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


def page_of(
    results: Results,
    crops: Sequence[Shown] = (),
    quoted: Sequence[Quoted] = (),
    groups: Sequence[GroupScore] | None = None,
) -> str:
    """The whole page as text.

    crops: from `srkit.evaluate.bench_crops`; without them that part says why. quoted: published figures, from
    `srkit.evaluate.published.beside`. groups: from `srkit.evaluate.groups.group_scores`; computed where not given.
    Raises UsageError for scores of two protocols.
    """
    page = page_parts(results)
    parts: dict[str, tuple[str, Callable[[], str]]] = {
        "scores": ("Scores", lambda: scores_part(page)),
        "quoted": ("Published figures, quoted", lambda: quoted_part(page, quoted)),
        "plots": ("Quality and cost", lambda: plot_part(page)),
        "costs": ("What it costs", lambda: costs_part(page)),
        "pictures": ("Picture by picture", lambda: pairs_part(page)),
        "crops": ("Best and worst pictures", lambda: crops_part([one for one in crops if not one.group])),
        "groups": ("Where it fails", lambda: groups_part(page, groups, [one for one in crops if one.group])),
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
