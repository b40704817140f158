"""A start for a training of MDSR: put together from the single-scale networks that ship.

    python benchmarks/mdsr_start.py runs/mdsr-small-start.safetensors
    srkit train --model mdsr-small --set scale='[2,3,4]' --init-from runs/mdsr-small-start.safetensors ...

Trunk, first and last convolution are those of `edsr-small` x2, from which x3 and x4 were trained; the upsampling of
each scale is that of its own network. The two blocks that MDSR has for each scale before the trunk (section 3.3 of the
paper) begin as nothing: their second convolution is 0. So the start is exactly the network for x2, and near those for
x3 and x4, in place of chance.
"""

from pathlib import Path

import torch
import typer
from torch import Tensor

from srkit import load_plugins
from srkit.checkpoint import save_tensors
from srkit.nets import build_net
from srkit.weights.loading import load_model

SCALES = (2, 3, 4)


def start(scales: tuple[int, ...]) -> tuple[dict[str, Tensor], dict[str, object]]:
    """(tensors by MDSR's names, what the file says of itself)."""
    registry = load_plugins()
    model = registry.choose("model", "mdsr-small")
    torch.manual_seed(0)
    net = build_net(model, scales)
    single = {scale: load_model(registry, "edsr-small@bicubic", scale).net.state_dict() for scale in scales}
    tensors = net.state_dict()
    for name in tensors:
        if name.startswith("pre_process.") and ".body.2." in name:
            tensors[name].zero_()
        elif name.startswith("upsample."):
            _, place, rest = name.split(".", 2)
            tensors[name].copy_(single[scales[int(place)]][f"tail.0.{rest}"])
        elif name.startswith("tail."):
            tensors[name].copy_(single[scales[0]][name.replace("tail.0", "tail.1")])
        elif name in single[scales[0]]:
            tensors[name].copy_(single[scales[0]][name])
    said = {"name": model.entry.qualified, "version": model.entry.version, "options": dict(model.options)}
    return tensors, {"model": said, "scales": list(scales), "licence": "CC-BY-SA-4.0"}


def main(out: Path) -> None:
    """Write the file."""
    tensors, about = start(SCALES)
    save_tensors(out, tensors, about)
    print(out)


if __name__ == "__main__":
    typer.run(main)
