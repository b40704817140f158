"""`srkit data check`: what it prints, what a program reads, and the exit code a script stops at."""

import json

import numpy as np
import pytest
from PIL import Image

from srkit import imresize, read_rgb


@pytest.fixture
def pictures(tmp_path, shared):
    """Four sound photographs of one size, HR alone."""
    (tmp_path / "pictures").mkdir()
    for name in ("0001", "0010", "0030", "0050"):
        photo = Image.open(shared / "train" / f"{name}.jpg").convert("RGB")
        photo.resize((320, 240), Image.Resampling.LANCZOS).save(tmp_path / "pictures" / f"{name}.png")
    return tmp_path / "pictures"


def give_lr(pictures, scale=2):
    (pictures / "LR").mkdir()
    for file in sorted(pictures.glob("*.png")):
        Image.fromarray(imresize(read_rgb(file), 1 / scale)).save(pictures / "LR" / file.name)


def test_without_any_finding_it_says_what_was_looked_at(run_srkit, pictures, shared, monkeypatch):
    monkeypatch.setenv("SRKIT_DATA", str(shared))
    code, out, err = run_srkit("data", "check", "pictures")
    assert (code, err) == (0, "")
    assert out.splitlines() == [
        "data: 4 pictures: HR in '.', LR x2 made from them",
        "checked: 4 of 4 pictures of 'pictures' x2, split train, by their pixels: sizes, no LR to compare, duplicates, "
        "JPEG blocks, leaks into samples (2), set5 (5), set14 (14), b100 (100)",
        "found: nothing wrong",
    ]
    give_lr(pictures)
    assert "LR against HR (4 given)" in run_srkit("data", "check", "pictures")[1]


def test_warnings_leave_the_exit_code_0(run_srkit, pictures, shared):
    read = read_rgb(shared / "bench/Set5/HR/butterfly.png")
    Image.fromarray(read).save(pictures / "extra.jpg", quality=95)
    code, out, _ = run_srkit("data", "check", "pictures", "--root", shared / "bench")
    assert code == 0
    (row,) = [line.split() for line in out.splitlines() if "extra" in line]
    assert row[:3] == ["warning", "leak", "extra"]
    assert "it is 'butterfly' of set5; remove it" in out
    assert out.endswith("found: 1 warning, 1 note\n")
    assert (
        "leak"
        not in run_srkit("data", "check", "pictures", "--split", "valid", "--root", shared)[1].split("checked")[0]
    )


def test_an_error_makes_exit_code_1(run_srkit, pictures):
    whole = (pictures / "0010.png").read_bytes()
    (pictures / "0010.png").write_bytes(whole[:-5000])
    code, out, err = run_srkit("data", "check", "pictures")
    assert (code, err) == (1, "")
    (row,) = [line.split() for line in out.splitlines() if "unreadable" in line]
    assert row[:3] == ["error", "unreadable", "0010"]
    assert "checked: 3 of 4 pictures" in out
    assert out.endswith("found: 1 error\n")


def test_json(run_srkit, pictures):
    give_lr(pictures, scale=4)
    code, out, _ = run_srkit("data", "check", "pictures", "--json")
    assert code == 1
    report = json.loads(out)
    assert report["pictures"] == 4
    assert report["checked"] == {"scale": 2, "patch": 48, "read": 4, "lr_given": 4, "against": {"samples": 2}}
    assert [(f["severity"], f["kind"]) for f in report["findings"]] == [("error", "size")] * 4
    assert "as x4 they may fit" in report["findings"][0]["text"]
    assert run_srkit("data", "check", "pictures", "--scale", "4")[0] == 0
    assert run_srkit("data", "check", "pictures", "--set", "lr=none")[0] == 0


def test_a_missing_lr_is_told_with_the_rest(run_srkit, pictures):
    give_lr(pictures)
    (pictures / "LR/0030.png").unlink()
    Image.fromarray(np.zeros((8, 8, 3), np.uint8)).save(pictures / "LR/9.png")
    Image.fromarray(np.zeros((16, 16, 3), np.uint8)).save(pictures / "9.png")
    code, out, _ = run_srkit("data", "check", "pictures")
    assert code == 1
    assert "0030.png' has no LR partner" in out
    assert "9" in [line.split()[2] for line in out.splitlines() if line.split()[:2] == ["warning", "small"]]


def test_against_another_folder_and_a_larger_patch(run_srkit, pictures, tmp_path):
    (tmp_path / "mine").mkdir()
    Image.open(pictures / "0050.png").resize((200, 150)).save(tmp_path / "mine/held-out.png")
    code, out, _ = run_srkit("data", "check", "pictures", "--against", "mine")
    assert code == 0
    assert "it is 'held-out' of mine" in out
    code, out, _ = run_srkit("data", "check", "pictures", "--patch", "121")
    assert code == 1
    assert "every picture is smaller than a patch of 242x242" in out


def test_many_rows_of_a_kind_are_counted(run_srkit, pictures):
    for i in range(25):
        (pictures / f"bad{i}.png").write_bytes(b"")
    code, out, _ = run_srkit("data", "check", "pictures")
    assert code == 1
    assert out.count("unreadable") == 21
    assert "and 5 more of this kind; --json lists all" in out
    assert out.endswith("found: 25 errors\n")
    assert len(json.loads(run_srkit("data", "check", "pictures", "--json")[1])["findings"]) == 25


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (["sampels"], "'sampels' is neither a folder nor a dataset; did you mean 'samples'?"),
        (["./fotos"], "no folder 'fotos'"),
        (["samples", "--against", "set55"], "did you mean 'set5'?"),
        (["samples", "--set", "hr"], "--set wants key=value"),
        (["pictures", "--set", "lrr=none"], "no option 'lrr'; did you mean 'lr'?"),
        (["set5"], "Set5 is not found"),
        (["samples", "--root", "nowhere"], "no folder 'nowhere'"),
        (["samples", "--scale", "0"], "--scale"),
        (["samples", "--split", "trian"], "did you mean 'train'?"),
    ],
)
def test_wrong_words_get_one_line_and_exit_code_2(run_srkit, pictures, words, text):
    code, out, err = run_srkit("data", "check", *words)
    assert (code, out) == (2, "")
    assert text in err
    assert len(err.splitlines()) == 1
