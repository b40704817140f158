"""Where a picture's bytes come from: a file, a pipe, or bytes that are there already; and what kind they are."""

import stat
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import BinaryIO

from srkit.errors import ImageError, missing_path, one_line

Readable = str | Path | bytes | BinaryIO


@dataclass(frozen=True)
class Source:
    """A picture's bytes: of the file `path`, or `data`. name: how errors call it, with its quotes."""

    name: str
    path: Path | None = None
    data: bytes | None = None

    def open(self) -> BinaryIO:
        """A new reader, at the beginning."""
        if self.data is not None:
            return BytesIO(self.data)
        assert self.path is not None
        return open(self.path, "rb")

    def bytes(self) -> bytes:
        if self.data is not None:
            return self.data
        assert self.path is not None
        return self.path.read_bytes()

    @property
    def suffix(self) -> str:
        return self.path.suffix.lower() if self.path is not None else ""


def source_of(given: Readable) -> Source:
    """A path, bytes, or a binary file that is read to its end, such as a pipe.

    Raises UnknownName where there is no such file, ImageError where it is a folder, a link to nothing or unreadable.
    """
    if isinstance(given, bytes):
        return Source("the input", data=given)
    if not isinstance(given, str | Path):
        return Source("the input", data=given.read())
    path = Path(given)
    name = f"'{printable(str(path))}'"
    try:
        mode = path.stat().st_mode
    except FileNotFoundError:
        if path.is_symlink():
            raise ImageError(f"{name} is a link to '{path.readlink()}', which is not there") from None
        raise missing_path(path, "picture") from None
    except (OSError, ValueError) as error:
        raise ImageError(f"{name} cannot be read: {one_line(error)}") from None
    if stat.S_ISDIR(mode):
        raise ImageError(f"{name} is a folder, not a picture")
    if stat.S_ISREG(mode):
        return Source(name, path)
    if stat.S_ISFIFO(mode):
        return Source(name, path, path.read_bytes())
    raise ImageError(f"{name} is a device, not a picture")


def printable(text: str) -> str:
    """On one line: line breaks and what no terminal shows as escapes."""
    return "".join(sign if sign.isprintable() else ascii(sign)[1:-1] for sign in text)


#: The brands of an ISO base media file that say which codec its still picture has.
BRANDS = {b"avif": "avif", b"avis": "avif"}
BRANDS |= dict.fromkeys((b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx"), "heic")


def kind_of(head: bytes) -> str:
    """The format by a file's first 64 bytes: png, jpeg, webp, tiff, bmp, avif, heic, jp2, gif, or empty for others."""
    for sign, kind in (
        (b"\x89PNG\r\n\x1a\n", "png"), (b"\xff\xd8\xff", "jpeg"), (b"II*\0", "tiff"), (b"MM\0*", "tiff"),
        (b"II+\0", "tiff"), (b"MM\0+", "tiff"), (b"BM", "bmp"), (b"GIF8", "gif"),
        (b"\0\0\0\x0cjP  \r\n\x87\n", "jp2"), (b"\xff\x4f\xff\x51", "jp2"),
    ):  # fmt: skip
        if head.startswith(sign):
            return kind
    if head[:4] == b"RIFF" and head[8:12] == b"WEBP":
        return "webp"
    if head[4:8] == b"ftyp":
        end = min(len(head), int.from_bytes(head[:4], "big"))
        brands = [head[8:12], *(head[at : at + 4] for at in range(16, end, 4))]
        return next((BRANDS[brand] for brand in brands if brand in BRANDS), "")
    return ""
