"""What stands around the pixels of a file: profile, EXIF, XMP, IPTC, DPI, text; read from its own structure, mended."""

import re
import struct
import zlib
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from io import BytesIO
from typing import BinaryIO

from srkit.images import tags as tiff
from srkit.images.tags import Tags

MOST = 64 << 20  # bytes of one piece of metadata
INCH = 0.0254  # metres
XMP_NAME, XMP_MORE = b"http://ns.adobe.com/xap/1.0/\0", b"http://ns.adobe.com/xmp/extension/\0"
PHOTOSHOP = b"Photoshop 3.0\0"
EXIF_UUID = b"JpgTiffExif->JP2"
XMP_UUID = bytes.fromhex("be7acfcb97a942e89c71999491e3afac")
IPTC_UUID = bytes.fromhex("33c7a4d2b81d4723a0baf1a3e097ad38")
COLOUR = (b"cICP", b"gAMA", b"cHRM", b"sRGB")  # what a PNG without a profile says of its colour


@dataclass(frozen=True)
class About:
    """What is kept around the pixels.

    icc: the colour profile. exif: a TIFF structure, without `Exif\\0\\0` before it. xmp: the packet. iptc: the records
    of IPTC-IIM. dpi: dots per inch across and down. text: (keyword, text) of PNG, a comment of JPEG or GIF as
    ("Comment", ...). colour: the chunks by which a PNG without a profile says what its colour is, (name, data).
    """

    icc: bytes | None = None
    exif: bytes | None = None
    xmp: bytes | None = None
    iptc: bytes | None = None
    dpi: tuple[float, float] | None = None
    text: tuple[tuple[str, str], ...] = ()
    colour: tuple[tuple[bytes, bytes], ...] = ()

    @property
    def gamma(self) -> float | None:
        """Of a PNG's gAMA chunk: 1/2.2 is 0.45455; None where there is none, or something better."""
        known = dict(self.colour)
        if self.icc or b"sRGB" in known or b"cICP" in known or len(known.get(b"gAMA", b"")) != 4:
            return None
        return float(struct.unpack(">I", known[b"gAMA"])[0]) / 100_000

    def stripped(self) -> "About":
        """What the colour of the pixels needs, nothing else."""
        return About(icc=self.icc, colour=self.colour)


class PartlyBroken(Exception):  # noqa: N818 - what is not broken is with it
    """Some of the metadata is broken; `about` is the rest."""

    def __init__(self, about: About):
        super().__init__()
        self.about = about


def about_of(file: BinaryIO, kind: str) -> tuple[About, list[str]]:
    """(what is around the pixels of a file of format `kind`, notices of what of it is broken and left out)."""
    reader = READERS.get(kind)
    if reader is None:
        return About(), []
    notices: list[str] = []
    try:
        about = reader(file)
    except PartlyBroken as partly:
        about = partly.about
        notices.append("its broken metadata is left out")
    except Exception:  # metadata never costs a picture
        return About(), ["its broken metadata is left out"]
    if about.exif is not None and orientation_of(about.exif) is None:
        about = replace(about, exif=None)
        notices.append("its broken EXIF is left out")
    if about.icc is not None and not sound_profile(about.icc):
        about = replace(about, icc=None)
        notices.append("its broken colour profile is left out")
    if about.dpi is None and about.exif is not None:
        about = replace(about, dpi=exif_dpi(about.exif))
    return about, notices


def sound_profile(icc: bytes) -> bool:
    """Whether a profile's header can be one: its size and its signature."""
    return len(icc) >= 132 and icc[36:40] == b"acsp" and struct.unpack(">I", icc[:4])[0] <= len(icc)


def profile_space(icc: bytes) -> str:
    """The colour space a profile is for: "RGB", "CMYK", "GRAY", "Lab"."""
    return icc[16:20].decode("latin-1").strip()


def orientation_of(exif: bytes) -> int | None:
    """1 to 8, 1 where it says nothing else; None where this is no EXIF."""
    try:
        found = Tags(BytesIO(exif)).one(tiff.ORIENTATION, 1)
    except (ValueError, struct.error):
        return None
    return found if 1 <= found <= 8 else 1


def upright_by(about: About) -> int:
    """How the pixels are to be turned, 1 to 8: by the EXIF, else by the XMP."""
    if about.exif is not None:
        with suppress(ValueError, struct.error):
            tags = Tags(BytesIO(about.exif))
            if tiff.ORIENTATION in tags.first:
                return orientation_of(about.exif) or 1
    found = re.search(rb"tiff:Orientation(?:=[\"']|>)([1-8])", about.xmp or b"")
    return int(found[1]) if found else 1


def resolution(tags: Tags) -> tuple[float, float] | None:
    """Dots per inch as TIFF tags say them; None where they do not, or not in inches or centimetres."""
    unit = {2: 1.0, 3: 2.54}.get(tags.one(tiff.UNIT, 2))
    if unit is None or tiff.X_RESOLUTION not in tags.first:
        return None
    across = tags.first[tiff.X_RESOLUTION].numbers(tags.order)[0]
    down = tags.first.get(tiff.Y_RESOLUTION, tags.first[tiff.X_RESOLUTION]).numbers(tags.order)[0]
    return believable(across * unit, down * unit)


def per_inch(per_metre: float) -> float:
    """Dots per inch of whole dots per metre: 11811 are 300, which they were made of."""
    dpi = per_metre * INCH
    return round(dpi) if abs(dpi - round(dpi)) <= INCH / 2 else round(dpi, 3)


def believable(across: float, down: float) -> tuple[float, float] | None:
    return (across, down) if 1 < across < 1e6 and 1 < down < 1e6 else None


def exif_dpi(exif: bytes) -> tuple[float, float] | None:
    with suppress(ValueError, struct.error):
        tags = Tags(BytesIO(exif))
        return None if (found := resolution(tags)) == (72.0, 72.0) else found  # 72: what cameras say of nothing
    return None


def bare_exif(data: bytes) -> bytes:
    return data[6:] if data.startswith(b"Exif\0\0") else data


# --- formats --------------------------------------------------------------------------------------------------------


def of_png(file: BinaryIO) -> About:
    """All chunks, those after the pixels too."""
    icc = exif = xmp = iptc = dpi = None
    text: list[tuple[str, str]] = []
    colour: list[tuple[bytes, bytes]] = []
    broken, most = False, MOST
    for kind, _, data in png_chunks(file):
        if data is None:
            broken = True
            continue
        if kind == b"iCCP" and icc is None:
            icc = inflated(data[data.index(b"\0") + 2 :])
        elif kind == b"eXIf":
            exif = bare_exif(data)
        elif kind == b"pHYs" and len(data) == 9 and data[8] == 1:
            dpi = believable(*(per_inch(n) for n in struct.unpack(">II", data[:8])))
        elif kind in COLOUR:
            colour.append((kind, data))
        elif kind in (b"tEXt", b"zTXt", b"iTXt"):
            key, raw = png_text(kind, data, most)
            most -= len(raw)
            if key == "XML:com.adobe.xmp":
                xmp = raw
            elif key.startswith("Raw profile type "):
                name, raw = key.rpartition(" ")[2].lower(), hexadecimal(raw)
                if name in ("exif", "app1") and exif is None and raw.startswith(b"Exif\0\0"):
                    exif = bare_exif(raw)
                elif name == "iptc" and iptc is None:
                    iptc = photoshop_iptc(raw) or raw
                elif name == "xmp" and xmp is None:
                    xmp = raw
                elif name in ("icc", "icm") and icc is None:
                    icc = raw
            elif not key.startswith("Thumb::"):
                text.append((key, raw.decode("utf-8" if kind == b"iTXt" else "latin-1", "replace")))
    about = About(icc, exif, xmp, iptc, dpi, text=tuple(text), colour=() if icc else tuple(colour))
    if broken:
        raise PartlyBroken(about)
    return about


def png_chunks(file: BinaryIO) -> Iterator[tuple[bytes, int, bytes | None]]:
    """(name, length, data) of all chunks; the data is empty for pixels, None where the checksum is wrong."""
    file.seek(8)
    while len(head := file.read(8)) == 8:
        length, kind = struct.unpack(">I4s", head)
        if kind in (b"IDAT", b"fdAT") or length > MOST:
            file.seek(length + 4, 1)
            yield kind, length, b""
            continue
        if kind == b"IEND":
            return
        data, check = file.read(length), file.read(4)
        if len(check) < 4:
            return
        yield kind, length, data if zlib.crc32(kind + data) == int.from_bytes(check, "big") else None


def png_text(kind: bytes, data: bytes, most: int) -> tuple[str, bytes]:
    """(keyword, text as bytes). Raises ValueError for more than `most` bytes."""
    key, _, rest = data.partition(b"\0")
    if kind == b"zTXt":
        rest = inflated(rest[1:], most)
    elif kind == b"iTXt":
        packed, rest = rest[:1] == b"\1", rest[2:]
        rest = rest.partition(b"\0")[2].partition(b"\0")[2]
        rest = inflated(rest, most) if packed else rest
    return key.decode("latin-1"), rest


def hexadecimal(raw: bytes) -> bytes:
    """ImageMagick's profiles in PNG text: a name, a length, the bytes as hexadecimal digits."""
    lines = raw.strip().split(b"\n")
    return bytes.fromhex(b"".join(lines[2:]).decode("ascii"))


def inflated(data: bytes, most: int = MOST) -> bytes:
    """Decompressed. Raises ValueError for more than `most` bytes."""
    machine = zlib.decompressobj()
    result = machine.decompress(data, max(1, most))
    if machine.unconsumed_tail:
        raise ValueError("too much metadata")
    return result


def of_jpeg(file: BinaryIO) -> About:
    """All segments before the pixels."""
    exif = xmp = iptc = dpi = None
    profile: dict[int, bytes] = {}
    more: dict[int, bytes] = {}
    text: list[tuple[str, str]] = []
    photoshop = b""
    for marker, data in jpeg_segments(file):
        if marker == 0xE0 and data.startswith(b"JFIF\0") and len(data) >= 12:
            unit, across, down = struct.unpack(">BHH", data[7:12])
            if unit in (1, 2):
                factor = 1 if unit == 1 else 2.54
                dpi = believable(across * factor, down * factor)
        elif marker == 0xE1 and data.startswith(b"Exif\0") and exif is None:
            exif = data[6:]
        elif marker == 0xE1 and data.startswith(XMP_NAME):
            xmp = data[len(XMP_NAME) :]
        elif marker == 0xE1 and data.startswith(XMP_MORE):
            at = len(XMP_MORE) + 32
            more[struct.unpack(">I", data[at + 4 : at + 8])[0]] = data[at + 8 :]
        elif marker == 0xE2 and data.startswith(b"ICC_PROFILE\0") and len(data) > 14:
            profile[data[12]] = data[14:]
        elif marker == 0xED and data.startswith(PHOTOSHOP):
            photoshop += data[len(PHOTOSHOP) :]
        elif marker == 0xFE and data.strip(b"\0"):
            text.append(("Comment", data.rstrip(b"\0").decode("utf-8", "replace")))
    iptc = photoshop_iptc(photoshop)
    if xmp is not None and more:
        xmp = with_extension(xmp, b"".join(more[at] for at in sorted(more)))
    icc = b"".join(profile[number] for number in sorted(profile)) or None
    return About(icc, exif, xmp, iptc, dpi, tuple(text))


def jpeg_segments(file: BinaryIO) -> Iterator[tuple[int, bytes]]:
    file.seek(2)
    while len(head := file.read(4)) == 4 and head[0] == 0xFF:
        marker, length = head[1], struct.unpack(">H", head[2:])[0]
        if marker == 0xDA or length < 2:
            return
        if marker == 0xFF:  # fill bytes
            file.seek(-3, 1)
            continue
        data = file.read(length - 2)
        if len(data) < length - 2:
            return
        yield marker, data


def with_extension(xmp: bytes, extension: bytes) -> bytes:
    """A packet joined with its extension: what the extension describes is one more description of the packet."""
    inner = re.search(rb"<rdf:RDF[^>]*>(.*)</rdf:RDF>", extension, re.DOTALL)
    end = xmp.rfind(b"</rdf:RDF>")
    xmp = re.sub(rb"\sxmpNote:HasExtendedXMP=(\"[^\"]*\"|'[^']*')", b"", xmp)
    end = xmp.rfind(b"</rdf:RDF>")
    return xmp if inner is None or end < 0 else xmp[:end] + inner[1] + xmp[end:]


def photoshop_iptc(data: bytes) -> bytes | None:
    """The IPTC records among Photoshop's resources."""
    at = 0
    while data[at : at + 4] == b"8BIM" and at + 12 <= len(data):
        number, name = struct.unpack(">HB", data[at + 4 : at + 7])
        start = at + 6 + (name + 2) // 2 * 2
        size = struct.unpack(">I", data[start : start + 4])[0]
        if number == 0x0404:
            return data[start + 4 : start + 4 + size]
        at = start + 4 + size + size % 2
    return None


def of_webp(file: BinaryIO) -> About:
    found = dict(riff_chunks(file))
    exif = found.get(b"EXIF")
    return About(icc=found.get(b"ICCP"), exif=bare_exif(exif) if exif else None, xmp=found.get(b"XMP "))


def riff_chunks(file: BinaryIO) -> Iterator[tuple[bytes, bytes]]:
    file.seek(12)
    while len(head := file.read(8)) == 8:
        kind, length = struct.unpack("<4sI", head)
        if kind in (b"ICCP", b"EXIF", b"XMP ") and length < MOST:
            data = file.read(length)
            if len(data) < length:
                return
            yield kind, data
            file.seek(length % 2, 1)
        else:
            file.seek(length + length % 2, 1)


def of_tiff(file: BinaryIO) -> About:
    tags = Tags(file)
    values = tiff.values_of(tags, tags.first, order=tags.order, leave=tiff.STRUCTURE)
    exif = None
    if values:
        head = (b"II*\0" if tags.order == "<" else b"MM\0*") + struct.pack(tags.order + "I", 8)
        exif = head + tiff.packed(narrow(values), 8, tags.order)
    held = {tag: tags.first[tag].data for tag in (tiff.ICC, tiff.XMP, tiff.IPTC) if tag in tags.first}
    iptc = held.get(tiff.IPTC)
    if iptc and iptc[:1] != b"\x1c":  # written as LONGs of the other byte order
        iptc = tiff.turned(iptc, 4)
    if not iptc and 34377 in tags.first:
        iptc = photoshop_iptc(tags.first[34377].data)
    return About(held.get(tiff.ICC), exif, held.get(tiff.XMP), iptc or None, resolution(tags))


def narrow(values: dict[int, tiff.Value]) -> dict[int, tiff.Value]:
    """Without what only BigTIFF has, since EXIF is none, and without other programs' heaps of a megabyte and more."""
    return {tag: value for tag, value in values.items() if value.kind < 16 and len(value.data) < MOST >> 6}


def of_jp2(file: BinaryIO) -> About:
    about: dict[str, bytes] = {}
    dpi = None
    for kind, data in jp2_boxes(file):
        if kind == b"uuid":
            for name, uuid in (("exif", EXIF_UUID), ("xmp", XMP_UUID), ("iptc", IPTC_UUID)):
                if data.startswith(uuid):
                    about.setdefault(name, bare_exif(data[16:]))
        elif kind == b"colr" and data[:1] in (b"\2", b"\3"):
            about.setdefault("icc", data[3:])
        elif kind == b"resc" and len(data) == 10:
            up, under, right, below, exponent, other = struct.unpack(">HHHHbb", data)
            down, across = up / under * 10.0**exponent * INCH, right / below * 10.0**other * INCH
            dpi = believable(round(across, 3), round(down, 3))
    return About(about.get("icc"), about.get("exif"), about.get("xmp"), about.get("iptc"), dpi)


def jp2_boxes(file: BinaryIO, start: int = 0, end: int | None = None) -> Iterator[tuple[bytes, bytes]]:
    """(name, data) of the boxes, those inside the header's too."""
    at = start
    while end is None or at < end:
        file.seek(at)
        head = file.read(16)
        if len(head) < 8:
            return
        length, kind, skip = struct.unpack(">I", head[:4])[0], head[4:8], 8
        if length == 1 and len(head) == 16:
            length, skip = struct.unpack(">Q", head[8:16])[0], 16
        if kind in (b"jp2h", b"res "):  # what is inside ends where it ends, else boxes would be read again and again
            yield from jp2_boxes(file, at + skip, at + length if end is None else min(at + length, end))
        elif kind != b"jp2c" and skip <= length < MOST:
            file.seek(at + skip)
            yield kind, file.read(length - skip)
        if length < skip:  # 0: to the end of the file
            return
        at += length


def of_heif(file: BinaryIO) -> About:
    """AVIF by Pillow, which reads its boxes; HEIC by the opener that pillow-heif brings."""
    from PIL import Image

    file.seek(0)
    with Image.open(file) as image:
        info = image.info
        exif, xmp, icc = info.get("exif"), info.get("xmp"), info.get("icc_profile")
    return About(icc, bare_exif(exif) if exif else None, xmp if isinstance(xmp, bytes) else None)


def of_info(file: BinaryIO) -> About:
    """BMP and GIF, by what Pillow says of them."""
    from PIL import Image

    file.seek(0)
    with Image.open(file) as image:
        dpi, comment = image.info.get("dpi"), image.info.get("comment")
    text = (("Comment", comment.decode("latin-1")),) if isinstance(comment, bytes) and comment else ()
    return About(dpi=believable(per_inch(dpi[0] / INCH), per_inch(dpi[1] / INCH)) if dpi else None, text=text)


READERS = {
    "png": of_png, "jpeg": of_jpeg, "webp": of_webp, "tiff": of_tiff, "jp2": of_jp2, "avif": of_heif, "heic": of_heif,
    "bmp": of_info, "gif": of_info,
}  # fmt: skip


# --- mended for a picture of another size ---------------------------------------------------------------------------


def mended(about: About, width: int, height: int) -> About:
    """The same for an upright picture of this size: orientation, pixel dimensions and DPI true, no thumbnail."""
    exif, xmp = about.exif, about.xmp
    if exif is not None:
        exif = mended_exif(exif, width, height, about.dpi)
    if xmp is not None:
        xmp = mended_xmp(xmp, width, height, about.dpi)
    return replace(about, exif=exif, xmp=xmp)


def mended_exif(exif: bytes, width: int, height: int, dpi: tuple[float, float] | None) -> bytes:
    """In place, so that a maker note, whose offsets nobody else knows, stays where it is."""
    data = bytearray(exif)
    tags = Tags(BytesIO(exif))
    below = tags.below(tags.first).get(tiff.EXIF, {})

    def put(entries: dict[int, tiff.Entry], tag: int, number: int) -> None:
        if tag in entries:
            at = entries[tag].at
            kind, code = (3, "HHIHxx") if number < 65536 else (4, "HHII")
            data[at : at + 12] = struct.pack(tags.order + code, tag, kind, 1, number)

    put(tags.first, tiff.ORIENTATION, 1)
    for entries in (tags.first, below):
        for tag, number in (
            (tiff.WIDTH, width), (tiff.HEIGHT, height), (tiff.PIXEL_WIDTH, width), (tiff.PIXEL_HEIGHT, height)
        ):  # fmt: skip
            put(entries, tag, number)
    if dpi is not None:
        put(tags.first, tiff.UNIT, 2)
        for tag, dots in ((tiff.X_RESOLUTION, dpi[0]), (tiff.Y_RESOLUTION, dpi[1])):
            if tag in tags.first and tags.first[tag].kind == 5 and tags.first[tag].count == 1:
                at = tags.first[tag].value_at
                data[at : at + 8] = struct.pack(tags.order + "II", *fraction(dots))
    without_thumbnail(data, tags)
    return bytes(data)


def fraction(number: float) -> tuple[int, int]:
    """As a rational of tags."""
    return (round(number), 1) if number == round(number) else (round(number * 1000), 1000)


def without_thumbnail(data: bytearray, tags: Tags) -> None:
    """The second directory, which is the thumbnail's, unlinked, and its JPEG wiped; cut off where it stands last."""
    if not tags.following:
        return
    count = len(tags.file.getbuffer()) if isinstance(tags.file, BytesIO) else 0
    with suppress(ValueError, struct.error):
        thumbnail, _ = tags.directory(tags.following)
        if 513 in thumbnail and 514 in thumbnail:
            at = int(thumbnail[513].numbers(tags.order)[0])
            end = at + int(thumbnail[514].numbers(tags.order)[0])
            if tags.following < at < end <= count:
                data[at:end] = b"" if end == count else bytes(end - at)
    number = struct.unpack(tags.order + "H", data[tags.start : tags.start + 2])[0]
    link = tags.start + 2 + 12 * number
    data[link : link + 4] = bytes(4)


def mended_xmp(xmp: bytes, width: int, height: int, dpi: tuple[float, float] | None) -> bytes:
    """Values of attributes and elements replaced, thumbnails taken out; all else to the byte."""
    true = {"tiff:Orientation": "1"}
    for wide, tall in (
        ("tiff:ImageWidth", "tiff:ImageLength"), ("exif:PixelXDimension", "exif:PixelYDimension"),
        ("exifEX:ImageWidth", "exifEX:ImageHeight"),
    ):  # fmt: skip
        true |= {wide: str(width), tall: str(height)}
    if dpi is not None:
        across, down = (f"{round(number * 1000)}/1000" for number in dpi)
        true |= {"tiff:XResolution": across, "tiff:YResolution": down, "tiff:ResolutionUnit": "2"}
    for name, value in true.items():
        key, new = re.escape(name).encode(), value.encode()
        xmp = re.sub(rb"(\s" + key + rb"\s*=\s*[\"'])[^\"'<>]*", rb"\g<1>" + new, xmp)
        xmp = re.sub(rb"(<" + key + rb"\s*>)[^<]*(</" + key + rb"\s*>)", rb"\g<1>" + new + rb"\g<2>", xmp)
    return re.sub(rb"<(xmp|xap):Thumbnails\b[^>]*>.*?</\1:Thumbnails\s*>", b"", xmp, flags=re.DOTALL)


# --- the receipt ----------------------------------------------------------------------------------------------------

SPACE = "https://github.com/srkit/srkit/receipt/1/"


def with_receipt(xmp: bytes | None, receipt: str) -> bytes:
    """A packet that also holds `receipt`, a text; one that was there is replaced."""
    from xml.sax.saxutils import escape

    inner = f"<srkit:Receipt>{escape(receipt)}</srkit:Receipt>"
    text = f'<rdf:Description rdf:about="" xmlns:srkit="{SPACE}">{inner}</rdf:Description>'
    if xmp is not None:
        old = rb"<rdf:Description rdf:about=\"\" xmlns:srkit=[^>]*><srkit:Receipt>.*?</rdf:Description>"
        xmp = re.sub(old, b"", xmp, flags=re.DOTALL)
        end = xmp.rfind(b"</rdf:RDF>")
        if end >= 0:
            return xmp[:end] + text.encode() + xmp[end:]
    return (
        '<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?><x:xmpmeta xmlns:x="adobe:ns:meta/">'
        '<rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">'
        f'{text}</rdf:RDF></x:xmpmeta><?xpacket end="w"?>'
    ).encode()


def receipt_in(about: About) -> str | None:
    """The receipt in a picture's XMP, None where there is none."""
    from xml.sax.saxutils import unescape

    found = re.search(rb"<srkit:Receipt>(.*?)</srkit:Receipt>", about.xmp or b"", re.DOTALL)
    return unescape(found[1].decode("utf-8", "replace")) if found else None
