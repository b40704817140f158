"""What happens between two steps: log, validate, checkpoint when due, stop when told."""

import math
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from srkit import checkpoint
from srkit.data.pairs import shallow
from srkit.errors import CheckpointError, SrkitError, one_line
from srkit.evaluate.score import ImageScore, score_image
from srkit.evaluate.selection import Selection
from srkit.evaluate.statistics import mean
from srkit.nets import native_precision
from srkit.train import state
from srkit.train.copying import Copier
from srkit.train.distributed import World
from srkit.train.loop import Diverged, Done
from srkit.train.sharding import whole
from srkit.train.trainee import Display, Trainee, ValidationSet
from srkit.upscale.wrap import FAR, make_upscaler

LOG_EVERY = 100  # steps between lines of the log
SHOW_SECONDS = 0.5  # between looks at the loss for the progress bar, each of which waits for the device


@dataclass(frozen=True)
class Limits:
    """What may end a session before its last step, and how often it saves. Neither changes any weight."""

    max_seconds: float = math.inf
    save_seconds: float = 60.0
    stop: Callable[[], bool] = lambda: False


class Keeper:
    """Keeps one run's folder while it trains. Only the main rank writes; all ranks validate, each its share."""

    def __init__(
        self,
        trainee: Trainee,
        folder: Path,
        *,
        world: World,
        display: Display,
        limits: Limits,
        trackers: Sequence[Any] = (),
        copier: Copier | None = None,
    ):
        self.trainee, self.run, self.selection = trainee, trainee.run, trainee.selection
        self.folder, self.world, self.display, self.limits, self.trackers = folder, world, display, limits, trackers
        self.copier = copier
        self.best: tuple[float, int] | None = None  # score and step
        self.score: float | None = None  # of the latest validation, over all scales
        self.by_scale: dict[int, float] = {}  # of the latest validation, and of the best one
        self.best_by_scale: dict[int, float] = {}
        self.loss = math.nan
        self.step = self.validated = 0  # steps done; and at the last validation
        self.retreats = 0  # times the run stepped back and halved its learning rate
        self.reason = "finished"
        self.loss_sum: Tensor | float = 0.0
        self.part_sums: dict[str, Tensor | float] = {}  # of what else a step says, as loss_sum
        self.loss_count = self.skipped = 0
        self.told: set[str] = set()
        self.owed: tuple[dict[str, Tensor], dict[str, Any]] | None = None  # the best weights, until they are written
        self.writer = ThreadPoolExecutor(1, "srkit-save")
        self.writing: Future[None] | None = None
        self.begun = self.shown = self.saved = time.monotonic()

    def begin(self) -> None:
        """Save the first state, so that there is always one to step back to; and a disk to write on, or an error."""
        if self.world.main or self.world.shard:
            write = self.state()
            if self.world.main:
                write()

    def take_up(self, about: Mapping[str, Any]) -> None:
        """Go on from what a saved state says of itself."""
        self.step, self.retreats = about.get("step", 0), about.get("retreats", 0)
        self.best = tuple(about["best"]) if about.get("best") else None
        self.best_by_scale = {int(scale): score for scale, score in about.get("best_by_scale", {}).items()}
        before = about.get("selected_by", "psnr_y")  # which a state of srkit 0.1 does not say
        if self.best and before != self.selection.key:
            self.best, self.best_by_scale = None, {}
            self.display.say(f"the best checkpoint was chosen by {before}; from here on it is by {self.selection.key}")

    def slowed(self, step: int) -> None:
        """Set the schedule's learning rates for `step`, halved for each time the run stepped back."""
        self.trainee.rates(step)
        for group in self.trainee.optimizer.param_groups:
            group["lr"] *= 0.5**self.retreats

    def wants_to_stop(self) -> bool:
        """What this rank asks for; the loop makes all ranks agree."""
        return self.limits.stop() or time.monotonic() - self.begun >= self.limits.max_seconds

    def after(self, done: Done) -> bool:
        """Called after each step; True ends the training."""
        self.step = done.steps
        if done.good:
            self.loss_sum = self.loss_sum + done.loss
            self.loss_count += 1
            for name, value in done.parts.items():
                self.part_sums[name] = self.part_sums.get(name, 0.0) + value
        else:
            self.skipped += 1
            if self.skipped == 1:
                self.display.say(f"step {self.step:,}: the loss is {float(done.loss):.4g}; skipped")
        now = time.monotonic()
        if now - self.shown >= SHOW_SECONDS or self.step == self.run.steps:
            self.shown = now
            self.loss = float(done.loss)
            self.show()
        if done.stop and self.step < self.run.steps:
            self.reason = "stopped" if any(self.world.collect(self.limits.stop())) else "time"
        ending = self.reason != "finished" or self.step == self.run.steps
        if self.step % LOG_EVERY == 0 or ending:
            self.log_training()
        if self.step % self.run.validate_every == 0 or (ending and self.reason != "stopped"):
            self.validate()
            patience = self.run.early_stop * self.run.validate_every
            if patience and self.best and self.step - self.best[1] >= patience:
                ending, self.reason = True, "no better"
                if self.step % LOG_EVERY:
                    self.log_training()
        due = self.world.first_says(now - self.saved >= self.limits.save_seconds, self.trainee.device)
        if ending or (done.good and due):  # never amid bad steps
            self.save(ending)
            self.saved = time.monotonic()
        return ending

    def show(self) -> None:
        score = "" if self.score is None else self.selection.told(self.score, self.by_scale)
        self.display.progress(self.step, self.loss, score)

    def finite_weights(self) -> bool:
        return all(bool(whole(p.isfinite().all())) for p in self.trainee.scored.parameters())

    def log_training(self) -> None:
        values = {"lr": self.trainee.optimizer.param_groups[0]["lr"]}
        if self.loss_count:
            mine = {name: float(total) / self.loss_count for name, total in self.part_sums.items()}
            ranks = self.world.collect(mine) if mine else []  # alike on every rank
            parts = {name: sum(rank[name] for rank in ranks) / len(ranks) for name in mine}
            values = {"loss": float(self.loss_sum) / self.loss_count, **parts, **values}
        if self.skipped:
            values["skipped"] = self.skipped
            if self.skipped > 1:
                self.display.say(f"{self.skipped} of the last {self.loss_count + self.skipped} steps were skipped")
        self.track("scalars", values)
        self.loss_sum, self.part_sums, self.loss_count, self.skipped = 0.0, {}, 0, 0

    def track(self, what: str, values: Mapping[str, Any]) -> None:
        """Tell the trackers. One that fails is said once and does not end the training."""
        for tracker in self.trackers:
            try:
                getattr(tracker, what)(self.step, values)
            except Exception as error:
                self.once(f"tracker {type(tracker).__name__} fails, the training goes on: {one_line(error)}")

    def once(self, text: str, topic: str = "") -> None:
        """Say a text, or the first one on a topic."""
        if (topic or text) not in self.told:
            self.told.add(topic or text)
            self.display.say(text)

    def validate(self) -> None:
        """Score each validation set at every scale; write `best` when the first one's mean is a new best."""
        if not self.finite_weights():  # alike on every rank
            raise Diverged
        values: dict[str, float] = {}
        for number, tested in enumerate(self.trainee.validation):
            before = f"{tested.label}/" if number else ""
            with self.trainee.scoring() as net:
                scored = self.scores(net, tested, before)
            for selection, score, by_scale in scored:
                if not values:
                    self.score, self.by_scale, self.validated = score, by_scale, self.step
                values[f"{before}{selection.key}"] = score
                if len(by_scale) > 1:
                    values |= {f"{before}{selection.key}_x{scale}": each for scale, each in by_scale.items()}
        self.track("scalars", values)
        self.show()
        assert self.score is not None
        if self.selection.prefers(self.score, self.best[0] if self.best else None):
            self.best, self.best_by_scale = (self.score, self.step), self.by_scale
            self.owed = self.snapshot(self.score)
            self.keep(self.best_weights)

    def scores(
        self, net: nn.Module, tested: ValidationSet, before: str
    ) -> list[tuple[Selection, float, dict[int, float]]]:
        """By each metric the mean score of a set, and that of each scale. before: begins its pictures' names."""
        items = [(scale, i) for scale, store in tested.stores.items() for i in range(len(store))]
        own = range(len(items))[self.world.rank :: self.world.size]
        mine = {n: self.score_picture(net, tested, *items[n]) for n in own}
        parts = self.world.collect({n: image.scores for n, image in mine.items()})
        found = {n: scores for part in parts for n, scores in part.items()}
        if self.world.main:
            self.track("images", {f"{before}{mine[0].name}_x{items[0][0]}": mine[0].sr})
        told = []
        for selection in tested.selections:
            scores = [found[n][selection.metric] for n in range(len(items))]
            by_scale = {
                wanted: mean(score for score, (scale, _) in zip(scores, items, strict=True) if scale == wanted)
                for wanted in tested.stores
            }
            told.append((selection, mean(scores), by_scale))
        return told

    def score_picture(self, net: nn.Module, tested: ValidationSet, scale: int, index: int) -> ImageScore:
        trainee, store = self.trainee, tested.stores[scale]
        hr = shallow(store.image("hr", index))  # what a score is of
        image = score_image(
            make_upscaler(net, trainee.model, scale, channels_last=self.run.channels_last, in_range=False),
            store.image("lr", index),
            hr,
            scale=scale,
            metrics=tested.metrics,
            protocol=tested.selections[0].protocol,
            device=trainee.device,
            name=store.names[index],
        )
        made, meant = (float(pixels.mean()) / 255 for pixels in (image.sr, hr))
        if abs(made - meant) > FAR:  # told, and no error: a network that has just begun may be anywhere
            self.once(
                f"validation of step {self.step:,}: '{trainee.model.label}' makes '{image.name}' {made:.2f} bright on "
                f"average, not {meant:.2f}; if that stays, its values are not in [0, 1]",
                topic="range",
            )
        return image

    def save(self, ending: bool) -> None:
        """The training state first, since it is what a resume needs; then the weights to use."""
        if self.copier and self.copier.failure and not ending:
            self.once(f"{self.copier.failure}; the training goes on and tries again with each state", topic="copy")
        if self.finite_weights():  # else the next steps are bad ones, and what is saved stays good
            self.keep(self.everything, must=ending)

    def keep(self, copy: Callable[[], Callable[[], None]], must: bool = False) -> None:
        """Write as the main rank: `copy` what changes, which all wait for, and then write it while training goes on.

        A full disk is said, and tried again at the next save, unless it `must` be now.
        """
        if not self.world.main:
            if self.world.shard:
                copy()  # which is made of every rank's parts
            return
        self.written()
        self.writing = self.writer.submit(copy())
        if must:
            self.written(must)

    def written(self, must: bool = False) -> None:
        """Wait until all is on the disk that was to be written."""
        writing, self.writing = self.writing, None
        try:
            if writing is not None:
                writing.result()
        except CheckpointError as error:
            if must:
                raise SrkitError(
                    f"{one_line(error)}. What was saved before is whole: make room, then srkit train --resume "
                    f"{self.folder}"
                ) from None
            self.display.say(f"{one_line(error)}; the training goes on and tries again at the next save")

    def everything(self) -> Callable[[], None]:
        write_state = self.state()
        # A score belongs to the weights it was measured on: later weights carry none.
        snapshot = self.snapshot(self.score if self.validated == self.step else None)
        write_best = self.best_weights()

        def write() -> None:
            write_state()
            checkpoint.save_tensors(self.folder / "last.safetensors", *snapshot)
            write_best()
            if self.copier:
                self.copier.offer()

        return write

    def best_weights(self) -> Callable[[], None]:
        owed = self.owed

        def write() -> None:
            if owed is not None:
                checkpoint.save_tensors(self.folder / "best.safetensors", *owed)
                self.owed = None if self.owed is owed else self.owed

        return write

    def state(self) -> Callable[[], None]:
        about = {
            "best": self.best,
            "best_by_scale": self.best_by_scale,
            "selected_by": self.selection.key,
            "retreats": self.retreats,
            "ranks": self.world.size,
            "native": native_precision(self.trainee.device),
            "run": self.run.to_dict(),
        }
        copied = state.copied(about, self.trainee.parts(), writes=self.world.main)
        return partial(state.write_state, self.folder, self.step, *copied)

    def snapshot(self, score: float | None) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """The weights as they are now, copied, and what they are."""
        model, selection = self.trainee.model, self.selection
        measured = {selection.metric: score, "protocol": selection.protocol.name, "set": self.run.validation[0].name}
        about = {
            "model": {"name": model.entry.qualified, "version": model.entry.version, "options": model.options},
            "scales": list(self.run.scales),
            "step": self.step,
            "scores": {} if score is None else measured,
            "licence": model.component.licence,
            "training_lr": self.trainee.lr_maker,
            "run": self.run.to_dict(),
        }
        with self.trainee.averaged():
            tensors = ((name, whole(tensor.detach())) for name, tensor in self.trainee.scored.state_dict().items())
            return {name: tensor.to("cpu", copy=True) for name, tensor in tensors if self.world.main}, about

    def finish_copy(self) -> None:
        """Wait until the copy has all. SrkitError where it has not."""
        if self.copier:
            self.copier.close(self.display.say)

    def close(self) -> None:
        self.written()
        self.writer.shutdown()
        for tracker in self.trackers:
            try:
                tracker.close()
            except Exception as error:
                self.display.say(f"tracker {type(tracker).__name__} cannot be closed: {one_line(error)}")
