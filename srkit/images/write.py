"""Write pictures: streamed from memory or a mapped file into each format, whole or not at all."""

import struct
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np
from PIL import Image

from srkit.errors import ImageError, UsageError, one_line
from srkit.files import write_atomically
from srkit.images.about import About, mended, profile_space, with_receipt
from srkit.images.colour import SPACES, is_srgb, through
from srkit.images.containers import (
    Front,
    JpegFront,
    PngFront,
    jp2_about,
    resolution_exif,
    tiff_about,
    webp_about,
    with_resolution,
)
from srkit.images.deep import BAND, contiguous
from srkit.images.encoding import (
    DEEP,
    OPAQUE,
    Encoding,
    check_arguments,
    check_encoding,
    check_output,
    encoding_for,
    has_imagecodecs,
)
from srkit.images.picture import Picture

if TYPE_CHECKING:
    import pyvips

#: By benchmarks/picture_libraries.py: 32 megapixels in 0.6 s, where Pillow's default takes 10 times as long.
PNG = {"compression": 3, "filter": "up"}
AVIF = 1  # effort: 4 takes 7 times as long for 0.3 dB
BIG = 3 << 30  # bytes of pixels from which on a TIFF gets offsets of 64 bits


@dataclass(frozen=True)
class Job:
    """What an encoder is given: an image in its final channels and depth, and what goes around it."""

    image: "pyvips.Image"
    about: About
    encoding: Encoding

    @property
    def alpha(self) -> bool:
        return self.image.bands in (2, 4)


def write_picture(path: str | Path, picture: Picture, encoding: Encoding | None = None) -> str:
    """Write atomically, in the format the suffix names. JPEG and BMP get transparency laid on white.

    Returns a notice: what the format could not take, empty where nothing was lost.
    Raises UsageError for an unknown suffix, ImageError when the file cannot be written.
    """
    path = Path(path)
    check_output(path)
    return write_pixels(path, picture.channels(), picture.about, encoding or encoding_for(path))


def write_pixels(target: Path | BinaryIO, pixels: np.ndarray, about: About | None, encoding: Encoding) -> str:
    """Write pixels, H,W,C uint8 or uint16 with C = 1 gray, 2 gray and alpha, 3 RGB, 4 RGBA, atomically to a path.

    The pixels may be a mapped file of any size: they are streamed, never copied as a whole (WebP, AVIF and JPEG 2000
    hold one picture in memory). about: what is kept around them, mended for their size. Returns a notice: what the
    format could not take, the notices of `check_encoding` first.

    Raises UsageError as `check_encoding`, ImageError when the file cannot be written.
    """
    check_arguments(pixels.shape[2], pixels.dtype.name)
    height, width, channels = pixels.shape
    depth = 8 * pixels.dtype.itemsize
    notices = check_encoding(encoding, width, height, channels, about, depth=depth)
    name = f"'{target}'" if isinstance(target, Path) else "the output"
    try:
        kept = around(about or About(), encoding, width, height)
        job = prepared(contiguous(pixels), kept, encoding, notices)
        if isinstance(target, Path):
            write_atomically(target, lambda file: ENCODERS[encoding.format](file, job))
        elif encoding.format == "tiff":  # its directory is written last, and is read again
            with tempfile.TemporaryFile() as file:
                write_tiff(file, job)
                file.seek(0)
                while part := file.read(1 << 20):
                    target.write(part)
        else:
            ENCODERS[encoding.format](target, job)
    except (ImageError, UsageError) as error:
        raise type(error)(f"cannot write {name}: {error}") from None
    except BrokenPipeError:
        raise
    except MemoryError:
        raise ImageError(f"cannot write {name}: {width}x{height} pixels are too many for the memory there is") from None
    except Exception as error:  # of the disk, or of an encoder
        raise ImageError(f"cannot write {name}: {said_by(error)}") from None
    return "; ".join(notices)


def said_by(error: Exception) -> str:
    from srkit.images.vips import library, reason

    return reason(error) if isinstance(error, library().Error) else one_line(error)


def around(about: About, encoding: Encoding, width: int, height: int) -> About:
    """What is written around the pixels: true for their size, with the receipt."""
    about = about.stripped() if encoding.strip else mended(about, width, height)
    if encoding.receipt:
        about = replace(about, xmp=with_receipt(about.xmp, encoding.receipt))
    if about.dpi and encoding.format in ("webp", "avif"):  # which have no other place for it
        exif = with_resolution(about.exif, about.dpi) if about.exif else resolution_exif(about.dpi)
        about = replace(about, exif=exif)
    return about


def prepared(pixels: np.ndarray, about: About, encoding: Encoding, notices: list[str]) -> Job:
    """The pixels in the depth and the channels of the format, as an image that is computed while it is encoded."""
    from srkit.images.vips import from_array

    kind, image = encoding.format, from_array(pixels)
    if about.icc and len(about.icc) > 20 and profile_space(about.icc) != SPACES[pixels.shape[2]] and sound(about.icc):
        notices.append("its profile is not for such channels and is left out")
        about = replace(about, icc=None)
    if kind == "bmp" and about.icc and sound(about.icc):
        if not is_srgb(about.icc):
            image = through(image, about.icc)
            notices.append("bmp has no place for its profile: converted to sRGB")
        about = replace(about, icc=None)
    if image.bands in (2, 4) and kind in OPAQUE:
        image = laid(image, encoding.background)
    depth = encoding.depth or (16 if image.format == "ushort" else 8)
    colour = image.bands > 1
    if kind not in DEEP or (kind == "jp2" and colour and not has_imagecodecs()):
        depth = 8
    if depth == 8 and image.format == "ushort":
        image = image.linear(1 / 257, 0.5).cast("uchar")
    elif depth == 16 and image.format == "uchar":
        image = (image * 257).cast("ushort")
    deep, gray = image.format == "ushort", image.bands < 3
    image = image.copy(interpretation=("grey16" if deep else "b-w") if gray else ("rgb16" if deep else "srgb"))
    return Job(image, about, encoding)


def sound(icc: bytes) -> bool:
    from srkit.images.about import sound_profile

    return sound_profile(icc)


def laid(image: "pyvips.Image", background: tuple[int, int, int]) -> "pyvips.Image":
    """Without transparency, on a colour; gray stays gray on a gray one."""
    kind, deep = image.format, image.format == "ushort"
    top = 65535 if deep else 255
    ground = [value * (257 if deep else 1) for value in background]
    share = image[image.bands - 1] / top
    colour = image[0 : image.bands - 1]
    if image.bands == 2:
        if len(set(ground)) == 1:
            ground = ground[:1]
        else:
            colour = colour.bandjoin([colour, colour])
    mixed = colour * share + (1 - share) * ground
    return (mixed + 0.5).cast(kind)


# --- encoders -------------------------------------------------------------------------------------------------------


def write_png(file: BinaryIO, job: Job) -> None:
    stream(PngFront(file, job.about), job.image.pngsave_target, **PNG)


def write_jpeg(file: BinaryIO, job: Job) -> None:
    quality = job.encoding.quality or 95
    stream(JpegFront(file, job.about), job.image.jpegsave_target, Q=quality, subsample_mode="off")


def stream(front: Front, save: Callable[..., Any], **options: Any) -> None:
    """Encode into `front`; what failed in it is raised here."""
    from srkit.images.vips import library

    target = library().TargetCustom()
    target.on_write(front.write)
    try:
        save(target, keep="none", **options)
    except library().Error:
        if front.error is not None:
            raise front.error from None
        raise
    if front.error is not None:
        raise front.error


def write_webp(file: BinaryIO, job: Job) -> None:
    quality, image = job.encoding.quality, job.image
    options: dict[str, Any] = {"Q": quality} if quality else {"lossless": True}
    data = image.webpsave_buffer(keep="none", **options)
    file.write(webp_about(data, job.about, image.width, image.height, alpha=job.alpha))


def write_tiff(file: BinaryIO, job: Job) -> None:
    """By its name, since libvips opens it itself; deflate, which all programs read."""
    image = job.image
    size = image.width * image.height * image.bands * (2 if image.format == "ushort" else 1)
    options: dict[str, Any] = {"compression": "deflate", "level": 3, "predictor": "horizontal", "bigtiff": size > BIG}
    if isinstance(file.name, str | Path):
        image.tiffsave(str(file.name), keep="none", **options)
    else:
        file.write(image.tiffsave_buffer(keep="none", **options))
    tiff_about(file, job.about)


def write_avif(file: BinaryIO, job: Job) -> None:
    from srkit.images.vips import library

    about, image = job.about, job.image.copy()
    held = {"exif-data": about.exif and b"Exif\0\0" + about.exif, "xmp-data": about.xmp, "icc-profile-data": about.icc}
    for name, data in held.items():
        if data:
            image.set_type(library().GValue.blob_type, name, data)
    across, down = about.dpi or (72.0, 72.0)  # what EXIF holds where nobody knows
    image = image.copy(xres=across / 25.4, yres=down / 25.4)
    keep = "|".join(word for word, name in zip(("exif", "xmp", "icc"), held, strict=True) if held[name]) or "none"
    depth = 12 if image.format == "ushort" else 8
    if depth == 12:  # the encoder cuts the last four bits off: round before
        image = (image.linear(4095 / 65535, 0.5).cast("ushort") * 16).cast("ushort")
    file.write(
        image.heifsave_buffer(
            compression="av1",
            Q=job.encoding.quality or 90,
            bitdepth=depth,
            subsample_mode="off",
            effort=AVIF,
            keep=keep,
        )
    )


def write_jp2(file: BinaryIO, job: Job) -> None:
    """By Pillow; colour of 16 bits by imagecodecs."""
    image, quality = job.image, job.encoding.quality
    pixels = np.asarray(image.numpy())
    pixels = pixels[..., 0] if pixels.ndim == 3 and pixels.shape[2] == 1 else pixels
    decibels = 25 + quality / 4 if quality else 0  # 40 dB at 60, 50 dB at 100
    if pixels.dtype == np.uint16 and pixels.ndim == 3:
        import imagecodecs

        data = bytes(imagecodecs.jpeg2k_encode(pixels, level=decibels, codecformat="jp2", reversible=not quality))
    else:
        made = BytesIO()
        options: dict[str, Any] = {"quality_mode": "dB", "quality_layers": [decibels]} if quality else {}
        Image.fromarray(pixels).save(made, "JPEG2000", **options)
        data = made.getvalue()
    file.write(jp2_about(data, job.about))


def write_bmp(file: BinaryIO, job: Job) -> None:
    """Rows from the bottom up, blue first, each padded to four bytes."""
    image = job.image
    width, height, gray = image.width, image.height, image.bands == 1
    line = -(-width * image.bands // 4) * 4
    start = 54 + (1024 if gray else 0)
    across, down = (round(dpi / 0.0254) for dpi in job.about.dpi) if job.about.dpi else (0, 0)
    head = struct.pack("<2sIHHI", b"BM", start + line * height, 0, 0, start)
    bits = 8 * image.bands
    head += struct.pack("<IiiHH", 40, width, height, 1, bits)
    head += struct.pack("<IIiiII", 0, line * height, across, down, *(256 * gray, 0))
    file.write(head + (b"".join(bytes([v, v, v, 0]) for v in range(256)) if gray else b""))
    pad = np.zeros((0, 0), np.uint8)
    for rows in rows_upwards(image):
        flat = np.ascontiguousarray(rows[::-1, :, ::-1]).reshape(len(rows), width * image.bands)
        if pad.shape[0] != len(rows):
            pad = np.zeros((len(rows), line - flat.shape[1]), np.uint8)
        file.write(np.hstack([flat, pad]).tobytes())


def rows_upwards(image: "pyvips.Image") -> Iterator[np.ndarray]:
    """Bands of rows, the lowest first."""
    step = max(1, BAND // (image.width * image.bands))
    for bottom in range(image.height, 0, -step):
        top = max(0, bottom - step)
        part = image.crop(0, top, image.width, bottom - top)
        yield np.frombuffer(part.write_to_memory(), np.uint8).reshape(bottom - top, image.width, image.bands)


ENCODERS: dict[str, Callable[[BinaryIO, Job], None]] = {
    "png": write_png, "jpeg": write_jpeg, "webp": write_webp, "tiff": write_tiff, "bmp": write_bmp, "avif": write_avif,
    "jp2": write_jp2,
}  # fmt: skip
