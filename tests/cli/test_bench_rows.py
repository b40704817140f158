"""`srkit bench`: what is kept and computed once, ready pictures of other programs, and what fails."""

import csv
import io
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors import safe_open
from safetensors.numpy import load_file, save_file

from srkit.evaluate import score

FOREIGN = Path(__file__).parents[1] / "field" / "data" / "edsr_plain.pth"
#: from the README of the reference data: what RCAN's authors published, to the last digit that can be measured
PUBLISHED = {
    ("RCAN", 2): (38.2742, 0.96144),
    ("RCAN", 3): (34.7422, 0.92989),
    ("RCAN", 4): (32.6336, 0.90024),
    ("RCANplus", 2): (38.3319, 0.96167),
    ("RCANplus", 3): (34.8527, 0.93055),
    ("RCANplus", 4): (32.7320, 0.90132),
}


def test_pictures_of_another_program_get_their_published_scores(run_srkit, shared: Path):
    folders = [f"{name}={shared / 'expected' / 'rcan_sr' / name}" for name in ("RCAN", "RCANplus")]
    words = ["--images", folders[0], "--images", folders[1], "--sets", "set5", "--root", shared, "--json"]
    code, out, err = run_srkit("bench", *words)
    assert code == 0, err
    rows = {(row["model"], row["scale"]): (row["psnr"], row["ssim"]) for row in json.loads(out)["rows"]}
    assert rows.keys() == PUBLISHED.keys()
    for key, (psnr, ssim) in PUBLISHED.items():
        assert rows[key] == (pytest.approx(psnr, abs=5e-5), pytest.approx(ssim, abs=5e-6)), key


ODD = """
from typing import Annotated
import torch
from srkit import Metric, Model, hookimpl

class Twice(torch.nn.Module):
    def __init__(self, fault):
        super().__init__()
        self.fault = fault

    def forward(self, lr):
        if lr.shape[-1] == 30:
            if self.fault == "raises":
                raise ZeroDivisionError("of a part")
            if self.fault == "memory":
                raise RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes")
            if self.fault == "nan":
                return lr.repeat_interleave(2, 2).repeat_interleave(2, 3) * float("nan")
        return lr.repeat_interleave(2, 2).repeat_interleave(2, 3)

def model(fault):
    def build(scale):
        return Twice(fault)
    return Model(name=f"odd-{fault}", build=build, scales=(2,), trainable=False)

@hookimpl
def srkit_models():
    return [model(fault) for fault in ("raises", "nan", "memory", "never")]

def sharp(*, times: Annotated[float, "factor"] = 1.0):
    return lambda sr, hr: float(abs(sr[1:] - sr[:-1]).mean()) * times

def fails():
    def metric(sr, hr):
        raise LookupError("no such thing")
    return metric

@hookimpl
def srkit_metrics():
    return [
        Metric(name="sharp", build=sharp, needs_reference=False, digits=3),
        Metric(name="fails", build=fails),
    ]
"""


def put(path: Path, pixels: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)


@pytest.fixture
def odd(install, tmp_path: Path, photo: np.ndarray) -> Path:
    """A plugin whose models fail on LR of 30 pixels, and a set that has one such picture among three."""
    install("srkit-odd", ODD)
    for name, width in (("a", 40), ("b", 60), ("c", 50)):
        put(tmp_path / "three" / f"{name}.png", photo[100:140, 100 : 100 + width])
    return tmp_path / "three"


def rows_in(out: str) -> dict[str, dict]:
    return {row["model"]: row for row in json.loads(out)["rows"]}


def test_what_fails_is_a_row_that_says_why_and_the_rest_goes_on(run_srkit, odd: Path):
    models = ("odd-raises", "odd-nan", "odd-memory", "odd-never")
    code, out, err = run_srkit("bench", "--models", ",".join(models), "--sets", odd, "--scales", 2, "--json")
    assert code == 1
    rows = rows_in(out)
    assert [rows[model]["psnr"] is None for model in models] == [True, True, True, False]
    for model, words in zip(models, ("ZeroDivisionError", "not finite", "out of memory"), strict=False):
        assert rows[model]["images"] == 2
        assert rows[model]["error"].startswith("'b': ")
        assert rows[model]["error"].endswith("(1 of 3 pictures)")
        assert words in rows[model]["error"]
        assert f"{model} x2 on three" in err
    scores = [score for score in json.loads(out)["scores"] if score["model"] == "odd-nan"]
    assert {score["image"] for score in scores if score["value"] is not None} == {"a", "c"}, (
        "the long table has what could be scored"
    )
    assert "3 of 4 rows" in err


def test_pictures_that_cannot_be_scored_are_said_and_no_mean_is_printed(run_srkit, tmp_path: Path, photo):
    for name in ("fine", "torn", "larger"):
        put(tmp_path / "pairs" / "HR" / f"{name}.png", photo[: 81 if name == "larger" else 80, :100])
        put(tmp_path / "pairs" / "LR" / f"{name}.png", photo[:80:2, :100:2])
    (tmp_path / "pairs" / "HR" / "torn.png").write_bytes((tmp_path / "pairs" / "HR" / "torn.png").read_bytes()[:2000])
    code, out, _ = run_srkit("bench", "--models", "bicubic,nearest", "--sets", "pairs", "--scales", 2, "--json")
    assert code == 1
    for row in json.loads(out)["rows"]:
        assert (row["psnr"], row["images"]) == (None, 1)
        assert row["error"].startswith("'larger': HR is 100x81, and LR 50x40 times 2 is 100x80")
        assert row["error"].endswith("(2 of 3 pictures)")
    errors = {score["image"]: score["error"] for score in json.loads(out)["scores"] if "error" in score}
    assert errors.keys() == {"larger", "torn"}
    assert "torn.png" in errors["torn"]
    _, text, _ = run_srkit("bench", "--models", "bicubic", "--sets", "pairs", "--scales", 2)
    assert [line.split()[3:5] for line in text.splitlines() if "bicubic" in line] == [["-", "-"]]


def test_a_metric_that_fails_loses_its_column_only(run_srkit, odd: Path):
    words = ["bench", "--models", "odd-never", "--sets", odd, "--scales", 2]
    words += ["--metrics", "psnr,fails,sharp:times=2,sharp"]
    code, out, _ = run_srkit(*words, "--json")
    assert code == 1
    row = rows_in(out)["odd-never"]
    assert row["fails"] is None
    assert "metric 'fails' fails: LookupError: no such thing" in row["error"]
    assert row["psnr"] > 10
    assert row["sharp:times=2"] == pytest.approx(2 * row["sharp"])
    _, table, _ = run_srkit(*words[:-1], "sharp,srkit:psnr")
    assert f" {row['sharp']:.3f} " in table
    assert f" {row['psnr']:.4f} " in table
    code, _, err = run_srkit(*words[:-1], "sharp:time=2")
    assert (code, "did you mean 'times'?" in err) == (2, True)


def test_metrics_without_reference_need_no_hr(run_srkit, odd: Path):
    words = ["bench", "--metrics", "sharp", "--scales", 2, "--json"]
    code, out, err = run_srkit(*words, "--models", "odd-never", "--lr-only", odd)
    assert code == 0, err
    code, images, err = run_srkit(*words, "--images", f"mine={odd}")
    assert code == 0, err
    assert rows_in(images)["mine"]["images"] == 3
    assert 0 < rows_in(out)["odd-never"]["sharp"] < rows_in(images)["mine"]["sharp"], "pixels were repeated"
    for wrong in (
        ["--metrics", "psnr", "--lr-only", odd],
        ["--lr-only", odd],
        ["--metrics", "sharp", "--sets", odd, "--lr-only", odd],
    ):
        code, _, err = run_srkit("bench", "--scales", 2, "--models", "odd-never", *wrong)
        assert code == 2
    code, _, err = run_srkit("bench", "--scales", 2, "--lr-only", odd)
    assert (code, "metric 'psnr' compares with HR" in err) == (2, True)


def lines_kept(folder: Path) -> int:
    return sum(len(file.read_text().splitlines()) - 1 for file in folder.glob("*-x2-*.jsonl"))


def test_what_was_computed_is_not_computed_again(run_srkit, trained: Path, monkeypatch):
    words = ["bench", trained, "--models", "bicubic", "--sets", "samples", "--scales", 2, "--results", "kept"]
    code, first, _ = run_srkit(*words)
    assert (code, lines_kept(Path("kept"))) == (0, 8)
    with monkeypatch.context() as patch:
        patch.setattr("srkit.evaluate.compute.compute", None)
        code, second, err = run_srkit(*words)
    assert (code, second) == (0, first), err
    other = load_file(trained / "last.safetensors")
    with safe_open(trained / "last.safetensors", "numpy") as file:
        about = file.metadata()
    changed = Path("changed.safetensors")
    save_file({name: tensor * 1.01 for name, tensor in other.items()}, changed, about)
    code, _, err = run_srkit("bench", changed, *words[2:])
    assert (code, lines_kept(Path("kept"))) == (0, 12), "bicubic is known, the other weights are not"
    code, again, _ = run_srkit(*words, "--no-cache")
    assert (code, lines_kept(Path("kept"))) == (0, 12)
    psnr = [[line.split()[3] for line in text.splitlines() if "samples" in line] for text in (first, again)]
    assert psnr[0] == psnr[1]


def test_lr_is_made_once_and_again_where_it_is_damaged(run_srkit, odd: Path, monkeypatch):
    words = ["bench", "--sets", odd, "--scales", 2, "--results", "kept", "--csv", "--models"]
    assert run_srkit(*words, "nearest")[0] == 0
    files = sorted(Path("kept/lr").iterdir())
    assert len(files) == 3
    files[0].write_bytes(files[0].read_bytes()[:300])
    Image.new("RGB", (3, 3)).save(files[1])
    made = []
    real = score.imresize
    monkeypatch.setattr(score, "imresize", lambda *words: made.append(1) or real(*words))
    code, out, err = run_srkit(*words, "odd-never,lanczos")
    assert (code, len(made)) == (0, 2), err
    _, anew, _ = run_srkit(*words, "odd-never,lanczos", "--no-cache")
    psnr = [[row["psnr"] for row in csv.DictReader(io.StringIO(text))] for text in (out, anew)]
    assert psnr[0] == psnr[1]


def test_a_file_of_another_program_is_recognised_once(run_srkit, odd: Path, monkeypatch):
    words = ["bench", FOREIGN, "--models", "bicubic", "--sets", odd, "--json"]
    code, out, err = run_srkit(*words)
    assert code == 0, err
    rows = {(row["model"], row["scale"]) for row in json.loads(out)["rows"]}
    assert (str(FOREIGN), 2) in rows
    monkeypatch.setattr("srkit.weights.loading.load_foreign", None)
    assert json.loads(run_srkit(*words)[1])["rows"] == json.loads(out)["rows"]


def test_a_copy_of_a_file_that_does_not_fit_is_called_by_its_own_name(run_srkit, odd: Path):
    for name in ("one.pth", "two.pth"):
        shutil.copyfile(FOREIGN, name)
        code, _, err = run_srkit("bench", name, "--sets", odd, "--scales", 3, "--results", "kept")
        assert (code, f"'{name}' upscales x2, not x3" in err) == (2, True), err


@pytest.mark.parametrize("chosen", [["RUN", "--models", "bicubic", "--self-ensemble"], ["--models", "edsr*"]])
def test_what_is_known_is_printed_without_torch(run_srkit, trained: Path, chosen):
    words = [
        "bench",
        *(str(trained) if word == "RUN" else word for word in chosen),
        "--sets",
        "samples",
        "--scales",
        "2",
    ]
    code, out, err = run_srkit(*words)
    assert code == 0, err
    program = (
        f"import sys; from srkit.cli import run; code = run({words!r}); sys.exit(code or 3 * ('torch' in sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, out), done.stderr


def test_an_interrupted_table_goes_on_where_it_was(run_srkit, odd: Path, monkeypatch):
    from srkit.progress import Progress

    words = ["bench", "--models", "odd-never,bicubic", "--sets", odd, "--scales", 2, "--results", "kept"]
    with monkeypatch.context() as patch:
        done: list[str] = []

        def stop(self: object, text: str, left: float) -> None:
            done.append(text)
            if len(done) == 3:
                raise KeyboardInterrupt

        patch.setattr(Progress, "one_more", stop)
        code, out, err = run_srkit(*words)
    assert (code, out, lines_kept(Path("kept"))) == (130, "", 6)
    assert "what was computed is kept in 'kept'" in err
    with monkeypatch.context() as patch:
        rest: list[str] = []
        patch.setattr(Progress, "one_more", lambda self, text, left: rest.append(text))
        assert run_srkit(*words)[0] == 0
    assert (len(rest), lines_kept(Path("kept"))) == (3, 12)


def test_a_picture_that_is_rewritten_at_once_is_scored_anew(run_srkit, tmp_path: Path):
    """With the same size and within the granularity of a file's time, so that only its content tells."""
    shade = tmp_path / "shade" / "a.bmp"
    scores = []
    for value in (30, 90):
        pixels = np.full((40, 40, 3), value, np.uint8)
        pixels[::2, ::3] = value + 40 + value // 3
        put(shade, pixels)
        os.utime(shade, (1_700_000_000, 1_700_000_000))
        _, out, _ = run_srkit("bench", "--models", "nearest", "--sets", shade.parent, "--scales", 2, "--json")
        scores.append(rows_in(out)["nearest"]["psnr"])
    assert scores[0] != scores[1]


TWINS = """
from srkit import Dataset, Pair, hookimpl
import numpy as np

class Twins:
    def __init__(self, root, split, scale):
        self.hr = np.random.default_rng(3).integers(0, 256, (40, 44, 3), dtype=np.uint8)

    def __len__(self):
        return 3

    def __getitem__(self, index):
        if index == 2:
            raise KeyError("third")
        return Pair("same", None, self.hr[:, index * 4 :][:, :40])

@hookimpl
def srkit_datasets():
    return [Dataset(name="twins", build=Twins)]
"""


def test_a_dataset_of_a_plugin_may_name_two_pictures_alike_and_fail_on_one(run_srkit, install):
    install("srkit-twins", TWINS)
    code, out, _ = run_srkit("bench", "--models", "bicubic", "--sets", "twins", "--scales", 2, "--json")
    assert code == 1
    scores = {s["image"]: s["value"] for s in json.loads(out)["scores"] if s["metric"] == "psnr"}
    assert list(scores) == ["same (1)", "same (2)", "picture 3"]
    assert scores["same (1)"] != scores["same (2)"]
    assert scores["picture 3"] is None
    assert "picture 3 of 3 cannot be read: KeyError" in rows_in(out)["bicubic"]["error"]


MANY = """
import weakref
from srkit import Dataset, Pair, hookimpl
import numpy as np

LIVING, MOST = [], []

class Many:
    def __init__(self, root, split, scale):
        pass

    def __len__(self):
        return 60

    def __getitem__(self, index):
        MOST.append(sum(each() is not None for each in LIVING))
        pixels = np.random.default_rng(index).integers(0, 256, (24, 24, 3), dtype=np.uint8)
        LIVING.append(weakref.ref(pixels))
        return Pair(f"{index}", None, pixels)

@hookimpl
def srkit_datasets():
    return [Dataset(name="many", build=Many)]
"""


def test_pictures_are_not_held_while_others_are_scored(run_srkit, install):
    install("srkit-many", MANY)
    code, out, err = run_srkit("bench", "--models", "nearest,bicubic", "--sets", "many", "--scales", 2, "--json")
    assert (code, rows_in(out)["bicubic"]["images"]) == (0, 60), err
    living = sys.modules["srkit_many"].MOST  # when the next picture was asked for
    assert (len(living), max(living) <= 1) == (121, True), "to know them, what made LR, to score them"


def test_files_of_other_names_are_said_and_two_for_one_picture_are_an_error(run_srkit, tmp_path: Path, photo):
    for name in ("img_1", "img_10", "img_2"):
        put(tmp_path / "set" / f"{name}.png", photo[: 40 + len(name), :60])
    for name in ("img_1_x2_SR", "img_10_x2_SR", "other_x2_SR", "img_1_x2_LR", "img_2_x3_SR"):
        size = 44 + (name == "img_10_x2_SR") * 2
        put(tmp_path / "sr" / f"{name}.png", photo[:size, :60])
    words = ["bench", "--images", "mine=sr", "--sets", "set", "--scales", 2, "--json"]
    code, out, err = run_srkit(*words)
    assert code == 1
    assert "2 files of no picture: img_1_x2_LR.png, other_x2_SR.png" in err
    assert rows_in(out)["mine"]["error"] == "'img_2': 'sr' has no picture of this name (1 of 3 pictures)"
    put(tmp_path / "sr" / "img_2_x2.png", photo[:40, :60])
    put(tmp_path / "sr" / "img_1.png", photo[:44, :60])
    code, out, _ = run_srkit(*words)
    errors = {score["image"]: score["error"] for score in json.loads(out)["scores"] if "error" in score}
    assert errors.keys() == {"img_1", "img_2"}
    assert "may both be it" in errors["img_1"]
    assert "is 60x40, and HR 'img_2' 60x44" in errors["img_2"]


def test_ready_pictures_of_several_sets_lie_in_one_folder(run_srkit, tmp_path: Path, photo):
    for name, place in (("one", photo[:40, :60]), ("two", photo[40:80, :60])):
        put(tmp_path / name / "a.png", place)
        put(tmp_path / "sr" / name / "x2" / "a.png", place)
    put(tmp_path / "three" / "a.png", photo[:40, :60])
    put(tmp_path / "parts" / "left" / "a.png", photo[:40, :60])
    put(tmp_path / "parts" / "right" / "a.png", photo[40:80, :60])
    for part in ("left", "right"):
        put(tmp_path / "of-parts" / part / "a_x2.png", photo[:40, :60] if part == "left" else photo[40:80, :60])
    code, out, err = run_srkit("bench", "--images", "mine=sr", "--sets", "one,two,three", "--scales", 2, "--long")
    assert code == 0, err
    found = [(line["dataset"], line["value"]) for line in csv.DictReader(io.StringIO(out)) if line["metric"] == "psnr"]
    assert found == [("one", "inf"), ("two", "inf")]
    assert "mine x2: no picture of three" in err
    code, out, err = run_srkit("bench", "--images", "mine=of-parts", "--sets", "parts", "--scales", 2, "--long")
    assert code == 0, err
    assert out.count(",inf,") == 2
    code, _, err = run_srkit("bench", "--images", "mine=one", "--sets", "one")
    assert (code, "does not say its scale" in err) == (2, True)


def test_lr_that_a_model_was_not_trained_on_is_said(run_srkit, tmp_path: Path, photo):
    for name, part in (("a", photo[:160, :200]), ("b", photo[100:260, :200])):
        put(tmp_path / "own" / f"{name}.png", part)
        put(tmp_path / "taken" / "HR" / f"{name}.png", part)
        put(tmp_path / "taken" / "LR" / f"{name}.png", part[::2, ::2])
    words = ["bench", "--models", "edsr-small", "--sets", "own,taken", "--scales", 2, "--json"]
    code, out, err = run_srkit(*words)
    assert code == 0, err
    makers = {one["name"]: one["lr_maker"] for one in json.loads(out)["sets"]}
    assert makers["own"] == "matlab"
    assert makers["taken"].startswith("nearest")
    assert "taken x2: its LR was made by nearest" in err
    assert "edsr-small x2 on taken: this LR was made by nearest" in err
    assert "edsr-small x2 on own" not in err


def test_a_table_in_other_forms(run_srkit, odd: Path):
    words = ["bench", "--models", "odd-never,nearest", "--sets", odd, "--scales", 2]
    _, csv_text, _ = run_srkit(*words, "--long")
    lines = list(csv.DictReader(io.StringIO(csv_text)))
    assert len(lines) == 12
    mean = sum(float(line["value"]) for line in lines if line["metric"] == "psnr" and line["model"] == "nearest") / 3
    _, markdown, _ = run_srkit(*words, "--markdown")
    assert f"| nearest | x2 | three | {mean:.4f} |" in markdown
    fingerprint = lines[0]["fingerprint"]
    assert f"protocol y, fingerprint {fingerprint}" in markdown
    assert run_srkit(*words, "--csv")[1].count(f",{fingerprint}\n") == 2
    assert json.loads(run_srkit(*words, "--json")[1])["about"]["fingerprint"] == fingerprint
    pandas = pytest.importorskip("pandas")
    code, _, err = run_srkit(*words, "--parquet", "t.parquet")
    assert code == 0, err
    assert len(pandas.read_parquet("t.parquet")) == 12


def test_a_claim_that_is_not_met_is_marked(run_srkit, install, tmp_path: Path, odd: Path):
    tensors = {"0.weight": np.full((12, 3, 3, 3), 1 / 27, np.float32), "0.bias": np.zeros(12, np.float32)}
    claims = '{"three y psnr": 10.0, "three y ssim": SSIM}'
    source = (
        "from srkit import Model, Weights, hookimpl\n"
        "def build(scale):\n"
        "    from torch import nn\n"
        "    return nn.Sequential(nn.Conv2d(3, 12, 3, padding=1), nn.PixelShuffle(2))\n"
        "@hookimpl\n"
        "def srkit_models():\n"
        "    w = Weights(scale=2, resource='srkit_claims_w:w.safetensors', claims=CLAIMS)\n"
        "    return [Model(name='claims', build=build, weights=[w])]\n"
    )
    install("srkit-claims", source.replace("CLAIMS", claims).replace("SSIM", "0.0"))
    folder = tmp_path / "site" / "srkit-claims" / "srkit_claims_w"
    folder.mkdir()
    save_file(tensors, folder / "w.safetensors")
    code, out, err = run_srkit("bench", "--models", "claims", "--sets", odd, "--scales", 2)
    assert code == 0, err
    (line,) = [line for line in out.splitlines() if line.strip().startswith("claims")]
    assert " 10 (+" in line
    assert line.count("!") == 2
    assert "claims x2 on three: psnr is claimed 10 (+" in err


def test_memory_that_runs_out_names_a_move_that_bench_has(run_srkit, odd: Path):
    code, out, _ = run_srkit("bench", "--models", "odd-memory", "--sets", odd, "--scales", 2, "--json")
    assert code == 1
    error = rows_in(out)["odd-memory"]["error"]
    assert error.startswith("'b': out of memory on 30x20 pixels: srkit upscale --tile 256")
    assert "--images NAME=DIR" in error


def test_auto_and_the_device_it_means_are_one(run_srkit, tmp_path: Path, photo, monkeypatch):
    put(tmp_path / "one" / "a.png", photo[:64, :64])
    words = ("bench", "--models", "bicubic", "--sets", "one", "--scales", 2, "--results", "kept", "--json")
    assert run_srkit(*words, "--device", "cpu")[0] == 0
    monkeypatch.setattr("srkit.nets.pick_device", lambda word="auto": torch.device("cpu"))
    monkeypatch.setattr("srkit.evaluate.compute.compute", lambda *args: pytest.fail("it was computed again"))
    assert run_srkit(*words, "--device", "auto")[0] == 0
    monkeypatch.setattr("srkit.nets.pick_device", lambda word="auto": pytest.fail("torch was asked again"))
    assert run_srkit(*words)[0] == 0


def test_a_run_says_what_made_the_lr_it_was_trained_on(run_srkit, trained: Path, tmp_path: Path, photo):
    with safe_open(trained / "last.safetensors", "numpy") as file:
        assert "matlab" in file.metadata().values() or '"training_lr": "matlab"' in str(file.metadata())
    put(tmp_path / "made" / "HR" / "a.png", photo[:128, :128])
    put(tmp_path / "made" / "LR" / "a.png", photo[:128:2, :128:2])
    code, out, err = run_srkit("bench", "--models", trained, "--sets", "made", "--scales", 2, "--json")
    assert code == 0, err
    assert json.loads(out)["models"][0]["training_lr"] == "matlab"
    assert "it was trained on LR of matlab" in err
