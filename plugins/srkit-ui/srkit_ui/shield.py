"""What a browser may ask of the page's server, and what the page may load: nothing that lies on other machines.

Gradio has more roads than this page uses: uploads into its own folder, files by path, a proxy, addresses in a request
that it fetches. Only those that the page needs are open.
"""

import json
import re
from collections.abc import Iterable
from typing import Any

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

OWN = r"/(page\.js|pictures(/[\w-]+)?|results/[\w-]+|looks/[\w-]+/\w+|pages/[\w-]+|report|health)"
GRADIOS = (
    r"/(|config|theme\.css|favicon\.ico|robots\.txt|assets/[\w./-]+|static/[\w./-]+)"
    r"|/gradio_api/(info|startup-events|theme\.css|run/predict|queue/(join|data)|cancel|reset|heartbeat/[\w-]+)"
)
ALLOWED = re.compile(rf"{OWN}|{GRADIOS}")
BODY = 256_000  # bytes of a request that is no picture
UPLOAD = "/pictures"
POLICY = (
    "default-src 'self'; script-src 'self' 'unsafe-inline' 'unsafe-eval'; style-src 'self' 'unsafe-inline'; "
    "img-src 'self' blob: data:; font-src 'self' data:; connect-src 'self'; frame-src 'self'; object-src 'none'; "
    "base-uri 'self'; form-action 'none'; frame-ancestors {ancestors}"
)
#: Gradio's page as it is sent names pictures and sites of others; none is needed
META = re.compile(rb'<meta\s[^>]*?(property="og:|name="twitter:)[^>]*>|<link\s[^>]*?(preconnect|manifest)[^>]*>', re.S)


class Shield:
    """ASGI: open are the addresses of `ALLOWED`. ancestors: who may show the page in a frame, for a Space."""

    def __init__(self, app: ASGIApp, *, ancestors: str = "'none'"):
        self.app, self.policy = app, POLICY.format(ancestors=ancestors)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        path, method = str(scope["path"]), str(scope["method"])
        if not ALLOWED.fullmatch(path):
            await JSONResponse({"error": "there is nothing here"}, 404)(scope, receive, send)
            return
        if method not in ("GET", "HEAD") and path != UPLOAD:
            body = await read(receive)
            if body is None or not harmless(body, Headers(scope=scope)):
                await JSONResponse({"error": "this page does not ask that"}, 400)(scope, receive, send)
                return
            receive = again(body, receive)
        await self.app(scope, receive, Answer(send, self.policy if path == "/" else "", page=path == "/"))


class Answer:
    """Sends a response with the headers that every one of them has; the page itself without foreign addresses."""

    def __init__(self, send: Send, policy: str, *, page: bool):
        self.send, self.policy, self.page = send, policy, page
        self.start: Message = {}
        self.body = b""

    async def __call__(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = MutableHeaders(scope=message)
            headers["X-Content-Type-Options"] = "nosniff"
            headers["Referrer-Policy"] = "no-referrer"
            headers["Cross-Origin-Resource-Policy"] = "same-origin"
            if self.policy:
                headers["Content-Security-Policy"] = self.policy
            if self.page:
                self.start = message
                return
        elif self.page:
            self.body += message.get("body", b"")
            if message.get("more_body"):
                return
            self.body = META.sub(b"", self.body)
            headers = MutableHeaders(scope=self.start)
            if "content-length" in headers:
                headers["content-length"] = str(len(self.body))
            await self.send(self.start)
            message = {"type": "http.response.body", "body": self.body}
        await self.send(message)


async def read(receive: Receive) -> bytes | None:
    """The body of a request; None where it has more than `BODY` bytes, or its sender is gone."""
    body = b""
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            return None
        body += message.get("body", b"")
        if len(body) > BODY:
            return None
        if not message.get("more_body"):
            return body


def again(body: bytes, receive: Receive) -> Receive:
    """`receive` with a body that was read already before what comes."""
    given = False

    async def first() -> Message:
        nonlocal given
        if given:
            return await receive()
        given = True
        return {"type": "http.request", "body": body, "more_body": False}

    return first


def harmless(body: bytes, headers: Headers) -> bool:
    """Is it JSON, sent by a script of this page, that names no file? Gradio would open or fetch what is named so."""
    if not body:
        return True
    if headers.get("content-type", "").partition(";")[0].strip().lower() != "application/json":
        return False
    try:
        return not any("path" in found or "meta" in found for found in objects(json.loads(body)))
    except (ValueError, RecursionError):
        return False


def objects(value: Any) -> Iterable[dict[str, Any]]:
    """All objects in a value of JSON."""
    waiting = [value]
    while waiting:
        each = waiting.pop()
        if isinstance(each, dict):
            yield each
            waiting += each.values()
        elif isinstance(each, list):
            waiting += each
