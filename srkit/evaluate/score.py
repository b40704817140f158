"""Score an upscaler on a dataset: upscale, round to 8 bits, apply the protocol, measure, average."""

import math
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch

from srkit.components import PairSequence
from srkit.data.pairs import TooSmall, aligned, size
from srkit.errors import DataError
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

    Raises DataError where the picture is too small for the protocol's border or SR and HR differ in size.
    """
    if min(hr.shape[:2]) <= 2 * protocol.border(scale):
        raise TooSmall(
            f"'{name}' ({hr.shape[1]}x{hr.shape[0]}) is too small for protocol '{protocol.name}' at x{scale}"
        )
    begin = time.perf_counter()
    sr = to_pixels(upscaler(to_tensor(lr, device)))
    seconds = time.perf_counter() - begin
    if sr.shape != hr.shape:
        raise DataError(f"'{name}': the model made {sr.shape[1]}x{sr.shape[0]}, not {hr.shape[1]}x{hr.shape[0]}")
    compared = protocol.apply(sr, hr, scale)
    return ImageScore(name, {key: float(metric(*compared)) for key, metric in metrics.items()}, seconds, sr)


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

    done(text) is called after each model's each picture.
    """
    upscalers = {
        name: make_upscaler(loaded.net, loaded.model, scale, wrappers=wrappers) for name, loaded in models.items()
    }
    found = score_pairs(
        upscalers, pairs, scale, metrics, protocol, device=device, done=lambda name: done(f"{name} x{scale} {set_name}")
    )
    return [row_of(name + mark(wrappers), models[name], set_name, found[name], protocol) for name in models]


def score_pairs(
    upscalers: Mapping[str, Upscale],
    pairs: PairSequence,
    scale: int,
    metrics: Metrics,
    protocol: Protocol,
    *,
    device: torch.device,
    done: Callable[[str], None] = lambda name: None,
) -> dict[str, list[ImageScore]]:
    """The score of each upscaler, by name, on each pair, without the pixels; each LR picture is made once for all.

    done(name) is called after each upscaler's each picture. Pictures that are too small are left out, and named in
    the log. Raises DataError as `score_image` and `aligned`, and where all are too small.
    """
    found: dict[str, list[ImageScore]] = {name: [] for name in upscalers}
    small: TooSmall | None = None
    for i in range(len(pairs) if upscalers else 0):
        pair = pairs[i]
        try:
            lr, hr = aligned(pair, scale)
            for name, upscaler in upscalers.items():
                result = score_image(upscaler, lr, hr, scale, metrics, protocol, device=device, name=pair.name)
                found[name].append(replace(result, sr=hr[:0]))  # the pixels are not needed any more
                done(name)
        except TooSmall as error:
            small = error
            LOG.warning(
                "%s (%s): %s", pair.name, size(pair.hr), f"left out, too small for '{protocol.name}' at x{scale}"
            )
    if small and not any(found.values()):
        raise small
    return found


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


def mean(values: Iterable[float]) -> float:
    """The tables' average: the plain mean over images, of dB too."""
    values = list(values)
    return math.fsum(values) / len(values) if all(map(math.isfinite, values)) else float(np.mean(values))
