"""What went wrong in tables of scores, from public trackers: one test a complaint."""

import warnings

from srkit.evaluate.published import beside
from srkit.evaluate.statistics import interval
from srkit.evaluate.table import Results, Score, SetInfo


def test_figures_of_rgb_and_of_luma_are_not_set_side_by_side():
    """xinntao/ESRGAN#46: a PSNR on RGB was compared with the paper's on Y: 18.57 and 20.35 dB of the same picture."""
    scores = [Score("mine", 4, "set14", f"{i}", "psnr", "rgb", 26.0) for i in range(14)]
    rows, notices = beside(Results(scores, sets=[SetInfo("set14", 4, 14)]))
    assert not rows
    assert notices == ["no published figures by protocol 'rgb'; there are some by y, y-uint8"]


def test_an_interval_of_equal_scores_is_that_score():
    """scipy/scipy#14351: the bootstrap of equal values was an error, then NaN with a warning."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = interval([37.5] * 35)
    assert (found.low, found.high) == (37.5, 37.5)
    nearly = interval([37.5 + i * 1e-15 for i in range(35)])
    assert 37.4999 < nearly.low <= nearly.high < 37.5001
