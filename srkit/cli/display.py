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


def load() -> Registry:
    """The installed plugins; each broken one is told on stderr, in one line."""
    registry = load_plugins()
    for notice in registry.notices:
        say(notice)
    return registry


def table(
    headings: Sequence[str], rows: Sequence[Sequence[str]], right: Sequence[int] = (), sections: Container[int] = ()
) -> None:
    """Print a table on stdout, never cut where it is piped.

    right: the columns aligned to the right. sections: the rows with a line below them.
    """
    from rich import box
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    console = Console(width=None if sys.stdout.isatty() else 1000, highlight=False)
    made = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for i, heading in enumerate(headings):
        made.add_column(Text(heading), justify="right" if i in right else "left", overflow="fold", no_wrap=i in right)
    for i, row in enumerate(rows):
        made.add_row(*map(Text, row), end_section=i in sections)
    with console.capture() as capture:
        console.print(made)
    print("\n".join(line.rstrip() for line in capture.get().splitlines() if line.strip()))
