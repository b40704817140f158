"""Read and write picture files faithfully: orientation, transparency, gray, profiles; never half a file."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageOps

from srkit.errors import ImageError, UsageError, did_you_mean, missing_path, one_line
from srkit.files import write_atomically

SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".webp", ".tif", ".tiff")


SAVE_OPTIONS: dict[str, dict[str, Any]] = {
    ".jpg": {"quality": 95, "subsampling": 0},
    ".jpeg": {"quality": 95, "subsampling": 0},
    ".webp": {"lossless": True},
    ".tif": {"compression": "tiff_adobe_deflate"},
    ".tiff": {"compression": "tiff_adobe_deflate"},
}


@dataclass(frozen=True)
class Picture:
    """A picture as pixels, upright, and what has to survive around them.

    rgb: H,W,3 uint8. alpha: H,W uint8 or None. gray: the file had one channel, so it gets one again.
    notice: what the reading had to give up (16 bits, further frames), empty where nothing.
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


def read_picture(path: str | Path) -> Picture:
    """Read a file as it is meant to be seen: EXIF orientation applied, palettes and CMYK as RGB.

    Raises UnknownName where there is no such file, ImageError where it is not a readable picture.
    """
    with opened(Path(path)) as image:
        return picture_of(image)


def picture_of(image: Image.Image) -> Picture:
    """An image of Pillow's as a Picture."""
    notices = []
    if (frames := getattr(image, "n_frames", 1)) > 1:
        notices.append(f"only the first of {frames} frames is used")
    image = ImageOps.exif_transpose(image)
    exif = image.getexif()
    icc = image.info.get("icc_profile")
    if image.mode in ("I;16", "I;16L", "I;16B", "I;16N", "I", "F"):
        image, notice = eight_bits(image)
        notices.append(notice)
    if image.mode in ("CMYK", "YCbCr", "LAB", "HSV"):
        icc = None  # the profile speaks of channels that are no longer there
    gray = image.mode in ("1", "L", "LA", "La")
    alpha = None
    if image.has_transparency_data:
        image = image.convert("RGBA")
        alpha = np.asarray(image.getchannel("A")).copy()
    rgb = np.asarray(image.convert("RGB")).copy()
    return Picture(rgb, alpha, gray, icc, exif.tobytes() if exif else None, "; ".join(notices))


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


def read_rgb(path: str | Path) -> np.ndarray:
    """The pixels alone: `H,W,3` uint8, gray as three equal channels, upright. Errors as `read_picture`."""
    return read_picture(path).rgb


def image_size(path: str | Path) -> tuple[int, int]:
    """(height, width) from the header, without decoding."""
    with opened(Path(path), decode=False) as image:
        width, height = image.size
        return (width, height) if image.getexif().get(0x0112, 1) >= 5 else (height, width)


@contextmanager
def opened(path: Path, decode: bool = True) -> Iterator[Image.Image]:
    """An open picture, with every way a file can be wrong told in one line that names it."""
    if not path.is_file():
        raise ImageError(f"'{path}' is a folder, not a picture") if path.is_dir() else missing_path(path, "picture")
    try:
        with Image.open(path) as image:
            if decode:
                image.load()
            yield image
    except Image.UnidentifiedImageError:
        raise ImageError(f"'{path}' is not a picture that can be read ({', '.join(s[1:] for s in SUFFIXES)})") from None
    except Image.DecompressionBombError:
        raise ImageError(f"'{path}' has more pixels than is safe to decode; scale it down or cut it first") from None
    except (OSError, SyntaxError, ValueError, EOFError) as error:
        raise ImageError(f"'{path}' cannot be decoded, it may be truncated: {one_line(error)}") from None


def eight_bits(image: Image.Image) -> tuple[Image.Image, str]:
    """16-bit, 32-bit and float gray as 8-bit gray; Pillow's own convert() would clip instead."""
    values = np.asarray(image, dtype=np.float64)
    top = 65535.0 if image.mode.startswith("I") and values.max(initial=0) > 255 else 255.0
    if image.mode == "F" and values.max(initial=0) <= 1:
        top = 1.0
    scaled = np.clip(np.floor(values * (255 / top) + 0.5), 0, 255).astype(np.uint8)
    return Image.fromarray(scaled), f"{image.mode} pixels are reduced to 8 bits"


def list_images(folder: str | Path) -> list[Path]:
    """Every picture below `folder`, at any depth, sorted by path; hidden files are passed over."""
    folder = Path(folder)
    found = (p for p in folder.rglob("*") if p.suffix.lower() in SUFFIXES and p.is_file())
    return sorted(p for p in found if not any(part.startswith(".") for part in p.relative_to(folder).parts))


def check_output(path: Path) -> None:
    """Before any work is done: can a picture be written there? UsageError says why not."""
    if path.suffix.lower() not in SUFFIXES:
        raise UsageError(
            f"cannot write '{path}': the suffix '{path.suffix}' is no picture format"
            f"{did_you_mean(path.suffix, SUFFIXES)}"
        )
    if not path.absolute().parent.is_dir():
        raise missing_path(path.parent, "folder")


def write_picture(path: str | Path, picture: Picture) -> None:
    """Write atomically, in the format the suffix names. JPEG and BMP get transparency laid on white.

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
    options = dict(SAVE_OPTIONS.get(suffix, {}))
    if picture.icc and suffix != ".bmp":
        options["icc_profile"] = picture.icc
    if picture.exif and suffix in (".jpg", ".jpeg", ".png", ".webp"):
        options["exif"] = picture.exif
    kind = Image.registered_extensions()[suffix]
    try:
        write_atomically(path, lambda file: image.save(file, format=kind, **options))
    except (OSError, ValueError) as error:
        raise ImageError(f"cannot write '{path}': {one_line(error)}") from None
