"""Make a finished training part of srkit: its weights into the wheel, its claims measured, its record written.

    python benchmarks/ship_weights.py runs/edsr-small_x2 --tag bicubic

From the repository's root. Nothing is typed by hand: all that is said of the weights comes from the run and from what
is measured here. Weights of the same preset, scales and tag that were shipped before are replaced, with their record.

`best.safetensors` is written to `plugins/srkit_builtin/weights/`, with its kernels in fp16 where that costs at most
0.001 dB on Set5 at each scale. `weights.toml` beside it gets the SHA-256, the claims, the licence, and the SHA-256 of
the pixels made of a sample. The record has the run file, the log, those pixels as PNG, and the command that trains
again. The table in docs/weights.md is written anew. `--after` names the trainings that led to this one, the first one
first; their run files and logs go into the record too.
"""

import hashlib
import json
import platform
import re
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from datetime import date
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated, Any, Literal

import numpy as np
import tomli_w
import torch
import typer
from PIL import Image
from torch import Tensor

from srkit import load_plugins, read_rgb
from srkit.checkpoint import read_about, read_tensors, save_tensors
from srkit.data.pairs import open_dataset
from srkit.errors import SrkitError, UsageError
from srkit.evaluate.protocol import protocol_named
from srkit.evaluate.report import digits
from srkit.evaluate.score import score_pairs
from srkit.evaluate.statistics import mean
from srkit.fetch import file_sha256
from srkit.files import write_atomically
from srkit.nets import Loaded, parameter_count
from srkit.plugins import Registry
from srkit.progress import Progress
from srkit.run import Run, read_run_file
from srkit.train.optim import make_schedule
from srkit.upscale.wrap import Upscale, make_upscaler, to_pixels, to_tensor
from srkit.weights.find import checkpoint_in
from srkit.weights.loading import load_model
from srkit.weights.locate import model_of

ROOT = Path(__file__).resolve().parents[1]
SHIPPED = ROOT / "plugins/srkit_builtin/weights"
LIST = SHIPPED / "weights.toml"
RECORDS = ROOT / "benchmarks/records"
PHOTOGRAPHS = "PHOTOGRAPHS.tsv"  # beside the weights: what they were trained on, with source and licence of each
SETS = ("set5", "set14", "b100")
COST = 0.001  # dB that half precision may cost
SAMPLE = ROOT / "plugins/srkit_builtin/samples/chelsea.png"
CROP = (slice(90, 186), slice(130, 226))  # 96x96 of it: an eye, whiskers and fur
HEAD = "# Written by benchmarks/ship_weights.py, which measures all of it; read by srkit_builtin/shipped.py.\n\n"


def sample() -> np.ndarray:
    """H,W,3 uint8: the picture by which shipped weights are recognised."""
    return read_rgb(SAMPLE)[CROP]


def pixels_of(loaded: Loaded) -> np.ndarray:
    """What the network makes of the sample: fp32 on the CPU, whole, one thread. H,W,3 uint8."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        return to_pixels(make_upscaler(loaded.net, loaded.model, loaded.scale, tile=0)(to_tensor(sample())))
    finally:
        torch.set_num_threads(threads)


def digest(pixels: np.ndarray) -> str:
    return hashlib.sha256(np.ascontiguousarray(pixels).tobytes()).hexdigest()


def machine() -> str:
    """The kind of machine and torch that the last bit of a result may depend on."""
    names = re.findall(r"^model name\s*: (.*)$", cpu_info(), flags=re.M)
    name = names[0] if names else platform.processor() or platform.machine()
    return f"{name}, {torch.backends.cpu.get_cpu_capability()}, torch {torch.__version__}"


def cpu_info() -> str:
    path = Path("/proc/cpuinfo")
    return path.read_text(encoding="utf-8") if path.exists() else ""


def psnr_and_ssim(registry: Registry, upscalers: Mapping[str, Upscale], set_name: str, scale: int, data: Path) -> Any:
    """{name: {metric: mean over the set}} of protocol y, for each upscaler."""
    pairs = open_dataset(registry.choose("dataset", set_name), data, "test", scale)
    metrics = {name: registry.choose("metric", name).build() for name in ("psnr", "ssim")}
    with Progress(f"{set_name} x{scale}", len(pairs) * len(upscalers)) as progress:
        found = score_pairs(
            upscalers, pairs, scale, metrics, protocol_named("y"), device=torch.device("cpu"), done=progress.one_more
        )
    for result in found.values():
        if result.error:
            raise result.error
    return {
        name: {metric: mean(image.scores[metric] for image in result.images) for metric in metrics}
        for name, result in found.items()
    }


def upscaler_of(registry: Registry, loaded: Loaded, precision: str = "fp32") -> Upscale:
    backend = registry.choose("backend", "torch", {"precision": precision})
    return make_upscaler(loaded.net, loaded.model, loaded.scale, backend=backend)


def halved(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Kernels in fp16; biases, of which there are few, and the mean shifts among them, as they are."""
    return {name: tensor.half() if tensor.ndim > 1 else tensor for name, tensor in tensors.items()}


def write_smallest(registry: Registry, path: Path, tensors: Mapping[str, Tensor], about: Any, data: Path) -> float:
    """Write the weights in fp16 where that costs little, else in fp32. The largest cost of fp16 in dB on Set5."""
    costs = []
    save_tensors(path, tensors, about)
    whole = [load_model(registry, str(path), scale) for scale in about["scales"]]
    save_tensors(path, halved(tensors), about)
    for each in whole:
        half = load_model(registry, str(path), each.scale)
        both = {"fp32": upscaler_of(registry, each), "fp16": upscaler_of(registry, half)}
        scores = psnr_and_ssim(registry, both, "set5", each.scale, data)
        costs.append(scores["fp32"]["psnr"] - scores["fp16"]["psnr"])
    if max(costs) > COST:
        save_tensors(path, tensors, about)
    return max(costs)


def measure(registry: Registry, path: Path, scales: Sequence[int], data: Path) -> tuple[dict[str, float], list[str]]:
    """(claims, the lines of the record's table): bicubic beside the weights on each set, bf16 on Set5."""
    claims, lines = {}, []
    for scale in scales:
        loaded = load_model(registry, str(path), scale)
        floor = load_model(registry, "bicubic", scale)
        mark = f"x{scale} " if len(scales) > 1 else ""
        for name in SETS:
            upscalers = {"bicubic": upscaler_of(registry, floor), "fp32": upscaler_of(registry, loaded)}
            if name == "set5":
                upscalers["bf16"] = upscaler_of(registry, loaded, "bf16")
            scores = psnr_and_ssim(registry, upscalers, name, scale, data)
            if scores["fp32"]["psnr"] <= scores["bicubic"]["psnr"]:
                raise UsageError(f"x{scale} is not better than bicubic on {name}: {scores}; it is not shipped")
            for metric in ("psnr", "ssim"):
                claims[f"{name} {mark}y {metric}"] = round(scores["fp32"][metric], 4 if metric == "psnr" else 5)
            if name == "set5":
                claims[f"{name} {mark}y psnr bf16"] = round(scores["bf16"]["psnr"], 4)
            cells = [f"{digits('psnr', each['psnr'])} / {digits('ssim', each['ssim'])}" for each in scores.values()]
            lines.append(f"| {name} | x{scale} | {' | '.join([*cells, ''][:3])} |")
    return claims, lines


def portable(value: Any) -> Any:
    """Paths in a run relative to the repository's root, so that they name the data beside any checkout."""
    if isinstance(value, dict):
        return {key: portable(item) for key, item in value.items()}
    if isinstance(value, list):
        return [portable(item) for item in value]
    if isinstance(value, str) and value.startswith("/"):
        _, found, rest = value.partition("/shared/")
        return f"../shared/{rest}" if found else Path(value).name
    return value


def licence_of(photographs: Path) -> str:
    """The licence of the weights: that which all licences of the photographs allow."""
    stated = [line.split("\t")[-1] for line in photographs.read_text(encoding="utf-8").splitlines()[1:]]
    if any(re.search(r"\b(NC|ND)\b|non.?commercial|research", each, re.IGNORECASE) for each in stated):
        raise UsageError(f"'{photographs}' has photographs whose licence does not let weights be given away")
    return "CC-BY-SA-4.0" if any("-SA" in each for each in stated) else "CC-BY-4.0"


def attribute(manifest: Path) -> None:
    """Ship the list of photographs: file, source and licence of each."""
    rows = [line.split("\t") for line in manifest.read_text(encoding="utf-8").splitlines()]
    kept = [rows[0].index(column) for column in ("file", "source", "licence_as_stated")]
    text = "".join("\t".join(row[place] for place in kept) + "\n" for row in rows)
    path = SHIPPED / PHOTOGRAPHS
    if path.exists() and path.read_text(encoding="utf-8") != text:
        raise UsageError(f"'{path}' lists other photographs than '{manifest}': give these weights a list of their own")
    path.write_text(text, encoding="utf-8")


def other_rates(run: Run, log: Sequence[Mapping[str, Any]]) -> list[int]:
    """The logged steps whose learning rate is not that of the run file: the training was changed on its way."""
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=run.lr)
    rates = make_schedule(run.schedule.name, run.schedule.options, optimizer, run.steps)
    found = []
    for line in (line for line in log if "lr" in line):
        rates(line["step"] - 1)
        if abs(optimizer.param_groups[0]["lr"] - line["lr"]) > 1e-3 * run.lr:
            found.append(int(line["step"]))
    return found


def readme(name: str, about: Mapping[str, Any], entry: Mapping[str, Any], facts: Mapping[str, Any]) -> Iterator[str]:
    """The record's page, line by line."""
    scales = " ".join(f"x{scale}" for scale in entry["scales"])
    where = f"benchmarks/records/{name}"
    run: Run = facts["run"]
    score = about["scores"]
    yield f"# {entry['preset']} {scales}, weights `{entry['tag']}`, as they ship\n"
    yield f"    srkit train --run {where}/run.toml --out runs/{name}"
    yield f"    python benchmarks/ship_weights.py runs/{name} --tag {entry['tag']}\n"
    yield (
        f"{facts['parameters']:,} parameters. {run.steps:,} steps of {run.batch} patches of {run.patch}x{run.patch} in "
        f"{run.precision}; step {about['step']:,} was the best, {digits('psnr', score['psnr'])} dB (protocol "
        f"{score['protocol']}) on the validation pictures, which are none of those below. Paths in `run.toml` are "
        "relative to the repository's root; `log.jsonl` is the whole log."
    )
    if facts["changed"]:
        yield (
            f"\nBetween steps {facts['changed'][0]:,} and {facts['changed'][-1]:,} the learning rate of the log is not "
            "that of `run.toml`: the training was resumed with other steps, so the command takes another path."
        )
    if facts["earlier"]:
        names = " and ".join(f"`before-{number}.toml`" for number, _ in enumerate(facts["earlier"], 1))
        count = len(facts["earlier"]) + 1
        yield f"\nThis is the last of {count} trainings in a row; before it came {names}, each with its log."
    if facts["note"]:
        yield f"\n{facts['note']}"
    yield "\nPSNR in dB and SSIM, protocol y, LR by MATLAB's bicubic, fp32; the last column in bf16:\n"
    yield f"| set | scale | bicubic | {entry['preset']} | bf16 |\n| --- | --- | --- | --- | --- |"
    yield from facts["lines"]
    yield (
        f"\nThe file's kernels are {entry['kernels']}: fp16 costs {max(0.0, facts['cost']):.4f} dB on Set5. Licence "
        f"{entry['licence']}; trained on {entry['trained_on']}. `pixels-x*.png` are what it makes of 96x96 pixels of "
        f"the sample `chelsea.png`, by which a test recognises it; measured on {entry['pixels']['machine']}."
    )


def write_record(folder: Path, about: Any, entry: Mapping[str, Any], facts: Mapping[str, Any]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "run.toml").write_text(facts["run"].to_toml(), encoding="utf-8")
    shutil.copyfile(facts["log"], folder / "log.jsonl")
    for number, (run, log) in enumerate(facts["earlier"], 1):
        (folder / f"before-{number}.toml").write_text(run.to_toml(), encoding="utf-8")
        shutil.copyfile(log, folder / f"before-{number}.jsonl")
    for scale, pixels in facts["pixels"].items():
        Image.fromarray(pixels).save(folder / f"pixels-x{scale}.png", optimize=True)
    text = "\n".join(readme(folder.name, about, entry, facts)) + "\n"
    (folder / "README.md").write_text(text, encoding="utf-8")


def listed() -> list[dict[str, Any]]:
    return tomllib.loads(LIST.read_text(encoding="utf-8")).get("weights", []) if LIST.exists() else []


def register(entry: Mapping[str, Any]) -> None:
    """Put the entry into the list, in place of what was shipped before for the same use."""
    key = ("preset", "tag", "scales")
    others = []
    for each in listed():
        if any(each[name] != entry[name] for name in key):
            others.append(each)
        elif each["record"] != entry["record"]:
            shutil.rmtree(RECORDS / each["record"], ignore_errors=True)
    table = {"weights": sorted([*others, entry], key=lambda each: [each[name] for name in key])}
    write_atomically(LIST, lambda file: file.write((HEAD + tomli_w.dumps(table)).encode()))


def run_in(registry: Registry, run_folder: Path) -> Run:
    return Run.from_dict(portable(read_run_file(run_folder / "run.toml"))).resolved(registry)


def ship(
    run_folder: Path, tag: str, data: Path, *, note: str, after: Sequence[Path] = (), manifest: Path | None = None
) -> str:
    """Ship one run; the line that says what was shipped."""
    registry = load_plugins()
    source = checkpoint_in(run_folder)
    about = portable({key: value for key, value in read_about(source).items() if key != "format"})
    model, scales, tensors = model_of(registry, source, about), about["scales"], read_tensors(source)
    if not model.preset:
        raise UsageError(f"'{source}' has options of no preset: {model.options}; add one to srkit_builtin first")
    manifest = manifest or Path(read_run_file(run_folder / "run.toml")["data"]["root"]) / "MANIFEST.tsv"
    run = run_in(registry, run_folder)
    earlier = [(run_in(registry, each), each / "log.jsonl") for each in after]
    name = f"{model.preset}-{'x'.join(['', *map(str, scales)])}-{tag}"
    path = SHIPPED / f"{name}.safetensors"
    about |= {"licence": licence_of(manifest), "run": run.to_dict()}
    attribute(manifest)
    with TemporaryDirectory() as folder:  # what was shipped before stays until all of it is measured
        trial = Path(folder) / path.name
        cost = write_smallest(registry, trial, tensors, about, data)
        claims, lines = measure(registry, trial, scales, data)
        shutil.copyfile(trial, path)
    pixels = {scale: pixels_of(load_model(registry, str(path), scale)) for scale in scales}
    kinds = {tensor.dtype for tensor in read_tensors(path).values() if tensor.ndim > 1}
    entry = {
        "file": path.name,
        "model": model.component.name,
        "preset": model.preset,
        "scales": list(scales),
        "tag": tag,
        "sha256": file_sha256(path),
        "kernels": "fp16" if kinds == {torch.float16} else "fp32",
        "licence": about["licence"],
        "trained_on": f"{len(manifest.read_text().splitlines()) - 1} free photographs (weights/{PHOTOGRAPHS})",
        "record": f"{date.today()}-{name}",
        "claims": claims,
        "pixels": {"machine": machine(), **{f"x{scale}": digest(made) for scale, made in pixels.items()}},
    }
    log = [json.loads(line) for line in (run_folder / "log.jsonl").read_text(encoding="utf-8").splitlines()]
    facts = {
        "run": run, "parameters": parameter_count(load_model(registry, str(path), None).net), "cost": cost,
        "lines": lines, "pixels": pixels, "log": run_folder / "log.jsonl",
        "changed": other_rates(run, log), "earlier": earlier, "note": note,
    }  # fmt: skip
    write_record(RECORDS / str(entry["record"]), about, entry, facts)
    register(entry)
    return f"{path.name}: {path.stat().st_size:,} bytes, {entry['kernels']}, {claims}"


def main(
    run_folder: Annotated[Path, typer.Argument(metavar="RUN_FOLDER", help="A finished run: best.safetensors, log.")],
    tag: Annotated[Literal["bicubic", "photo"], typer.Option(help="What it was trained for.")],
    data: Annotated[Path, typer.Option(help="The folder that holds Set5/HR, Set14/HR and B100/HR.")] = Path(
        "../shared/data/bench"
    ),
    note: Annotated[str, typer.Option(help="A sentence for the record's README.")] = "",
    manifest: Annotated[
        Path | None, typer.Option(help="MANIFEST.tsv of the photographs, if it is not in the folder trained on.")
    ] = None,
    after: Annotated[list[Path], typer.Option(help="A training before it, first one first; repeatable.")] = [],  # noqa: B006 - typer copies it
) -> None:
    """Ship the weights of one finished run."""
    try:
        print(ship(run_folder, tag, data, note=note, after=after, manifest=manifest))
        subprocess.run([sys.executable, ROOT / "docs/generate_weights.py"], check=True)
    except SrkitError as error:
        raise SystemExit(f"ship_weights: {error}") from None


if __name__ == "__main__":
    app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
    app.command(help=__doc__)(main)
    app()
