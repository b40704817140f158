"""`srkit serve`: the options of the command, and what is wrong with them told before anything is loaded.

Those that every server of pictures has are types here, with their defaults, so that `srkit ui` has the same.
"""

import sys
from typing import Annotated

import typer

from srkit_server.limits import MB, Limits

LIMITS, ACCESS, ENGINE = "Limits", "Who may ask", "Engine"
DEFAULT = Limits()
LOOPBACK = "127.0.0.1"

Host = Annotated[
    str, typer.Option(help="The address to listen on; another than loopback wants a password.", rich_help_panel=ACCESS)
]
Port = Annotated[int, typer.Option(min=0, max=65535, help="0 takes a free one.")]
Password = Annotated[
    str,
    typer.Option(
        envvar="SRKIT_PASSWORD",
        help="For HTTP basic, any user's name; 12 characters at least. Others see what is written here: "
        "use the environment variable.",
        rich_help_panel=ACCESS,
        show_default=False,
    ),
]
Device = Annotated[str, typer.Option(help="auto, cpu, cuda or mps.", rich_help_panel=ENGINE)]
MaxUpload = Annotated[float, typer.Option(min=0.001, help="Megabytes of a picture.", rich_help_panel=LIMITS)]
MaxPixels = Annotated[int, typer.Option(min=1, help="Pixels of a picture.", rich_help_panel=LIMITS)]
MaxResult = Annotated[int, typer.Option(min=1, help="Pixels of a result.", rich_help_panel=LIMITS)]
MaxSeconds = Annotated[float, typer.Option(min=1, help="For one picture.", rich_help_panel=LIMITS)]
Queue = Annotated[int, typer.Option(min=1, help="Pictures that may wait.", rich_help_panel=LIMITS)]


def serve(
    host: Host = LOOPBACK,
    port: Port = 8000,
    password: Password = "",
    origin: Annotated[
        list[str] | None,
        typer.Option(help="A site whose pages may ask from a browser, https://shop.example.", rich_help_panel=ACCESS),
    ] = None,
    name: Annotated[
        list[str] | None,
        typer.Option(help="A further name it is called by, behind a reverse proxy.", rich_help_panel=ACCESS),
    ] = None,
    device: Device = "auto",
    tile: Annotated[
        int | None,
        typer.Option(
            min=0, help="Side of a tile in input pixels; a cancelled job ends with one.", rich_help_panel=ENGINE
        ),
    ] = None,
    max_upload: MaxUpload = DEFAULT.upload / MB,
    max_pixels: MaxPixels = DEFAULT.pixels,
    max_result: MaxResult = DEFAULT.result_pixels,
    max_seconds: MaxSeconds = DEFAULT.seconds,
    queue: Queue = DEFAULT.waiting,
    keep: Annotated[
        float, typer.Option(min=1, help="Seconds until files are deleted.", rich_help_panel=LIMITS)
    ] = DEFAULT.kept,
) -> None:
    """Upscale over HTTP: POST /upscale gives the file that srkit upscale writes. GET / explains itself."""
    from srkit_server.guard import check_address, check_origin, is_loopback

    check_address(host, password)
    origins = [check_origin(each) for each in origin or []]

    from srkit_server.app import make_app
    from srkit_server.jobs import Jobs
    from srkit_server.options import Options
    from srkit_server.serving import address_of, bound, server_of

    listener = bound(host, port)
    limits = Limits(
        upload=round(max_upload * MB),
        pixels=max_pixels,
        result_pixels=max_result,
        seconds=max_seconds,
        waiting=queue,
        kept=keep,
    )
    jobs = Jobs(limits, device=device, tile=tile)
    try:
        best = jobs.upscaler(Options())  # a wrong --device is told now, and the first client does not wait
        print(f"srkit: {best.name} on {best.device}; Ctrl-C ends it", file=sys.stderr, flush=True)
        print(address_of(host, listener), flush=True)
        app = make_app(jobs, password=password, origins=origins, names=name or [], loopback=is_loopback(host))
        server_of(app, jobs).run([listener])
    finally:
        listener.close()
        jobs.close()
