"""What people wanted of picture files, their depth and their metadata, from public trackers: one test a complaint."""

import os
import re
import struct
import threading
import time
import zlib
from io import BytesIO
from pathlib import Path
from runpy import run_path

import numpy as np
import pytest
from PIL import Image, ImageCms

from srkit import ImageError, UnknownName, UsageError, image_size
from srkit.images import (
    FORMATS,
    About,
    Encoding,
    check_encoding,
    encoding_for,
    header,
    read_picture,
    receipt_in,
    write_pixels,
)
from srkit.images.about import about_of
from srkit.images.tags import Tags
from tests.fixtures import loaded
from tests.odd_files import DEEP, EIGHT, IPTC, SMOOTH, XMP, chunk, exif, inked, png, profile, seen, tiff

ROOT = Path(__file__).parents[2]
ABOUT = About(
    icc=profile("p3"),
    exif=exif(6),
    xmp=XMP,
    iptc=IPTC,
    dpi=(300, 240),
    text=(("Title", "A poster"), ("Author", "Žofie")),
)


@pytest.mark.parametrize("suffix", ["png", "tif"])
def test_sixteen_bits_go_in_and_out_to_the_last_one(tmp_path, suffix):
    """python-pillow/Pillow#7723: a 16-bit RGB PNG is always read as uint8. Right: every bit, both ways, through all."""
    gradient = np.arange(65536, dtype=np.uint16).reshape(256, 256, 1)
    pixels = np.concatenate([gradient, gradient[::-1], gradient[:, ::-1]], 2)
    for channels in (1, 3):
        write_pixels(tmp_path / f"p.{suffix}", pixels[..., :channels], None, encoding_for(f"p.{suffix}"))
        picture = read_picture(tmp_path / f"p.{suffix}", deep=True)
        assert picture.depth == 16
        np.testing.assert_array_equal(picture.channels(), pixels[..., :channels])


@pytest.mark.parametrize("kind", ["png", "jpeg", "webp", "tiff", "avif", "jp2"])
def test_a_picture_keeps_what_it_says_of_itself(tmp_path, kind):
    """upscayl/upscayl#1307: EXIF, IPTC, title, all lost. Right: kept, or named where a format has no place."""
    path = tmp_path / f"p{FORMATS[kind][0]}"
    notice = write_pixels(path, SMOOTH, ABOUT, encoding_for(path))
    with open(path, "rb") as file:
        kept, broken = about_of(file, kind)
    assert not broken
    assert (kept.icc, kept.xmp) == (ABOUT.icc, ABOUT.xmp)
    assert b"EXIF-MARK" in kept.exif
    assert kept.dpi == pytest.approx((300, 240))
    for name, gone in (("IPTC", kept.iptc != IPTC), ("text", dict(kept.text) != dict(ABOUT.text))):
        assert (name in notice) == gone
    assert (kept.iptc == IPTC) == (kind not in ("webp", "avif"))
    if kind != "jp2":  # of which Pillow reads the pixels alone
        image = loaded(path)
        assert image.info["icc_profile"] == ABOUT.icc
        assert image.getexif()[0x010F] == "EXIF-MARK"


@pytest.mark.parametrize("kind", ["png", "jpeg", "webp", "tiff", "avif"])
def test_what_would_be_false_of_the_larger_picture_is_mended(tmp_path, kind):
    """upscayl/upscayl#1488: turned wrongly in the viewer. Right: pixels upright, the tag says so, no old thumbnail."""
    path = tmp_path / f"p{FORMATS[kind][0]}"
    xmp = b"<rdf:RDF tiff:Orientation='6' exif:PixelXDimension=\"9\"><tiff:ImageWidth>9</tiff:ImageWidth></rdf:RDF>"
    write_pixels(path, SMOOTH, About(exif=exif(6), xmp=xmp, dpi=(300, 300)), encoding_for(path))
    with open(path, "rb") as file:
        kept, _ = about_of(file, kind)
    assert b"THUMBNAIL" not in kept.exif
    assert b"THUMBNAIL" not in path.read_bytes()
    found = Image.Exif()
    found.load(kept.exif)
    assert found.get(0x0112, 1) == 1
    assert (found.get_ifd(0x8769)[0xA002], found.get_ifd(0x8769)[0xA003]) == (56, 40)
    assert re.findall(rb"(?:Orientation=.|Dimension=.|ImageWidth>)(\d+)", kept.xmp) == [b"1", b"56", b"56"]
    assert image_size(path) == (40, 56)


def test_a_maker_note_stays_where_its_offsets_mean_it(tmp_path):
    """python-pillow/Pillow#5490: EXIF has other values when written. Right: the same bytes in the same place."""
    long = struct.pack(">HHII", 0x927C, 7, 100, 60) + bytes(4)
    note = b"MM\0*\0\0\0\x08\0\x01" + struct.pack(">HHII", 0x8769, 4, 1, 26) + bytes(4) + b"\0\x01" + long
    note = note.ljust(60, b"\0") + bytes(range(100))
    write_pixels(tmp_path / "p.jpg", SMOOTH, About(exif=note), encoding_for("p.jpg"))
    assert b"Exif\0\0" + note in (tmp_path / "p.jpg").read_bytes()


def test_exif_of_a_tiff_goes_to_a_jpeg_and_back(tmp_path):
    """libvips/libvips#332, python-pillow/Pillow#6334: TIFF loses its EXIF. Right: both ways, in either byte order."""
    for order in "<>":
        below = {36867: (2, b"2026:11:25 12:00:00\0")}
        start = 8 + DEEP[..., :3].nbytes
        data = tiff(DEEP[..., :3], (271, 2, b"EXIF-MARK\0"), (34665, 4, struct.pack(order + "I", 0)), order=order)
        at = len(data)
        kind, text = below[36867]
        ifd = struct.pack(order + "HHHIII", 1, 36867, kind, len(text), at + 18, 0) + text
        place = data.index(struct.pack(order + "HHI", 34665, 4, 1), start) + 8
        data = data[:place] + struct.pack(order + "I", at) + data[place + 4 :] + ifd
        picture = read_picture(data, deep=True)
        for suffix in ("jpg", "tif", "png"):
            write_pixels(tmp_path / f"p.{suffix}", picture.channels(), picture.about, encoding_for(f"p.{suffix}"))
            found = loaded(tmp_path / f"p.{suffix}").getexif()
            assert found[271] == "EXIF-MARK"
            assert found.get_ifd(34665)[36867] == "2026:11:25 12:00:00"


def test_text_and_gamma_of_a_png_stay_in_a_png(tmp_path):
    """python-pillow/Pillow#1026: text does not survive. Right: it does, as gAMA and cHRM do, where no profile is."""
    gamma = chunk(b"gAMA", struct.pack(">I", 100000)) + chunk(b"cHRM", struct.pack(">8I", *range(8)))
    text = chunk(b"tEXt", b"parameters\0a tree with a bird") + chunk(b"iTXt", b"T\0\0\0\0\0" + "☕".encode())
    picture = read_picture(png(DEEP[..., :3], gamma, text), deep=True)
    assert picture.about.gamma == 1.0
    write_pixels(tmp_path / "p.png", picture.channels(), picture.about, Encoding("png"))
    image = loaded(tmp_path / "p.png")
    assert (image.info["gamma"], image.text) == (1.0, {"parameters": "a tree with a bird", "T": "☕"})
    notice = write_pixels(tmp_path / "p.webp", picture.channels(), picture.about, Encoding("webp"))
    assert "no place for its text and gamma" in notice
    write_pixels(tmp_path / "bare.png", picture.channels(), picture.about, Encoding("png", strip=True))
    bare = loaded(tmp_path / "bare.png")
    assert (bare.info.get("gamma"), bare.text) == (1.0, {}), "gamma is colour, text is not"


def test_a_photograph_in_display_p3_keeps_its_look(tmp_path):
    """upscayl/upscayl#746: colours change since the profile is lost. Right: kept, or converted, in all its bits."""
    p3, srgb = ImageCms.ImageCmsProfile(BytesIO(profile("p3"))), ImageCms.createProfile("sRGB")
    data = png(SMOOTH, chunk(b"iCCP", b"p\0\0" + zlib.compress(profile("p3"))))
    kept = read_picture(data, deep=True)
    assert kept.icc == profile("p3")
    np.testing.assert_array_equal(kept.rgb, SMOOTH)
    flags = ImageCms.Flags.BLACKPOINTCOMPENSATION
    wanted = np.asarray(ImageCms.profileToProfile(Image.fromarray(SMOOTH), p3, srgb, 1, flags=flags)).astype(float)
    assert np.abs(wanted - SMOOTH).mean() > 2, "the two differ"
    made = read_picture(data, deep=True, profile="srgb")
    assert made.icc is None
    assert np.abs(made.rgb - wanted).mean() < 0.5
    deep = png(SMOOTH.astype(np.uint16) * 257, chunk(b"iCCP", b"p\0\0" + zlib.compress(profile("p3"))))
    made = read_picture(deep, deep=True, profile="srgb")
    assert made.depth == 16
    assert np.abs(made.rgb / 257 - wanted).mean() < 0.5
    assert len(np.unique(made.rgb)) > len(np.unique(wanted)), "in 16 bits, not in 8 that are spread"


def test_a_format_that_is_too_small_for_the_result_is_refused_before_the_work():
    """nihui/waifu2x-ncnn-vulkan#183, DeadSix27/waifu2x-converter-cpp#149: work, then "failed". Right: at once."""
    for kind, width, longest in (("webp", 16384, 16383), ("jpeg", 65501, 65500), ("avif", 16385, 16384)):
        with pytest.raises(
            UsageError, match=f"{kind} has at most {longest} pixels a side, .* {width}x10; png has more"
        ):
            check_encoding(Encoding(kind), width, 10, 3)
        assert check_encoding(Encoding(kind), longest, 10, 3) == []
    assert check_encoding(Encoding("png"), 60000, 40000, 3) == []
    with pytest.raises(UsageError, match="bmp has at most 4 GB"):
        check_encoding(Encoding("bmp"), 40000, 40000, 3)
    long = About(exif=exif() + bytes(70000))
    assert "64 kB for each of its EXIF" in check_encoding(Encoding("jpeg"), 9, 9, 3, long)[0]


def test_the_limits_are_those_of_the_encoders(tmp_path):
    """What is allowed works, as python-pillow/Pillow#8321 shows that it may not."""
    for kind in ("webp", "jpeg", "avif"):
        longest = {"webp": 16383, "jpeg": 65500, "avif": 16384}[kind]
        path = tmp_path / f"p{FORMATS[kind][0]}"
        write_pixels(path, np.zeros((2, longest, 3), np.uint8), None, Encoding(kind, quality=50))
        assert image_size(path) == (2, longest)


def test_words_for_an_encoding_that_cannot_be_are_refused():
    for words, options in (
        ("quality", {"target": "p.png", "quality": 90}), ("not between", {"target": "p.jpg", "quality": 0}),
        ("has 8 bits", {"target": "p.jpg", "depth": 16}), ("neither 8 nor 16", {"target": "p.png", "depth": 12}),
        ("no colour", {"target": "p.jpg", "background": "whte"}), ("--format does", {"target": "-"}),
        ("is a png by its name", {"target": "p.png", "format": "jpeg"}),
        ("mean 'tiff'", {"target": "-", "format": "tifff"}),
    ):  # fmt: skip
        with pytest.raises(UsageError, match=words):
            encoding_for(**options)
    assert encoding_for("p.JPG", "jpg", 80, background="#102030") == Encoding("jpeg", 80, background=(16, 32, 48))


@pytest.mark.parametrize("suffix", ["jpg", "bmp"])
def test_transparency_is_laid_on_the_colour_that_is_said(tmp_path, suffix):
    rgba = np.dstack([np.full((16, 16, 3), 200, np.uint8), np.repeat([[0, 255]], 8, 1).repeat(16, 0).astype(np.uint8)])
    notice = write_pixels(tmp_path / f"p.{suffix}", rgba, None, encoding_for(f"p.{suffix}", background="#102030"))
    assert "#102030 is laid under what is transparent" in notice
    made = np.asarray(loaded(tmp_path / f"p.{suffix}")).astype(int)
    assert np.abs(made[:, :6] - (16, 32, 48)).max() <= 2
    assert np.abs(made[:, 10:] - 200).max() <= 2


def test_an_honest_poster_is_allowed_and_a_bomb_is_not_decoded(tmp_path):
    """k4yt3x/video2x#897: 256 megapixels exceed a limit nobody can raise. Right: an option, judged by the header."""
    path = tmp_path / "poster.png"
    Image.new("1", (15000, 12500), 1).save(path)
    with pytest.raises(ImageError, match=r"15000x12500 are 188 megapixels.* --max-pixels 187500000"):
        read_picture(path, deep=True)
    with pytest.raises(ImageError, match="--max-pixels"):
        header(path, max_pixels=10**8)
    found = header(path)
    assert (found.width, found.height, found.channels) == (15000, 12500, 1)
    assert image_size(path) == (12500, 15000)
    picture = read_picture(path, deep=True, max_pixels=187_500_000, scratch=tmp_path)
    assert is_mapped(picture.rgb)
    assert picture.rgb.shape == (12500, 15000, 3)
    assert picture.rgb[::500, ::500].min() == 255
    assert os.listdir(tmp_path) == ["poster.png"]


def is_mapped(pixels: np.ndarray | None) -> bool:
    """Whether an array is a view of a mapped file."""
    return pixels is not None and (isinstance(pixels, np.memmap) or is_mapped(getattr(pixels, "base", None)))


def test_a_small_tiff_with_a_false_height_takes_no_memory():
    """ImageMagick/ImageMagick#554: memory by what the header says. Right: the header is weighed against the file."""
    for tags in ([], [(278, 4, struct.pack("<I", 1 << 30))]):
        for height in (60000, 1 << 30):
            with pytest.raises(ImageError, match="it says that it has"):
                read_picture(tiff(EIGHT[..., :3], (257, 4, struct.pack("<I", height)), *tags))
    samples = tiff(EIGHT[..., :3], (277, 3, struct.pack("<H", 0xFFF9)))
    with pytest.raises(ImageError):
        header(samples)


def test_a_header_that_says_no_pixels_is_a_damaged_picture():
    """Found among 5,000 damaged files through `srkit upscale`: a PNG of no height divided by zero."""
    buffer = BytesIO()
    write_pixels(buffer, np.zeros((4, 4, 3), np.uint8), About(), Encoding("png"))
    data = bytearray(buffer.getvalue())
    data[20:24] = bytes(4)
    with pytest.raises(ImageError, match="says 4x0 pixels, so it is damaged"):
        header(bytes(data))


def test_a_pipe_and_a_link_to_nothing_are_what_they_are(tmp_path):
    """A pipe was no picture, "did you mean" itself."""
    data = png(DEEP[..., :3])
    os.mkfifo(tmp_path / "pipe")
    writer = threading.Thread(target=lambda: (tmp_path / "pipe").write_bytes(data))
    writer.start()
    np.testing.assert_array_equal(read_picture(tmp_path / "pipe", deep=True).rgb, DEEP[..., :3])
    writer.join()
    np.testing.assert_array_equal(read_picture(BytesIO(data), deep=True).rgb, DEEP[..., :3])
    (tmp_path / "link.png").symlink_to("gone.png")
    with pytest.raises(ImageError, match="link.png' is a link to 'gone.png', which is not there"):
        read_picture(tmp_path / "link.png")
    with pytest.raises(UnknownName, match="no picture"):
        read_picture(tmp_path / "nothing.png")
    with pytest.raises(ImageError, match="is a device"):
        read_picture("/dev/null")


@pytest.mark.parametrize("kind", FORMATS)
def test_a_stream_gets_the_same_bytes_as_a_file(tmp_path, kind):
    path = tmp_path / f"p{FORMATS[kind][0]}"
    pixels = np.asarray(SMOOTH[::-1, ::-1])  # a view with negative strides, as pytorch/pytorch#92680 knows them
    write_pixels(path, pixels, ABOUT, encoding_for(path))
    stream = BytesIO()
    write_pixels(stream, np.ascontiguousarray(pixels), ABOUT, encoding_for("-", kind))
    assert stream.getvalue() == path.read_bytes()
    if kind != "bmp":  # which has no place for the profile, so its colours are others
        assert np.abs(read_picture(stream.getvalue(), deep=True).rgb.astype(int) - pixels).mean() < 3


@pytest.mark.parametrize("kind", FORMATS)
def test_a_disk_that_is_full_leaves_nothing_in_any_format(tmp_path, kind, monkeypatch):
    class Full(BytesIO):
        def write(self, data):
            raise OSError(28, "No space left on device")

    with pytest.raises(ImageError, match="cannot write the output: OSError: .*No space left"):
        write_pixels(Full(), SMOOTH, None, Encoding(kind))
    path = tmp_path / f"p{FORMATS[kind][0]}"
    monkeypatch.setattr(os, "fsync", lambda descriptor: (_ for _ in ()).throw(OSError(28, "No space left on device")))
    with pytest.raises(ImageError, match=f"cannot write '.*{path.name}': .*No space left"):
        write_pixels(path, SMOOTH, None, Encoding(kind))
    assert not list(tmp_path.iterdir())


def test_an_interruption_while_encoding_is_not_lost_in_the_encoder():
    """Ctrl-C in a callback of C: Python prints it and goes on. Right: the writing ends, and it is raised."""

    class Interrupted(BytesIO):
        def write(self, data):
            raise KeyboardInterrupt

    for kind in ("png", "jpeg"):
        with pytest.raises(KeyboardInterrupt):
            write_pixels(Interrupted(), SMOOTH, None, Encoding(kind))


@pytest.mark.parametrize("kind", ["png", "jpeg", "webp", "tiff", "avif", "jp2"])
def test_a_receipt_is_found_again_and_replaced(tmp_path, kind):
    """upscayl/upscayl#340: what made this picture? Right: it says so itself."""
    path = tmp_path / f"p{FORMATS[kind][0]}"
    for receipt in ('{"model": "a<b&c"}', '{"model": "second"}'):
        xmp = read_picture(path, deep=True).about.xmp if path.exists() else XMP
        write_pixels(path, SMOOTH, About(xmp=xmp), encoding_for(path, receipt=receipt, strip=False))
        about = read_picture(path, deep=True).about
        assert receipt_in(about) == receipt
        assert b"XMP-MARK" in about.xmp
        assert about.xmp.count(b"<srkit:Receipt>") == 1


def test_an_avif_of_ten_bits_is_read_with_them(tmp_path):
    deep = np.repeat(np.linspace(0, 65535, 64).astype(np.uint16)[None, :, None], 32, 0).repeat(3, 2)
    notice = write_pixels(tmp_path / "p.avif", deep, None, Encoding("avif", quality=100))
    assert notice == "avif keeps 12 of 16 bits"
    picture = read_picture(tmp_path / "p.avif", deep=True)
    assert picture.depth == 16
    assert np.abs(picture.rgb.astype(int) - deep).max() < 300
    write_pixels(tmp_path / "white.avif", np.full((16, 16, 4), 65535, np.uint16), None, Encoding("avif", quality=100))
    assert read_picture(tmp_path / "white.avif", deep=True).channels().min() == 65535, "white is white"
    assert read_picture(tmp_path / "p.avif").notice == "16 bits are reduced to 8 bits"


def test_a_large_tiff_is_a_bigtiff_with_its_metadata(tmp_path, monkeypatch):
    monkeypatch.setattr("srkit.images.write.BIG", 0)
    write_pixels(tmp_path / "p.tif", DEEP[..., :3], ABOUT, Encoding("tiff"))
    with open(tmp_path / "p.tif", "rb") as file:
        assert Tags(file).big
    picture = read_picture(tmp_path / "p.tif", deep=True)
    np.testing.assert_array_equal(picture.rgb, DEEP[..., :3])
    assert (picture.about.xmp, picture.about.iptc, picture.icc) == (XMP, IPTC, ABOUT.icc)
    assert picture.about.dpi == (300, 240)
    assert b"EXIF-MARK" in picture.exif


def test_metadata_that_unfolds_without_end_is_not_unfolded():
    """photopea/UTIF.js#142: a few hundred bytes that a parser goes through for ever. Right: what is read is bounded."""
    heavy = chunk(b"zTXt", b"k\0\0" + zlib.compress(bytes(60 << 20), 9))
    picture = read_picture(png(EIGHT, *[heavy] * 40), deep=True)
    assert picture.notice == "its broken metadata is left out"
    tags = [(40000 + n, 7, bytes(5)) for n in range(100)]
    data = bytearray(tiff(EIGHT, *tags))
    for n in range(100):  # each claims all of the file, and more than that
        at = data.index(struct.pack("<HHI", 40000 + n, 7, 5))
        data[at : at + 12] = struct.pack("<HHII", 40000 + n, 7, 1 << 20, 8)
    began = time.process_time()
    np.testing.assert_array_equal(read_picture(bytes(data) + bytes(1 << 20), deep=True).channels(), EIGHT)
    boxes = b"\0\0\0\x0cjP  \r\n\x87\n" + struct.pack(">I4s", 600, b"jp2h") * 60
    about_of(BytesIO(boxes), "jp2")
    assert time.process_time() - began < 3


def test_cmyk_is_what_it_says_in_every_reader(tmp_path):
    """The CMYK JPEG of Adobe's stores its inks the other way round."""
    inked(np.dstack([SMOOTH, SMOOTH[..., 0] // 4])).save(tmp_path / "p.jpg")
    assert np.abs(read_picture(tmp_path / "p.jpg", deep=True).rgb - seen((tmp_path / "p.jpg").read_bytes())).max() == 0


def test_damaged_pictures_by_the_hundred_give_a_picture_or_a_line(tmp_path):
    """python-pillow/Pillow#4037: decoders raise about anything. The long form: benchmarks/mutated_pictures.py."""
    bench = run_path(str(ROOT / "benchmarks" / "mutated_pictures.py"))
    sources = bench["originals"](tmp_path)
    words = []
    for number in range(250):
        source = sources[number % len(sources)]
        damaged = bench["mutated"](source.read_bytes(), np.random.default_rng([7, number]))
        (tmp_path / f"damaged{source.suffix}").write_bytes(damaged)
        outcome, seconds, memory = bench["judge"](tmp_path / f"damaged{source.suffix}", tmp_path)
        assert outcome in ("read", "refused"), f"{source.name}: {outcome}"
        assert seconds < 10
        assert memory < 1 << 20
        words.append(outcome)
    assert words.count("refused") > 50
    assert words.count("read") > 20


def test_heic_is_read_with_its_extra_upright_and_with_ten_bits(tmp_path):
    """upscayl/upscayl#1488's phones: HEIC is turned by its container, so its EXIF must not turn it once more."""
    heif = pytest.importorskip("pillow_heif")
    heif.register_heif_opener()
    smooth = np.repeat(np.linspace(0, 65535, 64).astype(np.uint16)[None, :, None], 48, 0).repeat(3, 2)
    deep = heif.from_bytes(mode="RGB;16", size=(64, 48), data=smooth.tobytes())
    deep.save(tmp_path / "deep.heic", quality=100)
    picture = read_picture(tmp_path / "deep.heic", deep=True)
    assert picture.depth == header(tmp_path / "deep.heic").depth == 16
    assert np.abs(picture.rgb.astype(int) - smooth).max() < 1500
    Image.fromarray(SMOOTH).save(tmp_path / "p.heic", quality=100, exif=b"Exif\0\0" + exif(6), xmp=XMP)
    picture = read_picture(tmp_path / "p.heic", deep=True)
    assert picture.rgb.shape == (56, 40, 3)
    assert np.abs(picture.rgb.astype(int) - SMOOTH.swapaxes(0, 1)[:, ::-1]).mean() < 3
    assert (picture.about.xmp, image_size(tmp_path / "p.heic")) == (XMP, (56, 40))


@pytest.mark.parametrize("channels", [2, 3, 4])
def test_jpeg_2000_has_sixteen_bits_in_colour_with_its_extra(tmp_path, channels):
    pytest.importorskip("imagecodecs")
    write_pixels(tmp_path / "p.jp2", DEEP[..., :channels], ABOUT, Encoding("jp2", depth=16))
    picture = read_picture(tmp_path / "p.jp2", deep=True)
    np.testing.assert_array_equal(picture.channels(), DEEP[..., :channels])
    assert picture.about.xmp == XMP
