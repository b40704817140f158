"""`srkit` in processes of their own, which tests kill: each is forked from one that has made the slow imports.

On Linux alone: elsewhere a fork after such imports is not safe, or there is none, and each process imports anew.
"""

import multiprocessing
import os
import socket
import sys
import time
from collections.abc import Mapping
from pathlib import Path

from srkit.cli import run

FORKS = sys.platform == "linux"
PROCESSES = multiprocessing.get_context("forkserver" if FORKS else "spawn")
if FORKS:
    PROCESSES.set_forkserver_preload([__name__, "pytest", "timm.optim", "torch.distributed"])


class Running:
    """One command line, by as many ranks as torchrun would start; what they say is kept in a file."""

    def __init__(self, *words: object, ranks: int = 1):
        self.said = Path(f"said-{time.monotonic_ns()}.txt").absolute()
        arguments = [str(word) for word in words]
        self.ranks = [
            PROCESSES.Process(target=there, args=(arguments, environment, self.said), daemon=True)
            for environment in places(ranks)
        ]
        for process in self.ranks:
            process.start()

    def finish(self, seconds: float = 300) -> tuple[int, str]:
        """The exit code, of a rank that failed if one did, and what was said, once all have ended."""
        for process in self.ranks:
            process.join(seconds)
        assert not any(process.is_alive() for process in self.ranks), "it does not end"
        failed = [process.exitcode for process in self.ranks if process.exitcode]
        return failed[0] if failed else 0, self.said.read_text(encoding="utf-8")

    def kill_at(self, step: int, out: Path | str) -> list[int]:
        """kill -9 to every rank once `out` has a state of this step or later; the steps of the states there are."""

        def states() -> list[int]:
            return sorted(int(path.stem.removeprefix("state-")) for path in Path(out).glob("state-*"))

        while self.ranks[0].is_alive() and max(states(), default=-1) < step:
            time.sleep(0.002)
        for process in self.ranks:
            process.kill()
            process.join()
        assert states(), self.said.read_text(encoding="utf-8")
        return states()


def places(ranks: int) -> list[Mapping[str, str]]:
    """The environment of each rank, as torchrun sets it; of one process this one's own."""
    if ranks == 1:
        return [dict(os.environ)]
    with socket.create_server(("127.0.0.1", 0)) as free:
        group = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free.getsockname()[1]), "WORLD_SIZE": str(ranks)}
    return [{**os.environ, **group, "RANK": str(rank), "LOCAL_RANK": str(rank)} for rank in range(ranks)]


def there(words: list[str], environment: Mapping[str, str], said: Path) -> None:
    os.environ.clear()
    os.environ.update(environment)
    with said.open("ab") as file:
        for stream in (sys.stdout, sys.stderr):
            os.dup2(file.fileno(), stream.fileno())
    sys.exit(run(words))
