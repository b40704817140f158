"""Pictures of more than 8 bits, and very large ones, decoded by libvips into memory or a mapped file."""

import os
import shutil
import struct
import tempfile
import weakref
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import replace
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from srkit.errors import ImageError
from srkit.images import tags as tiff
from srkit.images.about import About, profile_space
from srkit.images.colour import PLAINLY, SPACES, THROUGH, alike, is_srgb, through
from srkit.images.header import Header, bits_in
from srkit.images.picture import Picture, picture_from
from srkit.images.source import Source
from srkit.images.tags import Tags

if TYPE_CHECKING:
    import pyvips

    from srkit.images.read import Profile, Range

HELD = 30 << 20  # bytes of pixels that are kept in memory; more go into a mapped file
BAND = 8 << 20  # values that are worked on at once
TYPES = {
    "uchar": np.uint8, "char": np.int8, "ushort": np.uint16, "short": np.int16, "uint": np.uint32, "int": np.int32,
    "float": np.float32, "double": np.float64,
}  # fmt: skip
ROTATIONS = {3: "d180", 6: "d90", 8: "d270"}


def decode_deep(
    source: Source,
    found: Header,
    about: About,
    notices: Sequence[str],
    *,
    range: "Range" = None,  # noqa: A002 - the option's name
    profile: "Profile" = "keep",
    scratch: Path | None = None,
) -> Picture:
    """A file of one of the formats in `vips.LOADERS` as a Picture. Arguments and errors as of `read_picture`."""
    from srkit.images.vips import library, load, reason

    told = list(notices)
    try:
        image = by_planes(source) if in_planes(source, found) else load(source, found.format)
        image, about = coloured(image, source, found, about, told, profile=profile)
        pixels = held(image, scratch)
        pixels = sixteen(pixels, range, told, scratch)
        if found.orientation != 1:
            pixels = held(turned(pixels, found.orientation), scratch)
    except library().Error as error:
        raise ImageError(f"{source.name} cannot be decoded, it may be truncated: {reason(error)}") from None
    except ImageError as error:
        raise ImageError(f"{source.name}: {error}") from None
    if found.frames > 1:
        told.append(f"only the first of {found.frames} frames is used")
    return picture_from(pixels, about, "; ".join(dict.fromkeys(told)))


def in_planes(source: Source, found: Header) -> bool:
    """Whether a TIFF has separate planes that libvips 8.18 reads wrongly, two of them, or not at all, tiles."""
    if found.format != "tiff":
        return False
    with source.open() as file:
        tags = Tags(file)
        separate = tags.one(tiff.PLANAR, 1) == 2 and 1 < tags.one(tiff.SAMPLES, 1) < 9
        return separate and tags.one(tiff.PHOTOMETRIC) in (1, 2) and (322 in tags.first or tags.one(tiff.SAMPLES) == 2)


def by_planes(source: Source) -> "pyvips.Image":
    """Each plane as a gray picture of its own: the same file with another directory at its end."""
    from srkit.images.vips import load

    data = source.bytes()
    data += b"\0" * (len(data) % 2)
    tags = Tags(BytesIO(data))
    head = tags.order + ("Q" if tags.big else "I")
    kept = tiff.values_of(tags, tags.first, order=tags.order, leave=(338, *tiff.SUBS))
    for tag in (tiff.SAMPLES, tiff.PLANAR, tiff.PHOTOMETRIC):
        kept[tag] = tiff.Value(3, struct.pack(tags.order + "H", 1))
    images, count = [], tags.one(tiff.SAMPLES)
    for plane in range(count):
        values = dict(kept)
        for tag in (tiff.BITS, tiff.SAMPLE_FORMAT, tiff.OFFSETS, tiff.COUNTS, 324, 325):
            if tag in values:
                size = len(values[tag].data) // count
                values[tag] = tiff.Value(values[tag].kind, values[tag].data[plane * size : (plane + 1) * size])
        start = 8 if tags.big else 4
        pointer = struct.pack(head, len(data))
        alone = data[:start] + pointer + data[start + len(pointer) :]
        alone += tiff.packed(values, len(data), tags.order, big=tags.big)
        images.append(load(Source(source.name, data=alone), "tiff"))
    joined = images[0].bandjoin(images[1:])
    deep, gray = joined.format == "ushort", count < 3
    return joined.copy(interpretation=("grey16" if deep else "b-w") if gray else ("rgb16" if deep else "srgb"))


def coloured(
    image: "pyvips.Image", source: Source, found: Header, about: About, notices: list[str], *, profile: "Profile"
) -> tuple["pyvips.Image", About]:
    """The image as gray or RGB, with alpha or without, and what remains to be said around it."""
    icc = about.icc
    if found.format == "avif":
        image = image if found.channels > 2 else alike(image, found.channels)
        image = image.linear(white_of(source), 0.5).cast("ushort") if image.format == "ushort" else image
    if image.interpretation == "cmyk":
        if icc is not None and profile_space(icc) == "CMYK":
            notices.append(THROUGH)
            image = through(image, icc)
        else:
            notices.append(PLAINLY)
            image = plainly(image)
        about, icc = replace(about, icc=None), None
    elif image.interpretation in ("lab", "labs", "labq"):
        about, icc = replace(about, icc=None), None
        image = image.colourspace("rgb16" if found.depth > 8 else "srgb")
    if image.bands > 4:
        notices.append(f"{image.bands - 4} channels beyond four are left out")
        image = image[0:4]
    if found.format == "tiff" and image.bands in (2, 4) and associated(source):
        image = image.unpremultiply().rint().cast(image.format)
    if profile == "srgb" and icc is not None and not is_srgb(icc) and profile_space(icc) == SPACES[image.bands]:
        image = alike(through(image, icc), image.bands)
        about = replace(about, icc=None)
    return image, about


def white_of(source: Source) -> float:
    """By what 10 or 12 bits, shifted to 16, are to be multiplied, so that white is white."""
    with source.open() as file:
        bits = min(max(bits_in(file.read(1 << 20)), 9), 16)
    return 65535 / (((1 << bits) - 1) << (16 - bits))


def plainly(image: "pyvips.Image") -> "pyvips.Image":
    """CMYK without a profile: each ink takes its share of the light, and black the same of all."""
    top = 65535 if image.format == "ushort" else 255
    light = (top - image[0:3]) * (top - image[3]) / top
    light = light.rint().cast(image.format)
    return light.bandjoin(image[4]) if image.bands > 4 else light


def associated(source: Source) -> bool:
    """Whether a TIFF's colour is multiplied by its alpha already."""
    with source.open() as file:
        return Tags(file).one(338) == 1


def held(image: "pyvips.Image", scratch: Path | None) -> np.ndarray:
    """H,W,C pixels of an image: in memory, or, where they are many, of a mapped file that is gone when they are."""
    kind = np.dtype(TYPES[image.format])
    shape = (image.height, image.width, image.bands)
    size = int(np.prod(shape)) * kind.itemsize
    if size <= HELD:
        return np.frombuffer(image.write_to_memory(), kind).reshape(shape)
    name = scratch_file(size, scratch)
    try:
        image.rawsave(name)
        return mapped(name, kind, shape)
    except BaseException:
        with suppress(OSError):
            os.unlink(name)
        raise


def scratch_file(size: int, folder: Path | None) -> str:
    """A new file for `size` bytes. Raises ImageError where the disk has no room for them."""
    place = str(folder) if folder is not None else tempfile.gettempdir()
    try:
        free = shutil.disk_usage(place).free
        if free < size:
            raise ImageError(
                f"its pixels take {size / 1e9:.1f} GB in '{place}', where {free / 1e9:.1f} GB are free; "
                "TMPDIR names another folder"
            )
        descriptor, name = tempfile.mkstemp(prefix=".srkit-", suffix=".raw", dir=place)
    except OSError as error:
        raise ImageError(f"no scratch file can be made in '{place}': {error.strerror}") from None
    os.close(descriptor)
    return name


def mapped(name: str, kind: np.dtype, shape: tuple[int, ...], mode: str = "r") -> np.ndarray:
    """A file as an array. Its name is gone at once, or, where open files keep theirs (Windows), with the array."""
    pixels = np.memmap(name, kind, mode, shape=shape)  # type: ignore[call-overload]
    try:
        os.unlink(name)
    except OSError:
        weakref.finalize(pixels.base if pixels.base is not None else pixels, remove, name)
    return pixels  # type: ignore[no-any-return]


def remove(name: str) -> None:
    with suppress(OSError):
        os.unlink(name)


def sixteen(pixels: np.ndarray, chosen: "Range", notices: list[str], scratch: Path | None) -> np.ndarray:
    """uint8 and uint16 as they are, unless a range is chosen for gray; float and 32 bits as uint16."""
    from srkit.images.read import limits_of, scaled

    gray = pixels.shape[2] < 3
    if pixels.dtype == np.uint8:
        if chosen is not None:
            notices.append("pixels of 8 bits are 0 to 255, the range is not for them")
        return pixels
    if pixels.dtype == np.uint16 and chosen is None:
        return pixels
    if chosen is not None and not gray and pixels.dtype == np.uint16:
        raise ImageError("a range is for gray pictures of more than 8 bits; this one has colour, of 16 bits")
    mode = "F" if pixels.dtype.kind == "f" else "I;16" if pixels.dtype == np.uint16 else "I"
    ends = limits_of(mode, None, chosen)
    colour = pixels[..., : 1 if gray else 3]
    size = pixels.shape[0] * pixels.shape[1] * pixels.shape[2] * 2
    if size <= HELD:
        made = np.empty(pixels.shape, np.uint16)
    else:
        made = mapped(scratch_file(size, scratch), np.dtype(np.uint16), pixels.shape, "w+")
    told: list[str] = []
    for top, bottom in bands(pixels):
        made[top:bottom, :, : colour.shape[2]] = scaled(
            colour[top:bottom], mode, ends, told, certain=chosen is not None, top=65535
        )
        if colour.shape[2] < pixels.shape[2]:
            made[top:bottom, :, -1] = opacity(pixels[top:bottom, :, -1])
    notices += summed(told)
    return made


def bands(pixels: np.ndarray) -> Iterator[tuple[int, int]]:
    """(first row, row after the last) of pieces of about BAND values."""
    rows = max(1, BAND // max(1, pixels.shape[1] * pixels.shape[2]))
    for top in range(0, pixels.shape[0], rows):
        yield top, min(top + rows, pixels.shape[0])


def opacity(alpha: np.ndarray) -> np.ndarray:
    """Alpha of any type as uint16: float is 0 to 1, integers are 0 to their largest."""
    top = 1.0 if alpha.dtype.kind == "f" else float(np.iinfo(alpha.dtype).max)
    return np.clip(np.floor(np.nan_to_num(alpha.astype(np.float64)) * (65535 / top) + 0.5), 0, 65535).astype(np.uint16)


def summed(told: Sequence[str]) -> list[str]:
    """What was said of each band, once for all: counts of clipped pixels are added up."""
    counts: dict[str, int] = {}
    kept = []
    for line in told:
        number, _, rest = line.partition(" pixel")
        if number.isdigit() and rest:
            ends = rest.removeprefix("s").removesuffix(" is clipped").removesuffix(" are clipped")
            counts[ends] = counts.get(ends, 0) + int(number)
        elif line not in kept:
            kept.append(line)
    for ends, count in counts.items():
        kept.append(f"{count} pixel{'s' * (count > 1)}{ends} {'are' if count > 1 else 'is'} clipped")
    return kept


def turned(pixels: np.ndarray, orientation: int) -> "pyvips.Image":
    """Stored pixels as an upright image, which reads them where they are."""
    from srkit.images.vips import from_array

    image = from_array(pixels)
    if orientation in (2, 5, 7):
        image = image.fliphor()
    if orientation == 4:
        return image.flipver()
    return image.rot({5: "d270", 7: "d90", **ROTATIONS}.get(orientation, "d0"))


def decode_heic(source: Source, about: About, notices: Sequence[str]) -> Picture:
    """HEIC of more than 8 bits, by pillow-heif, which header() found to be there."""
    import pillow_heif

    try:
        with source.open() as file:
            pixels = np.asarray(pillow_heif.open_heif(file, convert_hdr_to_8bit=False)[0])
    except Exception as error:
        raise ImageError(f"{source.name} cannot be decoded, it may be truncated: {error}") from None
    if pixels.dtype == np.uint16:
        pixels = np.floor(pixels * white_of(source) + 0.5).astype(np.uint16)
    pixels = pixels if pixels.ndim == 3 else pixels[..., None]
    return picture_from(pixels, about, "; ".join(notices))


def decode_jp2(source: Source, about: About, notices: Sequence[str]) -> Picture | None:
    """JPEG 2000 with colour of more than 8 bits, by imagecodecs; None where that is not installed."""
    try:
        import imagecodecs
    except ImportError:
        return None
    try:
        data = source.bytes()  # the codestream alone: with a profile beside it, imagecodecs takes RGB for YCC
        pixels = imagecodecs.jpeg2k_decode(data[max(0, data.find(b"\xff\x4f\xff\x51")) :])
    except Exception as error:
        raise ImageError(f"{source.name} cannot be decoded, it may be truncated: {error}") from None
    if pixels.dtype != np.uint16 or pixels.ndim != 3:
        return None
    top = (1 << bits_in(source.bytes())) - 1
    if top != 65535:
        pixels = np.floor(pixels * (65535 / top) + 0.5).astype(np.uint16)
    return picture_from(pixels, about, "; ".join(notices))


def contiguous(pixels: np.ndarray, scratch: Path | None = None) -> np.ndarray:
    """The same pixels in the order of their channels, columns and rows in memory; where they are many, in a file."""
    if pixels.flags.c_contiguous:
        return pixels
    if pixels.nbytes <= HELD:
        return np.ascontiguousarray(pixels)
    made = mapped(scratch_file(pixels.nbytes, scratch), pixels.dtype, pixels.shape, "w+")
    for top, bottom in bands(pixels):
        made[top:bottom] = pixels[top:bottom]
    return made
