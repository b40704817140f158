"""`score`: a model, or any callable, scored on a dataset from Python, as `srkit bench` scores it."""

import html
import math
import os
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from srkit import defaults
from srkit.api.fitting import FitResult
from srkit.api.upscaling import Upscaler, load
from srkit.components import Pair, PairSequence
from srkit.errors import DataError, UsageError
from srkit.plugins import Registry, load_plugins
from srkit.progress import Progress

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from srkit.evaluate.report import Row


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
