"""How long a training stands still while its state is saved, and how much slower the steps beside the writing are.

    python benchmarks/saving_cost.py [--model edsr-baseline] [--data FOLDER] [--seconds 2] [--saves 10] [--device auto]

A real training saves every --seconds. `blocked`: from the moment that it wants to save until it goes on, which is the
copy, and the wait for a state that is still being written. `written`: how long the thread then writes. The steps that
begin while it writes are compared with those that do not.
"""

import argparse
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from srkit import load_plugins
from srkit.evaluate.machine import processor
from srkit.nets import pick_device, precision_on
from srkit.run import Run
from srkit.train.keeper import Keeper, Limits
from srkit.train.session import run_training


class Silent:
    def say(self, text: str) -> None: ...
    def packing(self, what: str, done: int, total: int) -> None: ...
    def training(self, step: int) -> None: ...
    def progress(self, step: int, loss: float, score: str) -> None: ...


class Watch:
    """Notes what `Keeper.save` takes, what its thread writes, and every step."""

    def __init__(self, saves: int):
        self.wanted = saves
        self.blocked: list[float] = []
        self.written: list[float] = []
        self.begun: list[tuple[float, bool]] = []  # of each step, and whether a state is being written then
        self.writing = False

    def patch(self) -> None:
        save, everything = Keeper.save, Keeper.everything

        def timed_save(keeper: Keeper, ending: bool) -> None:
            begin = time.perf_counter()
            save(keeper, ending)
            if not ending:
                self.blocked.append(time.perf_counter() - begin)

        def timed_everything(keeper: Keeper) -> Callable[[], None]:
            write = everything(keeper)

            def timed_write() -> None:
                begin, self.writing = time.perf_counter(), True
                write()
                self.writing = False
                self.written.append(time.perf_counter() - begin)

            return timed_write

        Keeper.save, Keeper.everything = timed_save, timed_everything  # type: ignore[method-assign, assignment]

    def stop(self) -> bool:
        """The trainer asks once a step."""
        self.begun.append((time.perf_counter(), self.writing))
        return len(self.blocked) >= self.wanted

    def steps(self, beside: bool) -> float | None:
        """Median seconds of the steps with a writing beside them, or without; None where there are none."""
        times = [
            later - earlier
            for (earlier, before), (later, after) in zip(self.begun, self.begun[1:], strict=False)
            if before == after == beside
        ]
        return statistics.median(times) if times else None


def measure(words: argparse.Namespace) -> dict[str, Any]:
    device, registry, watch = pick_device(words.device), load_plugins(), Watch(words.saves)
    watch.patch()
    data = {"name": "folder", "root": str(words.data)} if words.data else {"name": "samples"}
    values = {
        "model": {"name": words.model}, "data": data, "validation": {"name": "samples"}, "precision": "auto",
        "validate_every": 10**9, "steps": 10**7,
    }  # fmt: skip
    run = Run.from_dict(values).resolved(registry)
    run = replace(run, precision=precision_on(device, "auto"))
    with tempfile.TemporaryDirectory(dir=words.folder) as place:
        folder = Path(place) / "run"
        run_training(run, registry, folder, device, Silent(), Limits(save_seconds=words.seconds, stop=watch.stop))
        state = max(path.stat().st_size for path in folder.glob("state-*.safetensors"))
    on_gpu = device.type == "cuda"
    return {
        "model": words.model,
        "machine": torch.cuda.get_device_name(device) if on_gpu else processor(),
        "threads": torch.get_num_threads(),
        "precision": run.precision,
        "state_megabytes": round(state / 1e6, 1),
        "saves": len(watch.blocked),
        "blocked_median_ms": round(1e3 * statistics.median(watch.blocked), 2),
        "blocked_most_ms": round(1e3 * max(watch.blocked), 2),
        "written_median_ms": round(1e3 * statistics.median(watch.written), 2),
        "step_ms": milliseconds(watch.steps(beside=False)),
        "step_beside_writing_ms": milliseconds(watch.steps(beside=True)),
    }


def milliseconds(seconds: float | None) -> float | None:
    return None if seconds is None else round(1e3 * seconds, 2)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="edsr-baseline")
    parser.add_argument("--data", type=Path, help="a folder of photographs; the shipped samples if not said")
    parser.add_argument("--folder", type=Path, help="where the states are written; the temporary folder if not said")
    parser.add_argument("--seconds", type=float, default=2.0, help="between two saves")
    parser.add_argument("--saves", type=int, default=10)
    parser.add_argument("--device", default="auto")
    found = measure(parser.parse_args())
    json.dump(found, sys.stdout, indent=1)
    print()


if __name__ == "__main__":
    main()
