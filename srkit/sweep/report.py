"""A sweep's results as tables and curves."""

import csv
import io
import json
import math
import re
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from srkit.errors import SrkitError, one_line
from srkit.evaluate.curves import Curve, draw_curves
from srkit.evaluate.report import digits
from srkit.evaluate.selection import Selection
from srkit.files import write_atomically
from srkit.sweep.grid import Cell
from srkit.sweep.train import Record, read_record

SUM, TERM = "loss", "loss_"  # in a log, of all losses and of each: `loss_l1`
SEED = "seed"  # the key of a run whose values are repetitions, of which mean and standard deviation are given


@dataclass(frozen=True)
class Result:
    """A finished cell. curve: (step, score) of each validation, by the sweep's metric and protocol.

    losses: (step, value) by the log's key of each weighted loss, where a run has several, and of their sum.
    """

    cell: Cell
    record: Record
    curve: list[tuple[int, float]]
    losses: Mapping[str, list[tuple[int, float]]] = field(default_factory=dict)

    @property
    def best(self) -> tuple[int, float]:
        """(step, score); of equal ones the first."""
        best = self.curve[0]
        for point in self.curve:
            best = point if self.cell.selection.prefers(point[1], best[1]) else best
        return best

    @property
    def pace(self) -> float | None:
        """Steps per second, validations included; None where it was not measured."""
        return self.record.timed_steps / self.record.timed_seconds if self.record.timed_seconds else None


def read_result(cell: Cell) -> Result | None:
    """What a finished cell reached, from its log; None for one that is not finished."""
    record = read_record(cell)
    if not record.finished:
        return None
    path = cell.folder / "log.jsonl"
    try:
        lines = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
        key = cell.selection.key
        curve = [(line["step"], line[key]) for line in lines if key in line]
        losses = losses_of(lines)
    except (OSError, ValueError, KeyError) as error:
        raise SrkitError(f"'{path}' cannot be read: {one_line(error)}") from None
    if not curve:
        raise SrkitError(f"'{path}' has no validation in it; delete '{cell.folder}' to train that cell anew")
    return Result(cell, record, curve, losses)


def losses_of(lines: Sequence[Mapping[str, Any]]) -> dict[str, list[tuple[int, float]]]:
    """The curves of a run's losses by their keys in its log; none where it has one loss only."""
    found: dict[str, list[tuple[int, float]]] = {}
    for line in lines:
        for key, value in line.items():
            if (key == SUM or key.startswith(TERM)) and math.isfinite(value):
                found.setdefault(key, []).append((line["step"], value))
    return found if any(key.startswith(TERM) for key in found) else {}


@dataclass(frozen=True)
class Spread:
    """The finished cells that differ in their seed only. Standard deviations are those of a sample, over n - 1."""

    results: Sequence[Result]

    @property
    def n(self) -> int:
        return len(self.results)

    @property
    def best(self) -> tuple[float, float]:
        """Mean and standard deviation of the best scores."""
        return mean_and_deviation([result.best[1] for result in self.results])

    @property
    def final(self) -> tuple[float, float]:
        """Mean and standard deviation of the last scores."""
        return mean_and_deviation([result.curve[-1][1] for result in self.results])


def mean_and_deviation(values: Sequence[float]) -> tuple[float, float]:
    if not all(map(math.isfinite, values)):
        return math.nan, math.nan
    return statistics.fmean(values), statistics.stdev(values)


def spreads(results: Sequence[Result]) -> list[Spread]:
    """One for each combination of the other varied keys that has several seeds; none where the seed is not varied."""
    groups: dict[tuple[Any, ...], list[Result]] = {}
    for result in results:
        if SEED in result.cell.words:
            others = tuple(word for key, word in result.cell.words.items() if key != SEED)
            groups.setdefault(others, []).append(result)
    return [Spread(group) for group in groups.values() if len(group) > 1]


def write_report(out: Path, cells: Sequence[Cell]) -> list[Result]:
    """Write tables and curves of all cells that are finished, and return them.

    Where other parts of the sweep run beside this one, the last to finish leaves them complete.
    """
    while True:
        results = [result for cell in cells if (result := read_result(cell))]
        if results:
            texts = {
                "table.md": to_markdown(results, cells),
                "table.csv": to_csv(results),
                "table.json": to_json(results, cells),
            }
            for name, text in texts.items():
                write_atomically(out / name, lambda file, text=text: file.write(text.encode()))  # type: ignore[misc]
            curves = [Curve(result.cell.words, result.curve) for result in results]
            where = " and ".join(dict.fromkeys(result.cell.validated_on for result in results))
            write_pictures(out, "curves", draw_curves(curves, axis_title(results[0].cell.selection, where)))
            for key in dict.fromkeys(key for result in results for key in result.losses):
                curves = [Curve(result.cell.words, result.losses[key]) for result in results if key in result.losses]
                what = "sum of the losses" if key == SUM else f"{key.removeprefix(TERM)}, times its weight"
                write_pictures(out, re.sub(r"[^\w.+-]", "-", f"curves-{key}"), draw_curves(curves, what, falling=True))
        if sum(read_record(cell).finished for cell in cells) == len(results):
            return results


def write_pictures(out: Path, name: str, pictures: Mapping[str, bytes]) -> None:
    for suffix, picture in pictures.items():
        write_atomically(out / f"{name}{suffix}", lambda file, data=picture: file.write(data))  # type: ignore[misc]


def axis_title(selection: Selection, where: str) -> str:
    """`PSNR on samples x2 (dB, protocol y)`."""
    unit = "dB, " if selection.metric == "psnr" else ""
    return f"{selection.metric.upper()} on {where} ({unit}protocol {selection.protocol.name})"


def to_table(results: Sequence[Result]) -> tuple[list[str], list[list[str]]]:
    """(headings, cells): varied values, parameters, scores with their protocol and set, steps per second."""
    sets = list(dict.fromkeys(result.cell.validated_on for result in results))
    selection = results[0].cell.selection
    metric, protocol = selection.metric, selection.protocol.name
    what = f"{metric.upper()} ({protocol}, {sets[0]})" if len(sets) == 1 else f"{metric.upper()} ({protocol})"
    headings = [*results[0].cell.words, "parameters", f"best {what}", "at step", f"final {what}", "steps/s"]
    rows = []
    for result in results:
        step, best = result.best
        figures = [
            f"{result.record.parameters:,}",
            digits(metric, best),
            f"{step:,}",
            digits(metric, result.curve[-1][1]),
            f"{result.pace:.2f}" if result.pace else "-",
        ]
        rows.append([*result.cell.words.values(), *figures])
    last = [result.cell.validated_on for result in results]
    for spread in spreads(results):
        first = spread.results[0]
        words = {**first.cell.words, SEED: f"mean ± sd, n = {spread.n}"}
        told = [f"{digits(metric, mean)} ± {digits(metric, sd)}" for mean, sd in (spread.best, spread.final)]
        rows.append([*words.values(), f"{first.record.parameters:,}", told[0], "", told[1], ""])
        last.append(first.cell.validated_on)
    if len(sets) > 1:
        headings.append("validated on")
        rows = [[*row, where] for row, where in zip(rows, last, strict=True)]
    return headings, rows


def to_markdown(results: Sequence[Result], cells: Sequence[Cell]) -> str:
    headings, rows = to_table(results)
    right = len(results[0].cell.words)
    lines = [headings, ["---" if i < right else "---:" for i in range(len(headings))], *rows]
    text = "".join("| " + " | ".join(cell.replace("|", r"\|") for cell in line) + " |\n" for line in lines)
    return text + "".join(f"\nNot finished: `{name}`{told}\n" for name, told in unfinished(cells).items())


def rows_of(results: Sequence[Result]) -> list[dict[str, Any]]:
    """A flat row for each result, as CSV and JSON give it; a score that is not finite is null."""
    metric = results[0].cell.selection.metric
    return [
        {
            "cell": result.cell.name,
            **result.cell.values,
            "parameters": result.record.parameters,
            "protocol": result.cell.selection.protocol.name,
            "validated_on": result.cell.validated_on,
            f"best_{metric}": finite(result.best[1]),
            "best_step": result.best[0],
            f"final_{metric}": finite(result.curve[-1][1]),
            "steps": result.curve[-1][0],
            "steps_per_second": result.pace,
        }
        for result in results
    ]


def finite(value: float) -> float | None:
    return value if math.isfinite(value) else None


def spread_rows(results: Sequence[Result]) -> list[dict[str, Any]]:
    """A flat row for each combination of values that was trained with several seeds."""
    rows = []
    for spread in spreads(results):
        cell = spread.results[0].cell
        (best, best_sd), (final, final_sd) = spread.best, spread.final
        metric = cell.selection.metric
        rows.append(
            {
                **{key: value for key, value in cell.values.items() if key != SEED},
                "n": spread.n,
                "protocol": cell.selection.protocol.name,
                "validated_on": cell.validated_on,
                f"best_{metric}": finite(best),
                f"best_{metric}_sd": finite(best_sd),
                f"final_{metric}": finite(final),
                f"final_{metric}_sd": finite(final_sd),
            }
        )
    return rows


def to_csv(results: Sequence[Result]) -> str:
    """A line for each cell; then one, with `mean` for cell and seed, for each combination that has several seeds."""
    text = io.StringIO()
    rows = [{**row, **result.cell.words} for row, result in zip(rows_of(results), results, strict=True)]
    for row, spread in zip(spread_rows(results), spreads(results), strict=True):
        rows.append({**row, **spread.results[0].cell.words, "cell": "mean", SEED: "mean"})
    writer = csv.DictWriter(text, list(dict.fromkeys(key for row in rows for key in row)), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


def to_json(results: Sequence[Result], cells: Sequence[Cell]) -> str:
    selection = cells[0].selection
    about = {
        "metric": selection.metric,
        "protocol": selection.protocol.name,
        "rows": rows_of(results) if results else [],
        "over_seeds": spread_rows(results),
        "unfinished": [*unfinished(cells)],
    }
    return json.dumps(about, indent=2, default=str) + "\n"


def unfinished(cells: Sequence[Cell]) -> dict[str, str]:
    """The cells that are not finished by name, each with what is known of why."""
    records = {cell.name: read_record(cell) for cell in cells}
    return {
        name: f" ({record.error})" if record.error else "" for name, record in records.items() if not record.finished
    }
