"""A hundred odd picture files, each with the pixels an independent reading finds, or the words it is refused with.

PNG and TIFF are put together byte by byte; what Pillow has to encode (JPEG, WebP, GIF, AVIF) is known by its pixels
where it is lossless, else by what Pillow itself decodes, while srkit is made to take its other road, libvips, too.
"""

import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from io import BytesIO

import numpy as np
from PIL import Image, ImageCms

RNG = np.random.default_rng(13)
DEEP = RNG.integers(0, 65536, (10, 14, 4), dtype=np.uint16)
EIGHT = (DEEP >> 8).astype(np.uint8)
SMOOTH = np.add.outer(np.arange(40), np.arange(56))[..., None] * np.array([2, 1, 1]) + np.array([5, 60, 120])
SMOOTH = SMOOTH.astype(np.uint8)

XMP = b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF><rdf:Description dc:creator="XMP-MARK"/></rdf:RDF></x:xmpmeta>'
IPTC = b"\x1c\x02\x78\x00\x09IPTC-MARK"


@dataclass(frozen=True)
class Odd:
    """A file. pixels: H,W,C upright as it is to be read with all bits, within `tolerance`; None where it is refused.

    words: a regular expression, found in the notice, or in the error. many: more pixels than are safe.
    """

    name: str
    data: bytes
    pixels: np.ndarray | None = None
    words: str = ""
    tolerance: int = 0


# --- by hand --------------------------------------------------------------------------------------------------------


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png(
    pixels: np.ndarray, *extra: bytes, bits: int = 8, kind: int | None = None, palette: np.ndarray | None = None,
    size: tuple[int, int] | None = None, end: bytes = chunk(b"IEND", b""),
) -> bytes:  # fmt: skip
    """H,W,C, unfiltered. bits: 1, 2 and 4 pack a single channel. extra: chunks before the pixels."""
    height, width, channels = pixels.shape
    bits = 16 if pixels.dtype == np.uint16 else bits
    kind = kind if kind is not None else 3 if palette is not None else {1: 0, 2: 4, 3: 2, 4: 6}[channels]
    if bits < 8:
        unpacked = np.unpackbits(pixels.reshape(height, width, 1), axis=2)[..., 8 - bits :]
        rows = np.packbits(unpacked.reshape(height, -1), axis=1)
    else:
        rows = pixels.astype(">u2") if bits == 16 else pixels
    data = b"".join(b"\0" + row.tobytes() for row in rows)
    wide, tall = size or (width, height)
    head = chunk(b"IHDR", struct.pack(">IIBBBBB", wide, tall, bits, kind, 0, 0, 0))
    colours = chunk(b"PLTE", palette.tobytes()) if palette is not None else b""
    before = [part for part in extra if part[4:8] in (b"iCCP", b"gAMA", b"cHRM", b"sRGB")]
    after = [part for part in extra if part not in before]
    parts = [head, *before, colours, *after, chunk(b"IDAT", zlib.compress(data)), end]
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


SIZES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 7: 1}


def tiff(
    pixels: np.ndarray, *tags: tuple[int, int, bytes], order: str = "<", rows: int = 0, planar: bool = False,
    photometric: int | None = None, without: tuple[int, ...] = (), after: int = 0,
) -> bytes:  # fmt: skip
    """H,W,C in strips of `rows`. tags: (tag, type, bytes) to be added, or in place of those it has."""
    height, width, channels = pixels.shape
    rows = rows or height
    kind = {"f": 3, "i": 2}.get(pixels.dtype.kind, 1)

    def short(*values: int) -> bytes:
        return struct.pack(f"{order}{len(values)}H", *values)

    def long(*values: int) -> bytes:
        return struct.pack(f"{order}{len(values)}I", *values)

    stored = pixels.astype(pixels.dtype.newbyteorder(order))
    planes = [stored[..., n] for n in range(channels)] if planar else [stored]
    strips = [plane[top : top + rows].tobytes() for plane in planes for top in range(0, height, rows)]
    starts = [8 + sum(map(len, strips[:n])) for n in range(len(strips))]
    if photometric is None:
        photometric = 2 if channels > 2 else 1
    entries = {
        256: (3, short(width)), 257: (3, short(height)), 258: (3, short(*[8 * pixels.dtype.itemsize] * channels)),
        259: (3, short(1)), 262: (3, short(photometric)), 273: (4, long(*starts)), 277: (3, short(channels)),
        278: (3, short(rows)), 279: (4, long(*map(len, strips))), 284: (3, short(2 if planar else 1)),
        339: (3, short(*[kind] * channels)),
    }  # fmt: skip
    if channels in (2, 4) and photometric in (1, 2):
        entries[338] = (3, short(2))
    entries |= {tag: (type_, value) for tag, type_, value in tags}
    entries = {tag: value for tag, value in entries.items() if tag not in without}
    data = b"".join(strips) + b"\0" * (sum(map(len, strips)) % 2)
    at = 8 + len(data)
    ifd, rest, behind = struct.pack(order + "H", len(entries)), b"", at + 2 + 12 * len(entries) + 4
    for tag, (type_, value) in sorted(entries.items()):
        held = value.ljust(4, b"\0")
        if len(value) > 4:
            held, rest = struct.pack(order + "I", behind + len(rest)), rest + value + b"\0" * (len(value) % 2)
        ifd += struct.pack(order + "HHI", tag, type_, len(value) // SIZES[type_]) + held
    head = (b"II*\0" if order == "<" else b"MM\0*") + struct.pack(order + "I", at)
    return head + data + ifd + struct.pack(order + "I", at if after < 0 else 0) + rest


def exif(orientation: int = 1) -> bytes:
    """A maker, an orientation, a thumbnail, and in a directory below the size of the pixels."""
    below = struct.pack(">HHHIIHHIII", 2, 0xA002, 4, 1, 999, 0xA003, 4, 1, 888, 0)
    maker = b"EXIF-MARK\0"
    start = 8 + 2 + 3 * 12 + 4
    after = start + len(maker) + len(below)
    thumbnail = struct.pack(">HHHIIHHIII", 2, 0x201, 4, 1, after + 30, 0x202, 4, 1, 9, 0) + b"THUMBNAIL"
    first = struct.pack(">H", 3)
    first += struct.pack(">HHII", 0x010F, 2, len(maker), start)
    first += struct.pack(">HHIHxx", 0x0112, 3, 1, orientation)
    first += struct.pack(">HHII", 0x8769, 4, 1, start + len(maker)) + struct.pack(">I", after)
    return b"MM\0*\0\0\0\x08" + first + maker + below + thumbnail


def profile(kind: str) -> bytes:
    """Display P3 with the sRGB curve, gray of gamma 2.2, sRGB, or libvips' CMYK."""
    if kind == "cmyk":
        from srkit.images.vips import library

        return bytes(library().Image.profile_load("cmyk"))
    if kind == "srgb":
        return ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    curve = b"para\0\0\0\0\0\0\0\0" + struct.pack(">i", round(2.2 * 65536))

    def fixed(*values: float) -> bytes:
        return b"XYZ \0\0\0\0" + b"".join(struct.pack(">i", round(value * 65536)) for value in values)

    def text(words: str) -> bytes:
        held = words.encode("utf-16-be")
        return b"mluc\0\0\0\0" + struct.pack(">II2s2sII", 1, 12, b"en", b"US", len(held), 28) + held

    tags = {b"desc": text(f"test {kind}"), b"wtpt": fixed(0.9642, 1, 0.8249), b"cprt": text("none")}
    if kind == "p3":  # the columns of Display P3, adapted to D50
        for name, values in (
            (b"rXYZ", (0.51512, 0.24120, -0.00105)), (b"gXYZ", (0.29198, 0.69225, 0.04189)),
            (b"bXYZ", (0.15710, 0.06657, 0.78407)),
        ):  # fmt: skip
            tags[name] = fixed(*values)
        tags |= dict.fromkeys((b"rTRC", b"gTRC", b"bTRC"), curve)
    else:
        tags[b"kTRC"] = curve
    table, data, at = b"", b"", 128 + 4 + 12 * len(tags)
    for name, held in tags.items():
        held += b"\0" * (-len(held) % 4)
        table += name + struct.pack(">II", at + len(data), len(held))
        data += held
    space = b"RGB " if kind == "p3" else b"GRAY"
    head = struct.pack(">I4sI4s4s4s12x4s", at + len(data), b"lcms", 0x04200000, b"mntr", space, b"XYZ ", b"acsp")
    head += bytes(28) + struct.pack(">iii", 63190, 65536, 54061)
    return head.ljust(128, b"\0") + struct.pack(">I", len(tags)) + table + data


def upright(stored: np.ndarray, orientation: int) -> np.ndarray:
    """What is meant by pixels that are stored with this orientation."""
    swapped = np.swapaxes(stored, 0, 1)
    return {
        1: stored, 2: stored[:, ::-1], 3: stored[::-1, ::-1], 4: stored[::-1], 5: swapped, 6: swapped[:, ::-1],
        7: swapped[::-1, ::-1], 8: swapped[::-1],
    }[orientation]  # fmt: skip


# --- by Pillow ------------------------------------------------------------------------------------------------------


def saved(pixels: np.ndarray | Image.Image, kind: str, **options: object) -> bytes:
    image = pixels if isinstance(pixels, Image.Image) else Image.fromarray(pixels)
    file = BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def seen(data: bytes, mode: str = "RGB") -> np.ndarray:
    """What Pillow makes of a file of 8 bits."""
    pixels = np.asarray(Image.open(BytesIO(data)).convert(mode))
    return pixels[..., None] if pixels.ndim == 2 else pixels


# --- the files ------------------------------------------------------------------------------------------------------


def odd_files() -> list[Odd]:
    """All of them, each with a name of its own."""
    files = [*pngs(), *strange_pngs(), *tiffs(), *strange_tiffs(), *jpegs(), *others(), *no_pictures(), *names()]
    assert len({file.name for file in files}) == len(files)
    return files


def pngs() -> Iterator[Odd]:
    for channels, name in ((1, "gray"), (2, "gray-alpha"), (3, "rgb"), (4, "rgba")):
        yield Odd(f"{name}-8.png", png(EIGHT[..., :channels]), EIGHT[..., :channels])
        yield Odd(f"{name}-16.png", png(DEEP[..., :channels]), DEEP[..., :channels])
    for bits in (1, 2, 4):
        few = EIGHT[..., :1] >> (8 - bits)
        yield Odd(f"gray-{bits}.png", png(few, bits=bits), few * (255 // (2**bits - 1)))
        palette = RNG.integers(0, 256, (2**bits, 3), dtype=np.uint8)
        yield Odd(f"palette-{bits}.png", png(few, bits=bits, palette=palette), palette[few[..., 0]])
    palette, clear = RNG.integers(0, 256, (256, 3), dtype=np.uint8), RNG.integers(0, 256, 200, dtype=np.uint8)
    alpha = np.append(clear, np.full(56, 255, np.uint8))
    index = EIGHT[..., 0]
    yield Odd(
        "palette-transparent.png", png(EIGHT[..., :1], chunk(b"tRNS", clear.tobytes()), palette=palette),
        np.dstack([palette[index], alpha[index]]),
    )  # fmt: skip
    for pixels, bits in ((EIGHT, 8), (DEEP, 16)):
        top = 2**bits - 1
        key = pixels[3, 4, :3]
        opaque = np.where((pixels[..., :3] == key).all(-1), 0, top).astype(pixels.dtype)
        rgb = png(pixels[..., :3], chunk(b"tRNS", struct.pack(">HHH", *key)))
        yield Odd(f"rgb-key-{bits}.png", rgb, np.dstack([pixels[..., :3], opaque]))
        opaque = np.where(pixels[..., 0] == key[0], 0, top).astype(pixels.dtype)
        gray = png(pixels[..., :1], chunk(b"tRNS", struct.pack(">H", key[0])))
        yield Odd(f"gray-key-{bits}.png", gray, np.dstack([pixels[..., 0], opaque]))
    for orientation in range(1, 9):
        pixels = (EIGHT if orientation % 2 else DEEP)[..., : 3 if orientation < 6 else 1]
        yield Odd(
            f"turned-{orientation}.png", png(pixels, chunk(b"eXIf", exif(orientation))), upright(pixels, orientation)
        )


def strange_pngs() -> Iterator[Odd]:
    rgb, deep = EIGHT[..., :3], DEEP[..., :3]
    yield Odd("p3-8.png", png(SMOOTH, iccp("p3")), SMOOTH)
    yield Odd("p3-16.png", png(deep, iccp("p3")), deep)
    yield Odd("profile-gray.png", png(EIGHT[..., :1], iccp("gray")), EIGHT[..., :1])
    gamma = chunk(b"gAMA", struct.pack(">I", 100000)) + chunk(b"pHYs", struct.pack(">IIB", 11811, 11811, 1))
    yield Odd("gamma.png", png(deep, gamma), deep)
    text = chunk(b"tEXt", b"Title\0A poster") + chunk(b"iTXt", b"Author\0\0\0\0\0" + "Žofie ☕".encode())
    xmp = chunk(b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0" + XMP)
    yield Odd("text.png", png(rgb, text, xmp), rgb)
    yield Odd("text-behind.png", png(rgb, end=text + chunk(b"eXIf", exif(6)) + chunk(b"IEND", b"")), upright(rgb, 6))
    yield Odd("1x1.png", png(deep[:1, :1]), deep[:1, :1])
    tall = RNG.integers(0, 65536, (5000, 1, 3), dtype=np.uint16)
    yield Odd("1x5000.png", png(tall), tall)
    yield Odd("5000x1.png", png(tall[:, 0][None]), tall[:, 0][None])
    other = chunk(b"tEXt", b"Comment\0damaged")[:-1] + b"?"
    yield Odd("wrong-checksum.png", png(rgb, other), rgb, "broken metadata is left out")
    yield Odd("no-profile.png", png(rgb, chunk(b"iCCP", b"p\0\0nothing")), rgb, "broken metadata is left out")
    frames = [Image.fromarray(rgb), Image.fromarray(255 - rgb)]
    yield Odd(
        "two-frames.png", saved(frames[0], "PNG", save_all=True, append_images=frames[1:]), rgb, "first of 2 frames"
    )
    whole = png(RNG.integers(0, 256, (40, 40, 3), dtype=np.uint8))
    for name, data in (("cut", whole[: len(whole) // 2]), ("cut-head", whole[:20]), ("cut-end", whole[:-30])):
        yield Odd(f"{name}.png", data, None, "truncated")
    yield Odd("cut-16.png", png(DEEP)[:-40], None, "truncated")
    yield Odd("false-size.png", png(rgb, size=(14, 60000)), None, "it may be truncated")
    yield Odd("false-size-16.png", png(deep, size=(60000, 10)), None, "truncated")
    yield Odd("bomb.png", png(rgb, size=(60000, 60000)), None, "holds only|more pixels than is safe")
    row = zlib.compress(bytes((20000 // 8 + 1) * 20000), 9)
    bomb = chunk(b"IHDR", struct.pack(">IIBBBBB", 20000, 20000, 1, 0, 0, 0, 0)) + chunk(b"IDAT", row)
    yield Odd(
        "bomb-1-bit.png",
        b"\x89PNG\r\n\x1a\n" + bomb + chunk(b"IEND", b""),
        None,
        "400 megapixels.*--max-pixels 400000000",
    )
    yield Odd("0x0.png", png(rgb, size=(0, 0)), None, "says 0x0 pixels, so it is damaged")


def iccp(kind: str) -> bytes:
    return chunk(b"iCCP", b"p\0\0" + zlib.compress(profile(kind)))


def tiffs() -> Iterator[Odd]:
    for channels, name in ((1, "gray"), (2, "gray-alpha"), (3, "rgb"), (4, "rgba")):
        yield Odd(f"{name}-8.tif", tiff(EIGHT[..., :channels], rows=3), EIGHT[..., :channels])
        yield Odd(f"{name}-16.tif", tiff(DEEP[..., :channels], order=">"), DEEP[..., :channels])
        yield Odd(f"{name}-planar.tif", tiff(DEEP[..., :channels], planar=True, rows=4), DEEP[..., :channels])
    for orientation in range(1, 9):
        turn = (274, 3, struct.pack("<H", orientation))
        pixels = (DEEP if orientation % 2 else EIGHT)[..., :3]
        yield Odd(f"turned-{orientation}.tif", tiff(pixels, turn), upright(pixels, orientation))
    yield Odd("white-is-zero.tif", tiff(EIGHT[..., :1], photometric=0), 255 - EIGHT[..., :1])
    yield Odd("white-is-zero-16.tif", tiff(DEEP[..., :1], photometric=0), 65535 - DEEP[..., :1])
    values = (DEEP[..., :1] / 65535).astype(np.float32)
    yield Odd("float.tif", tiff(values), DEEP[..., :1], "float pixels are reduced to 16 bits", 1)
    values = (DEEP[..., :3] / 65535).astype(np.float32)
    yield Odd("float-rgb.tif", tiff(values), DEEP[..., :3], "float pixels are reduced to 16 bits", 1)
    image = Image.fromarray(EIGHT[..., :3])
    for compression in ("tiff_lzw", "tiff_adobe_deflate", "packbits"):
        yield Odd(f"{compression}.tif", saved(image, "TIFF", compression=compression), EIGHT[..., :3])
    yield Odd("palette.tif", saved(image.quantize(16), "TIFF"), np.asarray(image.quantize(16).convert("RGB")))
    bits = EIGHT[..., 0] > 99
    yield Odd("bits.tif", saved(bits, "TIFF"), np.where(bits, 255, 0).astype(np.uint8)[..., None])
    about = [(271, 2, b"EXIF-MARK\0"), (700, 1, XMP), (33723, 7, IPTC), (282, 5, struct.pack("<II", 300, 1))]
    about += [(283, 5, struct.pack("<II", 300, 1)), (296, 3, struct.pack("<H", 2)), (34675, 7, profile("p3"))]
    yield Odd("metadata.tif", tiff(DEEP[..., :3], *about), DEEP[..., :3])


def strange_tiffs() -> Iterator[Odd]:
    rgb = EIGHT[..., :3]
    yield Odd("circle.tif", tiff(rgb, after=-1), rgb)
    yield Odd(
        "two-pages.tif",
        saved(rgb, "TIFF", save_all=True, append_images=[Image.fromarray(rgb)]),
        rgb,
        "first of 2 frames",
    )
    ink = EIGHT.copy()
    plain = ((255 - ink[..., :3].astype(float)) * (255 - ink[..., 3:].astype(float)) / 255).round().astype(np.uint8)
    yield Odd("cmyk.tif", tiff(ink, photometric=5), plain, "no profile", 1)
    yield Odd("integers.tif", tiff(DEEP[..., :1].astype(np.int32)), None, "--range 0,65535")
    yield Odd("float-255.tif", tiff(EIGHT[..., :1].astype(np.float32)), None, "--range 0,2")
    yield Odd("float-nan.tif", tiff(np.full((4, 4, 1), np.nan, np.float32)), None, "not finite")
    tall = (257, 4, struct.pack("<I", 60000))
    yield Odd("false-height.tif", tiff(rgb, tall), None, "pieces of them are there")
    yield Odd("false-strip.tif", tiff(rgb, tall, without=(278,)), None, "holds only .* bytes; it may be truncated")
    yield Odd(
        "false-deflated.tif",
        tiff(rgb, tall, (278, 4, struct.pack("<I", 60000)), (259, 3, struct.pack("<H", 8))),
        None,
        "holds only",
    )
    yield Odd("no-size.tif", tiff(rgb, without=(256,)), None, "0x10 pixels")
    yield Odd("cut.tif", saved(SMOOTH, "TIFF", compression="raw")[:1000], None, "truncated|beyond")
    yield Odd("cut-16.tif", tiff(DEEP)[:300], None, "truncated")


def jpegs() -> Iterator[Odd]:
    plain = saved(SMOOTH, "JPEG", quality=90)
    yield Odd("plain.jpg", plain, seen(plain))
    yield Odd("trailing.jpg", plain + b"after the end" * 9, seen(plain))
    gray = saved(SMOOTH[..., 0], "JPEG")
    yield Odd("gray.jpg", gray, seen(gray, "L"))
    slow = saved(SMOOTH, "JPEG", progressive=True, subsampling=0)
    yield Odd("progressive.jpeg", slow, seen(slow))
    for orientation in range(1, 9):
        data = saved(SMOOTH, "JPEG", exif=b"Exif\0\0" + exif(orientation))
        yield Odd(f"turned-{orientation}.jpg", data, upright(seen(data), orientation))
    ink = inked(np.dstack([SMOOTH, SMOOTH[..., 0] // 4]))
    yield Odd("cmyk.jpg", saved(ink, "JPEG"), seen(saved(ink, "JPEG")), "CMYK has no profile")
    inks = saved(ink, "JPEG", icc_profile=profile("cmyk"))
    yield Odd("cmyk-profile.jpg", inks, through_littlecms(inks), "through its profile", 3)
    yield Odd("p3.jpg", saved(SMOOTH, "JPEG", icc_profile=profile("p3")), seen(saved(SMOOTH, "JPEG")))
    xmp = saved(SMOOTH, "JPEG", xmp=XMP, dpi=(300, 300), comment=b"a comment")
    yield Odd("metadata.jpg", xmp, seen(xmp))
    broken = saved(SMOOTH, "JPEG", exif=b"Exif\0\0MM\0*\xff\xff\xff\xff")
    yield Odd("no-exif.jpg", broken, seen(plain_of(broken)), "EXIF is left out")
    yield Odd("cut.jpg", plain[: len(plain) // 2], None, "truncated")
    yield Odd("cut-head.jpg", plain[:200], None, "cannot be decoded|not a picture")
    yield Odd("1x1.jpg", saved(SMOOTH[:1, :1], "JPEG"), seen(saved(SMOOTH[:1, :1], "JPEG")))


def inked(pixels: np.ndarray) -> Image.Image:
    """H,W,4 as a CMYK image."""
    return Image.merge("CMYK", [Image.fromarray(np.ascontiguousarray(pixels[..., n])) for n in range(4)])


def plain_of(data: bytes) -> bytes:
    from srkit.images.bare import without_metadata

    return without_metadata(data) or data


def through_littlecms(data: bytes) -> np.ndarray:
    """CMYK by its profile to sRGB, by Pillow's littleCMS."""
    image = Image.open(BytesIO(data))
    source = ImageCms.ImageCmsProfile(BytesIO(image.info["icc_profile"]))
    flags = ImageCms.Flags.BLACKPOINTCOMPENSATION
    made = ImageCms.profileToProfile(
        image, source, ImageCms.createProfile("sRGB"), ImageCms.Intent.RELATIVE_COLORIMETRIC, "RGB", flags=flags
    )
    return np.asarray(made)


def others() -> Iterator[Odd]:
    rgb, rgba = EIGHT[..., :3], np.dstack([EIGHT[..., :3], EIGHT[..., 3] | 1])
    yield Odd("rgb.webp", saved(rgb, "WEBP", lossless=True), rgb)
    yield Odd("rgba.webp", saved(rgba, "WEBP", lossless=True, exact=True), rgba)
    lossy = saved(SMOOTH, "WEBP", quality=80)
    yield Odd("lossy.webp", lossy, seen(lossy))
    turned = saved(rgb, "WEBP", lossless=True, exif=b"Exif\0\0" + exif(8))
    yield Odd("turned.webp", turned, upright(rgb, 8))
    more = {"save_all": True, "append_images": [Image.fromarray(255 - rgb)]}
    yield Odd("moving.webp", saved(rgb, "WEBP", lossless=True, **more), rgb, "first of 2 frames")
    yield Odd("cut.webp", saved(SMOOTH, "WEBP")[:-60], None, "truncated|not a picture|cannot be decoded")
    few = Image.fromarray(rgb).quantize(16)
    yield Odd("plain.gif", saved(few, "GIF"), np.asarray(few.convert("RGB")))
    moving = saved(few, "GIF", save_all=True, append_images=[Image.fromarray(255 - rgb).quantize(16)])
    yield Odd("moving.gif", moving, np.asarray(few.convert("RGB")), "first of 2 frames")
    clear = saved(few, "GIF", transparency=3)
    yield Odd("clear.gif", clear, seen(clear, "RGBA"))
    yield Odd("plain.bmp", saved(rgb, "BMP", dpi=(300, 300)), rgb)
    yield Odd("gray.bmp", saved(rgb[..., 0], "BMP"), rgb[..., :1])
    yield Odd("bits.bmp", saved(rgb[..., 0] > 99, "BMP"), np.where(rgb[..., :1] > 99, 255, 0).astype(np.uint8))
    yield Odd("palette.bmp", saved(few, "BMP"), np.asarray(few.convert("RGB")))
    yield Odd("cut.bmp", saved(rgb, "BMP")[:100], None, "truncated")
    avif = saved(SMOOTH, "AVIF", quality=90)
    yield Odd("plain.avif", avif, seen(avif))
    gray = saved(SMOOTH[..., 0], "AVIF", quality=90)
    one = gray[gray.index(b"av1C") + 6] & 0x10  # Pillow writes one channel since version 12
    yield Odd("gray.avif", gray, seen(gray)[..., :1] if one else seen(gray))
    clear = saved(np.dstack([SMOOTH, SMOOTH[..., 0]]), "AVIF", quality=90)
    yield Odd("alpha.avif", clear, seen(clear, "RGBA"))
    yield Odd("cut.avif", avif[: len(avif) // 2], None, "cannot be decoded|not a picture")
    yield Odd("plain.jp2", saved(rgb, "JPEG2000"), rgb)
    yield Odd("alpha.jp2", saved(rgba, "JPEG2000"), rgba)
    yield Odd("gray-16.jp2", saved(DEEP[..., 0], "JPEG2000"), DEEP[..., :1])
    for suffix in ("ppm", "tga", "pcx", "sgi"):
        yield Odd(f"plain.{suffix}", saved(rgb, suffix.upper()), rgb)
    yield Odd("gray-16.pgm", saved(DEEP[..., 0], "PPM"), DEEP[..., :1])
    deep = b"P6\n14 10\n65535\n" + DEEP[..., :3].astype(">u2").tobytes()
    yield Odd(
        "rgb-16.ppm", deep, np.floor(DEEP[..., :3] / 257 + 0.5).astype(np.uint8), "16 bits are reduced to 8 bits", 1
    )


def no_pictures() -> Iterator[Odd]:
    for name, data in (
        ("words.png", b"hello"), ("empty.jpg", b""), ("zeros.tif", bytes(500)), ("signature.png", b"\x89PNG\r\n\x1a\n"),
        ("eps.png", b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\n%%EOF\n"),
        ("svg.png", b'<svg xmlns="http://www.w3.org/2000/svg" width="9" height="9"><rect width="9" height="9"/></svg>'),
        ("pdf.jpg", b"%PDF-1.4\n1 0 obj\n"), ("page.webp", b"<!doctype html><title>404</title>"),
        ("ring.avif", b"\0\0\0\x1cftypavif\0\0\0\0avifmif1miaf"), ("half.gif", b"GIF89a\x10"),
    ):  # fmt: skip
        yield Odd(name, data, None, "not a picture|cannot be decoded|truncated")
    yield Odd("phone.heic", b"\0\0\0\x18ftypheic\0\0\0\0mif1heic", None, "HEIC|cannot be decoded|not a picture")


def names() -> Iterator[Odd]:
    rgb = DEEP[..., :3]
    for name in (
        "two words.png", "line\nbreak.png", "žluťoučký kůň ☕.png", "-o.png", "[1].png", "it's \"quoted\".png",
        "%s {stem}.png", "n" * 200 + ".png", "UPPER.PNG",
    ):  # fmt: skip
        yield Odd(name, png(rgb), rgb)
    yield Odd("really-a-jpeg.png", saved(SMOOTH, "JPEG", quality=90), seen(saved(SMOOTH, "JPEG", quality=90)))
