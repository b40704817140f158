"""The machine that a cost is of: its processor, and the memory of this process. Imports no torch."""

import os
import platform
import sys
from collections.abc import Mapping
from contextlib import suppress
from importlib.metadata import version
from pathlib import Path
from typing import Any


def machine(device: str) -> Mapping[str, Any]:
    """What times depend on beside the model, known without torch: part of the key under which they are kept."""
    return {
        "node": platform.node(),
        "processor": processor(),
        "cpus": os.cpu_count(),
        "threads": os.environ.get("OMP_NUM_THREADS", ""),
        "gpus": os.environ.get("CUDA_VISIBLE_DEVICES", ""),
        "device": device,
        "torch": version("torch"),
        "python": platform.python_version(),
    }


def accelerators() -> Mapping[str, Any]:
    """What the choice of a device depends on, known without torch."""
    names = ("CUDA_VISIBLE_DEVICES", "HIP_VISIBLE_DEVICES", "NVIDIA_VISIBLE_DEVICES")
    return {
        "node": platform.node(),
        "machine": platform.platform(),
        "torch": version("torch"),
        "devices": sorted(
            path.name for pattern in ("nvidia[0-9]*", "kfd", "dxg") for path in Path("/dev").glob(pattern)
        ),
        "visible": [os.environ.get(name) for name in names],
    }


def processor() -> str:
    """The name of the CPU."""
    with suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith(("model name", "Model")):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def status(name: str) -> int | None:
    """A line of Linux's /proc/self/status in bytes: VmRSS what the process has in memory, VmHWM the most it had."""
    with suppress(OSError):
        for line in Path("/proc/self/status").read_text().splitlines():
            if line.startswith(f"{name}:"):
                return int(line.split()[1]) * 1024
    return None


def resident() -> int | None:
    """Bytes of the process in memory; where only their maximum is known, that; None where nothing is (Windows)."""
    found = status("VmRSS")
    return found if found is not None else highest()


def highest() -> int | None:
    """The most bytes the process had in memory since `forget_highest`.

    Not `getrusage` where Linux says better: that remembers the process which started this one.
    """
    found = status("VmHWM")
    if found is not None or sys.platform == "win32":
        return found
    import resource

    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return most if sys.platform == "darwin" else most * 1024


def forget_highest() -> None:
    """Let `highest` begin again at what the process has now, where the system can."""
    with suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")


def first_to_be_killed() -> None:
    """Where memory runs out, Linux ends this process and not the one that started it."""
    with suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text("1000")
