"""Intervals and tests over pictures: scipy's figures, and what is said where there are none."""

import math
import random
from dataclasses import replace

import numpy as np
import pytest
from scipy import stats

from srkit.evaluate.statistics import difference, holm, interval, mean, smallest_p, standings
from srkit.evaluate.table import MetricInfo, Results, Score

RNG = np.random.default_rng(3)
SCORES = RNG.normal(32, 4, 14).tolist()


def table(scores: dict[str, list[float]], metric: str = "psnr", *, higher: bool = True) -> Results:
    """One set at x2, a list of scores for each model."""
    rows = [
        Score(model, 2, "set14", f"{i:02}", metric, "y", value)
        for model, values in scores.items()
        for i, value in enumerate(values)
    ]
    return Results(rows, metrics=[MetricInfo(metric, higher, "dB", 4)])


def test_the_interval_is_scipys():
    by_hand = stats.bootstrap(
        (sorted(SCORES),), np.mean, confidence_level=0.95, n_resamples=9999, method="BCa",
        random_state=np.random.default_rng(0),
    ).confidence_interval  # fmt: skip
    found = interval(SCORES)
    assert (found.low, found.high, found.images, found.note) == (by_hand.low, by_hand.high, 14, "")
    assert found.low < mean(SCORES) < found.high


def test_the_interval_does_not_depend_on_the_order_of_the_pictures():
    shuffled = random.Random(1).sample(SCORES, 14)
    assert shuffled != SCORES
    assert interval(shuffled) == interval(SCORES)


def test_where_there_is_no_interval_it_is_said():
    four, infinite = interval(SCORES[:4]), interval([*SCORES, math.inf])
    assert (four.low, four.high, four.note) == (None, None, "no interval of fewer than 5 pictures")
    assert (infinite.low, infinite.high, infinite.note) == (None, None, "no interval: a score is not finite")
    assert interval(SCORES[:5]).low is not None


def test_the_p_value_is_scipys():
    first = dict(enumerate(SCORES))
    second = {i: value + RNG.normal(0.3, 0.5) for i, value in first.items()}
    found = difference(first, second)
    assert found.p == stats.wilcoxon([second[i] for i in first], [first[i] for i in first]).pvalue
    assert found.mean == pytest.approx(mean(second.values()) - mean(first.values()))
    by_hand = stats.bootstrap(
        (sorted(second[i] - first[i] for i in first),), np.mean, random_state=np.random.default_rng(0)
    ).confidence_interval
    assert (found.interval.low, found.interval.high) == (by_hand.low, by_hand.high)


def test_zero_differences_are_left_out_as_wilcoxon_did():
    first = dict(enumerate(SCORES))
    second = {i: value if i < 5 else value + 0.1 + i / 100 for i, value in first.items()}
    found = difference(first, second)
    assert (found.images, found.differing, found.direction) == (14, 9, 1)
    assert found.p == found.smallest_p == 2 / 2**9
    same = difference(first, dict(first))
    assert (same.p, same.mean, same.differing, same.direction) == (1.0, 0.0, 0, 0)
    assert (same.interval.low, same.interval.high) == (0.0, 0.0)


def test_infinite_scores_are_ranked_and_have_no_mean_difference():
    first = dict(enumerate(SCORES))
    second = {i: value + 1 + i / 100 for i, value in first.items()} | {0: math.inf}
    found = difference(first, second)
    assert (found.mean, found.interval.low) == (None, None)
    assert found.p == found.smallest_p
    both = difference(first | {0: math.inf}, second)
    assert (both.differing, both.mean) == (13, pytest.approx(sum(1 + i / 100 for i in range(1, 14)) / 14))


def test_only_pictures_that_both_have_are_compared():
    found = difference({"a": 1.0, "b": 2.0, "c": math.nan}, {"b": 2.5, "c": 3.0, "d": 9.0})
    assert (found.images, found.mean) == (1, 0.5)


def test_five_pictures_cannot_be_significant():
    assert smallest_p(5) == 0.0625 == stats.wilcoxon([1, 2, 3, 4, 5]).pvalue
    assert smallest_p(6) < 0.05
    far = standings(table({"good": [40.0] * 5, "bad": [20.0, 21, 22, 23, 24]}), "set14", 2, "psnr")
    assert far["bad"].significant is False
    assert far["bad"].smallest_p == 0.0625


def test_holm_by_hand():
    """Holm's steps for 0.01, 0.02, 0.03, 0.04: times 4, 3, 2 and 1, and never below the one before."""
    assert holm({"b": 0.02, "a": 0.01, "d": 0.04, "c": 0.03}) == pytest.approx(
        {"b": 0.06, "a": 0.04, "d": 0.06, "c": 0.06}
    )
    assert holm({"x": 0.6, "y": 0.9}) == {"x": 1.0, "y": 1.0}
    assert holm({}) == {}


def test_standings_test_each_model_against_the_best():
    close = [value + RNG.normal(0, 0.2) for value in SCORES]
    worse = [value - 1 - i / 100 for i, value in enumerate(SCORES)]
    best = [value + 0.001 for value in SCORES]
    found = standings(table({"worse": worse, "best": best, "close": close}), "set14", 2, "psnr")
    order = sorted(found, key=lambda model: found[model].rank)
    assert order[2] == "worse"
    top, second = (best, close) if order[0] == "best" else (close, best)
    by_hand = [stats.wilcoxon(np.subtract(other, top)).pvalue for other in (second, worse)]
    corrected = min(1, 2 * min(by_hand)), max(2 * min(by_hand), max(by_hand))
    assert sorted([found["worse"].p, found[order[1]].p]) == pytest.approx(corrected)
    assert (found[order[0]].significant, found[order[1]].significant, found["worse"].significant) == (None, False, True)


def test_lower_is_better_where_the_metric_says_so():
    results = table({"a": [0.1] * 14, "b": [0.2] * 14}, "lpips", higher=False)
    assert standings(results, "set14", 2, "lpips")["a"].rank == 1


def test_models_that_print_the_same_share_a_rank():
    results = table({"a": SCORES, "b": [value + 1e-7 for value in SCORES], "c": [value - 1 for value in SCORES]})
    assert [each.rank for each in standings(results, "set14", 2, "psnr").values()] == [1, 1, 2]


def test_a_model_that_lacks_a_picture_has_no_rank():
    results = table({"whole": SCORES, "part": [value + 9 for value in SCORES]})
    rows = [replace(s, value=None, error="out of memory") if (s.model, s.image) == ("part", "03") else s
            for s in results.scores]  # fmt: skip
    found = standings(replace(results, scores=rows), "set14", 2, "psnr")
    assert (found["whole"].rank, found["part"].rank, found["part"].p) == (1, None, None)
