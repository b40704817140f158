"""Measure the cost of each model alone in a fresh process, so that its memory is its own and its end is not ours.

The process gets a request as JSON on stdin and prints each `Cost` as a line of JSON as soon as it is measured.
"""

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from srkit.errors import SrkitError, one_line
from srkit.evaluate.cost_table import SIZES, TOO_MUCH, Size
from srkit.evaluate.machine import first_to_be_killed, machine
from srkit.evaluate.plan import Subject
from srkit.evaluate.store import Store
from srkit.evaluate.table import Cost, made

VERSION = 1  # of what is measured: part of the key
SECONDS = 5.0  # of timed runs for each size, unless three take longer
LIMIT = 600.0  # seconds for one model at one scale
PROGRAM = "from srkit.weights.alone import main; main()"


@dataclass(frozen=True)
class Request:
    """What to measure.

    Attributes:
        word: what `load_model` understands: a name or a file.
        model, weights: what the rows are to say.
        wrappers: names, the innermost first.
        scale_said, device: as in `srkit.weights.subjects.Search`.
        precision: what the network is computed in.
        backend: what it runs in, as `package:name`; empty for PyTorch.
        limit: seconds after which the process is ended.
    """

    word: str
    scale: int
    model: str
    weights: str = ""
    wrappers: Sequence[str] = ()
    scale_said: bool = True
    device: str = "auto"
    precision: str = "fp32"
    backend: str = ""
    sizes: Sequence[Size] = SIZES
    seconds: float = SECONDS
    limit: float = LIMIT

    @property
    def row(self) -> Cost:
        return Cost(self.model, self.scale, "", None, weights=self.weights)


def costs_of(
    store: Store, subjects: Sequence[Subject], sizes: Sequence[Size], done: Callable[[str], None] = lambda text: None
) -> list[Cost]:
    """The costs of each model with weights, measured once on this machine and then kept in the store.

    What could not be measured is tried again the next time. done(text) is called after each model.
    """
    found: list[Cost] = []
    for subject in subjects:
        if subject.error or not subject.again:
            continue
        info = subject.info
        fact = ["cost", VERSION, subject.key, info.scale, sizes, machine(subject.again["device"])]
        known = store.recall(fact)
        if isinstance(known, list):
            found += [replace(made(Cost, row), model=info.name, weights=info.weights) for row in known]
        else:
            request = Request(scale=info.scale, model=info.name, weights=info.weights, sizes=sizes, **subject.again)
            costs = measure_alone(request)
            if not any(cost.error for cost in costs):
                store.remember(fact, [asdict(cost) for cost in costs])
            found += costs
        done(f"{info.name} x{info.scale}")
    return found


def measure_alone(request: Request) -> list[Cost]:
    """All that could be measured; a row with an error for what could not, whatever happens to the process."""
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    # Not pipes: what a plugin prints must not block it, and what was measured before a kill is still there.
    with tempfile.TemporaryFile("w+") as out, tempfile.TemporaryFile("w+") as err:
        child = subprocess.Popen(
            [sys.executable, "-c", PROGRAM], stdin=subprocess.PIPE, stdout=out, stderr=err, text=True, env=environment
        )
        try:
            child.communicate(json.dumps(asdict(request)), timeout=request.limit)
            ended = how_it_ended(child.returncode)
        except subprocess.TimeoutExpired:
            ended = f"it took more than {request.limit:g} s"
        finally:
            if child.poll() is None:
                child.kill()
                child.wait()
        out.seek(0)
        err.seek(0)
        found = [cost for line in out if (cost := cost_of(line))]
        told = err.read().strip().splitlines()
    if child.returncode > 0 and told:
        ended = told[-1]
    return found + unmeasured(request, found, ended)


def how_it_ended(code: int) -> str:
    """In words; empty for a process that came to its end."""
    if code == -9:
        return f"{TOO_MUCH}: the system ended its process"
    return f"its process ended with {f'signal {-code}' if code < 0 else f'code {code}'}" if code else ""


def cost_of(line: str) -> Cost | None:
    """A row that the process printed; None for anything else, which a plugin printed."""
    try:
        row: Any = json.loads(line)
        return made(Cost, row["cost"])  # type: ignore[no-any-return]
    except (ValueError, KeyError, TypeError, AttributeError):
        return None


def unmeasured(request: Request, found: Sequence[Cost], why: str) -> list[Cost]:
    """A row with the reason for each number that a process which ended early did not give."""
    if not why:
        return []
    wanted = [("latency", f"{width}x{height}") for width, height in sorted(request.sizes, key=lambda s: s[0] * s[1])]
    there = {(cost.name, cost.size) for cost in found}
    return [replace(request.row, name=name, size=size, error=why) for name, size in wanted if (name, size) not in there]


def main() -> None:
    """The process: measure what stdin asks for."""
    first_to_be_killed()
    asked = json.load(sys.stdin)
    sizes = [(width, height) for width, height in asked.pop("sizes")]
    request = Request(**asked, sizes=sizes)
    out, sys.stdout = sys.stdout, sys.stderr
    from srkit.evaluate.cost import measure
    from srkit.nets import pick_device
    from srkit.plugins import load_plugins
    from srkit.weights.loading import load_model
    from srkit.weights.runtimes import chosen_backend

    try:
        registry = load_plugins()
        wrappers = [registry.choose("wrapper", name) for name in request.wrappers]
        device = pick_device(request.device)
        loaded = load_model(registry, request.word, request.scale, device, scale_said=request.scale_said)
        backend = chosen_backend(registry, request.backend, request.precision, device)
        how: dict[str, Any] = {"seconds": request.seconds, "precision": request.precision, "backend": backend}
        for cost in measure(loaded, wrappers, request.row, request.sizes, **how):
            print(json.dumps({"cost": asdict(cost)}), file=out, flush=True)
    except SrkitError as error:
        print(one_line(error), file=sys.stderr)
        sys.exit(1)
