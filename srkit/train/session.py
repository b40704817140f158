"""Turn a Run into live objects and train it: from its newest training state, to the end or a limit."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from srkit.components import PairSequence
from srkit.data.check import quick_check
from srkit.data.pairs import open_dataset
from srkit.data.sampler import Batches, Sampler
from srkit.data.store import Store, packed
from srkit.errors import PluginError, SrkitError, UsageError, one_line
from srkit.files import write_atomically
from srkit.nets import build_net, check_scales, forward_of, out_of_memory, parameter_count
from srkit.plugins import Registry
from srkit.run import Part, Run, read_run_file
from srkit.train import initial, state
from srkit.train.distributed import World
from srkit.train.keeper import VALIDATION_METRIC, Display, Keeper, Limits
from srkit.train.loop import Criterion, Diverged, Guard, train
from srkit.train.optim import clipper, make_optimizer, make_schedule
from srkit.weights.loading import find_tensors

ALWAYS_ON = Part(name="srkit:jsonl")
BAD_IN_A_ROW = 10  # steps without a usable gradient, before the run steps back
RETREATS = 3  # times it steps back, halving its learning rate each time, before it gives up


@dataclass(frozen=True)
class Outcome:
    """steps: done so far. reason: "finished", "time", "stopped" or "no better". best: (PSNR, step), or None."""

    steps: int
    reason: str
    best: tuple[float, int] | None


def new_folder(out: Path | None, run: Run, registry: Registry) -> Path:
    """The folder of a new run: `out`, which must not hold one, or the first free `runs/<model>_x<scale>`."""
    if out is not None:
        if (out / "run.toml").exists() or state.states(out):
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
    run: Run, registry: Registry, folder: Path, device: torch.device, display: Display, limits: Limits | None = None,
    *, world: World | None = None, resident: str = "auto",
) -> Outcome:  # fmt: skip
    """Train `run`, a resolved one, in `folder`.

    The folder is made, and run.toml written, only when everything the run names is there and fits.
    Raises UsageError for what does not fit together, DataError and ImageError for bad pictures,
    CheckpointError where the folder cannot be written, SrkitError where the training diverges for good.
    """
    limits, world = limits or Limits(), world or World()
    model = registry.choose("model", run.model.name, run.model.options)
    if not model.component.trainable:
        raise UsageError(f"'{model.label}' has no parameters to train")
    check_scales(model, run.scales)
    if run.batch % (run.accumulate * world.size):
        raise UsageError(
            f"batch = {run.batch} cannot be shared by {world.size} ranks in {run.accumulate} parts; "
            f"take a multiple of {run.accumulate * world.size}"
        )

    memory = torch.channels_last if run.channels_last else torch.contiguous_format
    torch.manual_seed(run.seed)
    net = build_net(model, run.scales).to(device).to(memory_format=memory)
    losses = [build_part(registry, "loss", part) for part in run.loss]
    criterion = Criterion(losses, [part.weight for part in run.loss]).to(device)
    augmentations = []
    for part in run.augmentation:
        record = registry.find("augmentation", part.name).component
        augmentations.append((build_part(registry, "augmentation", part).to(device), record.per_rank))
    optimizer = make_optimizer(run.optimizer.name, run.optimizer.options, net, run.lr)
    guard = Guard(run.skip_above, BAD_IN_A_ROW, device)
    scaler = torch.amp.GradScaler(device.type, enabled=run.precision == "fp16")
    parts: dict[str, Any] = {"net": net, "optimizer": optimizer, "guard": guard}
    average = averaged(net, run.ema)
    if average is not None:
        parts["ema"] = average.module
    if scaler.is_enabled():
        parts["scaler"] = scaler
    parts |= {f"loss{i}": loss for i, loss in enumerate(losses) if hasattr(loss, "state_dict")}

    def packs(part: Part) -> dict[int, list[Store]]:
        return {scale: pack(registry, run, part, scale, display, world) for scale in run.scales}

    stores = world.one_after_another(lambda: packs(run.data))
    validation = {scale: store for scale, (store,) in world.one_after_another(lambda: packs(run.validation)).items()}
    apart = world.size > 1 and hasattr(opened(registry, run.data, run.scales[0]), "stores")
    samplers = {
        scale: Sampler(
            each, scale=scale, batch=run.batch // (world.size if apart else 1), patch=run.patch,
            seed=run.seed + (2**32 * (1 + world.rank) if apart else 0), device=device, resident=resident,
        )
        for scale, each in stores.items()
    }  # fmt: skip
    for left_out in [sampler.left_out for sampler in samplers.values() if sampler.left_out]:
        display.say(f"{len(left_out)} pictures are smaller than a patch and left out: {', '.join(left_out[:3])} ...")
    if world.main:
        for scale, (first, *_) in stores.items():
            for finding in quick_check(first, validation[scale], scale) if first.has_lr else ():
                display.say(f"{finding.severity}: {finding.name}: {finding.text} (srkit data check looks at all)")
    batches = Batches(samplers, augmentations, run.seed, world.rank, world.size, apart)

    rates = make_schedule(run.schedule.name, run.schedule.options, optimizer, run.steps)
    about = state.load_state(folder, parts)
    if about:
        restride(optimizer)
        display.say(f"resumed at step {about['step']:,}{other_ranks(about, world)}")
    elif run.init_from:
        report = initial.init_from(net, *find_tensors(registry, run.init_from, run.scales[0]))
        if average is not None:
            average.set(net)
        display.say(f"started from '{report.where}':")
        for line in report.table():
            display.say(f"  {line}")
    display.say(
        f"{model.label} x{'x'.join(map(str, run.scales))}, {parameter_count(net):,} parameters, on {device}"
        f"{f', rank 1 of {world.size}' if world.size > 1 else ''}; "
        f"{len(samplers[run.scales[0]])} pictures of '{run.data.root or run.data.name}', {run.steps:,} steps, "
        f"into {folder}"
    )

    if world.main:
        make_folder(folder, run)
    keeper = Keeper(
        run, model, net if average is None else average.module, parts, optimizer, folder, device, world, display,
        limits, validation, {VALIDATION_METRIC: build_part(registry, "metric", Part(name=VALIDATION_METRIC))},
        [build_part(registry, "tracker", part, folder) for part in (ALWAYS_ON, *run.tracker) if world.main],
    )  # fmt: skip
    if about:
        keeper.take_up(about)
    if keeper.step >= run.steps:
        return Outcome(keeper.step, "finished", keeper.best)

    shared = forward_of(world.share(compiled(net, run.compile), model.component.multi_scale, device), model)

    def forward(lr: Tensor, scale: int) -> Tensor:
        return shared(lr.contiguous(memory_format=memory), scale)

    def slowed(step: int) -> None:
        """The schedule's rates, halved for each time the run stepped back."""
        rates(step)
        for group in optimizer.param_groups:
            group["lr"] *= 0.5**keeper.retreats

    def learned(step: int) -> None:
        if average is not None:
            average.update(net, step)

    clip = clipper([p for p in net.parameters() if p.requires_grad], run.clip, run.clip_by)
    display.training(keeper.step)
    try:
        if not about and world.main:
            keeper.save_state()  # so that there is always a state to step back to, and a disk to write on
        while True:
            try:
                train(
                    forward, criterion, optimizer, batches, slowed, clip, guard, scaler,
                    range(keeper.step, run.steps), run.seed, world, keeper.wants_to_stop, learned, keeper.after,
                    run.precision, run.accumulate,
                )  # fmt: skip
                break
            except Diverged:
                step_back(keeper, guard, display)
    except Exception as error:
        if world.main and all(path.name == state.state_name(0) for path in state.states(folder)):
            for path in (*state.states(folder), folder / "run.toml"):  # nothing to resume: as free as it was
                path.unlink(missing_ok=True)
        if out_of_memory(error):
            raise SrkitError(out_of_memory_told(run, world, net, criterion, forward_of(net, model), device)) from None
        if type(error).__module__.startswith(("torch._dynamo", "torch._inductor")):
            raise SrkitError(f"torch.compile does not work here ({one_line(error)}); --set compile=off") from None
        raise
    finally:
        keeper.close()
    return Outcome(keeper.step, keeper.reason, keeper.best)


def step_back(keeper: Keeper, guard: Guard, display: Display) -> None:
    """To the last saved state, with half the learning rate. SrkitError when that has been tried enough."""
    at, lr = keeper.step, keeper.optimizer.param_groups[0]["lr"]
    what = f"{BAD_IN_A_ROW} steps in a row up to step {at:,} gave no usable gradient"
    keeper.world.collect(None)  # no rank reads while another still writes
    about = state.load_state(keeper.folder, keeper.parts)
    restride(keeper.optimizer)
    guard.bad = 0
    tried = keeper.retreats
    keeper.take_up(about or {})
    keeper.retreats = tried + 1
    if tried >= RETREATS:
        kept = f"; '{keeper.folder}' keeps the state of step {keeper.step:,}" if keeper.step else ""
        raise SrkitError(
            f"{what}, and stepping back {RETREATS} times with half the learning rate each did not help{kept}. "
            f"Try a lower learning rate (--set lr={lr / 2:g})"
        )
    display.say(f"{what}: back to step {keeper.step:,}, with half the learning rate ({tried + 1} of {RETREATS} times)")
    keeper.keep(keeper.save_state)


def other_ranks(about: Mapping[str, Any], world: World) -> str:
    before = about.get("ranks", 1)
    if before == world.size:
        return ""
    return f", with {world.size} rank(s) instead of {before}: the same batches, summed in another order"


def averaged(net: nn.Module, decay: float) -> Any:
    """timm's moving average of the weights, or None without a decay.

    Its decay grows with the step up to `decay`, so that the random first weights are soon forgotten.
    """
    if not decay:
        return None
    from timm.utils import ModelEmaV3

    return ModelEmaV3(net, decay=decay, use_warmup=True)


def compiled(net: nn.Module, how: str) -> Any:
    if how == "off":
        return net
    return torch.compile(net, mode="reduce-overhead" if how == "graphs" else None)


def out_of_memory_told(run: Run, world: World, net: nn.Module, criterion: Criterion, forward: Any, device: Any) -> str:
    """What ran out, and which batch or patch fits: tried out on a GPU, half the batch on a CPU."""
    said = f"out of memory with batch={run.batch}, patch={run.patch}"
    if device.type == "cpu":  # there, trying would rather end this process than raise
        return f"{said}; try --set batch={max(1, run.batch // 2)}, or --set accumulate={2 * run.accumulate}"

    def attempt(batch: int, patch: int) -> None:
        net.zero_grad(set_to_none=True)
        torch.cuda.empty_cache()
        lr = torch.rand(batch, 3, patch, patch, device=device)
        sr = forward(lr, run.scales[-1])
        criterion(sr, torch.rand_like(sr)).backward()

    each = run.batch // (run.accumulate * world.size)
    sizes = [(each >> n, run.patch) for n in range(1, each.bit_length())]
    sizes += [(1, run.patch >> n) for n in range(1, run.patch.bit_length() - 2)]
    fits = largest(attempt, sizes)
    if fits is None:
        return f"{said}, and no smaller one fits on {device} either; take a smaller model"
    if fits[1] < run.patch:
        return f"{said}; --set batch={world.size} --set patch={fits[1]} fits"
    same = f", --set accumulate={run.batch // (fits[0] * world.size)} does with the same result"
    return f"{said}; --set batch={fits[0] * world.size} fits{'' if run.batch % (fits[0] * world.size) else same}"


def largest(attempt: Callable[[int, int], None], sizes: Iterable[tuple[int, int]]) -> tuple[int, int] | None:
    """The first of `sizes`, (batch, patch), that does not run out of memory."""
    for size in sizes:
        try:
            attempt(*size)
        except Exception as error:
            if not out_of_memory(error):
                raise
        else:
            return size
    return None


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


def opened(registry: Registry, part: Part, scale: int) -> PairSequence:
    return open_dataset(registry.choose("dataset", part.name, part.options), part.root, part.split, scale)


def pack(registry: Registry, run: Run, part: Part, scale: int, display: Display, world: World) -> list[Store]:
    """The pack of a dataset; of training data that is in shards, those of this rank."""
    pairs = opened(registry, part, scale)
    if part is run.data and hasattr(pairs, "stores"):
        stores: list[Store] = pairs.stores(world.rank, world.size)
        return stores
    choice = registry.choose("dataset", part.name, part.options)
    what = f"packing {part.root or choice.label} x{scale}"
    lr = part is not run.data or run.make_lr == "store"
    try:
        store = packed(
            choice,
            part.root,
            part.split,
            scale,
            lambda done, total: display.packing(what, done, total),
            lr=lr,
            pairs=pairs,
        )
    except KeyboardInterrupt:
        display.say(f"{what}: stopped; what is packed so far is kept, and the same command goes on from there")
        raise
    if store.given and not lr:
        raise UsageError(f"'{choice.label}' brings its own LR pictures: make_lr = \"device\" is for data without")
    return [store]


def restride(optimizer: torch.optim.Optimizer) -> None:
    """Give loaded optimizer state the strides of its parameters, so that arithmetic goes in the same order."""
    for parameter, moments in optimizer.state.items():
        for name, value in moments.items():
            if isinstance(value, Tensor) and value.shape == parameter.shape:
                moments[name] = torch.empty_like(parameter, requires_grad=False).copy_(value)
