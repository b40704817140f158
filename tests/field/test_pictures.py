"""What people wanted of single pictures, from this field's public trackers: one test a complaint."""

import os
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import srkit
from srkit import ImageError, UsageError, image_size, list_images, read_rgb
from srkit.images import picture_of, read_picture, write_picture
from tests.fixtures import loaded

DATA = Path(__file__).parent / "data"
RNG = np.random.default_rng(0)
RGB = RNG.integers(0, 256, (6, 8, 3), dtype=np.uint8)


def unreadable_exif() -> bytes:
    """A rational of -1/0 where the tag wants an unsigned one: Pillow reads it and cannot write it."""
    entry = b"\x01\x1a\x00\x0a\x00\x00\x00\x01\x00\x00\x00\x1a"  # XResolution, signed rational, at offset 26
    return b"Exif\0\0MM\0*\0\0\0\x08\x00\x01" + entry + b"\0\0\0\0" + b"\xff\xff\xff\xff\0\0\0\0"


def png_with(*chunks: tuple[bytes, bytes]) -> bytes:
    """A 6x8 PNG with these chunks before its pixels; their checksum is as wrong as that of a damaged one."""
    import io

    file = io.BytesIO()
    Image.fromarray(RGB).save(file, "PNG")
    whole = file.getvalue()
    extra = b"".join(len(data).to_bytes(4, "big") + kind + data + b"\0\0\0\0" for kind, data in chunks)
    return whole[:33] + extra + whole[33:]


@pytest.mark.parametrize("name", ["doubled_header.jpg", "rating_as_float.jpg"])
def test_a_photo_with_odd_exif_is_read_like_any_other(name, tmp_path):
    """python-pillow/Pillow#8348: a sound JPEG whose EXIF is odd ends the program. Right: every pixel."""
    picture = read_picture(DATA / name)
    np.testing.assert_array_equal(picture.rgb, np.asarray(Image.open(DATA / name).convert("RGB")))
    assert image_size(DATA / name) == picture.rgb.shape[:2]
    write_picture(tmp_path / "out.jpg", picture)
    assert read_rgb(tmp_path / "out.jpg").shape == picture.rgb.shape


@pytest.mark.parametrize("suffix", ["jpg", "png", "webp"])
def test_exif_that_cannot_be_kept_is_dropped_and_the_orientation_applied(tmp_path, suffix, caplog):
    """python-pillow/Pillow#8965: exif_transpose raises on a rational of (-1, 0). Right: the picture, and a notice."""
    exif = unreadable_exif()
    Image.fromarray(RGB).save(tmp_path / f"p.{suffix}", exif=exif, **({"lossless": True} if suffix == "webp" else {}))
    picture = read_picture(tmp_path / f"p.{suffix}")
    assert picture.notice == "its broken EXIF is left out"
    assert picture.exif is None
    assert picture.rgb.shape == RGB.shape
    assert image_size(tmp_path / f"p.{suffix}") == (6, 8)
    assert read_rgb(tmp_path / f"p.{suffix}").shape == RGB.shape
    assert "its broken EXIF is left out" in caplog.text
    bicubic = srkit.load("bicubic")
    assert bicubic.upscale(Image.open(tmp_path / f"p.{suffix}")).size == (16, 12)


@pytest.mark.parametrize(
    "chunks",
    [
        [(b"tEXt", b"Comment\0damaged")],
        [(b"eXIf", b"no EXIF at all")],
        [(b"iCCP", b"name\0\0no profile"), (b"tIME", b"1")],
        [(b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0<x:xmpmeta tiff:Orientation=")],
    ],
    ids=["text", "exif", "profile and time", "xmp"],
)
def test_damaged_chunks_of_a_png_that_are_not_its_pixels_cost_nothing(tmp_path, chunks):
    """python-pillow/Pillow#4665: could Pillow simply ignore invalid tags? Right: every pixel, and a notice."""
    (tmp_path / "p.png").write_bytes(png_with(*chunks))
    picture = read_picture(tmp_path / "p.png")
    np.testing.assert_array_equal(picture.rgb, RGB)
    assert picture.notice == "its broken metadata is left out"
    assert image_size(tmp_path / "p.png") == (6, 8)


def test_whatever_is_in_its_exif_a_jpeg_gives_its_pixels(tmp_path):
    """python-pillow/Pillow#4037: `getexif().tobytes()` raises about anything. Right: the pixels, whatever is there."""
    whole = (DATA / "rating_as_float.jpg").read_bytes()
    pixels = np.sort(np.asarray(Image.open(DATA / "rating_as_float.jpg").convert("RGB")), axis=None)
    begin, length = whole.index(b"Exif\0\0"), len(loaded(DATA / "rating_as_float.jpg").info["exif"])
    for seed in range(150):
        rng = np.random.default_rng(seed)
        data = bytearray(whole)
        for at in rng.integers(begin, begin + length, rng.integers(1, 6)):
            data[at] = rng.integers(256)
        (tmp_path / "p.jpg").write_bytes(bytes(data))
        np.testing.assert_array_equal(np.sort(read_rgb(tmp_path / "p.jpg"), axis=None), pixels)
        image_size(tmp_path / "p.jpg")


def test_exif_too_large_for_a_jpeg_does_not_keep_it_from_being_written(tmp_path):
    """python-pillow/Pillow#8348's other end: metadata never costs the picture, when it is written too."""
    exif = Image.Exif()
    exif[0x010E] = "long " * 20000
    Image.fromarray(RGB).save(tmp_path / "p.png", exif=exif)
    lost = write_picture(tmp_path / "out.jpg", read_picture(tmp_path / "p.png"))
    assert lost == "jpeg has 64 kB for each of its EXIF, which is larger and left out"
    assert read_rgb(tmp_path / "out.jpg").shape == RGB.shape


def test_a_training_folder_with_one_odd_photo_trains(run_srkit, tmp_path):
    """python-pillow/Pillow#4238: one such photo in a dataset ends everything. Right: it trains, and says so."""
    (tmp_path / "in").mkdir()
    big = RNG.integers(0, 256, (80, 90, 3), dtype=np.uint8)
    Image.fromarray(big).save("in/sound.png")
    Image.fromarray(big).save("in/odd.jpg", exif=unreadable_exif())
    small = ["--set", "model.n_resblocks=1", "--set", "model.n_feats=4", "--set", "batch=1", "--set", "patch=8"]
    code, _, err = run_srkit("train", "--model", "edsr", "--data", "in", "--steps", "1", *small)
    assert code == 0
    assert "odd.jpg: its broken EXIF is left out" in err
    code, out, err = run_srkit("upscale", "in", "--model", "bicubic", "-o", "out")
    assert (code, out.count("\n")) == (0, 2)
    assert unreadable_exif()[6:] in (tmp_path / "out/odd_bicubic_x2.png").read_bytes(), "kept as it is, odd or not"
    code, out, err = run_srkit("data", "check", "in")
    assert "unreadable" not in out
    assert "odd.jpg: its broken EXIF is left out" in err


def test_a_linked_folder_counts(tmp_path):
    """huggingface/datasets#6853: pictures behind a symbolic link are not there. Right: they are, each once."""
    for name in ("HR/a.png", "elsewhere/part/b.png", "elsewhere/part/c.png", "elsewhere/d.png"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(RGB).save(tmp_path / name)
    os.symlink(tmp_path / "elsewhere/part", tmp_path / "HR/part1")
    os.symlink(tmp_path / "elsewhere/d.png", tmp_path / "HR/linked.png")
    os.symlink(tmp_path / "HR", tmp_path / "elsewhere/part/up")  # a circle
    os.symlink(".", tmp_path / "HR/self")
    found = [str(path.relative_to(tmp_path / "HR")) for path in list_images(tmp_path / "HR")]
    assert found == ["a.png", "linked.png", "part1/b.png", "part1/c.png"]


def test_links_that_lead_nowhere_are_named(tmp_path, run_srkit):
    """CAMMA-public/Endoscapes#1: links that came without their targets. Right: said, not passed over."""
    (tmp_path / "in").mkdir()
    Image.fromarray(RGB).save("in/a.png")
    os.symlink(tmp_path / "gone.png", tmp_path / "in/b.png")
    code, _, err = run_srkit("upscale", "in", "--model", "bicubic", "-o", "out")
    assert code == 0
    assert "1 file is no picture and left out: b.png" in err


@pytest.mark.parametrize("suffix", ["jfif", "jpe", "JPG", "gif", "tga", "ppm", "jp2", "avif", "ico", "dib", "mpo"])
def test_every_kind_of_picture_in_a_folder_counts(tmp_path, suffix, run_srkit):
    """upscayl/upscayl#888: .jfif opens when renamed, and is not offered in a folder. Right: what opens counts."""
    kind = Image.registered_extensions()[f".{suffix.lower()}"]
    Image.init()
    if kind not in Image.SAVE or kind == "MPO":
        kind = "JPEG"
    (tmp_path / "in").mkdir()
    Image.fromarray(np.zeros((32, 32, 3), np.uint8)).save(f"in/p.{suffix}", format=kind)
    assert [path.name for path in list_images("in")] == [f"p.{suffix}"]
    code, out, _ = run_srkit("upscale", "in", "--model", "nearest", "-o", "out")
    assert (code, out) == (0, "out/p_nearest_x2.png  (32x32 -> 64x64)\n")


def test_what_is_no_picture_is_counted_and_named(tmp_path, run_srkit):
    """upscayl/upscayl#615: other files in the folder, and the batch fails. Right: left out, counted and named."""
    (tmp_path / "in").mkdir()
    Image.fromarray(RGB).save("in/a.png")
    for name in ("b.mov", "c.heic", "d.pdf", "e.eps", ".hidden"):
        (tmp_path / "in" / name).write_text("")
    code, _, err = run_srkit("upscale", "in", "--model", "bicubic", "-o", "out")
    assert code == 0
    assert err == "srkit: 4 files are no pictures and left out: b.mov, c.heic, d.pdf, ...\n"
    (tmp_path / "in/a.png").unlink()
    code, _, err = run_srkit("upscale", "in", "--model", "bicubic", "-o", "out")
    assert code == 2
    assert "no pictures in 'in': 4 files are no pictures and left out: b.mov" in err


def test_no_other_program_is_started_for_a_picture(tmp_path):
    """Pillow hands EPS to Ghostscript. Right: it is no picture here, whatever it is called."""
    (tmp_path / "p.png").write_bytes(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\n%%EOF\n")
    with pytest.raises(ImageError, match="p.png' is not a picture that can be read"):
        read_rgb(tmp_path / "p.png")


def test_bytes_without_any_signature_are_a_picture_only_by_name(tmp_path):
    """A damaged PNG that happens to look like a Targa header is not read as one."""
    Image.fromarray(RGB).save(tmp_path / "p.tga")
    np.testing.assert_array_equal(read_rgb(tmp_path / "p.tga"), RGB)
    (tmp_path / "p.tga").rename(tmp_path / "p.png")
    with pytest.raises(ImageError, match="p.png' is not a picture"):
        read_rgb(tmp_path / "p.png")


def test_a_dark_16_bit_picture_stays_dark(tmp_path):
    """junyanz/pytorch-CycleGAN-and-pix2pix#321: 16-bit PNG come out wrong. Right: 65535 is white, in each of them."""
    dark, one_more = read_picture(DATA / "under_256.png"), read_picture(DATA / "one_more.png")
    assert (dark.rgb.max(), one_more.rgb.max()) == (1, 1)
    for top in (1, 240, 255, 256, 4095, 65535):
        deep = np.linspace(0, top, 48).reshape(6, 8).astype(np.uint16)
        expected = np.floor(deep / 257 + 0.5)
        for suffix in ("png", "tif", "pgm"):
            Image.fromarray(deep).save(tmp_path / f"p.{suffix}")
            np.testing.assert_array_equal(read_rgb(tmp_path / f"p.{suffix}")[..., 0], expected)
        np.testing.assert_array_equal(picture_of(Image.fromarray(deep)).rgb[..., 1], expected)


def test_colour_of_16_bits_is_reduced_with_a_notice(tmp_path):
    """xinntao/Real-ESRGAN-ncnn-vulkan#3: what of 16 bits? Right until they are kept: never without a word."""
    row = b"\0" + np.linspace(0, 65535, 12).astype(">u2").tobytes()
    import zlib

    def chunk(kind: bytes, data: bytes) -> bytes:
        return len(data).to_bytes(4, "big") + kind + data + zlib.crc32(kind + data).to_bytes(4, "big")

    header = (4).to_bytes(4, "big") + (1).to_bytes(4, "big") + bytes([16, 2, 0, 0, 0])
    data = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(row)) + chunk(b"IEND", b"")
    (tmp_path / "p.png").write_bytes(data)
    picture = read_picture(tmp_path / "p.png")
    assert picture.notice == "16 bits are reduced to 8 bits"
    assert np.abs(picture.rgb.ravel() - np.linspace(0, 255, 12)).max() <= 1
    with pytest.raises(ImageError, match="p.png': a range is for gray pictures"):
        read_picture(tmp_path / "p.png", range=4095)


def test_a_float_picture_with_a_little_overshoot_is_not_black(tmp_path):
    """kidanger/vpv#17: one odd value, and all is black. Right: [0, 1], a little outside clipped and counted."""
    picture = read_picture(DATA / "float_101.tif")
    values = np.asarray(Image.open(DATA / "float_101.tif"))
    np.testing.assert_array_equal(picture.rgb[..., 0], np.floor(values.clip(0, 1) * 255 + 0.5))
    assert picture.notice == "F pixels are reduced to 8 bits; 10 pixels outside 0 to 1 are clipped"
    for value, count in ((1.004, 1), (-0.009, 1), (0.5, 0)):
        pixels = np.full((6, 8), 0.25, np.float32)
        pixels[3, 3] = value
        Image.fromarray(pixels).save(tmp_path / "p.tif")
        picture = read_picture(tmp_path / "p.tif")
        assert picture.rgb[0, 0].tolist() == [64, 64, 64]
        assert picture.rgb[3, 3, 0] == np.clip(np.floor(255 * value + 0.5), 0, 255)
        assert ("1 pixel outside 0 to 1 is clipped" in picture.notice) == bool(count)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf"), 1.02, -0.02, 255.0, -3.0])
def test_float_pixels_that_cannot_be_meant_are_an_error_that_says_what_to_say(tmp_path, value, run_srkit):
    """wkentaro/labelme#2255: a float TIFF with one pixel not finite is all black. Right: an error, and a way on."""
    pixels = np.linspace(0, 1, 48, dtype=np.float32).reshape(6, 8)
    pixels[0, 0] = value
    Image.fromarray(pixels).save(tmp_path / "p.tif")
    for read in (read_picture, read_rgb):
        with pytest.raises(ImageError, match=r"p.tif'.*--range"):
            read(tmp_path / "p.tif")
    code, _, err = run_srkit("upscale", "p.tif", "--model", "bicubic")
    assert code == 1
    assert "--range" in err
    code, _, err = run_srkit("upscale", "p.tif", "--model", "nearest", "--range", "0,1")
    assert code == 0
    assert "1 pixel outside 0 to 1 is clipped" in err
    assert np.abs(read_rgb("p_nearest_x2.png")[::2, ::2, 0].ravel()[1:] - np.linspace(0, 255, 48)[1:]).max() <= 0.5


def test_integers_of_32_bits_want_their_range(tmp_path):
    """libvips/libvips#534: what is white in 32 bits? Right: nobody knows, so it is asked."""
    values = np.linspace(0, 4095, 48).reshape(6, 8).astype(np.int32)
    Image.fromarray(values).save(tmp_path / "p.tif")
    with pytest.raises(ImageError, match=r"p.tif': its 32-bit integers .* --range 0,65535"):
        read_rgb(tmp_path / "p.tif")
    expected = np.floor(values * (255 / 4095) + 0.5)
    for said in (4095, (0, 4095), "4095", "0,4095"):
        np.testing.assert_array_equal(read_rgb(tmp_path / "p.tif", range=said)[..., 0], expected)
    for wrong in ("white", "1,2,3", (5, 5), "9,1", float("nan")):
        with pytest.raises(UsageError, match="range"):
            read_rgb(tmp_path / "p.tif", range=wrong)


def disc(hidden: int) -> np.ndarray:
    """An opaque disc of one colour with a soft edge, `hidden` levels where nothing is seen: 48,48,4."""
    y, x = np.mgrid[:48, :48] - 23.5
    alpha = np.clip(18.5 - np.hypot(x, y), 0, 1)
    rgba = np.empty((48, 48, 4), np.uint8)
    rgba[..., :3] = np.where(alpha[..., None] > 0, np.array([255, 200, 40]), hidden)
    rgba[..., 3] = np.floor(255 * alpha + 0.5)
    rgba[alpha == 0, 3] = 0
    return rgba


@pytest.fixture
def random_network(tmp_path, run_srkit) -> str:
    small = ["--set", "model.n_resblocks=2", "--set", "model.n_feats=8", "--set", "batch=1", "--set", "patch=8"]
    assert run_srkit("train", "--model", "edsr", "--steps", "1", "--out", "net", *small)[0] == 0
    return "net"


@pytest.mark.parametrize("model", ["bicubic", "lanczos", "random_network"])
@pytest.mark.parametrize("hidden", [0, 255])
def test_what_hides_under_transparency_does_not_show_at_the_edges(tmp_path, run_srkit, request, model, hidden):
    """xinntao/ESRGAN#18: icons and textures get fringes. Right: none on any ground, whatever the model."""
    name = request.getfixturevalue(model) if model == "random_network" else model
    Image.fromarray(disc(hidden)).save(tmp_path / "disc.png")
    full = np.broadcast_to(np.array([255, 200, 40], np.uint8), (48, 48, 3)).copy()
    Image.fromarray(full).save(tmp_path / "full.png")
    for picture in ("disc", "full"):
        assert run_srkit("upscale", f"{picture}.png", "--model", name, "-o", f"{picture}_x2.png")[0] == 0
    made = np.asarray(Image.open("disc_x2.png")).astype(float)
    ideal = read_rgb("full_x2.png").astype(float)  # the same colour without any edge
    alpha = made[..., 3:] / 255
    for ground in (0, 255):
        fringe = np.abs((made[..., :3] - ideal) * alpha)
        assert fringe.max() <= 1, f"{fringe.max():.0f} levels on {ground}"
    large = srkit.load(name, device="cpu").upscale(Image.open(tmp_path / "disc.png"))
    np.testing.assert_array_equal(np.asarray(large), made)


def test_hidden_colour_does_not_reach_a_training_either(tmp_path):
    """net2cn/Real-ESRGAN_GUI#5: black blocks from what is transparent. Right: colour goes on under it."""
    for hidden in (0, 255):
        Image.fromarray(disc(hidden)).save(tmp_path / f"{hidden}.png")
        assert np.unique(read_rgb(tmp_path / f"{hidden}.png").reshape(-1, 3), axis=0).tolist() == [[255, 200, 40]]
    half = np.zeros((8, 8, 4), np.uint8)
    half[:, 3] = (10, 20, 30, 255)
    Image.fromarray(half).save(tmp_path / "line.png")
    assert (read_rgb(tmp_path / "line.png") == (10, 20, 30)).all()


def test_a_wholly_transparent_picture_is_what_it_was(tmp_path):
    Image.fromarray(np.zeros((8, 8, 4), np.uint8)).save(tmp_path / "p.png")
    assert read_rgb(tmp_path / "p.png").max() == 0
    large = np.asarray(srkit.load("bicubic").upscale(Image.open(tmp_path / "p.png")))
    assert large.max() == 0


def test_tensors_that_are_not_finite_are_refused():
    """As for files: values that cannot be pixels are an error where they come in, not a black picture."""
    bicubic = srkit.load("bicubic")
    for value, words in ((float("nan"), "not finite"), (float("inf"), "not finite"), (-2.0, "goes down to -2")):
        lr = torch.rand(3, 8, 8)
        lr[0, 0, 0] = value
        with pytest.raises(UsageError, match=words):
            bicubic.upscale(lr)
