"""A start for a training of a larger EDSR: a smaller one that ships, made wider and deeper.

    python benchmarks/wider_start.py edsr-small@bicubic edsr-baseline runs/edsr-baseline-start.safetensors --scale 2
    srkit train --model edsr-baseline --set scale=2 --init-from runs/edsr-baseline-start.safetensors ...

The smaller network is the first channels of every convolution. Channels that are new get the random weights of any new
network, and reach the old ones by weights of 0; blocks that are new stand between the old ones and begin as nothing:
their second convolution is 0. So the larger network begins as exactly the smaller one, in place of chance.
Source: Chen et al., Net2Net, ICLR 2016.
"""

from pathlib import Path
from typing import Annotated

import torch
import typer
from torch import Tensor

from srkit import load_plugins
from srkit.checkpoint import save_tensors
from srkit.nets import build_net
from srkit.weights.loading import load_model


def widen(wide: Tensor, narrow: Tensor) -> None:
    """Put `narrow` into the first channels of `wide`; what leads from new channels to old ones becomes 0."""
    if wide.dim() == 1:
        wide[: len(narrow)] = narrow
        return
    out, into = narrow.shape[:2]
    wide[:out, into:] = 0
    wide[:out, :into] = narrow


def start(smaller: str, larger: str, scale: int) -> tuple[dict[str, Tensor], dict[str, object]]:
    """(tensors by the larger network's names, what the file says of itself)."""
    registry = load_plugins()
    model = registry.choose("model", larger)
    torch.manual_seed(0)
    wide = build_net(model, (scale,))
    narrow = load_model(registry, smaller, scale).net
    wide_blocks, narrow_blocks = len(wide.body) - 1, len(narrow.body) - 1
    if wide_blocks % narrow_blocks:
        raise SystemExit(f"{larger} has {wide_blocks} blocks, which is no multiple of the {narrow_blocks} of {smaller}")
    deeper = wide_blocks // narrow_blocks
    tensors, old = wide.state_dict(), narrow.state_dict()
    for name, tensor in tensors.items():
        part, *rest = name.split(".")
        if part != "body":
            widen(tensor, old[name])
            continue
        place = int(rest[0])
        if place == wide_blocks:  # the trunk's last convolution
            widen(tensor, old[".".join([part, str(narrow_blocks), *rest[1:]])])
        elif place % deeper == 0:
            widen(tensor, old[".".join([part, str(place // deeper), *rest[1:]])])
        elif rest[1:3] == ["body", "2"]:
            tensor.zero_()
    said = {"name": model.entry.qualified, "version": model.entry.version, "options": dict(model.options)}
    return tensors, {"model": said, "scales": [scale], "licence": "CC-BY-SA-4.0"}


def main(smaller: str, larger: str, out: Path, scale: Annotated[int, typer.Option()] = 2) -> None:
    """Write the file."""
    tensors, about = start(smaller, larger, scale)
    save_tensors(out, tensors, about)
    print(out)


if __name__ == "__main__":
    typer.run(main)
