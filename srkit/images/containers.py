"""What is around the pixels, put into the encoded files of each format."""

import struct
import zlib
from io import BytesIO
from typing import BinaryIO

from srkit.images import tags as tiff
from srkit.images.about import EXIF_UUID, INCH, IPTC_UUID, PHOTOSHOP, XMP_NAME, XMP_UUID, About, fraction
from srkit.images.encoding import SEGMENT
from srkit.images.tags import Tags, Value


class Front:
    """A file whose beginning is replaced while it is written: bytes go to `file` as soon as the beginning is known.

    A failure of `file`, or an interruption, is kept in `error`; the encoder is told to stop.
    """

    def __init__(self, file: BinaryIO, about: About):
        self.file, self.about = file, about
        self.held: bytes | None = b""
        self.error: BaseException | None = None

    def write(self, data: bytes) -> int:
        """What an encoder calls; -1 stops it."""
        try:
            if self.held is not None:
                self.held += bytes(data)
                begun = self.begun(self.held)
                if begun is None:
                    return len(data)
                self.held, size = None, len(data)
                self.file.write(begun)
                return size
            self.file.write(data)
            return len(data)
        except BaseException as error:  # raised again by who called the encoder: a callback of C must not
            self.error = error
            return -1

    def begun(self, held: bytes) -> bytes | None:
        """The new beginning with what follows it, None where more must come first."""
        raise NotImplementedError


class PngFront(Front):
    def begun(self, held: bytes) -> bytes | None:
        at = 8
        while len(held) >= at + 8:
            length, kind = struct.unpack(">I4s", held[at : at + 8])
            if kind == b"IDAT":
                return held[:33] + b"".join(png_about(self.about)) + held[at:]
            at += length + 12
        return None


class JpegFront(Front):
    def begun(self, held: bytes) -> bytes | None:
        at = 2
        while len(held) >= at + 4:
            if not 0xE0 <= held[at + 1] <= 0xEF:
                return held[:2] + b"".join(jpeg_about(self.about)) + held[at:]
            at += 2 + struct.unpack(">H", held[at + 2 : at + 4])[0]
        return None


def png_chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png_about(about: About) -> list[bytes]:
    """The chunks that stand before the pixels."""
    chunks = []
    if about.icc:
        chunks.append(png_chunk(b"iCCP", b"profile\0\0" + zlib.compress(about.icc)))
    chunks += [png_chunk(kind, data) for kind, data in about.colour if not about.icc]
    if about.dpi:
        chunks.append(png_chunk(b"pHYs", struct.pack(">IIB", *(round(dpi / INCH) for dpi in about.dpi), 1)))
    if about.exif:
        chunks.append(png_chunk(b"eXIf", about.exif))
    if about.xmp:
        chunks.append(png_chunk(b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0" + about.xmp))
    if about.iptc:
        digits = photoshop(about.iptc).hex()
        lines = "\n".join(digits[at : at + 72] for at in range(0, len(digits), 72))
        profile = f"\niptc\n{len(digits) // 2:8d}\n{lines}\n".encode()
        chunks.append(png_chunk(b"zTXt", b"Raw profile type iptc\0\0" + zlib.compress(profile)))
    return chunks + [png_text(key, text) for key, text in about.text if 0 < len(key) < 80 and "\0" not in key]


def png_text(key: str, text: str) -> bytes:
    name = key.encode("latin-1", "replace")
    try:
        return png_chunk(b"tEXt", name + b"\0" + text.replace("\0", " ").encode("latin-1"))
    except UnicodeEncodeError:
        return png_chunk(b"iTXt", name + b"\0\0\0\0\0" + text.encode())


def photoshop(iptc: bytes) -> bytes:
    """IPTC records as a resource of Photoshop's."""
    return b"8BIM\x04\x04\0\0" + struct.pack(">I", len(iptc)) + iptc + b"\0" * (len(iptc) % 2)


def jpeg_about(about: About) -> list[bytes]:
    """The segments from JFIF on; what is too long for one, but a profile, is left out."""

    def segment(marker: int, data: bytes) -> bytes:
        return struct.pack(">BBH", 0xFF, marker, len(data) + 2) + data if len(data) <= SEGMENT else b""

    unit, across, down = (1, *(round(min(dpi, 65535)) for dpi in about.dpi)) if about.dpi else (0, 1, 1)
    segments = [segment(0xE0, b"JFIF\0\1\1" + struct.pack(">BHH", unit, across, down) + b"\0\0")]
    if about.exif:
        segments.append(segment(0xE1, b"Exif\0\0" + about.exif))
    if about.xmp:
        segments.append(segment(0xE1, XMP_NAME + about.xmp))
    if about.icc:
        size = SEGMENT - 14
        parts = [about.icc[at : at + size] for at in range(0, len(about.icc), size)]
        segments += [
            segment(0xE2, b"ICC_PROFILE\0" + bytes([number, len(parts)]) + part) for number, part in enumerate(parts, 1)
        ]
    if about.iptc:
        segments.append(segment(0xED, PHOTOSHOP + photoshop(about.iptc)))
    return segments + [segment(0xFE, text.encode()) for key, text in about.text if key == "Comment"]


def webp_about(data: bytes, about: About, width: int, height: int, *, alpha: bool) -> bytes:
    """A WebP file with its metadata: an extended file where there is any."""
    if not (about.icc or about.exif or about.xmp):
        return data

    def chunk(kind: bytes, held: bytes) -> bytes:
        return kind + struct.pack("<I", len(held)) + held + b"\0" * (len(held) % 2)

    pixels, at = b"", 12
    while at + 8 <= len(data):
        end = at + 8 + struct.unpack("<I", data[at + 4 : at + 8])[0]
        end += end % 2
        if data[at : at + 4] in (b"VP8 ", b"VP8L", b"ALPH"):
            pixels += data[at:end]
        at = end
    flags = 0x20 * bool(about.icc) | 0x10 * alpha | 0x08 * bool(about.exif) | 0x04 * bool(about.xmp)
    head = struct.pack("<I", flags) + (width - 1).to_bytes(3, "little") + (height - 1).to_bytes(3, "little")
    body = b"WEBP" + chunk(b"VP8X", head) + (chunk(b"ICCP", about.icc) if about.icc else b"") + pixels
    for kind, held in ((b"EXIF", about.exif), (b"XMP ", about.xmp)):
        body += chunk(kind, held) if held else b""
    return b"RIFF" + struct.pack("<I", len(body)) + body


def tiff_about(file: BinaryIO, about: About) -> None:
    """A TIFF file that can be read and written gets a new directory at its end, with the metadata too."""
    tags = Tags(file)
    values: dict[int, Value] = {}
    if about.exif:
        exif = Tags(BytesIO(about.exif))
        values |= tiff.values_of(exif, exif.first, order=tags.order, leave=tiff.STRUCTURE)
    for tag, kind, data in ((tiff.XMP, 1, about.xmp), (tiff.IPTC, 7, about.iptc), (tiff.ICC, 7, about.icc)):
        if data:
            values[tag] = Value(kind, data)
    known = set(values) | {tiff.X_RESOLUTION, tiff.Y_RESOLUTION, tiff.UNIT}
    if about.dpi:
        for tag, dpi in zip((tiff.X_RESOLUTION, tiff.Y_RESOLUTION), about.dpi, strict=True):
            values[tag] = Value(5, struct.pack(tags.order + "II", *fraction(dpi)))
        values[tiff.UNIT] = Value(3, struct.pack(tags.order + "H", 2))
    ready = {}
    for tag, entry in tags.first.items():
        if tag not in known:
            file.seek(entry.at)
            ready[tag] = file.read(20 if tags.big else 12)
    at = file.seek(0, 2)
    file.write(b"\0" * (at % 2))
    at += at % 2
    file.write(tiff.packed(values, at, tags.order, big=tags.big, ready=ready))
    file.seek(8 if tags.big else 4)
    file.write(struct.pack(tags.order + ("Q" if tags.big else "I"), at))


def jp2_about(data: bytes, about: About) -> bytes:
    """A JP2 file with profile, resolution and metadata in its boxes."""

    def box(kind: bytes, held: bytes) -> bytes:
        return struct.pack(">I", len(held) + 8) + kind + held

    made, at = b"", 0
    while at + 8 <= len(data):
        length, kind = struct.unpack(">I4s", data[at : at + 8])
        end = at + length if length else len(data)
        if kind != b"jp2h":
            made += data[at:end]
        else:
            made += box(b"jp2h", jp2_header(data[at + 8 : end], about))
            for uuid, held in ((EXIF_UUID, about.exif), (XMP_UUID, about.xmp), (IPTC_UUID, about.iptc)):
                made += box(b"uuid", uuid + held) if held else b""
        at = max(end, at + 8)
    return made


def jp2_header(inner: bytes, about: About) -> bytes:
    """The boxes of the header, its colour by the profile, and a resolution: pixels per metre as N/254 * 10^3."""
    made, at = b"", 0
    while at + 8 <= len(inner):
        length, kind = struct.unpack(">I4s", inner[at : at + 8])
        part = inner[at : at + length]
        if kind == b"colr" and about.icc:
            part = struct.pack(">I", len(about.icc) + 11) + b"colr\2\0\0" + about.icc
        made, at = made + part, at + max(length, 8)
    if about.dpi and max(about.dpi) < 6553:
        across, down = (round(dpi * 10) for dpi in about.dpi)
        per_metre = struct.pack(">HHHH", down, 254, across, 254) + b"\3\3"
        made += struct.pack(">I4sI4s", 26, b"res ", 18, b"resc") + per_metre
    return made


def resolution_exif(dpi: tuple[float, float]) -> bytes:
    """An EXIF that holds nothing but a resolution, for formats that have no other place for it."""
    values = {
        tag: Value(5, struct.pack(">II", *fraction(number)))
        for tag, number in zip((tiff.X_RESOLUTION, tiff.Y_RESOLUTION), dpi, strict=True)
    }
    return b"MM\0*\0\0\0\x08" + tiff.packed({**values, tiff.UNIT: Value(3, b"\0\2")}, 8, ">")


def with_resolution(exif: bytes, dpi: tuple[float, float]) -> bytes:
    """An EXIF that says no resolution with one: a new first directory at its end, whose values stay where they are."""
    file = BytesIO(exif)
    if tiff.X_RESOLUTION not in Tags(file).first:
        tiff_about(file, About(dpi=dpi))
    return file.getvalue()
