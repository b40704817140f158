"""Train one cell of a sweep, and keep in cell.json what came of it."""

import json
import math
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass, replace

import torch

from srkit.errors import SrkitError, one_line
from srkit.files import locked, write_atomically
from srkit.nets import build_net, parameter_count
from srkit.plugins import Registry
from srkit.sweep.grid import Cell
from srkit.train.keeper import Limits
from srkit.train.session import Outcome, reopen, run_training
from srkit.train.trainee import Display


@dataclass(frozen=True)
class Record:
    """What a cell's folder says of its own training, in cell.json. The time is that of the `timed_steps` only."""

    parameters: int = 0
    finished: bool = False
    timed_steps: int = 0
    timed_seconds: float = 0.0
    error: str = ""


@contextmanager
def claimed(cell: Cell) -> Iterator[bool]:
    """The cell's folder, made; False inside if another program is training in it."""
    cell.folder.mkdir(exist_ok=True)
    with ExitStack() as held:
        try:
            held.enter_context(locked(cell.folder / ".lock", wait=False))
        except SrkitError:
            yield False
            return
        yield True


def train_cell(
    cell: Cell,
    registry: Registry,
    device: torch.device,
    display: Display,
    limits: Limits,
    *,
    precision: str | None = None,
) -> Outcome:
    """Train a cell from where its folder stands, bit for bit; cell.json keeps what comes of it.

    precision: instead of the run's own, as `srkit train` takes it.
    """
    run = reopen(cell.folder) if (cell.folder / "run.toml").is_file() else cell.run
    if run.compile != "off":
        torch.compiler.reset()  # else the cells count as recompilations of one network, of which there are few
    model = registry.choose("model", run.model.name, run.model.options)
    before = read_record(cell)
    clock = Clock(display)
    try:
        parameters = parameter_count(build_net(model, run.scales))
        outcome = run_training(run, registry, cell.folder, device, clock, limits, precision=precision)
    except Exception as error:
        write_record(cell, replace(before, error=one_line(error)))
        raise
    seconds, steps = clock.passed(outcome.steps)
    record = Record(
        parameters=parameters,
        finished=outcome.reason in ("finished", "no better"),
        timed_steps=before.timed_steps + steps,
        timed_seconds=before.timed_seconds + seconds,
    )
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
