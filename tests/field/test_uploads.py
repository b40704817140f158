"""Forms that end too early, or are not forms: refused in a line, and nothing of them stays open.

Kludex/starlette 3151, litestar-org/litestar 3835, pallets/quart 303, bottlepy/bottle 1206: uploads left open by forms
that were taken for whole, or refused half way.
"""

import asyncio
import tempfile

import pytest

pytest.importorskip("srkit_server")

from srkit_server.limits import Limits
from srkit_server.receive import Refused, received
from starlette import formparsers
from starlette.requests import Request

from srkit.errors import UsageError

FILE = b'--b\r\nContent-Disposition: form-data; name="%s"; filename="p.png"\r\n\r\n'
PICTURE, OTHER = FILE % b"picture", FILE % b"other"
OPTION = b'--b\r\nContent-Disposition: form-data; name="scale"\r\n\r\n'


@pytest.fixture
def opened(monkeypatch) -> list[tempfile.SpooledTemporaryFile]:
    """What the parser opens."""
    files: list[tempfile.SpooledTemporaryFile] = []

    class Kept(tempfile.SpooledTemporaryFile):
        def __init__(self, **options: int):
            super().__init__(**options)
            files.append(self)

    monkeypatch.setattr(formparsers, "SpooledTemporaryFile", Kept)
    return files


def send(folder, *pieces: bytes):
    async def receive():
        piece = next(coming, None)
        return {"type": "http.request", "body": piece or b"", "more_body": piece is not None}

    coming = iter(pieces)
    head = [(b"content-type", b"multipart/form-data; boundary=b")]
    return asyncio.run(received(Request({"type": "http", "headers": head}, receive), folder, Limits()))


@pytest.mark.parametrize(
    ("body", "says"),
    [
        (PICTURE, "it is cut"),
        (PICTURE + b"pixels", "it is cut"),
        (PICTURE + b"pixels\r\n--", "it is cut"),
        (PICTURE + b"x" * 2_000_000, "it is cut"),  # large enough to be on the disk
        (PICTURE + b"pixels\r\n" + OTHER, "Too many files"),
        (PICTURE + b"pixels\r\n" + OPTION + b"2\r\n" + OTHER[:40], "it is cut"),
        (PICTURE + b"pixels\r\n--bad", "this is no form"),
        (PICTURE + b"pixels\r\n" + OPTION + b"2\r\n", "it is cut"),
        (PICTURE + b"pixels\r\n--b\r\n", "it is cut"),
        (PICTURE + b"pixels\r\n--b-", "it is cut"),
        (OTHER + b"pixels\r\n--b--", "no file is sent as 'picture'"),
        (PICTURE + b"\r\n--b--", "the picture is empty"),
    ],
)
@pytest.mark.parametrize("at", [None, 7])
def test_a_form_that_is_cut_is_refused_and_leaves_nothing_open(tmp_path, opened, body, says, at):
    pieces = [body] if at is None else [*(body[i : i + at] for i in range(0, 210, at)), body[210:]]
    with pytest.raises((Refused, UsageError), match=says):
        send(tmp_path, *pieces)
    assert opened
    assert all(file.closed for file in opened)


def test_a_whole_form_is_taken_and_leaves_nothing_open(tmp_path, opened):
    path, options = send(tmp_path, PICTURE + b"pixels\r\n" + OPTION + b"2\r\n--b--\r\n")
    assert (path.read_bytes(), options.scale) == (b"pixels", 2)
    assert [file.closed for file in opened] == [True]
