"""The preflight: every planted fault is found under its name, and nothing else is reported."""

import io
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageFilter

from srkit import DataError, Pair, UsageError, imresize, read_rgb
from srkit.data.check import check_dataset, open_for_check, quick_check
from srkit.data.jpeg_blocks import jpeg_quality
from srkit.data.store import Store, packed

Resampling = Image.Resampling
WIDTH, HEIGHT = 480, 320
TAKEN = ("0001", "0010", "0030", "0050", "0071", "0090", "0120", "0150", "0200", "0230")


@pytest.fixture(scope="module")
def photos(shared) -> list[np.ndarray]:
    """Ten photographs of one size, without anything that could be found fault with."""
    files = (shared / "train" / f"{name}.jpg" for name in TAKEN)
    return [np.asarray(Image.open(f).convert("RGB").resize((WIDTH, HEIGHT), Resampling.LANCZOS)) for f in files]


def resized(pixels: np.ndarray, factor: float, how=Resampling.BICUBIC) -> np.ndarray:
    height, width = pixels.shape[:2]
    return np.asarray(Image.fromarray(pixels).resize((round(width * factor), round(height * factor)), how))


def jpeg(pixels: np.ndarray, quality: int) -> bytes:
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "JPEG", quality=quality)
    return file.getvalue()


def decoded(data: bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(data)).convert("RGB"))


def noisy(pixels: np.ndarray, sigma: float) -> np.ndarray:
    noise = np.random.default_rng(0).normal(0, sigma, pixels.shape)
    return np.clip(pixels + noise + 0.5, 0, 255).astype(np.uint8)


def blurred(pixels: np.ndarray, scale: int) -> np.ndarray:
    soft = Image.fromarray(pixels).filter(ImageFilter.GaussianBlur(1.5))
    return noisy(resized(np.asarray(soft), 1 / scale, Resampling.BOX), 10)


KERNELS: dict[str, Callable[[np.ndarray, int], np.ndarray]] = {
    "MATLAB's bicubic": lambda hr, scale: imresize(hr, 1 / scale),
    "Pillow's bicubic": lambda hr, scale: resized(hr, 1 / scale),
    "Lanczos": lambda hr, scale: resized(hr, 1 / scale, Resampling.LANCZOS),
    "area": lambda hr, scale: resized(hr, 1 / scale, Resampling.BOX),
    "nearest": lambda hr, scale: resized(hr, 1 / scale, Resampling.NEAREST),
    "blurred and noisy": blurred,
    "a bad JPEG": lambda hr, scale: decoded(jpeg(imresize(hr, 1 / scale), 30)),
}


def found(pairs: list[Pair], scale: int = 2, **options) -> list[tuple[str, str, str]]:
    report = check_dataset(pairs, scale, **options)
    assert report.pictures == len(pairs)
    return sorted((f.severity, f.kind, f.name) for f in report.findings)


def numbered(photos: list[np.ndarray], make: Callable | None = None, scale: int = 2) -> list[Pair]:
    return [Pair(f"p{i}", make(hr, scale) if make else None, hr) for i, hr in enumerate(photos)]


@pytest.mark.parametrize("kernel", KERNELS)
@pytest.mark.parametrize("scale", [2, 4])
def test_sound_pairs_of_any_kernel_give_no_finding(photos, kernel, scale):
    assert found(numbered(photos, KERNELS[kernel], scale), scale, patch=32) == []


def test_sound_hr_alone_gives_no_finding(photos):
    progress = []
    against = {"other": numbered([np.flip(photos[0], 1)])}
    report = check_dataset(numbered(photos), 2, against=against, progress=lambda *at: progress.append(at))
    assert report.findings == []
    assert report.checked == {"scale": 2, "patch": 48, "read": 10, "lr_given": 0, "against": {"other": 1}}
    assert progress == [(i, 11) for i in range(1, 12)]


@pytest.mark.parametrize("kernel", ["MATLAB's bicubic", "Lanczos", "area", "blurred and noisy"])
@pytest.mark.parametrize("scale", [2, 3, 4])
def test_shifted_and_swapped_pairs_are_found_and_no_others(photos, kernel, scale):
    make = KERNELS[kernel]
    height, width = HEIGHT // scale * scale, WIDTH // scale * scale
    pairs = numbered([p[:height, :width] for p in photos], make, scale)
    hr_shifted = np.roll(photos[1], (-1, 0), axis=(0, 1))[:height, :width]  # what was a pixel below
    pairs[1] = Pair("hr", make(photos[1][:height, :width], scale), hr_shifted)
    pairs[2] = Pair("lr", np.roll(pairs[2].lr, 1, axis=1), pairs[2].hr)  # what was an LR pixel to the left
    pairs[3], pairs[4] = Pair("one", pairs[4].lr, pairs[3].hr), Pair("two", pairs[3].lr, pairs[4].hr)
    report = check_dataset(pairs, scale, patch=32)
    texts = {f.name: f.text for f in report.findings}
    assert {(f.severity, f.kind, f.name) for f in report.findings} == {
        ("error", "shift", "hr"), ("error", "shift", "lr"), ("error", "mismatch", "one"), ("error", "mismatch", "two"),
    }  # fmt: skip
    assert "fits its HR 1 HR pixel further up;" in texts["hr"]
    assert f"fits its HR {scale} HR pixels further left;" in texts["lr"]
    assert "it is that of 'two'" in texts["one"]
    assert "it is that of 'one'" in texts["two"]


def test_a_stray_lr_of_no_picture_in_the_set(photos):
    pairs = numbered(photos[:3], KERNELS["area"])
    pairs[0] = replace(pairs[0], lr=resized(photos[9], 0.5))
    (finding,) = check_dataset(pairs, 2).findings
    assert (finding.kind, finding.name) == ("mismatch", "p0")
    assert "make it again" in finding.text


@pytest.mark.parametrize(("pixels", "severity"), [(1, "warning"), (2, "error")])
def test_a_shift_common_to_all_is_told_once(photos, pixels, severity):
    """An off-centre kernel, as in unknown degradations: below an LR pixel it may be meant."""
    pairs = [Pair(f"p{i}", imresize(np.roll(p, -pixels, axis=1), 0.5), p) for i, p in enumerate(photos)]
    (finding,) = check_dataset(pairs, 2).findings
    assert (finding.severity, finding.kind, finding.name) == (severity, "shift", "")
    assert f"the LR of 10 of 10 pairs fits HR {pixels} HR pixel" in finding.text
    assert "further right" in finding.text


def test_flat_pictures_are_not_judged():
    gray = np.full((HEIGHT, WIDTH, 3), 127, np.uint8)
    ramp = np.broadcast_to(np.linspace(60, 90, WIDTH).astype(np.uint8)[:, None], (HEIGHT, WIDTH, 3))
    faint = noisy(gray, 0.3)
    pairs = [Pair(name, noisy(hr[::2, ::2], 5), hr) for name, hr in (("gray", gray), ("ramp", ramp), ("faint", faint))]
    findings = check_dataset(pairs, 2, against={"set": [Pair("gray", None, gray)]}).findings
    assert [(f.severity, f.kind) for f in findings] == [("info", "gray"), ("info", "flat")]
    assert findings[0].text == "2 of 3 are gray, stored as RGB: gray, ramp"
    assert "3 of 3 are almost without detail" in findings[1].text


def test_wrong_sizes_say_what_would_fit(photos):
    pairs = numbered(photos[:4], KERNELS["area"])
    pairs[1] = replace(pairs[1], lr=imresize(photos[1], 0.25))
    pairs[2] = replace(pairs[2], lr=imresize(photos[2], 0.5)[:-1])
    pairs[3] = replace(pairs[3], lr=photos[3][..., 0])
    texts = {f.name: f.text for f in check_dataset(pairs, 2).findings}
    assert found(pairs) == [("error", "size", name) for name in ("p1", "p2", "p3")]
    assert texts["p1"] == (
        "LR is 120x80, but HR 480x320 divided by 2 is 240x160; as x4 they may fit: --scale says which is meant"
    )
    assert "crop HR to a multiple of the scale" in texts["p2"]
    assert "LR must be a uint8 or uint16 array H,W,3" in texts["p3"]


def test_small_pictures(photos):
    pairs = [*numbered(photos[:2]), Pair("tiny", None, photos[2][:8, :8]), Pair("dot", None, photos[3][:1, :1])]
    expected = [("info", "sizes", ""), ("warning", "small", "dot"), ("warning", "small", "tiny")]
    assert found(pairs) == expected
    texts = [finding.text for finding in check_dataset(pairs, 2).findings]
    assert "HR is 8x8, smaller than a patch of 96x96" in texts[0]
    assert texts[1] == "HR is 1x1, too small for x2: it is left out"
    assert found(pairs[2:3]) == [("error", "small", ""), ("warning", "small", "tiny")], "nothing would be left"
    assert found(pairs[:1], patch=160) == []
    assert found(pairs[:1], patch=161) == [("error", "small", ""), ("warning", "small", "p0")]


def test_leaks_and_duplicates_survive_re_encoding_and_resizing(photos, shared):
    baby = read_rgb(shared / "bench/Set5/HR/baby.png")
    set5 = [Pair(f.stem, None, read_rgb(f)) for f in sorted((shared / "bench/Set5/HR").glob("*.png"))]
    changed = {
        "same": baby, "jpeg": decoded(jpeg(baby, 95)), "smaller": resized(baby, 0.6),
        "both": decoded(jpeg(resized(baby, 0.6, Resampling.LANCZOS), 95)), "gray": baby.mean(axis=2).astype(np.uint8),
    }  # fmt: skip
    changed["gray"] = np.stack([changed["gray"]] * 3, axis=2)
    for name, pixels in changed.items():
        report = check_dataset([*numbered(photos), Pair(name, None, pixels)], 2, against={"set5": set5})
        serious = [(f.severity, f.kind, f.name) for f in report.findings if f.severity != "info"]
        assert serious == [("warning", "leak", name)]
        assert "it is 'baby' of set5" in report.findings[0].text
    doubled = [*numbered(photos), *(Pair(name, None, pixels) for name, pixels in changed.items())]
    report = check_dataset([*doubled, Pair("again", None, baby)], 2)
    serious = {f.name: (f.kind, f.text) for f in report.findings if f.severity != "info"}
    assert set(serious) == {"jpeg", "smaller", "both", "gray", "again"}
    assert {kind for kind, _ in serious.values()} == {"duplicate"}
    assert "same pixels as 'same'" in serious["again"][1]
    assert "'same' again, re-encoded or resized" in serious["smaller"][1]


def test_the_test_sets_are_no_copies_of_the_photographs(shared):
    """Different photographs are not confused; the one pair that is found is the known one of Set5 and Set14."""
    sets = {
        name: [Pair(f.stem, None, read_rgb(f)) for f in sorted((shared / "bench" / name / "HR").glob("*.png"))]
        for name in ("Set5", "Set14")
    }
    leaks = [f for f in check_dataset(sets["Set5"], 2, against={"set14": sets["Set14"]}).findings if f.kind == "leak"]
    assert [(f.name, f.text.split(";")[0]) for f in leaks] == [("head", "it is 'face' of set14")]


def test_several_lr_of_one_hr_are_no_duplicates(photos):
    several = [Pair(name, KERNELS[name](photos[0], 2), photos[0]) for name in ("area", "Lanczos")]
    assert found(several) == []
    assert found([*several, replace(several[0], name="again")]) == [("warning", "duplicate", "again")]


@pytest.mark.parametrize("quality", [10, 30, 50, 75])
def test_blocks_of_a_jpeg_are_seen_in_its_pixels(photos, quality):
    tables = Image.open(io.BytesIO(jpeg(photos[0], quality))).quantization
    assert tables[0][1] == max(1, round(11 * (50 / quality if quality < 50 else 2 - quality / 50))), "what is estimated"
    pixels = [decoded(jpeg(p, quality)) for p in photos]
    measured = [jpeg_quality(p) for p in pixels] + [jpeg_quality(p[5:, 3:]) for p in pixels]
    assert sum(m is not None for m in measured) >= 18
    assert {m for m in measured if m is not None} <= set(range(quality - 3, quality + 4))


def test_good_jpegs_and_pictures_resized_since_have_no_blocks(photos, shared):
    files = [shared / "train" / f"{name}.jpg" for name in TAKEN]
    assert [jpeg_quality(read_rgb(f)) for f in files] == [None] * 10
    assert [jpeg_quality(decoded(jpeg(p, 95))) for p in photos] == [None] * 10
    assert [jpeg_quality(imresize(decoded(jpeg(p, 30)), 0.5)) for p in photos] == [None] * 10


def test_whatever_a_stranger_raises_the_others_are_looked_at(photos):
    class Odd(list):
        def __getitem__(self, index):
            if index == 1:
                raise KeyError("gone")
            return super().__getitem__(index)

    pairs = Odd([*numbered(photos[:3]), Pair("float", None, photos[3] / 255), (None, photos[4])])
    report = check_dataset(pairs, 2)
    assert [(f.kind, f.name) for f in report.findings] == [
        ("unreadable", "picture 1"), ("pixels", "float"), ("unreadable", "picture 4"),
    ]  # fmt: skip
    assert "KeyError" in report.findings[0].text
    assert "must be a uint8 or uint16 array H,W,3, not float64" in report.findings[1].text
    assert "gives tuple where srkit.Pair is wanted" in report.findings[2].text
    assert report.checked["read"] == 2


@pytest.fixture
def broken(photos, shared, tmp_path: Path) -> Path:
    """A folder with HR and LR and one of each fault."""
    root = tmp_path / "broken"
    (root / "HR").mkdir(parents=True)
    (root / "LR_bicubic/X2").mkdir(parents=True)

    def put(name: str, hr: np.ndarray, lr: np.ndarray | None = None, data: bytes = b"", suffix: str = "png") -> None:
        Image.fromarray(imresize(hr, 0.5) if lr is None else lr).save(root / f"LR_bicubic/X2/{name}x2.png")
        path = root / "HR" / f"{name}.{suffix}"
        path.write_bytes(data) if data else Image.fromarray(hr).save(path)

    put("sound", photos[0])
    put("shifted-hr", np.roll(photos[1], -1, axis=1), lr=imresize(photos[1], 0.5))
    put("shifted-lr", photos[2], lr=np.roll(imresize(photos[2], 0.5), 1, axis=0))
    put("swapped", photos[3], lr=imresize(photos[9], 0.5))
    put("truncated", photos[4])
    whole = (root / "HR/truncated.png").read_bytes()
    (root / "HR/truncated.png").write_bytes(whole[: len(whole) // 2])
    put("no-picture", photos[4], data=b"no picture at all")
    put("tiny", photos[5][:8, :8])
    poor = jpeg(photos[6], 30)
    put("poor", decoded(poor), data=poor, suffix="jpg")
    put("poor-as-png", decoded(jpeg(photos[7], 30)))
    put("wrong-size", photos[8], lr=imresize(photos[8], 0.5)[:, :-1])
    put("test-image", decoded(jpeg(resized(read_rgb(shared / "bench/Set5/HR/bird.png"), 0.6), 95)))
    return root


def test_each_planted_fault_is_found_and_nothing_else(registry, broken, shared):
    pairs, findings = open_for_check(registry.choose("dataset", "folder"), broken, "train", 2)
    assert findings == []
    set5 = registry.choose("dataset", "set5").build(shared, "test", 2)
    report = check_dataset(pairs, 2, against={"set5": set5})
    assert sorted((f.severity, f.kind, f.name) for f in report.findings) == [
        ("error", "mismatch", "swapped"),
        ("error", "shift", "shifted-hr"),
        ("error", "shift", "shifted-lr"),
        ("error", "size", "wrong-size"),
        ("error", "unreadable", "no-picture"),
        ("error", "unreadable", "truncated"),
        ("info", "sizes", ""),
        ("warning", "jpeg", "poor"),
        ("warning", "jpeg", "poor-as-png"),
        ("warning", "leak", "test-image"),
        ("warning", "small", "tiny"),
    ]
    texts = {f.name: f.text for f in report.findings}
    assert "truncated.png' cannot be decoded, it may be truncated" in texts["truncated"]
    assert "quality 30" in texts["poor"]
    assert [f.severity for f in report.findings] == ["error"] * 6 + ["warning"] * 4 + ["info"]


def test_an_hr_without_partner_is_a_finding_and_the_rest_is_looked_at(registry, broken):
    (broken / "LR_bicubic/X2/soundx2.png").unlink()
    folder = registry.choose("dataset", "folder")
    pairs, (finding,) = open_for_check(folder, broken, "train", 2)
    assert (finding.severity, finding.kind) == ("error", "partner")
    assert "sound.png' has no LR partner" in finding.text
    kinds = {f.kind for f in check_dataset(pairs, 2).findings}
    assert kinds == {"unreadable", "small", "jpeg", "sizes", "shift", "size", "mismatch"}, "the other LR are compared"
    with pytest.raises(DataError, match="no LR partner"):
        folder.build(broken, "train", 2)


def test_what_cannot_be_opened_at_all_is_raised(registry, tmp_path):
    with pytest.raises(DataError, match="no pictures in"):
        open_for_check(registry.choose("dataset", "folder"), tmp_path, "train", 2)
    with pytest.raises(UsageError, match="needs a root"):
        open_for_check(registry.choose("dataset", "folder"), None, "train", 2)


def stored(registry, folder: Path, pairs: list[Pair]) -> Store:
    for pair in pairs:
        for part, pixels in (("HR", pair.hr), ("LR/X2", imresize(pair.hr, 0.5) if pair.lr is None else pair.lr)):
            (folder / part).mkdir(parents=True, exist_ok=True)
            Image.fromarray(pixels).save(folder / part / f"{pair.name}.png")
    return packed(registry.choose("dataset", "folder"), str(folder), "train", 2)


def test_the_quick_check_of_sound_stores_is_silent(registry, photos, tmp_path):
    train = stored(registry, tmp_path / "train", numbered(photos[:7], blurred))
    assert quick_check(train, stored(registry, tmp_path / "valid", numbered(photos[7:])), 2) == []


def test_the_quick_check_finds_shifts_strays_and_leaks(registry, photos, tmp_path):
    pairs = numbered(photos[:7])
    pairs[1] = replace(pairs[1], lr=np.roll(imresize(photos[1], 0.5), 1, axis=1))
    pairs[2] = replace(pairs[2], lr=imresize(photos[3], 0.5))
    pairs[4] = Pair("p4", None, decoded(jpeg(photos[8], 90)))
    train = stored(registry, tmp_path / "train", pairs)
    held_out = [*numbered(photos[7:9]), Pair("copy", None, photos[5])]
    findings = quick_check(train, stored(registry, tmp_path / "valid", held_out), 2)
    assert [(f.severity, f.kind, f.name) for f in findings] == [
        ("error", "shift", "p1"), ("error", "mismatch", "p2"), ("warning", "leak", "p4"), ("warning", "leak", "p5"),
    ]  # fmt: skip
    assert "'p1' of the validation pictures" in findings[2].text
    assert "'copy' of the validation pictures" in findings[3].text


def test_the_quick_check_is_bounded_and_still_finds_an_equal_picture_among_thousands(
    registry, photos, tmp_path, monkeypatch
):
    few = stored(registry, tmp_path / "few", numbered(photos[:4]))
    times = 5000
    names = [f"{i}" for i in range(4 * times)]
    many = Store(few.path, names, few.pixels, np.tile(few.lr, (times, 1)), np.tile(few.hr, (times, 1)))
    apart = stored(registry, tmp_path / "apart", numbered(photos[5:]))
    one = stored(registry, tmp_path / "one", [Pair("leaked", None, photos[9])])
    pixels = np.concatenate([many.pixels, one.pixels])
    moved = [places + np.array([len(many.pixels), 0, 0, 0]) for places in (one.lr, one.hr)]
    middle = 4 * times // 2 + 7
    lr, hr = (np.insert(old, middle, new, axis=0) for old, new in zip((many.lr, many.hr), moved, strict=True))
    train = Store(few.path, [*names[:middle], "the one", *names[middle:]], pixels, lr, hr)
    read = []
    image = Store.image
    monkeypatch.setattr(Store, "image", lambda self, which, i: read.append(i) or image(self, which, i))
    findings = quick_check(train, apart, 2)
    assert [(f.kind, f.name) for f in findings] == [("leak", "the one")]
    assert len(read) < 500


def test_many_findings_of_a_kind_become_one(registry, photos, tmp_path):
    train = stored(registry, tmp_path / "train", numbered(photos))
    (finding,) = quick_check(train, train, 2)
    assert (finding.kind, finding.name) == ("leak", "")
    assert finding.text.startswith("10 pictures (p0, p1, p2 ...); of 'p0': it is 'p0'")
