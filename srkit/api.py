"""srkit from Python: `load` a model and upscale with it, `fit` one, `score` one.

    srkit.load().upscale(picture)
    srkit.fit(model="edsr", data="photos/", steps=1000).load()
    srkit.score("edsr-small", "set5")

All three work in a script, a notebook and a thread. They read no input and print nothing on stdout. Importing this
imports no torch, so that `from srkit import *` stays light in a plugin's module.
"""

import html
import math
import os
import signal
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypedDict, Unpack

from srkit import defaults
from srkit.components import Pair, PairSequence
from srkit.errors import DataError, ImageError, SrkitError, UsageError, naming, one_line
from srkit.plugins import Registry, load_plugins
from srkit.progress import Meter, Progress, Stop, seconds_of
from srkit.run import Part, Run

if TYPE_CHECKING:
    import torch
    from torch import Tensor, nn

    from srkit.evaluate.report import Row
    from srkit.nets import Loaded
    from srkit.train.start import Trained

PartLike = str | Part | Mapping[str, Any]  # a name, or with options: {"name": "edsr", "n_feats": 32}


class RunValues(TypedDict, total=False):
    """The keys of a run file, as keywords of `fit`. A test holds that they are those of `Run`."""

    scale: int | Sequence[int]
    steps: int
    batch: int
    patch: int
    lr: float
    accumulate: int
    clip: float
    clip_by: Literal["norm", "value", "value/lr"]
    ema: float
    precision: Literal["auto", "fp32", "bf16", "fp16"]
    compile: Literal["off", "on", "graphs"]
    make_low_res: Literal["store", "device"]
    skip_above: float
    early_stop: int
    seed: int
    validate_every: int
    channels_last: bool
    init_from: str | os.PathLike[str]
    model: PartLike
    data: PartLike | os.PathLike[str]
    validation: PartLike | os.PathLike[str]
    optimizer: PartLike
    schedule: PartLike
    loss: PartLike | Sequence[PartLike]
    augmentation: PartLike | Sequence[PartLike]
    tracker: PartLike | Sequence[PartLike]


def load(
    model: "str | os.PathLike[str] | None" = None,
    scale: int | None = None,
    *,
    device: str = "auto",
    tile: int | None = None,
    ensemble: bool = False,
    precision: str = "fp32",
    progress: bool = True,
    registry: Registry | None = None,
) -> "Upscaler":
    """A model with its weights, ready to upscale.

    model: a name, also `name@tag`, a checkpoint, a run's folder, or `owner/name` on the Hugging Face hub; the best
    weights that are installed if not given. scale: the weights' own,
    or 2, if not given. device: "auto" is the accelerator where there is one. tile: side of a tile in input pixels,
    to bound memory; 0 for none. ensemble: the mean over eight flips and transposes, eight times the work. precision:
    fp32, exact to the bit; bf16 or fp16; "auto" is bf16 where the device multiplies it. progress: of a download, on
    stderr or in the notebook's cell. registry: where names are looked up; the installed plugins when not said.

    Raises UnknownName, UsageError, CheckpointError, FetchError, or NoWeights; all are SrkitError.
    """
    from srkit.nets import pick_device, precision_of, precision_on
    from srkit.upscale.marks import mark
    from srkit.upscale.wrap import make_upscaler
    from srkit.weights.find import quietly
    from srkit.weights.loading import load_model
    from srkit.weights.offered import for_pictures

    registry = load_plugins() if registry is None else registry
    if model is None:
        offer, scale = for_pictures(registry, scale)
        model = offer.word
    place = pick_device(device)
    precision_on(place, precision)  # a wrong word is told before a download
    with Meter() if progress else nullcontext(quietly) as downloads:
        loaded = load_model(registry, os.fspath(model), scale, place, downloads)
    wrappers = [registry.choose("wrapper", defaults.ENSEMBLE)] if ensemble else []
    used = precision_of(loaded, place, precision)
    call = make_upscaler(loaded.net, loaded.model, loaded.scale, tile=tile, wrappers=wrappers, precision=used)
    return Upscaler(loaded, place, call, mark(wrappers), precision=used)


class Upscaler:
    """What `srkit.load` gives.

    Attributes:
        scale: how many times larger.
        name: of the model, or of its preset; with a "+" where it is a self-ensemble.
        parameters: how many are trained, as tables count them.
        origin: the weight file; empty for an interpolation.
        device: where it computes.
        precision: "fp32", or what the network was asked to compute in.
        net: the `torch.nn.Module`.
    """

    def __init__(self, loaded: "Loaded", device: "torch.device", call: Any, mark: str = "", *, precision: str = "fp32"):
        self.net: nn.Module = loaded.net
        self.scale, self.name, self.parameters = loaded.scale, loaded.label + mark, loaded.parameters
        self.origin, self.device, self.precision = loaded.origin, device, precision
        self._call = call

    def __repr__(self) -> str:
        half = "" if self.precision == "fp32" else f" in {self.precision}"
        return f"<srkit {self.name} x{self.scale}, {self.parameters:,} parameters, on {self.device}{half}>"

    def upscale(self, picture: Any, *, range: Any = None) -> Any:  # noqa: A002 - the option's name
        """The picture `scale` times larger, as what it came.

        A PIL image gives a PIL image: upright, with its transparency, gray if it was gray. An array of H,W,3 uint8
        gives such an array. A tensor of B,3,H,W or 3,H,W float in [0, 1] gives such a tensor, clipped, of the same
        type on the same device. range: of a gray PIL image of more than 8 bits, what black and white are: `(0, 4095)`;
        else 16 bits are 0 to 65535, and float is 0 to 1.

        Raises UsageError for anything else, ImageError for an image that cannot be decoded, OutputError where what the
        model makes is no picture (not finite, a wrong size, not in [0, 1]), SrkitError when memory does not suffice.
        """
        import numpy as np
        import torch
        from PIL import Image

        from srkit.images import LOG, image_of, picture_of
        from srkit.upscale.picture import upscale_picture
        from srkit.upscale.wrap import to_pixels, to_tensor

        if isinstance(picture, Image.Image):
            try:
                read = picture_of(picture, range=range)
            except SrkitError:
                raise
            except Exception as error:  # a damaged file makes Pillow raise about anything
                raise ImageError(f"the image cannot be decoded: {one_line(error)}") from None
            if read.notice:
                LOG.warning("the image: %s", read.notice)
            with naming(getattr(picture, "filename", "") or "the image"):
                return image_of(upscale_picture(self._call, read, self.scale, self.device))
        if isinstance(picture, np.ndarray):
            if picture.dtype != np.uint8 or picture.ndim != 3 or picture.shape[-1] != 3 or not picture.size:
                raise UsageError(f"an array must be H,W,3 uint8, not {shape_of(picture)} {picture.dtype}")
            with naming("the array"):
                return to_pixels(self._call(to_tensor(picture, self.device)))
        if isinstance(picture, torch.Tensor):
            return self._tensor(picture)
        raise UsageError(f"a picture is a PIL image, an array or a tensor, not {type(picture).__name__}")

    def _tensor(self, lr: "Tensor") -> "Tensor":
        import torch

        if not lr.is_floating_point() or lr.ndim not in (3, 4) or lr.shape[-3] != 3 or not lr.numel():
            raise UsageError(f"a tensor must be B,3,H,W or 3,H,W float in [0, 1], not {shape_of(lr)} {lr.dtype}")
        if not lr.isfinite().all():
            raise UsageError("a tensor must be in [0, 1]; this one has values that are not finite")
        if lr.max() > 2:  # a little outside is what interpolation leaves
            raise UsageError(f"a tensor must be in [0, 1]; this one goes up to {float(lr.max()):g}: divide it by 255")
        if lr.min() < -1:
            raise UsageError(f"a tensor must be in [0, 1]; this one goes down to {float(lr.min()):g}")
        batch = lr if lr.ndim == 4 else lr[None]
        with naming("the tensor"):
            sr: Tensor = self._call(batch.detach().to(self.device, torch.float32)).clamp(0, 1).to(lr.device, lr.dtype)
        return sr if lr.ndim == 4 else sr[0]


def shape_of(picture: Any) -> str:
    return ",".join(map(str, picture.shape))


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
    progress: bool = True,
    registry: Registry | None = None,
    **values: Unpack[RunValues],
) -> FitResult:
    """Train a model, as `srkit train` does, and wait until it is done.

    run: a `Run`, a dict like a run file, the path of a run file, or a recipe's name; the defaults if not given.
    values: keys of the run laid over it: `model="edsr", data="photos/", scale=2, steps=1000, lr=2e-4,
    model={"name": "edsr", "n_feats": 32}`. A text for `data` or `validation` is a folder of pictures if there is one,
    else a dataset's name. out: folder of the new run; the first free `runs/MODEL_xSCALE` if not given. resume: a
    run's folder, to go on with it exactly as if it had not stopped; of the values only `steps` goes with it, and
    `precision`, which changes it. device: "auto" is the accelerator where there is one. max_time: stop after this
    long, in seconds or as "90s", "10m", "1h30m". save_every: time between two savings of the training state. resident:
    keep the pixels on the accelerator; "auto" where they fit. progress: shown on stderr, in a notebook in the output
    of its cell; False shows nothing. registry: where names are looked up; the installed plugins if not given.

    The first Ctrl-C, or the stop button of a notebook, ends the training after the present step; its state is saved,
    and KeyboardInterrupt is raised with the line that resumes it. A second one interrupts at once. This needs the main
    thread; elsewhere no signal handler is installed. The handler that was there before is put back.

    Raises UnknownName, OptionError and UsageError for what the run says, DataError and ImageError for bad pictures,
    SrkitError where the training diverges or memory does not suffice; all are SrkitError.
    """
    from srkit.train import start

    registry = load_plugins() if registry is None else registry
    session = start.Session(
        out=None if out is None else Path(out).expanduser(),
        device=device,
        max_seconds=seconds_of(max_time) or math.inf,
        save_seconds=seconds_of(save_every) or math.inf,
        resident=resident,
        stop=Stop(signal.SIGINT),
        quiet=not progress,
    )
    if resume is None:
        trained = start.start(registry, start.planned(registry, run, tables(registry, values)), session)
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
    for key in ("data", "validation"):
        if isinstance(result.get(key), str):
            result[key] = data_table(registry, result[key])
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
            dataset=run.validation.name,
            step=outcome.best[1],
        )
    return FitResult(
        folder=trained.folder, steps=outcome.steps, reason=outcome.reason, best=best, run=run, registry=registry
    )


@dataclass(frozen=True, kw_only=True)
class PictureScore:
    """One picture of a set.

    Attributes:
        name: of the picture.
        scores: by metric, in the metric's unit.
        seconds: its upscaling took.
    """

    name: str
    scores: Mapping[str, float]
    seconds: float


@dataclass(frozen=True, kw_only=True, repr=False)
class ScoreResult:
    """What `srkit.score` gives. `print` shows it as a table, and so does a notebook.

    Attributes:
        model: its name in tables.
        dataset: the name of the set.
        scale: how many times larger.
        protocol: what was compared; scores of two protocols are not comparable.
        pictures: the scores of each picture, in the set's order.
        parameters: how many are trained.
        origin: the weight file; empty for an interpolation or a network of one's own.
    """

    model: str
    dataset: str
    scale: int
    protocol: str
    pictures: tuple[PictureScore, ...]
    parameters: int = 0
    origin: str = ""

    @property
    def scores(self) -> dict[str, float]:
        """By metric, the plain mean over the pictures, as published tables give it."""
        from srkit.evaluate.statistics import mean

        return {key: mean(picture.scores[key] for picture in self.pictures) for key in self.pictures[0].scores}

    def __getitem__(self, metric: str) -> float:
        """`result["psnr"]`: the mean of one metric."""
        return self.scores[metric]

    @property
    def seconds(self) -> float:
        """The mean time of upscaling one picture."""
        return math.fsum(picture.seconds for picture in self.pictures) / len(self.pictures)

    def row(self) -> "Row":
        """The same as a row of `srkit bench`."""
        from srkit.evaluate.report import Row

        return Row(
            model=self.model,
            scale=self.scale,
            dataset=self.dataset,
            images=len(self.pictures),
            protocol=self.protocol,
            scores=self.scores,
            parameters=self.parameters,
            seconds=self.seconds,
            origin=self.origin,
        )

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON, those of each picture too. A score that is not finite (identical pictures) is None."""
        pictures = [{"name": picture.name, **finite(picture.scores)} for picture in self.pictures]
        return {**self.row().flat(), "pictures": pictures}

    def table(self, *others: "ScoreResult") -> str:
        """This result, and others below it, as a table. Raises UsageError where the protocols or metrics differ."""
        from srkit.evaluate.report import numeric, text_of, to_table

        headings, cells = to_table([result.row() for result in (self, *others)])
        return text_of(headings, cells, right=numeric(headings))

    def __repr__(self) -> str:
        from srkit.evaluate.report import digits

        scores = ", ".join(f"{metric.upper()} {digits(metric, value)}" for metric, value in self.scores.items())
        return (
            f"<{self.model} x{self.scale} on {self.dataset}, {len(self.pictures)} pictures, "
            f"protocol {self.protocol}: {scores}>"
        )

    def __str__(self) -> str:
        return self.table()

    def _repr_html_(self) -> str:
        from srkit.evaluate.report import to_table

        headings, cells = to_table([self.row()])
        lines = [f"<tr>{''.join(f'<{tag}>{html.escape(cell)}</{tag}>' for cell in line)}</tr>"
                 for tag, line in (("th", headings), *(("td", row) for row in cells))]  # fmt: skip
        return f"<table>{''.join(lines)}</table>"


def finite(scores: Mapping[str, float]) -> dict[str, float | None]:
    return {name: value if math.isfinite(value) else None for name, value in scores.items()}


def score(
    model: "str | os.PathLike[str] | Upscaler | FitResult | Callable[[Tensor], Tensor]",
    dataset: "str | os.PathLike[str] | PairSequence | Sequence[Pair]",
    scale: int | None = None,
    *,
    protocol: str = "y",
    metrics: str | Sequence[str] = defaults.METRICS,
    split: str = "test",
    root: "str | os.PathLike[str] | None" = None,
    device: str = "auto",
    name: str | None = None,
    progress: bool = True,
    registry: Registry | None = None,
) -> ScoreResult:
    """Score a model on a dataset, as `srkit bench` does: upscale each picture, round to 8 bits, compare with HR.

    model: a name, a checkpoint, a run's folder or a repository of the hub, as for `srkit.load`; an `Upscaler`; what
    `fit` gave; or any callable, such as a `torch.nn.Module`, that takes B,3,H,W float RGB in [0, 1] and gives
    B,3,scale*H,scale*W. A module is scored in evaluation mode, without gradients, where its parameters are.
    dataset: a set's name, a folder of pictures, or a sequence of `Pair`. scale: the weights' own, or 2, if not given;
    a callable needs it. protocol: y, y-uint8, rgb or div2k. metrics: names, with options as `lpips:net=vgg`. split: of
    a dataset. root: the folder that holds the named set. device: where a model by name, or a callable without
    parameters, computes. name: what tables call the model. progress, registry: as for `fit`.

    Raises UnknownName, UsageError, CheckpointError, FetchError, NoWeights, DataError for a picture that is too
    small, or OutputError for one that comes out not finite, in a wrong size or range; all are SrkitError.
    """
    from srkit.data.named import set_named
    from srkit.data.pairs import open_dataset
    from srkit.evaluate.identity import split_options
    from srkit.evaluate.protocol import protocol_named
    from srkit.evaluate.score import build_metric, score_pairs

    registry = load_plugins() if registry is None else registry
    chosen = protocol_named(protocol)
    words = [word.strip() for word in metrics.split(",")] if isinstance(metrics, str) else list(metrics)
    if not words:
        raise UsageError("no metric to score by; there is psnr, ssim and what `srkit plugins --kind metric` lists")
    for word in words:
        registry.find("metric", split_options(word)[0])
    subject = subject_of(registry, model, scale, device, progress)
    measured = {word: build_metric(registry, *split_options(word), subject.device) for word in words}
    if isinstance(dataset, str | os.PathLike):
        place = None if root is None else Path(root).expanduser()
        set_name, choice, folder = set_named(registry, os.fspath(dataset), place)
        pairs = open_dataset(choice, folder, split, subject.scale)
    else:
        set_name, pairs = "pairs", checked_pairs(dataset)
    label = name or subject.name
    with Progress(f"scoring {label}", len(pairs)) if progress else nullcontext() as bar:
        found = score_pairs(
            {label: subject.call},
            pairs,
            subject.scale,
            measured,
            chosen,
            device=subject.device,
            done=lambda _: bar.one_more(set_name) if bar else None,
        )
    if error := found[label].error:
        raise error
    pictures = [PictureScore(name=each.name, scores=each.scores, seconds=each.seconds) for each in found[label].images]
    return ScoreResult(
        model=label,
        dataset=set_name,
        scale=subject.scale,
        protocol=chosen.name,
        pictures=tuple(pictures),
        parameters=subject.parameters,
        origin=subject.origin,
    )


@dataclass(frozen=True, kw_only=True)
class Subject:
    """What is scored, whatever it was given as."""

    name: str
    scale: int
    call: "Callable[[Tensor], Tensor]"
    device: "torch.device"
    parameters: int = 0
    origin: str = ""


def subject_of(registry: Registry, model: Any, scale: int | None, device: str, progress: bool) -> Subject:
    """Raises UsageError for what cannot be scored, or a scale or device that it has not."""
    import torch
    from torch import nn

    from srkit.nets import parameter_count, pick_device
    from srkit.upscale.wrap import checked, evaluation_mode

    if isinstance(model, FitResult):
        registry, model = model.registry, model.folder
    if isinstance(model, str | os.PathLike):
        model = load(model, scale, device=device, progress=progress, registry=registry)
    elif isinstance(model, Upscaler) and device != "auto":
        raise UsageError(f"the Upscaler computes on {model.device}: say the device when it is loaded")
    if isinstance(model, Upscaler):
        if scale not in (None, model.scale):
            raise UsageError(f"'{model.name}' upscales x{model.scale}, not x{scale}")
        return Subject(
            name=model.name,
            scale=model.scale,
            call=model._call,
            device=model.device,
            parameters=model.parameters,
            origin=model.origin,
        )
    if not callable(model):
        raise UsageError(f"a model is a name, a path, an Upscaler or a callable, not {type(model).__name__}")
    name = getattr(model, "__name__", type(model).__name__)
    if scale is None:
        raise UsageError(f"srkit cannot know how many times larger '{name}' makes a picture: say scale=2")
    first = next(model.parameters(), None) if isinstance(model, nn.Module) else None
    if first is not None and device != "auto":
        raise UsageError(f"'{name}' is on {first.device}: move it there with .to() and leave device out")

    def call(lr: "Tensor") -> "Tensor":
        with evaluation_mode(model) if isinstance(model, nn.Module) else nullcontext(), torch.inference_mode():
            sr: Tensor = model(lr)
            return sr

    return Subject(
        name=name,
        scale=scale,
        call=checked(call, f"'{name}'", scale),
        device=pick_device(device) if first is None else first.device,
        parameters=parameter_count(model) if isinstance(model, nn.Module) else 0,
    )


def checked_pairs(pairs: Any) -> PairSequence:
    """Raises UsageError for what is no sequence of Pair, DataError for an empty one."""
    if not hasattr(pairs, "__len__") or not hasattr(pairs, "__getitem__") or isinstance(pairs, Mapping):
        raise UsageError(f"a dataset is a name, a folder or a sequence of srkit.Pair, not {type(pairs).__name__}")
    if not len(pairs):
        raise DataError("the dataset has no pictures")
    if not isinstance(pairs[0], Pair):
        raise UsageError(
            f"a dataset is a sequence of srkit.Pair(name=..., lr=None, hr=array), not of {type(pairs[0]).__name__}"
        )
    result: PairSequence = pairs
    return result
