"""`srkit bench`: what is kept and computed once, ready pictures of other programs, and what fails."""

import json
from pathlib import Path

import pytest

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
