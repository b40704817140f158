"""pyiqa's metrics as a loss: what training minimises is what the metric measures."""

from typing import Annotated
from unittest import mock

import torch
from torch import Tensor, nn

from srkit import DataError, UnknownName, UsageError
from srkit_pyiqa import RANGES, srkit_name, table
from srkit_pyiqa.weights import load


def normalised(features: Tensor, eps: float = 1e-10) -> Tensor:
    """LPIPS's own division by the norm over channels, with a gradient where all are zero: there it would be NaN."""
    return features / ((features.square().sum(1, keepdim=True) + eps**2).sqrt() + eps)


class Pyiqa(nn.Module):
    """The mean of a metric over the batch, turned round where higher is better: its highest value, or 0, less it.

    sr, hr: B,3,H,W float in [0, 1]. The metric's network is frozen, in evaluation mode, and no part of the training
    state; a resumed run reads its weights from where they were. A metric that needs no reference judges sr alone.
    """

    def __init__(
        self,
        *,
        metric: Annotated[str, "a metric by its name here or pyiqa's: lpips, dists, ms-ssim, topiq-fr"] = "lpips",
    ):
        super().__init__()
        rows = {srkit_name(row["name"]): row for row in table()}
        row = rows.get(metric) or {row["name"]: row for row in table()}.get(metric)
        if row is None:
            raise UnknownName(f"loss 'pyiqa': pyiqa has no metric '{metric}'; 'srkit plugins --kind metric' lists them")
        self.metric, self.higher_is_better = metric, row["better"] == "higher"
        best = RANGES.get(row["name"], (0.0, 0.0))[1]
        self.best = best if best < float("inf") else 0.0
        self.model = load(row["name"], as_loss=True).requires_grad_(False)
        self.eval()

    def forward(self, sr: Tensor, hr: Tensor) -> Tensor:
        from pyiqa.archs import lpips_arch  # `load` has imported it, which is not as easy as it looks

        try:
            with mock.patch.object(lpips_arch, "normalize_tensor", normalised):
                value = self.model(sr, None if self.model.metric_mode == "NR" else hr)
        except (AssertionError, IndexError, RuntimeError, ValueError) as error:
            if isinstance(error, torch.OutOfMemoryError) or "allocate memory" in str(error):
                raise
            text = " ".join(str(error).split()) or type(error).__name__
            height, width = sr.shape[-2:]
            raise DataError(
                f"loss 'pyiqa': '{self.metric}' cannot score patches of {width}x{height}: {text}"
            ) from error
        if sr.requires_grad and torch.is_grad_enabled() and not value.requires_grad:
            raise UsageError(f"loss 'pyiqa': '{self.metric}' gives no gradient, so nothing can be trained by it")
        return self.best - value if self.higher_is_better else value

    def train(self, mode: bool = True) -> "Pyiqa":
        """Stays in evaluation mode, whatever is asked."""
        return super().train(False)

    def state_dict(self, *args: object, **kwargs: object) -> dict[str, Tensor]:
        """Empty: nothing here is trained."""
        return {}

    def load_state_dict(self, *args: object, **kwargs: object) -> None:
        """Nothing: see `state_dict`."""
