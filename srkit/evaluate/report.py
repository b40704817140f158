"""Rows of a benchmark as a table, JSON or CSV; a report has one protocol and refuses to mix two."""

import csv
import io
import json
import math
from collections.abc import Container, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from srkit.errors import UsageError
from srkit.evaluate.published import MARK, Quoted
from srkit.evaluate.statistics import Interval

ERROR, CLAIMED = "error", "claimed"  # in headings
TOLERANCE = 0.01  # dB between a claim and what is measured; a hundredth of that for scores up to 1


@dataclass(frozen=True)
class Row:
    """One model on one set at one scale. scores: the mean over images by metric, in metric's units.

    error: why a score is missing, which is then NaN, as is a time that was not taken. images: that were scored.
    claims: what is published, by metric. digits: after the decimal point, by metric, where a metric says it.
    parameters: None where they are not known. intervals: of the means, by metric, where they were asked for.
    """

    model: str
    scale: int
    dataset: str
    images: int
    protocol: str
    scores: dict[str, float]
    parameters: int | None
    seconds: float
    origin: str = ""
    error: str = ""
    claims: Mapping[str, float] = field(default_factory=dict)
    digits: Mapping[str, int] = field(default_factory=dict)
    intervals: Mapping[str, Interval] = field(default_factory=dict)

    def told(self, metric: str) -> str:
        """A score as tables print it."""
        value = self.scores[metric]
        return f"{value:.{self.digits[metric]}f}" if metric in self.digits else digits(metric, value)

    def flat(self) -> dict[str, Any]:
        """The row as JSON and CSV give it. A score that is not finite (identical images) is null."""
        scores = {name: value if math.isfinite(value) else None for name, value in self.scores.items()}
        for name, interval in self.intervals.items():
            scores |= {f"{name}_low": interval.low, f"{name}_high": interval.high}
        return {
            "model": self.model,
            "scale": self.scale,
            "set": self.dataset,
            "images": self.images,
            "protocol": self.protocol,
            **scores,
            "parameters": self.parameters,
            "seconds_per_image": self.seconds if math.isfinite(self.seconds) else None,
            "origin": self.origin,
            "error": self.error or None,
        }


def protocol_of(rows: Sequence[Row]) -> str:
    """The one protocol of all rows. Raises UsageError for two."""
    found = {row.protocol for row in rows}
    if len(found) != 1:
        raise UsageError(f"scores of two protocols cannot be compared in one table: {' and '.join(sorted(found))}")
    return found.pop()


def to_json(rows: Sequence[Row]) -> str:
    return json.dumps({"protocol": protocol_of(rows), "rows": [row.flat() for row in rows]}, indent=2)


def to_csv(rows: Sequence[Row], more: Sequence[Mapping[str, Any]] = (), **same: str) -> str:
    """more: rows with other columns. same: columns that have one value in all rows."""
    protocol_of(rows)
    text = io.StringIO()
    names = dict.fromkeys([*rows[0].flat(), *same, *(name for row in more for name in row)])
    writer = csv.DictWriter(text, list(names), lineterminator="\n")
    writer.writeheader()
    writer.writerows(row.flat() | same for row in rows)
    writer.writerows(dict(row) | same for row in more)
    return text.getvalue()


def to_table(rows: Sequence[Row]) -> tuple[list[str], list[list[str]]]:
    """(headings, cells): scores with their protocol in the heading, times in seconds per image.

    Where there is something to put into it, a column for each metric's claims, marked where they are not met; the last
    column says why a row has no scores.
    """
    protocol = protocol_of(rows)
    metrics = list(rows[0].scores)
    for row in rows:
        if list(row.scores) != metrics:
            raise UsageError(f"scores by other metrics: {', '.join(metrics)} and {', '.join(row.scores)}")
    claimed = [m for m in metrics if any(m in row.claims for row in rows)]
    headings = ["model", "scale", "set", *(f"{m.upper()} ({protocol})" for m in metrics)]
    headings += [*(f"{CLAIMED} {m.upper()}" for m in claimed), "parameters", "s/image"]
    errors = any(row.error for row in rows)
    cells = [
        [row.model, f"x{row.scale}", row.dataset]
        + ["-" if row.error and math.isnan(row.scores[m]) else row.told(m) + span(row, m) for m in metrics]
        + [claim_of(row, m) for m in claimed]
        + ["-" if row.parameters is None else f"{row.parameters:,}"]
        + ["-" if math.isnan(row.seconds) else f"{row.seconds:.3f}"]
        + ([row.error] if errors else [])
        for row in rows
    ]
    return [*headings, ERROR] if errors else headings, cells


def quoted_cells(headings: Sequence[str], metrics: Sequence[str], quoted: Sequence[Quoted]) -> list[list[str]]:
    """Rows of published figures, as their documents print them, in the columns of `to_table`."""
    rows = []
    for each in quoted:
        label = f"{each.method} ({MARK}: {', '.join(each.documents)})"
        figures = [each.figures.get(metric, "-") for metric in metrics]
        row = [label, f"x{each.scale}", each.dataset, *figures]
        rows.append(row + ["" if heading == ERROR else "-" for heading in headings[len(row) :]])
    return rows


def span(row: Row, metric: str) -> str:
    """The interval of a mean, with fewer digits, as it stands behind the mean: ` [35.93, 38.61]`."""
    found = row.intervals.get(metric)
    if found is None or found.low is None or found.high is None:
        return ""
    places = 2 if metric == "psnr" else 4
    return f" [{found.low:.{places}f}, {found.high:.{places}f}]"


def claim_of(row: Row, metric: str) -> str:
    """What is claimed, and by how much the measured differs where it does: `37.99 (-0.02)`."""
    if metric not in row.claims:
        return "-"
    claim = row.claims[metric]
    return f"{claim:g}" + (f" ({row.scores[metric] - claim:+.4f} !)" if differs(row, metric) else "")


def differs(row: Row, metric: str) -> bool:
    """Is a claim missed by more than the rounding of published tables?"""
    claim, score = row.claims.get(metric), row.scores[metric]
    if claim is None or math.isnan(score):
        return False
    return abs(score - claim) > (TOLERANCE if abs(claim) > 2 else TOLERANCE / 100) + 1e-9


def numeric(headings: Sequence[str]) -> list[int]:
    """The columns of `to_table` that are aligned to the right."""
    return [i for i, heading in enumerate(headings) if i >= 3 and heading != ERROR]


def digits(metric: str, value: float) -> str:
    return f"{value:.4f}" if metric == "psnr" else f"{value:.5f}"


def text_of(
    headings: Sequence[str],
    rows: Sequence[Sequence[str]],
    right: Container[int] = (),
    *,
    sections: Container[int] = (),
    width: int | None = 1000,
) -> str:
    """A table as lines of text, without a line break at the end.

    right: the columns aligned to the right. sections: the rows with a line below them. width: in characters, beyond
    which cells are folded; None is that of the terminal.
    """
    from rich import box
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    console = Console(width=width, highlight=False, force_jupyter=False, force_terminal=False if width else None)
    made = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for i, heading in enumerate(headings):
        made.add_column(Text(heading), justify="right" if i in right else "left", overflow="fold", no_wrap=i in right)
    for i, row in enumerate(rows):
        made.add_row(*map(Text, row), end_section=i in sections)
    with console.capture() as capture:
        console.print(made)
    return "\n".join(line.rstrip() for line in capture.get().splitlines() if line.strip())
