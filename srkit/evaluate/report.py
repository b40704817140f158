"""Rows of a benchmark as a table, JSON or CSV; a report has one protocol and refuses to mix two."""

import csv
import io
import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Row:
    """One model on one set at one scale. scores: the mean over images by metric, in metric's units."""

    model: str
    scale: int
    dataset: str
    images: int
    protocol: str
    scores: dict[str, float]
    parameters: int
    seconds: float
    origin: str = ""

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
            "seconds_per_image": self.seconds,
            "origin": self.origin,
        }


def protocol_of(rows: Sequence[Row]) -> str:
    """The one protocol of all rows. Raises ValueError for two."""
    found = {row.protocol for row in rows}
    if len(found) != 1:
        raise ValueError(f"a table of two protocols means nothing: {sorted(found)}")
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
    """(headings, cells): scores with their protocol in the heading, times in seconds per image."""
    protocol = protocol_of(rows)
    metrics = list(rows[0].scores)
    headings = ["model", "scale", "set", *(f"{m.upper()} ({protocol})" for m in metrics), "parameters", "s/image"]
    cells = [
        [row.model, f"x{row.scale}", row.dataset]
        + [digits(m, row.scores[m]) for m in metrics]
        + [f"{row.parameters:,}", f"{row.seconds:.3f}"]
        for row in rows
    ]
    return headings, cells


def digits(metric: str, value: float) -> str:
    return f"{value:.4f}" if metric == "psnr" else f"{value:.5f}"
