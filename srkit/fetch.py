"""Download a file: resumed where it broke off, checked, and under its name only when it is whole.

`pooch` does not resume. Its HTTPDownloader truncates the file and requests all of it, also for each retry, so an
archive of several GB starts from zero whenever the connection breaks or the user stops. This module needs:

- the rest alone (Range), of the same version of the file (If-Range with a strong ETag or the date of the first answer,
  and ETag, date and size of the second answer compared with the first), in this run or a later one;
- retries that count only attempts which brought nothing new, and none for errors that will not change;
- checks before the first byte: the announced size, the free space on the disk, a web page in place of the file;
- a lock, so that two programs do not write one partial file;
- progress as a function of bytes done and bytes in all, from the resumed byte on (pooch: tqdm, or its interface).
"""

import hashlib
import http.client
import json
import os
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any
from urllib.error import HTTPError, URLError
from urllib.parse import urlsplit
from urllib.request import Request, urlopen

from rich.filesize import decimal

from srkit.errors import ChecksumError, FetchError, SrkitError, UsageError, one_line
from srkit.files import lock_of, locked, write_atomically

CHUNK = 1 << 20
TRIES = 5  # in a row that bring nothing new
PAUSE = 1.0  # seconds before the second try, doubled before each further one
TIMEOUT = 30.0  # seconds without a byte
BUSY = (408, 425, 429, 500, 502, 503, 504)  # answers that may be others in a moment
BytesDone = Callable[[int, int | None], None]


def fetch(
    url: str,
    path: Path,
    *,
    sha256: str = "",
    size: int | None = None,
    anew: bool = False,
    progress: BytesDone = lambda done, total: None,
) -> str:
    """Download `url` to `path`, going on with what an earlier try left; the SHA-256 of the file.

    A file that is at `path` already and fits `size` and `sha256` is left as it is. While incomplete it is
    called `path.part`; a `path.part.json` beside that keeps which version of the file it is, so that two
    versions are never joined. `progress(done, total)` is given bytes, total None where the server does not
    say. Proxies as in urllib.

    anew: the server is asked whatever is at `path`, which is replaced when the new file is whole; only what an
    interrupted call with `anew` left is gone on with.

    Raises FetchError where it cannot be had, ChecksumError where size or SHA-256 are not those expected,
    SrkitError where it cannot be written.
    """
    if urlsplit(url).scheme not in ("http", "https") or not urlsplit(url).netloc:
        raise UsageError(f"'{url}' is not an http(s) address")
    if not anew and path.is_file() and size in (None, path.stat().st_size):
        there = file_sha256(path)
        if sha256 in ("", there):
            return there
    partial = path.with_name(f"{path.name}.part")
    with writing(partial):
        partial.parent.mkdir(parents=True, exist_ok=True)
    busy = f"'{partial}' is being fetched by another program"
    with locked(lock_of(partial), wait=False, busy=busy), Partial(partial, url, anew) as part:
        resumed = part.done > 0
        receive_all(part, size, sha256, progress)
        if resumed and sha256 not in ("", part.digest.hexdigest()):
            part.restart()  # what an earlier try left was bad
            receive_all(part, size, sha256, progress)
        got = part.digest.hexdigest()
        if sha256 not in ("", got):
            part.restart()
            raise ChecksumError(f"'{url}' has the SHA-256 {got}, not {sha256}")
        part.rename(path)
        return got


def file_sha256(path: Path) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@contextmanager
def writing(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise SrkitError(f"cannot write '{path}': {one_line(error)}") from None


class Partial:
    """The file while it is incomplete: its bytes, how many, their digest, and which version they are of."""

    def __init__(self, path: Path, url: str, anew: bool = False):
        self.path, self.url, self.anew = path, url, anew
        self.sidecar = path.with_name(f"{path.name}.json")
        self.about: dict[str, Any] = {}
        self.digest, self.done = hashlib.sha256(), 0

    def __enter__(self) -> "Partial":
        with writing(self.path):
            self.file = open(self.path, "a+b")
        try:
            with suppress(OSError, ValueError):
                about = json.loads(self.sidecar.read_text())
                self.about = about if about["url"] == self.url else {}
            self.file.seek(0)
            while chunk := self.file.read(CHUNK):
                self.digest.update(chunk)
                self.done += len(chunk)
            if self.anew and (not self.about.get("anew") or self.done == self.about.get("total")):
                self.restart()
        except BaseException:
            self.file.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        with suppress(OSError):  # a full disk, which was reported already
            self.file.close()
        if not self.done:
            self.path.unlink(missing_ok=True)
            self.sidecar.unlink(missing_ok=True)

    @property
    def validator(self) -> str:
        """What identifies this version for the server: a strong ETag, else the date; empty if it gave neither."""
        etag = self.about.get("etag") or ""
        return etag if etag.startswith('"') else self.about.get("modified") or ""

    def restart(self) -> None:
        with writing(self.path):
            self.file.truncate(0)
        self.digest, self.done, self.about = hashlib.sha256(), 0, {}

    def begin(self, response: Any, total: int | None) -> None:
        """Remember the version that is being received."""
        self.about = {
            "url": self.url,
            "etag": response.headers.get("ETag"),
            "total": total,
            "modified": response.headers.get("Last-Modified"),
            "anew": self.anew,
        }
        with writing(self.sidecar):
            write_atomically(self.sidecar, lambda file: file.write(json.dumps(self.about).encode()))

    def add(self, chunk: bytes) -> None:
        with writing(self.path):
            self.file.write(chunk)
        self.digest.update(chunk)
        self.done += len(chunk)

    def rename(self, path: Path) -> None:
        with writing(path):
            self.file.flush()
            os.fsync(self.file.fileno())
            self.file.close()
            os.replace(self.path, path)
            self.sidecar.unlink(missing_ok=True)


def receive_all(part: Partial, size: int | None, sha256: str, progress: BytesDone) -> None:
    """Receive until the whole file is there; try again where the connection breaks."""
    if part.done and part.done == part.about.get("total"):
        return
    failures, furthest, answered = 0, part.done, False
    while True:
        try:
            receive(part, size, sha256, progress)
            return
        except (OSError, http.client.HTTPException) as error:
            if part.done > furthest:
                failures, furthest, answered = 0, part.done, True
            failures += 1
            if isinstance(error, HTTPError):
                again = error.code in BUSY
            else:  # a server that was never reached is not tried again; one that broke off is
                again = answered or not isinstance(error, URLError | http.client.InvalidURL)
            if failures >= TRIES or not again:
                raise FetchError(told(error, part)) from None
            time.sleep(PAUSE * 2 ** (failures - 1))


def receive(part: Partial, size: int | None, sha256: str, progress: BytesDone) -> None:
    """One request, for what is still missing. Raises ConnectionError where less came than was announced."""
    if part.done and not part.validator and not sha256:
        part.restart()  # nothing identifies the version, so the rest may be of another file
    headers = {"User-Agent": "srkit", "Accept-Encoding": "identity"}
    if part.done:
        headers["Range"] = f"bytes={part.done}-"
        if part.validator:
            headers["If-Range"] = part.validator
    try:
        response = urlopen(Request(part.url, headers=headers), timeout=TIMEOUT)
    except HTTPError as error:
        if error.code != 416 or not part.done:
            raise
        error.close()
        part.restart()
        return receive(part, size, sha256, progress)
    with response:
        start, total = extent(part, response)
        if start is None:
            part.restart()
            return receive(part, size, sha256, progress)
        check_answer(part, response, start, total, size)
        if part.done > start:
            part.restart()
        part.begin(response, total)
        progress(part.done, total)
        while chunk := response.read1(CHUNK):
            part.add(chunk)
            progress(part.done, total)
    expected = size if total is None else total
    if expected is not None and part.done < expected:
        raise ConnectionError(f"{part.done:,} of {expected:,} bytes came")
    if size is not None and part.done != size:
        wrong_size(part, part.done, size)
    return None


def extent(part: Partial, response: Any) -> tuple[int | None, int | None]:
    """(first byte, size of the whole or None) of what is sent; None where it is not what was asked for."""
    announced = response.headers.get("Content-Length")
    if response.status != 206:  # the server ignores ranges, or the file has changed: it sends the whole
        return 0, int(announced) if announced else None
    start, total = content_range(response.headers.get("Content-Range", ""))
    named = {"etag": response.headers.get("ETag"), "modified": response.headers.get("Last-Modified"), "total": total}
    same = all(part.about.get(key) in (None, value) for key, value in named.items() if value is not None)
    return (start, total) if same and start == part.done else (None, None)


def content_range(text: str) -> tuple[int, int | None]:
    """(first byte, size of the whole) of `bytes 100-199/1000`; -1 where it cannot be read."""
    try:
        unit, _, rest = text.partition(" ")
        span, _, total = rest.partition("/")
        return (int(span.partition("-")[0]) if unit == "bytes" else -1), (None if total == "*" else int(total))
    except ValueError:
        return -1, None


def check_answer(part: Partial, response: Any, start: int, total: int | None, size: int | None) -> None:
    """Before anything is received: is it the file, and is there enough free space?"""
    if response.headers.get_content_type() == "text/html":
        raise FetchError(f"'{part.url}' answers with a web page, not with the file; look at it in a browser")
    if size is not None and total not in (None, size):
        wrong_size(part, total or 0, size)
    missing = (total or size or 0) - start
    if missing > (free := shutil.disk_usage(part.path.parent).free):
        raise SrkitError(
            f"'{part.path.parent}' has {decimal(free)} free, and '{part.path.stem}' needs {decimal(missing)} more"
        )


def wrong_size(part: Partial, got: int, size: int) -> None:
    part.restart()
    raise ChecksumError(f"'{part.url}' has {got:,} bytes, not {size:,}")


def told(error: Exception, part: Partial) -> str:
    """Why it cannot be had, in one line with the URL, and what is kept."""
    if isinstance(error, HTTPError):
        text = f"'{part.url}' answers {error.code} {error.reason}".rstrip()
    elif isinstance(error, URLError):
        reason = getattr(error.reason, "strerror", None) or error.reason
        text = f"'{urlsplit(part.url).netloc}' cannot be reached ({reason}): {part.url}"
    else:
        text = f"the connection broke {TRIES} times ({one_line(error)}): {part.url}"
    return f"{text}; {decimal(part.done)} of it are kept in '{part.path}'" if part.done else text
