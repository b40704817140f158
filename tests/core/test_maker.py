"""Which program made an LR: named where it is certain, unknown otherwise, never wrong."""

import hashlib
import io
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image, ImageFilter

from srkit import imresize, read_rgb
from srkit.data import maker
from srkit.data.maker import UNKNOWN, Made, made_by, set_made_by, unlike_training

OPENCV = json.loads((Path(__file__).parent / "opencv_resize.json").read_text(encoding="utf-8"))
REMADE = {each.name: each.remake for each in maker.MAKERS}
SIDE = 240  # of the parts of the pictures that are made smaller: a multiple of 2, 3 and 4


def opencv(name: str):
    """The LR of OpenCV, whose hash is recorded: made by numpy, since OpenCV is not needed to run these tests."""

    def make(hr: np.ndarray, scale: int) -> np.ndarray:
        (made,) = REMADE[name](hr, (hr.shape[0] // scale, hr.shape[1] // scale))
        return made

    return make


def pillow(resampling: Image.Resampling):
    return lambda hr, scale: np.asarray(
        Image.fromarray(hr).resize((hr.shape[1] // scale, hr.shape[0] // scale), resampling)
    )


def by_torch(**options):
    """As a data loader does it: float in 0..1, rounded at the end."""

    def make(hr: np.ndarray, scale: int) -> np.ndarray:
        batch = torch.tensor(hr).permute(2, 0, 1)[None] / 255
        small = torch.nn.functional.interpolate(batch, scale_factor=1 / scale, mode="bicubic", **options)
        return np.asarray((small.clamp(0, 1) * 255).round().byte()[0].permute(1, 2, 0))

    return make


EIGHT = {
    "matlab": lambda hr, scale: imresize(hr, 1 / scale),  # MATLAB's bit for bit: tests/core/test_imresize.py
    "pillow-bicubic": pillow(Image.Resampling.BICUBIC),
    "pillow-lanczos": pillow(Image.Resampling.LANCZOS),
    "opencv-cubic": opencv("opencv-cubic"),
    "opencv-area": opencv("opencv-area"),
    "torch-bicubic-antialias": by_torch(antialias=True),
    "torch-bicubic": by_torch(),
    "nearest": lambda hr, scale: hr[::scale, ::scale],
}


@pytest.fixture(scope="module")
def twenty(shared: Path) -> dict[str, np.ndarray]:
    """The middle of every fifth picture of B100."""
    files = sorted((shared / "bench/B100/HR").glob("*.png"))[::5]
    return {file.stem: middle(read_rgb(file)) for file in files}


def middle(picture: np.ndarray) -> np.ndarray:
    top, left = ((n - SIDE) // 2 for n in picture.shape[:2])
    return picture[top : top + SIDE, left : left + SIDE]


def test_the_numpy_kernels_make_opencvs_pixels(photo):
    """Recorded from opencv-python-headless 4.14.0 and 5.0.0, which agree: sha256 of the pixels."""
    found = {
        f"{name} x{scale}": hashlib.sha256(opencv(name)(middle(photo), scale).tobytes()).hexdigest()
        for name in ("opencv-cubic", "opencv-area", "opencv-linear")
        for scale in (2, 3, 4)
    }
    assert found == OPENCV["chelsea"]


def is_right(name: str, made: Made, lr: np.ndarray, hr: np.ndarray) -> bool:
    """Several names are right where each of these programs makes the same pixels, so that nobody could tell."""
    if len(made.makers) < 2:
        return made.makers == (name,)
    remade = [REMADE[each](hr, lr.shape[:2]) for each in made.makers]
    return name in made.makers and all(any(np.array_equal(lr, way) for way in ways) for ways in remade)


def test_eight_makers_of_twenty_pictures_at_two_scales(twenty):
    """At least 95 % are named rightly, the rest is unknown, none is wrong."""
    assert len(twenty) == 20
    right, alone, wrong = 0, 0, []
    for picture, hr in twenty.items():
        for scale in (2, 4):
            for name, make in EIGHT.items():
                lr = make(hr, scale)
                made = made_by(lr, hr, scale)
                if is_right(name, made, lr, hr):
                    right, alone = right + 1, alone + (made.name == name)
                elif made != UNKNOWN:
                    wrong.append((picture, scale, name, made.name))
    assert not wrong
    assert right >= 0.95 * 320
    # OpenCV computes INTER_LINEAR as INTER_AREA at x2: these 20 have two names.
    assert alone >= 0.95 * 300


def test_matlabs_own_pixels(shared):
    found = []
    for scale in (2, 3, 4):
        for file in sorted((shared / "bench/Set5/HR").glob("*.png")):
            lr = read_rgb(shared / f"expected/matlab_lr/Set5/X{scale}/{file.stem}x{scale}.png")
            found.append(made_by(lr, read_rgb(file), scale))
    assert len(found) == 15
    assert set_made_by(found).text == "matlab (15 of 15 pictures)"


def saved_as_jpeg(lr: np.ndarray, quality: int) -> np.ndarray:
    file = io.BytesIO()
    Image.fromarray(lr).save(file, "JPEG", quality=quality, subsampling=0)
    return np.asarray(Image.open(file))


def noisy(lr: np.ndarray) -> np.ndarray:
    noise = np.random.default_rng(0).normal(0, 1, lr.shape)
    return np.clip(np.rint(lr + noise), 0, 255).astype(np.uint8)


NOT_FOUND = {
    "JPEG 90": lambda hr, scale: saved_as_jpeg(imresize(hr, 1 / scale), 90),
    "JPEG 100": lambda hr, scale: saved_as_jpeg(imresize(hr, 1 / scale), 100),
    "noise": lambda hr, scale: noisy(imresize(hr, 1 / scale)),
    "brighter": lambda hr, scale: np.clip(imresize(hr, 1 / scale) * 1.1, 0, 255).astype(np.uint8),
    "blur": lambda hr, scale: np.asarray(Image.fromarray(hr).filter(ImageFilter.GaussianBlur(scale / 2)))[
        ::scale, ::scale
    ],
    "blurred first": lambda hr, scale: imresize(
        np.asarray(Image.fromarray(hr).filter(ImageFilter.GaussianBlur(1))), 1 / scale
    ),
    "mirrored": lambda hr, scale: imresize(hr, 1 / scale)[:, ::-1],
    "hamming": pillow(Image.Resampling.HAMMING),
}


@pytest.mark.parametrize("name", NOT_FOUND)
def test_what_no_known_program_made_is_unknown(photo, name):
    hr = middle(photo)
    for scale in (2, 4):
        assert made_by(NOT_FOUND[name](hr, scale), hr, scale) == UNKNOWN


def test_without_detail_and_too_small_is_unknown(photo):
    flat = np.full((SIDE, SIDE, 3), 90, np.uint8)
    assert made_by(imresize(flat, 1 / 2), flat, 2) == UNKNOWN
    assert made_by(imresize(photo[:48, :48], 1 / 2), photo[:48, :48], 2) == UNKNOWN
    ramp = np.repeat(np.arange(SIDE, dtype=np.uint8)[:, None, None] // 8, SIDE, 1).repeat(3, 2)
    assert made_by(imresize(ramp, 1 / 2), ramp, 2).name in ("unknown", "matlab")


def test_at_an_odd_scale_what_does_not_antialias_takes_the_middle_pixel(photo):
    """So the answer names all that do, and is the same for each."""
    hr = middle(photo)
    made = made_by(by_torch()(hr, 3), hr, 3)
    assert made == Made("nearest", ("nearest", *[n for n in REMADE if n in made.makers]))
    assert {"opencv-cubic", "torch-bicubic", "opencv-linear"} < set(made.makers)
    np.testing.assert_array_equal(by_torch()(hr, 3), hr[1::3, 1::3])
    assert made_by(hr[::3, ::3], hr, 3) == Made("nearest", ("nearest",))


def test_another_rounding_is_a_known_kernel_by_a_program_not_known(photo):
    hr = middle(photo)
    values = imresize(hr.astype(np.float64), 1 / 2)
    made = made_by(np.clip(np.ceil(values), 0, 255).astype(np.uint8), hr, 2)
    assert made == Made("bicubic")
    assert made.name == "bicubic by a program not known"
    old_edge = imresize(hr, 1 / 2)
    old_edge[0] = np.minimum(old_edge[0], 250) + 3
    assert made_by(old_edge, hr, 2).name == "matlab", "releases of MATLAB differ at the edge"


def test_hr_that_was_not_cropped_makes_lr_drift(photo):
    hr = photo[:251, :351]
    lr = np.asarray(Image.fromarray(hr).resize((175, 125), Image.Resampling.BICUBIC))
    made = made_by(lr, hr, 2)
    assert (made.kernel, made.makers, made.drifts) == ("bicubic", ("pillow-bicubic",), True)
    assert made.name == "pillow-bicubic, from HR not cropped"
    assert "up to half an LR pixel" in unlike_training("matlab", made)
    assert not made_by(imresize(hr, 1 / 2)[:125, :175], hr, 2).drifts, "MATLAB by a scale does not drift"
    assert made_by(lr, hr[:250, :350], 2) == UNKNOWN
    with pytest.raises(ValueError, match="divided by 2"):
        made_by(lr, hr[:-4], 2)


def test_a_set_is_of_one_maker_or_of_several():
    matlab, pillow_, either = Made("bicubic", ("matlab",)), Made("bicubic", ("pillow-bicubic",)), Made("bicubic")
    both = Made("bicubic", ("matlab", "pillow-bicubic"))
    drifting = Made("bicubic", ("pillow-bicubic",), drifts=True)
    assert set_made_by([matlab] * 3 + [both, UNKNOWN]).made == matlab
    assert set_made_by([matlab] * 3 + [both, UNKNOWN]).text == "matlab (4 of 5 pictures)"
    assert set_made_by([matlab, either]).made == Made("bicubic", ())
    assert set_made_by([pillow_, drifting]).made == drifting
    mixed = set_made_by([matlab, matlab, pillow_])
    assert mixed.made == UNKNOWN
    assert mixed.text == "several programs: matlab (2 of 3 pictures), pillow-bicubic (1 of 3 pictures)"
    assert set_made_by([UNKNOWN] * 3 + [matlab]).made == UNKNOWN
    assert set_made_by([UNKNOWN] * 3).text == "unknown (3 of 3 pictures)"


def test_scores_compare_where_the_kernel_is_that_of_the_training():
    """Set5 x2, edsr-small: 37.3 dB on each of the first, 36.4 on Lanczos, 31.5 on what does not antialias."""
    for name in ("matlab", "pillow-bicubic", "torch-bicubic-antialias"):
        assert unlike_training("matlab", Made("bicubic", (name,))) == ""
    text = unlike_training("matlab", Made("lanczos", ("pillow-lanczos",)))
    assert text.startswith("this LR was made by pillow-lanczos (Lanczos over 3 lobes, antialiased), and it was trained")
    assert "not antialiased" in unlike_training("matlab", Made("bicubic-aliased", ("opencv-cubic",)))
    assert unlike_training("matlab", UNKNOWN) == unlike_training("unknown", Made("area")) == ""
