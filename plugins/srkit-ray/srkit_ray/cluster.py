"""Ray itself: a cluster that is there, or one on this machine that ends with the command."""

import logging
import math
import os
import signal
import sys
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from types import FrameType
from typing import Any, NoReturn

from srkit import SrkitError, UsageError, say
from srkit_ray.places import first_line

STORE = 256_000_000  # bytes of Ray's object store on this machine: pictures do not go through it
TOGETHER = 4  # rows that a worker is given at a time


@dataclass(frozen=True)
class Cluster:
    """Where is computed, as the options say it. UsageError for a worker that cannot be.

    address: of Ray; RAY_ADDRESS or this machine if empty. workers: at most so many; 0 for as many as fit. cores, gpus:
    of one worker. dashboard: with Ray's page, where it is started here.
    """

    address: str = ""
    workers: int = 0
    cores: float = 1
    gpus: float = 0
    dashboard: bool = False

    @property
    def joined(self) -> str:
        """The address of the cluster that is joined; empty where one is started here."""
        return self.address or os.environ.get("RAY_ADDRESS", "")

    def __post_init__(self) -> None:
        if not (self.cores > 0 and math.isfinite(self.cores)):
            raise UsageError(f"--cores {self.cores:g}: a worker has a core or a part of one, 0.5")
        if not math.isfinite(self.gpus) or (self.gpus > 1 and self.gpus != int(self.gpus)):
            raise UsageError(f"--gpus {self.gpus:g}: a worker has a part of a GPU, 0.5, or a whole number of them")


@contextmanager
def ray_running(cluster: Cluster) -> Iterator[Any]:
    """Ray, joined where `cluster` says, else started here; what was started ends with the block."""
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # before Ray is imported
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    os.environ.setdefault("RAY_BACKEND_LOG_LEVEL", "fatal")
    os.environ["RAY_ENABLE_AUTO_CONNECT"] = "0"  # else what a thread of Ray Data asks after the end starts Ray anew
    import ray

    there = cluster.joined
    handler = signal.getsignal(signal.SIGTERM)
    main = threading.current_thread() is threading.main_thread()
    quiet: dict[str, Any] = {"log_to_driver": False, "logging_level": logging.ERROR, "configure_logging": True}
    try:
        with without_stderr():  # Ray's own core writes how it logs
            if there:
                ray.init(address=there, **quiet)
            else:
                ray.init(include_dashboard=cluster.dashboard, object_store_memory=STORE, **quiet)
    except Exception as error:
        where = f"the cluster '{there}' cannot be joined" if there else "Ray cannot be started here"
        raise SrkitError(f"{where}: {first_line(error)}") from None
    if main:
        signal.signal(signal.SIGTERM, interrupt)  # Ray's own ends the process where it stands
    try:
        found = ray.cluster_resources()
        say(
            f"Ray {ray.__version__} with {found.get('CPU', 0):g} cores and {found.get('GPU', 0):g} GPUs, "
            + (f"joined at {there}" if there else "started here")
        )
        yield ray
    finally:
        with without_stderr():  # what it says of workers that it ends itself
            ray.shutdown()
        if main:
            signal.signal(signal.SIGTERM, handler or signal.SIG_DFL)


def interrupt(number: int, frame: FrameType | None) -> NoReturn:
    raise KeyboardInterrupt


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


def workers_for(ray: Any, cluster: Cluster) -> int:
    """How many fit into what Ray has, if that is not said. SrkitError where none does."""
    found = ray.cluster_resources()
    fit = int(found.get("CPU", 0) // cluster.cores)
    if cluster.gpus:
        fit = min(fit, int(found.get("GPU", 0) / cluster.gpus))
    if not fit:
        raise SrkitError(
            f"no worker of {cluster.cores:g} cores and {cluster.gpus:g} GPUs fits into a cluster of "
            f"{found.get('CPU', 0):g} cores and {found.get('GPU', 0):g} GPUs; --cores, --gpus"
        )
    return min(cluster.workers, fit) if cluster.workers else fit


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
    rows: Sequence[Mapping[str, Any]], worker: type, task: Any, cluster: Cluster, workers: int
) -> Iterator[dict[str, Any]]:
    """What `worker(task)` says to each row, in any order. workers: at most so many.

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
        num_cpus=cluster.cores,
        num_gpus=cluster.gpus or None,
    )
    try:
        yield from data.iter_rows()
    except ray.exceptions.RayError as error:
        raise SrkitError(f"Ray gave up: {last_line(error)}; the same command goes on") from None


def last_line(error: BaseException) -> str:
    """What an error of Ray is about: a traceback of a worker ends with it."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[-1] if lines else type(error).__name__
