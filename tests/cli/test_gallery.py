"""`srkit gallery`: the crops are the pictures' own, the figures right, the page whole in one file."""

import base64
import io
import json
import re
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from skimage.color import rgb2ycbcr
from skimage.metrics import peak_signal_noise_ratio

from srkit import imresize, read_rgb
from srkit.evaluate.sheet import LABEL, MARGIN

SAMPLES = Path(__file__).parents[2] / "plugins/srkit_builtin/samples"
VOID = ("img", "input", "meta", "br", "link", "hr")

# nearest, but for a bright square of 60 pixels in every picture
PLANTED = """
from srkit import Model, hookimpl

def build(scale):
    import torch
    class Planted(torch.nn.Module):
        def forward(self, lr):
            sr = lr.repeat_interleave(scale, -2).repeat_interleave(scale, -1).clone()
            sr[..., 100:160, 200:260] = (sr[..., 100:160, 200:260] + 0.3).clamp(max=1)
            return sr
    return Planted()

@hookimpl
def srkit_models():
    return [Model(name="planted", build=build, trainable=False)]
"""


class Page(HTMLParser):
    """Tables, and the crops with their pictures decoded. Refuses tags that are not closed and what is elsewhere."""

    def __init__(self, path: Path):
        super().__init__()
        self.open: list[str] = []
        self.crops: list[dict] = []
        self.rows: list[list[str]] = []
        source = path.read_text(encoding="utf-8")
        code = re.sub(r"base64,[\w+/=]+", "", source)
        assert not re.search(r"https?:|//\w|url\(|@import|\bfetch\(|XMLHttp", code), "nothing from elsewhere"
        self.feed(source)
        self.close()
        assert not self.open

    def handle_starttag(self, tag, attrs):
        values = dict(attrs)
        for name in ("src", "href"):
            assert values.get(name, "data:").startswith("data:")
        if tag == "article":
            self.crops.append({"labels": [], "pixels": [], "figures": [], "title": ""})
        if tag == "img" and "src" in values:
            image = Image.open(io.BytesIO(base64.b64decode(values["src"].partition("base64,")[2], validate=True)))
            assert values["alt"]
            self.crops[-1]["pixels"].append(np.asarray(image.convert("RGB")))
            self.crops[-1]["figures"].append("")
        if tag == "tr":
            self.rows.append([])
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        inside = self.open[-1] if self.open else ""
        if "article" in self.open:
            if inside == "h3":
                self.crops[-1]["title"] += data
            elif "li" in self.open and data.strip():
                self.crops[-1]["figures"][-1] += data
        elif inside in ("th", "td"):
            self.rows[-1].append(data)


def places(page: Page) -> list[tuple[str, int, int]]:
    found = [re.match(r"\d+\. (.+) at x=(\d+), y=(\d+)", crop["title"]) for crop in page.crops]
    return [(m[1], int(m[2]), int(m[3])) for m in found]


def luma_psnr(sr: np.ndarray, hr: np.ndarray) -> float:
    return peak_signal_noise_ratio(rgb2ycbcr(hr)[..., 0], rgb2ycbcr(sr)[..., 0], data_range=255)


def even(pixels: np.ndarray, scale: int) -> np.ndarray:
    return pixels[: pixels.shape[0] // scale * scale, : pixels.shape[1] // scale * scale]


@pytest.mark.parametrize(("scale", "crop"), [(2, 64), (3, 50)])
def test_crops_are_the_pictures_own_and_figures_are_right(run_srkit, tmp_path, scale, crop):
    words = ["gallery", "lanczos", "--scale", scale, "--crop", crop, "--random", 5, "--seed", 7]
    code, out, err = run_srkit(*words, "-o", "g")
    assert (code, err) == (0, "")
    window = crop // scale * scale
    assert f"samples x{scale}: 5 crops of {window}x{window} pixels" in out
    page = Page(tmp_path / "g/gallery.html")
    pictures = {name: even(read_rgb(SAMPLES / f"{name}.png"), scale) for name in ("chelsea", "coffee")}
    sheet = read_rgb(tmp_path / "g/gallery.png")
    zoom = round(192 / window)
    line = 0
    for crop_, (name, x, y) in zip(page.crops, places(page), strict=True):
        hr = pictures[name]
        lr = imresize(hr, 1 / scale)
        sr = {"bicubic": imresize(lr, scale), "lanczos": imresize(lr, scale, method="lanczos3")}
        where = np.s_[y : y + window, x : x + window]
        shown = crop_["pixels"]
        assert x % scale == y % scale == 0
        assert np.array_equal(shown[0], hr[where])
        assert np.array_equal(shown[1], lr[y // scale :, x // scale :][: window // scale, : window // scale])
        for label, pixels, figures in zip(sr, shown[2:], crop_["figures"][2:], strict=True):
            assert np.abs(pixels.astype(int) - sr[label][where]).max() <= (0 if label == "bicubic" else 1)
            figures = re.search(r"([\d.]+) dB crop([\d.]+) dB whole", figures)
            assert float(figures[1]) == pytest.approx(luma_psnr(pixels, hr[where]), abs=0.0051)
            inner = np.s_[scale:-scale, scale:-scale]
            assert float(figures[2]) == pytest.approx(luma_psnr(sr[label][inner], hr[inner]), abs=0.02)
        # on the sheet the five rows lie below one another, HR at the left
        large = shown[0].repeat(zoom, axis=0).repeat(zoom, axis=1)
        side = zoom * window
        tops = range(line, sheet.shape[0] - side + 1)
        line = next(top for top in tops if np.array_equal(sheet[top : top + side, MARGIN : MARGIN + side], large))
        small = shown[1].repeat(zoom * scale, axis=0).repeat(zoom * scale, axis=1)
        assert np.array_equal(sheet[line : line + side, 2 * MARGIN + side :][:, :side], small)
        line += side

    _, scores, _ = run_srkit("bench", "--models", "bicubic,lanczos", "--sets", "samples", "--scales", scale, "--json")
    for row, told in zip(json.loads(scores)["rows"], page.rows[1:], strict=True):
        assert told == [row["model"], f"{row['psnr']:.4f}", f"{row['ssim']:.5f}", "0"]
    assert page.rows[0] == ["model", "PSNR (y)", "SSIM (y)", "parameters"]

    before = {name: (tmp_path / "g" / name).read_bytes() for name in ("gallery.png", "gallery.html")}
    assert run_srkit(*words, "-o", "again")[0] == 0
    assert {p.name: p.read_bytes() for p in (tmp_path / "again").iterdir()} == before


def test_the_draw_is_the_seeds_alone(run_srkit, tmp_path, trained):
    found = {}
    draws = {"a": ["nearest", 20, 3], "b": [trained, 20, 3], "c": ["nearest", 20, 4], "d": ["nearest", 7, 3]}
    for name, (model, count, seed) in draws.items():
        words = ["gallery", model, "--scale", 2, "--crop", 32, "--random", count, "--seed", seed, "-o", name]
        assert run_srkit(*words)[0] == 0
        found[name] = places(Page(tmp_path / name / "gallery.html"))
    assert len(set(found["a"])) == 20
    assert found["a"] == found["b"] != found["c"]
    assert found["d"] == found["a"][:7]
    assert [name for name, _, _ in found["a"]].count("coffee") == 10
    for i, (name, x, y) in enumerate(found["a"]):
        assert not any(n == name and abs(x - u) < 32 and abs(y - v) < 32 for n, u, v in found["a"][:i])
    page = Page(tmp_path / "b/gallery.html")
    assert [row[0] for row in page.rows[1:]] == ["bicubic", "run"], "a run's folder by its name"


def test_the_place_where_models_differ_is_found(run_srkit, install, tmp_path):
    install("srkit-planted", PLANTED)
    words = ["--scale", 2, "--where", "disagree", "--count", 9, "-o", "g"]
    code, _, err = run_srkit("gallery", "nearest", "planted", *words)
    assert code == 0, err
    page = Page(tmp_path / "g/gallery.html")
    assert len(page.crops) == 4, "two of each of two pictures"
    differences = []
    for crop in page.crops:
        nearest, planted = (pixels.astype(float) for pixels in crop["pixels"][3:])
        told = float(re.search(r"differ by ([\d.]+) levels", crop["title"])[1])
        assert told == pytest.approx(np.abs(nearest - planted).mean(), abs=0.0051)
        differences.append(told)
    assert differences == sorted(differences, reverse=True)
    assert differences[0] > 20
    assert sorted(name for name, _, _ in places(page)) == ["chelsea", "chelsea", "coffee", "coffee"]
    best = {name: (x, y) for name, x, y in reversed(places(page))}
    for x, y in best.values():  # windows of 64 every 32 pixels: one of them holds most of the square
        across, down = (max(0, min(at + 64, begin + 60) - max(at, begin)) for at, begin in ((x, 200), (y, 100)))
        assert across * down > 0.6 * 60**2
    for name in best:
        (x, y), (u, v) = [(x, y) for other, x, y in places(page) if other == name]
        assert abs(x - u) >= 64 or abs(y - v) >= 64


def test_names_of_columns_and_self_ensemble(run_srkit, tmp_path, trained):
    (tmp_path / "HR").symlink_to(trained)
    words = [trained / "last.safetensors", "HR/", "bicubic", "--self-ensemble", "--count", 1, "-o", "g"]
    code, out, err = run_srkit("gallery", *words)
    assert code == 0, err
    page = Page(tmp_path / "g/gallery.html")
    assert [row[0] for row in page.rows[1:]] == ["bicubic", "run/last+", "run+"]
    code, out, _ = run_srkit("bench", trained / "last.safetensors", "--models", "bicubic", "--sets", "samples",
                             "--self-ensemble", "--scales", 2, "--json")  # fmt: skip
    assert page.rows[2][1] == f"{json.loads(out)['rows'][-1]['psnr']:.4f}"


def test_pictures_smaller_than_a_crop(run_srkit, tmp_path, photo):
    (tmp_path / "mixed").mkdir()
    Image.fromarray(photo).save(tmp_path / "mixed" / "<large> & 'wide'.png")
    Image.fromarray(photo[:40, :400]).save(tmp_path / "mixed" / "low.png")
    code, _, err = run_srkit("gallery", "nearest", "--data", "mixed", "--scale", 2, "--random", 3, "-o", "g")
    assert (code, err) == (0, "srkit: 1 pictures are smaller than a crop: they are in the table alone\n")
    assert {name for name, _, _ in places(Page(tmp_path / "g/gallery.html"))} == {"<large> & 'wide'"}
    code, _, err = run_srkit("gallery", "nearest", "--data", "mixed", "--scale", 2, "--crop", 400, "-o", "h")
    assert (code, err.count("\n")) == (1, 1)
    assert "every picture is too small for a crop of 400x400 pixels" in err
    assert not (tmp_path / "h").exists()


def test_the_commands_on_the_page_make_its_picture(run_srkit, tmp_path):
    """But for what the networks learned: they train for one step."""
    docs = Path(__file__).parents[2] / "docs"
    sweep, gallery = re.findall(r"^\$ srkit (.*)$", (docs / "looking.md").read_text(), flags=re.M)
    sweep = re.sub(r"--steps \d+", "--steps 1 --set batch=1 --set patch=8", sweep)
    for line in (sweep, gallery):
        code, _, err = run_srkit(*line.split())
        assert code == 0, err
    ours, shown = (read_rgb(path) for path in (tmp_path / "gallery/gallery.png", docs / "images/gallery.png"))
    assert ours.shape == shown.shape
    known = 3 * (192 + MARGIN)  # HR, LR and bicubic
    assert np.array_equal(ours[2 * LABEL :, :known], shown[2 * LABEL :, :known])
    assert not np.array_equal(ours, shown)


WRONG = {
    "no model": ("gallery", "missing argument 'models'"),
    "model": ("gallery bicubc", "no model called 'bicubc'; did you mean 'bicubic'?"),
    "checkpoint": ("gallery runs/edsr.safetensors", "edsr.safetensors"),
    "data": ("gallery nearest --data sampels", "did you mean 'samples'?"),
    "where": ("gallery nearest --where disagre", "--where is random or disagree, not 'disagre'"),
    "nothing to compare": ("gallery bicubic --where disagree", "name one beside bicubic"),
    "scale": ("gallery edsr --scale 7", "does not upscale x7"),
    "crop": ("gallery nearest --crop 2", "invalid value for '--crop'"),
    "sheet": ("gallery nearest --random 200 --crop 700", "make too large a sheet; lower --random or --crop"),
    "count": ("gallery nearest --random 0", "invalid value for '--random'"),
    "root": ("gallery nearest --root photoss", "no folder 'photoss'"),
    "device": ("gallery nearest --device gpu", "gpu"),
    "a file": ("gallery nearest -o file", "-o 'file' is a file; name a folder"),
    "below a file": ("gallery nearest -o file/deeper", "cannot write into 'file/deeper'"),
}


@pytest.mark.parametrize("case", WRONG)
def test_a_wrong_word_gets_one_line_and_leaves_nothing(run_srkit, tmp_path, case):
    (tmp_path / "file").write_text("")
    line, words = WRONG[case]
    code, out, err = run_srkit(*line.split())
    assert (code, out, err.count("\n")) == (2, "", 1), err
    assert words in err
    assert [p.name for p in tmp_path.iterdir()] == ["file"]
