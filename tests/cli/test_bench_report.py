"""`srkit bench --cost` and `--report`: a second table, kept on this machine, and a page that is one file."""

import base64
import io
import json
import re
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from srkit import imresize
from srkit.evaluate.table import Cost, read_results
from srkit.weights import alone

WORDS = ["bench", "--sets", "samples", "--scales", "2", "--cost", "--cost-sizes", "16x12"]


def test_costs_are_measured_once_and_a_page_has_the_crops_of_the_models(run_srkit, tmp_path, monkeypatch, photo):
    words = [*WORDS, "--models", "nearest", "--results", "kept"]
    code, out, err = run_srkit(*words)
    assert code == 0, err
    assert out.index("PSNR") < out.index("memory")
    assert re.search(r"^ nearest +x2 +0 +- +[\d.]+ ± [\d.e-]+ m?s +\d+ MB", out, re.M)
    assert "threads" in out

    monkeypatch.setattr(alone, "measure_alone", lambda request: pytest.fail("measured again"))
    code, out, err = run_srkit(*words, "--report", "page", "--json")
    assert code == 0, err
    assert "report: page/index.html" in err
    table = read_results(tmp_path / "page" / "table.json")
    assert [cost.name for cost in table.costs] == ["parameters", "memory", "latency", "latency_spread"]
    assert [cost["name"] for cost in json.loads(out)["costs"]] == [cost.name for cost in table.costs]

    page = (tmp_path / "page" / "index.html").read_text()
    assert [re.sub(r", at x=.*", "", title) for title in re.findall(r"<h3>(.*?)</h3>", page)] == [
        "1. samples x2 coffee: nearest has its worst PSNR; where it is farthest from HR",
        "2. samples x2 chelsea: nearest has its best PSNR; where it is farthest from HR",
    ]
    first = page.partition("<article")[2].partition("</article>")[0]
    shown = [
        np.asarray(Image.open(io.BytesIO(base64.b64decode(data))).convert("RGB"))
        for data in re.findall(r"base64,([\w+/=]+)", first)
    ]
    hr, lr, sr = shown
    assert (hr.shape, lr.shape, sr.shape) == ((64, 64, 3), (32, 32, 3), (64, 64, 3))
    assert np.array_equal(sr, lr.repeat(2, axis=0).repeat(2, axis=1)), "what the model makes of the LR that is shown"
    assert np.abs(imresize(hr, 0.5).astype(int) - lr)[4:-4, 4:-4].max() <= 1, "and the LR is that of the HR"


def test_a_cost_that_cannot_be_measured_is_a_row_and_exit_code_1(run_srkit, monkeypatch):
    asked = []

    def fails(request):
        asked.append(request)
        row = Cost(request.model, request.scale, "parameters", 0.0)
        return [row, replace(row, name="latency", value=None, size="16x12", error="needs too much memory")]

    monkeypatch.setattr(alone, "measure_alone", fails)
    for _ in range(2):  # it is tried again
        code, out, err = run_srkit(*WORDS, "--models", "bicubic", "--no-cache")
        assert code == 1
        assert "16x12: needs too much memory" in out
        assert "srkit: cost of bicubic x2 at 16x12: needs too much memory" in err
        assert "1 of 2 costs could not be measured" in err
    assert [(one.word, list(one.sizes)) for one in asked] == [("bicubic", [(16, 12)])] * 2


def test_wrong_words_get_one_line_before_any_work(run_srkit, tmp_path):
    (tmp_path / "file").write_text("")
    for words, told in ((["--cost-sizes", "large"], "write 1280x720"), (["--report", "file/x"], "cannot write into")):
        code, _, err = run_srkit("bench", *words)
        assert (code, err.count("\n")) == (2, 1), err
        assert told in err
