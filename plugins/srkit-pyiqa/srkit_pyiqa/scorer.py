"""From pyiqa's name of a metric to `metric(sr, hr) -> float`, on the pixels srkit's protocol leaves."""

import sys
from collections.abc import Callable
from contextlib import redirect_stdout

import numpy as np
import torch

from srkit import DataError
from srkit_pyiqa import srkit_name
from srkit_pyiqa.weights import load


def scorer(name: str) -> Callable[..., float]:
    """pyiqa's metric `name`, on the GPU where there is one. Raises SrkitError where it or its weights cannot be had.

    What it gives takes `sr` and `hr`, float64 in [0, 255], `H,W` (luma) or `H,W,3` (RGB), and raises DataError for
    a picture that pyiqa cannot score, such as one smaller than MS-SSIM's five levels need.
    """
    model = load(name)

    def score(sr: np.ndarray, hr: np.ndarray | None = None) -> float:
        pictures = [sr] if hr is None or model.metric_mode == "NR" else [sr, hr]
        try:
            with redirect_stdout(sys.stderr):  # what pyiqa prints must not spoil --json
                return float(model(*map(to_tensor, pictures)))
        except Exception as error:
            height, width = sr.shape[:2]
            text = " ".join(str(error).split())
            raise DataError(
                f"metric '{srkit_name(name)}' cannot score this {width}x{height} picture: {text}"
            ) from error

    return score


def to_tensor(picture: np.ndarray) -> torch.Tensor:
    """float64 `H,W` or `H,W,3` in [0, 255] -> a new float32 1,3,H,W in [0, 1].

    Luma becomes three equal channels. pyiqa turns those into the same luma again where it wants one channel, while
    given one channel some of its metrics refuse it (FSIM, VIF, GMSD) or mistake its range (entropy).
    """
    if picture.ndim == 2:
        picture = np.repeat(picture[..., None], 3, axis=2)
    # Contiguous and new: A-FINE normalises its input in place.
    return torch.from_numpy(picture / 255).float().permute(2, 0, 1)[None].contiguous()
