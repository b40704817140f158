"""What went wrong with scores in this field's public trackers: other pictures' scores, and another model's."""

import json
from pathlib import Path

import numpy as np
from PIL import Image
from safetensors import safe_open
from safetensors.numpy import load_file, save_file

from tests.cli.conftest import SMALL


def put(path: Path, pixels: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)


def scored(run_srkit, *words: object) -> dict[str, float | None]:
    """Each picture's PSNR, by name."""
    code, out, err = run_srkit("bench", *words, "--metrics", "psnr", "--json")
    assert code == 0, err
    return {score["image"]: score["value"] for score in json.loads(out)["scores"]}


def test_pictures_are_matched_by_name_whatever_their_order(run_srkit, tmp_path, photo):
    """vLAR-group/NVFi#5: names sorted as text put 1000 before 999, and each picture was compared with another."""
    for number in (2, 10, 999, 1000):
        part = photo[number % 97 :][:64, :64]
        put(tmp_path / "gt" / f"r_{number:03d}.png", part)
        put(tmp_path / "sr" / f"r_{number:03d}_x2.png", part)
    found = scored(run_srkit, "--images", "same=sr", "--sets", "gt", "--scales", 2)
    assert found == dict.fromkeys(("r_002", "r_010", "r_999", "r_1000"), "inf")


def test_a_name_may_have_underscores_and_dashes(run_srkit, tmp_path, photo):
    """leftthomas/SRGAN#86: a set was told by what stands before the first underscore of a picture's name."""
    name = "1223822-12020-07-29_23_23_21_0_27"
    put(tmp_path / "gt" / f"{name}.png", photo[:60, :60])
    put(tmp_path / "gt" / "1223822-12020-07-29_23_23_21_0_2.png", photo[60:120, :60])
    put(tmp_path / "sr" / f"{name}_SR.png", photo[:60, :60])
    put(tmp_path / "sr" / "1223822-12020-07-29_23_23_21_0_2_SR.png", photo[60:120, :60])
    assert set(scored(run_srkit, "--images", "same=sr", "--sets", "gt", "--scales", 2).values()) == {"inf"}


def test_a_size_that_is_no_multiple_of_the_scale_is_cropped_as_lr_was_made(run_srkit, tmp_path, photo):
    """icandle/MAN#9: HR 100x100, LR 33x33 and SR 99x99 cannot be compared as they are."""
    put(tmp_path / "gt" / "a.png", photo[:100, :100])
    put(tmp_path / "sr" / "a.png", photo[:99, :99])
    assert scored(run_srkit, "--images", "same=sr", "--sets", "gt", "--scales", 3) == {"a": "inf"}


def test_other_weights_under_the_same_path_are_other_scores(run_srkit, tmp_path, photo):
    """huggingface/lighteval#1364: what was kept belonged to a model's name, and its weights had been replaced."""
    put(tmp_path / "gt" / "a.png", photo[:64, :64])
    assert run_srkit("train", *SMALL, "--steps", "1", "--out", "run")[0] == 0
    path = Path("run/last.safetensors")
    first = scored(run_srkit, "run", "--models", "run", "--sets", "gt", "--scales", 2)
    with safe_open(path, "numpy") as file:
        about = file.metadata()
    save_file({name: tensor * 0.9 for name, tensor in load_file(path).items()}, path, about)
    Path("run/best.safetensors").unlink(missing_ok=True)
    assert scored(run_srkit, "run", "--models", "run", "--sets", "gt", "--scales", 2) != first
