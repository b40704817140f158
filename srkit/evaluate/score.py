"""Score an upscaler on a dataset: upscale, round to 8 bits, apply the protocol, measure, average."""

import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from srkit.components import Pair, PairSequence
from srkit.data.pairs import TooSmall, aligned, cropped, shallow, size
from srkit.errors import DataError, PluginError, SrkitError, naming, one_line
from srkit.evaluate.protocol import Protocol
from srkit.evaluate.report import Row
from srkit.evaluate.statistics import mean
from srkit.files import write_atomically
from srkit.images import LOG
from srkit.imresize import imresize
from srkit.nets import Loaded
from srkit.plugins import Registry
from srkit.upscale.wrap import Upscale, to_pixels, to_tensor

Metrics = Mapping[str, Callable[[np.ndarray, np.ndarray], float]]


@dataclass(frozen=True)
class ImageScore:
    """One picture: its scores by metric, the seconds its upscaling took, and the pixels (uint8 H,W,3)."""

    name: str
    scores: dict[str, float]
    seconds: float
    sr: np.ndarray


class Prepared:
    """A picture of a set, made ready once for all models.

    Attributes:
        hr: uint8 H,W,3, cropped at the bottom and right to a multiple of the scale; None where there is none.

    made: the file that LR is kept in where it is made, or None.

    Raises TooSmall, or DataError where a given LR is not HR's size divided by the scale, to the pixel: what was cropped
    where is then anybody's guess.
    """

    def __init__(self, pair: Pair, scale: int, protocol: Protocol, made: Path | None = None):
        self.name, self.scale, self.protocol, self.given, self.made = pair.name, scale, protocol, pair.lr, made
        self.hr: np.ndarray | None = None
        if pair.hr is None:  # a set without HR, for metrics that need none
            return
        if pair.lr is None:
            self.hr = cropped(pair, scale)
        else:
            self.given, self.hr = aligned(pair, scale)
            if self.hr.shape != pair.hr.shape:
                raise DataError(
                    f"'{pair.name}': HR is {size(pair.hr)}, and LR {size(pair.lr)} times {scale} is {size(self.hr)}; "
                    f"crop HR to that as LR was made, or leave LR out to have it made"
                )
        check_size(pair.name, self.hr, scale, protocol)

    @cached_property
    def lr(self) -> np.ndarray:
        """uint8 h,w,3; made when it is first asked for."""
        if self.given is not None:
            return self.given
        if self.hr is None:
            raise DataError(f"'{self.name}' has neither LR nor HR, so no model can be scored on it")
        if self.scale == 1:
            raise DataError(
                f"'{self.name}' has no LR, and at x1 one made of HR is HR itself: give pairs, as "
                "'srkit data degrade' makes them"
            )
        if self.made is None:
            return imresize(self.hr, 1 / self.scale)
        height, width = self.hr.shape[0] // self.scale, self.hr.shape[1] // self.scale
        with suppress(OSError, SyntaxError, ValueError), Image.open(self.made) as image:
            if (image.size, image.mode) == ((width, height), "RGB"):
                return np.asarray(image)
        lr = imresize(self.hr, 1 / self.scale)
        with suppress(OSError):  # it is made again the next time
            self.made.parent.mkdir(parents=True, exist_ok=True)
            write_atomically(self.made, partial(Image.fromarray(lr).save, format="png", compress_level=1))
        return lr

    @cached_property
    def reference(self) -> np.ndarray | None:
        """HR as metrics see it."""
        return None if self.hr is None else self.protocol.one(self.hr, self.scale)


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
    """Upscale `lr`, uint8 or uint16, and score it against `hr`, uint8, both H,W,3 and aligned.

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


def build_metric(registry: Registry, name: str, options: Mapping[str, Any], device: torch.device) -> Any:
    """A metric, on the device where it is something that can be moved to one."""
    metric = registry.choose("metric", name, options).build()
    return metric.to(device) if callable(getattr(metric, "to", None)) else metric


def check_size(name: str, hr: np.ndarray, scale: int, protocol: Protocol) -> None:
    """Raises TooSmall for a picture that the protocol's border leaves nothing of."""
    if min(hr.shape[:2]) <= 2 * protocol.border(scale):
        raise TooSmall(
            f"'{name}' ({hr.shape[1]}x{hr.shape[0]}) is too small for protocol '{protocol.name}' at x{scale}"
        )


def measured(key: str, metric: Callable[[np.ndarray, Any], float], sr: np.ndarray, hr: np.ndarray | None) -> float:
    """Raises PluginError, naming the metric, where it fails."""
    try:
        return float(metric(sr, hr))
    except SrkitError:
        raise
    except Exception as error:
        raise PluginError(f"metric '{key}' fails: {one_line(error)}") from error


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
            prepared = Prepared(pair, scale, protocol)
            lr, hr = prepared.lr, shallow(pair.hr)[: prepared.lr.shape[0] * scale, : prepared.lr.shape[1] * scale]
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
