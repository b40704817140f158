"""The page's server: Gradio's page, the roads for pictures, results and looks, and what guards them."""

import asyncio
import logging
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from fastapi import FastAPI, Request
from fastapi.responses import FileResponse, HTMLResponse, JSONResponse, Response
from srkit_server.guard import Guard
from srkit_server.jobs import Jobs, TooLarge
from srkit_server.receive import Refused, counted, safe_name

import srkit
from srkit_ui.desk import Desk
from srkit_ui.shield import Shield

os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"  # read when Gradio is imported
os.environ["GRADIO_SSR_MODE"] = "False"
os.environ["HF_HUB_DISABLE_TELEMETRY"] = "1"

LOG = logging.getLogger(__name__)
FOLDER = Path(__file__).parent
TYPES = {".png": "image/png", ".jpg": "image/jpeg", ".tif": "image/tiff", ".webp": "image/webp"}
ASKING = ("/gradio_api/queue/join", "/gradio_api/run/predict")
FRAME = (
    "sandbox allow-scripts; default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; img-src data:"
)


def make_app(
    jobs: Jobs,
    *,
    device: str = "auto",
    runs: Path = Path("runs"),
    report: Path = Path("report"),
    password: str = "",
    loopback: bool = True,
    ancestors: str = "'none'",
) -> FastAPI:
    """An ASGI application. `jobs` is closed when it shuts down.

    device: of comparisons. runs, report: folders of trainings and of the last benchmark's page. password: empty for
    none. loopback: whether only this machine reaches the address. ancestors: pages that may show this one in a frame,
    as in a Content-Security-Policy.
    """
    import gradio as gr

    from srkit_ui.page import Page, theme

    desk = Desk(jobs, device)

    @asynccontextmanager
    async def life(app: FastAPI) -> AsyncIterator[None]:
        yield
        await asyncio.to_thread(jobs.close)

    app = FastAPI(title="srkit", openapi_url=None, docs_url=None, redoc_url=None, lifespan=life)
    add_roads(app, desk, report)
    blocks = Page(desk, runs=runs, report=report, local=loopback).build()
    os.environ.setdefault("GRADIO_TEMP_DIR", str(jobs.folder / "gradio"))
    gr.mount_gradio_app(
        app,
        blocks,
        path="/",
        footer_links=[],
        run_history=False,
        allowed_paths=[],
        ssr_mode=False,
        pwa=False,
        show_error=False,
        max_file_size=1,
        theme=theme(),
        css=(FOLDER / "page.css").read_text(encoding="utf-8"),
        head='<script src="/page.js" defer></script>',
    )
    app.add_middleware(Shield, ancestors=ancestors)
    app.add_middleware(Guard, password=password, origins=(), loopback=loopback)
    return app


def add_roads(app: FastAPI, desk: Desk, report: Path) -> None:
    """The addresses that are not Gradio's."""

    @app.post("/pictures")
    async def take(request: Request) -> JSONResponse:
        if request.headers.get("x-srkit") != "1":  # a form of another site cannot send it
            raise Refused(403, "this page does not ask that")
        folder = desk.jobs.new_folder()
        name = request.query_params.get("name", "picture")[:200]
        path = folder / safe_name(name)
        try:
            with open(path, "xb") as file:
                async for piece in counted(request, desk.jobs.limits.upload):
                    file.write(piece)
            picture = await asyncio.to_thread(desk.take, path, name)
        except BaseException:
            desk.jobs.drop(folder)
            raise
        return JSONResponse({"id": picture.id, "width": picture.size[0], "height": picture.size[1]})

    @app.delete("/pictures/{number}")
    def drop(number: str) -> Response:
        desk.drop(number)
        return Response(status_code=204)

    @app.get("/results/{number}")
    def result(number: str) -> Response:
        job = desk.jobs.find(number)
        if job is None or job.plan is None or job.result is None or not job.result.is_file():
            raise Refused(404, "this result is not there any more: results are deleted after an hour")
        kind = TYPES.get(job.result.suffix, "application/octet-stream")
        return FileResponse(job.result, filename=job.result.name, media_type=kind)

    @app.get("/looks/{number}/{layer}")
    def look(
        number: str, layer: str, left: int = 0, top: int = 0, width: int | None = None, height: int | None = None
    ) -> Response:
        found = desk.looks.get(number)
        window = None if width is None or height is None else (left, top, width, height)
        try:
            if found is None:
                raise KeyError(layer)
            data = found.shown(layer, window)
        except (KeyError, OSError):
            raise Refused(404, "this picture is not there any more") from None
        return Response(data, media_type="image/png", headers={"Cache-Control": "private, max-age=3600"})

    @app.get("/pages/{number}")
    def page(number: str) -> Response:
        job = desk.jobs.find(number)
        if job is None or job.result is None or job.result.suffix != ".html":
            raise Refused(404, "this comparison is not there any more")
        return framed(job.result)

    @app.get("/report")
    def last_report() -> Response:
        if not (report / "index.html").is_file():
            raise Refused(404, "there is no report")
        return framed(report / "index.html")

    @app.get("/page.js")
    def script() -> Response:
        return FileResponse(FOLDER / "page.js", media_type="text/javascript")

    @app.get("/health")
    def health() -> dict[str, bool]:
        return {"alive": desk.jobs.alive}

    add_errors(app)


def add_errors(app: FastAPI) -> None:
    """Errors are one line of JSON, and never a traceback."""

    @app.exception_handler(Refused)
    def refused(request: Request, error: Any) -> JSONResponse:
        return JSONResponse({"error": sentence(error.line)}, error.status, error.headers)

    @app.exception_handler(srkit.SrkitError)
    def failed(request: Request, error: Any) -> JSONResponse:
        status = 413 if isinstance(error, TooLarge) else 415
        return JSONResponse({"error": sentence(str(error))}, status)

    @app.exception_handler(Exception)
    def unexpected(request: Request, error: Any) -> JSONResponse:
        if not (isinstance(error, KeyError) and request.url.path in ASKING):  # Gradio's, of a function that it has not
            LOG.error("unexpected, at %s", request.url.path, exc_info=error)
        return JSONResponse({"error": "This cannot be done; the log of the page's server says more."}, 500)


def framed(path: Path) -> HTMLResponse:
    """A page that may run its own scripts, and nothing else."""
    return HTMLResponse(path.read_text(encoding="utf-8"), headers={"Content-Security-Policy": FRAME})


def sentence(line: str) -> str:
    return f"{line[:1].upper()}{line[1:]}{'' if line.endswith('.') else '.'}"
