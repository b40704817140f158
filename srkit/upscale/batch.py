"""Pictures one after another: the next is read and the last one is written while the network runs."""

import os
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

from srkit.errors import Cancelled, SrkitError, one_line
from srkit.images import Encoding, header
from srkit.nets import out_of_memory
from srkit.upscale.file import How, Work, opened
from srkit.upscale.inputs import printable
from srkit.upscale.journal import Journal
from srkit.upscale.receipt import digest_of, keep_beside, place_of, receipt_of
from srkit.upscale.targets import Job


def nothing(*_: object) -> None:
    """What is told to nobody."""


def never() -> bool:
    """Nobody cancels."""
    return False


@dataclass
class Batch:
    """A run over jobs, each on its own: one that fails costs no other.

    encoding: of a target. receipt: "xmp", "sidecar" or empty; said: options in it; receipt_text: of a picture
    that is repeated. tell(line): what the user should know. made(job, work, seconds), failed(job, error):
    a picture is done. at(done, share, left): pictures done, the share of all pixels, the seconds left.
    more(job, work): what else is made of a picture, once its pixels are there. cancel(): asked before each picture and
    after each tile; True ends all with Cancelled, and the picture in the making is not written.
    """

    how: How
    encoding: Callable[[Path], Encoding]
    journal: Journal | None = None
    receipt: str = ""
    receipt_text: str = ""
    said: dict[str, Any] = field(default_factory=dict)
    tell: Callable[[str], None] = nothing
    made: Callable[[Job, Work, float], None] = nothing
    failed: Callable[[Job, SrkitError], None] = nothing
    at: Callable[[int, float, float], None] = nothing
    more: Callable[[Job, Work], None] = nothing
    cancel: Callable[[], bool] = never

    def run(self, jobs: Sequence[Job]) -> list[SrkitError]:
        """All jobs, in their order. Returns the errors of those that failed."""
        self.failures: list[SrkitError] = []
        self.sizes = [pixels_of(job.source) for job in jobs]
        self.begun, self.before = time.monotonic(), 0
        with ThreadPoolExecutor(1) as reader, ThreadPoolExecutor(1) as writer:
            written: Future[None] | None = None
            ahead: Future[Work] | None = None
            work: Work | None = None
            try:
                for number, job in enumerate(jobs):
                    begun = time.monotonic()
                    work = self.attempt(job, (ahead or reader.submit(self.open, job)).result)
                    ahead = reader.submit(self.open, jobs[number + 1]) if number + 1 < len(jobs) else None
                    if work is not None and self.attempt(job, partial(self.compute, job, work, number)):
                        if written is not None:
                            written.result()  # no more than one result waits to be written
                        written, work = writer.submit(self.write, job, work, begun), None
                    elif work is not None:
                        work.close()
                    self.before += self.sizes[number]
                if written is not None:
                    written.result()
            except BaseException:  # Ctrl-C, or nobody reads the results
                if work is not None:
                    work.close()
                if ahead is not None and not ahead.cancel():
                    with suppress(Exception):
                        ahead.result().close()
                raise
        return self.failures

    def attempt(self, job: Job, act: Callable[[], Any]) -> Any:
        """What `act` gives, None where it fails, which is told. No error of one picture ends the others."""
        try:
            return act()
        except Cancelled:
            raise
        except Exception as error:
            text, name = one_line(error), printable(job.source)
            if out_of_memory(error):
                failure = SrkitError(f"'{name}': out of memory")
            elif not isinstance(error, SrkitError):
                if os.environ.get("SRKIT_DEBUG") == "1":
                    raise
                failure = SrkitError(f"'{name}': unexpected {text} (SRKIT_DEBUG=1 shows where)")
            else:
                failure = error if name in text else type(error)(f"'{name}': {text}")
            self.failures.append(failure)
            self.failed(job, failure)
            return None

    def check(self) -> None:
        """Raises Cancelled where the caller says so."""
        if self.cancel():
            raise Cancelled("cancelled")

    def open(self, job: Job) -> Work:
        name = printable(job.source)
        self.check()
        try:
            job.target.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise SrkitError(f"cannot make the folder '{printable(job.target.parent)}': {one_line(error)}") from None
        return opened(
            job.source, job.target, self.how, self.encoding(job.target), lambda line: self.tell(f"{name}: {line}")
        )

    def compute(self, job: Job, work: Work, number: int) -> bool:
        before, here, total = self.before, self.sizes[number], max(1, sum(self.sizes))

        def done(boxes: int, of: int) -> None:
            share = (before + here * boxes / of) / total
            spent = time.monotonic() - self.begun
            self.at(number, share, spent / max(share, 1e-6) - spent)
            self.check()

        self.check()
        work.compute(done, lambda line: self.tell(f"{printable(str(work.target))}: {line}"))
        self.more(job, work)
        self.check()
        return True

    def write(self, job: Job, work: Work, begun: float) -> None:
        def act() -> bool:
            receipt = ""
            if self.receipt:
                made_by = self.how.networks.identity(work.plan.steps)
                receipt = self.receipt_text or receipt_of(
                    place_of(job.source, job.target), digest_of(job.source), self.said, made_by
                )
            if self.receipt == "xmp":
                work.encoding = replace(work.encoding, receipt=receipt)
            if notice := work.write():
                self.tell(f"{printable(job.target)}: {notice}")
            if self.receipt == "sidecar":
                keep_beside(job.target, receipt)
            return True

        try:
            if self.attempt(job, act) is None:
                return
        finally:
            work.close()
        if self.journal is not None:
            self.journal.add(job)
        self.made(job, work, time.monotonic() - begun)


def pixels_of(path: Path) -> int:
    """Of a picture, by its header; 0 where it cannot be read, which is told in its turn."""
    try:
        head = header(path)
    except Exception:  # whatever it is
        return 0
    return head.width * head.height
