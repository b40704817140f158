"""`srkit ui`: the options of the command; what is wrong with them is told before anything is loaded."""

from importlib.util import find_spec
from pathlib import Path
from typing import Annotated

import typer

import srkit

ACCESS, TABS, LIMITS = "Who may see it", "Other tabs", "Limits"
MB = 1_000_000


def ui(
    host: Annotated[
        str,
        typer.Option(help="The address to listen on; another than loopback wants a password.", rich_help_panel=ACCESS),
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="0 takes a free one.")] = 7860,
    password: Annotated[
        str,
        typer.Option(
            envvar="SRKIT_PASSWORD",
            help="Asked for by the browser, with any user's name; 12 characters at least. Others see what is written "
            "here: use the environment variable.",
            rich_help_panel=ACCESS,
            show_default=False,
        ),
    ] = "",
    open_browser: Annotated[bool, typer.Option("--open/--no-open", help="Open the page in the browser.")] = True,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda or mps.")] = "auto",
    runs: Annotated[Path, typer.Option(help="The folder of trainings.", rich_help_panel=TABS)] = Path("runs"),
    report: Annotated[Path, typer.Option(help="The folder of srkit bench --report.", rich_help_panel=TABS)] = Path(
        "report"
    ),
    max_upload: Annotated[float, typer.Option(min=0.001, help="Megabytes of a picture.", rich_help_panel=LIMITS)] = 50,
    max_pixels: Annotated[int, typer.Option(min=1, help="Pixels of a picture.", rich_help_panel=LIMITS)] = 50_000_000,
    max_result: Annotated[int, typer.Option(min=1, help="Pixels of a result.", rich_help_panel=LIMITS)] = 200_000_000,
    max_seconds: Annotated[float, typer.Option(min=1, help="For one picture.", rich_help_panel=LIMITS)] = 7200,
    queue: Annotated[int, typer.Option(min=1, help="Pictures that may wait.", rich_help_panel=LIMITS)] = 20,
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
    from srkit_server.jobs import Limits

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
