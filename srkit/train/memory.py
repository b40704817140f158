"""How much fits into memory: the largest batch, and what to say when it runs out."""

from collections.abc import Callable, Iterable
from contextlib import nullcontext
from dataclasses import replace
from functools import partial
from typing import Any

import torch
from torch import Tensor

from srkit.errors import SrkitError, UsageError
from srkit.nets import AUTOCAST, forward_of, out_of_memory
from srkit.run import Run
from srkit.train.distributed import World
from srkit.train.trainee import Trainee

MOST = 1024  # patches on a GPU, beyond which a larger batch is no gain
SPARE = 8  # one part in so many is left free: memory fragments, and validation wants some


def batch_that_fits(run: Run, device: torch.device, world: World, assembled: Callable[[Run], Trainee]) -> int:
    """The largest batch whose steps fit on every rank's GPU, by trying whole steps of a training that is thrown away.

    assembled: makes that training of a run. UsageError where the device is no GPU: there, trying would rather end this
    process than raise. SrkitError where not even the smallest one fits.
    """
    if device.type != "cuda":
        raise UsageError(
            f'batch = "auto" tries out what fits on a GPU, and this is {device}: give a number, as in --batch 16; '
            "where memory is short, --set accumulate=2 makes the same step in two parts"
        )
    least = run.accumulate * world.size
    each = doubled(partial(whole_step, assembled(replace(run, batch=least))))
    torch.cuda.empty_cache()
    fits = min(world.collect(each))
    if not fits:
        raise SrkitError(
            f"out of memory: not one patch of {run.patch} fits on {device}; lower patch, or --set checkpoint=true"
        )
    return int(fits * least)


def doubled(attempt: Callable[[int], None]) -> int:
    """The largest of 1, 2, 3, 4, 6, 8, 12, ... up to MOST that fits, with some to spare; 0 where 1 does not.

    By doubling until it does not, then by half as much again.
    """

    def fits(batch: int) -> bool:
        return largest(lambda tried, _: attempt(tried), [(batch + batch // SPARE, 0)]) is not None

    found = 0
    while 2 * found <= MOST and fits(2 * found or 1):
        found = 2 * found or 1
    half = found + found // 2
    return half if found > 1 and half <= MOST and fits(half) else found


def whole_step(trainee: Trainee, batch: int) -> None:
    """One step with all that it needs: gradients, the optimizer's memory, a discriminator's step."""
    sr, hr = attempt(trainee, batch, trainee.run.patch)
    trainee.optimizer.step()
    trainee.criterion.update(sr, hr)


def out_of_memory_told(trainee: Trainee, world: World) -> str:
    """What ran out, and which batch or patch fits: tried out on a GPU, half the batch on a CPU."""
    run, device, whole = trainee.run, trainee.device, trainee.run.patches
    said = f"out of memory with batch={whole}, patch={run.patch}"
    if device.type == "cpu" or world.shard:  # trying would end this process, or leave the other ranks waiting
        return f"{said}; try --set batch={max(1, whole // 2)}, or --set accumulate={2 * run.accumulate}"
    each = whole // (run.accumulate * world.size)
    sizes = [(each >> n, run.patch) for n in range(1, each.bit_length())]
    sizes += [(1, run.patch >> n) for n in range(1, run.patch.bit_length() - 2)]
    fits = largest(lambda batch, patch: attempt(trainee, batch, patch), sizes)
    if fits is None:
        return f"{said}, and no smaller one fits on {device} either; take a smaller model"
    if fits[1] < run.patch:
        return f"{said}; --set batch={world.size} --set patch={fits[1]} fits"
    same = f", --set accumulate={whole // (fits[0] * world.size)} does with the same result"
    return f"{said}; --set batch={fits[0] * world.size} fits{'' if whole % (fits[0] * world.size) else same}"


def attempt(trainee: Trainee, batch: int, patch: int) -> tuple[Tensor, Tensor]:
    """A forward and a backward pass of `batch` patches, (sr, hr); what the device raises where they do not fit."""
    trainee.net.zero_grad(set_to_none=True)
    torch.cuda.empty_cache()
    precision, device = trainee.run.precision, trainee.device
    lr = torch.rand(batch, 3, patch, patch, device=device)
    with torch.autocast(device.type, AUTOCAST[precision]) if precision in AUTOCAST else nullcontext():
        sr = forward_of(trainee.net, trainee.model)(lr, trainee.run.scales[-1]).float()
    hr = torch.rand_like(sr)
    trainee.criterion(sr, hr, lr=lr, average=sr.detach()).backward()
    return sr.detach(), hr


def largest(attempt: Callable[[int, int], Any], sizes: Iterable[tuple[int, int]]) -> tuple[int, int] | None:
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
