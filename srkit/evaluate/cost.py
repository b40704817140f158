"""Measure what a network costs: parameters, multiply-adds, latency and peak memory, of one whole picture without tiles.

Meant for a process that measures nothing else: `srkit.weights.alone` starts it.
"""

import copy
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from importlib.metadata import version
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import FlopCounterMode, flop_registry

from srkit.errors import OutputError, one_line
from srkit.evaluate.cost_table import PUBLISHED, TOO_MUCH, Size, lr_of, text_of
from srkit.evaluate.machine import forget_highest, highest, processor, resident
from srkit.evaluate.table import Cost
from srkit.malloc import return_freed_memory
from srkit.nets import Loaded, Precision, forward_of, ran_out
from srkit.plugins import Choice
from srkit.upscale.marks import passes
from srkit.upscale.size import pad_to_multiple
from srkit.upscale.wrap import evaluation_mode, make_upscaler

FEWEST, MOST = 3, 50  # timed runs
WARM = 3  # runs before them on an accelerator, which chooses its kernels then
COUNTED = "convolutions, matrix products, attention"
PROBE = 64  # side of the LR that is counted where the wanted one cannot be, in pixels


class Unknown(TorchDispatchMode):
    """Remembers the operators that are no part of PyTorch and that nobody taught the counter."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.names: set[str] = set()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func.namespace not in ("aten", "prim", "prims") and func.overloadpacket not in flop_registry:
            self.names.add(str(func.overloadpacket).replace(".", "::"))
        return func(*args, **(kwargs or {}))


def measure(
    loaded: Loaded,
    wrappers: Sequence[Choice],
    one: Cost,
    sizes: Sequence[Size],
    *,
    seconds: float,
    precision: str = "fp32",
    backend: Choice | None = None,
) -> Iterator[Cost]:
    """Each number as soon as it is known, the small sizes first; an error is a number that is not there.

    one: model, weights and scale of every row. sizes: of outputs, for latency and memory. seconds: of timed runs
    for each size, of which there are at least three. The device is the network's. precision: what it computes in, by
    the backend where there is one, which multiply-adds do not depend on.
    """
    device = next((p.device for p in (*loaded.net.parameters(), *loaded.net.buffers())), torch.device("cpu"))
    yield replace(one, name="parameters", value=float(loaded.parameters))
    yield from multiply_adds(loaded, wrappers, one)
    how: dict[str, Any] = {"tile": 0, "wrappers": wrappers, "in_range": False, "backend": backend}
    own: Precision = "fp32" if backend else cast(Precision, precision)
    upscaler = make_upscaler(loaded.net, loaded.model, loaded.scale, precision=own, **how)
    told = conditions(device, precision) | ({"backend": backend.label} if backend else {})
    return_freed_memory()
    before = None if device.type == "cuda" else resident()
    for size in sorted(sizes, key=lambda size: size[0] * size[1]):
        try:
            lr_size = lr_of(size, loaded.scale)
            how = {"before": before, "seconds": seconds, "told": told}
            yield from run_costs(upscaler, lr_size, device, size, one, **how)
        except Exception as error:
            why = TOO_MUCH if ran_out(error) else one_line(error)
            for name in ("latency", "memory"):
                yield replace(one, name=name, value=None, size=text_of(size), error=why)


def multiply_adds(loaded: Loaded, wrappers: Sequence[Choice], one: Cost) -> Iterator[Cost]:
    """Multiply-adds for an output of 1280x720, or the error; nothing for a model that does none.

    Counted on tensors without memory. The LR has 1280 and 720 divided by the scale, rounded up, and is padded as the
    model needs it. Of a wrapper, as often as it calls the network.
    """
    width, height = lr_of(PUBLISHED, loaded.scale)
    one = replace(one, name="multiply_adds", size=text_of(PUBLISHED))
    try:
        count, unknown = count_whole(loaded, width, height)
    except Exception as error:
        yield replace(one, value=None, error=f"multiply-adds cannot be counted: {one_line(error)}")
        return
    if count or unknown:
        told = {"lr": f"{width}x{height}", "counted": COUNTED}
        if unknown:
            told["not counted"] = ", ".join(sorted(unknown))
        yield replace(one, value=float(count * passes(wrappers)), conditions=told)


def count_whole(loaded: Loaded, width: int, height: int) -> tuple[int, set[str]]:
    """(multiply-adds, operators not counted) of an LR of that size.

    A network that cannot run without memory is counted at three small sizes instead, and scaled if all three say the
    same cost a pixel, beside a constant part. Raises OutputError if they do not.
    """
    try:
        return count(on_meta(loaded.net), loaded, width, height, "meta")
    except Exception:
        device = next(iter(loaded.net.parameters()), torch.empty(0)).device
    sides = ((PROBE, PROBE), (2 * PROBE, PROBE), (2 * PROBE, 2 * PROBE))
    (first, unknown), (second, _), (third, _) = (count(loaded.net, loaded, *side, device) for side in sides)
    a_tile, constant = second - first, 2 * first - second
    if third != 4 * a_tile + constant:
        raise OutputError("it is not in proportion to the number of pixels, and the network runs with pixels only")
    multiple = loaded.model.component.size_multiple
    area = (width + -width % multiple) * (height + -height % multiple)
    if constant < 0 or a_tile * area % PROBE**2:
        raise OutputError("it is not in proportion to the number of pixels, and the network runs with pixels only")
    return a_tile * area // PROBE**2 + constant, unknown


def count(net: nn.Module, loaded: Loaded, width: int, height: int, device: torch.device | str) -> tuple[int, set[str]]:
    """(multiply-adds, operators not counted) of one forward."""
    forward = forward_of(net, loaded.model)
    lr = pad_to_multiple(torch.zeros(1, 3, height, width, device=device), loaded.model.component.size_multiple)
    # Attention by its parts: of the fused kernels the counter does not know that of the CPU.
    unknown, counter = Unknown(), FlopCounterMode(display=False)
    with evaluation_mode(net), torch.no_grad(), sdpa_kernel(SDPBackend.MATH), unknown, counter:
        forward(lr, loaded.scale)
    return counter.get_total_flops() // 2, unknown.names


def on_meta(net: nn.Module) -> nn.Module:
    """A copy whose parameters and buffers have no memory; the network stays as it is."""
    tensors: dict[int, Any] = {id(p): nn.Parameter(p.to("meta"), requires_grad=False) for p in net.parameters()}
    tensors |= {id(b): b.to("meta") for b in net.buffers()}
    return copy.deepcopy(net, tensors)


def run_costs(
    upscaler: Callable[[Tensor], Tensor],
    lr_size: Size,
    device: torch.device,
    size: Size,
    one: Cost,
    *,
    before: int | None,
    seconds: float,
    told: dict[str, str],
) -> Iterator[Cost]:
    """Memory of the first run, then the times of others.

    before: bytes of the process before any run, on a CPU. told: conditions of all of them.
    """
    generator = torch.Generator().manual_seed(0)
    lr = torch.rand(1, 3, lr_size[1], lr_size[0], generator=generator).to(device)
    reset_peak(device)
    allocated = torch.cuda.memory_allocated(device) if device.type == "cuda" else before
    begin = time.perf_counter()
    upscaler(lr)
    finish(device)
    first = time.perf_counter() - begin
    told = told | {"lr": f"{lr_size[0]}x{lr_size[1]}"}
    one = replace(one, size=text_of(size), conditions=told)
    peak = peak_memory(device)
    if peak is None or allocated is None:
        yield replace(one, name="memory", value=None, conditions=told | {"note": "not measured on this system"})
    else:
        yield replace(one, name="memory", value=float(max(0, peak - allocated)))
    for _ in range(0 if device.type == "cpu" else WARM - 1):
        upscaler(lr)
    times = timed(lambda: upscaler(lr), device, first, seconds)
    warm = "1 run" if device.type == "cpu" else f"{WARM} runs"
    one = replace(one, conditions=told | {"runs": str(len(times)), "warm-up": warm})
    quartiles = statistics.quantiles(times, n=4, method="inclusive")
    yield replace(one, name="latency", value=statistics.median(times))
    yield replace(one, name="latency_spread", value=quartiles[2] - quartiles[0])


def timed(run: Callable[[], object], device: torch.device, first: float, seconds: float) -> list[float]:
    """Seconds of each run. CUDA's own clock is asked where there is one."""
    runs = min(MOST, max(FEWEST, int(seconds / max(first, 1e-6))))
    found = []
    for _ in range(runs):
        if device.type == "cuda":
            events = [torch.cuda.Event(enable_timing=True) for _ in range(2)]
            events[0].record()
            run()
            events[1].record()
            torch.cuda.synchronize(device)
            found.append(events[0].elapsed_time(events[1]) / 1000)
        else:
            begin = time.perf_counter()
            run()
            finish(device)
            found.append(time.perf_counter() - begin)
    return found


def finish(device: torch.device) -> None:
    """Wait for what was given to an accelerator."""
    if device.type != "cpu":
        torch.accelerator.synchronize()


def conditions(device: torch.device, precision: str) -> dict[str, str]:
    """What a time and a peak depend on, in words."""
    told = {
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else device.type,
        "precision": precision,
        "torch": version("torch"),
        "tiles": "none",
    }
    if device.type == "cpu":
        told |= {"threads": str(torch.get_num_threads()), "processor": processor()}
    return told


def reset_peak(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
    else:
        return_freed_memory()
        forget_highest()


def peak_memory(device: torch.device) -> int | None:
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    return highest() if device.type == "cpu" else None
