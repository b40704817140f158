"""One picture and its options out of a request, counted while they come, into a private folder."""

import asyncio
import os
import shutil
import unicodedata
from collections.abc import AsyncGenerator
from pathlib import Path

from starlette.datastructures import FormData, UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser
from starlette.requests import ClientDisconnect, Request

from srkit_server.limits import Limits
from srkit_server.options import Options, shown

PICTURE = "picture"  # the part that holds it
FIELD = 4_000  # bytes of an option, at most
WORDS = 65_536  # bytes of all that is not the picture: options, boundaries, headers of parts
SILENCE = 20.0  # seconds without a byte
LONGEST = 600.0  # seconds for all of an upload
DRAINED = 2.0  # seconds that a refused client is listened to, so that it reads the answer
NAME = 120  # bytes of a file's name


class Refused(Exception):  # noqa: N818 - a state of things, not a fault
    """A request that is not served: an HTTP status, and one line for the client."""

    def __init__(self, status: int, line: str, headers: dict[str, str] | None = None):
        super().__init__(line)
        self.status, self.line, self.headers = status, line, headers or {}


async def received(request: Request, folder: Path, limits: Limits) -> tuple[Path, Options]:
    """(the picture's file in `folder`, the options). Raises Refused, UsageError, ClientDisconnect."""
    if request.headers.get("content-type", "").partition(";")[0].strip().lower() != "multipart/form-data":
        raise Refused(415, f"send multipart/form-data with a part '{PICTURE}' that is a file")
    parser = Form(
        request.headers,
        counted(request, limits.upload),
        max_files=1,
        max_fields=len(Options.model_fields),
        max_part_size=FIELD,
    )
    try:
        form = await parser.parse()
    except MultiPartException as error:
        raise Refused(400, f"this is no form of options and one file: {error.message}") from None
    except (LookupError, ValueError) as error:  # a charset or a header that is none
        raise Refused(400, f"this is no form of options and one file: {type(error).__name__}") from None
    try:
        upload = form.get(PICTURE)
        if not isinstance(upload, UploadFile):
            raise Refused(422, f"no file is sent as '{PICTURE}'")
        words: dict[str, str] = {}
        for key, value in form.multi_items():
            if key != PICTURE and not isinstance(value, str):
                raise Refused(422, f"'{shown(key)}' is a file; the picture is sent as '{PICTURE}'")
            if key in words or (key == PICTURE and value is not upload):
                raise Refused(422, f"'{shown(key)}' is sent twice")
            if key != PICTURE and value != "":  # an empty field of a form says nothing
                words[key] = str(value)
        options = Options.parse(words)
        path = folder / safe_name(upload.filename or "")
        await asyncio.to_thread(save, upload, path)
        if not path.stat().st_size:
            raise Refused(422, "the picture is empty")
        return path, options
    finally:
        await form.close()


class Form(MultiPartParser):
    """Starlette's, for which a body that is cut is a form of what came, its last file left open."""

    ended = False

    def on_end(self) -> None:
        self.ended = True

    async def parse(self) -> FormData:
        form = await super().parse()
        if self.ended:
            return form
        for file in self._files_to_close_on_error:
            file.close()
        raise MultiPartException("it is cut, its last boundary is missing")


def save(upload: UploadFile, path: Path) -> None:
    with open(path, "xb", opener=lambda name, flags: os.open(name, flags, 0o600)) as file:
        shutil.copyfileobj(upload.file, file)


async def counted(request: Request, most: int) -> AsyncGenerator[bytes, None]:
    """The body, piece by piece. Raises Refused for more bytes than may be, and for a client that does not go on."""
    said = request.headers.get("content-length", "")
    stream = request.stream()
    if said.isdigit() and int(said) > most + WORDS:
        await drain(stream)
        raise Refused(413, too_many(most))
    clock = asyncio.get_running_loop().time
    total, end = 0, clock() + LONGEST
    while True:
        try:
            piece = await asyncio.wait_for(anext(stream), max(0.0, min(SILENCE, end - clock())))
        except StopAsyncIteration:
            return
        except TimeoutError:
            raise Refused(408, "the picture came too slowly") from None
        total += len(piece)
        if total > most + WORDS:
            await drain(stream)
            raise Refused(413, too_many(most))
        yield piece


def too_many(most: int) -> str:
    return f"this server takes pictures of {most / 1e6:g} MB at most"


async def drain(stream: AsyncGenerator[bytes, None]) -> None:
    """Let what still comes pass for a moment: who is cut off while sending does not read the answer."""

    async def all_of_it() -> None:
        async for _ in stream:
            pass

    try:
        await asyncio.wait_for(all_of_it(), DRAINED)
    except (TimeoutError, ClientDisconnect):
        return


def safe_name(name: str) -> str:
    """The last part of a file's name, of letters, digits and `- _ .` only; `picture` where nothing is left."""
    last = unicodedata.normalize("NFC", name).replace("\\", "/").rpartition("/")[2]
    kept = "".join(c if c.isalnum() or c in "-_." else "_" for c in last).strip(".")
    stem, dot, suffix = kept.rpartition(".")
    if not stem:
        stem, dot, suffix = kept, "", ""
    room = NAME - len((dot + suffix).encode())
    if room < 1:
        return "picture"
    short = stem.encode()[:room].decode(errors="ignore")
    return f"{short}{dot}{suffix}" if short else "picture"
