"""Learning rates as functions of the step."""

from collections.abc import Callable


def halving(lr: float, every: int) -> Callable[[int], float]:
    """`lr` at step 0, halved each `every` steps. Source: Lim et al. 2017, section 4.2 (every 200,000)."""
    return lambda step: lr * 0.5 ** (step // every)
