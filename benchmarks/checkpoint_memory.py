"""Memory and time of a training step with and without `checkpoint = true`.

    python benchmarks/checkpoint_memory.py [--models edsr-baseline,swinir-light] [--batch 4] [--patch 48] [--device cpu]

Each row is two processes, which build a model for x2 and make a forward and a backward pass four times. Memory: what
the forward pass keeps for the gradients, each tensor counted once, without the network's own; while one block is
computed again, what that block keeps comes on top. On a GPU it is `torch.cuda.max_memory_allocated` beyond what was
there before. Time: the median of the last three.
"""

import argparse
import json
import statistics
import subprocess
import sys
import time

import torch

from srkit import load_plugins
from srkit.nets import build_net, in_memory_format
from srkit.train.recompute import recompute_blocks, repeated_blocks


def kept(net: torch.nn.Module, lr: torch.Tensor) -> int:
    """Bytes that a forward pass keeps for the gradients on the CPU, beside the network's own."""
    own = {tensor.untyped_storage().data_ptr() for tensor in (*net.parameters(), *net.buffers())}
    seen: dict[int, torch.UntypedStorage] = {}  # held, so that no address is used twice

    def pack(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in own:
            seen[storage.data_ptr()] = storage
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        net(lr).square().mean()
    return sum(storage.nbytes() for storage in seen.values())


def measured(words: argparse.Namespace) -> dict[str, float]:
    device = torch.device(words.device)
    torch.manual_seed(0)
    model = load_plugins().choose("model", words.one)
    net = in_memory_format(build_net(model, [2], device), torch.channels_last)
    blocks = len(repeated_blocks(net))
    if words.again:
        recompute_blocks(net, words.one)
    lr = torch.rand(words.batch, 3, words.patch, words.patch, device=device)
    lr = lr.contiguous(memory_format=torch.channels_last)
    on_gpu, seconds = device.type == "cuda", []
    before = torch.cuda.memory_allocated(device) if on_gpu else 0
    for _ in range(4):
        begun = time.perf_counter()
        net(lr).square().mean().backward()
        if on_gpu:
            torch.cuda.synchronize(device)
        seconds.append(time.perf_counter() - begun)
    memory = torch.cuda.max_memory_allocated(device) - before if on_gpu else kept(net, lr)
    return {"blocks": blocks, "memory": memory, "seconds": statistics.median(seconds[1:])}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", default="edsr-baseline,srresnet,swinir-light")
    parser.add_argument("--batch", type=int, default=4)
    parser.add_argument("--patch", type=int, default=48)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--one", help=argparse.SUPPRESS)
    parser.add_argument("--again", action="store_true", help=argparse.SUPPRESS)
    words = parser.parse_args()
    if words.one:
        print(json.dumps(measured(words)))
        return
    print(f"batch {words.batch}, LR patches of {words.patch}, x2, {words.device}, torch {torch.__version__}\n")
    print("| model | blocks | MiB | with checkpoint | s a step | with checkpoint |")
    print("| --- | --- | --- | --- | --- | --- |")
    given = ["--batch", str(words.batch), "--patch", str(words.patch), "--device", words.device]
    for name in words.models.split(","):
        rows = []
        for way in ([], ["--again"]):
            command = [sys.executable, __file__, *given, "--one", name, *way]
            rows.append(json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout))
        memory = " | ".join(f"{row['memory'] / 2**20:.0f}" for row in rows)
        seconds = " | ".join(f"{row['seconds']:.2f}" for row in rows)
        print(f"| {name} | {rows[0]['blocks']} | {memory} | {seconds} |", flush=True)


if __name__ == "__main__":
    main()
