"""What happens between two steps: log, validate, checkpoint when due, stop when told."""

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from srkit import checkpoint
from srkit.data.store import Store
from srkit.errors import CheckpointError, SrkitError, one_line
from srkit.evaluate.protocol import DEFAULT, protocol_named
from srkit.evaluate.score import Metrics, mean, score_image
from srkit.plugins import Choice
from srkit.run import Run
from srkit.train import state
from srkit.train.distributed import World
from srkit.train.loop import Diverged, Done
from srkit.upscale.wrap import make_upscaler

LOG_EVERY = 100  # steps between lines of the log
SHOW_SECONDS = 0.5  # between looks at the loss for the progress bar, each of which waits for the device
VALIDATION_METRIC = "psnr"


class Display(Protocol):
    """How a session speaks to whoever watches."""

    def say(self, text: str) -> None: ...
    def packing(self, what: str, done: int, total: int) -> None: ...
    def training(self, step: int) -> None: ...  # the loop begins, with `step` steps done
    def progress(self, step: int, loss: float, psnr: float | None) -> None: ...


@dataclass(frozen=True)
class Limits:
    """What may end a session before its last step, and how often it saves. Neither changes any weight."""

    max_seconds: float = math.inf
    save_seconds: float = 60.0
    stop: Callable[[], bool] = lambda: False


class Keeper:
    """Keeps one run's folder while it trains. Only the main rank writes; all ranks validate, each its share.

    net: the network that is scored and saved, the averaged one where there is an average. parts: what
    the training state holds, by name.
    """

    def __init__(
        self, run: Run, model: Choice, net: nn.Module, parts: Mapping[str, Any], optimizer: torch.optim.Optimizer,
        folder: Path, device: torch.device, world: World, display: Display, limits: Limits,
        validation: Mapping[int, Store], metrics: Metrics, trackers: Sequence[Any],
    ):  # fmt: skip
        self.run, self.model, self.net, self.parts, self.optimizer = run, model, net, parts, optimizer
        self.folder, self.device, self.world, self.display, self.limits = folder, device, world, display, limits
        self.validation, self.metrics, self.trackers = validation, metrics, list(trackers)
        self.best: tuple[float, int] | None = None
        self.psnr: float | None = None
        self.loss = math.nan
        self.step = self.validated = 0  # steps done; and at the last validation
        self.retreats = 0  # times the run stepped back and halved its learning rate
        self.reason = "finished"
        self.loss_sum: Tensor | float = 0.0
        self.loss_count = self.skipped = 0
        self.told: set[str] = set()
        self.owed: tuple[dict[str, Tensor], dict[str, Any]] | None = None  # the best weights, until they are written
        self.begun = self.shown = self.saved = time.monotonic()

    def take_up(self, about: Mapping[str, Any]) -> None:
        """Go on from a saved state."""
        self.step, self.retreats = about.get("step", 0), about.get("retreats", 0)
        self.best = tuple(about["best"]) if about.get("best") else None

    def wants_to_stop(self) -> bool:
        """This rank's wish; the loop makes all ranks agree."""
        return self.limits.stop() or time.monotonic() - self.begun >= self.limits.max_seconds

    def after(self, done: Done) -> bool:
        """Called after each step; True ends the training."""
        self.step = done.steps
        if done.good:
            self.loss_sum = self.loss_sum + done.loss
            self.loss_count += 1
        else:
            self.skipped += 1
            if self.skipped == 1:
                self.display.say(f"step {self.step:,}: the loss is {float(done.loss):.4g}; skipped")
        now = time.monotonic()
        if now - self.shown >= SHOW_SECONDS or self.step == self.run.steps:
            self.shown = now
            self.loss = float(done.loss)
            self.display.progress(self.step, self.loss, self.psnr)
        if self.step % LOG_EVERY == 0:
            self.log_training()

        if done.stop and self.step < self.run.steps:
            self.reason = "stopped" if any(self.world.collect(self.limits.stop())) else "time"
        ending = self.reason != "finished" or self.step == self.run.steps
        if self.step % self.run.validate_every == 0 or (ending and self.reason != "stopped"):
            self.validate()
            patience = self.run.early_stop * self.run.validate_every
            if patience and self.best and self.step - self.best[1] >= patience:
                ending, self.reason = True, "no better"
        if ending or (done.good and now - self.saved >= self.limits.save_seconds):  # never amid bad steps
            self.save(ending)
            self.saved = time.monotonic()
        return ending

    def finite_weights(self) -> bool:
        return all(bool(p.isfinite().all()) for p in self.net.parameters())

    def log_training(self) -> None:
        values = {"lr": self.optimizer.param_groups[0]["lr"]}
        if self.loss_count:
            values = {"loss": float(self.loss_sum) / self.loss_count, **values}
        if self.skipped:
            values["skipped"] = self.skipped
            if self.skipped > 1:
                self.display.say(f"{self.skipped} of the last {LOG_EVERY} steps were skipped")
        self.track("scalars", values)
        self.loss_sum, self.loss_count, self.skipped = 0.0, 0, 0

    def track(self, what: str, values: Mapping[str, Any]) -> None:
        """Tell the trackers. One that fails is said once and does not end the training."""
        for tracker in self.trackers:
            try:
                getattr(tracker, what)(self.step, values)
            except Exception as error:
                self.once(f"tracker {type(tracker).__name__} fails, the training goes on: {one_line(error)}")

    def once(self, text: str) -> None:
        if text not in self.told:
            self.told.add(text)
            self.display.say(text)

    def validate(self) -> None:
        """Score the validation pictures at every scale; write `best` when the mean PSNR is a new best."""
        if not self.finite_weights():  # alike on every rank
            raise Diverged
        protocol = protocol_named(DEFAULT)
        upscalers = {
            scale: make_upscaler(self.net, self.model, scale, channels_last=self.run.channels_last)
            for scale in self.validation
        }
        items = [(scale, i) for scale, store in self.validation.items() for i in range(len(store))]
        mine = {}
        for number, (scale, i) in list(enumerate(items))[self.world.rank :: self.world.size]:
            store = self.validation[scale]
            lr, hr, name = store.image("lr", i), store.image("hr", i), store.names[i]
            result = score_image(upscalers[scale], lr, hr, scale, self.metrics, protocol, device=self.device, name=name)
            mine[number] = result.scores[VALIDATION_METRIC]
            if number == 0:
                first = {f"{name}_x{scale}": result.sr}
        found = {number: score for part in self.world.collect(mine) for number, score in part.items()}
        self.psnr, self.validated = mean(found[number] for number in range(len(items))), self.step
        self.track("scalars", {f"psnr_{DEFAULT}": self.psnr})
        if self.world.main:
            self.track("images", first)
        self.display.progress(self.step, self.loss, self.psnr)
        if self.best is None or self.psnr > self.best[0]:
            self.best, self.owed = (self.psnr, self.step), self.snapshot(self.psnr)
            self.keep(self.save_best)

    def save(self, ending: bool) -> None:
        """The training state first, since it is what a resume needs; then the weights to use."""
        if self.finite_weights():  # else the next steps are bad ones, and what is saved stays good
            self.keep(self.save_everything, ending)

    def keep(self, write: Callable[[], None], must: bool = False) -> None:
        """Write as the main rank. A full disk is said, and tried again at the next save, unless it `must` be now."""
        if not self.world.main:
            return
        try:
            write()
        except CheckpointError as error:
            if must:
                raise SrkitError(
                    f"{one_line(error)}. What was saved before is whole: make room, then srkit train --resume "
                    f"{self.folder}"
                ) from None
            self.display.say(f"{one_line(error)}; the training goes on and tries again at the next save")

    def save_everything(self) -> None:
        self.save_state()
        # A score belongs to the weights it was measured on: later weights carry none.
        snapshot = self.snapshot(self.psnr if self.validated == self.step else None)
        checkpoint.save_tensors(self.folder / "last.safetensors", *snapshot)
        self.save_best()

    def save_best(self) -> None:
        if self.owed is not None:
            checkpoint.save_tensors(self.folder / "best.safetensors", *self.owed)
            self.owed = None

    def save_state(self) -> None:
        about = {"best": self.best, "retreats": self.retreats, "ranks": self.world.size, "run": self.run.to_dict()}
        state.save_state(self.folder, self.step, about, self.parts)

    def snapshot(self, psnr: float | None) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """The weights as they are now, copied, and what they are."""
        entry = self.model.entry
        scores = {} if psnr is None else {"psnr": psnr, "protocol": DEFAULT, "set": self.run.validation.name}
        about = {
            "model": {"name": entry.qualified, "version": entry.version, "options": self.model.options},
            "scales": list(self.run.scales), "step": self.step, "scores": scores,
            "licence": self.model.component.licence, "run": self.run.to_dict(),
        }  # fmt: skip
        return {name: tensor.detach().cpu().clone() for name, tensor in self.net.state_dict().items()}, about

    def close(self) -> None:
        for tracker in self.trackers:
            try:
                tracker.close()
            except Exception as error:
                self.display.say(f"tracker {type(tracker).__name__} cannot be closed: {one_line(error)}")
