"""The figures of published tables, reproduced to every printed digit."""

import json

import numpy as np
import pytest

from srkit import UnknownName, UsageError, read_rgb
from srkit.evaluate.protocol import PROTOCOLS, protocol_named
from srkit.evaluate.report import Row, to_table
from srkit.evaluate.statistics import mean
from srkit_builtin.metrics import psnr, ssim

RCAN = [
    ("RCAN", 2, "38.2742", "0.96144"),
    ("RCAN", 3, "34.7422", "0.92989"),
    ("RCAN", 4, "32.6336", "0.90024"),
    ("RCANplus", 2, "38.3319", "0.96167"),
    ("RCANplus", 3, "34.8527", "0.93055"),
    ("RCANplus", 4, "32.7320", "0.90132"),
]

BICUBIC = {
    "y": {
        "set5": {2: ("33.6734", "0.93029"), 3: ("30.4033", "0.86891"), 4: ("28.4290", "0.81114")},
        "set14": {2: ("30.3246", "0.86985"), 3: ("27.6311", "0.77588"), 4: ("26.0884", "0.70480")},
        "b100": {2: ("29.5599", None), 3: ("27.2090", None), 4: ("25.9613", None)},
    },
    "y-uint8": {"set5": {2: ("33.6396", None), 3: ("30.3850", None), 4: ("28.4164", None)}},
}


@pytest.mark.parametrize(("name", "scale", "expected_psnr", "expected_ssim"), RCAN)
def test_a_published_models_pictures_score_as_published(shared, name, scale, expected_psnr, expected_ssim):
    found = []
    for file in sorted((shared / "bench/Set5/HR").glob("*.png")):
        (sr_file,) = (shared / "expected/rcan_sr" / name / f"x{scale}").glob(f"{file.stem}_*")
        sr, hr = read_rgb(sr_file), read_rgb(file)
        pair = PROTOCOLS["y"].apply(sr, hr[: sr.shape[0], : sr.shape[1]], scale)
        found.append((psnr(*pair), ssim(*pair)))
    assert len(found) == 5
    assert f"{mean(p for p, _ in found):.4f}" == expected_psnr
    assert f"{mean(s for _, s in found):.5f}" == expected_ssim


@pytest.mark.parametrize("protocol", BICUBIC)
def test_srkit_bench_prints_the_bicubic_rows(shared, run_srkit, protocol):
    for name, by_scale in BICUBIC[protocol].items():
        words = ["--metrics", "psnr"] if None in dict(by_scale.values()).values() else []  # SSIM takes most of the time
        code, out, _ = run_srkit(
            "bench", "--models", "bicubic", "--root", shared, "--sets", name, "--protocol", protocol, "--json", *words
        )
        assert code == 0
        report = json.loads(out)
        assert (report["protocol"], len(report["rows"])) == (protocol, 3)
        for row in report["rows"]:
            expected_psnr, expected_ssim = by_scale[row["scale"]]
            assert f"{row['psnr']:.4f}" == expected_psnr, row
            assert expected_ssim is None or f"{row['ssim']:.5f}" == expected_ssim, row


def test_crops_and_colours():
    image = np.random.default_rng(0).integers(0, 256, (40, 50, 3), dtype=np.uint8)
    shapes = {name: protocol.apply(image, image, 3)[0].shape for name, protocol in PROTOCOLS.items()}
    assert shapes == {"y": (34, 44), "y-uint8": (34, 44), "rgb": (34, 44, 3), "div2k": (22, 32, 3)}
    white, black = (np.full((9, 9, 3), v, np.uint8) for v in (255, 0))
    np.testing.assert_allclose(PROTOCOLS["y"].apply(white, black, 2)[0], 235)
    np.testing.assert_allclose(PROTOCOLS["y"].apply(white, black, 2)[1], 16)
    with pytest.raises(UnknownName, match="no protocol called 'yy'; did you mean 'y'?"):
        protocol_named("yy")


def test_a_table_refuses_two_protocols():
    rows = [Row("m", 2, "set5", 5, protocol, {"psnr": 30.0}, 0, 0.1) for protocol in ("y", "rgb")]
    with pytest.raises(UsageError, match="two protocols cannot be compared in one table: rgb and y"):
        to_table(rows)
