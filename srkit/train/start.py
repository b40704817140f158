"""Plan and start a training: what `srkit train` and `srkit.fit` have in common.

Importing this imports no torch, so that wrong words are told at once.
"""

import math
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from srkit.errors import UsageError, missing_path
from srkit.plugins import Registry
from srkit.progress import Stop, TrainingDisplay
from srkit.recipes import run_file
from srkit.run import Run, merge, read_run_file, resolved_run

if TYPE_CHECKING:
    from srkit.train.session import Outcome

RESIDENT = ("auto", "yes", "no")
AUTO = "auto"  # of --resume; a folder of that name is ./auto


@dataclass(frozen=True, kw_only=True)
class Session:
    """How one session of training is held; none of it changes any weight.

    out: folder of a new run, or None for a free one below `runs`. device: as `pick_device` takes it.
    max_seconds, save_seconds: when it ends early, and between two savings of the training state.
    resident: whether the pixels are kept on the accelerator. shard: whether the network is split over the ranks, as
    `sharding` does. stop: what asks it to save and stop. quiet: no words. force: start from the weights of `init_from`
    even where little of them fits. copy_to: address of a copy of the run, as `srkit.train.copying` keeps it; empty for
    none.
    """

    out: Path | None = None
    device: str = "auto"
    max_seconds: float = math.inf
    save_seconds: float = 60.0
    resident: str = "auto"
    shard: bool = False
    stop: Stop
    quiet: bool = False
    force: bool = False
    copy_to: str = ""

    def __post_init__(self) -> None:
        if self.resident not in RESIDENT:
            raise UsageError(f"resident is auto, yes or no, not '{self.resident}'")


@dataclass(frozen=True)
class Trained:
    """main: is this the process that speaks for all ranks?"""

    run: Run
    folder: Path
    outcome: "Outcome"
    main: bool


def planned(
    registry: Registry, run: Run | Mapping[str, Any] | str | os.PathLike[str] | None, *layers: Mapping[str, Any]
) -> Run:
    """The resolved run: what `run` is, with the tables `layers` laid over it one by one.

    run: a Run, a table like a run file's, the path of a run file or a recipe's name; None for the defaults.
    Raises UnknownName, OptionError and UsageError.
    """
    values: Mapping[str, Any]
    if run is None:
        values = {}
    elif isinstance(run, Run):
        values = run.to_dict()
    elif isinstance(run, Mapping):
        values = run
    elif isinstance(run, str | os.PathLike):
        values = read_run_file(run_file(os.fspath(run), registry))
    else:
        raise UsageError(
            f"a run is a srkit.Run, a table, the path of a run file or a recipe's name, not {type(run).__name__}"
        )
    for layer in layers:
        values = merge(values, layer)
    return resolved_run(values, registry)


def start(registry: Registry, run: Run, session: Session) -> Trained:
    """Train a planned run in a new folder. Errors as `run_training`."""
    from srkit.train.session import new_folder

    if session.copy_to:
        from srkit.train.copying import check_free

        check_free(session.copy_to, session.out)
    return hold(registry, run, session, lambda: new_folder(session.out, run, registry))


def resume(
    registry: Registry, folder: Path, session: Session, steps: int | None = None, precision: str | None = None
) -> Trained:
    """Go on with the run in `folder`, bit for bit, to `steps` in all where they are given.

    precision: from here on, instead of the run's own. UsageError where the run needs one to be said.
    """
    from srkit.train.session import reopen

    take_up_copy(session, folder)
    if not folder.is_dir():
        raise missing_path(folder, "folder")
    return hold(registry, reopen(folder, steps), session, lambda: folder, precision)


def start_or_go_on(registry: Registry, run: Run, session: Session) -> Trained:
    """Start a planned run in `session.out`, or go on where that folder holds it: what a restarted program calls.

    UsageError without `out`, or where the folder holds another run.
    """
    from srkit.train.session import holds_run, reopen

    if (folder := session.out) is None:
        raise UsageError("--resume auto goes on with what a folder holds: name it by --out")
    take_up_copy(session, folder)
    if not holds_run(folder):
        return start(registry, run, session)
    there = reopen(folder)
    if different := differences(there.to_dict(), run.to_dict()):
        raise UsageError(f"'{folder}' holds another run: {'; '.join(different)}; name another --out")
    return hold(registry, there, session, lambda: folder)


def take_up_copy(session: Session, folder: Path) -> None:
    """Bring what is further in the run's copy, if it has one."""
    if session.copy_to:
        from srkit.train.copying import bring

        bring(session.copy_to, folder, session.quiet)  # by one rank of each machine, which says it


def differences(there: Mapping[str, Any], here: Mapping[str, Any], inside: str = "") -> list[str]:
    """In words, what is not alike of two runs as tables; a precision or a batch that is auto is like any."""
    found = []
    for key in sorted({*there, *here}):
        old, new = there.get(key), here.get(key)
        if isinstance(old, Mapping) and isinstance(new, Mapping):
            found += differences(old, new, f"{inside}{key}.")
        elif old != new and (f"{inside}{key}", new) not in (("precision", "auto"), ("batch", "auto")):
            found.append(f"{inside}{key} is {old!r} there and {new!r} here")
    return found


def hold(
    registry: Registry, run: Run, session: Session, choose_folder: Callable[[], Path], precision: str | None = None
) -> Trained:
    """One session: this process joins the others of its launcher, if there are any, and trains in the folder."""
    from srkit.nets import pick_device
    from srkit.train.distributed import joined, own_device
    from srkit.train.keeper import Limits
    from srkit.train.session import run_training

    device = own_device(pick_device(session.device))
    with joined(device, shard=session.shard) as world:
        # Chosen by one for all: the next to look would find the folder taken.
        folder = world.collect(choose_folder())[0]
        limits = Limits(session.max_seconds, session.save_seconds, session.stop.asked)
        seconds = None if session.max_seconds == math.inf else session.max_seconds
        with TrainingDisplay(run.steps, seconds, session.stop, quiet=session.quiet or not world.main) as display:
            outcome = run_training(
                run,
                registry,
                folder,
                device,
                display,
                limits,
                world=world,
                resident=session.resident,
                force=session.force,
                precision=precision,
                copy_to=session.copy_to,
            )
        return Trained(outcome.run, folder, outcome, world.main)
