"""The one door to libvips: one loader a format, called by name, so that it never opens what was not asked for."""

import logging
import sys
from functools import cache
from typing import TYPE_CHECKING, Any

from srkit.errors import ImageError
from srkit.images.source import Source

if TYPE_CHECKING:
    import pyvips

#: The formats that libvips decodes, with its loaders.
LOADERS = {
    "png": "pngload",
    "jpeg": "jpegload",
    "webp": "webpload",
    "tiff": "tiffload",
    "avif": "heifload",
    "gif": "gifload",
}


@cache
def library() -> Any:
    """pyvips, set so that it keeps no file open and prints nothing. Raises ImageError where it does not load."""
    logging.getLogger("pyvips").setLevel(logging.CRITICAL)
    try:
        import pyvips
    except Exception as error:  # without its binary wheel it looks for a libvips of the system
        raise ImageError(
            f"pyvips does not load, which deep and large pictures need: {type(error).__name__}; "
            f"{sys.executable} -m pip install 'pyvips[binary]'"
        ) from None
    pyvips.cache_set_max(0)  # a cached operation would hold a mapped file
    pyvips.block_untrusted_set(True)
    return pyvips


def load(source: Source, kind: str) -> "pyvips.Image":
    """An image that is decoded from the top while it is read; what is damaged raises pyvips.Error then."""
    pyvips = library()
    options: dict[str, Any] = {"access": "sequential", "fail_on": "error"}
    if kind in ("png", "jpeg", "tiff", "avif"):
        options["unlimited"] = True  # the limit on pixels was judged before
    loader = LOADERS[kind]
    if source.data is not None:
        return getattr(pyvips.Image, f"{loader}_buffer")(source.data, **options)
    return getattr(pyvips.Image, loader)(str(source.path), **options)


def from_array(pixels: Any) -> "pyvips.Image":
    """H,W,C uint8, uint16 or float32, contiguous, as an image over the same memory, which must outlive it."""
    pyvips = library()
    height, width, channels = pixels.shape
    formats = {"uint8": "uchar", "uint16": "ushort", "float32": "float"}
    image = pyvips.Image.new_from_memory(pixels.data, width, height, channels, formats[pixels.dtype.name])
    deep, gray = pixels.dtype.itemsize == 2, channels < 3
    return image.copy(interpretation=("grey16" if deep else "b-w") if gray else ("rgb16" if deep else "srgb"))


def reason(error: BaseException) -> str:
    """What libvips says of a failure, without the names of its operations."""
    detail = getattr(error, "detail", None)
    text = detail.decode("utf-8", "replace") if isinstance(detail, bytes) else str(detail or error)
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[-1] if lines else type(error).__name__
