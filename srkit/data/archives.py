"""Published archives: where they go, which are there, download, and safe unpacking."""

import json
import os
import posixpath
import shutil
import stat
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from lzma import LZMAError
from pathlib import Path, PurePosixPath
from typing import IO, Any

from rich.filesize import decimal

from srkit.components import Archive
from srkit.errors import DataError, SrkitError, one_line
from srkit.fetch import CHUNK, BytesDone, fetch
from srkit.files import write_atomically
from srkit.images import list_images, readable_suffixes

RECORD = "checksums.json"


LARGEST_RATIO, ALLOWANCE = 50, 100_000_000  # unpacked bytes: at most 50 per byte of the archive, and 100 MB


def place_of(archive: Archive, root: Path) -> Path:
    """The folder an archive is unpacked in: root, or its own below it, unless root is that already."""
    return root if not archive.into or root.name.lower() == archive.into.lower() else root / archive.into


def is_there(archive: Archive, root: Path) -> bool:
    """Are all its pictures there, unpacked by srkit or put there by hand?"""
    place = place_of(archive, root)
    unpacked = read_record(place).get(archive.file, {}).get("pictures", {})
    needed = {folder: unpacked.get(folder, least) for folder, least in archive.folders.items()}
    return any(needed.values()) and all(
        len(list_images(place / folder)) >= least for folder, least in needed.items() if least
    )


def url_of(archive: Archive, mirror: str = "") -> str:
    """Its address, or that of the file of the same name at a mirror."""
    return f"{mirror.rstrip('/')}/{archive.file}" if mirror else archive.url


def fetch_archive(
    archive: Archive,
    root: Path,
    *,
    mirror: str = "",
    force: bool = False,
    progress: Callable[[str], BytesDone] = lambda what: lambda done, total: None,
) -> dict[str, int]:
    """Download one archive, unpack it, remember its checksum, remove it; the pictures in each of its folders.

    `progress("fetching")` and `progress("unpacking")` return functions that are given the bytes done and in all.
    force: download again, and accept it even where size, SHA-256 or number of pictures are not those expected.

    Raises FetchError (what has arrived is kept, the next call continues), ChecksumError, SrkitError where it cannot be
    written, or DataError for an archive that is broken, tries to write outside its folder, or has fewer
    pictures than it should.
    """
    place = place_of(archive, root)
    path = place / archive.file
    known = {} if force else read_record(place).get(archive.file, {})
    sha256 = "" if force else archive.sha256 or known.get("sha256", "")
    size = None if force else archive.size or known.get("size")
    sha256 = fetch(url_of(archive, mirror), path, sha256=sha256, size=size, anew=force, progress=progress("fetching"))
    size = path.stat().st_size
    try:
        least = dict.fromkeys(archive.folders, 0) if force else archive.folders
        pictures = unpack(path, place, least, progress("unpacking"))
        about = {"url": url_of(archive, mirror), "size": size, "sha256": sha256, "pictures": pictures}
        text = json.dumps({**read_record(place), archive.file: about}, indent=2) + "\n"
        write_atomically(place / RECORD, lambda file: file.write(text.encode()))
        path.unlink()
    except DataError as error:
        raise DataError(f"{error}; it is kept; --force downloads it again") from None
    except OSError as error:
        raise SrkitError(f"cannot unpack '{path}': {one_line(error)}") from None
    return pictures


def read_record(place: Path) -> dict[str, Any]:
    """What was fetched into a folder: for each archive its url, size, sha256 and pictures."""
    with suppress(OSError, ValueError):
        record = json.loads((place / RECORD).read_text())
        return {name: about for name, about in record.items() if isinstance(about, dict)}
    return {}


def unpack(
    path: Path, place: Path, folders: Mapping[str, int], progress: BytesDone = lambda done, total: None
) -> dict[str, int]:
    """Unpack the pictures below `folders` into `place`; how many each has.

    All of it or nothing: it is unpacked to a temporary folder first. DataError for an archive that is broken,
    has a path or a link that leads out, is larger unpacked than a picture archive can be, or has fewer
    pictures in a folder than its least number.
    """
    size = path.stat().st_size
    limit = LARGEST_RATIO * size + ALLOWANCE
    temporary = place / f".{path.name}.{os.getpid()}.unpacking"
    seen: set[str] = set()
    written = 0
    try:
        for member in members(path):
            parts = safe_parts(path, member.name)
            seen.add("/".join(parts[:-1]))
            if not is_wanted(parts, folders):
                continue
            written += member.size
            if written > limit:
                raise DataError(f"'{path}' is refused: it would unpack to more than {decimal(limit)}")
            target = temporary.joinpath(*parts)
            target.parent.mkdir(parents=True, exist_ok=True)
            copy(member, target)
            progress(member.at, size)
        found = {folder: len(list_images(temporary / folder)) for folder in folders}
        for folder, least in folders.items():
            if found[folder] < least or not any(found.values()):
                holds = ", ".join(sorted(seen)[:6]) or "nothing"
                raise DataError(
                    f"'{path}' has {found[folder]} pictures in '{folder}', where {least or 'some'} should be;"
                    f" its folders are {holds}"
                )
        for folder in folders:
            move_pictures(temporary / folder, place / folder)
        if hasattr(os, "sync"):
            os.sync()  # the archive is removed next, so its pictures must have reached the disk
        return found
    except (
        zipfile.BadZipFile,
        tarfile.TarError,
        zlib.error,
        LZMAError,
        EOFError,
        RuntimeError,
        NotImplementedError,
        UnicodeError,
        FileExistsError,
    ) as error:
        raise DataError(f"'{path}' cannot be unpacked: {one_line(error)}") from None
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


@dataclass(frozen=True)
class Member:
    """A file in an archive. at: how many bytes of the archive were read so far."""

    name: str
    size: int
    open: Callable[[], IO[bytes] | None]
    at: int


def members(path: Path) -> Iterator[Member]:
    """The plain files of a zip or tar archive. DataError for another file, or a link that leads out."""
    with open(path, "rb") as raw:
        if raw.read(4) in (b"PK\x03\x04", b"PK\x05\x06"):
            yield from zip_members(path, raw)
            return
        raw.seek(0)
        if not tarfile.is_tarfile(raw):
            raise DataError(f"'{path}' is neither a zip nor a tar file")
        raw.seek(0)
        with tarfile.open(fileobj=raw, mode="r:*") as archive:
            yield from tar_members(path, raw, archive)


def zip_members(path: Path, raw: IO[bytes]) -> Iterator[Member]:
    with zipfile.ZipFile(raw) as archive:
        for info in archive.infolist():
            kind = stat.S_IFMT(info.external_attr >> 16)
            if kind not in (0, stat.S_IFREG, stat.S_IFDIR):
                raise DataError(f"'{path}' is refused: '{info.filename}' in it is not a plain file")
            if not info.is_dir():
                yield Member(info.filename, info.file_size, partial(archive.open, info), info.header_offset)


def tar_members(path: Path, raw: IO[bytes], archive: tarfile.TarFile) -> Iterator[Member]:
    for info in archive:
        safe_parts(path, info.name)
        if info.issym():
            safe_parts(path, posixpath.normpath(posixpath.join(posixpath.dirname(info.name), info.linkname)))
        elif info.islnk():
            safe_parts(path, info.linkname)
        elif info.issparse() or not (info.isreg() or info.isdir()):
            raise DataError(f"'{path}' is refused: '{info.name}' in it is not a plain file")
        elif info.isreg():  # links are never made, even those that stay inside
            yield Member(info.name, info.size, partial(archive.extractfile, info), raw.tell())


def safe_parts(path: Path, name: str) -> tuple[str, ...]:
    """The parts of a member's path. DataError where it leads out of the folder it is unpacked in."""
    plain = name.replace("\\", "/")
    parts = PurePosixPath(plain).parts
    if plain.startswith("/") or ".." in parts or any(":" in part or "\0" in part for part in parts):
        raise DataError(f"'{path}' is refused: '{name}' in it leads out of its folder")
    return parts


def is_wanted(parts: tuple[str, ...], folders: Mapping[str, int]) -> bool:
    name = PurePosixPath(*parts)
    hidden = any(part.startswith(".") or part == "__MACOSX" for part in parts)
    return (
        not hidden
        and name.suffix.lower() in readable_suffixes()
        and any(name.is_relative_to(folder) for folder in folders)
    )


def copy(member: Member, target: Path) -> None:
    """Write one file, never more than the archive declares for it."""
    written = 0
    source = member.open()
    if source is None:
        raise EOFError(f"'{member.name}' cannot be read")
    with source, open(target, "xb") as file:
        while chunk := source.read(min(CHUNK, member.size - written + 1)):
            written += len(chunk)
            if written > member.size:
                break
            file.write(chunk)
    if written != member.size:
        raise EOFError(f"'{member.name}' is not as long as it should be")


def move_pictures(source: Path, target: Path) -> None:
    """Rename the folder, or where there is one already its pictures; what else is there stays."""
    if not source.is_dir():
        return
    target.parent.mkdir(parents=True, exist_ok=True)
    if not target.exists():
        source.rename(target)
        return
    for file in list_images(source):
        place = target / file.relative_to(source)
        place.parent.mkdir(parents=True, exist_ok=True)
        shutil.move(file, place)  # the folder may be a link to another disk
