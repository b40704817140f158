"""Read picture files faithfully: orientation, transparency, gray, depth, profiles; damaged ones fail in one line."""

import logging
import struct
import warnings
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import replace
from io import BytesIO
from pathlib import Path
from typing import BinaryIO, Literal, TypeVar

import numpy as np
from PIL import Image

from srkit.errors import ImageError, UsageError, one_line
from srkit.images.about import About, about_of, bare_exif
from srkit.images.bare import without_metadata
from srkit.images.folders import readable_suffixes
from srkit.images.header import MAX_PIXELS, Header, check_pixels, depth_of, frames_of, head_of, header, header_in
from srkit.images.picture import Picture, extended
from srkit.images.source import Readable, Source, kind_of, source_of

ORIENTATION = 0x0112
TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT, 3: Image.Transpose.ROTATE_180, 4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE, 6: Image.Transpose.ROTATE_270, 7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}  # fmt: skip

OVERSHOOT = 0.01  # how far float pixels may be outside [0, 1], as a resampling leaves them, before it is an error
LARGE = 24_000_000  # pixels from which on a picture is decoded into a mapped file

LOG = logging.getLogger("srkit")

Range = str | float | Sequence[float] | None
Profile = Literal["keep", "srgb"]
T = TypeVar("T")

# Pillow's warnings about metadata are lines of source code on stderr; a picture's notice has what matters of them.
warnings.filterwarnings("ignore", category=UserWarning, module=r"PIL\.")


def read_picture(
    path: Readable,
    *,
    range: Range = None,  # noqa: A002 - the option's name
    deep: bool = False,
    profile: Profile = "keep",
    max_pixels: int | None = MAX_PIXELS,
    scratch: Path | None = None,
) -> Picture:
    """Read a file as it is meant to be seen: EXIF orientation applied, palettes and CMYK as RGB.

    path: a file, its bytes, or a binary file that is read to its end. Gray of 16 bits is 0 to 65535 and float 0 to 1,
    whatever the picture's own extremes are. range: what black and white are instead, `4095`, `(0, 4095)` or "0,4095".
    deep: what has more than 8 bits becomes uint16, CMYK goes through its profile, all metadata is kept; else all is
    reduced to 8 bits, and said. profile: "srgb" converts to sRGB what has another profile (with `deep`). max_pixels:
    more, by the header, are refused; None allows any number. scratch: folder of the file into which a large picture is
    decoded and mapped; the system's if None. Nothing stays there.

    Raises UnknownName where there is no such file, UsageError for a range that is none, ImageError where it is not
    a readable picture, has more pixels than allowed, or its pixels are outside their range.
    """
    source = source_of(path)
    kind = kind_of(head_of(source))
    if kind in ("tiff", "png") or deep:
        found = header_in(source, max_pixels)
        if deep:
            return read_deep(source, found, range=range, profile=profile, scratch=scratch)

    def use(image: Image.Image, notices: Sequence[str]) -> Picture:
        check_pixels(*image.size, max_pixels)
        if depth_of(image, source) == 16 and image.mode in ("RGB", "RGBA", "LA") and not tiles_of(image):
            notices = [*notices, *REDUCED]
        return picture_of(image, range=range, notices=notices)

    return decoded(source, use)


def read_deep(
    source: Source,
    found: Header,
    *,
    range: Range,  # noqa: A002
    profile: Profile,
    scratch: Path | None,
) -> Picture:
    """All bits and all that is around them, by libvips where Pillow would lose bits or hold too much."""
    from srkit.images.colour import to_srgb
    from srkit.images.deep import decode_deep, decode_heic, decode_jp2
    from srkit.images.vips import LOADERS

    with source.open() as file:
        about, notices = about_of(file, found.format)
    if found.format == "tiff" or (found.format in LOADERS and (found.depth > 8 or found.width * found.height > LARGE)):
        try:
            return decode_deep(source, found, about, notices, range=range, profile=profile, scratch=scratch)
        except ImageError as error:
            if "not configured" not in str(error):  # a compression of TIFF that libvips was built without: ZSTD, LZMA
                raise
    if found.format == "heic" and found.depth > 8:
        deep = decode_heic(source, about, notices)
        return to_srgb(deep) if profile == "srgb" else deep
    if found.format == "jp2" and found.depth > 8 and found.channels > 1:
        colour = decode_jp2(source, about, notices)
        if colour is not None:
            return to_srgb(colour) if profile == "srgb" else colour

    def use(image: Image.Image, told: Sequence[str]) -> Picture:
        lost = [] if found.depth == 8 or image.mode in ("I", "F") or image.mode.startswith("I;") else REDUCED
        known = list(told) if tiles_of(image) else [*told, *lost]
        return picture_of(image, range=range, notices=known, about=about, told=notices)

    picture = decoded(source, use)
    if found.format == "avif" and found.channels < 3:
        picture = replace(picture, gray=True)
    return to_srgb(picture) if profile == "srgb" else picture


def tiles_of(image: Image.Image) -> bool:
    """Whether Pillow says that it reduces 16 bits."""
    return ";16" in str(getattr(image, "tile", ""))


REDUCED = ["16 bits are reduced to 8 bits"]


def picture_of(
    image: Image.Image,
    *,
    range: Range = None,  # noqa: A002
    notices: Sequence[str] = (),
    about: About | None = None,
    told: Sequence[str] = (),
) -> Picture:
    """An image of Pillow's as a Picture.

    range: as in `read_picture`. notices: what is already known of it. about: what its file has around the pixels, with
    what was `told` of that; then gray of more than 8 bits keeps 16, and CMYK goes through its profile. None: its
    profile and EXIF are kept, as Pillow gives them.
    """
    from srkit.images.colour import from_cmyk

    told = [*notices, *told]
    source, deep = image.format, tiles_of(image)
    image.load()
    if about is None:
        orientation, exif = exif_of(image, told)
        icc = profile_of(image, told)
        kept = About(icc=icc, exif=bare_exif(exif) if exif else None)
    else:
        orientation, kept = exif_of(image, [])[0], about
    first = image
    if orientation in TURNS:
        image = image.transpose(TURNS[orientation])
    if image.mode.startswith("I") or image.mode == "F":
        ends, mode = limits_of(image.mode, source, range), image.mode
        if about is not None:
            pixels = scaled(np.asarray(image), mode, ends, told, certain=range is not None, top=65535)
            return Picture(np.repeat(pixels[..., None], 3, axis=2), None, True, kept, "; ".join(told))
        image = Image.fromarray(scaled(np.asarray(image), mode, ends, told, certain=range is not None))
    elif deep:
        if range is not None:
            raise ImageError("a range is for gray pictures of more than 8 bits; this one has colour, of 16 bits")
        told.append("16 bits are reduced to 8 bits")
    elif range is not None:
        told.append("pixels of 8 bits are 0 to 255, the range is not for them")
    if image.mode == "CMYK" and about is not None:
        image = from_cmyk(image, kept.icc, told)
        kept = replace(kept, icc=None)
    elif image.mode in ("CMYK", "YCbCr", "LAB", "HSV"):
        kept = replace(kept, icc=None)  # the profile describes channels that are no longer there
    gray = image.mode in ("1", "L", "LA", "La")
    alpha = None
    if image.has_transparency_data:
        image = image.convert("RGBA")
        alpha = np.asarray(image.getchannel("A")).copy()
    rgb = np.array(image if image.mode == "RGB" else image.convert("RGB"))  # a copy that may be written to
    if (frames := frames_of(first)) > 1:
        told.append(f"only the first of {frames} frames is used")
    return Picture(rgb, alpha, gray, kept, "; ".join(dict.fromkeys(told)))


def profile_of(image: Image.Image, notices: list[str]) -> bytes | None:
    icc = image.info.get("icc_profile")
    if icc is not None and not isinstance(icc, bytes):
        notices.append("its broken colour profile is left out")
        return None
    return icc


def exif_of(image: Image.Image, notices: list[str]) -> tuple[int, bytes | None]:
    """(orientation, the rest of the EXIF); what of it is broken is left out, with a notice."""
    orientation, stored = 1, None
    try:
        exif = image.getexif()
        stored = exif.pop(ORIENTATION, None)
        orientation = stored if isinstance(stored, int) else 1
        try:
            return orientation, exif.tobytes() if exif else None
        finally:
            if stored is not None:
                exif[ORIENTATION] = stored  # the image is its owner's
    except Exception:  # Pillow raises about anything there
        notices.append("its broken EXIF is left out")
        return orientation, None


def limits_of(mode: str, source: str | None, chosen: Range) -> tuple[float, float]:
    """What black and white are in gray pixels of more than 8 bits: a matter of their type, never of the picture."""
    if chosen is not None:
        return limits(chosen)
    if mode == "F":
        return 0.0, 1.0
    if mode != "I" or source in ("PNG", "PPM"):  # there, Pillow holds 16 bits in 32
        return 0.0, 65535.0
    raise ImageError(
        "its 32-bit integers do not say what black and white are; say it: --range 0,65535 (range= in Python)"
    )


def limits(chosen: Range) -> tuple[float, float]:
    """`4095`, `(0, 4095)` or "0,4095" as (low, high). UsageError where it is none of them."""
    try:
        words = chosen.split(",") if isinstance(chosen, str) else chosen
        numbers = [float(word) for word in words] if isinstance(words, Sequence) else [float(words)]  # type: ignore[arg-type]
        low, high = numbers if len(numbers) > 1 else (0.0, *numbers)
    except (TypeError, ValueError):
        raise UsageError(f"range '{chosen}' is neither a number, which is white, nor two: black,white") from None
    if not (np.isfinite([low, high]).all() and low < high):
        raise UsageError(f"range '{chosen}': black, {low:g}, must be less than white, {high:g}")
    return low, high


def scaled(
    pixels: np.ndarray, mode: str, ends: tuple[float, float], notices: list[str], *, certain: bool, top: int = 255
) -> np.ndarray:
    """Integers or floats as 0 to `top`, black and white at `ends`; Pillow's own convert() would clip.

    mode: Pillow's, "F" for float. What is outside is clipped, and counted. Float pixels far outside raise ImageError,
    unless `ends` are certain.
    """
    low, high = ends
    if top == 65535 and ends == (0, 65535) and pixels.dtype.kind in "ui" and pixels.dtype.itemsize <= 2:
        return pixels.astype(np.uint16)
    values = pixels.astype(np.float64)
    outside = ~((values >= low) & (values <= high))
    if mode == "F" and not certain:
        if not np.isfinite(values).all():
            raise ImageError(
                f"{int((~np.isfinite(values)).sum())} of its float pixels are not finite; "
                "--range 0,1 makes them black or white (range= in Python)"
            )
        if outside.any() and (values.max() > 1 + 1.001 * OVERSHOOT or values.min() < -1.001 * OVERSHOOT):
            raise ImageError(
                f"its float pixels go from {values.min():g} to {values.max():g}, where black is 0 and "
                f"white 1; say what is meant: --range {min(0.0, values.min()):g},{values.max():g} "
                "(range= in Python)"
            )
    if top == 255:
        notices.append(f"{mode} pixels are reduced to 8 bits")
    elif mode == "F":
        notices.append("float pixels are reduced to 16 bits")
    if outside.any():
        count = int(outside.sum())
        notices.append(
            f"{count} pixel{'s' * (count > 1)} outside {low:g} to {high:g} {'are' if count > 1 else 'is'} clipped"
        )
    values = np.nan_to_num(values, nan=low, posinf=high, neginf=low)
    kind = np.uint8 if top == 255 else np.uint16
    return np.clip(np.floor((values - low) * (top / (high - low)) + 0.5), 0, top).astype(kind)


def read_rgb(path: str | Path, *, range: Range = None, deep: bool = False) -> np.ndarray:  # noqa: A002 - the option's name
    """The pixels alone: `H,W,3` uint8, gray as three equal channels, upright.

    Where they are wholly transparent, their colour is that of the nearest ones that are not. What the reading had to
    give up is logged. deep: what has more than 8 bits is uint16, 0 to 65535. range and errors as in `read_picture`.
    """
    picture = read_picture(path, range=range, deep=deep and header(path, max_pixels=None).depth > 8)
    if picture.notice:
        LOG.warning("%s: %s", path, picture.notice)
    return picture.rgb if picture.alpha is None else extended(picture.rgb, picture.alpha)


def image_size(path: str | Path) -> tuple[int, int]:
    """(height, width) from the header, without decoding."""
    found = header_in(source_of(path), None)
    return found.height, found.width


def decoded(source: Source, use: Callable[[Image.Image, Sequence[str]], T]) -> T:
    """use(image, notices) of an open file, with every failure reported in one line that names it.

    Where it cannot be read, it is tried without its metadata.
    """
    try:
        try:
            with source.open() as file:
                return use(open_image(file, source.suffix), ())
        except (ImageError, UsageError):
            raise
        except Exception:
            bare = without_metadata(source.bytes())
            if bare is None:
                raise
            with suppress(Exception):
                return use(open_image(BytesIO(bare), source.suffix), ("its broken metadata is left out",))
            raise
    except Image.UnidentifiedImageError:
        raise ImageError(f"{source.name} is not a picture that can be read (by its content, not its name)") from None
    except ImageError as error:
        raise ImageError(f"{source.name}: {error}") from None
    except UsageError:
        raise
    except MemoryError:
        raise ImageError(f"{source.name} is too large for the memory there is") from None
    except Exception as error:  # a damaged file makes Pillow raise about anything
        raise ImageError(f"{source.name} cannot be decoded, it may be truncated: {one_line(error)}") from None


def open_image(file: BinaryIO, suffix: str) -> Image.Image:
    """By content; a format without a signature of its own is believed only where the name says it.

    As Image.open, but for its limit on pixels, which is a global of the process: `check_pixels` is ours.
    """
    head = file.read(64)
    if kind_of(head) == "heic":
        heif_opener()
    kinds = readable_suffixes()
    named = kinds.get(suffix)
    for kind in dict.fromkeys([*kinds.values(), "HEIF"]):
        if kind not in Image.OPEN:  # HEIF is there where its extra is, once it was needed
            continue
        make, accept = Image.OPEN[kind]
        if accept is None and kind != named:
            continue
        with suppress(SyntaxError, IndexError, TypeError, struct.error):  # as Image.open
            said = accept(head[:16]) if accept is not None else True
            if said and not isinstance(said, str):
                file.seek(0)
                return make(file, "")
    raise Image.UnidentifiedImageError


def heif_opener() -> None:
    """HEIC in Pillow. Raises ImageError where the extra is not installed."""
    try:
        import pillow_heif
    except ImportError:
        raise ImageError("HEIC is read by another package: pip install pillow-heif") from None
    pillow_heif.register_heif_opener()
