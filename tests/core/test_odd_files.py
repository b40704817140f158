"""Each of a hundred odd files comes out right, by an independent reading, or is refused in one line."""

import re
import zlib
from io import BytesIO

import numpy as np
import pytest

from srkit import SrkitError
from srkit.images import Encoding, encoding_for, header, read_picture, write_pixels
from srkit.images.source import printable
from tests.odd_files import Odd, odd_files

FILES = odd_files()


def test_there_are_a_hundred():
    assert len(FILES) >= 100
    assert sum(file.pixels is None for file in FILES) >= 25


@pytest.mark.parametrize("file", FILES, ids=lambda file: ascii(file.name)[1:-1][-40:])
def test_an_odd_file_comes_out_right_or_is_refused_in_one_line(file: Odd, tmp_path):
    path = tmp_path / file.name
    path.write_bytes(file.data)
    if file.pixels is None:
        for read in (lambda: read_picture(path, deep=True), lambda: read_picture(path)):
            with pytest.raises(SrkitError) as refused:
                read()
            assert "\n" not in str(refused.value)
            assert printable(file.name) in str(refused.value)
            assert re.search(file.words, str(refused.value))
        return
    picture = read_picture(path, deep=True)
    assert re.search(file.words, picture.notice), picture.notice
    if not file.words:
        assert picture.notice == ""
    pixels = picture.channels()
    assert (pixels.shape, pixels.dtype) == (file.pixels.shape, file.pixels.dtype)
    assert np.abs(pixels.astype(int) - file.pixels).max() <= file.tolerance
    found = header(path)
    assert (found.height, found.width) == pixels.shape[:2]
    if "reduced" not in file.words:
        assert (found.depth, found.channels) == (picture.depth, pixels.shape[2])
    if path.suffix != ".tga":  # it has no signature and is believed by its name
        np.testing.assert_array_equal(read_picture(file.data, deep=True).rgb, picture.rgb)
    write_pixels(tmp_path / "out.png", pixels, picture.about, Encoding("png"))
    np.testing.assert_array_equal(unpacked((tmp_path / "out.png").read_bytes()), pixels)


def unpacked(png: bytes) -> np.ndarray:
    """A PNG of 8 or 16 bits whose rows are unfiltered or differences to the row above, by no library of pictures."""
    at, data = 8, b""
    width, height, bits, kind = 0, 0, 0, 0
    while at < len(png):
        length, name = int.from_bytes(png[at : at + 4], "big"), png[at + 4 : at + 8]
        body = png[at + 8 : at + 8 + length]
        assert zlib.crc32(name + body) == int.from_bytes(png[at + 8 + length : at + 12 + length], "big")
        if name == b"IHDR":
            width, height = int.from_bytes(body[:4], "big"), int.from_bytes(body[4:8], "big")
            bits, kind = body[8], body[9]
        elif name == b"IDAT":
            data += body
        at += length + 12
    channels = {0: 1, 4: 2, 2: 3, 6: 4}[kind]
    rows = np.frombuffer(zlib.decompress(data), np.uint8).reshape(height, -1)
    assert set(np.unique(rows[:, 0])) <= {0, 2}
    values = rows[:, 1:].copy()
    for row in range(1, height):
        if rows[row, 0] == 2:
            values[row] += values[row - 1]
    shaped = values.view(">u2") if bits == 16 else values
    return shaped.reshape(height, width, channels).astype(np.uint16 if bits == 16 else np.uint8)


@pytest.mark.parametrize("file", [file for file in FILES if file.pixels is not None and file.pixels.size < 9000][::3],
                         ids=lambda file: ascii(file.name)[1:-1][-40:])  # fmt: skip
def test_both_roads_give_the_same_pixels(file: Odd, tmp_path, monkeypatch):
    """Pillow for small pictures of 8 bits, libvips for all else: nobody can tell by the pixels."""
    by_rule = read_picture(file.data, deep=True).channels()
    monkeypatch.setattr("srkit.images.read.LARGE", 0)
    monkeypatch.setattr("srkit.images.deep.HELD", 0)
    by_vips = read_picture(file.data, deep=True, scratch=tmp_path)
    tolerance = 2 if file.name.endswith(".avif") else 0  # libavif and libheif round YCbCr in two ways
    assert by_vips.channels().shape == by_rule.shape
    assert np.abs(by_vips.channels().astype(int) - by_rule).max() <= tolerance
    assert not list(tmp_path.iterdir()), "the mapped file has no name"


def test_a_picture_is_written_in_every_format_and_tifffile_reads_ours(tmp_path):
    import tifffile

    rng = np.random.default_rng(0)
    for depth in (np.uint8, np.uint16):
        for channels in (1, 2, 3, 4):
            pixels = rng.integers(0, np.iinfo(depth).max, (9, 11, channels), depth)
            write_pixels(tmp_path / "out.tif", pixels, None, encoding_for("out.tif"))
            read = tifffile.imread(tmp_path / "out.tif")
            np.testing.assert_array_equal(read if channels > 1 else read[..., None], pixels)


@pytest.mark.parametrize("channels", [1, 2, 3, 4])
def test_what_tifffile_writes_is_read_tiled_in_planes_and_big(channels):
    import tifffile

    pixels = np.random.default_rng(0).integers(0, 65536, (70, 90, channels), np.uint16)
    kind = {"photometric": "rgb" if channels > 2 else "minisblack"}
    kind |= {"extrasamples": ["unassalpha"]} if channels in (2, 4) else {}
    for options in (
        {"tile": (16, 32)},
        {"bigtiff": True},
        {"byteorder": ">"},
        {"rowsperstrip": 7},
        {"planes": (16, 16)},
    ):
        planes = options.pop("planes", None)
        stored = pixels if planes is None else np.moveaxis(pixels, 2, 0).copy()
        if planes is not None and channels > 1:
            options |= {"planarconfig": "separate", "tile": planes}
        file = BytesIO()
        tifffile.imwrite(file, stored[..., 0] if channels == 1 and planes is None else stored, **kind, **options)
        np.testing.assert_array_equal(read_picture(file.getvalue(), deep=True).channels(), pixels)
