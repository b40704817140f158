"""The LaTeX table: what is bold, underlined and marked, names that are no LaTeX, and that it compiles."""

import re
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest

from srkit.evaluate.latex import escaped, to_latex
from srkit.evaluate.published import beside
from srkit.evaluate.table import MetricInfo, Results, Score, SetInfo, fingerprint

ODD = "a_b & 50% #1 {x} ~^\\ $\"'`<-->[y]"


def results() -> Results:
    """Three models, the best two hardly apart, on fourteen pictures; one model lacks a picture."""
    rng = np.random.default_rng(2)
    hard = rng.normal(30, 3, 14)
    near = np.where(np.arange(14) % 2, 0.02, -0.021) * (1 + np.arange(14) / 20)
    means = {"first": hard + 2, ODD: hard + 2 - 0.01 + near, "third": hard + 1 - np.arange(14) / 50}
    scores = [
        Score(model, 2, "set14", f"{i:02}", "psnr", "y", float(value))
        for model, values in means.items()
        for i, value in enumerate(values)
    ]
    scores += [Score("part", 2, "set14", f"{i:02}", "psnr", "y", 99.0) for i in range(13)]
    scores += [Score("part", 2, "set14", "13", "psnr", "y", None, error="out of memory")]
    return Results(
        scores,
        metrics=[MetricInfo("psnr", unit="dB", digits=4)],
        sets=[SetInfo("set14", 2, 14)],
        about={"srkit": "0.2.0"},
    )


def row(text: str, begin: str) -> str:
    (line,) = [line for line in text.splitlines() if line.startswith(begin)]
    return line


def test_best_second_and_what_does_not_differ():
    text = to_latex(results())
    assert re.search(r"& \\textbf\{\d\d\.\d\d\} \\\\$", row(text, "first"))
    assert re.search(r"& \\underline\{\d\d\.\d\d\}\$\^\{\\dagger\}\$ \\\\$", row(text, r"a\_b"))
    assert re.search(r"& \d\d\.\d\d \\\\$", row(text, "third")), "worse, and significantly so"
    assert row(text, "part").endswith(r"& -- \\"), "a mean over other pictures is not printed"


def test_the_caption_says_what_the_figures_are():
    text = to_latex(results())
    caption = row(text, r"\caption")
    for words in ("set14 (14 pictures)", "protocol y", "Wilcoxon", "Holm", "srkit 0.2.0", fingerprint(results())):
        assert words in caption
    assert "so few pictures" not in caption


def test_a_set_too_small_for_any_difference_is_named():
    scores = [Score(m, 2, "set5", f"{i}", "psnr", "y", v + i) for m, v in (("a", 30), ("b", 40)) for i in range(5)]
    text = to_latex(Results(scores, sets=[SetInfo("set5", 2, 5)]))
    assert "No difference can be significant on so few pictures: set5 (5)." in text
    assert r"$^{\dagger}$" in row(text, "a &"), "ten dB lower, and five pictures cannot show it"


def test_quoted_rows_are_italic_and_never_bold():
    quoted, _ = beside(results())
    text = to_latex(results(), quoted)
    line = row(text, r"\textit{VDSR}")
    assert r"\textit{33.03}" in line
    assert "textbf" not in line
    for model in ("first", r"a\_b", "third", "part"):
        assert row(text, model) == row(to_latex(results()), model), "the measured rows are as they are without"
    assert "quoted from publications" in text


def test_columns_fit_the_tabular():
    text = to_latex(results(), beside(results())[0])
    columns = len(re.search(r"\\begin\{tabular\}\{(\w+)\}", text)[1])
    body = text.split(r"\toprule")[1].split(r"\bottomrule")[0]
    rows = [line for line in body.splitlines() if line.endswith(r"\\") and "multicolumn" not in line]
    assert {len(re.findall(r"(?<!\\)&", line)) + 1 for line in rows} == {columns}


def test_names_are_escaped():
    assert escaped("a_b%\n c") == r"a\_b\% c"
    assert escaped("--x") == "-{}-x"
    assert escaped("\\") == r"\textbackslash{}"


@pytest.mark.skipif(not shutil.which("pdflatex"), reason="no LaTeX here")
def test_it_compiles(tmp_path: Path):
    table = to_latex(results(), beside(results())[0])
    document = "\\documentclass{article}\n\\usepackage{booktabs}\n\\begin{document}\n%s\n\\end{document}\n"
    (tmp_path / "table.tex").write_text(document % table)
    made = subprocess.run(
        ["pdflatex", "-draftmode", "-interaction=nonstopmode", "-halt-on-error", "table.tex"],
        cwd=tmp_path, capture_output=True, text=True, errors="replace", timeout=60, check=False,
    )  # fmt: skip
    assert made.returncode == 0, made.stdout[-800:]
