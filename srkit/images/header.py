"""Size, depth and channels of a picture from its header, before anything is decoded; what cannot be true is refused."""

import re
import struct
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, BinaryIO

from srkit.errors import ImageError
from srkit.images import tags as tiff
from srkit.images.about import about_of, png_chunks, upright_by
from srkit.images.source import Readable, Source, kind_of, source_of
from srkit.images.tags import Tags

if TYPE_CHECKING:
    from PIL import Image

#: Pixels that are decoded unless more are allowed: what Pillow holds to be safe.
MAX_PIXELS = 178_956_970

CHANNELS = {"1": 1, "L": 1, "I": 1, "F": 1, "LA": 2, "La": 2, "RGB": 3, "RGBA": 4, "RGBa": 4, "CMYK": 3, "PA": 4}
#: Decompressed bytes to a compressed one, at most: of the TIFF compressions by number.
RATIOS = {1: 1, 5: 1400, 8: 1040, 32773: 64, 32946: 1040}


@dataclass(frozen=True)
class Header:
    """What a file says of its picture.

    format: png, jpeg, webp, tiff, bmp, avif, heic, jp2, gif, else Pillow's name in lower case. width, height: as it is
    meant to be seen, EXIF orientation applied. depth: 8, or 16 for all that is deeper. channels: 1 gray, 2 gray and
    alpha, 3 RGB, 4 RGBA, as they are read: palettes and CMYK count as RGB. frames: at least 1.
    """

    format: str
    width: int
    height: int
    depth: int
    channels: int
    frames: int = 1
    orientation: int = 1


def check_pixels(width: int, height: int, most: int | None) -> None:
    """Raises ImageError, without the name, for more pixels than are allowed, or none; None allows any number."""
    if min(width, height) < 1:
        raise ImageError(f"its header says {width}x{height} pixels, so it is damaged")
    if most is not None and width * height > most:
        raise ImageError(
            f"{width}x{height} are {width * height / 1e6:.0f} megapixels, more pixels than is safe to decode; "
            f"if it is what it says, allow them: --max-pixels {width * height} (max_pixels= in Python)"
        )


def header(path: Readable, *, max_pixels: int | None = None) -> Header:
    """What the file says of its picture, nothing decoded.

    max_pixels: more raise ImageError. Errors as `read_picture`.
    """
    return header_in(source_of(path), max_pixels)


def header_in(source: Source, max_pixels: int | None) -> Header:
    """As `header`, of a source."""
    from srkit.images.read import decoded, exif_of

    def read(image: "Image.Image", notices: Sequence[str]) -> Header:
        width, height = image.size
        check_pixels(width, height, max_pixels)
        kind = kind_of(head_of(source)) or str(image.format).lower()
        orientation = exif_of(image, [])[0] if kind != "heic" else 1
        orientation = orientation if 1 <= orientation <= 8 else 1
        if orientation >= 5:
            width, height = height, width
        channels = CHANNELS.get(image.mode, 1 if image.mode.startswith("I;") else 3)
        if image.mode == "P" and image.has_transparency_data:
            channels = 4
        elif channels in (1, 3) and image.has_transparency_data:
            channels += 1
        if kind == "avif" and channels == 3 and without_colour(source):
            channels = 1
        found = Header(kind, width, height, depth_of(image, source), channels)
        return replace(found, frames=frames_of(image), orientation=orientation)

    own = {"tiff": tiff_header, "png": png_header}.get(kind_of(head_of(source)))
    if own is None:
        return decoded(source, read)
    found = own(source)
    try:
        check_pixels(found.width, found.height, max_pixels)
    except ImageError as error:
        raise ImageError(f"{source.name}: {error}") from None
    return found


def head_of(source: Source) -> bytes:
    with source.open() as file:
        return file.read(64)


def frames_of(image: "Image.Image") -> int:
    try:
        return int(getattr(image, "n_frames", 1))
    except Exception:  # looking for further frames may meet a broken one
        return 1


def depth_of(image: "Image.Image", source: Source) -> int:
    """8, or 16 for all that is deeper, of an image that Pillow has opened, whatever Pillow makes of it."""
    if image.mode.startswith("I") or image.mode == "F" or ";16" in str(getattr(image, "tile", "")):
        return 16
    kind = image.format
    if kind == "PPM":
        tile = getattr(image, "tile", ())
        return 16 if any(isinstance(each[3], tuple) and each[3][-1:] > (255,) for each in tile) else 8
    if kind == "SGI":
        return 16 if "SGI16" in str(getattr(image, "tile", "")) else 8
    if kind in ("AVIF", "HEIF", "JPEG2000"):
        with source.open() as file:
            return 16 if bits_in(file.read(1 << 20)) > 8 else 8
    return 8


def bits_in(data: bytes) -> int:
    """Bits of a channel of an AVIF, HEIC or JPEG 2000 file, by its first megabyte; 8 where it does not say."""
    if (at := data.find(b"\xff\x4f\xff\x51")) >= 0 and len(data) > at + 42:  # the codestream's SIZ
        return (data[at + 42] & 0x7F) + 1
    if (at := data.find(b"pixi")) >= 0 and len(data) > at + 9:  # version and flags, channels, bits of each
        return data[at + 9]
    if (at := data.find(b"av1C")) >= 0 and len(data) > at + 6:
        return 12 if data[at + 6] & 0x20 else 10 if data[at + 6] & 0x40 else 8
    return 8


def without_colour(source: Source) -> bool:
    """Whether all that an AVIF file holds is brightness, of which decoders make three equal channels."""
    with source.open() as file:
        found = re.findall(rb"av1C..(.)", file.read(1 << 20), re.DOTALL)
    return bool(found) and all(flags[0] & 0x10 for flags in found)


def png_header(source: Source) -> Header:
    """By the chunks; Pillow would decode the pixels to see whether EXIF stands behind them."""
    extra, frames, held = 0, 1, 0
    with source.open() as file:
        head = file.read(33)
        if len(head) < 33 or head[12:16] != b"IHDR":
            raise ImageError(f"{source.name} cannot be decoded, it may be truncated: it does not begin as a PNG does")
        width, height, bits, colour = struct.unpack(">IIBB", head[16:26])
        channels = {0: 1, 4: 2, 6: 4}.get(colour, 3)
        stored = 1 if colour == 3 else channels
        for kind, length, data in png_chunks(file):
            if kind == b"IDAT":
                held += length
            elif kind == b"tRNS":
                extra = 1
            elif kind == b"acTL" and data and len(data) >= 4:
                frames = max(1, struct.unpack(">I", data[:4])[0])
    if held * 1040 < width * height * stored * bits // 8:  # deflate makes at most 1032 bytes of one
        raise ImageError(
            f"{source.name}: it says that it has {width}x{height} pixels, but holds only {held} bytes of them; "
            "it may be truncated"
        )
    with source.open() as file:
        orientation = upright_by(about_of(file, "png")[0])
    if orientation >= 5:
        width, height = height, width
    found = Header("png", width, height, 16 if bits == 16 else 8, channels + extra)
    return replace(found, frames=frames, orientation=orientation)


def tiff_header(source: Source) -> Header:
    """By the tags. Raises ImageError where they contradict themselves or the file is too small for what they say."""
    with source.open() as file:
        try:
            tags = Tags(file)
            found = header_of(tags)
            check_extent(tags, found, length_of(file))
            frames = sum(1 for _ in tags.directories())
        except (ValueError, IndexError) as error:
            raise ImageError(f"{source.name} cannot be decoded, it may be truncated: {error}") from None
        except ImageError as error:
            raise ImageError(f"{source.name}: {error}") from None
        orientation = tags.one(tiff.ORIENTATION, 1)
    if not 1 <= orientation <= 8:
        orientation = 1
    if orientation >= 5:
        found = replace(found, width=found.height, height=found.width)
    return replace(found, frames=frames, orientation=orientation)


def length_of(file: BinaryIO) -> int:
    return file.seek(0, 2)


def header_of(tags: Tags) -> Header:
    """As the pixels are stored. Raises ImageError for a size that cannot be."""
    width, height, samples = tags.one(tiff.WIDTH), tags.one(tiff.HEIGHT), tags.one(tiff.SAMPLES, 1)
    if not (0 < width < 1 << 31 and 0 < height < 1 << 31 and 0 < samples < 64):
        raise ImageError(f"it says that it has {width}x{height} pixels of {samples} channels")
    bits = tags.all(tiff.BITS) or (1,)
    photometric = tags.one(tiff.PHOTOMETRIC, 1)
    base = {0: 1, 1: 1, 5: 4}.get(photometric, 3)
    stored = {3: 1, 5: 4}.get(photometric, base)
    channels = (3 if base == 4 else base) + (1 if samples > stored else 0)
    return Header("tiff", width, height, 16 if max(bits) > 8 else 8, channels)


def check_extent(tags: Tags, found: Header, length: int) -> None:
    """Raises ImageError where the pieces that hold the pixels are too few, too short, or beyond the end of the file."""
    tiled = 322 in tags.first
    offsets = tags.all(324 if tiled else tiff.OFFSETS)
    bits, samples = tags.all(tiff.BITS) or (1,), tags.one(tiff.SAMPLES, 1)
    planes = samples if tags.one(tiff.PLANAR, 1) == 2 else 1
    if tiled:
        wide, tall = tags.one(322), tags.one(323)
        if wide < 1 or tall < 1:
            raise ImageError("its tiles have no size")
        wanted = -(-found.width // wide) * -(-found.height // tall) * planes
    else:
        rows = min(tags.one(tiff.ROWS, found.height) or found.height, found.height)
        wanted = -(-found.height // rows) * planes
    size = f"{found.width}x{found.height} pixels"
    if len(offsets) < wanted:
        raise ImageError(f"it says that it has {size}, but only {len(offsets)} of {wanted} pieces of them are there")
    compression = tags.one(tiff.COMPRESSION, 1)
    if compression == 7:
        return
    if any(at > length for at in offsets[:wanted]):
        raise ImageError(f"its pixels are said to be beyond the end of its {length} bytes; it may be truncated")
    needed = found.width * found.height * sum(bits[i % len(bits)] for i in range(samples)) // 8
    if compression in RATIOS and length * RATIOS[compression] < needed:  # counts of bytes are wrong in sound files, too
        raise ImageError(f"it says that it has {size}, but holds only {length} bytes; it may be truncated")
