"""An HTTP server on this machine that serves files as servers on the net do, well or badly."""

import hashlib
import io
import tarfile
import threading
import zipfile
from collections.abc import Iterator, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
import pytest
from PIL import Image


class Server(ThreadingHTTPServer):
    """What it serves and how; a test changes these as it likes.

    ranges: Range requests are honoured. validators: ETag and Last-Modified are sent. cuts: after so many bytes
    the connection is closed, one for each request to come, None for the whole. answers: status codes given
    instead of the file, one for each request to come. kind: the Content-Type. length: Content-Length is sent.
    """

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.files: dict[str, bytes] = {}
        self.ranges = self.validators = self.length = True
        self.weak = self.lies = False
        self.cuts: list[int | None] = []
        self.answers: list[int] = []
        self.kind = "application/octet-stream"
        self.seen: list[tuple[str, str | None, str | None]] = []  # (path, Range, If-Range)
        self.url = f"http://127.0.0.1:{self.server_address[1]}"


class Handler(BaseHTTPRequestHandler):
    server: Server

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - its name in the base class
        pass

    def do_GET(self) -> None:
        server = self.server
        wanted, condition = self.headers.get("Range"), self.headers.get("If-Range")
        server.seen.append((self.path, wanted, condition))
        if self.path.startswith("/moved/"):
            self.send_response(302)
            self.send_header("Location", self.path.removeprefix("/moved"))
            self.end_headers()
            return
        name = self.path.lstrip("/")
        code = server.answers.pop(0) if server.answers else 200 if name in server.files else 404
        if code != 200:
            self.send_error(code)
            return
        data = server.files[name]
        etag = f'"{hashlib.md5(data).hexdigest()}"'
        start = 0
        if wanted and server.ranges and condition in (None, etag):
            start = int(wanted.removeprefix("bytes=").rstrip("-"))
            if start >= len(data):
                self.send_error(416)
                return
            self.send_response(206)
            self.send_header("Content-Range", f"bytes {start - server.lies}-{len(data) - 1}/{len(data)}")
        else:
            self.send_response(200)
        if server.validators:
            self.send_header("ETag", ("W/" if server.weak else "") + etag)
        self.send_header("Content-Type", server.kind)
        if server.length:
            self.send_header("Content-Length", str(len(data) - start))
        self.end_headers()
        cut = server.cuts.pop(0) if server.cuts else None
        self.wfile.write(data[start:] if cut is None else data[start : start + cut])


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    monkeypatch.setattr("srkit.fetch.PAUSE", 0.001)
    with Server() as made:
        thread = threading.Thread(target=made.serve_forever, args=(0.01,))
        thread.start()
        yield made
        made.shutdown()
        thread.join()


def picture(seed: int, height: int = 24, width: int = 32) -> bytes:
    """A PNG of random pixels."""
    file = io.BytesIO()
    Image.fromarray(pixels(seed, height, width)).save(file, "PNG")
    return file.getvalue()


def pixels(seed: int, height: int = 24, width: int = 32) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def zipped(files: Mapping[str, bytes]) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return out.getvalue()


def tarred(files: Mapping[str, bytes | tarfile.TarInfo], mode: str = "w") -> bytes:
    """A TarInfo in place of the bytes is put in as it is: a link, a device."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode=mode) as archive:
        for name, data in files.items():
            info = data if isinstance(data, tarfile.TarInfo) else tarfile.TarInfo(name)
            info.size = 0 if isinstance(data, tarfile.TarInfo) else len(data)
            archive.addfile(info, None if isinstance(data, tarfile.TarInfo) else io.BytesIO(data))
    return out.getvalue()
