"""kill -9 and resume with everything switched on at once: the very training that was never killed."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from safetensors import safe_open

from srkit.images import About, Encoding, picture_from, write_picture
from tests.processes import Running

STEPS = 12
RUN = """
scale = 2
steps = 12
batch = 4
patch = 16
lr = 1e-3
precision = "fp32"
clip = 1.0
accumulate = 2
checkpoint = true
validate_every = 5
make_low_res = "device"

[model]
name = "edsr"
n_resblocks = 2
n_feats = 4

[[data]]
name = "folder"
root = "deep"
weight = 3

[[data]]
name = "folder"
root = "plain"

[[validation]]
name = "folder"
root = "plain"
split = "train"
metric = ["psnr", "ssim"]

[[validation]]
name = "folder"
root = "deep"
split = "train"
label = "deep"
protocol = "rgb"
degraded = true

[[degradation]]
name = "blur"
shuffle = "a"

[[degradation]]
name = "noise"
shuffle = "a"
prob = 0.5

[[degradation]]
name = "jpeg"

[[augmentation]]
name = "dihedral"

[[augmentation]]
name = "mixup"

[[augmentation]]
name = "colour-jitter"

[[loss]]
name = "charbonnier"

[[loss]]
name = "gan"
weight = 0.1
adaptive = true
num_feat = 4
mode = "relativistic"
"""
AVERAGES = {
    "average": "ema = 0.9",
    "schedule-free": 'ema = 0\noptimizer = "schedulefree-adamw"\nschedule = "constant"',
}


@pytest.fixture
def folders():
    """`deep`: a picture of 16 bits whose lower byte matters, and one of 8; `plain`: two of 8."""
    for name in ("deep", "plain"):
        Path(name).mkdir()
    ramp = np.arange(48 * 48, dtype=np.uint16).reshape(48, 48) * np.uint16(25) + np.uint16(3)
    pixels = np.stack([ramp, ramp.T, ramp[::-1]], axis=-1)
    write_picture(Path("deep/a.png"), picture_from(pixels, About()), Encoding("png"))
    for number, path in enumerate(("deep/b.png", "plain/a.png", "plain/b.png")):
        Image.fromarray((np.rot90(pixels, number) >> 8).astype(np.uint8)).save(path)


def content(path):
    """The tensors of a file and, as text, all else it says."""
    with safe_open(path, "pt") as file:
        return {name: file.get_tensor(name) for name in file.keys()}, file.metadata()  # noqa: SIM118


@pytest.mark.parametrize("average", AVERAGES)
def test_killed_and_resumed_with_everything_at_once(registry, run_srkit, folders, average):
    if average == "schedule-free" and not registry.of("optimizer"):
        pytest.skip("srkit-schedulefree is not installed")
    Path("run.toml").write_text(f"{AVERAGES[average]}\n{RUN}", encoding="utf-8")
    words = ["--run", "run.toml", "--device", "cpu"]
    code, _, err = run_srkit("train", *words, "--out", "whole")
    assert code == 0, err
    killed = Running("train", *words, "--save-every", "0.001s", "--out", "killed")
    assert 4 <= max(killed.kill_at(4, "killed")) < STEPS
    code, _, err = run_srkit("train", "--resume", "killed")
    assert code == 0, err
    assert "resumed at step" in err
    for name in ("last.safetensors", "best.safetensors", f"state-{STEPS:08d}.safetensors"):
        (one, about_one), (two, about_two) = (content(Path(folder) / name) for folder in ("whole", "killed"))
        assert one.keys() == two.keys()
        assert [key for key in one if not one[key].equal(two[key])] == []
        assert about_one == about_two, "scores, rates, counters"
