"""How large a tile may be: the memory a network takes for a pixel, and what there is."""

import os
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

PROBE = 64  # side of the picture that is tried, in pixels
SHARE = 0.25  # of the memory there is, for one tile
MOST = 0.6e9  # bytes for one tile: larger ones save a few per cent of time, for memory in proportion
SMALLEST = 64  # side of a tile in pixels
CONTROL = Path("/sys/fs/cgroup")
HIDDEN = 1.5  # convolutions need room of their own beside the tensors that are counted


class Living(TorchDispatchMode):
    """Counts the bytes of all tensors made inside that are alive, and the most there were at once."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.now = self.most = 0
        self.known: set[int] = set()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        made = func(*args, **(kwargs or {}))
        for tensor in tree_leaves(made):
            if isinstance(tensor, Tensor):
                self.meet(tensor.untyped_storage())
        return made

    def meet(self, storage: torch.UntypedStorage) -> None:
        key, size = storage._cdata, storage.nbytes()
        if key in self.known:
            return
        self.known.add(key)
        self.now += size
        self.most = max(self.most, self.now)
        weakref.finalize(storage, self.forget, key, size)

    def forget(self, key: int, size: int) -> None:
        self.known.discard(key)
        self.now -= size


def bytes_of_a_pixel(call: Callable[[Tensor], Tensor], device: torch.device | str, multiple: int = 1) -> float:
    """The most memory `call` takes at once for each pixel of what it is given, tried on a small picture."""
    side = PROBE + -PROBE % multiple
    lr = torch.full((1, 3, side, side), 0.5, device=device)
    with Living() as living:
        call(lr)
    return float(HIDDEN * living.most / side**2)


def free_memory(device: torch.device | str = "cpu") -> int | None:
    """Bytes that can be had on the device; None where the system does not say."""
    device = torch.device(device)
    if device.type == "cuda":
        return int(torch.cuda.mem_get_info(device)[0])
    found = [here for here in (available(), below_limit()) if here is not None]
    return min(found, default=None)


def available() -> int | None:
    """What Linux says can be had without swapping; elsewhere half of all there is."""
    try:
        for line in Path("/proc/meminfo").read_text().splitlines():
            if line.startswith("MemAvailable:"):
                return int(line.split()[1]) * 1024
    except (OSError, ValueError, IndexError):
        pass
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 2
    except (AttributeError, ValueError, OSError):
        return None


def below_limit() -> int | None:
    """What a container's limit leaves; None where there is none."""
    for limit, used, stat, cached in (
        ("memory.max", "memory.current", "memory.stat", "inactive_file"),
        (
            "memory/memory.limit_in_bytes",
            "memory/memory.usage_in_bytes",
            "memory/memory.stat",
            "total_inactive_file",
        ),
    ):
        try:
            most, now = (int((CONTROL / name).read_text()) for name in (limit, used))  # "max" is no limit
            lines = (line.split() for line in (CONTROL / stat).read_text().splitlines())
            given_back = sum(int(line[1]) for line in lines if line[0] == cached)  # files that are read, mapped results
            return max(0, most - now + given_back)
        except (OSError, ValueError, IndexError):
            continue
    return None


def room_for(pixel: float, free: int | None) -> int:
    """Pixels of a tile, with all around it, that take a quarter of the free memory at most, 0.6 GB at most."""
    budget = MOST if free is None else min(MOST, free * SHARE)
    return max(SMALLEST**2, int(budget / max(pixel, 1)))
