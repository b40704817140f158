"""`srkit try`: all models that have weights, where they disagree; a model that fails is a row that says why."""

import base64
import io
import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from srkit import read_rgb
from srkit.evaluate import trial

# nearest, but for a bright square of 20 pixels; one that fails; one whose file is broken; one that is not downloaded
MODELS = """
from srkit import Model, Weights, hookimpl

def planted(scale):
    import torch
    class Planted(torch.nn.Module):
        def forward(self, lr):
            sr = lr.repeat_interleave(scale, -2).repeat_interleave(scale, -1).clone()
            sr[..., 60:80, 100:120] = (sr[..., 60:80, 100:120] + 0.3).clamp(max=1)
            return sr
    return Planted()

def failing(scale):
    import torch
    class Failing(torch.nn.Module):
        def forward(self, lr):
            raise RuntimeError("no such kernel")
    return Failing()

@hookimpl
def srkit_models():
    return [
        Model(name="planted", build=planted, trainable=False),
        Model(name="failing", build=failing, trainable=False),
        Model(name="broken", build=planted, weights=[
            Weights(scales=(2,), resource="srkit_odd:__init__.py", sha256="0" * 64, licence="MIT"),
        ]),
        Model(name="far", build=planted, weights=[
            Weights(scales=(2,), url="https://example.org/far.safetensors", sha256="0" * 64, licence="MIT"),
        ]),
    ]
"""


def pictures_in(page: str) -> list[np.ndarray]:
    found = re.findall(r'src="data:image/\w+;base64,([^"]+)"', page)
    return [np.asarray(Image.open(io.BytesIO(base64.b64decode(each))).convert("RGB")) for each in found]


@pytest.fixture
def small(tmp_path: Path, photo: np.ndarray) -> Path:
    Image.fromarray(photo[:60, :90]).save(tmp_path / "cat & dog.png")
    return tmp_path / "cat & dog.png"


def test_all_with_weights_are_compared_on_three_crops(run_srkit, small):
    code, out, err = run_srkit("try", small, "--crop", 40)
    assert code == 0, err
    assert [line.split()[0] for line in out.splitlines()[2:6]] == [
        "bicubic", "edsr-small", "edsr-small@photo", "mdsr-small",
    ]  # fmt: skip
    assert "try/cat & dog.png" in out
    page = Path("try/cat & dog.html").read_text()
    assert "<title>cat &amp; dog.png x2: 4 models</title>" in page
    assert page.count("<article") == 3
    assert not re.search(r"https?:|url\(|@import", re.sub(r"base64,[\w+/=]+", "", page)), "nothing from elsewhere"
    shown = pictures_in(page)
    assert [each.shape for each in shown] == [(20, 20, 3), *[(40, 40, 3)] * 4] * 3
    top, left = (int(re.search(rf"1\. .*?{axis}=(\d+)", page)[1]) for axis in "yx")
    assert (shown[0] == read_rgb(small)[top : top + 20, left : left + 20]).all()
    sheet = np.asarray(Image.open("try/cat & dog.png"))
    assert sheet.shape[0] > 3 * 320


def test_the_first_crop_is_where_they_disagree_and_failures_are_rows(run_srkit, install, small):
    install("srkit-odd", MODELS)
    code, out, err = run_srkit("try", small, "--models", "planted,failing", "--count", 1, "--crop", 40, "--scale", 2)
    assert code == 0, err
    page = Path("try/cat & dog.html").read_text()
    x, y = map(int, re.search(r"1\. x=(\d+), y=(\d+)", page).groups())
    assert x <= 50 <= x + 20
    assert y <= 30 <= y + 20
    row = next(line for line in out.splitlines() if "failing" in line)
    assert "failed: 'failing' x2 fails on 90x60 pixels: RuntimeError: no such kernel" in " ".join(row.split())
    assert "failed: &#x27;failing&#x27; x2 fails" in page
    assert len(pictures_in(page)) == 3


def test_broken_weights_are_a_row_and_nothing_is_downloaded_unasked(run_srkit, install, small):
    install("srkit-odd", MODELS)
    code, out, err = run_srkit("try", small, "--count", 1, "--crop", 24)
    assert code == 0, err
    assert any("broken" in line and "failed: " in line for line in out.splitlines())
    assert "not tried: far: its weights are not downloaded; name it with --models to do so" in err
    assert "planted" not in out, "it has no weights"


def test_only_the_parts_with_most_detail_of_a_large_photo_are_upscaled(monkeypatch, run_srkit, tmp_path, photo):
    monkeypatch.setattr(trial, "WHOLE", 1000)
    monkeypatch.setattr(trial, "PARTS", 2)
    pixels = np.full((200, 300, 3), 128, np.uint8)
    pixels[90:150, 40:100] = photo[100:160, 100:160]
    Image.fromarray(pixels).save(tmp_path / "large.png")
    code, _, err = run_srkit("try", tmp_path / "large.png", "--models", "lanczos", "--crop", 40, "--count", 2)
    assert code == 0, err
    page = Path("try/large.html").read_text()
    assert "of the 2 parts of the photo with most detail" in page
    x, y = map(int, re.search(r"1\. x=(\d+), y=(\d+)", page).groups())
    assert 20 < x < 100
    assert 70 < y < 150
    assert (pictures_in(page)[0] == pixels[y : y + 20, x : x + 20]).all()


@pytest.mark.parametrize("shape", [(1, 1), (1, 60), (9, 5)])
def test_a_tiny_photo_is_shown_whole(run_srkit, tmp_path, photo, shape):
    Image.fromarray(photo[: shape[0], : shape[1]]).save(tmp_path / "tiny.png")
    code, _, err = run_srkit("try", tmp_path / "tiny.png", "--models", "lanczos")
    assert code == 0, err
    assert pictures_in(Path("try/tiny.html").read_text())[0].shape == (min(shape), min(shape), 3)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["nowhere.png"], "nowhere.png"),
        (["--models", "edsr-large"], "'edsr-large' has no trained weights for x2 here"),
        (["--models", "edsr-smal"], "did you mean 'edsr-small'?"),
    ],
)
def test_wrong_words_are_one_line(run_srkit, small, words, said):
    code, out, err = run_srkit("try", *([] if words[0] == "nowhere.png" else [small]), *words)
    assert code != 0
    assert said in err.splitlines()[-1]
    assert not out
