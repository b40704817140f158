"""Minutes of training until a network x2 reaches 36.0, 36.5 and 37.0 dB on Set5, in fp32 and in bf16.

    SRKIT_DATA=FOLDER python benchmarks/time_to_quality.py --data PHOTOS --out benchmarks/records/DATE-NAME
    SRKIT_DATA=FOLDER python benchmarks/time_to_quality.py --data PHOTOS --out benchmarks/records/DATE-NAME \
        --model edsr-small --model span --model compact --precision bf16 --minutes 10
    SRKIT_DATA=FOLDER python benchmarks/time_to_quality.py --data PHOTOS --out benchmarks/records/DATE-NAME \
        --optimizer muon --lr 0.002 --warmup 200 --steps 2000

From scratch: `edsr-small` (8 blocks of 32 channels), or the models that are named; batches of 16 patches of 48x48,
Adam or --optimizer, the learning rate rising to --lr in --warmup steps and falling to 0 by a cosine, the average of the
weights (decay 0.999) scored. Set5's luma (protocol y) is scored every --every steps; the time that takes is not
counted. The schedule ends at --steps, so more steps reach each figure later, and a higher one in the end; with
--minutes it ends after about so long, by the pace of the model's first steps.

A model, an optimizer or a precision that is named alone is measured alone; what others are in --out already stay in the
record, so each part may be measured when the machine is free. Each is measured whole, never resumed.
"""

import argparse
import json
import shutil
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

import srkit
from srkit import Tracker, load_plugins
from srkit.evaluate.machine import processor
from srkit.train.keeper import LOG_EVERY

GOALS = (36.0, 36.5, 37.0)
PRECISIONS = ("fp32", "bf16")
PACE = (20, 120)  # steps between which the pace of a model is taken


class Clock:
    """A tracker that notes when each line of the log is written, and so how long each validation took."""

    def __init__(self) -> None:
        self.begin = self.last = time.perf_counter()
        self.validating = 0.0
        self.points: list[dict[str, float]] = []

    def scalars(self, step: int, values: Mapping[str, float]) -> None:
        now = time.perf_counter()
        if "psnr_y" in values:  # the line before was written when the step was done
            self.validating += now - self.last
            minutes = (now - self.begin - self.validating) / 60
            self.points.append({"step": step, "minutes": round(minutes, 3), "psnr_y": round(values["psnr_y"], 4)})
        self.last = now

    def images(self, step: int, pictures: Mapping[str, Any]) -> None:
        pass

    def close(self) -> None:
        pass


def train(words: argparse.Namespace, model: str, precision: str, folder: Path, **more: Any) -> srkit.FitResult:
    """One training from scratch into an empty folder."""
    shutil.rmtree(folder, ignore_errors=True)
    return srkit.fit(
        scale=2, batch=16, patch=48, lr=words.lr, clip=1.0, ema=0.999, precision=precision, model=model,
        data={"name": "folder", "root": str(words.data)}, schedule={"name": "cosine", "warmup": words.warmup},
        optimizer=words.optimizer, out=folder, **more,
    )  # fmt: skip


def steps_in(words: argparse.Namespace, model: str, precision: str) -> int:
    """How many steps a model does in --minutes, by its pace; whole multiples of --every.

    The pace of a machine that others use too changes: --steps says them.
    """
    folder = words.out / "run-pace"
    begun: list[float] = []
    for steps in (PACE[0], *PACE):  # the first makes what is kept for the others: the decoded pictures
        begin = time.perf_counter()
        train(words, model, precision, folder, steps=steps)
        begun.append(time.perf_counter() - begin)
    shutil.rmtree(folder)
    pace = (PACE[1] - PACE[0]) / (begun[2] - begun[1])
    return max(1, int(60 * words.minutes * pace / words.every)) * words.every


def measure(words: argparse.Namespace, model: str, precision: str) -> dict[str, Any]:
    """Train once, keep the log, and give the curve."""
    steps = words.steps if words.minutes is None else steps_in(words, model, precision)
    clocks: list[Clock] = []

    def build(run_dir: Path) -> Clock:
        clocks.append(Clock())
        return clocks[-1]

    registry = load_plugins()
    registry.add("tracker", Tracker(name="clock", build=build))
    name = f"{model}-{words.optimizer}-{words.lr:g}-{precision}"
    folder = words.out / f"run-{name}"
    result = train(
        words, model, precision, folder, steps=steps, validation="set5", validate_every=words.every, tracker="clock",
        max_time=words.max_time, registry=registry,
    )  # fmt: skip
    (words.out / f"log-{name}.jsonl").write_text((folder / "log.jsonl").read_text())
    shutil.rmtree(folder)
    points = clocks[0].points
    return {
        "model": model,
        "optimizer": words.optimizer,
        "lr": words.lr,
        "warmup": words.warmup,
        "precision": precision,
        "machine": f"{processor()}, {torch.backends.cpu.get_cpu_capability()}",
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
        "steps": steps,
        "every": words.every,
        "done": result.steps,
        "steps_per_s": round(points[-1]["step"] / points[-1]["minutes"] / 60, 2) if points else None,
        "points": points,
    }


def reached(curve: Mapping[str, Any], goal: float) -> str:
    """Minutes until the goal, between two validations by a straight line; a dash where it is not reached."""
    before = {"minutes": 0.0, "psnr_y": 0.0}
    for point in curve["points"]:
        if point["psnr_y"] >= goal:
            if not before["minutes"]:
                return f"{point['minutes']:.1f}"
            share = (goal - before["psnr_y"]) / (point["psnr_y"] - before["psnr_y"])
            return f"{before['minutes'] + share * (point['minutes'] - before['minutes']):.1f}"
        before = point
    return "-"


def readme(curves: list[dict[str, Any]]) -> str:
    text = ["# Minutes to a quality: x2, Set5, protocol y", ""]
    script = "    python benchmarks/time_to_quality.py --data TRAIN_FOLDER --out THIS_FOLDER"
    for curve in curves:
        how = {key: curve[key] for key in ("model", "optimizer", "precision", "lr", "warmup", "steps", "every")}
        text += [script + "".join(f" --{key} {value}" for key, value in how.items())]
    goals = [f"{goal:.1f} dB" for goal in GOALS]
    text += ["", "Minutes of training, without those of the validations.", ""]
    text += [f"| model | optimizer | rate | precision | {' | '.join(goals)} | best | steps | steps/s | "]
    text[-1] += "threads | machine | torch |"
    text += ["| --- | --- | ---: | --- |" + " ---: |" * (len(goals) + 4) + " --- | --- |"]
    for curve in curves:
        best = max((point["psnr_y"] for point in curve["points"]), default=float("nan"))
        cells = [reached(curve, goal) for goal in GOALS]
        cells += [f"{best:.2f}", f"{curve['done']:,} of {curve['steps']:,}", str(curve["steps_per_s"])]
        cells += [str(curve["threads"]), curve["machine"], curve["torch"]]
        whose = f"{curve['model']} | {curve['optimizer']} | {curve['lr']:g} | {curve['precision']}"
        text += [f"| {whose} | {' | '.join(cells)} |"]
    first = "`2026-11-23-edsr-8x32`: 36.48 dB after ten minutes in fp32, with a constant rate of 1e-3 and no average"
    return "\n".join([*text, "", f"The first record, {first}.", ""])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--model", action="append", help="edsr-small, if not said")
    parser.add_argument("--optimizer", default="adam", help="adam, or another of timm's")
    parser.add_argument("--warmup", type=int, default=500, help="steps in which the rate rises")
    parser.add_argument("--lr", type=float, default=8e-4, help="the highest learning rate")
    parser.add_argument("--precision", choices=PRECISIONS, action="append", help="both, if not said")
    parser.add_argument("--steps", type=int, default=12_000)
    parser.add_argument("--minutes", type=float, help="as many steps as take about so long, in place of --steps")
    parser.add_argument("--every", type=int, default=200, help="steps between validations, a multiple of 100")
    parser.add_argument("--max-time", help="end each training after this long: 10m")
    words = parser.parse_args()
    if words.every % LOG_EVERY:
        parser.error(f"--every {words.every}: a line of the log comes before each validation, every {LOG_EVERY} steps")
    srkit.keep_freed_memory()  # as the command does
    words.out.mkdir(parents=True, exist_ok=True)
    path = words.out / "curves.json"
    known = json.loads(path.read_text()) if path.exists() else []
    curves = {tuple(curve[key] for key in ("model", "optimizer", "lr", "precision")): curve for curve in known}
    for model in words.model or ["edsr-small"]:
        for precision in words.precision or PRECISIONS:
            curves[model, words.optimizer, words.lr, precision] = measure(words, model, precision)
            path.write_text(json.dumps(list(curves.values()), indent=1) + "\n")
    text = readme(list(curves.values()))
    (words.out / "README.md").write_text(text)
    print(text)


if __name__ == "__main__":
    main()
