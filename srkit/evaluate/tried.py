"""What a trial of several models on one photo gives: a row for each model, the crops. Imports no torch."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np


@dataclass
class Attempt:
    """One model's row. seconds: for all parts. made: SR of each part, uint8. error: why there is none."""

    name: str
    seconds: float = 0.0
    licence: str = ""
    made: list[np.ndarray] = field(default_factory=list)
    error: str = ""


@dataclass(frozen=True)
class TrialCrop:
    """A window of the photo, top and left in LR pixels, as each model makes it.

    difference: in levels of 255; None where there is one model alone.
    """

    top: int
    left: int
    difference: float | None
    pixels: Mapping[str, np.ndarray]


@dataclass(frozen=True)
class Trial:
    """What was tried, as `srkit.try_models` gives it.

    Attributes:
        name: of the photo.
        scale: how many times larger.
        attempts: a row for each model: its name, seconds, licence, or the error that it failed with.
        crops: the windows where the results differ most, each with its `pixels` by model, uint8 H,W,3.
        whole: all of the photo was upscaled, not only its parts with most detail.
    """

    name: str
    scale: int
    attempts: Sequence[Attempt]
    crops: Sequence[TrialCrop]
    whole: bool

    @property
    def title(self) -> str:
        """What was tried, in a line."""
        worked = sum(not each.error for each in self.attempts)
        return f"{self.name} x{self.scale}: {worked} model{'' if worked == 1 else 's'}"

    @property
    def rows(self) -> list[list[str]]:
        """Model, seconds, licence or why it failed, as text."""
        return [
            [each.name, "", f"failed: {each.error}"] if each.error else [each.name, f"{each.seconds:.1f}", each.licence]
            for each in self.attempts
        ]

    def sheet(self) -> np.ndarray:
        """uint8 H,W,3: a row for each crop, a column for the photo and each model that works."""
        from srkit.evaluate.trial import sheet_of

        return sheet_of(self)

    def page(self) -> str:
        """One HTML page without external files: the table, and each crop with a slider between any two columns."""
        from srkit.evaluate.trial import page_of

        return page_of(self)
