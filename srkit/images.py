"""Read and write picture files faithfully: orientation, transparency, gray, profiles; never half a file."""

import logging
import os
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import cache
from io import BytesIO
from pathlib import Path
from typing import Any, BinaryIO, TypeVar

import numpy as np
from PIL import Image

from srkit.errors import ImageError, UsageError, did_you_mean, missing_path, one_line
from srkit.files import write_atomically
from srkit.metadata import without_metadata

#: What is written; `readable_suffixes` are many more.
SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".webp", ".tif", ".tiff")

SAVE_OPTIONS: dict[str, dict[str, Any]] = {
    ".jpg": {"quality": 95, "subsampling": 0},
    ".jpeg": {"quality": 95, "subsampling": 0},
    ".webp": {"lossless": True},
    ".tif": {"compression": "tiff_adobe_deflate"},
    ".tiff": {"compression": "tiff_adobe_deflate"},
}

#: Formats Pillow knows that hold no pixels of their own, need another program, or are scientific data.
NO_PICTURES = {"BUFR", "EPS", "GRIB", "HDF5", "IMT", "IPTC", "MCIDAS", "MPEG", "PDF", "WMF", "XVTHUMB"}

ORIENTATION = 0x0112
TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT, 3: Image.Transpose.ROTATE_180, 4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE, 6: Image.Transpose.ROTATE_270, 7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}  # fmt: skip

OVERSHOOT = 0.01  # how far float pixels may be outside [0, 1], as a resampling leaves them, before it is an error
NAMED = 3  # files named in a line about many

LOG = logging.getLogger("srkit")

Range = str | float | Sequence[float] | None
T = TypeVar("T")

# Pillow's warnings about metadata are lines of source code on stderr; a picture's notice has what matters of them.
warnings.filterwarnings("ignore", category=UserWarning, module=r"PIL\.")


@dataclass(frozen=True)
class Picture:
    """A picture as pixels, upright, and what has to survive around them.

    rgb: H,W,3 uint8. alpha: H,W uint8 or None. gray: the file had one channel, so it gets one again.
    notice: what the reading had to give up (16 bits, further frames, broken metadata), empty where nothing.
    """

    rgb: np.ndarray
    alpha: np.ndarray | None = None
    gray: bool = False
    icc: bytes | None = None
    exif: bytes | None = None
    notice: str = ""

    def resized(self, rgb: np.ndarray, alpha: np.ndarray | None) -> "Picture":
        """The same picture with other pixels."""
        return replace(self, rgb=rgb, alpha=alpha)


def read_picture(path: str | Path, *, range: Range = None) -> Picture:  # noqa: A002 - the option's name
    """Read a file as it is meant to be seen: EXIF orientation applied, palettes and CMYK as RGB.

    Gray of 16 bits is 0 to 65535 and float 0 to 1, whatever the picture's own extremes are. range: what black and
    white are instead, `4095`, `(0, 4095)` or "0,4095".

    Raises UnknownName where there is no such file, UsageError for a range that is none, ImageError where it is not
    a readable picture, or its pixels are outside their range.
    """
    return decoded(Path(path), lambda image, notices: picture_of(image, range=range, notices=notices))


def picture_of(image: Image.Image, *, range: Range = None, notices: Sequence[str] = ()) -> Picture:  # noqa: A002
    """An image of Pillow's as a Picture. range: as in `read_picture`. notices: what is already known of it."""
    told = list(notices)
    source, deep = image.format, ";16" in str(getattr(image, "tile", ""))
    image.load()
    orientation, exif = exif_of(image, told)
    icc = image.info.get("icc_profile")
    if icc is not None and not isinstance(icc, bytes):
        told.append("its broken colour profile is left out")
        icc = None
    first = image
    if orientation in TURNS:
        image = image.transpose(TURNS[orientation])
    if image.mode.startswith("I") or image.mode == "F":
        image = eight_bits(image, limits_of(image.mode, source, range), told, certain=range is not None)
    elif deep:
        if range is not None:
            raise ImageError("a range is for gray pictures of more than 8 bits; this one has colour, of 16 bits")
        told.append("16 bits are reduced to 8 bits")
    elif range is not None:
        told.append("pixels of 8 bits are 0 to 255, the range is not for them")
    if image.mode in ("CMYK", "YCbCr", "LAB", "HSV"):
        icc = None  # the profile describes channels that are no longer there
    gray = image.mode in ("1", "L", "LA", "La")
    alpha = None
    if image.has_transparency_data:
        image = image.convert("RGBA")
        alpha = np.asarray(image.getchannel("A")).copy()
    rgb = np.asarray(image.convert("RGB")).copy()
    with suppress(Exception):  # looking for further frames may meet a broken one
        if (frames := getattr(first, "n_frames", 1)) > 1:
            told.append(f"only the first of {frames} frames is used")
    return Picture(rgb, alpha, gray, icc, exif, "; ".join(told))


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


def eight_bits(
    image: Image.Image, ends: tuple[float, float], notices: list[str], *, certain: bool = False
) -> Image.Image:
    """Gray of 16 or 32 bits or float as 8 bits, black and white at `ends`; Pillow's own convert() would clip.

    What is outside is clipped, and counted. Float pixels far outside raise ImageError, unless `ends` are certain.
    """
    values = np.asarray(image, dtype=np.float64)
    low, high = ends
    outside = ~((values >= low) & (values <= high))
    if image.mode == "F" and not certain:
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
    notices.append(f"{image.mode} pixels are reduced to 8 bits")
    if outside.any():
        count = int(outside.sum())
        notices.append(
            f"{count} pixel{'s' * (count > 1)} outside {low:g} to {high:g} {'are' if count > 1 else 'is'} clipped"
        )
    values = np.nan_to_num(values, nan=low, posinf=high, neginf=low)
    scaled = np.clip(np.floor((values - low) * (255 / (high - low)) + 0.5), 0, 255).astype(np.uint8)
    return Image.fromarray(scaled)


def image_of(picture: Picture) -> Image.Image:
    """A Picture as an image of Pillow's: L, LA, RGB or RGBA, with its profile in `info`."""
    image = Image.fromarray(picture.rgb)
    if picture.alpha is not None:
        image.putalpha(Image.fromarray(picture.alpha))
    if picture.gray:
        image = image.convert("L" if picture.alpha is None else "LA")
    if picture.icc:
        image.info["icc_profile"] = picture.icc
    return image


def read_rgb(path: str | Path, *, range: Range = None) -> np.ndarray:  # noqa: A002 - the option's name
    """The pixels alone: `H,W,3` uint8, gray as three equal channels, upright.

    Where they are wholly transparent, their colour is that of the nearest ones that are not. What the reading had to
    give up is logged. range and errors as in `read_picture`.
    """
    picture = read_picture(path, range=range)
    if picture.notice:
        LOG.warning("%s: %s", path, picture.notice)
    return picture.rgb if picture.alpha is None else extended(picture.rgb, picture.alpha)


def extended(rgb: np.ndarray, alpha: np.ndarray) -> np.ndarray:
    """Colour continued under the transparent pixels, so that nothing hidden there reaches a visible one.

    rgb: H,W,3 uint8. alpha: H,W uint8. Each pixel of alpha 0 gets the mean colour, weighted by alpha, of the smallest
    square of 2, 4, 8, ... pixels around it that has a visible one; all others stay.
    """
    hidden = alpha == 0
    if not hidden.any() or hidden.all():
        return rgb
    weight = alpha.astype(np.float32)[..., None] / 255
    grown = grow(rgb.astype(np.float32), weight)
    return np.where(hidden[..., None], np.clip(np.floor(grown + 0.5), 0, 255).astype(np.uint8), rgb)


def grow(colour: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """H,W,3 with weights H,W,1: where the weight is 0, the colour of the same picture at half the size."""
    if weight.all():
        return colour
    height, width = weight.shape[:2]
    odd = ((0, height % 2), (0, width % 2), (0, 0))
    total = halves(np.pad(weight, odd))
    mean = halves(np.pad(colour * weight, odd)) / np.where(total > 0, total, 1)
    coarse = grow(mean, np.minimum(total, 1))
    return np.where(weight > 0, colour, coarse.repeat(2, axis=0).repeat(2, axis=1)[:height, :width])


def halves(values: np.ndarray) -> np.ndarray:
    """2h,2w,C -> h,w,C: the sums of squares of four."""
    sums: np.ndarray = values[::2, ::2] + values[1::2, ::2] + values[::2, 1::2] + values[1::2, 1::2]
    return sums


def image_size(path: str | Path) -> tuple[int, int]:
    """(height, width) from the header, without decoding."""

    def size(image: Image.Image, notices: Sequence[str]) -> tuple[int, int]:
        width, height = image.size
        return (width, height) if exif_of(image, [])[0] >= 5 else (height, width)

    return decoded(Path(path), size)


def decoded(path: Path, use: Callable[[Image.Image, Sequence[str]], T]) -> T:
    """use(image, notices) of an open file, with every failure reported in one line that names it.

    Where it cannot be read, it is tried without its metadata.
    """
    if not path.is_file():
        raise ImageError(f"'{path}' is a folder, not a picture") if path.is_dir() else missing_path(path, "picture")
    try:
        try:
            with open_image(path, path) as image:
                return use(image, ())
        except (ImageError, UsageError, Image.DecompressionBombError):
            raise
        except Exception:
            bare = without_metadata(path.read_bytes())
            if bare is None:
                raise
            with suppress(Exception), open_image(BytesIO(bare), path) as image:
                return use(image, ("its broken metadata is left out",))
            raise
    except Image.UnidentifiedImageError:
        raise ImageError(f"'{path}' is not a picture that can be read (by its content, not its name)") from None
    except Image.DecompressionBombError:
        raise ImageError(f"'{path}' has more pixels than is safe to decode; scale it down or cut it first") from None
    except ImageError as error:
        raise ImageError(f"'{path}': {error}") from None
    except UsageError:
        raise
    except Exception as error:  # a damaged file makes Pillow raise about anything
        raise ImageError(f"'{path}' cannot be decoded, it may be truncated: {one_line(error)}") from None


def open_image(file: Path | BinaryIO, path: Path) -> Image.Image:
    """By content; a format without a signature of its own is believed only where the name says it."""
    kinds = readable_suffixes()
    named = kinds.get(path.suffix.lower())
    formats = [kind for kind in dict.fromkeys(kinds.values()) if Image.OPEN[kind][1] is not None or kind == named]
    return Image.open(file, formats=formats)


@cache
def readable_suffixes() -> dict[str, str]:
    """Suffix -> Pillow's format, for every kind of picture that can be read."""
    Image.init()
    kinds = {suffix: "JPEG" if kind == "MPO" else kind for suffix, kind in Image.registered_extensions().items()}
    return {suffix: kind for suffix, kind in kinds.items() if kind in Image.OPEN and kind not in NO_PICTURES}


def list_images(folder: str | Path) -> list[Path]:
    """Every picture below `folder`, at any depth, through links too, sorted by path; hidden files are passed over.

    Errors as `list_files`.
    """
    return list_files(folder)[0]


def list_files(folder: str | Path) -> tuple[list[Path], list[Path]]:
    """(pictures, other files) below `folder`, told apart by suffix; as `list_images`.

    Links are followed; a folder that is met again, by a circle of links or by two links, counts once, and its link
    is among the others, as is a link that leads nowhere. Raises ImageError where a folder cannot be read.
    """
    folder = Path(folder)
    kinds = readable_suffixes()
    pictures: list[Path] = []
    others: list[Path] = []
    for path in walk(folder, set()):
        picture = path.suffix.lower() in kinds and path.is_file()
        (pictures if picture else others).append(path)
    return sorted(pictures), sorted(others)


def walk(folder: Path, seen: set[tuple[int, int]]) -> Iterator[Path]:
    """All that is no folder below `folder`, and the folders that were seen before."""
    try:
        about = folder.stat()
        seen.add((about.st_dev, about.st_ino))
        with os.scandir(folder) as entries:
            visible = sorted((e for e in entries if not e.name.startswith(".")), key=lambda e: (e.is_symlink(), e.name))
        for entry in visible:  # folders first, links to them after: what is met twice has its own name
            path = folder / entry.name
            if not entry.is_dir():
                yield path
                continue
            about = path.stat()
            if (about.st_dev, about.st_ino) in seen:
                yield path
            else:
                yield from walk(path, seen)
    except FileNotFoundError:
        return  # removed meanwhile, or never there
    except OSError as error:
        raise ImageError(f"the folder '{folder}' cannot be read: {one_line(error)}") from None


def left_out(others: Sequence[Path], folder: Path) -> str:
    """Files that are no pictures, in words: `2 files are no pictures and left out: a.mov, b.txt`; empty for none."""
    if not others:
        return ""
    names = [str(path.relative_to(folder)) for path in others]
    are = "file is no picture" if len(names) == 1 else "files are no pictures"
    return f"{len(names)} {are} and left out: {', '.join(names[:NAMED])}{', ...' if len(names) > NAMED else ''}"


def check_output(path: Path) -> None:
    """Before any work is done: can a picture be written there? UsageError says why not."""
    if path.suffix.lower() not in SUFFIXES:
        raise UsageError(
            f"cannot write '{path}': the suffix '{path.suffix}' is not a picture format"
            f"{did_you_mean(path.suffix, SUFFIXES)}"
        )
    if not path.absolute().parent.is_dir():
        raise missing_path(path.parent, "folder")


def write_picture(path: str | Path, picture: Picture) -> str:
    """Write atomically, in the format the suffix names. JPEG and BMP get transparency laid on white.

    Returns a notice: what of its metadata the format could not take, empty where nothing was lost.
    Raises UsageError for an unknown suffix, ImageError when the file cannot be written.
    """
    path = Path(path)
    check_output(path)
    suffix = path.suffix.lower()
    if picture.alpha is not None and suffix in (".jpg", ".jpeg", ".bmp"):
        image = Image.fromarray(picture.rgb)
        image = Image.composite(image, Image.new("RGB", image.size, "white"), Image.fromarray(picture.alpha))
        image = image.convert("L") if picture.gray else image
    else:
        image = image_of(picture)
    image.info.clear()  # what is written beside the pixels is what is named below
    options = dict(SAVE_OPTIONS.get(suffix, {}))
    about: dict[str, Any] = {}
    if picture.icc and suffix != ".bmp":
        about["icc_profile"] = picture.icc
    if picture.exif and suffix in (".jpg", ".jpeg", ".png", ".webp"):
        about["exif"] = picture.exif
    kind = Image.registered_extensions()[suffix]
    try:
        try:
            write_atomically(path, lambda file: image.save(file, format=kind, **options, **about))
            return ""
        except Exception as error:
            if not about or (isinstance(error, OSError) and error.errno):
                raise  # the disk's fault, not the metadata's
        write_atomically(path, lambda file: image.save(file, format=kind, **options))
        return f"{kind} cannot take its metadata, which is left out"
    except (OSError, ValueError) as error:
        raise ImageError(f"cannot write '{path}': {one_line(error)}") from None
