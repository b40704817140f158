"""The example of a command: installed as pip would leave it, listed, checked, run, and wrong in one line."""

import json
import re
from pathlib import Path

import pytest
from PIL import Image

from srkit import load_plugins
from srkit.testing import check

EXAMPLE = Path(__file__).parents[2] / "plugins/examples/srkit-agree"


@pytest.fixture(autouse=True)
def installed(install):
    install("srkit-agree", (EXAMPLE / "srkit_agree.py").read_text())


def test_it_is_listed_and_keeps_the_contract(run_srkit):
    code, out, _ = run_srkit("--help")
    assert code == 0
    assert re.search(r"agree +Compare a result, made small again, with its picture\s", out)
    faults = [finding for finding in check(load_plugins(), "command", "agree") if finding.outcome == "fault"]
    # the licence is in pyproject.toml, which the fixture's distribution has not
    assert [finding.check for finding in faults] == ["it says what it is and under which licence"]


def test_it_compares_a_result_with_its_picture(run_srkit, photo):
    Image.fromarray(photo[:30, :40]).save("small.png")
    assert run_srkit("upscale", "small.png", "--model", "bicubic", "--scale", 3, "-o", "large.png")[0] == 0
    code, out, _ = run_srkit("agree", "small.png", "large.png", "--json")
    assert code == 0
    told = json.loads(out)
    assert told["scale"] == 3
    assert 0 < told["mean"] < 3
    code, out, _ = run_srkit("agree", "small.png", "small.png")
    assert (code, out) == (0, "x1: 0.00 levels in the mean, at most 0\n")


def test_what_is_wrong_is_one_line(run_srkit, photo):
    Image.fromarray(photo[:30, :40]).save("small.png")
    Image.fromarray(photo[:31, :40]).save("other.png")
    code, _, err = run_srkit("agree", "small.png", "other.png")
    assert (code, err) == (2, "srkit: 'other.png' has 40x31 pixels, no whole multiple of 40x30\n")
    code, _, err = run_srkit("agree", "small.png", "none.png")
    assert code != 0
    assert len(err.splitlines()) == 1
