"""Two benchmarks compared, and requirements on one."""

import json
from dataclasses import replace

import numpy as np
import pytest

from srkit.errors import OptionError, UsageError
from srkit.evaluate.history import compare, summary, to_cost_table, to_table
from srkit.evaluate.require import missed, requirement
from srkit.evaluate.table import Cost, MetricInfo, ModelInfo, Results, Score, SetInfo

SETS = {"set5": 5, "set14": 14, "b100": 100}
MODELS = ("bicubic", "edsr-small", "edsr", "rcan")


def benchmark() -> Results:
    """Four models on three sets at two scales by two metrics."""
    rng = np.random.default_rng(5)
    scores, costs = [], []
    for scale in (2, 3):
        for name, images in SETS.items():
            hard = rng.normal(32, 4, images)
            for i, model in enumerate(MODELS):
                for k, value in enumerate(hard + i / 3 + rng.normal(0, 0.2, images)):
                    made = (model, scale, name, f"{k:03}")
                    scores.append(Score(*made, "psnr", "y", float(value), weights="old"))
                    scores.append(Score(*made, "lpips", "y", float(np.exp(-value / 20)), weights="old"))
        costs += [Cost(model, scale, "parameters", 1e5) for model in MODELS]
        costs += [Cost(model, scale, "latency", 0.5, size="1280x720", conditions={"threads": "2"}) for model in MODELS]
        costs += [Cost(model, scale, "latency_spread", 0.01, size="1280x720") for model in MODELS]
    return Results(
        scores,
        costs,
        [MetricInfo("psnr", unit="dB", digits=4), MetricInfo("lpips", higher_is_better=False)],
        sets=[SetInfo(name, scale, images, f"{name}{scale}" * 9) for name, images in SETS.items() for scale in (2, 3)],
        about={"srkit": "0.2.0"},
    )


def changed(results: Results, model: str, dataset: str, scale: int, by: float, noise: float = 0.05) -> Results:
    """The same benchmark with one model's PSNR on one set moved, each picture's a little differently."""
    rng = np.random.default_rng(6)
    return replace(results, scores=[
        replace(s, value=s.value + by + rng.normal(0, noise), weights="new")
        if (s.model, s.dataset, s.scale, s.metric) == (model, dataset, scale, "psnr") else s
        for s in results.scores
    ])  # fmt: skip


def verdicts(results: Results, other: Results) -> dict[tuple, str]:
    found = compare(results, other).changes
    return {(c.model, c.dataset, c.scale, c.metric): c.verdict for c in found}


def test_the_planted_change_and_nothing_else_is_significant():
    old = benchmark()
    found = verdicts(old, changed(old, "edsr", "set14", 3, by=-0.1))
    assert found.pop(("edsr", "set14", 3, "psnr")) == "significantly worse"
    assert set(found.values()) == {"identical"}
    assert len(found) == 2 * 3 * 4 * 2 - 1


def test_a_planted_change_is_found_among_runs_that_all_differ():
    """Another training moves each picture a little, this way and that; one model really gets better."""
    old = benchmark()
    rng = np.random.default_rng(8)
    noisy = [replace(s, value=s.value + rng.normal(0, 0.02)) if s.metric == "psnr" else s for s in old.scores]
    new = changed(replace(old, scores=noisy), "rcan", "b100", 2, by=0.1)
    found = verdicts(old, new)
    significant = {place for place, verdict in found.items() if verdict.startswith("significantly")}
    assert significant == {("rcan", "b100", 2, "psnr")}
    assert found["rcan", "b100", 2, "psnr"] == "significantly better"


def test_five_pictures_are_said_to_be_too_few():
    old = benchmark()
    (found,) = [c for c in compare(old, changed(old, "edsr", "set5", 2, by=-5)).changes if c.verdict != "identical"]
    assert found.verdict == "not significant"
    assert found.note == "5 pictures with a difference cannot give p below 0.062, other weights"


def test_lower_is_better_where_the_metric_says_so():
    old = benchmark()
    lower = [replace(s, value=s.value - 0.01) if (s.model, s.metric) == ("edsr", "lpips") else s for s in old.scores]
    found = verdicts(old, replace(old, scores=lower))
    assert found["edsr", "b100", 2, "lpips"] == "significantly better"


def test_what_only_one_has_is_said():
    old = benchmark()
    new = replace(old, scores=[
        replace(s, model="swinir") if s.model == "rcan"
        else replace(s, value=None, error="out of memory") if (s.model, s.dataset) == ("edsr", "b100")
        else replace(s, value=None, error="corrupt") if (s.model, s.dataset, s.image) == ("bicubic", "set14", "003")
        else s
        for s in old.scores
    ])  # fmt: skip
    found = verdicts(old, new)
    assert found["rcan", "set14", 2, "psnr"] == "only in the old"
    assert found["swinir", "set14", 2, "psnr"] == "only in the new"
    assert found["edsr", "b100", 2, "psnr"] == "only in the old"
    (note,) = {c.note for c in compare(old, new).changes if (c.model, c.dataset) == ("bicubic", "set14")}
    assert note == "1 of 14 pictures have no score in one of the two"


def test_other_pictures_and_other_protocols_are_refused():
    old = benchmark()
    sets = [replace(one, content="0" * 64, images=99) if one.name == "b100" else one for one in old.sets]
    with pytest.raises(UsageError, match=r"same pictures: b100 x2 \(content b100.* and 0{12}, 100 and 99 pictures\)"):
        compare(old, replace(old, sets=sets))
    lr = [replace(one, content="1" * 64, lr_maker="Pillow bicubic") if one.name == "set5" else one for one in old.sets]
    with pytest.raises(UsageError, match="LR made by unknown and by Pillow bicubic"):
        compare(old, replace(old, sets=lr))
    rgb = replace(old, scores=[replace(s, protocol="rgb") for s in old.scores])
    with pytest.raises(UsageError, match=r"a\.json is by protocol 'y' and b\.json by 'rgb'"):
        compare(old, rgb, ("a.json", "b.json"))
    with pytest.raises(UsageError, match="no model with scores on the same set in common"):
        compare(old, replace(old, scores=[replace(s, model=s.model + "-2") for s in old.scores]))


def test_a_set_that_only_one_has_is_no_reason_to_refuse():
    old = benchmark()
    less = replace(
        old, scores=[s for s in old.scores if s.dataset != "b100"], sets=[s for s in old.sets if s.name != "b100"]
    )
    assert verdicts(old, less)["edsr", "b100", 2, "psnr"] == "only in the old"


def test_costs_are_judged_by_their_spread_and_conditions():
    old = benchmark()
    new = {
        ("bicubic", "latency"): {"value": 0.505},
        ("edsr", "latency"): {"value": 0.6},
        ("rcan", "latency"): {"value": 0.3, "conditions": {"threads": "8"}},
        ("edsr", "parameters"): {"value": 2e5},
    }
    costs = [replace(c, **new.get((c.model, c.name), {})) for c in old.costs]
    comparison = compare(old, replace(old, costs=costs))
    found = {(c.model, c.name): (c.verdict, c.note) for c in comparison.costs if c.scale == 2}
    assert found["bicubic", "latency"] == ("within the spread", "")
    assert found["edsr", "latency"] == ("more", "")
    assert found["rcan", "latency"] == ("other conditions", "threads: 2 and 8")
    assert found["edsr", "parameters"] == ("more", "")
    assert found["rcan", "parameters"] == ("identical", "")
    _, cells = to_cost_table(comparison)
    assert ["edsr", "x2", "parameters", "", "100,000", "200,000", "+100.0 %", "more", ""] in cells


def test_another_precision_is_said():
    old = replace(benchmark(), about={"precision": "fp32", "torch": "2.7"})
    comparison = compare(old, replace(old, about={"precision": "bf16", "torch": "2.7", "device": "cpu"}))
    assert summary(comparison).splitlines()[-1] == "measured under other conditions: precision fp32 and bf16"
    assert json.loads(comparison.to_json())["about"]["conditions"] == {"precision": ["fp32", "bf16"]}


def test_the_comparison_as_table_and_json():
    old = benchmark()
    new = changed(old, "edsr", "set14", 3, by=-0.1)
    comparison = compare(old, new, ("old.json", "new.json"))
    headings, cells = to_table(new, comparison)
    (row,) = [dict(zip(headings, line, strict=True)) for line in cells if line[:4] == ["edsr", "x3", "set14", "psnr"]]
    low, high = map(float, row["95 % interval"].strip("[]").split(", "))
    assert -0.15 < low < float(row["difference"]) < high < -0.05
    assert row["verdict"] == "significantly worse"
    assert summary(comparison) == "0 significantly better, 1 significantly worse, 47 identical"
    read = json.loads(comparison.to_json())
    (change,) = [c for c in read["changes"] if c["verdict"] != "identical"]
    assert change["low"] < change["difference"] < change["high"] < 0
    assert change["p"] < 0.05
    assert (read["about"]["old"], read["about"]["level"]) == ("old.json", 0.05)


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("edsr-small:set5:x2:psnr>=37.2", ("edsr-small", "set5", 2, "psnr", ">=", 37.2)),
        ("edsr : set5 : x4 : lpips:net=vgg <= 0.3", ("edsr", "set5", 4, "lpips:net=vgg", "<=", 0.3)),
        ("hf:me/net:my set:x2:psnr>=30", ("hf:me/net", "myset", 2, "psnr", ">=", 30.0)),
        ("edsr:x2:parameters<=1.4e6", ("edsr", "", 2, "parameters", "<=", 1.4e6)),
        ("edsr:x2:latency@1280x720<=0.2", ("edsr", "", 2, "latency@1280x720", "<=", 0.2)),
    ],
)
def test_a_requirement_is_read(text, parts):
    found = requirement(text)
    assert (found.model, found.dataset, found.scale, found.name, found.operator, found.bound) == parts


@pytest.mark.parametrize(
    "text", ["", "psnr>=3", "edsr:set5:2:psnr>=3", "edsr:set5:x2:psnr>3", "edsr:set5:x2:psnr>=high", "edsr:x2:psnr>=3",
             "edsr:set5:x2:psnr=>3", "edsr:set5:x2:psnr>=nan"],
)  # fmt: skip
def test_what_is_no_requirement_is_wrong_use(text):
    with pytest.raises(OptionError, match="requirement"):
        requirement(text)


def test_requirements_met_and_missed():
    results = Results(
        [
            Score("edsr", 2, "set5", "baby", "psnr", "y", 37.0),
            Score("edsr", 2, "set5", "bird", "psnr", "y", 38.0),
            Score("rcan", 2, "set5", "baby", "psnr", "y", 39.0),
            Score("rcan", 2, "set5", "bird", "psnr", "y", None, error="out of memory"),
            Score("odd", 2, "", "", "", "y", None, error="no such file"),
        ],
        [Cost("edsr", 2, "parameters", 1369859.0), Cost("edsr", 2, "memory", None, error="no GPU")],
        [MetricInfo("psnr", unit="dB", digits=4)],
    )

    def lines(*texts: str) -> list[str]:
        return missed([requirement(text) for text in texts], results)

    assert lines("edsr:set5:x2:psnr>=37.5", "edsr:set5:x2:psnr<=37.5", "edsr:x2:parameters<=1.4e6") == []
    assert lines("edsr:set5:x2:psnr>=37.6") == ["edsr:set5:x2:psnr is 37.5000 dB, 0.1000 dB below 37.6"]
    assert lines("edsr:set5:x2:psnr>=37.500001") == ["edsr:set5:x2:psnr is 37.5 dB, 1e-06 dB below 37.500001"]
    assert lines("edsr:x2:parameters<=1000000") == ["edsr:x2:parameters is 1,369,859, 369,859 above 1000000"]
    assert "has no score (bird: out of memory)" in lines("rcan:set5:x2:psnr>=1")[0]
    assert "has no score (no such file)" in lines("odd:set5:x2:psnr>=1")[0]
    assert "was not measured (no GPU)" in lines("edsr:x2:memory<=1")[0]
    assert len(lines("*:set5:x2:psnr>=37.6")) == 3
    for text in ("edsr-x:set5:x2:psnr>=1", "edsr:set6:x2:psnr>=1", "edsr:set5:x3:psnr>=1", "edsr:set5:x2:ssim>=1"):
        with pytest.raises(UsageError, match=r"nothing that was measured; did you mean 'edsr:set5:x2:psnr'"):
            lines(text)
    known = replace(results, costs=[], models=[ModelInfo("edsr", 2, parameters=99)])
    assert missed([requirement("edsr:x2:parameters<=98")], known) == ["edsr:x2:parameters is 99, 1 above 98"]
    with pytest.raises(UsageError, match="edsr:x2:memory"):
        lines("edsr:x2:latency<=1")
