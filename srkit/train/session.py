"""Turn a Run into live objects, train it, and keep its folder: run.toml, log, best, last, training state."""

import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor, nn

from srkit.data.sampler import Sampler
from srkit.data.store import Store, packed
from srkit.errors import PluginError, SrkitError, UsageError, one_line
from srkit.evaluate.protocol import DEFAULT, protocol_named
from srkit.evaluate.score import mean, score_image
from srkit.images import write_atomically
from srkit.load import build_net, check_scales, checkpoint_in, out_of_memory, parameter_count
from srkit.plugins import Choice, Registry
from srkit.run import Part, Run, read_run_file
from srkit.train import checkpoint
from srkit.train.loop import Criterion, train
from srkit.train.schedule import halving
from srkit.upscale.wrap import make_upscaler

LOG_EVERY = 100  # steps between lines of the log
SHOW_SECONDS = 0.5  # between looks at the loss for the progress bar, each of which waits for the device
VALIDATION_METRIC = "psnr"
ALWAYS_ON = Part(name="srkit:jsonl")


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


@dataclass(frozen=True)
class Outcome:
    """steps: done so far. reason: "finished", "time" or "stopped". best: (PSNR, step), or None before a validation."""

    steps: int
    reason: str
    best: tuple[float, int] | None


def new_folder(out: Path | None, run: Run, registry: Registry) -> Path:
    """The folder of a new run: `out`, which must not hold one, or the first free `runs/<model>_x<scale>`."""
    if out is not None:
        if (out / "run.toml").exists() or checkpoint.states(out):
            raise UsageError(f"'{out}' already holds a run; go on with it by --resume {out}, or name another --out")
        if out.exists() and not out.is_dir():
            raise UsageError(f"--out '{out}' is a file; name a folder")
        return out
    label = registry.choose("model", run.model.name, run.model.options).label
    base = Path("runs") / f"{label}_x{'x'.join(map(str, run.scales))}"
    free = (base if n == 1 else base.with_name(f"{base.name}-{n}") for n in range(1, 10_000))
    return next(folder for folder in free if not folder.exists())


def reopen(folder: Path, steps: int | None = None) -> Run:
    """The run of a folder, to resume it; with another number of steps if one is given."""
    if not (folder / "run.toml").is_file():
        raise UsageError(f"no run to resume in '{folder}': it has no run.toml")
    run = Run.from_dict(read_run_file(folder / "run.toml"))
    return replace(run, steps=steps) if steps else run


def run_training(
    run: Run, registry: Registry, folder: Path, device: torch.device, display: Display, limits: Limits | None = None
) -> Outcome:
    """Train `run`, a resolved one, in `folder`: from its newest training state if there is one, to the end or a limit.

    The folder is made, and run.toml written, only when everything the run names is there and fits.
    Raises UsageError for what does not fit together, DataError and ImageError for bad pictures,
    CheckpointError where the folder cannot be written.
    """
    limits = limits or Limits()
    model = registry.choose("model", run.model.name, run.model.options)
    if not model.component.trainable:
        raise UsageError(f"'{model.label}' has no parameters to train")
    check_scales(model, run.scales)
    memory = torch.channels_last if run.channels_last else torch.contiguous_format

    torch.manual_seed(run.seed)
    net = build_net(model, run.scales).to(device).to(memory_format=memory)
    losses = [build_part(registry, "loss", part) for part in run.loss]
    criterion = Criterion(losses, [part.weight for part in run.loss]).to(device)
    augment = nn.Sequential(*(build_part(registry, "augmentation", part) for part in run.augmentation)).to(device)
    trained = [p for p in net.parameters() if p.requires_grad]
    optimizer = torch.optim.Adam(trained, lr=run.lr, betas=run.betas, eps=run.eps)

    samplers = {}
    for scale in run.scales:
        store = pack(registry, run.data, scale, display)
        samplers[scale] = Sampler(store, scale=scale, batch=run.batch, patch=run.patch, seed=run.seed, device=device)
        if left_out := samplers[scale].left_out:
            display.say(
                f"{len(left_out)} pictures are smaller than a patch and left out: {', '.join(left_out[:3])} ..."
            )
    validation = {scale: pack(registry, run.validation, scale, display) for scale in run.scales}

    parts = {"net": net, "optimizer": optimizer}
    parts |= {f"loss{i}": loss for i, loss in enumerate(losses) if hasattr(loss, "state_dict")}
    about = checkpoint.load_state(folder, parts)
    if about:
        restride(optimizer)
        display.say(f"resumed at step {about['step']:,}")
    elif run.init_from:
        fitted = checkpoint.init_from(net, checkpoint_in(Path(run.init_from).expanduser()))
        display.say(f"started from {fitted}")
    display.say(
        f"{model.label} x{'x'.join(map(str, run.scales))}, {parameter_count(net):,} parameters, on {device}; "
        f"{len(store)} pictures of '{run.data.root or run.data.name}', {run.steps:,} steps, into {folder}"
    )

    make_folder(folder, run)
    keeper = Keeper(run, model, net, parts, folder, device, display, limits, validation, registry)
    start = 0
    if about:
        start, keeper.best = about["step"], tuple(about["best"]) if about["best"] else None
    if start >= run.steps:
        return Outcome(start, "finished", keeper.best)

    def forward(lr: Tensor, scale: int) -> Tensor:
        lr = lr.contiguous(memory_format=memory)
        return net(lr, scale) if model.component.multi_scale else net(lr)

    display.training(start)
    try:
        train(
            forward, criterion, optimizer, samplers, augment, halving(run.lr, run.halve_every), run.seed,
            range(start, run.steps), keeper.after,
        )  # fmt: skip
    except Exception as error:
        if not checkpoint.states(folder):  # nothing to resume: the folder is as free as it was
            (folder / "run.toml").unlink(missing_ok=True)
        if out_of_memory(error):
            half = max(1, run.batch // 2)
            raise SrkitError(
                f"out of memory with batch={run.batch}, patch={run.patch}; try --set batch={half}"
            ) from None
        raise
    finally:
        keeper.close()
    return Outcome(keeper.step, keeper.reason, keeper.best)


def make_folder(folder: Path, run: Run) -> None:
    """The run's folder with its run.toml, free of what a killed session left half-written."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for leftover in folder.glob(".*.tmp"):
            leftover.unlink()
        write_atomically(folder / "run.toml", lambda file: file.write(run.to_toml().encode()))
    except OSError as error:
        raise UsageError(f"cannot write into '{folder}': {one_line(error)}") from None


def build_part(registry: Registry, kind: str, part: Part, *supplied: Any) -> Any:
    """Build a loss, augmentation, metric or tracker; PluginError, naming it, if its code fails."""
    choice = registry.choose(kind, part.name, part.options)
    try:
        return choice.build(*supplied)
    except SrkitError:
        raise
    except Exception as error:
        raise PluginError(f"{kind} '{choice.entry.qualified}' cannot be built: {one_line(error)}") from error


def pack(registry: Registry, part: Part, scale: int, display: Display) -> Store:
    choice = registry.choose("dataset", part.name, part.options)
    what = f"packing {part.root or choice.label} x{scale}"
    return packed(choice, part.root, part.split, scale, lambda done, total: display.packing(what, done, total))


def restride(optimizer: torch.optim.Optimizer) -> None:
    """Give loaded optimizer state the strides of its parameters, so that arithmetic goes in the same order."""
    for parameter, state in optimizer.state.items():
        for name, value in state.items():
            if isinstance(value, Tensor) and value.shape == parameter.shape:
                state[name] = torch.empty_like(parameter, requires_grad=False).copy_(value)


class Keeper:
    """What happens between two steps: log, validate, checkpoint when due, stop when told."""

    def __init__(
        self, run: Run, model: Choice, net: nn.Module, parts: Mapping[str, Any], folder: Path, device: torch.device,
        display: Display, limits: Limits, validation: Mapping[int, Store], registry: Registry,
    ):  # fmt: skip
        self.run, self.model, self.net, self.parts, self.folder = run, model, net, parts, folder
        self.device, self.display, self.limits, self.validation = device, display, limits, validation
        self.metrics = {VALIDATION_METRIC: build_part(registry, "metric", Part(name=VALIDATION_METRIC))}
        self.trackers = [build_part(registry, "tracker", part, folder) for part in (ALWAYS_ON, *run.tracker)]
        self.schedule = halving(run.lr, run.halve_every)
        self.best: tuple[float, int] | None = None
        self.psnr: float | None = None
        self.loss = math.nan
        self.step = self.validated = 0  # steps done; and at the last validation
        self.reason = "finished"
        self.loss_sum: Tensor | float = 0.0
        self.loss_count = 0
        self.begun = self.shown = self.saved = time.monotonic()

    def after(self, step: int, loss: Tensor) -> bool:
        """Called after each step with the number done; True ends the training."""
        self.step = step
        self.loss_sum = self.loss_sum + loss
        self.loss_count += 1
        now = time.monotonic()
        if now - self.shown >= SHOW_SECONDS or step == self.run.steps:
            self.shown = now
            self.loss = self.finite(loss)
            self.display.progress(step, self.loss, self.psnr)
        if step % LOG_EVERY == 0:
            self.log({"loss": float(self.loss_sum) / self.loss_count, "lr": self.schedule(step - 1)})
            self.loss_sum, self.loss_count = 0.0, 0

        if self.limits.stop():
            self.reason = "stopped"
        elif step < self.run.steps and now - self.begun >= self.limits.max_seconds:
            self.reason = "time"
        ending = self.reason != "finished" or step == self.run.steps
        if step % self.run.validate_every == 0 or (ending and self.reason != "stopped"):
            self.validate()
        if ending or now - self.saved >= self.limits.save_seconds:
            self.save()
            self.saved = time.monotonic()
        return ending

    def finite(self, loss: Tensor) -> float:
        """The loss as a number; SrkitError where it is none, so that no such weights are ever saved."""
        value = float(loss)
        if not math.isfinite(value):
            raise self.exploded(f"the loss is {value}")
        return value

    def exploded(self, what: str) -> SrkitError:
        kept = f"; '{self.folder}' keeps the last good state" if checkpoint.states(self.folder) else ""
        lower = f"--set lr={self.schedule(self.step) / 10:g}"
        return SrkitError(f"{what} near step {self.step:,}{kept}. Try a lower learning rate ({lower})")

    def check_weights(self) -> None:
        """Raises SrkitError for weights that are no numbers: they are neither scored nor saved."""
        if not all(bool(p.isfinite().all()) for p in self.net.parameters()):
            raise self.exploded("the weights are not finite")

    def log(self, values: Mapping[str, float]) -> None:
        for tracker in self.trackers:
            tracker.scalars(self.step, values)

    def validate(self) -> None:
        """Score the validation pictures at every scale; write `best` when the mean PSNR is a new best."""
        self.check_weights()
        protocol = protocol_named(DEFAULT)
        found = []
        pictures: dict[str, np.ndarray] = {}
        for scale, store in self.validation.items():
            upscaler = make_upscaler(self.net, self.model, scale, channels_last=self.run.channels_last)
            for i, name in enumerate(store.names):
                lr, hr = store.image("lr", i), store.image("hr", i)
                result = score_image(upscaler, lr, hr, scale, self.metrics, protocol, self.device, name)
                found.append(result.scores[VALIDATION_METRIC])
                pictures.setdefault(f"{name}_x{scale}", result.sr)
        self.psnr, self.validated = mean(found), self.step
        self.log({f"psnr_{DEFAULT}": self.psnr})
        first = next(iter(pictures))
        for tracker in self.trackers:
            tracker.images(self.step, {first: pictures[first]})
        self.display.progress(self.step, self.loss, self.psnr)
        if self.best is None or self.psnr > self.best[0]:
            self.best = (self.psnr, self.step)
            self.save_weights("best.safetensors", self.psnr)

    def save(self) -> None:
        """The training state first, since it is what a resume needs; then the weights to use."""
        self.check_weights()
        checkpoint.save_state(self.folder, self.step, {"best": self.best, "run": self.run.to_dict()}, self.parts)
        # A score belongs to the weights it was measured on: later weights carry none.
        self.save_weights("last.safetensors", self.psnr if self.validated == self.step else None)

    def save_weights(self, name: str, psnr: float | None) -> None:
        entry = self.model.entry
        scores = {} if psnr is None else {"psnr": psnr, "protocol": DEFAULT, "set": self.run.validation.name}
        about = {
            "model": {"name": entry.qualified, "version": entry.version, "options": self.model.options},
            "scales": list(self.run.scales), "step": self.step, "scores": scores,
            "licence": self.model.component.licence, "run": self.run.to_dict(),
        }  # fmt: skip
        checkpoint.save_tensors(self.folder / name, self.net.state_dict(), about)

    def close(self) -> None:
        for tracker in self.trackers:
            tracker.close()
