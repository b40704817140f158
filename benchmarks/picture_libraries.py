"""What picture libraries get right: deep pixels and metadata both ways, PNG settings, memory of a very large file.

    python benchmarks/picture_libraries.py checks > pillow13.json      in each environment
    python benchmarks/picture_libraries.py table pillow12.json pillow13.json
    python benchmarks/picture_libraries.py png PHOTO                   a photograph enlarged to 32 megapixels
    python benchmarks/picture_libraries.py stream --pixels 400000000   peak RssAnon and seconds of one encoding

The files to read are made here, PNG, TIFF, BMP byte by byte; what is written is read by another library than the one
that wrote. A cell says `yes`, or what came instead.
"""

import argparse
import io
import json
import struct
import subprocess
import sys
import tempfile
import threading
import time
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

RNG = np.random.default_rng(0)
DEEP = RNG.integers(0, 65536, (12, 16, 4), dtype=np.uint16)
EXIF_MARK, XMP_MARK, IPTC_MARK = b"CAMERA-MAKER-7", b"XMP-MARK-5", b"IPTC-CAPTION-9"
XMP = b'<?xpacket begin=""?><x:xmpmeta xmlns:x="adobe:ns:meta/">' + XMP_MARK + b"</x:xmpmeta>"
IPTC = b"\x1c\x02\x78" + struct.pack(">H", len(IPTC_MARK)) + IPTC_MARK
EXIF = b"MM\0*\0\0\0\x08\0\x01\x01\x0f\0\x02" + struct.pack(">IIxxxx", len(EXIF_MARK) + 1, 26) + EXIF_MARK + b"\0"


# --- files made by hand ---------------------------------------------------------------------------------------------


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png(pixels: np.ndarray, *extra: bytes, palette: np.ndarray | None = None) -> bytes:
    """H,W,C uint8 or uint16 without filters; extra: chunks before the pixels."""
    height, width, channels = pixels.shape
    kind = 3 if palette is not None else {1: 0, 2: 4, 3: 2, 4: 6}[channels]
    rows = pixels.astype(">u2") if pixels.dtype == np.uint16 else pixels
    data = b"".join(b"\0" + row.tobytes() for row in rows)
    head = struct.pack(">IIBBBBB", width, height, 8 * pixels.dtype.itemsize, kind, 0, 0, 0)
    colours = chunk(b"PLTE", palette.tobytes()) if palette is not None else b""
    parts = [chunk(b"IHDR", head), colours, *extra, chunk(b"IDAT", zlib.compress(data)), chunk(b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


def tiff(pixels: np.ndarray, *tags: tuple[int, int, bytes]) -> bytes:
    """H,W,C in one strip, little-endian, uncompressed. tags: (tag, type, little-endian bytes) to be added."""
    height, width, channels = pixels.shape
    bits, kind = 8 * pixels.dtype.itemsize, 3 if pixels.dtype.kind == "f" else 1
    sizes = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 7: 1}

    def short(*values: int) -> bytes:
        return struct.pack(f"<{len(values)}H", *values)

    data = pixels.astype(pixels.dtype.newbyteorder("<")).tobytes()
    entries = [
        (256, 3, short(width)), (257, 3, short(height)), (258, 3, short(*[bits] * channels)), (259, 3, short(1)),
        (262, 3, short(2 if channels > 2 else 1)), (273, 4, struct.pack("<I", 8)), (277, 3, short(channels)),
        (278, 3, short(height)), (279, 4, struct.pack("<I", len(data))), (339, 3, short(*[kind] * channels)),
        *([(338, 3, short(2))] if channels in (2, 4) else []), *tags,
    ]  # fmt: skip
    at = 8 + len(data)
    ifd, rest = struct.pack("<H", len(entries)), b""
    behind = at + 2 + 12 * len(entries) + 4
    for tag, type_, value in sorted(entries):
        place = value.ljust(4, b"\0")
        if len(value) > 4:
            place = struct.pack("<I", behind + len(rest))
            rest += value + b"\0" * (len(value) % 2)
        ifd += struct.pack("<HHI", tag, type_, len(value) // sizes[type_]) + place
    return b"II*\0" + struct.pack("<I", at) + data + ifd + bytes(4) + rest


def with_segments(jpeg: bytes) -> bytes:
    """A JPEG with EXIF, XMP, IPTC and 300 dpi."""

    def segment(marker: int, data: bytes) -> bytes:
        return bytes([0xFF, marker]) + struct.pack(">H", len(data) + 2) + data

    photoshop = b"Photoshop 3.0\x008BIM\x04\x04\0\0" + struct.pack(">I", len(IPTC)) + IPTC + b"\0" * (len(IPTC) % 2)
    rest = jpeg[2 + 2 + struct.unpack(">H", jpeg[4:6])[0] :] if jpeg[2:4] == b"\xff\xe0" else jpeg[2:]
    jfif = segment(0xE0, b"JFIF\0\1\1\1" + struct.pack(">HH", 300, 300) + b"\0\0")
    return (
        jpeg[:2] + jfif + segment(0xE1, b"Exif\0\0" + EXIF)
        + segment(0xE1, b"http://ns.adobe.com/xap/1.0/\0" + XMP) + segment(0xED, photoshop) + rest
    )  # fmt: skip


# --- the libraries: reading, writing, what is kept around the pixels -------------------------------------------------


def shaped(pixels: np.ndarray) -> np.ndarray:
    return pixels[..., None] if pixels.ndim == 2 else pixels


class Pillow:
    def __init__(self) -> None:
        from PIL import Image, __version__

        self.image, self.name = Image, f"Pillow {__version__}"

    def read(self, data: bytes) -> np.ndarray:
        image = self.image.open(io.BytesIO(data))
        if image.mode == "P":
            image = image.convert("RGBA" if "transparency" in image.info else "RGB")
        if image.has_transparency_data and "A" not in image.mode:
            image = image.convert({"L": "LA", "RGB": "RGBA"}[image.mode])
        return shaped(np.asarray(image))

    def write(self, pixels: np.ndarray, kind: str, about: bool = False) -> bytes:
        pixels = pixels[..., 0] if pixels.shape[2] == 1 else pixels
        image, file = self.image.fromarray(pixels), io.BytesIO()
        more: dict[str, Any] = {"exif": b"Exif\0\0" + EXIF, "xmp": XMP, "dpi": (300, 300), "icc_profile": profile()}
        options: dict[str, Any] = {"webp": {"lossless": True}, "avif": {"quality": 100}}.get(kind, {})
        image.save(file, {"jp2": "JPEG2000"}.get(kind, kind), **options, **(more if about else {}))
        return file.getvalue()

    def about(self, data: bytes) -> dict[str, bool]:
        image = self.image.open(io.BytesIO(data))
        info = {key: str(value) for key, value in image.info.items()}
        iptc = str(__import__("PIL.IptcImagePlugin").IptcImagePlugin.getiptcinfo(image))
        return {
            "exif": EXIF_MARK.decode() in str(image.getexif()), "xmp": XMP_MARK.decode() in str(info),
            "iptc": IPTC_MARK.decode() in iptc, "icc": "icc_profile" in info,
            "dpi": round(float(image.info.get("dpi", (0, 0))[0])) == 300,
        }  # fmt: skip


class Vips:
    def __init__(self) -> None:
        import pyvips

        self.vips, self.name = pyvips, f"pyvips {pyvips.__version__}, libvips {pyvips.version(0)}.{pyvips.version(1)}"

    def read(self, data: bytes) -> np.ndarray:
        return shaped(self.vips.Image.new_from_buffer(data, "").numpy())

    def write(self, pixels: np.ndarray, kind: str, about: bool = False) -> bytes:
        image = self.vips.Image.new_from_array(pixels)
        deep, gray = pixels.dtype == np.uint16, pixels.shape[2] < 3
        image = image.copy(interpretation=("grey16" if deep else "b-w") if gray else ("rgb16" if deep else "srgb"))
        if about:
            image = image.copy(xres=300 / 25.4, yres=300 / 25.4)
            for name, value in (("exif-data", b"Exif\0\0" + EXIF), ("xmp-data", XMP), ("iptc-data", IPTC)):
                image.set_type(self.vips.GValue.blob_type, name, value)
            image.set_type(self.vips.GValue.blob_type, "icc-profile-data", profile())
        options: dict[str, Any] = {"webp": {"lossless": True}, "avif": {"lossless": True}}.get(kind, {})
        if kind == "avif" and deep:
            options = {"lossless": True, "bitdepth": 10}
        written: bytes = image.write_to_buffer({"tiff": ".tif", "jpeg": ".jpg"}.get(kind, f".{kind}"), **options)
        return written

    def about(self, data: bytes) -> dict[str, bool]:
        image = self.vips.Image.new_from_buffer(data, "")
        got = {name: bytes(image.get(name)) for name in image.get_fields() if name.endswith("-data")}
        return {
            "exif": EXIF_MARK in got.get("exif-data", b""), "xmp": XMP_MARK in got.get("xmp-data", b""),
            "iptc": IPTC_MARK in got.get("iptc-data", b""), "icc": "icc-profile-data" in got,
            "dpi": round(image.xres * 25.4) == 300,
        }  # fmt: skip


class Tifffile:
    """tifffile for TIFF, imagecodecs for the rest."""

    def __init__(self) -> None:
        import imagecodecs
        import tifffile

        self.tifffile, self.codecs = tifffile, imagecodecs
        self.name = f"tifffile {tifffile.__version__}, imagecodecs {imagecodecs.__version__}"

    def read(self, data: bytes) -> np.ndarray:
        if data[:2] in (b"II", b"MM"):
            return shaped(self.tifffile.imread(io.BytesIO(data)))
        return shaped(self.codecs.imread(data))

    def write(self, pixels: np.ndarray, kind: str, about: bool = False) -> bytes:
        file = io.BytesIO()
        if kind == "tiff":
            more: dict[str, Any] = {"resolution": (300, 300), "resolutionunit": 2, "iccprofile": profile()}
            extra = [
                (700, 1, len(XMP), XMP, True),
                (33723, 7, len(IPTC), IPTC, True),
                (271, 2, 0, EXIF_MARK.decode(), True),
            ]
            self.tifffile.imwrite(
                file, pixels, photometric="rgb" if pixels.shape[2] > 2 else "minisblack", planarconfig="contig",
                **({**more, "extratags": extra} if about else {}),
            )  # fmt: skip
            return file.getvalue()
        if about:
            raise NotImplementedError("imagecodecs writes no metadata")
        pixels = pixels[..., 0] if pixels.shape[2] == 1 else pixels
        options = {"jp2": {"level": 0, "codecformat": "jp2"}, "webp": {"lossless": True}}.get(kind, {})
        if kind == "avif":
            options = {"level": 100, "bitspersample": 10 if pixels.dtype == np.uint16 else 8}
        encode = {"jp2": "jpeg2k_encode", "jpeg": "jpeg8_encode"}.get(kind, f"{kind}_encode")
        return bytes(getattr(self.codecs, encode)(pixels, **options))

    def about(self, data: bytes) -> dict[str, bool]:
        if data[:2] not in (b"II", b"MM"):
            raise NotImplementedError("imagecodecs reads no metadata")
        tags = self.tifffile.TiffFile(io.BytesIO(data)).pages[0].tags
        text = {code: tags[code].value for code in (271, 282, 700, 33723, 34675) if code in tags}
        return {
            "exif": EXIF_MARK.decode() in str(text.get(271)), "xmp": XMP_MARK in bytes(text.get(700, b"")),
            "iptc": IPTC_MARK.decode() in str(text.get(33723)), "icc": 34675 in text,
            "dpi": text.get(282, (0, 1))[0] == 300 * text.get(282, (0, 1))[1],
        }  # fmt: skip


def profile() -> bytes:
    from PIL import ImageCms

    return ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()


# --- the checks -----------------------------------------------------------------------------------------------------


def compared(got: np.ndarray, expected: np.ndarray, tolerance: int = 0) -> str:
    if got.dtype != expected.dtype:
        return f"as {got.dtype}"
    if got.shape != expected.shape:
        return f"as {'x'.join(map(str, got.shape[1::-1]))}, {got.shape[2]} channels"
    worst = int(np.abs(got.astype(float) - expected).max())
    return "yes" if worst <= tolerance else f"up to {worst} off"


def to_read() -> dict[str, tuple[bytes, np.ndarray, int]]:
    """What each library is to read: file, pixels, tolerance."""
    import imagecodecs
    from PIL import Image

    eight = (DEEP >> 8).astype(np.uint8)
    index = RNG.integers(0, 8, (12, 16, 1), dtype=np.uint8)
    palette, clear = (
        RNG.integers(0, 256, (8, 3), dtype=np.uint8),
        np.array([0, 128, 255, 9, 255, 255, 255, 255], np.uint8),
    )
    seen = np.concatenate([palette[index[..., 0]], clear[index]], 2)
    float_ = (DEEP[..., :1] / 65535).astype(np.float32)
    smooth = np.add.outer(np.arange(64.0), np.arange(64.0))[..., None] * [1.0, 1.5, 1.9]
    ten = (smooth * 4).astype(np.uint16)
    bmp = io.BytesIO()
    Image.fromarray(eight[..., :3]).save(bmp, "BMP")
    cmyk = np.repeat(np.repeat(RNG.integers(0, 256, (2, 2, 4), dtype=np.uint8), 8, 0), 8, 1)
    cases: dict[str, tuple[bytes, np.ndarray, int]] = {}
    for channels, name in ((3, "RGB"), (4, "RGBA"), (1, "gray"), (2, "gray, alpha")):
        cases[f"read PNG, 16 bit {name}"] = (png(DEEP[..., :channels]), DEEP[..., :channels], 0)
        cases[f"read TIFF, 16 bit {name}"] = (tiff(DEEP[..., :channels]), DEEP[..., :channels], 0)
    cases["read PNG, 8 bit gray, alpha"] = (png(eight[..., :2]), eight[..., :2], 0)
    cases["read PNG, palette with tRNS"] = (png(index, chunk(b"tRNS", clear.tobytes()), palette=palette), seen, 0)
    cases["read TIFF, float gray"] = (tiff(float_), float_, 0)
    cases["read JPEG, CMYK"] = (cmyk_jpeg(cmyk), cmyk, 3)
    cases["read AVIF, 8 bit"] = (
        bytes(imagecodecs.avif_encode((smooth).astype(np.uint8), level=100)),
        smooth.astype(np.uint8),
        2,
    )
    cases["read AVIF, 10 bit"] = (bytes(imagecodecs.avif_encode(ten, level=100, bitspersample=10)), ten, 4)
    cases["read JPEG 2000, 8 bit"] = (bytes(imagecodecs.jpeg2k_encode(eight[..., :3], level=0)), eight[..., :3], 0)
    cases["read JPEG 2000, 16 bit RGB"] = (bytes(imagecodecs.jpeg2k_encode(DEEP[..., :3], level=0)), DEEP[..., :3], 0)
    cases["read JPEG 2000, 16 bit gray"] = (bytes(imagecodecs.jpeg2k_encode(DEEP[..., 0], level=0)), DEEP[..., :1], 0)
    cases["read BMP"] = (bmp.getvalue(), eight[..., :3], 0)
    cases["read WebP, RGBA"] = (bytes(imagecodecs.webp_encode(opaque(eight), lossless=True)), opaque(eight), 0)
    gif = io.BytesIO()
    Image.fromarray(palette[index[..., 0]]).save(gif, "GIF")
    cases["read GIF"] = (gif.getvalue(), palette[index[..., 0]], 0)
    return cases


def opaque(rgba: np.ndarray) -> np.ndarray:
    """Alpha at least 1, so that no encoder may change the colour."""
    return np.dstack([rgba[..., :3], np.maximum(rgba[..., 3], 1)])


def cmyk_jpeg(pixels: np.ndarray) -> bytes:
    from PIL import Image

    file = io.BytesIO()
    Image.fromarray(pixels, "CMYK").save(file, "JPEG", quality=100, subsampling=0)
    return file.getvalue()


def carriers() -> dict[str, bytes]:
    """The same metadata in each format that holds any."""
    from PIL import Image

    eight = (DEEP[..., :3] >> 8).astype(np.uint8)
    icc, made = profile(), {}
    text = b"XML:com.adobe.xmp\0\0\0\0\0" + XMP
    made["PNG"] = png(
        eight, chunk(b"iCCP", b"p\0\0" + zlib.compress(icc)), chunk(b"pHYs", struct.pack(">IIB", 11811, 11811, 1)),
        chunk(b"eXIf", EXIF), chunk(b"iTXt", text),
    )  # fmt: skip
    made["TIFF"] = tiff(
        eight, (271, 2, EXIF_MARK + b"\0"), (282, 5, struct.pack("<II", 300, 1)), (283, 5, struct.pack("<II", 300, 1)),
        (296, 3, b"\2\0"), (700, 1, XMP), (33723, 7, IPTC), (34675, 7, icc),
    )  # fmt: skip
    for kind in ("JPEG", "WEBP", "AVIF"):
        file = io.BytesIO()
        more = {} if kind == "JPEG" else {"exif": b"Exif\0\0" + EXIF, "xmp": XMP}
        Image.fromarray(eight).save(file, kind, icc_profile=icc, **more)
        made[kind] = with_segments(file.getvalue()) if kind == "JPEG" else file.getvalue()
    return made


def attempt(call: Callable[[], str]) -> str:
    try:
        return call()
    except Exception as error:
        return f"no ({type(error).__name__})"


def words(found: dict[str, bool], possible: tuple[str, ...]) -> str:
    lost = [name for name in possible if not found[name]]
    return "yes" if not lost else f"loses {', '.join(lost)}"


POSSIBLE = {
    "PNG": ("exif", "xmp", "icc", "dpi"), "JPEG": ("exif", "xmp", "iptc", "icc", "dpi"), "WEBP": ("exif", "xmp", "icc"),
    "TIFF": ("exif", "xmp", "iptc", "icc", "dpi"), "AVIF": ("exif", "xmp", "icc"),
}  # fmt: skip


def checks() -> dict[str, dict[str, str]]:
    """{library: {check: `yes` or what is wrong}}, of the libraries that are there."""
    libraries: list[Any] = []
    for library in (Pillow, Vips, Tifffile):
        try:
            libraries.append(library())
        except ImportError as error:
            print(f"passed over: {error}", file=sys.stderr)
    return {library.name: checks_of(library, Tifffile()) for library in libraries}


def checks_of(library: Any, reference: Any) -> dict[str, str]:
    """{check: `yes` or what is wrong} of one library."""
    row: dict[str, str] = {}
    for name, (data, pixels, tolerance) in to_read().items():
        row[name] = attempt(lambda d=data, p=pixels, t=tolerance: compared(library.read(d), p, t))  # type: ignore[misc]
    for kind in ("png", "tiff", "jp2"):
        for channels, what in ((3, "RGB"), (4, "RGBA"), (1, "gray"), (2, "gray, alpha")):
            row[f"write {kind}, 16 bit {what}"] = attempt(
                lambda p=DEEP[..., :channels], k=kind: compared(reference.read(library.write(p, k)), p)  # type: ignore[misc]
            )
    for name, data in carriers().items():
        row[f"metadata of {name} read"] = attempt(
            lambda d=data, n=name: words(library.about(d), POSSIBLE[n])  # type: ignore[misc]
        )
    eight = (DEEP[..., :3] >> 8).astype(np.uint8)
    for name in POSSIBLE:
        row[f"metadata of {name} written"] = attempt(
            lambda n=name: written_about(library.write(eight, n.lower(), True), n)  # type: ignore[misc]
        )
    return row


def written_about(data: bytes, kind: str) -> str:
    """By the marks themselves: nothing but profiles and some text of PNG is compressed."""
    dpi = {
        "PNG": b"pHYs" + struct.pack(">II", 11811, 11811) in data,
        "JPEG": data[13:18] == b"\1" + struct.pack(">HH", 300, 300),
        "TIFF": Tifffile().about(data)["dpi"] if kind == "TIFF" else False,
    }.get(kind, False)  # fmt: skip
    icc = any(mark in data for mark in (b"iCCP", b"ICC_PROFILE", b"ICCP", b"colrprof", profile()[36:100]))
    found = {"exif": EXIF_MARK in data, "xmp": XMP_MARK in data, "iptc": IPTC_MARK in data, "icc": icc, "dpi": dpi}
    return words(found, POSSIBLE[kind])


# --- PNG settings, and memory ---------------------------------------------------------------------------------------


def png_settings(photo: Path) -> list[tuple[str, float, float]]:
    """(setting, seconds, MB) for a photograph enlarged to 32 megapixels."""
    import pyvips
    from PIL import Image

    image = Image.open(photo).convert("RGB")
    factor = (32e6 / (image.width * image.height)) ** 0.5
    image = image.resize((round(image.width * factor), round(image.height * factor)), Image.Resampling.BICUBIC)
    pixels = np.asarray(image)
    rows = []

    def timed(name: str, encode: Callable[..., bytes], **options: Any) -> None:
        began = time.perf_counter()
        size = len(encode(**options))
        rows.append((name, time.perf_counter() - began, size / 1e6))
        print(f"| {name} | {rows[-1][1]:.1f} | {rows[-1][2]:.1f} |", flush=True)

    def pillow(**options: Any) -> bytes:
        file = io.BytesIO()
        image.save(file, "PNG", **options)
        return file.getvalue()

    height, width = pixels.shape[:2]
    source = pyvips.Image.new_from_memory(pixels.data, width, height, 3, "uchar").copy(interpretation="srgb")
    print("| setting | s | MB |\n| --- | ---: | ---: |")
    for level in (1, 3, 6):
        timed(f"Pillow, level {level}", pillow, compress_level=level)
    for name in ("none", "sub", "up", "paeth", "all"):
        for level in (1, 3, 6):
            timed(
                f"vips, filter {name}, level {level}",
                source.pngsave_buffer,
                compression=level,
                filter=name,
                keep="none",
            )
    return rows


def streamed(library: str, kind: str, raw: Path, side: int, out: Path) -> None:
    """One encoding of side x side RGB pixels in the file `raw`; prints seconds and peak RssAnon."""
    peak = 0

    def watch() -> None:
        nonlocal peak
        while True:
            status = Path("/proc/self/status").read_text()
            peak = max(peak, int(status.split("RssAnon:")[1].split()[0]))
            time.sleep(0.02)

    threading.Thread(target=watch, daemon=True).start()
    pixels = np.memmap(raw, np.uint8, "r", shape=(side, side, 3))
    began = time.perf_counter()
    if library == "pillow":
        from PIL import Image

        Image.MAX_IMAGE_PIXELS = None
        Image.fromarray(pixels).save(out, kind.upper(), **({"compress_level": 1} if kind == "png" else {}))
    elif library == "vips":
        import pyvips

        options = {"png": {"compression": 1, "filter": "sub"}, "tiff": {"compression": "deflate", "bigtiff": True}}
        image = pyvips.Image.rawload(str(raw), side, side, 3).copy(interpretation="srgb")
        image.write_to_file(str(out), keep="none", **options.get(kind, {}))
    else:
        import imagecodecs
        import tifffile

        if kind == "tiff":
            tifffile.imwrite(out, pixels, photometric="rgb", compression="zlib", rowsperstrip=64)
        else:
            encode = {"png": imagecodecs.png_encode, "jpeg": imagecodecs.jpeg8_encode}[kind]
            out.write_bytes(encode(pixels, level=1 if kind == "png" else 90))
    print(
        json.dumps({"seconds": time.perf_counter() - began, "rss_anon_mb": peak / 1024, "mb": out.stat().st_size / 1e6})
    )


def stream(pixels: int) -> None:
    side = int(pixels**0.5)
    with tempfile.TemporaryDirectory() as folder:
        raw = Path(folder) / "raw"
        y = np.arange(side)[None, :, None]
        with open(raw, "wb") as file:
            for top in range(0, side, 500):
                x = np.arange(top, min(top + 500, side))[:, None, None]
                file.write(
                    ((x // 7 + y // 5) * np.array([1, 2, 3]) % 256 + RNG.integers(0, 3, (len(x), side, 3)))
                    .astype(np.uint8)
                    .tobytes()
                )
        for kind in ("png", "jpeg", "tiff"):
            for library in ("pillow", "vips", "tifffile"):
                command = [sys.executable, __file__, "one", library, kind, str(raw), str(side), f"{folder}/out.{kind}"]
                done = subprocess.run(command, capture_output=True, text=True, timeout=1200)
                said = done.stdout.strip() or done.stderr.strip().rsplit("\n", 1)[-1][:80]
                print(f"{kind} by {library}: {said}", flush=True)


def table(files: list[Path]) -> None:
    """Markdown of several results of `checks`, a library that is in more than one of them once."""
    columns: dict[str, dict[str, str]] = {}
    for file in files:
        columns |= json.loads(file.read_text())
    names = list(columns)
    print(f"| check | {' | '.join(names)} |\n| --- |{' --- |' * len(names)}")
    for check in columns[names[0]]:
        print(f"| {check} | {' | '.join(columns[name].get(check, '') for name in names)} |")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["checks", "png", "stream", "table", "one"])
    parser.add_argument("files", nargs="*")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--pixels", type=int, default=400_000_000)
    chosen = parser.parse_args()
    if chosen.what == "checks":
        found = checks()
        print(json.dumps(found, indent=1))
    elif chosen.what == "png":
        png_settings(Path(chosen.files[0]))
    elif chosen.what == "stream":
        stream(chosen.pixels)
    elif chosen.what == "table":
        table([Path(each) for each in chosen.files])
    else:
        library, kind, raw, side, out = chosen.files
        streamed(library, kind, Path(raw), int(side), Path(out))


if __name__ == "__main__":
    main()
