"""Trainer steps per second over the bare step: what the engine costs beyond the arithmetic.

    python benchmarks/train_throughput.py --data FOLDER [--models small,baseline] [--precision auto,fp32] [--json]

The bare step is forward, L1, backward and Adam on tensors that lie ready, with the same network, batch
and precision. It is measured between the steps of a real training (sampling, augmentation, checks, log),
in turns, so that a noisy machine disturbs both alike; the ratio is the median over the turns. The trainer averages the
weights, as it does by default; the bare step does not. On a CPU the trainer's Adam is fused, the bare step's is what
torch.optim.Adam does when nothing is said; with --fused it is fused too. Several precisions are trained in turns too,
--rounds times.
"""

import argparse
import json
import re
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import nn

from srkit import load_plugins
from srkit.nets import AUTOCAST, build_net, pick_device, precision_on
from srkit.run import Run
from srkit.train.keeper import Limits
from srkit.train.session import run_training

MODELS = {"small": {"n_resblocks": 8, "n_feats": 32}, "baseline": {"n_resblocks": 16, "n_feats": 64}}


class Silent:
    def say(self, text: str) -> None: ...
    def packing(self, what: str, done: int, total: int) -> None: ...
    def training(self, step: int) -> None: ...
    def progress(self, step: int, loss: float, score: str) -> None: ...


def bare_steps(run: Run, device: torch.device, fused: bool) -> Callable[[int], float]:
    """measure(n) -> seconds of n bare steps of this run's model, batch and precision."""
    model = load_plugins().choose("model", run.model.name, run.model.options)
    net = build_net(model, run.scales, device).to(memory_format=torch.channels_last)
    if run.compile != "off":
        net.compile(mode="reduce-overhead" if run.compile == "graphs" else None)
    optimizer = torch.optim.Adam(net.parameters(), lr=run.lr, fused=fused or None)
    lr = torch.rand(run.batch, 3, run.patch, run.patch, device=device).to(memory_format=torch.channels_last)
    side = run.patch * run.scales[0]
    hr = torch.rand(run.batch, 3, side, side, device=device).to(memory_format=torch.channels_last)

    def measure(steps: int) -> float:
        synchronise(device)
        begin = time.perf_counter()
        for _ in range(steps):
            with torch.autocast(device.type, AUTOCAST.get(run.precision), run.precision in AUTOCAST):
                sr = net(lr)
            loss = nn.functional.l1_loss(sr.float(), hr)
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            optimizer.step()
        synchronise(device)
        return time.perf_counter() - begin

    return measure


def synchronise(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


Turns = list[tuple[float, float]]  # seconds of the trainer's steps and of as many bare ones


def compare(run: Run, device: torch.device, turns: int, each: int, *, resident: str, fused: bool) -> Turns:
    """Train, with a turn of bare steps after every `each` steps."""
    bare = bare_steps(run, device, fused)
    found: Turns = []
    calls, begun = 0, 0.0

    def between() -> bool:
        """The trainer asks once a step whether to stop."""
        nonlocal calls, begun
        calls += 1
        if calls % each:
            return False
        synchronise(device)
        trainer = time.perf_counter() - begun
        if calls > each:  # the first turn warms both up
            found.append((trainer, bare(each)))
        else:
            bare(each)
        begun = time.perf_counter()
        return len(found) == turns

    with tempfile.TemporaryDirectory() as place:
        run_training(
            run, load_plugins(), Path(place) / "run", device, Silent(), Limits(stop=between), resident=resident
        )
    return found


def speeds(found: Turns, each: int) -> dict[str, float]:
    """The median speeds and their median ratio."""
    return {
        "trainer_steps_per_s": each / statistics.median(t for t, _ in found),
        "bare_steps_per_s": each / statistics.median(b for _, b in found),
        "ratio": statistics.median(b / t for t, b in found),
        "turns": len(found),
    }


def peer(path: Path, data: Path, options: dict[str, int], run: Run, steps: int) -> float:
    """Steps per second of a checkout of BasicSR, by its own log, on the same pictures, model, batch and patch."""
    with tempfile.TemporaryDirectory() as place:
        folders = {which: Path(place) / which for which in ("hr", "lr")}
        write_pairs(data, folders, run.scales[0])
        (Path(place) / "opt.yml").write_text(
            PEER.format(
                hr=folders["hr"], lr=folders["lr"], steps=steps, scale=run.scales[0], batch=run.batch,
                side=run.patch * run.scales[0], blocks=options["n_resblocks"], feats=options["n_feats"],
            )
        )  # fmt: skip
        code = PEER_START.format(path=str(path.resolve()))
        words = [sys.executable, "-c", code, "-opt", "opt.yml"]
        done = subprocess.run(words, cwd=place, capture_output=True, text=True)
    log = done.stdout + done.stderr
    times = re.findall(r"time \(data\): ([\d.]+)", log)
    if len(times) < 3:
        sys.exit(f"BasicSR in {path} did not train: {log.strip().splitlines()[-1:]}")
    return 1 / float(times[-1])  # it prints the mean since the start


def write_pairs(data: Path, folders: dict[str, Path], scale: int) -> None:
    """PNG pairs, as that trainer wants them."""
    from PIL import Image

    from srkit.data.pairs import aligned

    pairs = load_plugins().choose("dataset", "folder").build(data, "train", scale)
    for folder in folders.values():
        folder.mkdir()
    for i in range(len(pairs)):
        lr, hr = aligned(pairs[i], scale)
        for which, pixels in (("lr", lr), ("hr", hr)):
            Image.fromarray(pixels).save(folders[which] / f"{i:05d}.png", compress_level=1)


PEER = """
name: peer
model_type: SRModel
scale: {scale}
num_gpu: auto
manual_seed: 0
datasets:
  train:
    name: pairs
    type: PairedImageDataset
    dataroot_gt: {hr}
    dataroot_lq: {lr}
    filename_tmpl: '{{}}'
    io_backend: {{type: disk}}
    gt_size: {side}
    use_hflip: true
    use_rot: true
    num_worker_per_gpu: 2
    batch_size_per_gpu: {batch}
    dataset_enlarge_ratio: 100
    prefetch_mode: ~
network_g: {{type: EDSR, num_in_ch: 3, num_out_ch: 3, num_feat: {feats}, num_block: {blocks}, upscale: {scale},
  res_scale: 1, img_range: 255., rgb_mean: [0.4488, 0.4371, 0.4040]}}
path: {{pretrain_network_g: ~, strict_load_g: true, resume_state: ~}}
train:
  ema_decay: 0
  optim_g: {{type: Adam, lr: !!float 1e-4, weight_decay: 0, betas: [0.9, 0.99]}}
  scheduler: {{type: MultiStepLR, milestones: [200000], gamma: 0.5}}
  total_iter: {steps}
  warmup_iter: -1
  pixel_opt: {{type: L1Loss, loss_weight: 1.0, reduction: mean}}
logger: {{print_freq: 5, save_checkpoint_freq: !!float 1e9, use_tb_logger: false, wandb: {{project: ~}}}}
"""

# torchvision has since moved a function that BasicSR 1.4 imports.
PEER_START = """
import sys, types
import torchvision.transforms.functional as functional
moved = types.ModuleType("torchvision.transforms.functional_tensor")
moved.rgb_to_grayscale = functional.rgb_to_grayscale
sys.modules[moved.__name__] = moved
sys.path.insert(0, {path!r})
from basicsr.train import train_pipeline
train_pipeline(".")
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, help="folder of pictures; the shipped samples when not said")
    parser.add_argument("--models", default="small,baseline", help=f"of {', '.join(MODELS)}")
    parser.add_argument("--turns", type=int, default=12, help="in all, shared by the rounds")
    parser.add_argument("--rounds", type=int, help="trainings a precision; 3 where there are several, else 1")
    parser.add_argument("--steps", type=int, default=0, help="per turn; 10 for small, 4 for baseline, 100 on a GPU")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--precision", default="fp32", help="one or several, such as auto,fp32")
    parser.add_argument("--compile", default="off")
    parser.add_argument("--fused", action="store_true", help="the bare step's Adam too")
    parser.add_argument("--resident", default="auto")
    parser.add_argument("--peer", type=Path, help="a checkout of BasicSR to run on the same data and models")
    parser.add_argument("--json", action="store_true")
    words = parser.parse_args()
    device = pick_device(words.device)
    precisions = list(dict.fromkeys(precision_on(device, word) for word in words.precision.split(",")))
    rounds = words.rounds or (3 if len(precisions) > 1 else 1)
    rows = []
    for name in words.models.split(","):
        each = words.steps or (100 if device.type == "cuda" else {"small": 6, "baseline": 4}[name])
        runs = {precision: run_of(words, name, precision) for precision in precisions}
        found: dict[str, Turns] = {precision: [] for precision in precisions}
        for _ in range(rounds):
            for precision, run in runs.items():
                found[precision] += compare(
                    run, device, -(-words.turns // rounds), each, resident=words.resident, fused=words.fused
                )
        own = []
        for precision, run in runs.items():
            row = {"model": name, "device": str(device), "precision": precision, "compile": run.compile,
                   "bare_adam": "fused" if words.fused else "torch's default", "resident": words.resident,
                   **speeds(found[precision], each)}  # fmt: skip
            if words.peer:
                row["peer_steps_per_s"] = peer(words.peer, words.data, MODELS[name], run, 40)
                row["over_peer"] = row["trainer_steps_per_s"] / row["peer_steps_per_s"]
            own.append(row)
            if not words.json:
                beside = f", BasicSR {row['peer_steps_per_s']:.3f} steps/s" if words.peer else ""
                print(f"{told(row)}{beside}", flush=True)
        if len(own) > 1 and not words.json:
            over = f"{own[0]['precision']} over {own[-1]['precision']}"
            print(f"{name:<9} {over}: trainer {faster(own, 'trainer'):.2f} times, bare {faster(own, 'bare'):.2f} times")
        rows += own
    if words.json:
        print(json.dumps({"ratio": min(row["ratio"] for row in rows), "rows": rows}, indent=1))


def run_of(words: argparse.Namespace, model: str, precision: str) -> Run:
    """The run that is trained, with all its defaults but these."""
    values = {
        "model": {"name": "edsr", **MODELS[model]}, "validate_every": 10**9, "precision": precision,
        "compile": words.compile, "steps": 10**7,
    }  # fmt: skip
    if words.data:
        values["data"] = {"name": "folder", "root": str(words.data)}
    return Run.from_dict(values).resolved(load_plugins())


def told(row: dict[str, Any]) -> str:
    return (
        f"{row['model']:<9} {row['precision']} trainer {row['trainer_steps_per_s']:.3f} steps/s, "
        f"bare {row['bare_steps_per_s']:.3f}, ratio {row['ratio']:.3f}"
    )


def faster(rows: list[dict[str, Any]], what: str) -> float:
    return rows[0][f"{what}_steps_per_s"] / rows[-1][f"{what}_steps_per_s"]


if __name__ == "__main__":
    main()
