"""Ray itself: a cluster that is there, or one on this machine that ends with the command."""

import logging
import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from srkit import SrkitError, say
from srkit_ray.places import first_line

STORE = 256_000_000  # bytes of Ray's object store on this machine: pictures do not go through it
TOGETHER = 4  # rows that a worker is given at a time


@contextmanager
def ray_running(address: str, dashboard: bool) -> Iterator[Any]:
    """Ray, joined at `address` or at RAY_ADDRESS, else started here; what was started ends with the block."""
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # before Ray is imported
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    os.environ.setdefault("RAY_BACKEND_LOG_LEVEL", "fatal")
    import ray

    there = address or os.environ.get("RAY_ADDRESS", "")
    quiet: dict[str, Any] = {"log_to_driver": False, "logging_level": logging.ERROR, "configure_logging": True}
    try:
        with without_stderr():  # Ray's own core writes how it logs
            if there:
                ray.init(address=there, **quiet)
            else:
                ray.init(include_dashboard=dashboard, object_store_memory=STORE, **quiet)
    except Exception as error:
        where = f"the cluster '{there}' cannot be joined" if there else "Ray cannot be started here"
        raise SrkitError(f"{where}: {first_line(error)}") from None
    try:
        found = ray.cluster_resources()
        say(
            f"Ray {ray.__version__} with {found.get('CPU', 0):g} cores and {found.get('GPU', 0):g} GPUs, "
            + (f"joined at {there}" if there else "started here")
        )
        yield ray
    finally:
        ray.shutdown()


@contextmanager
def without_stderr() -> Iterator[None]:
    """What is written on the process's stderr inside, by compiled code too, is dropped."""
    sys.stderr.flush()
    kept = os.dup(2)
    with open(os.devnull, "wb") as nothing:
        os.dup2(nothing.fileno(), 2)
    try:
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)


def counted(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"


def workers_for(ray: Any, workers: int, cores: float, gpus: float) -> int:
    """How many fit into the cluster, if that is not said. SrkitError where none does."""
    found = ray.cluster_resources()
    fit = int(found.get("CPU", 0) // cores) if cores else 1
    if gpus:
        fit = min(fit, int(found.get("GPU", 0) / gpus))
    if not fit:
        raise SrkitError(
            f"no worker of {cores:g} cores and {gpus:g} GPUs fits into a cluster of {found.get('CPU', 0):g} cores and "
            f"{found.get('GPU', 0):g} GPUs; --cores, --gpus"
        )
    return min(workers, fit) if workers else fit


class Attempts:
    """An actor that counts how often a picture was begun and not ended: its worker died with it."""

    def __init__(self) -> None:
        self.open: dict[str, int] = {}

    def begin(self, name: str) -> int:
        """How often before."""
        before = self.open.get(name, 0)
        self.open[name] = before + 1
        return before

    def end(self, name: str) -> None:
        self.open.pop(name, None)


def answers(
    rows: Sequence[Mapping[str, Any]], worker: type, task: Any, *, workers: int, cores: float, gpus: float
) -> Iterator[dict[str, Any]]:
    """What `worker(task)` says to each row, in any order.

    Each worker is made once and given some rows at a time; Ray Data gives out no more than the workers can hold, and
    replaces those that die. SrkitError where it gives up, as where none can be made.
    """
    import ray
    import ray.data

    ray.data.DataContext.get_current().enable_progress_bars = False
    logging.getLogger("ray.data").setLevel(logging.CRITICAL)  # after Ray Data has set it
    blocks = max(1, -(-len(rows) // TOGETHER))
    pool = max(1, min(workers, blocks))
    data = ray.data.from_items(list(rows), override_num_blocks=blocks)
    data = data.map(
        worker,
        fn_constructor_args=(task,),
        compute=ray.data.ActorPoolStrategy(min_size=1, max_size=pool, initial_size=pool),
        num_cpus=cores,
        num_gpus=gpus or None,
    )
    try:
        yield from data.iter_rows()
    except ray.exceptions.RayError as error:
        raise SrkitError(f"Ray gave up: {last_line(error)}; the same command goes on") from None


def last_line(error: BaseException) -> str:
    """What an error of Ray is about: a traceback of a worker ends with it."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[-1] if lines else type(error).__name__
