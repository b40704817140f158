"""What people found of scores that were lower by decibels since another program made the LR, from public trackers."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from srkit.data.maker import MAKERS

REMADE = {maker.name: maker.remake for maker in MAKERS}


def write(root: Path, hr: np.ndarray, lr: np.ndarray) -> None:
    for folder, pixels in (("HR", hr), ("LR", lr)):
        (root / folder).mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(root / folder / "cat.png")


@pytest.mark.parametrize("maker", ["opencv-cubic", "pillow-bilinear", "matlab"])
def test_data_check_says_which_program_made_the_lr(tmp_path, photo, run_srkit, maker):
    """huangzehao/caffe-vdsr#17, assafshocher/ZSSR#1: LR by OpenCV's cubic or scipy's imresize (Pillow, bilinear).

    They lost 2 to 3 dB against the paper and asked why. Right: the program is named.
    """
    hr = photo[:280, :440]
    lr = next(iter(REMADE[maker](hr, (140, 220))))
    write(tmp_path / "set", hr, lr)
    code, out, _ = run_srkit("data", "check", "set")
    assert code == 0
    assert f"LR made by: {maker} (1 of 1 pictures)" in out
    _, out, _ = run_srkit("data", "check", "set", "--json")
    assert json.loads(out)["lr_made_by"]["makers"] == [maker]


def test_data_check_says_that_hr_was_not_cropped(tmp_path, photo, run_srkit):
    """yhjo09/SR-LUT#5: 26.41 dB on Set14 made smaller by Pillow, where 27.01 is published.

    Its sizes are no multiples of 4. Right: it is said that LR and HR drift apart.
    """
    hr = photo[:283, :443]
    write(tmp_path / "set", hr, np.asarray(Image.fromarray(hr).resize((110, 70), Image.Resampling.BICUBIC)))
    _, out, _ = run_srkit("data", "check", "set", "--scale", "4", "--patch", "16")
    assert "LR made by: pillow-bicubic, from HR not cropped (1 of 1 pictures)" in out
    assert "by up to half an LR pixel" in " ".join(out.split())
