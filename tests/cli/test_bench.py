"""`srkit bench`: which models, which sets, which form."""

import csv
import hashlib
import io
import json
import sys
from dataclasses import asdict

import pytest
import torch
from PIL import Image
from safetensors.torch import save

from srkit.plugins import BUILTIN
from srkit.weights.offered import offers

from .conftest import SMALL


def not_shipped(rows, registry):
    """Rows without those of weights in srkit's wheel, which become more."""
    own = {offer.word for offer in offers(registry) if offer.entry.package == BUILTIN}
    return [row for row in rows if (row["model"] if isinstance(row, dict) else row[0]) not in own]


def test_without_words_it_scores_what_has_weights(run_srkit, tmp_path, registry):
    assert run_srkit("train", *SMALL, "--steps", "3")[0] == 0
    code, out, err = run_srkit("bench", "--scales", "2,3")
    assert code == 0
    assert "no test set found" in err
    rows = [line.split() for line in out.splitlines() if "samples" in line]
    assert ["edsr-small", "x2", "samples"] in [row[:3] for row in rows]
    assert [row[:3] for row in not_shipped(rows, registry)] == [
        [model, scale, "samples"]
        for model, scale in (
            *((name, "x2") for name in ("nearest", "bicubic", "lanczos", "edsr")),
            *((name, "x3") for name in ("nearest", "bicubic", "lanczos")),
        )
    ]
    assert "PSNR (y)" in out
    assert "SSIM (y)" in out


def test_checkpoints_and_names_in_one_table_in_three_forms(run_srkit, trained):
    words = ["bench", trained / "last.safetensors", "--models", "bicubic,nearest", "--sets", "samples", "--scales", "2"]
    code, out, _ = run_srkit(*words, "--json")
    assert code == 0
    rows = json.loads(out)["rows"]
    assert [row["model"] for row in rows] == ["bicubic", "nearest", str(trained / "last.safetensors")]
    assert [row["parameters"] for row in rows] == [0, 0, 1259]
    assert all(row["protocol"] == "y" and row["images"] == 2 for row in rows)
    assert rows[0]["psnr"] > rows[1]["psnr"]
    _, text, _ = run_srkit(*words, "--csv")
    table = list(csv.DictReader(io.StringIO(text)))
    assert [float(r["psnr"]) for r in table] == pytest.approx([r["psnr"] for r in rows], abs=1e-9)


def test_the_precision_is_said_and_interpolations_stay_exact(run_srkit, trained):
    words = ["bench", "--models", f"bicubic,{trained}", "--sets", "samples", "--scales", "2"]
    full, half = (json.loads(run_srkit(*words, *more, "--json")[1]) for more in ([], ["--precision", "bf16"]))
    assert (full["about"]["precision"], half["about"]["precision"]) == ("fp32", "bf16")
    (exact, before), (still, after) = ([row["psnr"] for row in each["rows"]] for each in (full, half))
    assert still == exact
    assert 0 < abs(after - before) < 0.05
    assert "computed in bf16" in run_srkit(*words, "--precision", "bf16")[1]
    assert "computed in" not in run_srkit(*words)[1]
    code, _, err = run_srkit(*words, "--precision", "half")
    assert code == 2
    assert "no precision called 'half'" in err


def test_a_backend_is_said_in_its_rows_and_kept_apart(run_srkit, trained, tmp_path):
    words = ["bench", "--models", f"bicubic,{trained}", "--sets", "samples", "--scales", "2", "--results", tmp_path]
    in_bf16 = ["--backend", "torch", "--precision", "bf16"]
    tables = [json.loads(run_srkit(*words, *more, "--json")[1]) for more in ([], in_bf16, [], ["--backend", "torch"])]
    plain, half, again, full = tables
    name = plain["rows"][1]["model"]
    assert [[row["model"] for row in table["rows"]] for table in tables] == [
        ["bicubic", name], ["bicubic", f"{name} (torch bf16)"], ["bicubic", name], ["bicubic", f"{name} (torch fp32)"],
    ]  # fmt: skip
    scores = [[row["psnr"] for row in table["rows"]] for table in tables]
    assert scores[0] == scores[2] == scores[3]
    assert 0 < abs(scores[1][1] - scores[0][1]) < 0.05
    assert scores[1][0] == scores[0][0]
    assert (half["about"]["backend"], half["about"]["precision"]) == ("torch", "bf16")
    assert "backend" not in again["about"] or not again["about"]["backend"]
    assert full["about"]["fingerprint"] == plain["about"]["fingerprint"]
    required = f"{name} (torch bf16):samples:x2:psnr>=9"
    code, text, err = run_srkit(*words, *in_bf16, "--require", required)
    assert code == 0, err
    assert "computed in bf16 by torch" in text


@pytest.mark.parametrize(
    ("more", "error"),
    [
        (["--backend", "auto"], "each model may run fastest in another backend, and a table is of one; name it: torch"),
        (["--backend", "torhc"], "no backend called 'torhc'; did you mean 'torch'?"),
        (["--backend", "torch", "--precision", "int8"], "backend 'torch' computes in fp32, bf16, fp16, not in 'int8'"),
    ],
)
def test_a_backend_that_cannot_be_is_one_line(run_srkit, more, error):
    code, out, err = run_srkit("bench", "--sets", "samples", *more)
    assert (code, out) == (2, "")
    assert error in err


def test_what_a_backend_costs_is_measured_in_it(monkeypatch, capsys):
    from srkit.weights import alone

    asked = {"word": "bicubic", "scale": 2, "model": "bicubic (torch bf16)", "precision": "bf16", "backend": "torch"}
    request = alone.Request(**asked, sizes=[(48, 48)], seconds=0.0, device="cpu")
    monkeypatch.setattr(alone, "first_to_be_killed", lambda: None)
    monkeypatch.setattr("sys.stdin", io.StringIO(json.dumps(asdict(request))))
    monkeypatch.setattr("sys.stdout", sys.stdout)  # main puts another in its place
    alone.main()
    rows = [json.loads(line)["cost"] for line in capsys.readouterr().out.splitlines()]
    latency = next(row for row in rows if row["name"] == "latency")
    assert (latency["conditions"]["backend"], latency["conditions"]["precision"]) == ("torch", "bf16")
    assert latency["value"] > 0


def test_parts_together_are_the_whole(run_srkit, tmp_path):
    words = ["bench", "--models", "bicubic,nearest", "--sets", "samples", "--scales", "2", "--results", "kept"]
    for part in ("1/3", "2/3", "3/3"):
        code, out, err = run_srkit(*words, "--part", part)
        assert (code, out) == (0, ""), err
        assert f"part {part} is kept in 'kept'" in err
    lines = [
        json.loads(line)
        for path in (tmp_path / "kept").glob("*-psnr-*.jsonl")
        for line in path.read_text().splitlines()
        if "picture" in line
    ]
    assert len(lines) == len({(line["picture"], line["value"]) for line in lines}) == 4
    code, out, err = run_srkit(*words, "--json")
    assert (code, "scoring" in err) == (0, False)
    assert all(row["images"] == 2 for row in json.loads(out)["rows"])


@pytest.mark.parametrize(
    "more", [["--part", "0/3"], ["--part", "4/3"], ["--part", "2"], ["--part", "1/2", "--no-cache"]]
)
def test_a_part_that_is_none(run_srkit, more):
    code, _, err = run_srkit("bench", "--models", "bicubic", "--sets", "samples", *more)
    assert code == 2
    assert "--part" in err


def test_self_ensemble_is_a_row_of_its_own(run_srkit, trained):
    code, out, _ = run_srkit("bench", "--models", trained, "--sets", "samples", "--self-ensemble", "--json")
    assert code == 0
    assert [row["model"] for row in json.loads(out)["rows"]] == [str(trained), f"{trained}+"]


def test_a_folder_is_a_set_and_identical_pictures_are_no_json_infinity(run_srkit, tmp_path, photo):
    import numpy as np

    (tmp_path / "flat").mkdir()
    Image.fromarray(np.full((40, 40, 3), 9, np.uint8)).save(tmp_path / "flat" / "a.png")
    code, out, _ = run_srkit("bench", "--models", "bicubic", "--sets", "flat", "--scales", "2", "--json")
    assert code == 0
    (row,) = json.loads(out)["rows"]
    assert (row["set"], row["psnr"]) == ("flat", None)
    code, out, _ = run_srkit("bench", "--models", "bicubic", "--sets", "flat", "--scales", "2")
    assert " inf " in out


def test_what_cannot_be_scored_is_said(run_srkit, trained, tmp_path, photo):
    code, _, err = run_srkit("bench", "--models", "edsr-large", "--sets", "samples")
    assert code == 1
    assert "'edsr-large' has no trained weights for x2" in err
    code, _, err = run_srkit("bench", "--models", trained, "--sets", "samples", "--scales", "3")
    assert code == 2
    assert "upscales x2, not x3" in err
    (tmp_path / "tiny").mkdir()
    Image.fromarray(photo[:9, :9]).save(tmp_path / "tiny" / "a.png")
    code, _, err = run_srkit("bench", "--models", "bicubic", "--sets", "tiny", "--scales", "4", "--protocol", "div2k")
    assert code == 1
    assert "'a' (8x8) is too small for protocol 'div2k' at x4" in err


HAT = """
from srkit import Model, Weights, hookimpl

def build(scale):
    from torch import nn
    return nn.Sequential(nn.Conv2d(3, 3 * scale**2, 3, padding=1), nn.PixelShuffle(scale))

@hookimpl
def srkit_models():
    shipped = Weights(scale=2, resource="hat_weights:hat.safetensors", sha256="SHA", trained_on="nothing",
                      claims={"set5 y psnr": 1.0})
    return [Model(name="hat", build=build, weights=[shipped])]
"""


def test_weights_that_a_plugin_ships_are_scored_and_checked(run_srkit, install, tmp_path, registry):
    weights = tmp_path / "site" / "srkit-hat" / "hat_weights" / "hat.safetensors"
    tensors = save({"0.weight": torch.rand(12, 3, 3, 3) / 13.5, "0.bias": torch.zeros(12)})
    install("srkit-hat", HAT.replace("SHA", hashlib.sha256(tensors).hexdigest()))
    weights.parent.mkdir()
    weights.write_bytes(tensors)
    code, out, err = run_srkit("bench", "--sets", "samples", "--json")
    assert code == 0, err
    rows = not_shipped(json.loads(out)["rows"], registry)
    assert [(r["model"], r["scale"]) for r in rows if r["parameters"]] == [("hat", 2)]
    _, shown, _ = run_srkit("plugins", "hat")
    assert "weights hat x2 set5 y psnr 1.0 nothing" in shown

    weights.write_bytes(tensors + b"x")
    code, out, err = run_srkit("bench", "--sets", "samples", "--scales", "2", "--json")
    assert code == 1
    rows = json.loads(out)["rows"]
    assert [row["model"] for row in rows if row["error"]] == ["hat"]
    assert len(rows) > 1, "the rest is scored"
    assert "its SHA-256 differs" in err
    code, _, err = run_srkit("bench", "--models", "hat", "--sets", "samples")
    assert code == 1
    assert "its SHA-256 differs" in err
