"""`srkit sweep`: train every combination of some values, and compare them in a table and in curves."""

import math
import os
import re
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from srkit.cli import display
from srkit.cli.choose import AsJson, Device
from srkit.cli.display import Stop, TrainingDisplay
from srkit.errors import SrkitError, UsageError, one_line

if TYPE_CHECKING:
    from collections.abc import Sequence

    from srkit.sweep.grid import Cell
    from srkit.sweep.report import Result


def sweep(
    vary: Annotated[
        list[str],
        typer.Option(help="A key and its values: loss=l1,l2. Several keys make a grid.", show_default=False),
    ],
    run: Annotated[Path | None, typer.Option(help="A run file (TOML) to vary.")] = None,
    steps: Annotated[int | None, typer.Option(help="Optimizer steps of each cell; 300,000 if not given.")] = None,
    assign: Annotated[
        list[str] | None, typer.Option("--set", help="Set one value of every cell: lr=1e-3, model.n_feats=32.")
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="Folder of the sweep; runs/sweep_KEYS if not given.", show_default=False)
    ] = None,
    only: Annotated[
        str | None,
        typer.Option(
            help="Train only this part of the cells: 2/4 is the second of four. For several machines or GPUs."
        ),
    ] = None,
    max_time: Annotated[
        str | None, typer.Option(help="Stop after this time: 90s, 10m, 1h30m. The same command continues later.")
    ] = None,
    device: Device = "auto",
    precision: Annotated[
        str | None,
        typer.Option(help="Train every cell in it, those already begun too: auto, fp32, bf16, fp16."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Train a grid of runs one after another and compare them. The same command again continues where it stopped."""
    from srkit.run import merge, parse_assignment, read_run_file

    begun = time.monotonic()
    registry = display.load()
    max_seconds = display.seconds_of(max_time)
    part, parts = part_of(only)
    base: dict[str, Any] = read_run_file(run) if run else {}
    for layer in [{"steps": steps} if steps is not None else {}, *(parse_assignment(text) for text in assign or ())]:
        base = merge(base, layer)

    from srkit.evaluate.curves import need_matplotlib
    from srkit.nets import pick_device, precision_on
    from srkit.sweep.grid import claim, parse_vary, plan
    from srkit.sweep.report import to_json, to_table, unfinished, write_report
    from srkit.train.distributed import launched

    varied: dict[str, list[str]] = {}
    for key, values in map(parse_vary, vary):
        varied[key] = varied.get(key, []) + values
    if precision and "precision" in varied:
        raise UsageError("--vary precision and --precision: one of them")
    if launched():
        raise UsageError("srkit sweep trains each cell in one process; spread the cells by --only instead of torchrun")
    place = pick_device(device)
    precision_on(place, precision or "auto")
    folder = out or Path("runs") / f"sweep_{','.join(varied)}"
    cells = plan(registry, base, varied, folder)
    if parts > len(cells):
        raise UsageError(f"--only {only}: there are only {len(cells)} cells")
    need_matplotlib()
    claim(folder, base, varied)

    end = math.inf if max_seconds is None else begun + max_seconds
    sweeper = Sweeper(registry, cells[part - 1 :: parts], len(cells), place, end, precision)
    sweeper.train()
    results = write_report(folder, cells)
    if as_json:
        display.result(to_json(results, cells), end="")
    elif results:
        headings, rows = to_table(results)
        display.table(headings, rows, right=range(len(varied), len(varied) + 5))
    tell_mixed(results, "precision" in varied)
    missing = unfinished(cells)
    if missing:
        display.say(f"{len(results)} of {len(cells)} cells are finished; the same command continues with the others")
    if results:
        terms = ", curves-loss*.png and .svg" if any(result.losses for result in results) else ""
        display.say(f"table.md, table.csv, table.json, curves.png and curves.svg{terms} are in {folder}")
    if sweeper.stop.asked():
        raise typer.Exit(130)
    if sweeper.failed:
        raise SrkitError(f"{len(sweeper.failed)} of {len(cells)} cells failed: {'; '.join(sweeper.failed)}")


def tell_mixed(results: "Sequence[Result]", meant: bool) -> None:
    """Say where cells were trained in several precisions and nobody meant it: `auto` on machines that differ."""
    from srkit.train.session import reopen

    found = sorted({reopen(result.cell.folder).precision for result in results})
    if len(found) > 1 and not meant:
        display.say(
            f"cells were trained in {' and '.join(found)}, which is a difference too: --precision trains all in one"
        )


def part_of(text: str | None) -> tuple[int, int]:
    """`2/4` as (2, 4); without a word the one part there is."""
    if text is None:
        return 1, 1
    match = re.fullmatch(r"(\d+)/(\d+)", text.strip())
    if not match or not 1 <= int(match[1]) <= int(match[2]):
        raise UsageError(f"--only {text}: write 1/4, 2/4, 3/4 or 4/4 for a sweep in four parts")
    return int(match[1]), int(match[2])


class Sweeper:
    """Trains cells one after another, until `end` by the monotonic clock. A cell that fails is reported and left."""

    def __init__(self, registry: Any, cells: "list[Cell]", in_all: int, device: Any, end: float, precision: str | None):
        self.registry, self.cells, self.in_all, self.device, self.end = registry, cells, in_all, device, end
        self.precision, self.stop = precision, Stop()
        self.failed: list[str] = []

    def wants_to_stop(self) -> bool:
        return self.stop.asked() or time.monotonic() >= self.end

    def train(self) -> None:
        from srkit.sweep.train import claimed, read_record

        for i, cell in enumerate(self.cells):
            if self.wants_to_stop():
                return
            with claimed(cell) as mine:
                title = f"cell {cell.number} of {self.in_all}"
                if not mine:
                    display.say(f"{title}: {cell.name} is being trained by another program")
                elif read_record(cell).finished:
                    display.say(f"{title}: {cell.name} is finished")
                else:
                    display.say(f"{title}: {cell.name}")
                    self.train_one(cell, title, sum(earlier.run.steps for earlier in self.cells[:i]))

    def train_one(self, cell: "Cell", title: str, before: int) -> None:
        from srkit.sweep.train import train_cell
        from srkit.train.keeper import Limits

        total = sum(each.run.steps for each in self.cells)
        left = None if self.end == math.inf else self.end - time.monotonic()
        try:
            with CellDisplay(title, before, total, left, self.stop) as display:
                # Its end in time is a stop like Ctrl-C, which validates nothing: the table is that of one session.
                limits = Limits(stop=self.wants_to_stop)
                train_cell(cell, self.registry, self.device, display, limits, precision=self.precision)
        except Exception as error:
            if os.environ.get("SRKIT_DEBUG") == "1" and not isinstance(error, SrkitError):
                raise
            display.say(f"{title}: {cell.name} failed: {one_line(error)}")
            self.failed.append(cell.name)


class CellDisplay(TrainingDisplay):
    """A cell's messages and progress. Steps and time left are those of all cells."""

    def __init__(self, title: str, before: int, total: int, seconds: float | None, stop: Stop):
        super().__init__(total, seconds, stop)
        self.title, self.before = title, before

    def switch(self, what: str, total: int, seconds: float | None = None) -> display.Progress:
        return super().switch(self.title if what == "training" else what, total, seconds)

    def training(self, step: int) -> None:
        super().training(self.before + step)

    def progress(self, step: int, loss: float, score: str) -> None:
        super().progress(self.before + step, loss, score)
