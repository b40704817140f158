"""What `srkit bench` adds to the network's own time: reading, protocol, metrics and keeping, as a share of it.

    python benchmarks/bench_overhead.py [WEIGHTS] [--root DATA] [--set b100] [--scale 2] [--threads 2] [--pictures 100]

The network's time is that of upscaling tensors, from 8-bit LR to 8-bit SR. LR is made before, since it is made once for
all models. Memory is the highest resident set, and what it grew by over the second half of the pictures.
"""

import argparse
import resource
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import torch

from srkit import Pair, imresize, load_plugins
from srkit.data.named import set_named
from srkit.evaluate.compute import compute
from srkit.evaluate.plan import Plan, cells, measure_named, open_set
from srkit.evaluate.protocol import protocol_named
from srkit.evaluate.store import Store
from srkit.weights.subjects import Search, find_subjects


class WithLR:
    """The same pairs with their LR made before, and repeated until there are enough."""

    def __init__(self, pairs, scale: int, count: int):
        self.pairs, self.scale, self.count = pairs, scale, count
        self.lr = {i: imresize(self.hr(i), 1 / scale) for i in range(min(count, len(pairs)))}

    def __len__(self) -> int:
        return self.count

    def hr(self, index: int):
        hr = self.pairs[index].hr
        return hr[: hr.shape[0] // self.scale * self.scale, : hr.shape[1] // self.scale * self.scale]

    def __getitem__(self, index: int) -> Pair:
        inner = index % len(self.pairs)
        return Pair(f"{index}", self.lr[inner], self.hr(inner))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("weights", nargs="?", default="edsr-small")
    parser.add_argument("--root", type=Path)
    parser.add_argument("--set", default="b100")
    parser.add_argument("--scale", type=int, default=2)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--pictures", type=int, default=100)
    asked = parser.parse_args()
    torch.set_num_threads(asked.threads)
    registry = load_plugins()
    with tempfile.TemporaryDirectory() as folder:
        store = Store(Path(folder))
        tested = open_set(store, *set_named(registry, asked.set, asked.root), asked.scale)
        pictures = [replace(tested.pictures[i % len(tested.pictures)], name=f"{i}") for i in range(asked.pictures)]
        pictures = [replace(each, content=f"{each.content} {each.name}") for each in pictures]
        pairs = WithLR(tested.pairs, asked.scale, asked.pictures)
        tested = replace(tested, pictures=pictures, pairs=pairs)
        search = Search(registry, store, [asked.scale], scales_said=True, device="cpu")
        (subject,) = find_subjects(search, [asked.weights], [asked.weights]).subjects
        opened = subject.open(torch.device("cpu"))
        opened.upscale(torch.rand(1, 3, 64, 64))  # what is done once
        made, _ = cells(store, [replace(subject, open=lambda device: opened)], [tested])
        measures = [measure_named(registry, store, word) for word in ("psnr", "ssim")]
        plan = Plan(made, measures, protocol_named("y"), store)
        memory = []
        begin = time.perf_counter()
        compute(plan, registry, torch.device("cpu"), lambda *_: memory.append(resident()))
        whole = time.perf_counter() - begin
        assert not plan.failures, plan.failures
        network = sum(kept.seconds for kept in plan.kept(made[0], measures[0]).values())
    print(f"{asked.pictures} pictures of {asked.set} x{asked.scale}, {asked.weights}, {asked.threads} threads")
    print(f"network {network:.2f} s, all else {whole - network:.2f} s: {(whole - network) / network:.1%}")
    print(f"memory {memory[-1] / 2**20:.0f} MiB, of which the second half of the pictures added "
          f"{(memory[-1] - memory[len(memory) // 2]) / 2**20:.1f} MiB")  # fmt: skip


def resident() -> int:
    """The highest resident set so far, in bytes."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


if __name__ == "__main__":
    main()
