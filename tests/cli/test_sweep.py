"""`srkit sweep`: every cell as `srkit train` would have trained it, once; tables that are the logs'."""

import csv
import io
import json
import re
import sys
import tomllib
from pathlib import Path
from xml.etree import ElementTree

import pytest
import torch

from srkit.checkpoint import read_about, read_tensors
from srkit.evaluate.curves import Curve, ceiling_of, groups_of
from srkit.files import locked
from srkit.sweep.grid import parse_vary
from tests.fixtures import loaded

from .conftest import SMALL

GRID = ["--vary", "loss=l1,l2", "--vary", "model.n_resblocks=1,2", *SMALL[2:], "--device", "cpu"]
CELLS = [f"loss={loss},model.n_resblocks={blocks}" for loss in ("l1", "l2") for blocks in (1, 2)]

# presses Ctrl-C at the seventh of all its calls: in step 2 of the second of two cells of 5 steps
PRESSING = """
import os, signal, torch
from srkit import Loss, hookimpl

class Pressing(torch.nn.L1Loss):
    calls = 0
    def forward(self, sr, hr):
        Pressing.calls += 1
        if Pressing.calls == 7:
            os.kill(os.getpid(), signal.SIGINT)
        return super().forward(sr, hr)

@hookimpl
def srkit_losses():
    return [Loss(name="pressing", build=Pressing)]
"""


def curve(folder: Path) -> list[tuple[int, float]]:
    lines = [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]
    return [(line["step"], line["psnr_y"]) for line in lines if "psnr_y" in line]


def contents(folder: Path) -> dict[str, tuple[int, bytes]]:
    return {p.name: (p.stat().st_mtime_ns, p.read_bytes()) for p in folder.glob("*.*") if p.is_file()}


def same_weights(a: Path, b: Path) -> bool:
    first, second = read_tensors(a), read_tensors(b)
    return first.keys() == second.keys() and all(torch.equal(first[k], second[k]) for k in first)


def drawn_lines(svg: Path) -> list[tuple[int, str]]:
    """(points, style) of each polyline of more than two points: the curves, not the axes or their grid."""
    paths = [p for p in ElementTree.parse(svg).iter("{http://www.w3.org/2000/svg}path") if "clip-path" in p.attrib]
    lines = [(len(re.findall("[ML]", p.attrib["d"])), p.attrib["style"]) for p in paths]
    return [(points, style) for points, style in lines if points > 2]


def test_a_grid_is_trained_compared_and_never_trained_again(run_srkit, tmp_path):
    code, out, err = run_srkit("sweep", *GRID, "--steps", 4, "--out", "grid")
    assert code == 0, err
    grid = tmp_path / "grid"
    assert sorted(p.name for p in grid.iterdir() if p.is_dir()) == CELLS
    assert [line.split(": ")[2] for line in err.splitlines() if ": cell " in line] == CELLS

    rows = json.loads((grid / "table.json").read_text())["rows"]
    assert json.loads((grid / "table.json").read_text())["unfinished"] == []
    assert [(row["loss"], row["model.n_resblocks"]) for row in rows] == [("l1", 1), ("l1", 2), ("l2", 1), ("l2", 2)]
    for row, name in zip(rows, CELLS, strict=True):
        points = curve(grid / name)
        assert [step for step, _ in points] == [1, 2, 3, 4]
        best = max(psnr for _, psnr in points)
        assert (row["best_psnr"], row["best_step"]) == (best, next(step for step, psnr in points if psnr == best))
        assert (row["final_psnr"], row["steps"]) == (points[-1][1], 4)
        assert (row["protocol"], row["validated_on"]) == ("y", "samples x2")
        assert 0 < row["steps_per_second"] < 1000
        # EDSR's: 4 features, 3x3 convolutions, a shuffle by 2
        blocks = int(name[-1])
        assert row["parameters"] == (27 * 4 + 4) + (2 * blocks + 1) * (9 * 16 + 4) + (9 * 4 * 16 + 16) + (27 * 4 + 3)
        assert f"{best:.4f}" in out
        assert f"{best:.4f}" in (grid / "table.md").read_text()
    assert "best PSNR (y, samples x2)" in out
    read = list(csv.DictReader(io.StringIO((grid / "table.csv").read_text())))
    assert [float(row["best_psnr"]) for row in read] == [row["best_psnr"] for row in rows]

    assert loaded(grid / "curves.png").size[0] > 1000
    words = " ".join((grid / "curves.svg").read_text().split())
    for text in ("PSNR on samples x2 (dB, protocol y)", "optimizer steps", ">loss<", ">l2<", ">model.n_resblocks<"):
        assert text in words
    lines = drawn_lines(grid / "curves.svg")
    assert [points for points, _ in lines] == [4] * 4
    colours = [re.search(r"stroke: (#\w+)", style)[1] for _, style in lines]
    dashed = ["stroke-dasharray" in style for _, style in lines]
    assert colours[0] == colours[1] != colours[2] == colours[3], "a loss has a colour"
    assert dashed == [False, True, False, True], "a number of blocks has a style"

    words = ["--set", "loss=l2", *SMALL, "--set", "validate_every=1", "--device", "cpu", "--steps", 4]
    assert run_srkit("train", *words, "--out", "alone")[0] == 0
    assert same_weights(grid / CELLS[2] / "last.safetensors", tmp_path / "alone/last.safetensors")

    before = {name: contents(grid / name) for name in CELLS}
    code, again, err = run_srkit("sweep", *GRID, "--steps", 4, "--out", "grid", "--json")
    assert code == 0, err
    assert json.loads(again)["rows"] == rows
    assert err.count("is finished") == 4
    assert {name: contents(grid / name) for name in CELLS} == before

    planted = [(1, 30.0), (2, 31.5), (3, 31.5), (4, 31.0)]
    log = "".join(json.dumps({"step": step, "psnr_y": psnr}) + "\n" for step, psnr in planted)
    (grid / CELLS[1] / "log.jsonl").write_text(log)
    code, out, err = run_srkit("sweep", *GRID, "--steps", 4, "--out", "grid")
    assert out.splitlines()[3].split()[3:6] == ["31.5000", "2", "31.0000"], "the first of the best, and the last"
    (grid / CELLS[1] / "log.jsonl").write_text("")
    code, out, err = run_srkit("sweep", *GRID, "--steps", 4, "--out", "grid")
    assert code == 1
    assert f"grid/{CELLS[1]}/log.jsonl' has no validation in it; delete 'grid/{CELLS[1]}'" in err

    before = {name: contents(grid / name) for name in CELLS}
    code, _, err = run_srkit("sweep", *GRID, "--steps", 5, "--out", "grid")
    assert code == 2
    assert "'grid' holds the sweep of another grid, with steps = 4, not 5; name another --out" in err
    assert {name: contents(grid / name) for name in CELLS} == before


def test_each_loss_has_its_curves_where_there_are_several(run_srkit, tmp_path):
    words = ["--vary", "lr=1e-3,2e-3", "--set", 'loss=["l1", {name="l2", weight=0.5}]', *SMALL, "--device", "cpu"]
    code, _, err = run_srkit("sweep", *words, "--steps", 2, "--out", "grid")
    assert code == 0, err
    assert "curves.svg, curves-loss*.png and .svg are in grid" in err
    names = {f"curves-{key}{suffix}" for key in ("loss", "loss_l1", "loss_l2") for suffix in (".png", ".svg")}
    assert {path.name for path in (tmp_path / "grid").glob("curves-*")} == names
    planted = [{"step": step, "loss": 9 / step, "loss_l1": 8 / step, "loss_l2": 1 / step} for step in range(1, 21)]
    scores = [{"step": 20, "psnr_y": 30.0}, {"step": 20, "loss_l1": float("nan")}]
    for cell in ("lr=1e-3", "lr=2e-3"):
        lines = "".join(json.dumps(line) + "\n" for line in (*planted, *scores))
        (tmp_path / "grid" / cell / "log.jsonl").write_text(lines)
    assert run_srkit("sweep", *words, "--steps", 2, "--out", "grid")[0] == 0
    svg = tmp_path / "grid/curves-loss_l1.svg"
    assert "l1, times its weight" in " ".join(svg.read_text().split())
    assert len(drawn_lines(svg)) == 2
    assert ceiling_of([Curve({}, [(line["step"], line["loss_l1"]) for line in planted])]) < 4, (
        "8 would flatten the rest"
    )


def test_interrupted_amid_a_cell_and_resumed_is_the_same_sweep(run_srkit, install, tmp_path):
    install("srkit-pressing", PRESSING)
    words = ["sweep", "--vary", "model.n_resblocks=1,2", *SMALL[2:], "--set", "loss=pressing"]
    words += ["--set", "validate_every=3", "--device", "cpu"]
    code, _, err = run_srkit(*words, "--steps", 5, "--out", "parts")
    assert code == 130, err
    assert "stopping after this step" in err
    assert "1 of 2 cells are finished; the same command continues with the others" in err
    first, second = (tmp_path / "parts" / f"model.n_resblocks={n}" for n in (1, 2))
    assert [p.name for p in second.glob("state-*")] == ["state-00000002.safetensors"]
    assert curve(second) == [], "no validation of a cell that was stopped"
    assert "Not finished: `model.n_resblocks=2`" in (tmp_path / "parts/table.md").read_text()
    before = contents(first)
    code, _, err = run_srkit(*words, "--steps", 5, "--out", "parts")
    assert code == 0, err
    assert "resumed at step 2" in err
    assert contents(first) == before

    assert run_srkit(*words, "--steps", 5, "--out", "whole")[0] == 0
    rows = [json.loads((tmp_path / name / "table.json").read_text())["rows"] for name in ("parts", "whole")]
    for row in rows[0] + rows[1]:
        del row["steps_per_second"]
    assert rows[0] == rows[1]
    assert [step for step, _ in curve(second)] == [3, 5]
    for cell in (first, second):
        assert same_weights(cell / "last.safetensors", tmp_path / "whole" / cell.name / "last.safetensors")
        assert curve(cell) == curve(tmp_path / "whole" / cell.name)


def test_parts_and_a_cell_in_other_hands(run_srkit, tmp_path):
    words = ["sweep", *GRID, "--steps", 1, "--out", "grid"]
    code, out, err = run_srkit(*words, "--only", "2/2", "--json")
    assert code == 0, err
    assert [row["cell"] for row in json.loads(out)["rows"]] == CELLS[1::2]
    assert json.loads(out)["unfinished"] == CELLS[::2]
    (tmp_path / "grid" / CELLS[0]).mkdir()
    with locked(tmp_path / "grid" / CELLS[0] / ".lock"):
        code, out, err = run_srkit(*words, "--only", "1/2", "--json")
    assert code == 0, err
    assert f"{CELLS[0]} is being trained by another program" in err
    assert [row["cell"] for row in json.loads(out)["rows"]] == CELLS[1:]
    code, out, err = run_srkit(*words, "--max-time", "0.001s")
    assert code == 0, err
    assert "3 of 4 cells are finished" in err
    assert run_srkit(*words, "--only", "1/2")[0] == 0
    assert [row["cell"] for row in json.loads((tmp_path / "grid/table.json").read_text())["rows"]] == CELLS


def test_a_cell_that_fails_is_told_and_the_others_go_on(run_srkit, tmp_path):
    (tmp_path / "base.toml").write_text('batch = 2\nsteps = 7\n[model]\nname = "edsr"\nn_resblocks = 1\nn_feats = 4\n')
    words = ["sweep", "--run", "base.toml", "--vary", "patch=5000,16", "--steps", 2, "--set", "scale=3"]
    code, out, err = run_srkit(*words)
    assert code == 1
    assert err.splitlines()[-1] == "srkit: 1 of 2 cells failed: patch=5000"
    assert re.search(r"cell 1 of 2: patch=5000 failed: every picture", err)
    assert "best PSNR (y, samples x3)" in out
    folder = tmp_path / "runs" / "sweep_patch"
    assert "Not finished: `patch=5000` (every picture" in (folder / "table.md").read_text()
    run = tomllib.loads((folder / "patch=16" / "run.toml").read_text())
    assert (run["batch"], run["steps"], run["scale"], run["validate_every"]) == (2, 2, 3, 1)
    assert read_about(folder / "patch=16" / "best.safetensors")["scores"]["set"] == "srkit:samples"
    code, _, err = run_srkit(*words)
    assert code == 1
    assert "patch=16 is finished" in err


def test_values_are_split_outside_brackets_and_quotes():
    assert parse_vary("a.b = 1, 2 ,3") == ("a.b", ["1", "2", "3"])
    key, values = parse_vary("loss=l1,[{name='l1'}, {name='l2', weight=0.1}],'a,b'")
    assert (key, values) == ("loss", ["l1", "[{name='l1'}, {name='l2', weight=0.1}]", "'a,b'"])


def test_folders_are_readable_and_apart(run_srkit, tmp_path):
    losses = "loss=l1,[{name='l1'}],[{name='l1', weight=0.5}],'l1'"
    code, _, err = run_srkit("sweep", "--vary", losses, *SMALL, "--steps", 1, "--out", "s")
    assert code == 2
    assert "'loss=l1' and 'loss=name-l1' are the same run" in err
    words = ["--vary", "loss=[{name='l1', weight=0.5}],[{name='l1', weight='0.25'}]", "--max-time", "0.001s"]
    assert run_srkit("sweep", *words, *SMALL, "--steps", 1, "--out", "s")[0] == 0
    code, _, _ = run_srkit("sweep", "--vary", "loss=[{name='l1',weight=0.5}],{name='l1', weight=0.25}", *SMALL,
                           "--steps", 1, "--out", "t", "--device", "cpu")  # fmt: skip
    assert code == 0
    names = sorted(p.name for p in (tmp_path / "t").iterdir() if p.is_dir())
    assert names == ["loss=name-l1-weight-0.25", "loss=name-l1-weight-0.5"]


def test_looks_tell_every_cell_apart():
    grid = [{"a": a, "b": b, "c": c} for a in "12" for b in "345678" for c in "xyz"]
    colour, style, marker = groups_of(grid)
    assert (colour.keys, style.keys, marker.keys) == (("b",), ("c",), ("a",))
    looks = [tuple(str(group.looks[group.of(words)]) for group in (colour, style, marker)) for words in grid]
    assert len(set(looks)) == len(grid)
    wide = [{"a": str(a), "b": str(b)} for a in range(9) for b in range(9)]  # more than there are line styles
    (both,) = groups_of(wide)
    assert both.keys == ("a", "b")
    assert len({str(look) for look in both.looks.values()}) == 81


def test_without_matplotlib_it_says_so_before_any_work(run_srkit, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    code, _, err = run_srkit("sweep", *GRID, "--steps", 1)
    assert (code, err) == (1, "srkit: learning curves need matplotlib: pip install matplotlib\n")
    assert not list(tmp_path.iterdir())


WRONG = {
    "nothing varied": ("sweep", "missing option '--vary'"),
    "no values": ("sweep --vary loss", "--vary wants key=value,value, as in loss=l1,l2, not 'loss'"),
    "an empty value": ("sweep --vary loss=l1,,l2", "--vary loss=l1,,l2: a value is missing"),
    "no key": ("sweep --vary =l1", "--vary wants key=value,value"),
    "a value twice": ("sweep --vary seed=0,1 --vary seed=1", "are the same run"),
    "unknown key": ("sweep --vary los=l1,l2", "a run has no key 'los'; did you mean 'loss'?"),
    "unknown loss": ("sweep --vary loss=l1,l3", "no loss called 'l3'"),
    "unknown option": ("sweep --vary model.n_feat=3,4", "no option 'n_feat'; did you mean 'n_feats'?"),
    "a value out of bounds": ("sweep --vary lr=1e-3,-1", "lr = -1"),
    "a scale": ("sweep --vary scale=2,7", "does not upscale x7"),
    "nothing to train": ("sweep --vary model=edsr,bicubic", "'bicubic' has no parameters to train"),
    "one run twice": ("sweep --vary lr=1e-3,0.001", "'lr=1e-3' and 'lr=0.001' are the same run"),
    "a part": ("sweep --vary seed=0,1 --only 3/2", "--only 3/2: write 1/4, 2/4, 3/4 or 4/4"),
    "too many parts": ("sweep --vary seed=0,1 --only 1/3", "there are only 2 cells"),
    "run file": ("sweep --vary seed=0,1 --run runn.toml", "no run file 'runn.toml'"),
    "assignment": ("sweep --vary seed=0,1 --set lr", "--set wants key=value"),
    "time": ("sweep --vary seed=0,1 --max-time soon", "'soon' is not a length of time"),
    "device": ("sweep --vary seed=0,1 --device gpu", "gpu"),
    "a file": ("sweep --vary seed=0,1 --out file", "--out 'file' is a file; name a folder"),
    "another folder": ("sweep --vary seed=0,1 --out full", "--out 'full' is not empty and holds no sweep"),
    "no sweep": ("sweep --vary seed=0,1 --out torn", "torn/sweep.toml' is not valid TOML"),
}


@pytest.mark.parametrize("case", WRONG)
def test_a_wrong_word_gets_one_line_and_leaves_nothing(run_srkit, tmp_path, case):
    for name, text in {"file": "", "full/notes.txt": "", "torn/sweep.toml": "= 1"}.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    before = sorted(tmp_path.rglob("*"))
    line, words = WRONG[case]
    code, out, err = run_srkit(*line.split())
    assert (code, out, err.count("\n")) == (2, "", 1), err
    assert words in err
    assert sorted(tmp_path.rglob("*")) == before
