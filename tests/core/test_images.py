"""Pictures in and out, faithfully: orientation, transparency, gray, deep pixels, broken files."""

import os

import numpy as np
import pytest
from PIL import Image

from srkit import ImageError, UnknownName, UsageError, image_size, list_images, read_rgb
from srkit.images import SUFFIXES, read_picture, write_picture
from tests.fixtures import loaded

RNG = np.random.default_rng(0)
RGB = RNG.integers(0, 256, (5, 7, 3), dtype=np.uint8)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation_is_applied_once(tmp_path, orientation):
    upright = Image.fromarray(RGB)
    undo = {2: 0, 3: 3, 4: 1, 5: 5, 6: 2, 7: 6, 8: 4}  # the transpose that stores it so
    stored = upright.transpose(Image.Transpose(undo[orientation])) if orientation > 1 else upright
    exif = Image.Exif()
    exif[0x0112] = orientation
    exif[0x010F] = "a camera"
    stored.save(tmp_path / "photo.png", exif=exif)
    picture = read_picture(tmp_path / "photo.png")
    np.testing.assert_array_equal(picture.rgb, RGB)
    assert image_size(tmp_path / "photo.png") == (5, 7)
    write_picture(tmp_path / "out.png", picture)
    np.testing.assert_array_equal(read_rgb(tmp_path / "out.png"), RGB)
    assert loaded(tmp_path / "out.png").getexif().get(0x010F) == "a camera"


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_every_format_is_written_and_read(tmp_path, suffix):
    write_picture(tmp_path / f"p{suffix}", read_picture(save(tmp_path / "in.png", RGB)))
    back = read_rgb(tmp_path / f"p{suffix}").astype(int)
    assert back.shape == RGB.shape
    assert np.abs(back - RGB).max() <= {".jpg": 60, ".jpeg": 60, ".avif": 25}.get(suffix, 0)


def save(path, pixels, mode=None, **options):
    image = Image.fromarray(pixels)
    (image.convert(mode) if mode else image).save(path, **options)
    return path


def test_gray_stays_gray_and_transparency_stays(tmp_path):
    gray = RGB[..., 0]
    picture = read_picture(save(tmp_path / "gray.png", gray))
    assert picture.gray
    np.testing.assert_array_equal(picture.rgb, np.repeat(gray[..., None], 3, axis=2))
    write_picture(tmp_path / "out.png", picture)
    assert loaded(tmp_path / "out.png").mode == "L"

    rgba = np.dstack([RGB, gray])
    picture = read_picture(save(tmp_path / "alpha.png", rgba))
    np.testing.assert_array_equal(picture.alpha, gray)
    write_picture(tmp_path / "out.png", picture)
    np.testing.assert_array_equal(np.asarray(Image.open(tmp_path / "out.png")), rgba)
    write_picture(tmp_path / "out.bmp", picture)  # no transparency there: laid on white
    expected = RGB * (gray / 255.0)[..., None] + 255 * (1 - gray / 255.0)[..., None]
    assert np.abs(read_rgb(tmp_path / "out.bmp") - expected).max() <= 1


def test_gray_with_alpha_palettes_and_bits(tmp_path):
    la = np.dstack([RGB[..., 0], RGB[..., 1]])
    Image.fromarray(la).save(tmp_path / "la.png")
    picture = read_picture(tmp_path / "la.png")
    assert picture.gray
    write_picture(tmp_path / "out.png", picture)
    assert loaded(tmp_path / "out.png").mode == "LA"
    np.testing.assert_array_equal(np.asarray(Image.open(tmp_path / "out.png")), la)

    palette = Image.fromarray(RGB).quantize(8)
    palette.save(tmp_path / "p.png", transparency=3)
    picture = read_picture(tmp_path / "p.png")
    np.testing.assert_array_equal(picture.alpha == 0, np.asarray(palette) == 3)
    save(tmp_path / "bits.png", RGB[..., 0] > 99)
    assert set(np.unique(read_rgb(tmp_path / "bits.png"))) == {0, 255}


def test_sixteen_bits_are_scaled_not_clipped(tmp_path):
    deep = np.linspace(0, 65535, 35).reshape(5, 7).astype(np.uint16)
    picture = read_picture(save(tmp_path / "deep.png", deep))
    assert np.abs(picture.rgb[..., 0] - deep / 257).max() <= 0.5
    assert "8 bits" in picture.notice
    assert picture.gray


def test_cmyk_and_colour_profiles(tmp_path):
    save(tmp_path / "c.jpg", RGB, "CMYK", icc_profile=b"of ink")
    picture = read_picture(tmp_path / "c.jpg")
    assert picture.rgb.shape == RGB.shape
    assert picture.icc is None
    save(tmp_path / "p.png", RGB, icc_profile=b"a profile")
    write_picture(tmp_path / "out.png", read_picture(tmp_path / "p.png"))
    assert loaded(tmp_path / "out.png").info["icc_profile"] == b"a profile"


def test_only_the_first_frame_of_an_animation_is_used_and_that_is_said(tmp_path):
    frames = [Image.fromarray(RGB), Image.fromarray(255 - RGB)]
    frames[0].save(tmp_path / "a.webp", save_all=True, append_images=frames[1:], lossless=True)
    picture = read_picture(tmp_path / "a.webp")
    np.testing.assert_array_equal(picture.rgb, RGB)
    assert picture.notice == "only the first of 2 frames is used"


def test_files_that_are_no_pictures(tmp_path):
    save(tmp_path / "photo.png", RGB)
    with pytest.raises(UnknownName, match="did you mean '.*photo.png'"):
        read_rgb(tmp_path / "phto.png")
    with pytest.raises(ImageError, match="is a folder"):
        read_rgb(tmp_path)
    (tmp_path / "text.png").write_text("hello")
    with pytest.raises(ImageError, match="text.png' is not a picture"):
        read_rgb(tmp_path / "text.png")
    whole = save(tmp_path / "big.png", RNG.integers(0, 256, (64, 64, 3), dtype=np.uint8)).read_bytes()
    (tmp_path / "cut.png").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ImageError, match="cut.png' cannot be decoded"):
        read_rgb(tmp_path / "cut.png")
    with pytest.raises(ImageError, match="big.png': 64x64 .* more pixels than is safe .* --max-pixels 4096"):
        read_picture(tmp_path / "big.png", max_pixels=4095)
    assert read_picture(tmp_path / "big.png", max_pixels=4096).rgb.shape == (64, 64, 3)


def test_nothing_half_written_and_nothing_left_over(tmp_path, monkeypatch):
    picture = read_picture(save(tmp_path / "in.png", RGB))
    target = tmp_path / "out.png"
    target.write_bytes(b"what was there before")

    def full(descriptor):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(ImageError, match="cannot write .*out.png'.*No space left"):
        write_picture(target, picture)
    assert target.read_bytes() == b"what was there before"
    assert sorted(p.name for p in tmp_path.iterdir() if p.is_file()) == ["in.png", "out.png"]


def test_a_wrong_target_is_refused_before_any_work(tmp_path):
    picture = read_picture(save(tmp_path / "in.png", RGB))
    with pytest.raises(UsageError, match="'.pgn' is not a picture format; did you mean '.png'?"):
        write_picture(tmp_path / "out.pgn", picture)
    with pytest.raises(UnknownName, match="no folder"):
        write_picture(tmp_path / "nowhere" / "out.png", picture)


def test_pictures_are_listed_nested_and_sorted(tmp_path):
    for name in ("b/2.PNG", "a.jpg", "b/1.webp", ".hidden/3.png", "notes.txt"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("")
    assert [str(p.relative_to(tmp_path)) for p in list_images(tmp_path)] == ["a.jpg", "b/1.webp", "b/2.PNG"]
