"""What a long piece of work shows on stderr or in a notebook, how long it takes, and how Ctrl-C ends it.

Commands and the Python functions share it. Nothing here reads input.
"""

import html
import re
import signal
import sys
import threading
import time
from collections.abc import Callable
from contextlib import ExitStack, suppress
from types import FrameType, TracebackType
from typing import Any

from srkit.errors import UsageError

PLAIN_SECONDS = 5.0  # between progress lines where there is neither a terminal nor a notebook
QUIET_SECONDS = 2.0  # shorter work than this needs no progress
NOTEBOOK_SECONDS = 0.5  # between changes of the output of a notebook's cell
MB = 1_000_000


def say(text: str) -> None:
    """Print `srkit: text` on stderr: a command's notice, which is no result."""
    tell(f"srkit: {text}")


def tell(line: str) -> None:
    """Print a line on stderr. Work continues if stderr is closed."""
    with suppress(BrokenPipeError):
        print(line, file=sys.stderr, flush=True)


def seconds_of(length: str | float | None) -> float | None:
    """`10m`, `90s`, `1h30m` or plain seconds, as seconds. UsageError for anything else."""
    if length is None or (isinstance(length, int | float) and length > 0):
        return length
    text = str(length).strip().lower()
    match = re.fullmatch(r"(?:(\d+(?:\.\d+)?)h)?(?:(\d+(?:\.\d+)?)m)?(?:(\d+(?:\.\d+)?)s?)?", text)
    total = sum(float(n or 0) * unit for n, unit in zip(match.groups(), (3600, 60, 1), strict=True)) if match else 0
    if not total:
        raise UsageError(f"'{length}' is not a length of time; write 90s, 10m or 1h30m")
    return total


def span(seconds: float) -> str:
    """Seconds as a person says them: `45s`, `9m 30s`, `3h 20m`, `4d 2h`."""
    seconds = int(seconds + 0.5)
    for big, small, divisor, unit in (("d", "h", 86400, 3600), ("h", "m", 3600, 60), ("m", "s", 60, 1)):
        if seconds >= divisor:
            return f"{seconds // divisor}{big} {seconds % divisor // unit}{small}"
    return f"{seconds}s"


def notebook() -> Any:
    """IPython's module `display` where this runs in the kernel of a notebook, else None."""
    ipython = sys.modules.get("IPython")  # a kernel has imported it
    shell = ipython.get_ipython() if ipython else None
    if not hasattr(shell, "kernel"):
        return None
    import IPython.display

    return IPython.display


class Cell:
    """A line with a bar in the output of a notebook's cell, changed in place. It needs no ipywidgets."""

    def __init__(self, display: Any):
        self.display = display
        self.handle: Any = None
        self.what, self.line, self.done, self.total = "", "", 0, 0
        self.begun = self.shown = time.monotonic()

    def _repr_mimebundle_(self, **_: Any) -> dict[str, str]:
        bar = f'<progress value="{self.done}" max="{max(self.total, 1)}"></progress>'
        text = f"{self.what}  {self.line}"
        return {"text/plain": text, "text/html": f"{bar} {html.escape(text)}"}

    def at(self, what: str, line: str, done: int, total: int) -> None:
        self.what, self.line, self.done, self.total = what, line, done, total
        if time.monotonic() - self.shown >= NOTEBOOK_SECONDS:
            self.show()

    def show(self) -> None:
        self.shown = time.monotonic()
        if self.handle is None:
            self.handle = self.display.display(self, display_id=True)
        else:
            self.handle.update(self)

    def close(self) -> None:
        """The last line stays, as a notebook keeps its outputs. Work that was never shown leaves none."""
        if self.handle is not None:
            self.show()


class Progress:
    """A bar on a terminal or in a notebook, a plain line every few seconds elsewhere; always with the time left.

    with Progress("upscaling", 12) as progress: progress.at(3, "tile 3")

    total: 0 where it is not known; then it only counts.
    """

    def __init__(self, what: str, total: int, seconds: float | None = None):
        self.what, self.total, self.limit = what, total, seconds
        self.begun = self.shown = time.monotonic()
        self.first = self.done = 0
        self.bar: Any = None
        self.cell: Cell | None = None

    def __enter__(self) -> "Progress":
        if display := notebook():
            self.cell = Cell(display)
        elif sys.stderr is not None and sys.stderr.isatty():
            from rich.console import Console
            from rich.progress import BarColumn, TextColumn
            from rich.progress import Progress as Bar

            console = Console(stderr=True)
            bar = [BarColumn(20)] if console.width >= 120 else []  # the words matter more
            columns = (TextColumn("{task.description}"), *bar, TextColumn("{task.fields[text]}"))
            self.bar = Bar(*columns, console=console, transient=True)
            self.bar.start()
            self.task = self.bar.add_task(self.what, total=self.total or None, text="")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.bar:
            self.bar.stop()
        if self.cell:
            self.cell.close()

    def say(self, text: str) -> None:
        """A notice above the bar."""
        if self.bar:
            self.bar.console.print(f"srkit: {text}", markup=False, highlight=False, soft_wrap=True)
        else:
            say(text)

    def begin_at(self, done: int) -> None:
        """Work before this was done another time and says nothing of the pace."""
        self.first, self.begun = done, time.monotonic()

    def going_on(self, done: int, total: int, before: int) -> None:
        """`at`, of work whose total is known as it begins, and of which so many were done another time."""
        if not self.total:
            self.total = total
            self.begin_at(before)
        self.at(done)

    def pace(self, done: int) -> float:
        """Units per second so far."""
        return (done - self.first) / max(time.monotonic() - self.begun, 1e-9)

    def left(self, done: int) -> str:
        pace = self.pace(done)
        if not pace or not self.total:
            return ""
        left = (self.total - done) / pace
        if self.limit is not None:
            left = min(left, self.limit - (time.monotonic() - self.begun))
        return f"{span(max(left, 0))} left"

    def one_more(self, text: str = "", left: float | None = None) -> None:
        """`at`, counting by itself."""
        self.done += 1
        self.at(self.done, text, left)

    def at(self, done: int, text: str = "", left: float | None = None) -> None:
        """left: the seconds left, where these are known better than by the mean pace."""
        count = f"{done:,}/{self.total:,}" if self.total else f"{done:,}"
        parts = [count, text, self.left(done) if left is None else f"{span(left)} left"]
        line = "  ".join(part for part in parts if part)
        if self.bar:
            self.bar.update(self.task, completed=done, total=self.total or None, text=line)
            return
        if self.cell:
            self.cell.at(self.what, line, done, self.total)
            return
        now = time.monotonic()
        if now - self.begun >= QUIET_SECONDS and now - self.shown >= PLAIN_SECONDS:
            self.shown = now
            tell(f"{self.what}  {line}")


class Meter:
    """Progress in megabytes of one thing after another.

    with Meter() as meter: fetch(url, path, progress=meter("fetching x.zip"))

    name: of the file, where `what` does not say it. size: in bytes, where the server does not.
    """

    def __init__(self, name: str = "", size: int = 0):
        self.name, self.size = name, size
        self.what = ""
        self.bar: Progress | None = None
        self.shown = ExitStack()

    def __enter__(self) -> "Meter":
        return self

    def __exit__(self, *_: object) -> None:
        self.shown.close()

    def __call__(self, what: str) -> Callable[[int, int | None], None]:
        self.shown.close()
        self.what, self.bar = f"{what} {self.name}".strip(), None
        return self.at

    def at(self, done: int, total: int | None) -> None:
        whole = max(total or self.size, done) // MB
        if self.bar is None:
            self.bar = self.shown.enter_context(Progress(self.what, whole))
            self.bar.begin_at(done // MB)
        self.bar.total = whole
        self.bar.at(done // MB, "MB")


class Stop:
    """From `listen` on, the first Ctrl-C asks training to save and stop; a second interrupts at once.

    signals: what counts as Ctrl-C. A SIGTERM is never the second: Slurm sends it to every process, and torchrun
    passes on its own. Only the main thread can hear signals: elsewhere this does nothing.
    """

    def __init__(self, *signals: int) -> None:
        self.signals = signals or (signal.SIGINT, signal.SIGTERM)
        self.count = 0
        self.before: dict[int, Any] = {}

    def asked(self) -> bool:
        return self.count > 0

    def hear(self, number: int, frame: FrameType | None) -> None:
        if number == signal.SIGTERM and self.count:
            return
        self.count += 1
        if self.count > 1:
            raise KeyboardInterrupt
        say("stopping after this step" + ("; once more to stop at once" if number == signal.SIGINT else ""))

    def listen(self) -> None:
        if threading.current_thread() is threading.main_thread():
            self.before = {number: signal.signal(number, self.hear) for number in self.signals}

    def leave(self) -> None:
        for number, handler in self.before.items():
            signal.signal(number, signal.SIG_DFL if handler is None else handler)
        self.before = {}


class TrainingDisplay:
    """A session's words and progress, on stderr; Ctrl-C is listened to while it trains. quiet: it listens only."""

    def __init__(self, steps: int, seconds: float | None, stop: Stop, quiet: bool = False):
        self.steps, self.seconds, self.stop, self.quiet = steps, seconds, stop, quiet
        self.bar: Progress | None = None
        self.what = ""

    def __enter__(self) -> "TrainingDisplay":
        return self

    def __exit__(self, *_: object) -> None:
        self.stop.leave()
        self.end_bar()

    def end_bar(self) -> None:
        if self.bar:
            self.bar.__exit__(None, None, None)
        self.bar, self.what = None, ""

    def switch(self, what: str, total: int, seconds: float | None = None) -> Progress:
        if self.what != what or self.bar is None:
            self.end_bar()
            self.bar = Progress(what, total, seconds).__enter__()
            self.what = what
        return self.bar

    def say(self, text: str) -> None:
        if self.quiet:
            return
        if self.bar and self.what == "training":  # its pace and its end are of the whole training
            self.bar.say(text)
            return
        self.end_bar()
        say(text)

    def packing(self, what: str, done: int, total: int) -> None:
        if self.quiet:
            return
        self.switch(what, total).at(done)
        if done == total:
            self.end_bar()

    def training(self, step: int) -> None:
        self.stop.listen()
        if self.quiet:
            return
        self.switch("training", self.steps, self.seconds).begin_at(step)

    def progress(self, step: int, loss: float, score: str) -> None:
        if self.quiet:
            return
        bar = self.switch("training", self.steps, self.seconds)
        text = [f"loss {loss:.5f}", f"{bar.pace(step):.2f} steps/s"]
        if score:
            text.append(score)
        bar.at(step, "  ".join(text))
