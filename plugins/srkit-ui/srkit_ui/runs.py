"""The trainings in a folder of runs: what is in them, and their curves as SVG."""

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path

LOG = "log.jsonl"
MOST_RUNS = 200
MOST_CURVES = 12  # a run with several losses has one for each
LEFT_OUT = {"step", "lr", "seconds"}  # keys of a log that are no curve to look at
WIDE, TALL, EDGE = 640, 240, 72  # pixels of a curve, and of the room at its left
BELOW = 44  # pixels for the numbers of its steps
POINTS = 400  # of a curve that are drawn


@dataclass(frozen=True)
class TrainingRun:
    """A run's folder. name: below the folder of runs. curves: (step, value) by the log's key, scores first."""

    name: str
    steps: int
    curves: dict[str, list[tuple[int, float]]]


def run_names(folder: Path) -> list[str]:
    """The runs below a folder, also those of a sweep: the one that changed last first."""
    logs = sorted(folder.glob(f"**/{LOG}"), key=lambda path: path.stat().st_mtime, reverse=True)
    return [path.parent.relative_to(folder).as_posix() for path in logs[:MOST_RUNS]]


def read_run(folder: Path, name: str) -> TrainingRun | None:
    """A run by one of `run_names`; None for any other name."""
    if name not in run_names(folder):
        return None
    curves: dict[str, list[tuple[int, float]]] = {}
    last = 0
    for line in (folder / name / LOG).read_text(encoding="utf-8", errors="replace").splitlines():
        try:
            values = json.loads(line)
            step = int(values["step"])
        except (ValueError, KeyError, TypeError):  # a line that is being written, or was cut off
            continue
        last = max(last, step)
        for key, value in values.items():
            number = isinstance(value, int | float) and not isinstance(value, bool)
            if key not in LEFT_OUT and number and math.isfinite(value):
                curves.setdefault(key, []).append((step, float(value)))
    scores_first = sorted(curves, key=lambda key: (key.startswith("loss"), key))
    return TrainingRun(name, last, {key: curves[key] for key in scores_first})


def run_page(run: TrainingRun) -> str:
    """Its curves as HTML."""
    drawn = [curve(key, points) for key, points in list(run.curves.items())[:MOST_CURVES]]
    left_out = len(run.curves) - len(drawn)
    more = f"<p>{left_out} more are in its {LOG}.</p>" if left_out else ""
    if not drawn:
        return "<p>Nothing is logged yet.</p>"
    return f"<p>{run.steps:,} steps so far.</p><div class='curves'>{''.join(drawn)}</div>{more}"


def curve(key: str, points: Sequence[tuple[int, float]]) -> str:
    """One curve over the steps, its last and its extreme values in words."""
    shown = thinned(points)
    steps, values = [step for step, _ in points], [value for _, value in points]
    low, high = floor_of(points), max(values)
    (first, end), span = (steps[0], steps[-1]), (high - low) or 1.0

    def place(step: int, value: float) -> str:
        x = EDGE + (WIDE - EDGE - 8) * (step - first) / ((end - first) or 1)
        y = 8 + (TALL - BELOW) * (1 - (max(value, low) - low) / span)
        return f"{x:.1f},{y:.1f}"

    line = " ".join(place(*point) for point in shown)
    last, (x, y) = values[-1], place(*points[-1]).split(",")
    words = f"{key}: {number(last)} at step {end:,}; from {number(min(values))} to {number(max(values))}"
    axis = TALL - BELOW + 8
    return (
        f"<figure><figcaption><b>{escape(key)}</b> {number(last)} at step {end:,}</figcaption>"
        f'<svg role="img" aria-label="{escape(words)}" viewBox="0 0 {WIDE} {TALL}">'
        f'<path class="axis" d="M{EDGE} 8V{axis}H{WIDE - 8}"/>'
        f'<text x="{EDGE - 6}" y="16" text-anchor="end">{number(high)}</text>'
        f'<text x="{EDGE - 6}" y="{axis}" text-anchor="end">{number(low)}</text>'
        f'<text x="{EDGE}" y="{TALL - 14}">{first:,}</text>'
        f'<text x="{WIDE - 8}" y="{TALL - 14}" text-anchor="end">step {end:,}</text>'
        f'<polyline points="{line}"/><circle cx="{x}" cy="{y}" r="4"/></svg></figure>'
    )


def floor_of(points: Sequence[tuple[int, float]]) -> float:
    """Lower end of the axis: what a score begins with must not flatten the rest."""
    values = [value for _, value in points]
    settled = values[len(values) // 5 :]
    low, high = min(settled), max(settled)
    return max(min(values), low - 0.2 * (high - low)) if high > low else min(values)


def thinned(points: Sequence[tuple[int, float]]) -> list[tuple[int, float]]:
    """At most about `POINTS` of them, the last one among them."""
    stride = max(1, len(points) // POINTS)
    return [*points[::stride], points[-1]]


def number(value: float) -> str:
    """Four digits that matter: 33.58, 0.02526."""
    return f"{value:.4g}"
