"""A hundred odd files through one command: each comes out right, by an independent reading, or is one line."""

import json

import numpy as np

from srkit.images.source import printable
from tests.core.test_odd_files import FILES, unpacked


def test_a_hundred_odd_files_go_through_one_command(run_srkit, tmp_path):
    (tmp_path / "odd").mkdir()
    for file in FILES:
        (tmp_path / "odd" / file.name).write_bytes(file.data)
    words = ["upscale", "odd", "--model", "bicubic", "--scale", "1", "-o", "out", "--json"]
    code, out, err = run_srkit(*words)
    assert code == 1
    told = {entry["source"]: entry for entry in map(json.loads, out.splitlines())}
    passed_over = [line for line in err.splitlines() if "is not read" in line or "left out" in line]
    done = 0
    for file in FILES:
        source = f"odd/{file.name}"
        if source not in told:
            assert any(printable(file.name) in line for line in passed_over), file.name
            continue
        if file.pixels is None:
            assert "\n" not in told[source]["error"]
            assert printable(file.name) in told[source]["error"]
            continue
        pixels = unpacked((tmp_path / told[source]["target"]).read_bytes())
        wanted = file.pixels
        if wanted.shape[2] in (2, 4):  # colour is continued under what is transparent
            hidden = wanted[..., -1] == 0
            np.testing.assert_array_equal(pixels[..., -1], wanted[..., -1])
            pixels, wanted = pixels[~hidden], wanted[~hidden]
        assert (pixels.shape, pixels.dtype) == (wanted.shape, wanted.dtype), file.name
        assert np.abs(pixels.astype(int) - wanted).max() <= file.tolerance, file.name
        done += 1
    assert done > 70
    left = [path.name for path in (tmp_path / "out").rglob("*") if path.is_file()]
    assert len(left) == sum("error" not in entry for entry in told.values())
    assert not [name for name in left if name.startswith(".") and name.endswith((".tmp", ".unfinished"))]
    assert f"{sum('error' in entry for entry in told.values())} of {len(told)} pictures could not be" in err
