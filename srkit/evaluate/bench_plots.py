"""Plots of a benchmark as SVG and PDF files for papers: a quality against a cost, with the Pareto front."""

import io
import re
from collections.abc import Iterator, Sequence
from importlib.util import find_spec

from srkit.evaluate.bench_data import Page
from srkit.evaluate.cost_table import PREFIXES, front, told
from srkit.evaluate.curves import COLOURS
from srkit.evaluate.report import Row
from srkit.evaluate.statistics import info

AXES = {
    "parameters": "parameters",
    "multiply_adds": "multiply-adds for an output of {size}",
    "latency": "seconds for an output of {size}",
    "memory": "peak memory in bytes for an output of {size}",
}
KINDS = {"svg": {"Date": None, "Creator": None}, "pdf": {"CreationDate": None, "Creator": None, "Producer": None}}


def can_draw() -> bool:
    """Is matplotlib here?"""
    return find_spec("matplotlib") is not None


def plots_of(page: Page) -> Iterator[tuple[str, bytes]]:
    """(file name, content) for each set, scale and cost that two models have, by the first metric: SVG and PDF."""
    metric = page.metrics[0] if page.metrics else ""
    columns: dict[tuple[str, int], list[Row]] = {}
    for row in page.rows:
        if row.dataset and row.scores[metric] == row.scores[metric]:
            columns.setdefault((row.dataset, row.scale), []).append(row)
    for (dataset, scale), rows in columns.items():
        for key in page.main_costs:
            costs = [(row, page.cost(row.model, scale, key)) for row in rows]
            points = [(row.model, cost, row.scores[metric]) for row, cost in costs if cost]
            if len(points) < 2:
                continue
            words = [metric, dataset, f"x{scale}", key[0].replace("_", "-")]
            name = re.sub(r"[^\w.-]+", "_", "-".join(words))
            for kind, content in drawn(page, metric, f"{dataset} x{scale}", key, points).items():
                yield f"{name}.{kind}", content


def drawn(
    page: Page, metric: str, title: str, key: tuple[str, str], points: Sequence[tuple[str, float, float]]
) -> dict[str, bytes]:
    """One plot by the kind of file. points: (model, cost, quality)."""
    from matplotlib import rc_context
    from matplotlib.figure import Figure
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    about = info(page.results, metric)
    best = front([(cost, quality) for _, cost, quality in points], about.higher_is_better)
    # Without mathematics in text: a `$` of a model's name is a dollar.
    fonts = {"svg.fonttype": "none", "pdf.fonttype": 42, "font.size": 9, "text.parse_math": False}
    with rc_context({"svg.hashsalt": "srkit", **fonts}):  # type: ignore[dict-item]
        figure = Figure(figsize=(4.6, 3.2), layout="constrained")
        axes = figure.add_subplot()
        line = [points[i][1:] for i in best]
        axes.step(*zip(*line, strict=True), where="post", color=COLOURS[0], linestyle="--", linewidth=1)
        for i, (model, cost, quality) in enumerate(points):
            face = COLOURS[0] if i in best else "white"
            axes.plot(cost, quality, "o", color=COLOURS[0], markerfacecolor=face, markersize=5)
            axes.annotate(model, (cost, quality), (4, -10), textcoords="offset points")
        axes.set_xscale("log")
        axes.margins(x=0.15, y=0.15)
        axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axes.xaxis.set_minor_formatter(NullFormatter())
        axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: tick(key[0], value)))
        axes.set_xlabel(AXES[key[0]].format(size=key[1]))
        protocol = f", protocol {page.results.protocol}" if page.results.protocol else ""
        axes.set_ylabel(f"{metric.upper()}{f' in {about.unit}' if about.unit else ''} ({title}{protocol})")
        axes.grid(color="#dddddd", linewidth=0.6)
        axes.spines[["top", "right"]].set_visible(False)
        found = {}
        for kind, told_ in KINDS.items():
            file = io.BytesIO()
            figure.savefig(file, format=kind, metadata=told_)
            found[kind] = file.getvalue()
    return found


def tick(name: str, value: float) -> str:
    """A round number with its prefix: `200 K`."""
    if name in ("latency", "memory"):
        return told(name, value)
    power = 0
    while value >= 1000 and power < len(PREFIXES) - 1:
        value, power = value / 1000, power + 1
    return f"{value:g} {PREFIXES[power]}".rstrip()
