"""Score an upscaler on a dataset: upscale, round to 8 bits, apply the protocol, measure, average."""

import math
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch

from srkit.components import Pair, PairSequence
from srkit.data.pairs import TooSmall, aligned, size
from srkit.errors import DataError, PluginError, SrkitError, naming, one_line
from srkit.evaluate.protocol import Protocol
from srkit.evaluate.report import Row
from srkit.images import LOG
from srkit.nets import Loaded
from srkit.plugins import Choice
from srkit.upscale.wrap import Upscale, make_upscaler, mark, to_pixels, to_tensor

Metrics = Mapping[str, Callable[[np.ndarray, np.ndarray], float]]


@dataclass(frozen=True)
class ImageScore:
    """One picture: its scores by metric, the seconds its upscaling took, and the pixels (uint8 H,W,3)."""

    name: str
    scores: dict[str, float]
    seconds: float
    sr: np.ndarray


@dataclass(frozen=True)
class SetScore:
    """A model on a set: the score of each picture, or of those before the one that failed, and its error."""

    images: list[ImageScore]
    error: SrkitError | None = None


def score_image(
    upscaler: Upscale,
    lr: np.ndarray,
    hr: np.ndarray,
    scale: int,
    metrics: Metrics,
    protocol: Protocol,
    *,
    device: torch.device,
    name: str = "",
) -> ImageScore:
    """Upscale `lr` and score it against `hr`, both uint8 H,W,3 and aligned.

    upscaler: as `make_upscaler` or `checked` give it. Raises DataError where the picture is too small for the
    protocol's border, OutputError for what is no upscaled picture, PluginError for a metric that fails.
    """
    check_size(name, hr, scale, protocol)
    begin = time.perf_counter()
    with naming(name):
        sr = to_pixels(upscaler(to_tensor(lr, device)))
        seconds = time.perf_counter() - begin
        compared = protocol.apply(sr, hr, scale)
        scores = {key: measured(key, metric, *compared) for key, metric in metrics.items()}
    return ImageScore(name, scores, seconds, sr)


def check_size(name: str, hr: np.ndarray, scale: int, protocol: Protocol) -> None:
    """Raises TooSmall for a picture that the protocol's border leaves nothing of."""
    if min(hr.shape[:2]) <= 2 * protocol.border(scale):
        raise TooSmall(
            f"'{name}' ({hr.shape[1]}x{hr.shape[0]}) is too small for protocol '{protocol.name}' at x{scale}"
        )


def measured(key: str, metric: Callable[[np.ndarray, np.ndarray], float], sr: np.ndarray, hr: np.ndarray) -> float:
    """Raises PluginError, naming the metric, where it fails."""
    try:
        return float(metric(sr, hr))
    except SrkitError:
        raise
    except Exception as error:
        raise PluginError(f"metric '{key}' fails: {one_line(error)}") from error


def score_set(
    models: Mapping[str, Loaded],
    set_name: str,
    pairs: PairSequence,
    scale: int,
    metrics: Metrics,
    protocol: Protocol,
    *,
    device: torch.device,
    wrappers: Sequence[Choice] = (),
    done: Callable[[str], None] = lambda text: None,
) -> list[Row]:
    """A row for each model, by name, on all pairs of one set; each LR picture is made once for all of them.

    A model that fails on one picture has a row that says why, without scores: a mean over the others would be that of
    another set. done(text) is called after each model's each picture.
    """
    upscalers = {
        name: make_upscaler(loaded.net, loaded.model, scale, wrappers=wrappers) for name, loaded in models.items()
    }
    found = score_pairs(
        upscalers, pairs, scale, metrics, protocol, device=device, done=lambda name: done(f"{name} x{scale} {set_name}")
    )
    rows = []
    for name, loaded in models.items():
        label, result = name + mark(wrappers), found[name]
        if result.error is None:
            rows.append(row_of(label, loaded, set_name, result.images, protocol))
        else:
            row = failed_row(label, scale, set_name, result.error, metrics, protocol)
            rows.append(replace(row, images=len(result.images), parameters=loaded.parameters, origin=loaded.origin))
    return rows


def score_pairs(
    upscalers: Mapping[str, Upscale],
    pairs: PairSequence,
    scale: int,
    metrics: Metrics,
    protocol: Protocol,
    *,
    device: torch.device,
    done: Callable[[str], None] = lambda name: None,
) -> dict[str, SetScore]:
    """The score of each upscaler, by name, on each pair, without the pixels; each LR picture is made once for all.

    An upscaler that fails is asked no more, and the others go on; a pair that cannot be read ends them all. Pictures
    that are too small are left out, and named in the log; where all are, that is the error.
    done(name) is called after each upscaler's each picture.
    """
    found = {name: SetScore([]) for name in upscalers}
    small: TooSmall | None = None
    for i in range(len(pairs)):
        going = [name for name, result in found.items() if result.error is None]
        if not going:
            break
        try:
            pair = read_pair(pairs, i)
            lr, hr = aligned(pair, scale)
            check_size(pair.name, hr, scale, protocol)
        except TooSmall as error:
            small = error
            told = f"left out, too small for '{protocol.name}' at x{scale}"
            LOG.warning("%s (%s): %s", pair.name, size(pair.hr), told)
            continue
        except SrkitError as error:
            return found | {name: replace(found[name], error=error) for name in going}
        for name in going:
            try:
                result = score_image(upscalers[name], lr, hr, scale, metrics, protocol, device=device, name=pair.name)
            except SrkitError as error:
                found[name] = replace(found[name], error=error)
            else:
                found[name].images.append(replace(result, sr=result.sr[:0]))  # the pixels are not needed any more
            done(name)
    if small:
        found |= {
            name: replace(each, error=small) for name, each in found.items() if not each.images and not each.error
        }
    return found


def read_pair(pairs: PairSequence, index: int) -> Pair:
    """One pair. Raises a deliberate error where the dataset's code fails."""
    try:
        return pairs[index]
    except SrkitError:
        raise
    except Exception as error:
        raise DataError(f"picture {index + 1} of {len(pairs)} cannot be read: {one_line(error)}") from error


def row_of(name: str, loaded: Loaded, set_name: str, found: Sequence[ImageScore], protocol: Protocol) -> Row:
    """The scores of one model, averaged over all pictures of a set."""
    scores = {key: mean(image.scores[key] for image in found) for key in found[0].scores}
    seconds = mean(image.seconds for image in found)
    return Row(
        model=name,
        scale=loaded.scale,
        dataset=set_name,
        images=len(found),
        protocol=protocol.name,
        scores=scores,
        parameters=loaded.parameters,
        seconds=seconds,
        origin=loaded.origin,
    )


def failed_row(
    name: str, scale: int, set_name: str, error: SrkitError, metrics: Iterable[str], protocol: Protocol
) -> Row:
    """The row of a model that has no score on a set, and why."""
    return Row(
        model=name,
        scale=scale,
        dataset=set_name,
        images=0,
        protocol=protocol.name,
        scores=dict.fromkeys(metrics, math.nan),
        parameters=0,
        seconds=math.nan,
        error=one_line(error),
    )


def mean(values: Iterable[float]) -> float:
    """The tables' average: the plain mean over images, of dB too."""
    values = list(values)
    return math.fsum(values) / len(values) if all(map(math.isfinite, values)) else float(np.mean(values))
