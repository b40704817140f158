"""The addresses of the server and what they answer: the file of a picture, its plan, a job of the queue, the models."""

import asyncio
import json
import logging
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import quote

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.middleware.cors import CORSMiddleware
from starlette.requests import ClientDisconnect, Request
from starlette.responses import FileResponse, HTMLResponse, JSONResponse, Response
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

import srkit
from srkit_server.guard import Guard
from srkit_server.jobs import Full, Job, Jobs, TimedOut, TooLarge, unforeseen
from srkit_server.options import Options
from srkit_server.page import documented, html
from srkit_server.receive import Refused, received

LOG = logging.getLogger(__name__)

RETRY = 20  # seconds until one who found the queue full may come again
SENDING = 16  # pictures that may be received at a time
TAKEN = 900.0  # seconds for reading an answer
CLOSED = 499  # a status for nobody: the client has gone
TYPES = {".tif": "image/tiff", ".jpg": "image/jpeg", ".png": "image/png", ".webp": "image/webp", ".bmp": "image/bmp",
         ".avif": "image/avif", ".jp2": "image/jp2"}  # fmt: skip
STATUS: tuple[tuple[type[srkit.SrkitError], int], ...] = (
    (TooLarge, 413),
    (Full, 503),
    (TimedOut, 504),
    (srkit.Cancelled, 503),
    (srkit.ImageError, 415),
    (srkit.UsageError, 422),
    (srkit.SrkitError, 500),
)
TOLD = ("Srkit-Model", "Srkit-Licence", "Srkit-Weights", "Srkit-Runtime", "Srkit-Size", "Srkit-Seconds", "Srkit-Waited",
        "Srkit-Notices")  # fmt: skip
POLICY = "default-src 'none'; style-src 'unsafe-inline'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"


def make_app(
    jobs: Jobs,
    *,
    password: str = "",
    origins: Sequence[str] = (),
    names: Sequence[str] = (),
    loopback: bool = True,
) -> Starlette:
    """An ASGI application. password: empty for none. origins: sites whose pages may ask from a browser. names: further
    ones that the server is called by.

    loopback: whether the server is on an address that only this machine reaches. `jobs` is closed when it shuts down.
    """
    middleware = [Middleware(Guard, password=password, origins=origins, names=names, loopback=loopback)]
    if origins:
        cors: Any = Middleware(
            CORSMiddleware,
            allow_origins=list(origins),
            allow_methods=["GET", "POST", "DELETE"],
            allow_headers=["authorization"],
            expose_headers=[*TOLD, "Content-Disposition"],
        )
        middleware.insert(0, cors)

    @asynccontextmanager
    async def life(app: Starlette) -> AsyncIterator[None]:
        yield
        await asyncio.to_thread(jobs.close)

    app = Starlette(
        routes=[
            Route("/", page),
            Route("/openapi.json", openapi),
            Route("/health", health),
            Route("/models", models),
            Route("/upscale", upscale, methods=["POST"]),
            Route("/plan", plan, methods=["POST"]),
            Route("/jobs", begin, methods=["POST"]),
            Route("/jobs/{number}", progress, methods=["GET"]),
            Route("/jobs/{number}", cancel, methods=["DELETE"]),
            Route("/jobs/{number}/result", result),
        ],
        middleware=middleware,
        exception_handlers={
            Refused: refused,
            srkit.SrkitError: failed,
            ClientDisconnect: gone,
            HTTPException: not_there,
            Exception: unexpected,
        },
        lifespan=life,
    )
    app.state.jobs = jobs
    app.state.sending = 0
    return app


# --- what is asked ---


async def page(request: Request) -> Response:
    return HTMLResponse(html(jobs_of(request)), headers={"Content-Security-Policy": POLICY})


async def openapi(request: Request) -> Response:
    return JSONResponse(documented(jobs_of(request)))


async def health(request: Request) -> Response:
    alive = jobs_of(request).alive
    return JSONResponse({"status": "ok" if alive else "the worker has ended"}, 200 if alive else 500)


async def models(request: Request) -> Response:
    found = jobs_of(request).models.values()
    return JSONResponse(
        [
            {
                "name": model.name, "scales": model.scales, "licence": model.licence, "trained_on": model.trained_on,
                "summary": model.summary, "paper": model.paper, "network": model.trainable,
            }
            for model in found
        ]
    )  # fmt: skip


async def upscale(request: Request) -> Response:
    """The file; a client that goes away cancels its job."""
    jobs = jobs_of(request)
    job = await submitted(request)
    try:
        there = await ended(request, job)
    except BaseException:
        await asyncio.to_thread(jobs.forget, job)
        raise
    if not there or job.result is None:
        await asyncio.to_thread(jobs.forget, job)
        return Response(status_code=CLOSED) if not there else answer_for(job.error)
    return file_of(jobs, job, forget=True)


async def plan(request: Request) -> Response:
    """What would be made; nothing is kept."""
    jobs = jobs_of(request)
    folder = await asyncio.to_thread(jobs.new_folder)
    try:
        source, options = await taken(request, folder)
        found = await asyncio.to_thread(jobs.plan, source, options)
    finally:
        await asyncio.to_thread(jobs.drop, folder)
    return JSONResponse(plan_of(found))


async def begin(request: Request) -> Response:
    job = await submitted(request)
    return JSONResponse(state_of(jobs_of(request), job), 202, {"Location": f"/jobs/{job.id}"})


async def progress(request: Request) -> Response:
    return JSONResponse(state_of(jobs_of(request), found_job(request)))


async def cancel(request: Request) -> Response:
    await asyncio.to_thread(jobs_of(request).forget, found_job(request))
    return Response(status_code=204)


async def result(request: Request) -> Response:
    job = found_job(request)
    if not job.ended:
        raise Refused(409, "it is not made yet")
    return answer_for(job.error) if job.result is None else file_of(jobs_of(request), job)


# --- what they share ---


def jobs_of(request: Request) -> Jobs:
    jobs: Jobs = request.app.state.jobs
    return jobs


def found_job(request: Request) -> Job:
    job = jobs_of(request).find(str(request.path_params["number"]))
    if job is None:
        raise Refused(404, "there is no such job; the files of one that ended are deleted after a while")
    return job


async def taken(request: Request, folder: Path) -> tuple[Path, Options]:
    """(picture, options), of no more than `SENDING` clients at a time."""
    state: Any = request.app.state
    if state.sending >= SENDING:
        raise Full(f"{SENDING} pictures are being sent, as many as may; come again later")
    state.sending += 1
    try:
        return await received(request, folder, state.jobs.limits)
    finally:
        state.sending -= 1


async def submitted(request: Request) -> Job:
    jobs = jobs_of(request)
    jobs.check_place()  # before anything is received
    folder = await asyncio.to_thread(jobs.new_folder)
    try:
        source, options = await taken(request, folder)
        return await asyncio.to_thread(jobs.submit, source, options)
    except BaseException:
        jobs.drop(folder)
        raise


async def ended(request: Request, job: Job) -> bool:
    """Wait for a job; False where the client goes away before."""
    loop, over = asyncio.get_running_loop(), asyncio.Event()

    async def left() -> None:
        while (await request.receive())["type"] != "http.disconnect":
            pass

    job.when_ended(lambda: loop.call_soon_threadsafe(over.set))
    tasks = [asyncio.create_task(over.wait()), asyncio.create_task(left())]
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task
    return over.is_set()


def state_of(jobs: Jobs, job: Job) -> dict[str, Any]:
    """Of a job, for a client."""
    return {
        "id": job.id,
        "state": job.state,
        "place": jobs.place(job),
        "share": round(job.share, 4),
        "left": None if job.left is None else round(job.left, 1),
        "notices": job.notices,
        "error": None if job.error is None else str(job.error),
        "plan": None if job.plan is None else plan_of(job.plan),
    }


def plan_of(plan: srkit.FilePlan) -> dict[str, Any]:
    return {
        "source": plan.source, "size": plan.size, "chain": plan.chain, "models": plan.models, "depth": plan.depth,
        "dpi": plan.dpi, "tiles": plan.tiles, "seconds": plan.seconds, "notices": plan.notices,
    }  # fmt: skip


class Sent(FileResponse):
    """A file, sent in `TAKEN` seconds or not at all: who does not read does not keep a connection. Then `after()`."""

    after: Callable[[], object] = staticmethod(lambda: None)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            with suppress(TimeoutError, OSError):  # what is not complete is closed
                async with asyncio.timeout(TAKEN):
                    await super().__call__(scope, receive, send)
        finally:
            await asyncio.to_thread(self.after)


def file_of(jobs: Jobs, job: Job, *, forget: bool = False) -> Response:
    """The bytes, with headers that say what made them. forget: delete them when they are sent."""
    assert job.result is not None
    kind = TYPES.get(job.result.suffix, "application/octet-stream")
    headers = told(jobs, job) | {"Content-Disposition": attached(job.result.name)}
    answer = Sent(job.result, headers=headers, media_type=kind)
    if forget:
        answer.after = partial(jobs.forget, job)
    return answer


def attached(name: str) -> str:
    """A file's name for every client: in ASCII for the older ones. It has no quotes, as `safe_name` left none."""
    plain = name.encode("ascii", "replace").decode().replace("?", "_")
    return f"attachment; filename=\"{plain}\"; filename*=utf-8''{quote(name)}"


def told(jobs: Jobs, job: Job) -> dict[str, str]:
    """What is said of a result beside it; notices as a JSON list of ASCII."""
    assert job.plan is not None
    used = job.plan.models
    names = [f"{model['name']} {scale}" for scale, model in used.items()] or [job.options.model or "none"]
    known = [jobs.models.get(model["name"].rstrip("+")) for model in used.values()]
    licences = dict.fromkeys(model.licence for model in known if model is not None and model.licence)
    values = {
        "Srkit-Model": ", ".join(names),
        "Srkit-Licence": ", ".join(licences),
        "Srkit-Weights": ", ".join(model["weights_sha256"] for model in used.values()),
        "Srkit-Runtime": job.runtime,
        "Srkit-Size": "x".join(map(str, job.plan.size)),
        "Srkit-Seconds": f"{job.seconds:.3f}",
        "Srkit-Waited": f"{job.waited:.3f}",
        "Srkit-Notices": json.dumps(job.notices) if job.notices else "",
    }
    return {key: ascii_of(value) for key, value in values.items() if value} | {"X-Content-Type-Options": "nosniff"}


def ascii_of(value: str) -> str:
    """What a header may hold."""
    return value.encode("ascii", "backslashreplace").decode()


# --- what goes wrong ---


def answer_for(error: srkit.SrkitError | None) -> Response:
    status = next((status for kind, status in STATUS if isinstance(error, kind)), 500)
    headers = {"Retry-After": str(RETRY)} if status == 503 else {}
    return JSONResponse({"error": str(error)}, status, headers)


async def failed(request: Request, error: Exception) -> Response:
    assert isinstance(error, srkit.SrkitError)
    return answer_for(error)


async def refused(request: Request, error: Exception) -> Response:
    assert isinstance(error, Refused)
    return JSONResponse({"error": error.line}, error.status, {"Connection": "close"} | error.headers)


async def gone(request: Request, error: Exception) -> Response:
    return Response(status_code=CLOSED)


async def not_there(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    return JSONResponse({"error": error.detail}, error.status_code, error.headers)


async def unexpected(request: Request, error: Exception) -> Response:
    LOG.error("unexpected, at %s", request.url.path, exc_info=error)
    return JSONResponse({"error": unforeseen(error)}, 500)
