"""Pictures that are no files here: stdin and stdout as `-`, and addresses that fsspec knows, `s3://bucket/a.png`."""

import sys
from dataclasses import dataclass
from pathlib import PurePosixPath

from srkit.errors import ImageError, SrkitError, UsageError, one_line

STD = "-"


@dataclass(frozen=True)
class Ends:
    """One picture from somewhere to somewhere: `-`, an address, or a path."""

    source: str
    target: str

    @property
    def name(self) -> str:
        """The target's own name, which may say its format."""
        return self.target.rpartition("/")[2] if is_address(self.target) else self.target


def is_address(word: str) -> bool:
    scheme, found, _ = word.partition("://")
    return bool(found) and scheme.replace("+", "").replace("-", "").replace(":", "").isalnum()


def ends_of(photos: tuple[str, ...], out: str | None) -> Ends | None:
    """The two ends, where one of them is no path; else None. UsageError for several pictures."""
    strange = [word for word in (*photos, out or "") if word == STD or is_address(word)]
    if not strange:
        return None
    if len(photos) > 1:
        raise UsageError(f"'{strange[0]}' is for one picture at a time, not for {len(photos)}")
    source = photos[0]
    if out is None:
        if source == STD:
            out = STD
        else:
            raise UsageError(f"say with -o where the result of '{source}' goes: a file, an address, or -")
    return Ends(source, out)


def name_of(word: str) -> str:
    """How messages call it."""
    return "stdin" if word == STD else word


def read_from(word: str) -> bytes:
    """All bytes. ImageError where there are none to be had."""
    try:
        if word == STD:
            data = sys.stdin.buffer.read()
        elif is_address(word):
            import fsspec

            with fsspec.open(word, "rb") as file:
                data = file.read()
        else:
            with open(word, "rb") as file:
                data = file.read()
    except ImportError as error:  # fsspec names the package that an address needs
        raise UsageError(f"'{word}': {one_line(error)}") from None
    except Exception as error:  # every file system raises its own
        raise ImageError(f"'{name_of(word)}' cannot be read: {one_line(error)}") from None
    if not data:
        raise ImageError(f"'{name_of(word)}' is empty")
    return bytes(data)


def check_target(word: str) -> None:
    """Before any work: UsageError where nothing can be written there."""
    if word == STD and sys.stdout is not None and sys.stdout.isatty():
        raise UsageError("a picture is no text for a terminal; write -o FILE, or pipe it on")
    if is_address(word):
        import fsspec

        try:
            fsspec.core.url_to_fs(word)
        except (ImportError, ValueError) as error:
            raise UsageError(f"'{word}': {one_line(error)}") from None
        if not PurePosixPath(word).suffix:
            raise UsageError(f"'{word}' names no file; end it with photo.png")


def write_to(word: str, data: bytes) -> None:
    """All bytes at once: an object store shows a file only when it is there whole. SrkitError where it cannot be."""
    import fsspec

    try:
        with fsspec.open(word, "wb") as file:
            file.write(data)
    except Exception as error:  # every file system raises its own
        raise SrkitError(f"'{word}' cannot be written: {one_line(error)}") from None
