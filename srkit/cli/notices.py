"""What the library logs while a command runs becomes lines on stderr, a few of each kind."""

import logging
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

from srkit.cli import display

TOLD = 3  # of one kind


class Told(logging.Handler):
    """`LOG.warning("%s: %s", picture, what)` as a notice; after a few of the same `what` only that there are more."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.seen: Counter[str] = Counter()

    def emit(self, record: logging.LogRecord) -> None:
        what = str(record.args[-1]) if isinstance(record.args, tuple) and record.args else record.getMessage()
        self.seen[what] += 1
        if self.seen[what] <= TOLD:
            display.say(record.getMessage())
        elif self.seen[what] == TOLD + 1:
            display.say(f"and more pictures: {what}")


@contextmanager
def notices() -> Iterator[None]:
    handler, log = Told(), logging.getLogger("srkit")
    log.addHandler(handler)
    try:
        yield
    finally:
        log.removeHandler(handler)
