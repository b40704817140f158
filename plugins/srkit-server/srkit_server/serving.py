"""uvicorn, as this server needs it: patient with nobody who sends no request, and ended in good order."""

import asyncio
import signal
import socket
import threading
from types import FrameType
from typing import Any

import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

import srkit
from srkit_server.jobs import Jobs

HEAD = 10.0  # seconds in which the head of a request must have come
CONNECTIONS = 256
HEAD_BYTES = 32_768
GRACE = 10  # seconds that answers get to be finished in at the end


class Impatient(H11Protocol):
    """Closes a connection whose request does not come: uvicorn itself waits for its first one for ever."""

    timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: Any) -> None:
        super().connection_made(transport)
        self.watch()

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        self.watch()

    def connection_lost(self, exc: Exception | None) -> None:
        self.unwatch()
        super().connection_lost(exc)

    def watch(self) -> None:
        """Time runs while no request is being answered, and starts anew with none of its bytes."""
        if self.cycle is not None and not self.cycle.response_complete:
            self.unwatch()
        elif self.timer is None:
            self.timer = self.loop.call_later(HEAD, self.transport.close)

    def unwatch(self) -> None:
        if self.timer is not None:
            self.timer.cancel()
            self.timer = None


class Server(uvicorn.Server):
    """On Ctrl-C and SIGTERM jobs are cancelled, answers finished, files deleted; a second Ctrl-C waits for nothing."""

    def __init__(self, config: uvicorn.Config, jobs: Jobs):
        super().__init__(config)
        self.jobs = jobs

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        self.force_exit = self.should_exit and sig == signal.SIGINT
        self.should_exit = True
        threading.Thread(target=self.jobs.stop, daemon=True).start()  # here a lock may be held


def bound(host: str, port: int) -> socket.socket:
    """A listening socket. SrkitError, in one line, where the port is taken or the address is not this machine's."""
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        return socket.create_server((host, port), family=family)
    except OSError as error:
        reason = error.strerror or str(error)
        raise srkit.SrkitError(
            f"cannot listen on {host} port {port}: {reason}; name another --port or --host"
        ) from None


def address_of(host: str, listener: socket.socket) -> str:
    """What a browser is given to open it."""
    return f"http://{f'[{host}]' if ':' in host else host}:{listener.getsockname()[1]}/"


def server_of(app: Any, jobs: Jobs) -> Server:
    """To be run with a listening socket, `run([bound(host, port)])`: until Ctrl-C, SIGTERM, or `should_exit`."""
    config = uvicorn.Config(
        app,
        http=Impatient,
        ws="none",
        lifespan="on",
        log_config=None,
        log_level="critical",  # what is unexpected, `app` writes down
        access_log=False,
        server_header=False,
        limit_concurrency=CONNECTIONS,
        timeout_keep_alive=5,
        timeout_graceful_shutdown=GRACE,
        h11_max_incomplete_event_size=HEAD_BYTES,
    )
    return Server(config, jobs)
