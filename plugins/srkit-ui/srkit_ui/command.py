"""`srkit ui`: the options of the command; what is wrong with them is told before anything is loaded."""

from importlib.util import find_spec
from pathlib import Path
from typing import Annotated

import typer
from srkit_server.command import (
    DEFAULT,
    LOOPBACK,
    Device,
    Host,
    MaxPixels,
    MaxResult,
    MaxSeconds,
    MaxUpload,
    Password,
    Port,
    Queue,
)
from srkit_server.limits import MB, Limits

import srkit

TABS = "Other tabs"


def ui(
    host: Host = LOOPBACK,
    port: Port = 7860,
    password: Password = "",
    open_browser: Annotated[bool, typer.Option("--open/--no-open", help="Open the page in the browser.")] = True,
    device: Device = "auto",
    runs: Annotated[Path, typer.Option(help="The folder of trainings.", rich_help_panel=TABS)] = Path("runs"),
    report: Annotated[Path, typer.Option(help="The folder of srkit bench --report.", rich_help_panel=TABS)] = Path(
        "report"
    ),
    max_upload: MaxUpload = DEFAULT.upload / MB,
    max_pixels: MaxPixels = DEFAULT.pixels,
    max_result: MaxResult = DEFAULT.result_pixels,
    max_seconds: MaxSeconds = DEFAULT.seconds,
    queue: Queue = DEFAULT.waiting,
    space: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Write the files of a Hugging Face Space there, and end."),
    ] = None,
) -> None:
    """Enlarge pictures on a page in the browser: drop, choose a sheet of paper, look, download."""
    if space is not None:
        from srkit_ui.space import write_space

        for path in write_space(space):
            print(path)
        return
    if find_spec("gradio") is None:
        raise srkit.SrkitError("srkit ui needs Gradio: pip install gradio")
    from srkit_server.guard import check_address

    from srkit_ui.serving import serve

    check_address(host, password)
    limits = Limits(
        upload=round(max_upload * MB),
        pixels=max_pixels,
        result_pixels=max_result,
        seconds=max_seconds,
        waiting=queue,
    )
    serve(host, port, limits, password=password, device=device, runs=runs, report=report, open_browser=open_browser)
