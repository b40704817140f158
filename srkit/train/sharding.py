"""A network split over the ranks (FSDP2): each holds its part of every weight, gradient, moment and average.

A block's weights are put together where it computes, and forgotten after it. What is saved is whole, so that a run
goes on split or not, on any number of ranks.
Source: Zhao et al., PyTorch FSDP: Experiences on Scaling Fully Sharded Data Parallel, VLDB 2023.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from srkit.errors import UsageError
from srkit.run import Run
from srkit.train.recompute import repeated_blocks


def check_can_be_split(run: Run, ranks: int) -> None:
    """UsageError for what a network that is split cannot do."""
    if ranks == 1:
        raise UsageError("--shard splits the network over several ranks, and this is one: start them by torchrun")
    for wrong, why, instead in (
        (run.precision == "fp16", "fp16, whose loss scale each rank would choose for itself", "--set precision=bf16"),
        (run.compile != "off", "a compiled network", "--set compile=off"),
        (run.batch == "auto", 'batch = "auto", which each rank would try for itself', "--set batch=16"),
        (any(part.adaptive for part in run.loss), "an adaptive loss, which asks for a whole layer", "without adaptive"),
    ):
        if wrong:
            raise UsageError(f"--shard does not go with {why}; {instead}")


def split(nets: Sequence[nn.Module], ranks: int, device: torch.device) -> None:
    """Split networks in place, their repeated blocks each by itself, and move this rank's part to `device`.

    nets: alike on every rank. Their parameters become DTensors; their buffers stay whole.
    """
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.fsdp import fully_shard

    mesh = init_device_mesh(device.type, (ranks,))
    for net in nets:
        for tensor in net.parameters():
            tensor.data = tensor.data.contiguous()  # the only strides it splits
        for block in repeated_blocks(net):
            fully_shard(block, mesh=mesh)
        fully_shard(net, mesh=mesh)


def is_split(net: nn.Module) -> bool:
    return any(hasattr(parameter, "full_tensor") for parameter in net.parameters())


def held(net: nn.Module) -> int:
    """How many values of its parameters this rank holds."""
    return sum(getattr(p, "_local_tensor", p).numel() for p in net.parameters())


def whole(value: Tensor) -> Tensor:
    """A tensor of which each rank has a part, put together by all of them at once; any other as it is."""
    gathered: Tensor = value.full_tensor() if hasattr(value, "full_tensor") else value
    return gathered


def split_as(value: Tensor, like: Tensor) -> Tensor:
    """A whole tensor, alike on every rank, in the form of `like`: this rank's part where that is split."""
    if not hasattr(like, "full_tensor") or hasattr(value, "full_tensor"):
        return value
    from torch.distributed.tensor import DTensor, distribute_tensor

    assert isinstance(like, DTensor)
    there = value.to(like.device, like.dtype)
    return distribute_tensor(there, like.device_mesh, like.placements, src_data_rank=None)


def loadable(part: Any, state: Mapping[str, Any]) -> Mapping[str, Any]:
    """A whole state dict as `part`, a module whose tensors may be split, takes it; any other part's as it is."""
    if not isinstance(part, nn.Module):
        return state
    own = part.state_dict()
    return {name: split_as(value, own[name]) if name in own else value for name, value in state.items()}
