"""Distillation: a network in training is to make what a trained one makes."""

import hashlib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

import torch
from torch import Tensor
from torch.nn import functional as F

import srkit
from srkit import UsageError
from srkit_builtin.self_ensemble import SelfEnsemble

DISTANCES: dict[str, Callable[[Tensor, Tensor], Tensor]] = {"l1": F.l1_loss, "l2": F.mse_loss}
FORMATS = {"bf16": torch.bfloat16, "fp16": torch.float16}


class Distillation:
    """The mean distance of sr from what the teacher makes of the same lr, clipped to [0, 1]. hr is not looked at.

    sr, hr: B,3,H,W float in [0, 1]; lr: B,3,h,w. The teacher is frozen, in evaluation mode, and no part of what is
    trained or saved; a state names its weight file by sha256, and a run does not go on with another one.
    Source: Hinton et al., Distilling the Knowledge in a Neural Network, 2015; on pictures, as in He et al., FAKD, ICIP
    2020, whose loss on the teacher's result this is, without that on its features.
    """

    def __init__(
        self,
        *,
        teacher: Annotated[
            str,
            "who teaches: a model's name, a checkpoint, a run's folder, another program's weight file, or owner/name "
            "on the Hugging Face hub",
        ] = "edsr-small",
        ensemble: Annotated[bool, "teach the mean over eight flips and turns, which is eight times the work"] = False,
        distance: Annotated[Literal["l1", "l2"], "mean absolute or mean squared difference"] = "l1",
        precision: Annotated[Literal["fp32", "bf16", "fp16"], "what the teacher computes in"] = "fp32",
    ):
        self.teacher, self.ensemble, self.precision = teacher, ensemble, precision
        self.distance = DISTANCES[distance]
        self.nets: dict[int, Callable[[Tensor], Tensor]] = {}
        self.multiples: dict[int, int] = {}
        self.sha256: dict[str, str] = {}

    def prepare(self, scales: Sequence[int], device: torch.device) -> None:
        """Load the teacher for each scale. Raises what `srkit.load` raises."""
        for scale in scales:
            loaded = srkit.load(self.teacher, scale, device=str(device))
            net = loaded.single_scale().requires_grad_(False)
            self.nets[scale] = SelfEnsemble(net) if self.ensemble else net
            self.multiples[scale] = loaded.model.component.size_multiple
            self.sha256[str(scale)] = sha256_of(loaded.origin)

    def __call__(self, sr: Tensor, hr: Tensor, *, lr: Tensor) -> Tensor:
        return self.distance(sr, self.taught(lr, sr.shape[-1] // lr.shape[-1]))

    def taught(self, lr: Tensor, scale: int) -> Tensor:
        """What the teacher makes. UsageError for patches of a size that it cannot take."""
        multiple = self.multiples[scale]
        if any(side % multiple for side in lr.shape[-2:]):
            raise UsageError(
                f"the teacher '{self.teacher}' takes patches whose side is a multiple of {multiple}, "
                f"not {lr.shape[-1]}; --set patch={max(lr.shape[-1] // multiple, 1) * multiple}"
            )
        half = self.precision in FORMATS
        with torch.no_grad(), torch.autocast(lr.device.type, FORMATS.get(self.precision), enabled=half):
            return self.nets[scale](lr).float().clamp(0, 1)

    def state_dict(self) -> dict[str, Any]:
        """Which files taught, by scale."""
        return {"sha256": dict(self.sha256)}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """UsageError where another file has taught until now."""
        if dict(state["sha256"]) != self.sha256:
            raise UsageError(
                f"the teacher '{self.teacher}' is another weight file than this run began with; put that back, or "
                "begin a new run"
            )


def sha256_of(path: str) -> str:
    """Of a file; empty for no path, as an interpolation has none."""
    if not path:
        return ""
    with Path(path).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
