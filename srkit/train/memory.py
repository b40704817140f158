"""When memory runs out: what to say, and which smaller batch or patch fits."""

from collections.abc import Callable, Iterable

import torch

from srkit.nets import forward_of, out_of_memory
from srkit.train.assemble import Trainee
from srkit.train.distributed import World


def out_of_memory_told(trainee: Trainee, world: World) -> str:
    """What ran out, and which batch or patch fits: tried out on a GPU, half the batch on a CPU."""
    run, device = trainee.run, trainee.device
    said = f"out of memory with batch={run.batch}, patch={run.patch}"
    if device.type == "cpu":  # there, trying would rather end this process than raise
        return f"{said}; try --set batch={max(1, run.batch // 2)}, or --set accumulate={2 * run.accumulate}"
    each = run.batch // (run.accumulate * world.size)
    sizes = [(each >> n, run.patch) for n in range(1, each.bit_length())]
    sizes += [(1, run.patch >> n) for n in range(1, run.patch.bit_length() - 2)]
    fits = largest(lambda batch, patch: attempt(trainee, batch, patch), sizes)
    if fits is None:
        return f"{said}, and no smaller one fits on {device} either; take a smaller model"
    if fits[1] < run.patch:
        return f"{said}; --set batch={world.size} --set patch={fits[1]} fits"
    same = f", --set accumulate={run.batch // (fits[0] * world.size)} does with the same result"
    return f"{said}; --set batch={fits[0] * world.size} fits{'' if run.batch % (fits[0] * world.size) else same}"


def attempt(trainee: Trainee, batch: int, patch: int) -> None:
    """One forward and backward pass of `batch` patches; raises what the device raises where they do not fit."""
    trainee.net.zero_grad(set_to_none=True)
    torch.cuda.empty_cache()
    lr = torch.rand(batch, 3, patch, patch, device=trainee.device)
    sr = forward_of(trainee.net, trainee.model)(lr, trainee.run.scales[-1])
    trainee.criterion(sr, torch.rand_like(sr), lr=lr, average=sr.detach()).backward()


def largest(attempt: Callable[[int, int], None], sizes: Iterable[tuple[int, int]]) -> tuple[int, int] | None:
    """The first of `sizes`, (batch, patch), that does not run out of memory."""
    for size in sizes:
        try:
            attempt(*size)
        except Exception as error:
            if not out_of_memory(error):
                raise
        else:
            return size
    return None
