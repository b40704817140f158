"""How sure a mean over pictures is, and whether two models differ: bootstrap intervals, Wilcoxon tests, Holm.

The pictures of a set are the sample. What is computed is scipy's, with a fixed seed, so that the same scores always
give the same figures.
"""

import math
import warnings
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np

from srkit.evaluate.table import MetricInfo, Results

CONFIDENCE = 0.95
ALPHA = 0.05
RESAMPLES = 9999
SEED = 0
ROUNDING = 1e-12  # relative: a smaller spread is that of floating point numbers, not of pictures
FEWEST = 5  # pictures: of fewer, resampling says next to nothing
METHOD = f"95 % bootstrap interval of the mean over pictures (BCa, {RESAMPLES} resamples, seed {SEED})"
TEST = "paired Wilcoxon signed-rank test, two-sided, zero differences left out; p corrected by Holm"

Key = TypeVar("Key", bound=Hashable)


@dataclass(frozen=True)
class Interval:
    """A 95 % interval of a mean over pictures.

    Attributes:
        low, high: in the metric's unit; None where there is no interval, and `note` says why.
        images: how many pictures the mean is of.
    """

    low: float | None
    high: float | None
    images: int
    note: str = ""


@dataclass(frozen=True)
class Difference:
    """Two models, or one model at two times, on the same pictures: the second minus the first.

    Attributes:
        mean: of the differences, in the metric's unit; None where one of the two has an infinite score.
        interval: of that mean.
        p: of the Wilcoxon test, not corrected; 1 where all pictures score the same; None without a picture.
        smallest_p: that so many pictures with a difference can give: above 0.05, nothing can be significant.
        direction: 1 where the second is higher by the test's ranks, -1 where it is lower, 0 where neither is. One far
            picture can give the mean the other sign.
        images: that both have; `differing`: those of them whose scores differ.
    """

    mean: float | None
    interval: Interval
    p: float | None
    smallest_p: float
    direction: int
    images: int
    differing: int


@dataclass(frozen=True)
class Standing:
    """Where a model stands among those of one column: one metric, set and scale.

    Attributes:
        mean: over the pictures.
        rank: 1 for the best; models that print the same figure share a rank. None where a picture has no score.
        p: of the difference to the best, corrected by Holm over the column; None for the best itself.
        significant: whether it differs from the best; None for the best itself.
        smallest_p: the smallest that `p` can be before the correction.
    """

    mean: float
    rank: int | None
    p: float | None = None
    significant: bool | None = None
    smallest_p: float = 0.0


def mean(values: Iterable[float]) -> float:
    """The tables' average: the plain mean over pictures, of dB too. NaN of nothing."""
    values = list(values)
    if not values:
        return math.nan
    return math.fsum(values) / len(values) if all(map(math.isfinite, values)) else float(np.mean(values))


def interval(values: Iterable[float]) -> Interval:
    """The bootstrap interval of the mean of one model's scores, one for each picture, in any order.

    Fewer than five pictures have none, and so have scores that are not finite (the PSNR of identical pictures is
    infinite). Where all scores are the same it is that score.
    """
    values = sorted(values)  # the seed then gives the same for any order of the pictures
    count = len(values)
    if not all(map(math.isfinite, values)):
        return Interval(None, None, count, "no interval: a score is not finite")
    if count < FEWEST:
        return Interval(None, None, count, f"no interval of fewer than {FEWEST} pictures")
    if values[-1] - values[0] <= ROUNDING * max(map(abs, values)):  # BCa divides by the spread
        return Interval(values[0], values[-1], count, "all pictures score the same")

    from scipy.stats import bootstrap

    found = bootstrap(
        (values,),
        np.mean,
        confidence_level=CONFIDENCE,
        n_resamples=RESAMPLES,
        method="BCa",
        random_state=np.random.default_rng(SEED),
    ).confidence_interval
    return Interval(float(found.low), float(found.high), count)


def difference(first: Mapping[str, float], second: Mapping[str, float]) -> Difference:
    """Compare two models' scores, by picture, on the pictures that both have.

    Two infinite scores are no difference. Scores that are not numbers are left out.
    """
    found = differences(first, second)
    moved = [value for value in found if value]
    average = mean(found)
    return Difference(
        mean=average if math.isfinite(average) else None,
        interval=interval(found),
        p=wilcoxon_p(moved) if found else None,
        smallest_p=smallest_p(len(moved)),
        direction=direction(moved),
        images=len(found),
        differing=len(moved),
    )


def differences(first: Mapping[str, float], second: Mapping[str, float]) -> list[float]:
    """The second minus the first, on each picture that both have a number for."""
    pairs = [(first[name], second[name]) for name in sorted(first) if name in second]
    return [0.0 if a == b else b - a for a, b in pairs if not (math.isnan(a) or math.isnan(b))]


def wilcoxon_p(moved: Sequence[float]) -> float:
    """The two-sided p of differences that are not zero; 1 where there are none."""
    if not moved:
        return 1.0

    from scipy.stats import wilcoxon

    with warnings.catch_warnings():  # equal differences of few pictures: the p is then approximate
        warnings.simplefilter("ignore")
        return float(wilcoxon(moved).pvalue)


def direction(moved: Sequence[float]) -> int:
    """The sign of the sum of the signed ranks, which the Wilcoxon test looks at."""
    if not moved:
        return 0

    from scipy.stats import rankdata

    return int(np.sign(np.sum(np.sign(moved) * rankdata(np.abs(moved)))))


def smallest_p(differing: int) -> float:
    """The smallest two-sided p that the test can give for so many differences: all of one sign."""
    return min(1.0, 2.0 ** (1 - differing))


def holm(found: Mapping[Key, float]) -> dict[Key, float]:
    """p values of several tests, corrected by Holm: the chance that any of those below 0.05 is wrong stays below 0.05.

    Source: Holm, A simple sequentially rejective multiple test procedure, 1979.
    """
    corrected: dict[Key, float] = {}
    largest = 0.0
    for i, key in enumerate(sorted(found, key=lambda key: found[key])):
        largest = max(largest, min(1.0, (len(found) - i) * found[key]))
        corrected[key] = largest
    return {key: corrected[key] for key in found}


def standings(
    results: Results, dataset: str, scale: int, metric: str, shown: Callable[[float], str] | None = None
) -> dict[str, Standing]:
    """The models of one column, by name: their means, ranks, and whether they differ from the best.

    A model that lacks a picture which another one has gets no rank: its mean is that of another set. Each of the others
    is tested against the best. shown: a mean as it is printed, by which ranks are given; by default with the metric's
    digits.
    """
    about = info(results, metric)
    show = shown or (lambda value: f"{value:.{about.digits}f}")
    scores: dict[str, dict[str, float]] = {}
    for score in results.scores:
        if (score.scale, score.dataset, score.metric) == (scale, dataset, metric) and score.value is not None:
            scores.setdefault(score.model, {})[score.image] = score.value
    pictures = {name for values in scores.values() for name in values}
    means = {model: mean(values.values()) for model, values in scores.items()}
    whole = [model for model, values in scores.items() if len(values) == len(pictures) and not math.isnan(means[model])]
    order = sorted(whole, key=lambda model: means[model], reverse=about.higher_is_better)
    if not order:
        return {model: Standing(means[model], None) for model in scores}
    moved = {model: [d for d in differences(scores[order[0]], scores[model]) if d] for model in order[1:]}
    corrected = holm({model: wilcoxon_p(values) for model, values in moved.items()})
    printed = list(dict.fromkeys(show(means[model]) for model in order))
    found = {}
    for model in scores:
        rank = printed.index(show(means[model])) + 1 if model in order else None
        p = corrected.get(model)
        significant = None if p is None else p < ALPHA
        least = smallest_p(len(moved[model])) if model in moved else 0.0
        found[model] = Standing(means[model], rank, p, significant, least)
    return found


def info(results: Results, metric: str) -> MetricInfo:
    """What is known of a metric; by default that higher is better."""
    return next((each for each in results.metrics if each.name == metric), MetricInfo(metric))
