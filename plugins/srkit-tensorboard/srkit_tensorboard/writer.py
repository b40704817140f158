"""Write a run's figures and pictures as TensorBoard event files."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from annotated_types import Gt

from srkit import PluginError

try:
    from torch.utils.tensorboard import SummaryWriter
except ImportError as error:
    raise PluginError(f"TensorBoard is not usable here ({error}); pip install tensorboard") from None

if TYPE_CHECKING:
    import numpy as np


class TensorBoard:
    """Writes `run_dir/events.out.tfevents.*`, one file for each session of the run.

    TensorBoard itself drops what an earlier session wrote from the first step of a later one on.
    """

    def __init__(
        self,
        run_dir: Path,
        *,
        images: Annotated[bool, "write the validation picture too"] = True,
        images_every: Annotated[int, Gt(0), "of so many validations, the first one's picture is written"] = 1,
    ):
        self.run_dir = run_dir
        self.images_every = images_every if images else 0
        self.validations = 0
        self.writer: SummaryWriter | None = None

    def scalars(self, step: int, values: Mapping[str, float]) -> None:
        """One point for each name at `step`, counted from 1."""
        writer = self.open(step)
        for name, value in values.items():
            writer.add_scalar(name, value, step)
        writer.flush()  # a killed session goes on from its last checkpoint, and no point before that may be missing

    def images(self, step: int, pictures: Mapping[str, "np.ndarray"]) -> None:
        """pictures: H,W,3 uint8, kept as PNG to the last bit."""
        self.validations += 1
        if not self.images_every or (self.validations - 1) % self.images_every:
            return
        writer = self.open(step)
        for name, pixels in pictures.items():
            writer.add_image(name, pixels, step, dataformats="HWC")
        writer.flush()

    def open(self, step: int) -> SummaryWriter:
        """The writer, made at the first step there is something to write for: the step the session goes on at."""
        if self.writer is None:
            self.writer = SummaryWriter(str(self.run_dir), purge_step=step)
        return self.writer

    def close(self) -> None:
        if self.writer is not None:
            self.writer.close()
