"""What commands print: tables and notices. Results go to stdout, everything else to stderr."""

import sys
from collections.abc import Container, Sequence

from srkit.plugins import Registry, load_plugins
from srkit.progress import Meter, Progress, Stop, TrainingDisplay, say, seconds_of, span, tell

__all__ = [
    "Meter",
    "Progress",
    "Stop",
    "TrainingDisplay",
    "load",
    "say",
    "seconds_of",
    "span",
    "table",
    "tell",
]


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

    print(text_of(headings, rows, right, sections=sections, width=None if sys.stdout.isatty() else 1000))
