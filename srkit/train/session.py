"""Train a run: from its newest training state, to the end or a limit."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from rich.filesize import decimal
from torch import Tensor, nn

from srkit.data.shard_copies import bytes_read
from srkit.errors import SrkitError, UsageError, one_line
from srkit.files import write_atomically
from srkit.nets import forward_of, native_precision, out_of_memory, parameter_count, precision_on
from srkit.plugins import Registry
from srkit.run import Run, read_run_file
from srkit.train import initial, state
from srkit.train.assemble import BAD_IN_A_ROW, assemble
from srkit.train.copying import Copier, place_of
from srkit.train.distributed import World
from srkit.train.keeper import Keeper, Limits
from srkit.train.log import with_log
from srkit.train.loop import Diverged, train
from srkit.train.memory import batch_that_fits, out_of_memory_told
from srkit.train.parts import build_part
from srkit.train.sharding import check_can_be_split, held, split_as
from srkit.train.trainee import Display, Trainee
from srkit.weights.loading import find_tensors

RETREATS = 3  # times it steps back, halving its learning rate each time, before it gives up


@dataclass(frozen=True)
class Outcome:
    """steps: done so far. reason: "finished", "time", "stopped" or "no better". best: (score, step), or None.

    by_scale: the scores of the best validation, of which `best` has the mean over all pictures. run: as it was trained.
    """

    steps: int
    reason: str
    best: tuple[float, int] | None
    by_scale: Mapping[int, float]
    run: Run


def new_folder(out: Path | None, run: Run, registry: Registry) -> Path:
    """The folder of a new run: `out`, which must not hold one, or the first free `runs/<model>_x<scale>`."""
    if out is not None:
        if holds_run(out):
            raise UsageError(f"'{out}' already holds a run; go on with it by --resume {out}, or name another --out")
        if out.exists() and not out.is_dir():
            raise UsageError(f"--out '{out}' is a file; name a folder")
        return out
    label = registry.choose("model", run.model.name, run.model.options).label
    base = Path("runs") / f"{label}_x{'x'.join(map(str, run.scales))}"
    free = (base if n == 1 else base.with_name(f"{base.name}-{n}") for n in range(1, 10_000))
    return next(folder for folder in free if not folder.exists())


def holds_run(folder: Path) -> bool:
    return (folder / "run.toml").exists() or bool(state.states(folder))


def reopen(folder: Path, steps: int | None = None) -> Run:
    """The run of a folder, to resume it; with another number of steps if one is given."""
    if not (folder / "run.toml").is_file():
        raise UsageError(f"no run to resume in '{folder}': it has no run.toml")
    run = Run.from_dict(read_run_file(folder / "run.toml"))
    return replace(run, steps=steps) if steps else run


def run_training(
    run: Run,
    registry: Registry,
    folder: Path,
    device: torch.device,
    display: Display,
    limits: Limits | None = None,
    *,
    world: World | None = None,
    resident: str = "auto",
    force: bool = False,
    precision: str | None = None,
    copy_to: str = "",
) -> Outcome:
    """Train `run`, a resolved one, in `folder`. precision: what this session is asked to go on in, as `settled`.

    copy_to: where a `Copier` keeps a copy of the folder; empty for none.

    The folder is made, and run.toml written, only when everything the run names is there and fits.
    Raises UsageError for what does not fit together, DataError and ImageError for bad pictures,
    CheckpointError where the folder cannot be written, SrkitError where the training diverges for good, or where it is
    done and the last state cannot be copied.
    """
    limits, world = limits or Limits(), world or World()
    run = world.collect(settled(run, folder, device, precision))[0]
    if world.shard:
        check_can_be_split(run, world.size)
    if run.batch == "auto":
        tried = partial(assemble, registry=registry, device=device, display=display, world=world, resident=resident)
        run = replace(run, batch=batch_that_fits(run, device, world, tried))
        display.say(f"batch = {run.batch}: as many patches of {run.patch} as fit")
    trainee = assemble(run, registry, device, display, world, resident)
    about = begin(trainee, registry, folder, display, world, force=force)
    display.say(told(trainee, folder, world))

    if world.main:
        make_folder(folder, run)
    trackers = with_log(folder, named_trackers(run, registry, folder)) if world.main else []
    copier = Copier(folder, place_of(copy_to, folder)) if copy_to and world.main else None
    keeper = Keeper(trainee, folder, world=world, display=display, limits=limits, trackers=trackers, copier=copier)
    keeper.take_up(about)
    if copier and about:
        copier.offer()  # what the session before could not copy
    tell_precision(keeper, about)
    if keeper.step >= run.steps:
        keeper.close()
        keeper.finish_copy()
        return Outcome(keeper.step, "finished", keeper.best, keeper.best_by_scale, run)

    forward = forward_for_training(trainee, world)
    display.training(keeper.step)
    try:
        if not about:
            keeper.begin()
        while not trained(trainee, forward, keeper):
            step_back(keeper)
        tell_far(trainee, world, display)
    except Exception as error:
        keeper.written()
        if world.main:
            free_again(folder)
        if explanation := explained(error, trainee, world):
            raise SrkitError(explanation) from None
        raise
    finally:
        keeper.close()
    keeper.finish_copy()
    return Outcome(keeper.step, keeper.reason, keeper.best, keeper.best_by_scale, run)


def named_trackers(run: Run, registry: Registry, folder: Path) -> list[Any]:
    """The trackers a run names. Where one cannot be had, for want of a login say, `folder` is free again."""
    try:
        return [build_part(registry, "tracker", part, folder) for part in run.tracker]
    except Exception:
        free_again(folder)
        raise


def settled(run: Run, folder: Path, device: torch.device, asked: str | None = None) -> Run:
    """The run with the precision that it is trained in on `device`: its own, or the one asked for.

    A run in `folder` that is finished stays as it was trained. UsageError for one that was trained where bf16 is
    multiplied natively and is to go on where it is not: elsewhere sums are rounded in other ways, and it is slow.
    """
    precision_on(device, asked or "auto")  # a wrong word is told of a finished run too
    about = state.newest(folder) or {}
    if about.get("step", 0) >= run.steps:
        asked = about["run"]["precision"]
    precision = precision_on(device, asked or run.precision)
    if about and not asked and precision == "bf16" == about.get("native", "bf16") != native_precision(device):
        raise UsageError(
            f"'{folder}' was trained in bf16, which this {device.type} does not multiply natively, so that it would "
            "not go on bit for bit; say --precision fp32, or --precision bf16, and the log says it too"
        )
    return replace(run, precision=precision)


def tell_precision(keeper: Keeper, about: Mapping[str, Any]) -> None:
    """Say where a resumed run changes its precision, and write that into its log."""
    before, now = about.get("run", {}).get("precision", "auto"), keeper.run.precision
    if before in ("auto", now):
        return
    keeper.display.say(f"trained in {before} up to step {keeper.step:,}; from here on in {now}")
    for log in keeper.trackers[:1]:  # that of the main rank; other trackers take numbers only
        log.scalars(keeper.step + 1, {"precision": now})


def begin(
    trainee: Trainee, registry: Registry, folder: Path, display: Display, world: World, *, force: bool = False
) -> dict[str, Any]:
    """Load the newest training state of `folder`, or else the weights to start from; what the state says of itself.

    force: start from weights of which little fits, too.
    """
    about = loaded(folder, trainee, world)
    if about:
        restride(trainee.optimizer)
        display.say(f"resumed at step {about['step']:,}{other_ranks(about, world)}")
        return about
    run = trainee.run
    if run.init_from:
        report = initial.init_from(trainee.net, *find_tensors(registry, run.init_from, run.scales[0]), force=force)
        if trainee.average is not None:
            trainee.average.set(trainee.net)
        display.say(f"started from '{report.where}':")
        for line in report.table():
            display.say(f"  {line}")
    return {}


def loaded(folder: Path, trainee: Trainee, world: World) -> dict[str, Any] | None:
    """`load_state` on all ranks. UsageError where they do not see the same one."""
    about = state.load_state(folder, trainee.parts())
    steps = world.collect(about["step"] if about else None)
    if len(set(steps)) > 1:
        seen = sorted({"none" if step is None else f"that of step {step:,}" for step in steps})
        raise UsageError(
            f"the ranks see different states in '{folder}' ({', '.join(seen)}); --out must be one folder that all "
            "machines see"
        )
    return about


def told(trainee: Trainee, folder: Path, world: World) -> str:
    """What is about to be trained, in one line."""
    run = trainee.run
    several = sum(part.weight for part in run.data) if len(run.data) > 1 else 0
    shares = [f" ({part.weight / several:.0%})" if several else "" for part in run.data]
    trained = ", ".join(f"'{part.root or part.name}'{share}" for part, share in zip(run.data, shares, strict=True))
    held_out = ", ".join(
        f"{len(each.stores[run.scales[0]])} of '{each.part.root or each.part.name}'" for each in trainee.validation
    )
    ranks = f", rank 1 of {world.size}" if world.size > 1 else ""
    if world.shard:
        ranks += f", which holds {held(trainee.net):,} values of it"
    return (
        f"{trainee.model.label} x{'x'.join(map(str, run.scales))}, {parameter_count(trainee.net):,} parameters, "
        f"on {trainee.device} in {run.precision}{ranks}; "
        f"{trainee.pictures} pictures of {trained}, validated on {held_out}, {run.steps:,} steps, into {folder}"
    )


def tell_far(trainee: Trainee, world: World, display: Display) -> None:
    """Say how much was read of shards that stay at their address, by all ranks."""
    read = sum(bytes_read(sampler.stores) for sampler in trainee.batches.samplers.values())
    if total := sum(world.collect(read)):
        display.say(f"{decimal(total)} of patches were read at the address of their shards")


def forward_for_training(trainee: Trainee, world: World) -> Callable[[Tensor, int], Tensor]:
    """forward(lr, scale) -> sr: compiled where the run says so, its gradients shared between the ranks."""
    several_paths = trainee.model.component.multi_scale
    net = world.share(compiled(trainee.net, trainee.run.compile), several_paths, trainee.device)
    shared = forward_of(net, trainee.model)
    return lambda lr, scale: shared(lr.contiguous(memory_format=trainee.memory_format), scale)


def average_forward(trainee: Trainee) -> Callable[[Tensor, int], Tensor] | None:
    """average(lr, scale) -> sr by the average of the weights, without gradients; None where there is none."""
    if trainee.average is None:
        return None
    forward = forward_of(trainee.average.module, trainee.model)

    def average(lr: Tensor, scale: int) -> Tensor:
        with torch.no_grad():
            return forward(lr.contiguous(memory_format=trainee.memory_format), scale)

    return average


def trained(trainee: Trainee, forward: Callable[[Tensor, int], Tensor], keeper: Keeper) -> bool:
    """Train from the keeper's step until it ends; False where too many steps in a row gave no usable gradient."""
    run = trainee.run
    try:
        train(
            forward,
            trainee.criterion,
            trainee.optimizer,
            trainee.batches,
            ahead=trainee.batches.ahead,
            rates=keeper.slowed,
            clip=trainee.clip,
            guard=trainee.guard,
            scaler=trainee.scaler,
            steps=range(keeper.step, run.steps),
            seed=run.seed,
            world=keeper.world,
            stop=keeper.wants_to_stop,
            learned=trainee.learned,
            after=keeper.after,
            precision=run.precision,
            accumulate=run.accumulate,
            average=average_forward(trainee),
        )
    except Diverged:
        return False
    return True


def step_back(keeper: Keeper) -> None:
    """To the last saved state, with half the learning rate. SrkitError when that has been tried enough."""
    trainee, say = keeper.trainee, keeper.display.say
    at, lr = keeper.step, trainee.optimizer.param_groups[0]["lr"]
    what = f"{BAD_IN_A_ROW} steps in a row up to step {at:,} gave no usable gradient"
    keeper.written()
    keeper.world.collect(None)  # no rank reads while another still writes
    about = loaded(keeper.folder, trainee, keeper.world)
    restride(trainee.optimizer)
    trainee.guard.bad = 0
    tried = keeper.retreats
    keeper.take_up(about or {})
    keeper.retreats = tried + 1
    if tried >= RETREATS:
        kept = f"; '{keeper.folder}' keeps the state of step {keeper.step:,}" if keeper.step else ""
        raise SrkitError(
            f"{what}, and stepping back {RETREATS} times with half the learning rate each did not help{kept}. "
            f"Try a lower learning rate (--set lr={lr / 2:g})"
        )
    say(f"{what}: back to step {keeper.step:,}, with half the learning rate ({tried + 1} of {RETREATS} times)")
    keeper.keep(keeper.state)


def free_again(folder: Path) -> None:
    """Remove the run from a folder in which nothing was trained, so that its name is free."""
    if all(path.name == state.state_name(0) for path in state.states(folder)):
        for path in (*state.states(folder), folder / "run.toml"):
            path.unlink(missing_ok=True)


def explained(error: Exception, trainee: Trainee, world: World) -> str:
    """What a failure of the device or the compiler means, and what to do; empty for any other error."""
    if out_of_memory(error):
        return out_of_memory_told(trainee, world)
    if type(error).__module__.startswith(("torch._dynamo", "torch._inductor")):
        return f"torch.compile does not work here ({one_line(error)}); --set compile=off"
    return ""


def other_ranks(about: Mapping[str, Any], world: World) -> str:
    before = about.get("ranks", 1)
    if before == world.size:
        return ""
    return f", with {world.size} rank(s) instead of {before}: the same batches, summed in another order"


def compiled(net: nn.Module, how: str) -> Any:
    if how == "off":
        return net
    return torch.compile(net, mode="reduce-overhead" if how == "graphs" else None)


def make_folder(folder: Path, run: Run) -> None:
    """The run's folder with its run.toml, free of what a killed session left half-written."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for leftover in folder.glob(".*.tmp"):
            leftover.unlink()
        write_atomically(folder / "run.toml", lambda file: file.write(run.to_toml().encode()))
    except OSError as error:
        raise UsageError(f"cannot write into '{folder}': {one_line(error)}") from None


def restride(optimizer: torch.optim.Optimizer) -> None:
    """Give loaded optimizer state the form of its parameters: this rank's part, or all in the same strides.

    Arithmetic then goes in the same order.
    """
    for parameter, moments in optimizer.state.items():
        for name, value in moments.items():
            if isinstance(value, Tensor) and value.shape == parameter.shape:
                part = split_as(value, parameter)
                moments[name] = torch.empty_like(parameter, requires_grad=False).copy_(part)
