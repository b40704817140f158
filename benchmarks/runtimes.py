"""Seconds per megapixel of one network in every runtime that is installed, and of `srkit upscale --backend auto`.

    python benchmarks/runtimes.py [--model edsr-small] [--scale 2] [--side 384] [--rounds 3] [--threads 2] [--out DIR]

One run, same pixels: a tile of a photograph, side times side, by each backend in each precision it states, in processes
of their own, in turns, --rounds times, so that the machine's moods are shared; the median. Loss is PSNR (protocol y) on
the sample pictures against PyTorch in fp32. Then whole commands, file to file, each in a process of its own, the best
of three: a photograph of --width times --height pixels by each of them and by auto, whose ratio to the fastest is
printed. A megapixel is of the result.

A runtime that is not installed is named as missing. --out writes README.md and runtimes.json there.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median
from typing import Any

import torch

import srkit
from srkit.errors import one_line
from srkit.evaluate.machine import processor
from srkit.malloc import keep_freed_memory
from srkit.nets import pick_device
from srkit.weights.find import quietly
from srkit.weights.loading import load_model
from srkit.weights.runtimes import MOST_LOST, Race, versions_of

WANTED = (
    ("torch", "fp32"), ("torch", "bf16"), ("onnxruntime", "fp32"), ("onnxruntime", "int8"), ("openvino", "fp32"),
    ("openvino", "bf16"),
)  # fmt: skip
CALLS = 7  # tiles of each process
COMMANDS = 3  # times that each command is run


def rows_of(words: argparse.Namespace, registry: srkit.Registry) -> list[dict[str, Any]]:
    """A row for each backend in each precision: seconds of a tile and dB lost, or why there are none.

    Each runs in processes of its own: the threads of one runtime spin for a while after their work and would take
    processor time from the next, which made PyTorch look 45 % slower here.
    """
    rows: list[dict[str, Any]] = [{"backend": name, "precision": each, "why": ""} for name, each in found(registry)]
    for turn in range(words.rounds):
        for row in rows:
            if row["why"]:
                continue
            line = [sys.executable, __file__, "--model", words.model, "--scale", str(words.scale)]
            line += ["--side", str(words.side), "--threads", str(words.threads)]
            line += ["--only", row["backend"], row["precision"], *([] if turn else ["--score"])]
            done = subprocess.run(line, capture_output=True, text=True)
            if done.returncode:
                raise SystemExit(f"{' '.join(line)}: {done.stderr.strip().splitlines()[-1]}")
            answer = json.loads(done.stdout.splitlines()[-1])
            row.setdefault("taken", []).extend(answer.pop("taken", []))
            row |= answer
    megapixels = (words.side * words.scale) ** 2 / 1e6
    for row in rows:
        if not row["why"]:
            row["seconds_per_megapixel"] = median(row["taken"]) / megapixels
    return rows


def measure(words: argparse.Namespace, registry: srkit.Registry) -> dict[str, Any]:
    """What one process measures of one runtime: seconds of each tile, with --score the dB lost, or why not."""
    keep_freed_memory()  # as the command does
    name, precision = words.only
    loaded = load_model(registry, words.model, words.scale, pick_device("cpu"), quietly)
    race = Race(registry, loaded, pick_device("cpu"), words.side, lambda done, total, name: None)
    answer: dict[str, Any] = {}
    try:
        call = race.upscaler(registry.choose("backend", name, {"precision": precision}))
        if words.score:
            answer["lost"] = race.scored(race.upscaler(None))[0] - race.scored(call)[0]
        lr = race.tile(words.side)
        call(lr)  # the first one chooses kernels
        answer["taken"] = []
        for _ in range(CALLS):
            begin = time.perf_counter()
            call(lr)
            answer["taken"].append(time.perf_counter() - begin)
    except Exception as error:
        return {"why": one_line(error)}
    return answer


def found(registry: srkit.Registry) -> list[tuple[str, str]]:
    """What is to be measured: the six, whether they are there or not, then whatever else is installed."""
    there = [(entry.component.name, each) for entry in registry.of("backend") for each in entry.component.precisions]
    return [*WANTED, *(each for each in there if each not in WANTED)]


def photo(width: int, height: int, path: Path) -> Path:
    """A JPEG of that size: a photograph that ships, in mirrored copies."""
    import numpy as np
    from PIL import Image

    tile = srkit.read_rgb(Path(__file__).resolve().parent.parent / "plugins/srkit_builtin/samples/chelsea.png")
    pair = np.concatenate([tile, tile[:, ::-1]], 1)
    pair = np.concatenate([pair, pair[::-1]], 0)
    whole = np.tile(pair, (-(-height // pair.shape[0]), -(-width // pair.shape[1]), 1))[:height, :width]
    Image.fromarray(whole).save(path, quality=92)
    return path


def commands(words: argparse.Namespace, rows: list[dict[str, Any]]) -> dict[str, float]:
    """Seconds of `srkit upscale`, the whole command, by what it runs in; the first run of each is not counted."""
    ways = {f"{row['backend']} {row['precision']}": row for row in rows if not row["why"]}
    options = {way: ["--backend", row["backend"], "--precision", row["precision"]] for way, row in ways.items()}
    options["auto"] = ["--backend", "auto"]
    taken: dict[str, list[float]] = {way: [] for way in options}
    with tempfile.TemporaryDirectory() as folder:
        source = photo(words.width, words.height, Path(folder) / "photo.jpg")
        own = os.environ | {"SRKIT_CACHE": f"{folder}/cache"}  # so that auto tries anew what is the fastest now
        for turn in range(COMMANDS + 1):
            for way, more in options.items():
                line = [sys.executable, "-m", "srkit", "upscale", str(source), "--model", words.model]
                line += [
                    "--scale",
                    str(words.scale),
                    "--device",
                    "cpu",
                    "-o",
                    f"{folder}/out.png",
                    "--overwrite",
                    *more,
                ]
                begin = time.perf_counter()
                done = subprocess.run(line, capture_output=True, text=True, env=own)
                if done.returncode:
                    raise SystemExit(f"{' '.join(line)}: {done.stderr.strip().splitlines()[-1]}")
                taken[way] += [time.perf_counter() - begin] if turn else []
                if way == "auto" and not turn:
                    print(done.stderr.strip().splitlines()[-1])
    return {way: min(each) for way, each in taken.items()}


def table(words: argparse.Namespace, rows: list[dict[str, Any]], whole: dict[str, float]) -> str:
    """Markdown."""
    exact = next(row["seconds_per_megapixel"] for row in rows if (row["backend"], row["precision"]) == WANTED[0])
    megapixels = words.width * words.height * words.scale**2 / 1e6
    lines = ["| runtime | s per megapixel | times torch fp32 | PSNR lost | the command, s per megapixel |"]
    lines.append("| --- | --- | --- | --- | --- |")
    for row in rows:
        way = f"{row['backend']} {row['precision']}"
        if row["why"]:
            lines.append(f"| {way} | missing: {row['why']} | | | |")
            continue
        pace = row["seconds_per_megapixel"]
        command = f"{whole[way] / megapixels:.3f}" if way in whole else ""
        lines.append(f"| {way} | {pace:.4f} | {exact / pace:.2f} | {row['lost']:.4f} dB | {command} |")
    if whole:
        lines.append(f"| auto | | | | {whole['auto'] / megapixels:.3f} |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="edsr-small")
    parser.add_argument("--scale", type=int, default=2)
    parser.add_argument("--side", type=int, default=384, help="of the tile, in LR pixels")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--width", type=int, default=1632)
    parser.add_argument("--height", type=int, default=1224)
    parser.add_argument("--tiles-only", action="store_true", help="no whole commands")
    parser.add_argument("--only", nargs=2, metavar=("BACKEND", "PRECISION"), help="what one process measures")
    parser.add_argument("--score", action="store_true", help="of --only: the PSNR lost, too")
    parser.add_argument("--out", type=Path)
    words = parser.parse_args()
    torch.set_num_threads(words.threads)
    os.environ["OMP_NUM_THREADS"] = str(words.threads)  # of the commands
    registry = srkit.load_plugins()
    if words.only:
        print(json.dumps(measure(words, registry)))
        return
    rows = rows_of(words, registry)
    whole = {} if words.tiles_only else commands(words, rows)
    packages = sorted({entry.package for entry in registry.of("backend")})
    versions = sorted({each for package in packages for each in versions_of(package)})
    told = table(words, rows, whole)
    print(told)
    ratio = ""
    if whole:
        best = min((way for way in whole if way != "auto"), key=lambda way: whole[way])
        good = [row for row in rows if not row["why"] and row["lost"] <= MOST_LOST]
        allowed = {f"{row['backend']} {row['precision']}" for row in good}
        fair = min((way for way in whole if way in allowed), key=lambda way: whole[way])
        ratio = (
            f"auto takes {whole['auto'] / whole[fair]:.3f} of the fastest that loses at most {MOST_LOST} dB ({fair})"
        )
        ratio += f", {whole['auto'] / whole[best]:.3f} of the fastest ({best}), file to file"
        print(ratio)
    if words.out:
        words.out.mkdir(parents=True, exist_ok=True)
        about = {"processor": processor(), "threads": words.threads, "versions": versions, "options": vars(words)}
        (words.out / "runtimes.json").write_text(
            json.dumps(about | {"rows": rows, "commands": whole}, indent=1, default=str) + "\n"
        )
        line = " ".join(["python benchmarks/runtimes.py", *sys.argv[1:]])
        head = (
            f"# {words.model} x{words.scale} in every runtime\n\n    {line}\n\n{processor()}, {words.threads} threads; "
        )
        head += f"{', '.join(versions)}.\nA tile of {words.side}x{words.side} pixels; the command on {words.width}x"
        (words.out / "README.md").write_text(f"{head}{words.height}.\n\n{told}\n\n{ratio}\n")


if __name__ == "__main__":
    main()
