"""`fit`: train a model from Python, with the keys of a run file as keywords."""

import math
import os
import signal
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypedDict, Unpack

from srkit.api.upscaling import Upscaler, load
from srkit.errors import UsageError
from srkit.malloc import keep_freed_memory
from srkit.plugins import Registry, load_plugins
from srkit.progress import Stop, seconds_of
from srkit.run import ONE_OR_MORE, Part, Run

if TYPE_CHECKING:
    from srkit.train.start import Trained

PartLike = str | Part | Mapping[str, Any]  # a name, or with options: {"name": "edsr", "n_feats": 32}


class RunValues(TypedDict, total=False):
    """The keys of a run file, as keywords of `fit`. A test holds that they are those of `Run`."""

    scale: int | Sequence[int]
    steps: int
    batch: int | Literal["auto"]
    patch: int
    lr: float
    accumulate: int
    clip: float
    clip_by: Literal["norm", "value", "value/lr"]
    ema: float
    precision: Literal["auto", "fp32", "bf16", "fp16"]
    checkpoint: bool
    compile: Literal["off", "on", "graphs"]
    make_low_res: Literal["store", "device"]
    skip_above: float
    early_stop: int
    seed: int
    validate_every: int
    channels_last: bool
    init_from: str | os.PathLike[str]
    model: PartLike
    data: PartLike | os.PathLike[str] | Sequence[PartLike | os.PathLike[str]]
    validation: PartLike | os.PathLike[str] | Sequence[PartLike | os.PathLike[str]]
    optimizer: PartLike
    schedule: PartLike
    loss: PartLike | Sequence[PartLike]
    augmentation: PartLike | Sequence[PartLike]
    degradation: PartLike | Sequence[PartLike]
    tracker: PartLike | Sequence[PartLike]


@dataclass(frozen=True, kw_only=True)
class BestScore:
    """The best validation of a training.

    Attributes:
        score: mean over the validation pictures, in the metric's unit (dB for psnr).
        metric: its name.
        protocol: what was compared; figures of two protocols are not comparable.
        dataset: the validation's dataset.
        step: after which the weights were scored.
    """

    score: float
    metric: str
    protocol: str
    dataset: str
    step: int


@dataclass(frozen=True, kw_only=True)
class FitResult:
    """What `srkit.fit` gives.

    Attributes:
        folder: of the run: its run.toml, checkpoints, training state and log.
        steps: done so far.
        reason: it ended for: "finished", "time" (max_time), or "no better" (early_stop).
        best: the best validation, or None where nothing was validated.
        run: the run with every option written out.
    """

    folder: Path
    steps: int
    reason: str
    best: BestScore | None
    run: Run = field(repr=False)
    registry: Registry = field(repr=False, compare=False)

    def load(
        self,
        scale: int | None = None,
        *,
        device: str = "auto",
        tile: int | None = None,
        ensemble: bool = False,
        precision: str = "fp32",
    ) -> Upscaler:
        """The best checkpoint, ready to upscale; arguments as for `srkit.load`."""
        return load(
            self.folder,
            scale,
            device=device,
            tile=tile,
            ensemble=ensemble,
            precision=precision,
            registry=self.registry,
        )

    def __str__(self) -> str:
        done = f"{self.steps:,} of {self.run.steps:,} steps done ({self.reason}), in '{self.folder}'"
        if self.best is None:
            return done
        best = f"{self.best.metric.upper()} {self.best.score:.4f} (protocol {self.best.protocol}, {self.best.dataset})"
        return f"{done}; best {best} at step {self.best.step:,}"


def fit(
    run: "Run | Mapping[str, Any] | str | os.PathLike[str] | None" = None,
    *,
    out: "str | os.PathLike[str] | None" = None,
    resume: "str | os.PathLike[str] | None" = None,
    device: str = "auto",
    max_time: str | float | None = None,
    save_every: str | float = 60.0,
    resident: Literal["auto", "yes", "no"] = "auto",
    shard: bool = False,
    copy_to: str = "",
    progress: bool = True,
    registry: Registry | None = None,
    **values: Unpack[RunValues],
) -> FitResult:
    """Train a model, as `srkit train` does, and wait until it is done.

    run: a `Run`, a dict like a run file, the path of a run file, or a recipe's name; the defaults if not given. values:
    keys of the run laid over it: `model="edsr", data="photos/", scale=2, steps=1000, lr=2e-4, model={"name": "edsr",
    "n_feats": 32}`. A text for `data` or `validation` is a folder of pictures if there is one, else a dataset's name.
    out: folder of the new run; the first free `runs/MODEL_xSCALE` if not given. resume: a run's folder, to go on with
    it exactly as if it had not stopped; of the values only `steps` goes with it, and `precision`, which changes it;
    "auto" starts the run, or goes on where `out` holds it. device: "auto" is the accelerator where there is one.
    max_time: stop after this long, in seconds or as "90s", "10m", "1h30m". save_every: time between two savings of the
    training state. resident: keep the pixels on the accelerator; "auto" where they fit. shard: under torchrun or
    Ray Train, each rank holds a part of the network, for one that does not fit a card. copy_to: an address, or a
    folder, where a copy of the run is kept while it trains; with resume="auto" a fresh machine goes on from it.
    progress: shown on stderr, in a notebook in the output of its cell; False shows nothing. registry: where names are
    looked up; the installed plugins if not given.

    On Linux the C library is told to keep what is freed, for the rest of the process (`keep_freed_memory`): a step
    frees all that the next one needs, and without it the system clears those pages again each time.

    The first Ctrl-C, or the stop button of a notebook, ends the training after the present step; its state is saved,
    and KeyboardInterrupt is raised with the line that resumes it. A second one interrupts at once. This needs the main
    thread; elsewhere no signal handler is installed. The handler that was there before is put back.

    Raises UnknownName, OptionError and UsageError for what the run says, DataError and ImageError for bad pictures,
    SrkitError where the training diverges or memory does not suffice; all are SrkitError.
    """
    from srkit.train import start

    keep_freed_memory()
    registry = load_plugins() if registry is None else registry
    session = start.Session(
        out=None if out is None else Path(out).expanduser(),
        device=device,
        max_seconds=seconds_of(max_time) or math.inf,
        save_seconds=seconds_of(save_every) or math.inf,
        resident=resident,
        shard=shard,
        stop=Stop(signal.SIGINT),
        quiet=not progress,
        copy_to=copy_to,
    )
    if resume is None or resume == start.AUTO:
        begin = start.start if resume is None else start.start_or_go_on
        trained = begin(registry, start.planned(registry, run, tables(registry, values)), session)
    elif run is not None or out is not None or set(values) - {"steps", "precision"}:
        raise UsageError("resume takes the run as it is; of the run's keys only steps and precision go with it")
    else:
        folder = Path(resume).expanduser()
        trained = start.resume(registry, folder, session, values.get("steps"), values.get("precision"))
    if trained.outcome.reason == "stopped":
        raise KeyboardInterrupt(
            f"training stopped at step {trained.outcome.steps:,} and saved; srkit.fit(resume={str(trained.folder)!r}) "
            "goes on"
        )
    return result_of(trained, registry)


def tables(registry: Registry, values: Mapping[str, Any]) -> dict[str, Any]:
    """Keywords of `fit` as the tables of a run file, so that they can be laid over one."""
    from srkit.data.named import data_table

    def plain(value: Any) -> Any:
        if isinstance(value, Part):
            return value.table()
        if isinstance(value, list | tuple):
            return [plain(item) for item in value]
        return os.fspath(value) if isinstance(value, os.PathLike) else value

    result = {key: plain(value) for key, value in values.items()}
    for key in ONE_OR_MORE:
        value = result.get(key)
        if isinstance(value, str):
            result[key] = data_table(registry, value)
        elif isinstance(value, list):
            result[key] = [data_table(registry, each) if isinstance(each, str) else each for each in value]
    return result


def result_of(trained: "Trained", registry: Registry) -> FitResult:
    from srkit.evaluate.selection import selection_of

    run, outcome = trained.run, trained.outcome
    selection, best = selection_of(run, registry), None
    if outcome.best:
        best = BestScore(
            score=outcome.best[0],
            metric=selection.metric,
            protocol=selection.protocol.name,
            dataset=run.validation[0].name,
            step=outcome.best[1],
        )
    return FitResult(
        folder=trained.folder, steps=outcome.steps, reason=outcome.reason, best=best, run=run, registry=registry
    )
