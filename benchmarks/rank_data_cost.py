"""Milliseconds that each rank spends on cutting and augmenting its part of a batch, with 1, 2 and 4 ranks.

    python benchmarks/rank_data_cost.py --data FOLDER [--batch 64] [--steps 40] [--json]

The ranks are gloo processes that make the batches of a training and nothing else. A rank's cost is the processor time
of all its threads for a batch, which hardly depends on how many cores the ranks share: the median over the batches, and
of the ranks the largest.
"whole batch": the same augmentations as if they had `forward` alone, so every rank works on the whole batch, as srkit
did before 0.2.
"""

import argparse
import json
import statistics
import subprocess
import sys
import time
from typing import Any

import torch
import torch.distributed as dist
from torch import nn

from srkit import Batch, load_plugins
from srkit.data.sampler import Batches, Sampler
from srkit.data.store import packed

RANKS = (1, 2, 4)
CHAINS = {
    "dihedral": ["dihedral"],
    "dihedral, colour-jitter": ["dihedral", "colour-jitter"],
    "dihedral, colour-jitter, mixup": ["dihedral", "colour-jitter", "mixup"],
}
WARM_UP = 5  # batches


class ForwardAlone(nn.Module):
    """An augmentation without its `draw` and `change`."""

    def __init__(self, module: nn.Module):
        super().__init__()
        self.module = module

    def forward(self, batch: Batch) -> Batch:
        result: Batch = self.module(batch)
        return result


def measure(words: argparse.Namespace) -> dict[str, dict[str, float]]:
    """Milliseconds of this rank per batch, for each chain of augmentations, by its rows and with the whole batch."""
    registry, device = load_plugins(), torch.device("cpu")
    store = packed(registry.choose("dataset", "folder"), words.data, "train", 2)
    found: dict[str, dict[str, float]] = {}
    for name, chain in CHAINS.items():
        found[name] = {}
        for way in ("by rows", "whole batch"):
            built = [registry.choose("augmentation", each).build() for each in chain]
            modules = [(module if way == "by rows" else ForwardAlone(module), False) for module in built]
            sampler = Sampler([store], scale=2, batch=words.batch, patch=48, seed=0, device=device)
            batches = Batches({2: sampler}, modules, 0, rank=dist.get_rank(), size=dist.get_world_size())
            for step in range(WARM_UP):
                batches(step)
            dist.barrier()
            seconds = []
            for step in range(WARM_UP, WARM_UP + words.steps):
                begin = time.process_time()
                batches(step)
                batches.ahead()
                assert batches.begun
                batches.begun.result()  # the rows of the next step, cut meanwhile
                seconds.append(time.process_time() - begin)
            found[name][way] = 1000 * statistics.median(seconds)
            batches.thread.shutdown()
    return found


def as_rank(words: argparse.Namespace) -> None:
    """One of the processes: measure, and print the largest cost of all ranks on the first."""
    torch.set_num_threads(1)
    dist.init_process_group("gloo")
    all_ranks: list[Any] = [None] * dist.get_world_size()
    dist.all_gather_object(all_ranks, measure(words))
    if dist.get_rank() == 0:
        largest = {
            name: {way: max(each[name][way] for each in all_ranks) for way in ("by rows", "whole batch")}
            for name in CHAINS
        }
        print(json.dumps(largest))
    dist.destroy_process_group()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", required=True, help="folder of photographs")
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--steps", type=int, default=40, help="batches that are measured")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--rank", action="store_true", help=argparse.SUPPRESS)
    words = parser.parse_args()
    if words.rank:
        as_rank(words)
        return
    found = {}
    for ranks in RANKS:
        command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(ranks)]
        command += [__file__, "--rank", "--data", words.data, "--batch", str(words.batch), "--steps", str(words.steps)]
        done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
        found[ranks] = json.loads(done.stdout.splitlines()[-1])
    if words.json:
        print(json.dumps({"batch": words.batch, "patch": 48, "scale": 2, "milliseconds": found}, indent=2))
        return
    print("| augmentations | what a rank works on | 1 rank | 2 ranks | 4 ranks |\n| --- | --- | ---: | ---: | ---: |")
    for name in CHAINS:
        for way, told in (("by rows", "its rows"), ("whole batch", "the whole batch")):
            print(f"| {name} | {told} | {' | '.join(f'{found[ranks][name][way]:.1f}' for ranks in RANKS)} |")


if __name__ == "__main__":
    main()
