"""Step time with 1, 10 and 100 times the pictures: the cost of a step must not depend on their number or size.

    python benchmarks/data_scaling.py --data FOLDER [--counts 240,2400,24000] [--side 256] [--json]

Each count is a folder of links to the pictures (cut to `--side`, so that 24,000 fit on a disk), packed
and trained on in turns with the others; the step time is the median over the turns. `--side 0` takes
the pictures whole.
"""

import argparse
import json
import statistics
import tempfile
import time
from pathlib import Path

import torch
from PIL import Image
from train_throughput import MODELS, synchronise

from srkit import list_images, load_plugins, read_rgb
from srkit.data.sampler import Batches, Sampler
from srkit.data.store import packed
from srkit.nets import build_net, pick_device


def linked(sources: list[Path], count: int, folder: Path) -> Path:
    folder.mkdir()
    for i in range(count):
        source = sources[i % len(sources)]
        (folder / f"{i:06d}{source.suffix}").symlink_to(source)
    return folder


def cut(sources: list[Path], side: int, folder: Path) -> list[Path]:
    folder.mkdir()
    for i, source in enumerate(sources):
        Image.fromarray(read_rgb(source)[:side, :side]).save(folder / f"{i:05d}.png")
    return list_images(folder)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--counts", default="240,2400,24000")
    parser.add_argument("--side", type=int, default=256)
    parser.add_argument("--turns", type=int, default=15)
    parser.add_argument("--steps", type=int, default=8, help="per turn")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--json", action="store_true")
    words = parser.parse_args()
    device = pick_device(words.device)
    registry = load_plugins()
    dihedral = registry.choose("augmentation", "dihedral").build().to(device)
    net = build_net(registry.choose("model", "edsr", MODELS["small"]), [2], device)
    net = net.to(memory_format=torch.channels_last)
    optimizer = torch.optim.Adam(net.parameters(), lr=1e-4)
    counts = [int(count) for count in words.counts.split(",")]
    feeds, packing = {}, {}
    with tempfile.TemporaryDirectory() as place:
        sources = list_images(words.data.resolve())
        sources = cut(sources, words.side, Path(place) / "cut") if words.side else sources
        for count in counts:
            folder = linked(sources, count, Path(place) / str(count))
            begin = time.perf_counter()
            store = packed(registry.choose("dataset", "folder"), str(folder), "train", 2)
            packing[count] = time.perf_counter() - begin
            sampler = Sampler([store], scale=2, batch=16, patch=48, seed=0, device=device)
            feeds[count] = Batches({2: sampler}, [(dihedral, False)], 0)
            store.path.unlink()  # its pixels stay mapped; nothing is left behind

        times: dict[int, list[float]] = {count: [] for count in counts}
        cuts: dict[int, list[float]] = {count: [] for count in counts}
        step = 0
        for turn in range(words.turns + 1):
            for count in counts:
                synchronise(device)
                begin = time.perf_counter()
                for _ in range(words.steps):
                    cut_at = time.perf_counter()
                    _, batch = feeds[count](step)
                    cuts[count].append(time.perf_counter() - cut_at)
                    optimizer.zero_grad(set_to_none=True)
                    loss = torch.nn.functional.l1_loss(net(batch.lr), batch.hr)
                    feeds[count].ahead()
                    loss.backward()
                    optimizer.step()
                    step += 1
                synchronise(device)
                if turn:  # the first warms up
                    times[count].append((time.perf_counter() - begin) / words.steps)
    rows = [
        {
            "pictures": count, "pack_s": round(packing[count], 1),
            "step_ms": 1000 * statistics.median(times[count]), "cut_ms": 1000 * statistics.median(cuts[count]),
            "ratio": statistics.median(b / a for a, b in zip(times[counts[0]], times[count], strict=True)),
        }
        for count in counts
    ]  # fmt: skip
    if words.json:
        print(json.dumps({"ratio": max(row["ratio"] for row in rows), "rows": rows}, indent=1))
    else:
        for row in rows:
            print(
                f"{row['pictures']:>7,} pictures: {row['step_ms']:.1f} ms a step, {row['ratio']:.3f} of the first; "
                f"{row['cut_ms']:.2f} ms of it to cut the patches"
            )


if __name__ == "__main__":
    main()
