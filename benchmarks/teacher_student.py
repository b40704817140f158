"""`edsr-small` x2 taught by a stronger network against the same without: Set5 after equal steps of the same seed.

    SRKIT_DATA=FOLDER python benchmarks/teacher_student.py --data PHOTOS --out benchmarks/records/DATE-teacher-student

Both runs draw the same patches and begin with the same weights. Without a teacher the loss is L1 to HR; with one it is
L1 to HR and, with --weight, L1 to what the teacher makes of the same LR. The teacher is the `edsr-small` that ships, as
a self-ensemble, unless --teacher names another: a model, a checkpoint or another program's weight file. The schedule
ends at --steps. Set5's luma (protocol y) is scored every --every steps and at the end.

A run that is finished is not trained again, and one that was stopped by --max-time or killed goes on by the same
command: the record is written when both are done.
"""

import argparse
import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

import srkit
from srkit.evaluate.machine import processor

RUNS = ("alone", "taught")


def train(words: argparse.Namespace, name: str) -> srkit.FitResult:
    """One run, from its newest state."""
    teacher = {"name": "distillation", "weight": words.weight, "teacher": words.teacher, "ensemble": words.ensemble}
    folder = words.out / f"run-{name}"
    if (folder / "run.toml").is_file():
        return srkit.fit(resume=folder, max_time=words.max_time)
    return srkit.fit(
        scale=2, steps=words.steps, batch=16, patch=48, lr=8e-4, clip=1.0, seed=words.seed, precision=words.precision,
        model="edsr-small", data={"name": "folder", "root": str(words.data)}, validation="set5",
        validate_every=words.every, schedule={"name": "cosine", "warmup": min(500, words.steps // 10)},
        loss=[{"name": "l1"}, *([teacher] if name == "taught" else [])], out=folder, max_time=words.max_time,
    )  # fmt: skip


def curve(folder: Path) -> list[dict[str, float]]:
    lines = [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]
    return [{"step": line["step"], "psnr_y": round(line["psnr_y"], 4)} for line in lines if "psnr_y" in line]


def scores(folder: Path) -> Mapping[str, float]:
    """PSNR and SSIM of the last weights on Set5, protocol y."""
    result = srkit.score(folder / "last.safetensors", "set5", scale=2)
    return {name: round(value, 5) for name, value in result.scores.items()}


def table(record: Mapping[str, Any]) -> str:
    rows = ["| Set5 x2, protocol y | PSNR | SSIM |", "| --- | ---: | ---: |"]
    for name, found in record["set5"].items():
        rows.append(f"| {name}, {record['steps']:,} steps | {found['psnr']:.4f} | {found['ssim']:.5f} |")
    difference = record["set5"]["taught"]["psnr"] - record["set5"]["alone"]["psnr"]
    return "\n".join([*rows, "", f"taught less alone: {difference:+.4f} dB, of one seed ({record['seed']})"])


def readme(record: Mapping[str, Any], words: argparse.Namespace) -> str:
    command = (
        f"python benchmarks/teacher_student.py --data TRAIN_FOLDER --teacher {words.teacher}"
        f"{'' if words.ensemble else ' --no-ensemble'} --weight {words.weight:g} --steps {words.steps} "
        f"--seed {words.seed} --precision {words.precision}"
    )
    machine = f"{record['machine']}, {record['threads']} threads, torch {record['torch']}"
    title = f"# edsr-small x2 taught by {record['teacher']}, and alone"
    return "\n\n".join([title, f"    {command}", table(record), f"Machine: {machine}.\n"])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="a folder of photographs to train on")
    parser.add_argument("--out", type=Path, required=True, help="where the record is kept")
    parser.add_argument("--teacher", default="edsr-small", help="who teaches, by the word that srkit.load takes")
    parser.add_argument("--no-ensemble", dest="ensemble", action="store_false", help="one pass, not eight")
    parser.add_argument("--weight", type=float, default=1.0, help="of what the teacher says, beside 1 for HR")
    parser.add_argument("--steps", type=int, default=4000)
    parser.add_argument("--every", type=int, default=500, help="steps between scores")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--precision", default="auto")
    parser.add_argument("--max-time", default=None, help="of each run in this session: 2m")
    words = parser.parse_args()

    srkit.keep_freed_memory()  # as the command does
    asked = {key: str(value) for key, value in vars(words).items() if key not in ("out", "max_time")}
    words.out.mkdir(parents=True, exist_ok=True)
    before = words.out / "asked.json"
    if before.exists() and json.loads(before.read_text()) != asked:
        parser.error(f"--out {words.out} holds another experiment: {before.read_text()}")
    before.write_text(json.dumps(asked))
    results = {name: train(words, name) for name in RUNS}
    if unfinished := [name for name, result in results.items() if result.reason != "finished"]:
        raise SystemExit(f"not finished: {', '.join(unfinished)}; the same command goes on")
    record = {
        "machine": f"{processor()}, {torch.backends.cpu.get_cpu_capability()}",
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
        "teacher": words.teacher + ("+" if words.ensemble else ""),
        "weight": words.weight,
        "steps": words.steps,
        "seed": words.seed,
        "set5": {name: scores(words.out / f"run-{name}") for name in RUNS},
        "curves": {name: curve(words.out / f"run-{name}") for name in RUNS},
    }
    (words.out / "result.json").write_text(json.dumps(record, indent=1) + "\n")
    for name in RUNS:
        folder = words.out / f"run-{name}"
        (words.out / f"log-{name}.jsonl").write_text((folder / "log.jsonl").read_text())
        shutil.rmtree(folder)
    before.unlink()
    (words.out / "README.md").write_text(readme(record, words))
    print(table(record))


if __name__ == "__main__":
    main()
