"""What a training step and an upscaled picture cost, as a model: measured here, extended to more cards on paper.

    python benchmarks/scale_model.py measure --data FOLDER --out benchmarks/records/DATE-scale/measured.json
    python benchmarks/scale_model.py picture --out RECORD         what a picture costs, anew
    python benchmarks/scale_model.py tables [--record RECORD]     writes docs/scale.md; without a record what needs none

measure: 1, 2 and 4 gloo ranks of one thread each on this machine (~10 minutes). All-reduce by message size; for two
networks the parts of a step (cutting patches, forward, backward and optimizer, the whole with averaged gradients); and
what decoding, the network and encoding take of a picture. The model's constants are fitted to these points, and the
error of each point is printed. tables: the same model with an H100's inputs, which are quoted in the document.
"""

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
PAGE = HERE.parent / "docs/scale.md"
PHOTO = HERE.parent / "plugins/srkit_builtin/samples/chelsea.png"
RANKS = (1, 2, 4)
SIZES = (1 << 16, 1 << 18, 1 << 20, 1 << 22, 1 << 24)  # bytes of an all-reduce
MODELS = {"edsr-small": {"n_resblocks": 8, "n_feats": 32}, "edsr 16x64": {"n_resblocks": 16, "n_feats": 64}}
LARGE = {"n_resblocks": 32, "n_feats": 256, "res_scale": 0.1}
BATCH, PATCH, SCALE = 16, 48, 2


# measured here


def as_rank(words: argparse.Namespace) -> None:
    """One of the processes: measure, and print the slowest rank's figures on the first."""
    import torch
    import torch.distributed as dist

    torch.set_num_threads(1)
    dist.init_process_group("gloo")
    mine: dict[str, Any] = {"reduce": reduced(words.turns)}
    for name, options in MODELS.items():
        mine[name] = step_parts(options, words.data, words.turns)
    all_ranks: list[Any] = [None] * dist.get_world_size()
    dist.all_gather_object(all_ranks, mine)
    if dist.get_rank() == 0:
        keys = {part: list(each) for part, each in mine.items()}
        print(json.dumps({part: {key: max(r[part][key] for r in all_ranks) for key in keys[part]} for part in keys}))
    dist.destroy_process_group()


def reduced(turns: int) -> dict[str, float]:
    """Median seconds of an all-reduce by its bytes; none of one rank."""
    import torch
    import torch.distributed as dist

    if dist.get_world_size() == 1:
        return {}
    found = {}
    for size in SIZES:
        values = torch.zeros(size // 4)
        taken = []
        for _ in range(turns):
            dist.barrier()
            begin = time.perf_counter()
            dist.all_reduce(values)
            taken.append(time.perf_counter() - begin)
        found[str(size)] = statistics.median(taken)
    return found


def step_parts(options: dict[str, Any], data: str, turns: int) -> dict[str, float]:
    """Median seconds: data (this rank's patches), compute (no gradients shared), step (gradients averaged)."""
    import torch
    import torch.distributed as dist
    from torch.nn.parallel import DistributedDataParallel

    from srkit import load_plugins
    from srkit.data.sampler import Batches, Sampler
    from srkit.data.store import packed

    registry, rank, size = load_plugins(), dist.get_rank(), dist.get_world_size()
    torch.manual_seed(0)
    net = registry.choose("model", "edsr", options).build(SCALE).to(memory_format=torch.channels_last)
    shared = DistributedDataParallel(net)
    optimizer = torch.optim.Adam((p for p in net.parameters() if p.requires_grad), lr=1e-6)
    store = packed(registry.choose("dataset", "folder"), data, "train", SCALE)
    sampler = Sampler([store], scale=SCALE, batch=BATCH, patch=PATCH, seed=0, device=torch.device("cpu"))
    dihedral = registry.choose("augmentation", "dihedral").build()
    batches = Batches({SCALE: sampler}, [(dihedral, False)], 0, rank=rank, size=size)
    cut = []
    for step in range(turns):
        begin = time.process_time()
        batch = batches(step)
        batches.ahead()
        assert batches.begun
        batches.begun.result()  # the rows of the next step, cut meanwhile
        cut.append(time.process_time() - begin)
    batches.thread.shutdown()
    lr = batch[1].lr.contiguous(memory_format=torch.channels_last)
    hr = batch[1].hr

    def step_of(synchronised: bool) -> float:
        dist.barrier()
        begin = time.perf_counter()
        optimizer.zero_grad()
        if synchronised:
            torch.nn.functional.l1_loss(shared(lr), hr).backward()
        else:
            with shared.no_sync():
                torch.nn.functional.l1_loss(shared(lr), hr).backward()
        optimizer.step()
        return time.perf_counter() - begin

    for synchronised in (True, False):  # in turns below, so that the machine's moods are shared
        step_of(synchronised)
    pairs = [(step_of(False), step_of(True)) for _ in range(turns)]
    grads = sum(p.numel() for p in net.parameters() if p.requires_grad) * 4
    return {
        "data": statistics.median(cut),
        "compute": statistics.median(each for each, _ in pairs),
        "step": statistics.median(each for _, each in pairs),
        "bytes": grads,
    }


def picture_parts() -> dict[str, float]:
    """Seconds a megapixel of the result, one thread: reading a JPEG of the source, the network, writing PNG or JPEG.

    Read and written as `srkit upscale` does, in a folder of its own.
    """
    import numpy as np
    import torch
    from PIL import Image

    import srkit
    from srkit.images import encoding_for, read_rgb, write_pixels

    torch.set_num_threads(1)
    srkit.keep_freed_memory()
    whole = Image.open(PHOTO).convert("RGB").resize((384, 384))
    folder = Path(tempfile.mkdtemp())
    source = folder / "source.jpg"
    whole.save(source, "JPEG", quality=90)
    upscaler = srkit.load("edsr-small", SCALE, device="cpu", progress=False)
    sr = upscaler.upscale(np.asarray(whole))
    megapixels = sr.shape[0] * sr.shape[1] / 1e6

    def written(name: str) -> int:
        write_pixels(folder / name, sr, None, encoding_for(name, quality=90 if name.endswith("jpg") else None))
        return (folder / name).stat().st_size

    calls = {
        "decode": lambda: read_rgb(source),
        "network": lambda: upscaler.upscale(np.asarray(whole)),
        "encode png": lambda: written("sr.png"),
        "encode jpeg": lambda: written("sr.jpg"),
    }
    found = {}
    for name, call in calls.items():
        taken = []
        for _ in range(5):
            begin = time.perf_counter()
            call()
            taken.append(time.perf_counter() - begin)
        found[name] = statistics.median(taken) / megapixels
    found["bytes png"] = written("sr.png") / megapixels
    found["bytes jpeg"] = written("sr.jpg") / megapixels
    found["bytes source"] = source.stat().st_size / (megapixels / SCALE**2)
    shutil.rmtree(folder)
    return found


def measure(words: argparse.Namespace) -> None:
    from srkit.evaluate.machine import processor

    found: dict[str, Any] = {}
    for ranks in RANKS:
        line = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(ranks)]
        line += [__file__, "rank", "--data", words.data, "--turns", str(words.turns)]
        done = subprocess.run(line, stdout=subprocess.PIPE, text=True, check=True)
        found[str(ranks)] = json.loads(done.stdout.splitlines()[-1])
        print(f"{ranks} ranks: {found[str(ranks)]}", flush=True)
    cores = len(os.sched_getaffinity(0))
    record = {"processor": processor(), "cores": cores, "batch": BATCH, "patch": PATCH, "ranks": found}
    words.out.parent.mkdir(parents=True, exist_ok=True)
    keep(words.out, record)
    print("\n".join(fitted_table(record)))
    picture(words)


def picture(words: argparse.Namespace) -> None:
    """What a picture costs, into the record that the rest is in."""
    keep(words.out, json.loads(words.out.read_text()) | {"picture": picture_parts()})


def keep(path: Path, record: dict[str, Any]) -> None:
    path.write_text(json.dumps(record, indent=1) + "\n")


# the model


def crowd(ranks: int, cores: int) -> float:
    """How much longer a rank computes where ranks share cores."""
    return max(1.0, ranks / cores)


def fit(record: dict[str, Any]) -> dict[str, Any]:
    """The constants of the model, by least squares of relative errors.

    compute(N) = (fixed + each * B/N) * crowd(N);  reduce(N, bytes) = 2 (N-1) * (wait + bytes / (N * width)) * crowd(N)
    """
    import numpy as np
    from scipy.optimize import nnls

    cores = record["cores"]
    found: dict[str, Any] = {}
    for model in MODELS:
        points = [(int(n), each[model]["compute"]) for n, each in record["ranks"].items()]
        rows = [[crowd(n, cores) / y, BATCH / n * crowd(n, cores) / y] for n, y in points]
        fixed, each = nnls(np.array(rows), np.ones(len(rows)))[0]
        found[model] = {"fixed": fixed, "each": each}
    points = [(int(n), int(size), y) for n, each in record["ranks"].items() for size, y in each["reduce"].items()]
    rows = [[2 * (n - 1) * crowd(n, cores) / y, 2 * (n - 1) * size / n * crowd(n, cores) / y] for n, size, y in points]
    wait, slowness = nnls(np.array(rows), np.ones(len(rows)))[0]
    return found | {"wait": wait, "width": 1 / slowness if slowness else float("inf")}


def reduce_seconds(ranks: int, size: float, wait: float, width: float) -> float:
    """A ring: each of 2 (N-1) rounds waits, and moves an Nth of the bytes."""
    return 2 * (ranks - 1) * (wait + size / (ranks * width)) if ranks > 1 else 0.0


def fitted_table(record: dict[str, Any]) -> list[str]:
    """Measured and modelled, with the error of each point."""
    constants, cores = fit(record), record["cores"]
    lines = ["| what | ranks | measured, ms | model, ms | error |", "| --- | ---: | ---: | ---: | ---: |"]

    def line(what: str, ranks: int, measured: float, model: float) -> str:
        return (
            f"| {what} | {ranks} | {1000 * measured:.2f} | {1000 * model:.2f} | {100 * (model / measured - 1):+.0f} % |"
        )

    for size in SIZES:
        for n in RANKS[1:]:
            model = reduce_seconds(n, size, constants["wait"], constants["width"]) * crowd(n, cores)
            lines.append(
                line(f"all-reduce of {size >> 10} KiB", n, record["ranks"][str(n)]["reduce"][str(size)], model)
            )
    for name in MODELS:
        for n in RANKS:
            each = record["ranks"][str(n)][name]
            own = constants[name]
            compute = (own["fixed"] + own["each"] * BATCH / n) * crowd(n, cores)
            shared = reduce_seconds(n, each["bytes"], constants["wait"], constants["width"]) * crowd(n, cores)
            lines.append(line(f"{name}: forward, backward, optimizer", n, each["compute"], compute))
            lines.append(line(f"{name}: whole step", n, each["step"], compute + shared))
    return lines


# an H100 on paper


H100 = {"peak": 989e12, "inside": 450e9, "between": 50e9, "wait inside": 5e-6, "wait between": 15e-6, "node": 8}
CARDS = (1, 8, 64, 512)
SHARES = (0.1, 0.4)  # of the peak that the network reaches: to be measured


def flops(options: dict[str, Any], side: int = PATCH) -> tuple[float, int]:
    """(floating-point operations of a forward pass of one patch, bytes of gradients in fp32)."""
    import torch
    from torch.utils.flop_counter import FlopCounterMode

    from srkit import load_plugins

    with torch.device("meta"):
        net = load_plugins().choose("model", "edsr", options).build(SCALE)
        lr = torch.empty(1, 3, side, side)
    with FlopCounterMode(display=False) as counter:
        net(lr)
    return counter.get_total_flops(), 4 * sum(p.numel() for p in net.parameters() if p.requires_grad)


def step_on(cards: int, per_card: float, work: float, size: int, share: float) -> tuple[float, float]:
    """(compute, all-reduce) seconds of a step: forward and backward are three forwards; a ring over all cards."""
    compute = 3 * work * per_card / (share * H100["peak"])
    inside = cards <= H100["node"]
    width, wait = (H100["inside"], H100["wait inside"]) if inside else (H100["between"], H100["wait between"])
    return compute, reduce_seconds(cards, size, wait, width)


def cards_table(options: dict[str, Any], per_card: int) -> list[str]:
    """Efficiency by cards: the share of the time that is not spent waiting for the others, nothing overlapped."""
    work, size = flops(options)
    lines = [
        f"| cards | global batch | {' | '.join(f'step, ms, at {s:.0%} | efficiency at {s:.0%}' for s in SHARES)} |"
    ]
    lines.append("| ---: | ---: |" + " ---: | ---: |" * len(SHARES))
    for cards in CARDS:
        cells = []
        for share in SHARES:
            compute, waited = step_on(cards, per_card, work, size, share)
            cells.append(f"{1000 * (compute + waited):.2f} | {compute / (compute + waited):.0%}")
        lines.append(f"| {cards} | {cards * per_card} | {' | '.join(cells)} |")
    return lines


def fixed_batch_table(options: dict[str, Any], batch: int) -> list[str]:
    """The same with one global batch, as a paper's schedule has it: the cards share its patches."""
    work, size = flops(options)
    lines = [f"| cards | patches a card | {' | '.join(f'times one card, at {s:.0%}' for s in SHARES)} |"]
    lines.append("| ---: | ---: |" + " ---: |" * len(SHARES))
    for cards in (1, 2, 4, 8, 16, 64):
        if batch < cards:
            lines.append(f"| {cards} | none | {' | '.join('cannot' for _ in SHARES)} |")
            continue
        cells = []
        for share in SHARES:
            alone = sum(step_on(1, batch, work, size, share))
            cells.append(f"{alone / sum(step_on(cards, batch / cards, work, size, share)):.1f}")
        lines.append(f"| {cards} | {batch // cards} | {' | '.join(cells)} |")
    return lines


def million_table(record: dict[str, Any]) -> list[str]:
    """10^8 pictures of 512x512, made twice as large."""
    pictures, out = 1e8, (512 * SCALE) ** 2 / 1e6
    parts = record["picture"]
    lines = ["| what | PNG | JPEG |", "| --- | ---: | ---: |"]

    def row(what: str, png: str, jpeg: str) -> None:
        lines.append(f"| {what} | {png} | {jpeg} |")

    hours = {form: pictures * out * (parts["decode"] + parts[f"encode {form}"]) / 3600 for form in ("png", "jpeg")}
    row("core hours of decoding and encoding, as measured", *(f"{hours[form]:,.0f}" for form in ("png", "jpeg")))
    for name, options in (("edsr-small", MODELS["edsr-small"]), ("EDSR 32x256", LARGE)):
        work, _ = flops(options, 512)
        for share in SHARES:
            gpu = pictures * work / (share * H100["peak"]) / 3600
            row(f"H100 hours of {name}, {share:.0%} of the peak", f"{gpu:,.1f}", f"{gpu:,.1f}")
            per = " | ".join(f"{hours[form] / gpu:,.1f}" for form in ("png", "jpeg"))
            lines.append(f"| cores to each card, so that it does not wait | {per} |")
    stored = {form: pictures * out * parts[f"bytes {form}"] / 1e12 for form in ("png", "jpeg")}
    row("terabytes of results", *(f"{stored[form]:,.0f}" for form in ("png", "jpeg")))
    row("the same a month, at 0.023 $ a GB", *(f"{stored[form] * 1000 * 0.023:,.0f} $" for form in ("png", "jpeg")))
    asked = pictures / 1000 * (0.0004 + 0.005)
    row("requests, one GET and one PUT each, at 0.0004 $ and 0.005 $ a thousand", f"{asked:,.0f} $", f"{asked:,.0f} $")
    return lines


def tables(words: argparse.Namespace) -> None:
    """Write the tables into the page; without a record those that need none."""
    found = {
        "small": cards_table(MODELS["edsr-small"], BATCH),
        "baseline": cards_table(MODELS["edsr 16x64"], BATCH),
        "large": cards_table(LARGE, BATCH),
        "fixed": fixed_batch_table(LARGE, BATCH),
    }
    if words.record:
        record = json.loads(words.record.read_text())
        constants = fit(record)
        found["fit"] = fitted_table(record)
        found["constants"] = [
            f"Here a round of the ring waits {1e6 * constants['wait']:.0f} µs and moves "
            f"{constants['width'] / 1e6:,.0f} MB/s; {record['processor']}, {record['cores']} cores."
        ]
        found["million"] = million_table(record)
    text = PAGE.read_text(encoding="utf-8")
    for name, lines in found.items():
        before, _, rest = text.partition(f"<!-- {name} -->\n")
        _, end, after = rest.partition(f"<!-- /{name} -->")
        if not end:
            raise SystemExit(f"'{PAGE}' has no place for {name}")
        text = "\n".join([f"{before}<!-- {name} -->", *lines, f"{end}{after}"])
    PAGE.write_text(text, encoding="utf-8")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["measure", "picture", "tables", "rank"])
    parser.add_argument("--data", help="folder of photographs")
    parser.add_argument("--turns", type=int, default=30)
    parser.add_argument("--record", type=Path)
    parser.add_argument("--out", type=Path)
    words = parser.parse_args()
    {"measure": measure, "picture": picture, "tables": tables, "rank": as_rank}[words.what](words)


if __name__ == "__main__":
    main()
