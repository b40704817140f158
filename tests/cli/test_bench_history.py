"""`srkit bench`: intervals, quoted figures, LaTeX, requirements, and two tables compared."""

import csv
import io
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from srkit.evaluate.table import MetricInfo, Results, Score, SetInfo

WORDS = ("bench", "--models", "bicubic,nearest", "--scales", "2", "--metrics", "psnr")


@pytest.fixture
def photographs(tmp_path: Path) -> Path:
    """Six small pictures as a set: one more than the fewest that can be significant."""
    from PIL import Image

    rng = np.random.default_rng(0)
    folder = tmp_path / "photos"
    folder.mkdir()
    for i in range(6):
        smooth = Image.fromarray(rng.integers(0, 256, (6, 6, 3), dtype=np.uint8)).resize((24, 24), 3)
        smooth.save(folder / f"{i}.png")
    return folder


def table(by: float = 0.0) -> Results:
    """Two models on fourteen pictures; one of them moved."""
    rng = np.random.default_rng(4)
    scores = [
        Score(model, 2, "set14", f"{i:02}", "psnr", "y", 30 + i / 7 + float(rng.normal(0, 0.1)))
        for model in ("edsr", "rcan")
        for i in range(14)
    ]
    moved = [
        replace(s, value=s.value + by + float(rng.normal(0, 0.01))) if by and s.model == "rcan" else s for s in scores
    ]
    return Results(moved, metrics=[MetricInfo("psnr", unit="dB", digits=4)], sets=[SetInfo("set14", 2, 14, "ab" * 32)])


def written(name: str, results: Results) -> Path:
    file = Path(name)
    file.write_text(results.to_json())
    return file


def test_intervals_in_every_form_that_has_them(run_srkit, photographs):
    words = [*WORDS, "--sets", photographs, "--intervals"]
    code, out, _ = run_srkit(*words, "--json")
    assert code == 0
    rows = json.loads(out)["rows"]
    assert all(row["psnr_low"] < row["psnr"] < row["psnr_high"] for row in rows)
    assert "BCa, 9999 resamples" in json.loads(out)["interval"]
    row = rows[0]
    shown = f"{row['psnr']:.4f} [{row['psnr_low']:.2f}, {row['psnr_high']:.2f}]"
    for form in ([], ["--markdown"]):
        _, text, _ = run_srkit(*words, *form)
        assert shown in text
        assert "in brackets: 95 % bootstrap interval" in text
    _, text, _ = run_srkit(*words, "--csv")
    assert float(next(csv.DictReader(io.StringIO(text)))["psnr_low"]) == pytest.approx(row["psnr_low"])
    code, _, err = run_srkit(*words, "--latex")
    assert (code, "--latex has no intervals" in err) == (2, True)


def test_latex(run_srkit, photographs):
    code, out, _ = run_srkit(*WORDS, "--sets", photographs, "--latex")
    assert code == 0
    assert r"\toprule" in out
    assert "photos (6 pictures)" in out


def test_published_figures_are_quoted_and_kept_out_of_the_scores(run_srkit, shared):
    words = [*WORDS, "--sets", "set5", "--root", shared / "bench", "--published"]
    code, out, _ = run_srkit(*words, "--json")
    assert code == 0
    read = json.loads(out)
    assert (
        {score["model"] for score in read["scores"]} == {row["model"] for row in read["rows"]} == {"bicubic", "nearest"}
    )
    (vdsr,) = [each for each in read["published"] if each["method"] == "VDSR"]
    assert (vdsr["figures"]["psnr"], vdsr["documents"]) == ("37.53", ["DRRN", "FALSR", "AdderNet"])
    _, text, _ = run_srkit(*words)
    assert "VDSR (quoted: DRRN, FALSR, AdderNet)" in text
    assert "[FALSR] Chu et al." in text
    _, text, err = run_srkit(*words, "--protocol", "rgb")
    assert "quoted" not in text
    assert "no published figures by protocol 'rgb'" in err


def test_requirements_decide_the_exit_code(run_srkit, photographs):
    words = [*WORDS, "--sets", photographs]
    code, out, _ = run_srkit(*words, "--json")
    figure = json.loads(out)["rows"][0]["psnr"]
    assert run_srkit(*words, "--require", f"bicubic:photos:x2:psnr>={figure - 0.01}")[0] == 0
    code, out, err = run_srkit(
        *words, "--require", f"bicubic:photos:x2:psnr>={figure + 0.25}", "--require", "*:*:x2:psnr<=99"
    )
    assert code == 1
    assert "bicubic" in out, "the table is printed all the same"
    assert "0.2500 dB below" in err
    assert err.splitlines()[-1].endswith("requirements are missed by 1 figure")
    code, _, err = run_srkit(*words, "--require", "bicubik:photos:x2:psnr>=30")
    assert code == 2
    assert "did you mean 'bicubic:photos:x2:psnr'" in err
    code, out, err = run_srkit(*words, "--require", "bicubic psnr>30")
    assert (code, out) == (2, "")
    assert "is no requirement" in err


def test_the_planted_change_and_nothing_else(run_srkit):
    old, new = written("old.json", table()), written("new.json", table(by=-0.05))
    code, out, _ = run_srkit("bench", "--compare", old, new)
    assert code == 0
    rows = {line.split()[0]: line for line in out.splitlines() if "set14" in line}
    assert "significantly worse" in rows["rcan"]
    assert "identical" in rows["edsr"]
    assert "0 significantly better, 1 significantly worse, 1 identical" in out
    code, out, _ = run_srkit("bench", "--compare", old, new, "--json")
    verdicts = {change["model"]: change["verdict"] for change in json.loads(out)["changes"]}
    assert (code, verdicts) == (0, {"rcan": "significantly worse", "edsr": "identical"})


def test_tables_that_cannot_be_compared_are_refused(run_srkit, tmp_path):
    old = written("old.json", table())
    other = written("other.json", replace(table(), sets=[SetInfo("set14", 2, 14, "cd" * 32)]))
    code, _, err = run_srkit("bench", "--compare", old, other)
    assert code == 2
    assert "not measured on the same pictures: set14 x2 (content abababababab and cdcdcdcdcdcd)" in err
    assert run_srkit("bench", "--compare", old, tmp_path / "none.json")[0] == 2
    assert run_srkit("bench", "--compare", old, other, "--latex")[0] == 2
    (tmp_path / "bad.json").write_text("{}")
    assert run_srkit("bench", "--compare", old, tmp_path / "bad.json")[0] == 1


def test_what_bench_writes_is_what_compare_reads(run_srkit, photographs):
    _, out, _ = run_srkit(*WORDS, "--sets", photographs, "--json")
    Path("a.json").write_text(out)
    code, out, _ = run_srkit("bench", "--compare", "a.json", "a.json")
    assert code == 0
    assert out.count("identical") == 3
