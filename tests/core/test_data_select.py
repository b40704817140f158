"""What `srkit data select` sees in pictures, what it decides by the figures, and what it writes."""

import csv
import json
from pathlib import Path
from runpy import run_path

import numpy as np
import pytest
from PIL import Image
from scipy import ndimage

import srkit
from srkit.data.crops import blobs, cut_from, small_gray
from srkit.data.likeness import luma
from srkit.data.select import JPEG, SHARPNESS, Figures, Limit, Wanted, judged
from srkit.data.sharpness import sharpness
from srkit.images import list_images

ROOT = Path(__file__).parents[2]
SAMPLES = ROOT / "plugins/srkit_builtin/samples"
METRIC = """
import srkit
srkit_api = 1
calls = []
def mean():
    def measure(sr, hr):
        assert hr is None and sr.dtype == "float64" and sr.ndim == 3
        calls.append(sr.mean())
        return sr.mean()
    return measure
def broken():
    return lambda sr, hr: float("nan")
@srkit.hookimpl
def srkit_metrics():
    return [srkit.Metric(name="dark", build=mean, higher_is_better=False, needs_reference=False),
            srkit.Metric(name="none", build=broken, needs_reference=False)]
"""


@pytest.fixture(scope="module")
def photographs(tmp_path_factory) -> Path:
    """The ten samples, at most 520 pixels long."""
    folder = tmp_path_factory.mktemp("photographs")
    for path in list_images(SAMPLES):
        with Image.open(path) as image:
            small = image.convert("RGB")
        small.thumbnail((520, 520), Image.Resampling.LANCZOS)
        small.save(folder / f"{path.stem}.jpg", quality=95, subsampling=0)
    return folder


@pytest.fixture
def pictures(tmp_path, photographs) -> Path:
    """Three photographs, one blurred, one compressed, two copies, and a file that is no picture."""
    folder = tmp_path / "pictures"
    folder.mkdir()
    for name in ("astronaut", "coffee", "chelsea"):
        (folder / f"{name}.jpg").write_bytes((photographs / f"{name}.jpg").read_bytes())
    with Image.open(photographs / "astronaut.jpg") as image:
        rgb = np.asarray(image)
    Image.fromarray(ndimage.gaussian_filter(rgb[:, ::-1], (2, 2, 0))).save(folder / "blurred.png")
    with Image.open(photographs / "solaris-grapes.jpg") as image:
        image.save(folder / "pressed.jpg", quality=30)
    with Image.open(photographs / "coffee.jpg") as image:
        image.crop((60, 40, 420, 330)).save(folder / "cut.png")
        image.resize((image.width * 2 // 3, image.height * 2 // 3)).save(folder / "smaller.png")
    (folder / "torn.jpg").write_bytes((photographs / "chelsea.jpg").read_bytes()[:2000])
    return folder


# --- seeing ---


def test_blur_is_seen_however_it_came_and_a_plain_background_is_none(photo):
    gray = luma(photo)
    sharp = sharpness(gray).edges
    assert sharp > SHARPNESS
    spoiled = {
        "gaussian": ndimage.gaussian_filter(gray, 2),
        "across": ndimage.uniform_filter1d(gray, 11, axis=1),
        "down": ndimage.uniform_filter1d(gray, 11, axis=0),
        "aslant": ndimage.convolve(gray, np.eye(9, dtype=np.float32) / 9),
    }
    for name, plane in spoiled.items():
        assert sharpness(plane).edges < SHARPNESS, name
    focus = spoiled["gaussian"].copy()
    focus[40:200, 60:300] = gray[40:200, 60:300]
    assert sharpness(focus).edges > SHARPNESS, "sharp where the subject is"
    assert sharpness(np.full((200, 200), 90, np.float32)).edges is None
    assert sharpness(gray[:8, :8]).edges is None


def test_the_laplacians_variance_is_that_of_scipy(photo):
    gray = luma(photo)
    theirs = ndimage.laplace(gray.astype(np.float64))[4:-4, 4:-4]
    assert sharpness(gray).laplacian == pytest.approx(theirs.var(), rel=1e-6)


def test_parts_of_pictures_are_found_and_other_pictures_are_not(photographs):
    rng = np.random.default_rng(1)
    whole = [Image.fromarray(srkit.read_rgb(path)) for path in list_images(photographs)]
    parts = []
    for number, image in enumerate(whole):
        share = 0.6 + 0.04 * number
        width, height = int(image.width * share), int(image.height * share)
        left, top = int(rng.integers(image.width - width)), int(rng.integers(image.height - height))
        part = image.crop((left, top, left + width, top + height))
        parts.append(part.resize((int(width * 0.8), int(height * 0.8))))
    gray = [small_gray(np.asarray(image)) for image in (*whole, *parts)]
    found = {tuple(sorted(pair)) for pair in cut_from([blobs(each) for each in gray], gray.__getitem__)}
    expected = {(number, number + len(whole)) for number in range(len(whole))}
    assert not found - expected
    assert len(found) >= 9


# --- deciding ---


def figures(name: str, **values) -> Figures:
    own = {"sharpness": 0.8, "laplacian": 100.0, "jpeg": None} | values
    return Figures(name, 100, 80, own, energy=own["laplacian"] * 8000)


def reasons(found, wanted) -> dict[str, str]:
    return {one.name: one.reason for one in judged(found, wanted, lambda i: pytest.fail("no picture is read"))}


def test_limits_say_no_to_what_is_worse_and_nothing_to_what_is_not_known():
    limits = [Limit("sharpness", 0.5), Limit("jpeg", 80), Limit("niqe", 6, higher_is_better=False)]
    found = [
        figures("good", niqe=5.0),
        figures("soft", sharpness=0.49, niqe=5.0),
        figures("plain", sharpness=None, niqe=6.0),
        figures("pressed", jpeg=80, niqe=5.0),
        figures("poor", niqe=6.01),
        Figures("torn", error="it is cut off"),
    ]
    assert reasons(found, Wanted(limits, same="off")) == {
        "good": "", "soft": "sharpness", "plain": "", "pressed": "jpeg", "poor": "niqe", "torn": "unreadable",
    }  # fmt: skip


def test_the_best_are_kept_by_any_figure_in_its_direction():
    found = [figures(name, sharpness=value, niqe=value) for name, value in (("a", 0.6), ("b", 0.9), ("c", 0.7))]
    assert reasons(found, Wanted(keep=1, same="off")) == {"a": "rank", "b": "", "c": "rank"}
    low = Wanted(by="niqe", higher_is_better=False, keep=2, same="off")
    assert reasons(found, low) == {"a": "", "b": "rank", "c": ""}
    pressed = [figures("p", jpeg=70), figures("q", jpeg=None), figures("r", jpeg=75)]
    assert reasons(pressed, Wanted(by="jpeg", keep=2, same="off")) == {"p": "rank", "q": "", "r": ""}


def test_of_copies_the_one_with_the_most_in_it_is_kept(photo):
    from dataclasses import replace

    from srkit.data.likeness import thumbnail

    one, other = thumbnail(photo), thumbnail(photo[::-1])
    found = [
        replace(figures("copy", laplacian=50.0), thumbnail=one),
        replace(figures("pressed", laplacian=200.0, jpeg=78), thumbnail=one),
        replace(figures("ringing", laplacian=110.0), thumbnail=one, size=900),
        replace(figures("first"), thumbnail=one, size=1000),
        replace(figures("another"), thumbnail=other),
        replace(figures("soft", sharpness=0.1, laplacian=300.0), thumbnail=one),
    ]
    wanted = Wanted([Limit("sharpness", 0.5)], same="whole")
    verdicts = {one.name: one for one in judged(found, wanted, lambda i: photo)}
    assert {name: one.reason for name, one in verdicts.items()} == {
        "copy": "duplicate", "pressed": "duplicate", "ringing": "duplicate", "first": "",
        "another": "", "soft": "sharpness",
    }  # fmt: skip
    assert verdicts["copy"].twin == verdicts["pressed"].twin == "first"


def test_of_two_equal_copies_the_one_that_was_not_saved_again_is_kept(photographs, tmp_path, run_srkit):
    (tmp_path / "two").mkdir()
    whole = srkit.read_rgb(photographs / "astronaut.jpg")
    (tmp_path / "two" / "b.jpg").write_bytes((photographs / "astronaut.jpg").read_bytes())
    Image.fromarray(whole).save(tmp_path / "again.jpg", quality=88)
    Image.fromarray(srkit.read_rgb("again.jpg")).save(tmp_path / "two" / "a.png")
    code, out, _ = run_srkit("data", "select", "two", "--list", "k.txt", "--json")
    assert code == 0
    assert [(one["name"], one["twin"]) for one in json.loads(out)["dropped"]] == [("a", "b")]


# --- the command ---


def test_it_finds_what_was_planted_among_photographs(photographs, tmp_path, run_srkit):
    """The small version of benchmarks/select_planted.py, by its own functions."""
    script = run_path(str(ROOT / "benchmarks/select_planted.py"))
    folder = tmp_path / "planted"
    folder.mkdir()
    counts = {"blurred": 3, "compressed": 3, "copy": 3}
    truth = script["plant"](list_images(photographs), folder, counts, 0)
    code, out, _ = run_srkit("data", "select", folder, "--list", "kept.txt", "--json")
    assert code == 0
    found = script["report"](truth, json.loads(out)["dropped"])
    assert found["found"] == counts, found["missed"]
    assert sum(found["by its own"].values()) >= 8
    assert len(found["lost"]) <= 1, found["lost"]
    assert len(Path("kept.txt").read_text().splitlines()) == 19 - 9 - len(found["lost"])


def test_what_is_kept_is_copied_as_it_is_and_the_source_stays(pictures, run_srkit, tmp_path):
    before = {path.name: path.read_bytes() for path in pictures.iterdir()}
    code, out, err = run_srkit("data", "select", "pictures", "-o", "new/out")
    assert code == 0, err
    assert {path.name: path.read_bytes() for path in pictures.iterdir()} == before
    kept = {path.name: path.read_bytes() for path in (tmp_path / "new/out/HR").iterdir()}
    assert set(kept) == {"astronaut.jpg", "coffee.jpg", "chelsea.jpg"}
    assert all(data == before[name] for name, data in kept.items())
    assert "3 of 8 pictures kept in new/out (3 new)" in out
    for line in ("1 with a sharpness below 0.4", "1 were a JPEG of quality 80 or less", "2 are there again"):
        assert f"dropped:  {line}" in out
    assert "dropped:  1 unreadable" in out
    rows = {row["name"]: row for row in csv.DictReader(Path("new/out.figures.csv").read_text().splitlines())}
    assert len(rows) == 8
    assert rows["cut"]["twin"] == rows["smaller"]["twin"] == "coffee"
    assert rows["pressed"]["reason"] == "jpeg"
    assert abs(float(rows["pressed"]["jpeg"]) - 30) < 6
    assert rows["torn"]["reason"] == "unreadable"
    assert float(rows["astronaut"]["sharpness"]) > SHARPNESS
    sheet = srkit.read_rgb("new/out.dropped.png")
    assert sheet.shape[1] > 1000
    assert len(srkit.load_plugins().choose("dataset", "folder").build(tmp_path / "new/out", "train", 2)) == 3


def test_figures_are_kept_so_that_other_limits_cost_nothing(pictures, run_srkit, monkeypatch):
    assert run_srkit("data", "select", "pictures", "--list", "one.txt")[0] == 0
    looks = []

    def looked(rgb):
        looks.append(rgb)
        raise AssertionError

    monkeypatch.setattr("srkit.data.select.looked_at", looked)
    words = ("--limit", "sharpness=off", "--limit", "jpeg=20", "--duplicates", "off", "--figures", "f.json")
    code, out, _ = run_srkit("data", "select", "pictures", "--list", "two.txt", *words)
    assert (code, looks) == (0, [])
    assert "7 of 8 pictures kept" in out
    assert {row["name"]: row["reason"] for row in json.loads(Path("f.json").read_text())}["torn"] == "unreadable"


def test_an_interrupted_selection_goes_on_and_another_is_refused(pictures, run_srkit, monkeypatch, tmp_path):
    from srkit.data import select

    asked = []

    def stops(rgb):
        if len(asked) == 3:
            raise KeyboardInterrupt
        asked.append(1)
        return looked_at(rgb)

    looked_at = select.looked_at
    with monkeypatch.context() as patch:
        patch.setattr("os.cpu_count", lambda: 1)
        patch.setattr("srkit.data.select.looked_at", stops)
        assert run_srkit("data", "select", "pictures", "-o", "out")[0] == 130
    assert not (tmp_path / "out").exists()
    count = []
    monkeypatch.setattr("srkit.data.select.looked_at", lambda rgb: count.append(1) or looked_at(rgb))
    assert run_srkit("data", "select", "pictures", "-o", "out")[0] == 0
    assert len(count) == 7 - 3
    code, out, _ = run_srkit("data", "select", "pictures", "-o", "out")
    assert (code, "(0 new)" in out) == (0, True)
    code, _, err = run_srkit("data", "select", "pictures", "-o", "out", "--keep", 2)
    assert code == 2
    assert "'out' holds another selection" in err
    (pictures / "chelsea.jpg").unlink()
    code, _, err = run_srkit("data", "select", "pictures", "-o", "out")
    assert code == 2
    assert "holds what is not selected (any more), 1 in all: HR/chelsea.jpg; remove it, or name another folder" in err


def test_links_and_pairs(run_srkit, tmp_path, photo):
    rng = np.random.default_rng(0)
    for name, pixels in (("a", photo[:298, :450]), ("b", rng.integers(0, 256, (298, 450, 3), np.uint8))):
        for folder, made in (("HR", pixels), ("LR/X2", srkit.imresize(np.ascontiguousarray(pixels), 1 / 2))):
            (tmp_path / "set" / folder).mkdir(parents=True, exist_ok=True)
            Image.fromarray(made).save(tmp_path / "set" / folder / f"{name}.png")
    code, out, _ = run_srkit("data", "select", "set", "-o", "out", "--link", "--keep", "50%", "--by", "laplacian")
    assert code == 0, out
    links = {path.relative_to(tmp_path / "out").as_posix(): path for path in (tmp_path / "out").rglob("*.png")}
    assert set(links) == {"HR/b.png", "LR/X2/b.png"}
    assert all(path.is_symlink() and path.resolve().is_relative_to(tmp_path / "set") for path in links.values())
    again = run_srkit("data", "select", "set", "-o", "out", "--link", "--keep", "50%", "--by", "laplacian")
    assert again[0] == 0
    assert "(0 new)" in again[1]


def test_any_metric_ranks_and_limits(pictures, install, run_srkit):
    install("srkit-dark", METRIC)
    words = ("data", "select", "pictures", "--list", "k.txt", "--by", "dark", "--figures", "f.json")
    code, _, err = run_srkit(*words, "--keep", 1)
    assert code == 0, err
    rows = {row["name"]: row for row in json.loads(Path("f.json").read_text())}
    good = {name: row["dark"] for name, row in rows.items() if row["reason"] in ("", "rank")}
    assert len(good) == 3
    assert [name for name, row in rows.items() if row["kept"]] == [min(good, key=good.__getitem__)]
    assert rows["coffee"]["dark"] == pytest.approx(srkit.read_rgb(pictures / "coffee.jpg").mean())
    import srkit_dark

    srkit_dark.calls.clear()
    limit = sorted(good.values())[1]
    code, out, _ = run_srkit(*words, "--limit", f"dark={limit}")
    assert code == 0
    assert "2 of 8 pictures kept" in out
    assert f"with a dark above {limit:g}" in out
    assert not srkit_dark.calls, "the metric's values are kept too"
    code, _, err = run_srkit("data", "select", "pictures", "--list", "k.txt", "--by", "none")
    assert (code, err.splitlines()[-1].count("metric 'none' gives nan")) == (1, 1)


WRONG = {
    "nowhere": ("", "say where to: -o FOLDER copies the pictures, --list FILE writes their paths"),
    "metric": ("--list k.txt --by sharpnes", "no figure and no metric called 'sharpnes'; did you mean 'sharpness'?"),
    "reference": ("--list k.txt --by psnr", "metric 'psnr' compares with a reference"),
    "limit": ("--list k.txt --limit sharpness", "write FIGURE=VALUE, such as"),
    "limit's figure": ("--list k.txt --limit sharp=1", "did you mean 'sharpness'?"),
    "keep": ("--list k.txt --keep 120%", "--keep 120%: write a share of all pictures"),
    "keep none": ("--list k.txt --keep 0", "--keep 0"),
    "duplicates": ("--list k.txt --duplicates all", "--duplicates"),
    "figures": ("--list k.txt --figures f.txt", ".csv or .json"),
    "list's folder": ("--list nowhere/k.txt", "no folder 'nowhere'"),
    "split": ("--list k.txt --split tran", "did you mean 'train'?"),
}


@pytest.mark.parametrize("case", WRONG)
def test_a_wrong_word_gets_one_line_and_writes_nothing(run_srkit, tmp_path, case):
    words, said = WRONG[case]
    code, out, err = run_srkit("data", "select", "samples", *words.split())
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert said in err
    assert not list(tmp_path.iterdir())


def test_the_help_says_the_defaults():
    from srkit.cli.data.select import select
    from srkit.cli.data.tile import tile
    from srkit.data.tiles import Tiling

    (option,) = select.__annotations__["limit"].__metadata__
    assert f"sharpness={SHARPNESS:g},jpeg={JPEG}" in option.help
    assert tile.__defaults__ is not None
    assert tile.__defaults__[:3] == (Tiling().size, Tiling().step, Tiling().flat)
