"""Rows of a benchmark as a table, JSON or CSV; a report has one protocol and refuses to mix two."""

import csv
import io
import json
import math
from collections.abc import Container, Sequence
from dataclasses import dataclass
from typing import Any

from srkit.errors import UsageError

ERROR = "error"  # the heading


@dataclass(frozen=True)
class Row:
    """One model on one set at one scale. scores: the mean over images by metric, in metric's units.

    error: why there are none; then they and the time are NaN. images: that were scored.
    """

    model: str
    scale: int
    dataset: str
    images: int
    protocol: str
    scores: dict[str, float]
    parameters: int
    seconds: float
    origin: str = ""
    error: str = ""

    def flat(self) -> dict[str, Any]:
        """The row as JSON and CSV give it. A score that is not finite (identical images) is null."""
        scores = {name: value if math.isfinite(value) else None for name, value in self.scores.items()}
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


def to_csv(rows: Sequence[Row]) -> str:
    protocol_of(rows)
    text = io.StringIO()
    writer = csv.DictWriter(text, list(rows[0].flat()), lineterminator="\n")
    writer.writeheader()
    writer.writerows(row.flat() for row in rows)
    return text.getvalue()


def to_table(rows: Sequence[Row]) -> tuple[list[str], list[list[str]]]:
    """(headings, cells): scores with their protocol in the heading, times in seconds per image.

    The last column says why a row has no scores, if there is such a row.
    """
    protocol = protocol_of(rows)
    metrics = list(rows[0].scores)
    for row in rows:
        if list(row.scores) != metrics:
            raise UsageError(f"scores by other metrics: {', '.join(metrics)} and {', '.join(row.scores)}")
    headings = ["model", "scale", "set", *(f"{m.upper()} ({protocol})" for m in metrics), "parameters", "s/image"]
    errors = any(row.error for row in rows)
    cells = [
        [row.model, f"x{row.scale}", row.dataset]
        + ["-" if row.error else digits(m, row.scores[m]) for m in metrics]
        + [f"{row.parameters:,}", "-" if row.error else f"{row.seconds:.3f}"]
        + ([row.error] if errors else [])
        for row in rows
    ]
    return [*headings, ERROR] if errors else headings, cells


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
