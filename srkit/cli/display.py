"""What commands print: tables and notices. Results go to stdout, everything else to stderr."""

import os
import sys
from collections.abc import Container, Iterator, Sequence
from contextlib import contextmanager, redirect_stdout
from typing import Any, TextIO

from srkit.plugins import Registry, load_plugins
from srkit.progress import Meter, Progress, Stop, TrainingDisplay, say, seconds_of, span, tell

__all__ = [
    "Meter",
    "Progress",
    "Stop",
    "TrainingDisplay",
    "apart",
    "binary_result",
    "keep_stdout",
    "load",
    "result",
    "results_apart",
    "say",
    "seconds_of",
    "span",
    "table",
    "tell",
]

_results: TextIO | None = None  # what was stdout when the command began; None where none runs


def result(text: object, end: str = "\n") -> None:
    """Print a command's result: on stdout, which nothing else reaches while the command runs.

    What stdout's encoding has no sign for is printed as `\\xe4`: the name of one file must not end a batch.
    """
    out = _results or sys.stdout
    try:
        print(text, end=end, file=out, flush=True)
    except UnicodeEncodeError:
        encoding = out.encoding or "ascii"
        print(str(text).encode(encoding, "backslashreplace").decode(encoding), end=end, file=out, flush=True)


def binary_result(data: bytes) -> None:
    """Write a command's result that is no text, a picture, on stdout."""
    out = _results or sys.stdout
    out.flush()
    out.buffer.write(data)
    out.buffer.flush()


@contextmanager
def results_apart() -> Iterator[None]:
    """What anything but `result` prints in Python goes to stderr: a plugin that prints must not spoil --json."""
    global _results
    before, _results = _results, _results or sys.stdout
    try:
        with redirect_stdout(sys.stderr):
            yield
    finally:
        _results = before


def apart(command: Any) -> Any:
    """A typer command, and all that it holds, with its body run in `results_apart`; its --help is printed as ever."""
    if body := command.callback:

        def callback(*args: Any, **kwargs: Any) -> Any:
            with results_apart():
                return body(*args, **kwargs)

        command.callback = callback
    for each in getattr(command, "commands", {}).values():
        apart(each)
    return command


def keep_stdout() -> None:
    """Give sys.stdout a descriptor of its own, and let descriptor 1 be stderr until this process ends.

    What subprocesses and C code write, which know only the number, then goes to stderr. Only for a program: nothing
    else in the process finds its stdout where it was.
    """
    stdout = sys.stdout
    if stdout is None:  # it was closed when srkit started
        return
    stdout.flush()
    private = os.dup(stdout.fileno())
    try:
        os.dup2(2, stdout.fileno())
    except OSError:  # stderr is closed
        os.dup2(os.open(os.devnull, os.O_WRONLY), stdout.fileno())
    sys.stdout = os.fdopen(private, "w", encoding=stdout.encoding, errors=stdout.errors)


def load(*, builtin: bool = True) -> Registry:
    """The installed plugins; each broken one is reported on stderr in one line."""
    registry = load_plugins(builtin=builtin)
    for notice in registry.notices:
        say(notice)
    return registry


def table(
    headings: Sequence[str], rows: Sequence[Sequence[str]], right: Sequence[int] = (), sections: Container[int] = ()
) -> None:
    """Print a table on stdout, never cut where it is piped.

    right: the columns aligned to the right. sections: the rows with a line below them.
    """
    from srkit.evaluate.report import text_of

    out = _results or sys.stdout
    result(text_of(headings, rows, right, sections=sections, width=None if out.isatty() else 1000))
