"""Formats that are written, what each can hold, and the choices for one of them; refused before any work."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from srkit.errors import ImageError, UsageError, did_you_mean, missing_path
from srkit.images.about import About

#: Formats that are written, each with its suffixes, the usual one first.
FORMATS = {
    "png": (".png",), "jpeg": (".jpg", ".jpeg"), "webp": (".webp",), "tiff": (".tif", ".tiff"), "bmp": (".bmp",),
    "avif": (".avif",), "jp2": (".jp2",),
}  # fmt: skip
SUFFIXES = tuple(suffix for suffixes in FORMATS.values() for suffix in suffixes)
ALIASES = {"jpg": "jpeg", "tif": "tiff", "jpeg2000": "jp2", "j2k": "jp2"}

LOSSY = ("jpeg", "webp", "avif", "jp2")
DEEP = ("png", "tiff", "avif", "jp2")
OPAQUE = ("jpeg", "bmp")
#: Pixels that a side may have. AVIF: of one AV1 frame, which is what encoders write.
SIDES = {"jpeg": 65500, "webp": 16383, "avif": 16384}
BMP_BYTES = (1 << 32) - 1
SEGMENT = 65533  # bytes of a JPEG segment, without its marker and length
HOLDS = {  # of what is around the pixels
    "png": ("profile", "EXIF", "XMP", "IPTC", "DPI", "text", "gamma"),
    "jpeg": ("profile", "EXIF", "XMP", "IPTC", "DPI", "comment"),
    "webp": ("profile", "EXIF", "XMP", "DPI"),
    "tiff": ("profile", "EXIF", "XMP", "IPTC", "DPI"),
    "avif": ("profile", "EXIF", "XMP", "DPI"),
    "jp2": ("profile", "EXIF", "XMP", "IPTC", "DPI"),
    "bmp": ("profile", "DPI"),  # the profile: converted to sRGB
}


@dataclass(frozen=True)
class Encoding:
    """How a picture is to be written.

    format: a key of FORMATS. quality: 1 to 100; None for the format's own (JPEG 95, AVIF 90; WebP and JPEG 2000 are
    lossless then). depth: 8 or 16 bits of a channel; None as the pixels are. background: RGB under what is transparent,
    where the format has no transparency. strip: leave out all but what colour needs. receipt: a text kept in the XMP.
    """

    format: str
    quality: int | None = None
    depth: int | None = None
    background: tuple[int, int, int] = (255, 255, 255)
    strip: bool = False
    receipt: str = ""


def encoding_for(
    target: str | Path,
    format: str | None = None,  # noqa: A002 - the option's name
    quality: int | None = None,
    depth: int | None = None,
    background: str | Sequence[int] = "white",
    *,
    strip: bool = False,
    receipt: str = "",
) -> Encoding:
    """The encoding that a target's suffix and the options mean; "-" has no suffix, so it wants a format.

    UsageError for an unknown suffix, format or colour, and for what the format cannot do.
    """
    kind = format_of(target, format)
    if quality is not None and kind not in LOSSY:
        raise UsageError(f"{kind} loses nothing, so it has no quality; {', '.join(LOSSY)} have")
    if quality is not None and not 1 <= quality <= 100:
        raise UsageError(f"quality {quality} is not between 1 and 100")
    if depth not in (None, 8, 16):
        raise UsageError(f"a depth of {depth} bits is neither 8 nor 16")
    if depth == 16 and kind not in DEEP:
        raise UsageError(f"{kind} has 8 bits; 16 are for {', '.join(DEEP)}")
    return Encoding(kind, quality, depth, colour_of(background), strip, receipt)


def format_of(target: str | Path, chosen: str | None) -> str:
    """By the name of the target, or as chosen; UsageError where neither says it, or both contradict."""
    suffix = Path(target).suffix.lower()
    named = next((kind for kind, suffixes in FORMATS.items() if suffix in suffixes), None)
    if chosen is None:
        if named is not None:
            return named
        if str(target) == "-":
            raise UsageError(f"'-' does not say the format; --format does: {', '.join(FORMATS)}")
        raise UsageError(
            f"cannot write '{target}': the suffix '{suffix}' is not a picture format{did_you_mean(suffix, SUFFIXES)}"
        )
    kind = chosen.lower().lstrip(".")
    kind = ALIASES.get(kind, kind)
    if kind not in FORMATS:
        raise UsageError(f"'{chosen}' is no format that is written{did_you_mean(kind, FORMATS)}")
    if named not in (None, kind):
        raise UsageError(f"'{target}' is a {named} by its name, and --format says {kind}")
    return kind


def colour_of(words: str | Sequence[int]) -> tuple[int, int, int]:
    """A colour's name, `#rrggbb` or three numbers as RGB. UsageError where it is none."""
    from PIL import ImageColor

    try:
        found = ImageColor.getrgb(words) if isinstance(words, str) else tuple(int(each) for each in words)
        red, green, blue = found[:3]
        if min(found) < 0 or max(found) > 255:
            raise ValueError
    except (ValueError, TypeError):
        raise UsageError(f"'{words}' is no colour; write a name such as white, or #rrggbb") from None
    return red, green, blue


def check_output(path: Path) -> None:
    """Before any work is done: can a picture be written there? UsageError says why not."""
    format_of(path, None)
    if not path.absolute().parent.is_dir():
        raise missing_path(path.parent, "folder")


def check_encoding(
    encoding: Encoding, width: int, height: int, channels: int, about: About | None = None, *, depth: int = 8
) -> list[str]:
    """Before any work: notices of what the format cannot hold of such a picture.

    depth: bits of the pixels there will be. Raises UsageError for a size that the format has no room for.
    """
    kind, notices = encoding.format, []
    longest = SIDES.get(kind, 1_000_000)
    if max(width, height) > longest:
        raise UsageError(f"{kind} has at most {longest} pixels a side, and the result {width}x{height}; png has more")
    if kind == "bmp" and (3 if channels > 2 else 1) * (width + 3) * height > BMP_BYTES:
        raise UsageError(f"bmp has at most 4 GB, too little for {width}x{height} pixels; png has more")
    if min(width, height) < 1:
        raise UsageError(f"a picture of {width}x{height} pixels cannot be written")
    if channels in (2, 4) and kind in OPAQUE:
        notices.append("#{:02x}{:02x}{:02x} is laid under what is transparent".format(*encoding.background))
    wanted = encoding.depth or depth
    if kind == "jp2" and wanted == 16 and channels > 1 and not has_imagecodecs():
        if encoding.depth == 16:
            raise UsageError("jp2 of 16 bits in colour needs a package: pip install imagecodecs; or take --depth 8")
        notices.append("jp2 in colour is written with 8 bits without another package: pip install imagecodecs")
    elif wanted == 16 and kind not in DEEP:
        notices.append(f"{kind} has 8 bits, to which 16 are reduced")
    elif wanted == 16 and kind == "avif":
        notices.append("avif keeps 12 of 16 bits")
    if about is not None and not encoding.strip:
        notices += lost(kind, about)
    if encoding.receipt and "XMP" not in HOLDS[kind]:
        notices.append(f"{kind} cannot hold the receipt, which is left out")
    return notices


def has_imagecodecs() -> bool:
    from importlib.util import find_spec

    return find_spec("imagecodecs") is not None


def lost(kind: str, about: About) -> list[str]:
    """In words, what of `about` the format has no place for."""
    there = {
        "profile": about.icc, "EXIF": about.exif, "XMP": about.xmp, "IPTC": about.iptc,
        "text": [key for key, _ in about.text if key != "Comment"],
        "comment": [key for key, _ in about.text if key == "Comment"], "gamma": about.gamma,
    }  # fmt: skip
    holds = (*HOLDS[kind], *(["comment"] if "text" in HOLDS[kind] else []))
    gone = [name for name, value in there.items() if value and name not in holds]
    notices = [f"{kind} has no place for its {' and '.join(gone)}, which is left out"] if gone else []
    if kind == "jpeg":
        big = {"EXIF": (about.exif, 6), "XMP": (about.xmp, 29), "IPTC": (about.iptc, 28)}
        long = [name for name, (data, head) in big.items() if data and len(data) + head > SEGMENT]
        if long:
            notices.append(f"jpeg has 64 kB for each of its {' and '.join(long)}, which is larger and left out")
    return notices


def check_arguments(channels: int, kind: str) -> None:
    """Raises ImageError for pixels that are no picture's."""
    if channels not in (1, 2, 3, 4):
        raise ImageError(f"pixels have 1 to 4 channels, not {channels}")
    if kind not in ("uint8", "uint16"):
        raise ImageError(f"pixels are uint8 or uint16, not {kind}")
