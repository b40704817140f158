"""Several processes as one training, under torchrun: who am I, what do all agree on, who writes.

    torchrun --nproc-per-node 2 -m srkit train --model edsr

torchrun sets RANK, LOCAL_RANK and WORLD_SIZE; without them a process is alone and nothing here costs
anything. Each rank computes its part of the one global batch, DistributedDataParallel averages the
gradients, and every rank then holds the same weights; or each holds a part of them (`sharding`).
"""

import datetime
import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor
from torch._C._distributed_c10d import PrefixStore, Store
from torch.distributed.rendezvous import rendezvous
from torch.nn.parallel import DistributedDataParallel

from srkit.errors import SrkitError

PATIENCE = datetime.timedelta(hours=2)  # one rank packs a large dataset while the others wait


class World:
    """All ranks of a training; alone, rank 0 of 1. shard: is the network split over them, as `sharding` says?"""

    def __init__(self, rank: int = 0, size: int = 1, local: int = 0, *, shard: bool = False):
        self.rank, self.size, self.local, self.shard = rank, size, local, shard
        self.parallel: Any = None  # whose backward averages gradients

    @property
    def main(self) -> bool:
        """The rank that writes and speaks."""
        return self.rank == 0

    def share(self, net: Any, several_paths: bool, device: torch.device) -> Any:
        """The network whose backward averages gradients over all ranks. several_paths: not all of it in each step."""
        if self.size == 1:
            return net
        if self.shard:
            self.parallel = net
            net.register_forward_pre_hook(lambda net, _: self.alike(net.buffers()) if net.training else None)
            return net
        ids = [device] if device.type == "cuda" else None
        self.parallel = DistributedDataParallel(net, device_ids=ids, find_unused_parameters=several_paths)
        return self.parallel

    def synchronised(self, wanted: bool) -> AbstractContextManager[Any]:
        """Inside, backward averages gradients over the ranks if `wanted`, else only adds to this rank's own."""
        if self.shard:
            self.parallel.set_requires_gradient_sync(wanted)
            return nullcontext()
        return nullcontext() if wanted or self.parallel is None else self.parallel.no_sync()

    def first_says(self, flag: bool, device: torch.device) -> bool:
        """What the first rank says, on every rank, where all must do it together; else what each says."""
        if not self.shard:
            return flag
        said = torch.tensor(flag, device=device)
        dist.broadcast(said, 0)
        return bool(said)

    def agree(self, loss: Tensor, stop: bool) -> tuple[Tensor, Tensor]:
        """The mean loss, and whether any rank wants to stop; scalars on the loss's device."""
        both = torch.stack([loss, torch.full_like(loss, float(stop))])
        if self.size > 1:
            dist.all_reduce(both)
        return both[0] / self.size, both[1] > 0

    def whole(self, part: Tensor) -> Tensor:
        """B/size,... of every rank as B,..., in rank order."""
        if self.size == 1:
            return part
        parts = [torch.empty_like(part, memory_format=torch.contiguous_format) for _ in range(self.size)]
        dist.all_gather(parts, part.contiguous())
        return torch.cat(parts)

    def whole_for_gradient(self, part: Tensor) -> Tensor:
        """`whole`, through which backward reaches this rank's rows alone.

        What every rank computes alike of the whole is then, in the mean over the ranks, its gradient in one process.
        """
        if self.size == 1:
            return part
        own = part.clone()
        own.register_hook(lambda gradient: gradient * self.size)
        rows = list(self.whole(part.detach()).chunk(self.size))
        rows[self.rank] = own
        return torch.cat(rows)

    def mean(self, mine: Tensor) -> Tensor:
        """The mean over all ranks of tensors of one shape."""
        mine = mine.contiguous()
        if self.size > 1:
            dist.all_reduce(mine)
        return mine / self.size

    def alike(self, tensors: Iterable[Tensor]) -> None:
        """Give every rank the first rank's values, in place: on a GPU the same sums may end in other last digits."""
        if self.size > 1:
            for tensor in tensors:
                sent = tensor.contiguous()
                dist.broadcast(sent, 0)
                if sent is not tensor:
                    tensor.copy_(sent)

    def collect(self, mine: Any) -> list[Any]:
        """What each rank has, in rank order, on every rank. Plain values only."""
        if self.size == 1:
            return [mine]
        found: list[Any] = [None] * self.size
        dist.all_gather_object(found, mine)
        return found

    def one_after_another(self, work: Callable[[], Any]) -> Any:
        """`work` on the first rank of each machine, then on the others, who find what it left."""
        if self.size == 1:
            return work()
        done = work() if self.local == 0 else None
        dist.barrier()
        return done if self.local == 0 else work()


def launched() -> bool:
    """Was this process started by torchrun, as one of several?"""
    return int(os.environ.get("WORLD_SIZE", "1")) > 1


@contextmanager
def joined(device: torch.device, *, shard: bool = False) -> Iterator[World]:
    """This process's place among those torchrun started; alone if it did not. shard: as in `World`.

    Where they are joined already, as Ray Train leaves them, that is taken and left.
    """
    if not launched():
        yield World(shard=shard)
        return
    local = int(os.environ["LOCAL_RANK"])
    if device.type == "cuda":
        torch.cuda.set_device(device)
    found = dist.is_initialized()
    if not found:
        backend = "nccl" if device.type == "cuda" else "gloo"
        how: dict[str, Any] = {"timeout": PATIENCE, "device_id": device if device.type == "cuda" else None}
        store, rank, size = next(rendezvous("env://", timeout=PATIENCE))
        dist.init_process_group(backend, store=of_this_start(store), rank=rank, world_size=size, **how)
    try:
        yield World(dist.get_rank(), dist.get_world_size(), local, shard=shard)
    except RuntimeError as error:  # no more can be seen from here
        if any(word in str(error) for word in ("Connection closed", "Connection reset", "remote process")):
            raise SrkitError("another rank has ended; what it said is the reason") from None
        raise
    finally:
        if not found:
            dist.destroy_process_group()


def of_this_start(store: Store) -> Store:
    """torchrun's store without what ranks that are gone have written there: it outlives a restart (pytorch 135712).

    How often it was restarted each node counts for itself. So this is for one node; with several,
    TORCH_DISABLE_SHARE_RDZV_TCP_STORE=1 has torchrun make a new store for each start.
    """
    alone = os.environ.get("GROUP_WORLD_SIZE") == "1"
    return PrefixStore(os.environ.get("TORCHELASTIC_RESTART_COUNT", "0"), store) if alone else store


def own_device(device: torch.device) -> torch.device:
    """`cuda` as this rank's own card."""
    if launched() and device.type == "cuda" and device.index is None:
        return torch.device("cuda", int(os.environ["LOCAL_RANK"]))
    return device
