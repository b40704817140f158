"""The page's server, from its socket to Ctrl-C."""

import sys
import threading
import webbrowser
from pathlib import Path

from srkit_server.guard import is_loopback
from srkit_server.jobs import Jobs
from srkit_server.limits import Limits
from srkit_server.options import Options
from srkit_server.serving import address_of, bound, server_of

TILE = 512  # pixels: a tile takes seconds, so that progress and Cancel do; a sixth is computed twice


def serve(
    host: str,
    port: int,
    limits: Limits,
    *,
    password: str = "",
    device: str = "auto",
    runs: Path = Path("runs"),
    report: Path = Path("report"),
    open_browser: bool = False,
    public: bool = False,
    ancestors: str = "'none'",
) -> None:
    """Until Ctrl-C. SrkitError where the port is taken, or the device is none.

    public: everybody may see the page, as in a Space; else `check_address` of srkit_server was asked before.
    ancestors: as of `make_app`.
    """
    listener = bound(host, port)
    print("srkit: the page is being made, a moment", file=sys.stderr, flush=True)
    from srkit_ui.app import make_app

    jobs = Jobs(limits, device=device, tile=TILE)
    try:
        best = jobs.upscaler(Options())  # a wrong device is told now, and the first picture does not wait
        app = make_app(
            jobs,
            device=device,
            runs=runs,
            report=report,
            password=password,
            loopback=is_loopback(host) and not public,
            ancestors=ancestors,
        )
        address = address_of(host, listener)
        print(f"srkit: {best.name} on {best.device}; Ctrl-C ends it", file=sys.stderr, flush=True)
        print(address, flush=True)
        if open_browser:
            threading.Timer(1.0, webbrowser.open, [address]).start()
        server_of(app, jobs).run([listener])
    finally:
        listener.close()
        jobs.close()
