"""Geometric self-ensemble: the mean of what a model makes of all eight flips and transposes of a picture."""

from collections.abc import Callable
from itertools import product

from torch import Tensor


class SelfEnsemble:
    """An upscaler that averages eight passes, before any rounding. Source: Lim et al. 2017, section 3.4."""

    def __init__(self, upscaler: Callable[[Tensor], Tensor]):
        self.upscaler = upscaler

    def __call__(self, lr: Tensor) -> Tensor:
        """B,3,H,W in [0, 1] -> B,3,s*H,s*W."""
        passes = [self.one(lr, *turn) for turn in product((False, True), repeat=3)]
        return sum(passes[1:], start=passes[0]) / len(passes)

    def one(self, lr: Tensor, transpose: bool, vertical: bool, horizontal: bool) -> Tensor:
        """Turn the picture, upscale it, turn the result back."""
        axes = [axis for axis, flip in ((-2, vertical), (-1, horizontal)) if flip]
        sr = self.upscaler((lr.mT if transpose else lr).flip(axes)).flip(axes)
        return sr.mT if transpose else sr
