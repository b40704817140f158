"""Who may ask: the password, the names the server is called by, the pages that may send requests from a browser."""

import asyncio
import base64
import binascii
import hashlib
import hmac
import ipaddress
from collections.abc import Sequence
from urllib.parse import urlsplit

from starlette.datastructures import Headers
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Receive, Scope, Send

from srkit import UsageError

LEAST = 12  # characters of a password
HEADERS = 100  # of a request
WRONG = 1.0  # seconds that the answer to a wrong password takes
OPEN = ("/health",)  # paths that need no password: they say nothing but that the server lives


def is_loopback(host: str) -> bool:
    """Does an address, or `localhost`, mean this machine only?"""
    if host.lower() == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


def check_address(host: str, password: str) -> None:
    """UsageError for an address that others can reach without a password, and for a short password."""
    if password and len(password) < LEAST:
        raise UsageError(f"a password has at least {LEAST} characters; this one has {len(password)}")
    if not password and not is_loopback(host):
        raise UsageError(
            f"'{host}' can be reached by others: set the environment variable SRKIT_PASSWORD (or --password), of "
            f"{LEAST} characters at least, or leave out --host"
        )


def check_origin(origin: str) -> str:
    """`https://shop.example`, as browsers say it. UsageError for `*` and for anything else."""
    parts = urlsplit(origin)
    if parts.scheme not in ("http", "https") or not parts.netloc or parts.path.strip("/") or "*" in origin:
        raise UsageError(f"--origin '{origin}' is not the address of a site; write https://shop.example")
    return f"{parts.scheme}://{parts.netloc}".lower()


class Guard:
    """ASGI: passes on what may be asked, and answers the rest with one line of JSON.

    On a loopback address only loopback names, and `names`, are answered, so that a page whose name is made to mean this
    machine (DNS rebinding) reaches nothing. A browser's request from another site's page is answered for `origins`
    alone.
    """

    def __init__(
        self,
        app: ASGIApp,
        *,
        password: str = "",
        origins: Sequence[str] = (),
        names: Sequence[str] = (),
        loopback: bool = True,
    ):
        self.app, self.origins, self.loopback = app, frozenset(origins), loopback
        self.names = frozenset(name.lower() for name in names)
        self.digest = digest_of(password) if password else b""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        answer = self.objection(headers, str(scope["path"]))
        if answer is None:
            await self.app(scope, receive, send)
            return
        if answer.status_code == 401 and "authorization" in headers:
            await asyncio.sleep(WRONG)
        await answer(scope, receive, send)

    def objection(self, headers: Headers, path: str) -> JSONResponse | None:
        if len(headers) > HEADERS:
            return refusal(431, f"a request has at most {HEADERS} headers")
        host = headers.get("host", "")
        called = name_in(host)
        if self.loopback and not is_loopback(called) and called not in self.names:
            return refusal(421, "this server answers to localhost and 127.0.0.1; its --name gives it others")
        origin = headers.get("origin", "").lower()
        if origin and origin not in self.origins and urlsplit(origin).netloc != host.lower():
            return refusal(403, "pages of other sites may not ask; the server's --origin names those that may")
        if self.digest and path not in OPEN and not self.known(headers.get("authorization", "")):
            return refusal(401, "a password is needed", {"WWW-Authenticate": 'Basic realm="srkit", charset="UTF-8"'})
        return None

    def known(self, authorization: str) -> bool:
        """Is it HTTP basic with the password, whatever the user's name?"""
        kind, _, word = authorization.partition(" ")
        if kind.lower() != "basic":
            return False
        try:
            given = base64.b64decode(word.strip(), validate=True).decode()
        except (binascii.Error, ValueError):
            return False
        return hmac.compare_digest(digest_of(given.partition(":")[2]), self.digest)


def digest_of(password: str) -> bytes:
    """Of one length for all passwords, so that comparing takes one time."""
    return hashlib.sha256(password.encode()).digest()


def name_in(host: str) -> str:
    """`localhost` of `localhost:8000`, `[::1]` of `[::1]:8000`; empty where it is none."""
    try:
        return urlsplit(f"//{host}").hostname or ""
    except ValueError:
        return ""


def refusal(status: int, line: str, headers: dict[str, str] | None = None) -> JSONResponse:
    return JSONResponse({"error": line}, status, {"Connection": "close"} | (headers or {}))
