"""What wrappers add to a model's name, and how often they call it. Imports no torch."""

from collections.abc import Sequence
from math import prod

from srkit.plugins import Choice


def mark(wrappers: Sequence[Choice]) -> str:
    """What wrappers add to a model's name in tables and file names."""
    return "".join(w.component.mark or f"+{w.label}" for w in wrappers)


def passes(wrappers: Sequence[Choice]) -> int:
    """How often the innermost upscaler is called for one picture."""
    counts = [w.component.passes for w in wrappers]
    return prod(n(**w.options) if callable(n) else n for n, w in zip(counts, wrappers, strict=True))
