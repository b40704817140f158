"""All that is worth knowing on a GPU, in one command, kept as a record.

    SRKIT_DATA=FOLDER python benchmarks/on_gpu.py --data TRAIN_FOLDER --out benchmarks/records/DATE-NAME

1. Trainer against the bare step: precision, torch.compile, CUDA graphs, pixels resident or not.
2. Twenty minutes of the EDSR baseline x2, scored on Set5 (below $SRKIT_DATA) or the shipped samples.

Interrupted, the same command goes on: finished measurements are kept, the training is resumed.
"""

import argparse
import json
import os
import platform
import shutil
import subprocess
import sys
import time
from itertools import product
from pathlib import Path

import torch

from srkit.nets import pick_device

HERE = Path(__file__).parent
VARIANTS = [
    {"precision": precision, "compile": compiled, "resident": resident}
    for precision, compiled, resident in product(["fp32", "bf16"], ["off", "on", "graphs"], ["yes", "no"])
]


def call(*words: object) -> subprocess.CompletedProcess:
    return subprocess.run([sys.executable, *map(str, words)], stdout=subprocess.PIPE, text=True)


def throughput(words: argparse.Namespace, out: Path) -> list[dict]:
    """One row for each variant and model; those a earlier call measured are read back."""
    path = out / "throughput.json"
    rows = json.loads(path.read_text()) if path.exists() else []
    for variant in VARIANTS[: words.variants]:
        if any(all(row[key] == value for key, value in variant.items()) for row in rows):
            continue
        options = [part for key, value in variant.items() for part in (f"--{key}", value)]
        done = call(
            HERE / "train_throughput.py", "--data", words.data, "--models", words.models, "--device", words.device,
            "--turns", words.turns, "--json", *options,
        )  # fmt: skip
        failed = [{"model": words.models, **variant, "failed": True}]
        rows += json.loads(done.stdout)["rows"] if done.returncode == 0 else failed
        path.write_text(json.dumps(rows, indent=1))
        print(f"{variant}: {'done' if done.returncode == 0 else 'failed'}", flush=True)
    return rows


def training(words: argparse.Namespace, out: Path) -> tuple[list[str], str]:
    """The command of the training, and the table of its scores."""
    run = Path("runs") / out.name
    command = ["-m", "srkit", "train", "--model", "edsr-baseline", "--data", str(words.data), "--scale", "2",
               "--set", "precision=bf16", "--set", "lr=2e-4", "--set", "ema=0.999"]  # fmt: skip
    spent = out / "seconds"
    left = 60 * words.minutes - (float(spent.read_text()) if spent.exists() else 0)
    limits = ["--max-time", f"{left:.0f}s", "--device", words.device]
    if left > 1:
        begin = time.monotonic()
        resumed = (run / "run.toml").exists()
        how = ["-m", "srkit", "train", "--resume", str(run)] if resumed else [*command, "--out", str(run)]
        if call(*how, *limits).returncode:
            sys.exit("the training did not end well; the same command goes on")
        spent.write_text(str(60 * words.minutes - left + time.monotonic() - begin))
    sets = ["--sets", "set5"] if os.environ.get("SRKIT_DATA") else ["--sets", "samples"]
    scored = call("-m", "srkit", "bench", run, "--models", "bicubic", *sets, "--scales", "2")
    for name in ("run.toml", "log.jsonl"):
        shutil.copy(run / name, out / name)
    return command, scored.stdout


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--minutes", type=float, default=20)
    parser.add_argument("--models", default="small,baseline")
    parser.add_argument("--turns", type=int, default=8)
    parser.add_argument("--variants", type=int, default=len(VARIANTS), help="how many of them")
    parser.add_argument("--device", default="auto")
    words = parser.parse_args()
    words.out.mkdir(parents=True, exist_ok=True)
    rows = throughput(words, words.out)
    command, scores = training(words, words.out)
    device = pick_device(words.device)
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else platform.processor() or platform.machine()
    text = [f"# {words.out.name}", "", f"{name}, torch {torch.__version__}. Made by:", ""]
    text += [f"    python benchmarks/on_gpu.py --data {words.data} --out {words.out}", ""]
    text += ["| model | precision | compile | resident | trainer steps/s | bare steps/s | ratio |"]
    text += ["| --- | --- | --- | --- | --- | --- | --- |"]
    for row in rows:
        about = f"| {row['model']} | {row['precision']} | {row['compile']} | {row['resident']}"
        speeds = ("trainer_steps_per_s", "bare_steps_per_s", "ratio")
        text += [
            f"{about} | failed | | |"
            if "failed" in row
            else f"{about} | {' | '.join(f'{row[s]:.3f}' for s in speeds)} |"
        ]
    text += [
        "",
        f"`srkit {' '.join(command[2:])}` for {words.minutes:g} minutes:",
        "",
        "```",
        scores.rstrip(),
        "```",
        "",
    ]
    (words.out / "README.md").write_text("\n".join(text))
    print("\n".join(text))
    (words.out / "seconds").unlink()


if __name__ == "__main__":
    main()
