"""A sweep: every combination of some values of some keys, each trained in a folder of its own, compared in a table.

OUT/sweep.toml                           the grid, so that no other is mixed into it
OUT/loss=l1,model.n_resblocks=4/         a cell: what `srkit train` leaves, and cell.json
OUT/table.md, .csv, .json, curves.png, .svg
"""

import csv
import io
import json
import math
import re
import time
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from itertools import product
from pathlib import Path
from typing import Any

import tomli_w
import torch

from srkit.errors import SrkitError, UsageError, one_line
from srkit.evaluate.curves import Curve, draw_curves
from srkit.evaluate.protocol import DEFAULT
from srkit.evaluate.report import digits
from srkit.fetch import lock
from srkit.images import write_atomically
from srkit.plugins import Registry
from srkit.run import Run, merge, parse_assignment
from srkit.train.keeper import Display, Limits
from srkit.train.session import Outcome, reopen, run_training
from srkit.weights.loading import build_net, check_scales, parameter_count

VALIDATIONS = 20  # in each cell, where validate_every is not set
LONGEST = 120  # characters of a folder's name


@dataclass(frozen=True)
class Cell:
    """One combination. words: for each varied key its value as it was written; values: as TOML means it."""

    number: int
    words: dict[str, str]
    values: dict[str, Any]
    run: Run
    folder: Path

    @property
    def name(self) -> str:
        return self.folder.name

    @property
    def validated_on(self) -> str:
        """The validation set and scale, which a PSNR means nothing without."""
        part = self.run.validation
        return f"{part.root or part.name.removeprefix('srkit:')} x{'x'.join(map(str, self.run.scales))}"


@dataclass(frozen=True)
class Record:
    """What a cell's folder says of its own training, in cell.json. The time is that of the `timed_steps` only."""

    parameters: int = 0
    finished: bool = False
    timed_steps: int = 0
    timed_seconds: float = 0.0
    error: str = ""


@dataclass(frozen=True)
class Result:
    """A finished cell. curve: (step, PSNR) of each validation, by protocol `y`."""

    cell: Cell
    record: Record
    curve: list[tuple[int, float]]

    @property
    def best(self) -> tuple[int, float]:
        return max(self.curve, key=lambda point: point[1])

    @property
    def pace(self) -> float | None:
        """Steps per second, validations included; None where it was not measured."""
        return self.record.timed_steps / self.record.timed_seconds if self.record.timed_seconds else None


def parse_vary(text: str) -> tuple[str, list[str]]:
    """`model.n_resblocks=4,8,16` as the key and its values. Commas in brackets or quotes part nothing."""
    key, equals, values = text.partition("=")
    key = key.strip()
    if not equals or not re.fullmatch(r"[\w-]+(\.[\w-]+)*", key):
        raise UsageError(f"--vary wants key=value,value, as in loss=l1,l2, not '{text}'")
    words = [word.strip() for word in split(values)]
    if not all(words):
        raise UsageError(f"--vary {text}: a value is missing")
    return key, words


def split(text: str) -> list[str]:
    """`text` at the commas outside brackets and quotes."""
    parts, depth, quote = [""], 0, ""
    for letter in text:
        if quote:
            quote = "" if letter == quote else quote
        elif letter in "\"'":
            quote = letter
        else:
            depth += (letter in "[{(") - (letter in ")}]")
        if letter == "," and not depth and not quote:
            parts.append("")
        else:
            parts[-1] += letter
    return parts


def plan(registry: Registry, base: Mapping[str, Any], varied: Mapping[str, list[str]], out: Path) -> list[Cell]:
    """All cells of the grid, the last key changing fastest, each with its run resolved.

    Raises UnknownName, OptionError or UsageError for the first value that does not fit, and UsageError
    where two cells are the same run.
    """
    cells: list[Cell] = []
    for number, chosen in enumerate(product(*varied.values()), 1):
        words = dict(zip(varied, chosen, strict=True))
        tables = {key: parse_assignment(f"{key}={word}") for key, word in words.items()}
        values = dict(base)
        for table in tables.values():
            values = merge(values, table)
        run = Run.from_dict(values)
        if "validate_every" not in values:
            run = replace(run, validate_every=max(1, run.steps // VALIDATIONS))
        run = run.resolved(registry)
        model = registry.choose("model", run.model.name, run.model.options)
        if not model.component.trainable:
            raise UsageError(f"'{model.label}' has no parameters to train")
        check_scales(model, run.scales)
        folder = out / folder_name(words, number, [cell.name for cell in cells])
        if twin := next((cell for cell in cells if cell.run == run), None):
            raise UsageError(f"'{twin.name}' and '{folder.name}' are the same run; vary each key once, a name first")
        cells.append(Cell(number, words, {key: leaf(table, key) for key, table in tables.items()}, run, folder))
    return cells


def folder_name(words: Mapping[str, str], number: int, taken: Sequence[str]) -> str:
    """`loss=l1,model.n_resblocks=4`: readable, and of characters that every file system and shell takes."""
    plain = {key: re.sub(r"[^\w.+-]+", "-", word).strip("-") for key, word in words.items()}
    name = ",".join(f"{key}={word}" for key, word in plain.items())
    return name if len(name) <= LONGEST and name not in taken else f"{name[:LONGEST]}~{number}"


def leaf(table: Any, key: str) -> Any:
    for part in key.split("."):
        table = table[part]
    return table


def claim(out: Path, base: Mapping[str, Any], varied: Mapping[str, list[str]]) -> None:
    """Make `out` the folder of this grid. UsageError where it holds another, or something else."""
    grid = {"vary": dict(varied), "run": dict(base)}
    path = out / "sweep.toml"
    if path.is_file():
        try:
            found = tomllib.loads(path.read_text(encoding="utf-8"))
        except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
            raise UsageError(f"'{path}' is not valid TOML: {error}") from None
        for section, wanted in grid.items():
            old = found.get(section, {})
            for key in {**old, **wanted}:
                if old.get(key) != wanted.get(key):
                    values = f"{key} = {old.get(key, 'nothing')}, not {wanted.get(key, 'nothing')}"
                    raise UsageError(f"'{out}' holds the sweep of another grid, with {values}; name another --out")
        return
    if out.exists() and not out.is_dir():
        raise UsageError(f"--out '{out}' is a file; name a folder")
    if out.is_dir() and any(not item.name.startswith(".") for item in out.iterdir()):
        raise UsageError(f"--out '{out}' is not empty and holds no sweep; name another folder")
    try:
        out.mkdir(parents=True, exist_ok=True)
        write_atomically(path, lambda file: tomli_w.dump(grid, file))
    except OSError as error:
        raise UsageError(f"cannot write into '{out}': {one_line(error)}") from None


@contextmanager
def claimed(cell: Cell) -> Iterator[bool]:
    """The cell's folder, made; False inside if another program is training in it."""
    cell.folder.mkdir(exist_ok=True)
    with open(cell.folder / ".lock", "a") as file:
        try:
            lock(file, cell.folder)
        except SrkitError:
            yield False
            return
        yield True


def train_cell(cell: Cell, registry: Registry, device: torch.device, display: Display, limits: Limits) -> Outcome:
    """Train a cell from where its folder stands, bit for bit; cell.json keeps what comes of it."""
    run = reopen(cell.folder) if (cell.folder / "run.toml").is_file() else cell.run
    if run.compile != "off":
        torch.compiler.reset()  # else the cells count as recompilations of one network, of which there are few
    model = registry.choose("model", run.model.name, run.model.options)
    before = read_record(cell)
    clock = Clock(display)
    try:
        parameters = parameter_count(build_net(model, run.scales))
        outcome = run_training(run, registry, cell.folder, device, clock, limits)
    except Exception as error:
        write_record(cell, replace(before, error=one_line(error)))
        raise
    seconds, steps = clock.passed(outcome.steps)
    record = Record(
        parameters, outcome.reason in ("finished", "no better"), before.timed_steps + steps,
        before.timed_seconds + seconds,
    )  # fmt: skip
    write_record(cell, record)
    return outcome


class Clock:
    """A display that also measures how long training took."""

    def __init__(self, display: Display):
        self.say, self.packing, self.progress = display.say, display.packing, display.progress
        self.begin = display.training
        self.first, self.begun = 0, math.nan

    def training(self, step: int) -> None:
        self.first, self.begun = step, time.monotonic()
        self.begin(step)

    def passed(self, step: int) -> tuple[float, int]:
        """Seconds and steps since training began; none where it did not."""
        return (0.0, 0) if math.isnan(self.begun) else (time.monotonic() - self.begun, step - self.first)


def read_record(cell: Cell) -> Record:
    try:
        return Record(**json.loads((cell.folder / "cell.json").read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):
        return Record()


def write_record(cell: Cell, record: Record) -> None:
    write_atomically(cell.folder / "cell.json", lambda file: file.write(json.dumps(asdict(record)).encode()))


def read_result(cell: Cell) -> Result | None:
    """What a finished cell reached, from its log; None for one that is not finished."""
    record = read_record(cell)
    if not record.finished:
        return None
    path = cell.folder / "log.jsonl"
    try:
        lines = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
        curve = [(line["step"], line[f"psnr_{DEFAULT}"]) for line in lines if f"psnr_{DEFAULT}" in line]
    except (OSError, ValueError, KeyError) as error:
        raise SrkitError(f"'{path}' cannot be read: {one_line(error)}") from None
    if not curve:
        raise SrkitError(f"'{path}' has no validation in it; delete '{cell.folder}' to train that cell anew")
    return Result(cell, record, curve)


def write_report(out: Path, cells: Sequence[Cell]) -> list[Result]:
    """Write tables and curves of all cells that are finished, and return them.

    Where other parts of the sweep run beside this one, the last to finish leaves them complete.
    """
    while True:
        results = [result for cell in cells if (result := read_result(cell))]
        if results:
            texts = {"table.md": to_markdown(results, cells), "table.csv": to_csv(results),
                     "table.json": to_json(results, cells)}  # fmt: skip
            for name, text in texts.items():
                write_atomically(out / name, lambda file, text=text: file.write(text.encode()))  # type: ignore[misc]
            curves = [Curve(result.cell.words, result.curve) for result in results]
            where = " and ".join(dict.fromkeys(result.cell.validated_on for result in results))
            for suffix, picture in draw_curves(curves, f"PSNR on {where} (dB, protocol {DEFAULT})").items():
                write_atomically(out / f"curves{suffix}", lambda file, data=picture: file.write(data))  # type: ignore[misc]
        if sum(read_record(cell).finished for cell in cells) == len(results):
            return results


def to_table(results: Sequence[Result]) -> tuple[list[str], list[list[str]]]:
    """(headings, cells): varied values, parameters, PSNR with its protocol and set, steps per second."""
    sets = list(dict.fromkeys(result.cell.validated_on for result in results))
    where = f"({DEFAULT}, {sets[0]})" if len(sets) == 1 else f"({DEFAULT})"
    headings = [*results[0].cell.words, "parameters", f"best PSNR {where}", "at step", f"final PSNR {where}", "steps/s"]
    rows = []
    for result in results:
        step, best = result.best
        figures = [f"{result.record.parameters:,}", digits("psnr", best), f"{step:,}",
                   digits("psnr", result.curve[-1][1]), f"{result.pace:.2f}" if result.pace else "-"]  # fmt: skip
        rows.append([*result.cell.words.values(), *figures])
    if len(sets) > 1:
        headings.append("validated on")
        rows = [[*row, result.cell.validated_on] for row, result in zip(rows, results, strict=True)]
    return headings, rows


def to_markdown(results: Sequence[Result], cells: Sequence[Cell]) -> str:
    headings, rows = to_table(results)
    right = len(results[0].cell.words)
    lines = [headings, ["---" if i < right else "---:" for i in range(len(headings))], *rows]
    text = "".join("| " + " | ".join(cell.replace("|", r"\|") for cell in line) + " |\n" for line in lines)
    return text + "".join(f"\nNot finished: `{name}`{told}\n" for name, told in unfinished(cells).items())


def rows_of(results: Sequence[Result]) -> list[dict[str, Any]]:
    """A flat row for each result, as CSV and JSON give it; a PSNR that is not finite is null."""

    def finite(value: float) -> float | None:
        return value if math.isfinite(value) else None

    return [
        {
            "cell": result.cell.name, **result.cell.values, "parameters": result.record.parameters, "protocol": DEFAULT,
            "validated_on": result.cell.validated_on, "best_psnr": finite(result.best[1]),
            "best_step": result.best[0], "final_psnr": finite(result.curve[-1][1]), "steps": result.curve[-1][0],
            "steps_per_second": result.pace,
        }
        for result in results
    ]  # fmt: skip


def to_csv(results: Sequence[Result]) -> str:
    text = io.StringIO()
    rows = rows_of(results)
    writer = csv.DictWriter(text, list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows({**row, **result.cell.words} for row, result in zip(rows, results, strict=True))
    return text.getvalue()


def to_json(results: Sequence[Result], cells: Sequence[Cell]) -> str:
    about = {"protocol": DEFAULT, "rows": rows_of(results), "unfinished": [*unfinished(cells)]}
    return json.dumps(about, indent=2, default=str) + "\n"


def unfinished(cells: Sequence[Cell]) -> dict[str, str]:
    """The cells that are not finished by name, each with what is known of why."""
    records = {cell.name: read_record(cell) for cell in cells}
    return {
        name: f" ({record.error})" if record.error else "" for name, record in records.items() if not record.finished
    }
