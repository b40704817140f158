"""The training loop: reads top to bottom, knows nothing of files, logs or metrics."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from srkit.components import Batch
from srkit.errors import PluginError, one_line
from srkit.nets import AUTOCAST, out_of_memory, seed_torch
from srkit.train.asked import asked_of
from srkit.train.distributed import World

ALONE = World()
UPDATING = 2**32 - 1  # in the place of a rank: what losses draw while they learn is alike on every rank
LAMBDA_EPS, LAMBDA_MOST = 1e-4, 1e4  # of VQGAN's authors' code


class Criterion(nn.Module):
    """The weighted sum of the run's losses; lets those that learn (a discriminator) learn.

    names: for the log. adaptive: which losses have their weight times `adapted`'s factor.
    """

    def __init__(
        self,
        losses: Sequence[Callable[[Tensor, Tensor], Tensor]],
        weights: Sequence[float],
        names: Sequence[str] = (),
        *,
        adaptive: Sequence[bool] = (),
    ):
        super().__init__()
        self.names = distinct(names or [str(i) for i in range(len(losses))])
        self.losses = list(losses)
        self.log_names = [f"loss_{name}" for name in self.names]
        self.weights = list(weights)
        self.asked = [asked_of(loss) for loss in losses]
        self.adaptive = [i for i, wanted in enumerate(adaptive) if wanted and weights[i]]
        self.whole = [bool(getattr(loss, "whole_batch", False)) for loss in losses]
        self.learning = {n: loss for n, loss in zip(self.names, losses, strict=True) if hasattr(loss, "update")}
        for i, loss in enumerate(losses):
            if isinstance(loss, nn.Module):  # so that .to(device) reaches it
                self.add_module(f"loss{i}", loss)

    def asks(self, name: str) -> bool:
        return any(name in asked for asked in self.asked)

    def terms(self, sr: Tensor, hr: Tensor, world: World = ALONE, **offered: Tensor) -> list[Tensor]:
        """Each loss times its weight. One with `whole_batch` is given the rows of every rank.

        offered: of which each is given what it asks for.
        """
        own = everyone = sr, hr, offered
        if any(self.whole):
            rows = {name: world.whole(each) for name, each in offered.items()}
            everyone = world.whole_for_gradient(sr), world.whole(hr), rows
        terms = []
        for weight, loss, asked, whole in zip(self.weights, self.losses, self.asked, self.whole, strict=True):
            its_sr, its_hr, given = everyone if whole else own
            terms.append(weight * loss(its_sr, its_hr, **{name: given[name] for name in asked if name in given}))
        return terms

    def adapted(self, terms: Sequence[Tensor], sr: Tensor, world: World) -> tuple[list[Tensor], dict[str, Tensor]]:
        """The terms, those that are `adaptive` times VQGAN's lambda; and each lambda by its name in the log.

        lambda: the norm of the gradient of the other terms at the network's last layer, divided by that of the loss
        without its weight plus 1e-4, at most 1e4; of the whole batch, whatever the ranks. sr: the network's output.
        Source: Esser et al., Taming Transformers, CVPR 2021, equation 7; the bounds are of its code.
        """
        if not self.adaptive:
            return list(terms), {}
        weight = last_layer(sr)

        def norm(term: Tensor) -> Tensor:
            (gradient,) = torch.autograd.grad(term, weight, retain_graph=True)
            length: Tensor = world.mean(gradient).norm()
            return length

        wanted = norm(summed([term for i, term in enumerate(terms) if i not in self.adaptive]))
        changed, told = list(terms), {}
        for i in self.adaptive:
            factor = (wanted / (norm(terms[i]) / self.weights[i] + LAMBDA_EPS)).clamp(max=LAMBDA_MOST)
            changed[i], told[f"{self.log_names[i]}_lambda"] = factor * terms[i], factor
        return changed, told

    def forward(self, sr: Tensor, hr: Tensor, **offered: Tensor) -> Tensor:
        return summed(self.terms(sr, hr, ALONE, **offered))

    def learnt(self) -> Iterator[Tensor]:
        """The tensors that `update` changes, but for those of its optimizers."""
        for loss in self.learning.values():
            state = loss.state_dict() if hasattr(loss, "state_dict") else {}
            yield from (value for value in state.values() if isinstance(value, Tensor))

    def update(self, sr: Tensor, hr: Tensor) -> dict[str, Tensor]:
        """Let those learn that do; the scalars they give, by their names in the log, detached."""
        told: dict[str, Tensor] = {}
        for name, loss in self.learning.items():
            given = loss.update(sr, hr)
            own = given if isinstance(given, Mapping) else {} if given is None else {"update": given}
            told |= {f"loss_{name}_{key}": torch.as_tensor(value).detach() for key, value in own.items()}
        return told


def last_layer(output: Tensor) -> Tensor:
    """The trained weight, of two dimensions or more, that is nearest to an output in its graph."""
    level, seen = [output.grad_fn], set()
    while level:
        for node in level:
            weight = getattr(node, "variable", None)  # of the node that gathers a parameter's gradient
            if isinstance(weight, Tensor) and weight.ndim > 1:
                return weight
        seen.update(level)
        level = [below for node in level if node for below, _ in node.next_functions if below and below not in seen]
    raise ValueError("no trained layer leads to this output")


def summed(terms: Sequence[Tensor]) -> Tensor:
    return torch.stack(list(terms)).sum() if len(terms) > 1 else terms[0]


def distinct(names: Sequence[str]) -> list[str]:
    """`["l1", "l1"]` as `["l1", "l1_2"]`."""
    return [name if not (n := names[:i].count(name)) else f"{name}_{n + 1}" for i, name in enumerate(names)]


class Diverged(Exception):  # noqa: N818 - caught by the session, which steps back
    """Too many steps in a row gave no usable gradient."""


class Guard:
    """Which steps to trust: those with finite loss and gradients, and no loss far above its running mean."""

    def __init__(self, skip_above: float, in_a_row: int, device: torch.device):
        self.skip_above, self.in_a_row = skip_above, in_a_row
        self.mean = torch.tensor(float("nan"), device=device)
        self.bad = self.skipped = 0

    def trusts(self, loss: Tensor, norm: Tensor) -> Tensor:
        """A boolean on the device, so that asking costs no wait."""
        above = (loss > self.skip_above * self.mean) & (self.mean > 0)  # never while the mean is NaN
        return loss.isfinite() & norm.isfinite() & ~above

    def count(self, good: bool, loss: Tensor) -> None:
        """Raises Diverged at the last of `in_a_row` bad steps."""
        if good:
            self.bad = 0
            self.mean = torch.where(self.mean.isnan(), loss, 0.99 * self.mean + 0.01 * loss)
            return
        self.bad += 1
        self.skipped += 1
        if self.bad >= self.in_a_row:
            raise Diverged

    def state_dict(self) -> dict[str, Any]:
        return {"mean": self.mean, "bad": self.bad, "skipped": self.skipped}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.mean = state["mean"].to(self.mean.device)
        self.bad, self.skipped = state["bad"], state["skipped"]


@dataclass(frozen=True)
class Done:
    """One step as it went. loss: the mean over the whole batch, a scalar on the device. stop: someone asked to.

    parts: what else is logged, by name: each weighted loss, where they are several, over this rank's part of the batch,
    and what a loss that learns says of its own; scalars on the device.
    """

    steps: int
    loss: Tensor
    good: bool
    stop: bool
    parts: Mapping[str, Tensor] = field(default_factory=dict)


def train(
    net: Callable[[Tensor, int], Tensor],
    criterion: Criterion,
    optimizer: torch.optim.Optimizer,
    batches: Callable[[int], tuple[int, Batch]],
    *,
    ahead: Callable[[], None] = lambda: None,
    rates: Callable[[int], None],
    clip: Callable[[float], Tensor],
    guard: Guard,
    scaler: torch.amp.GradScaler,
    steps: range,
    seed: int,
    world: World,
    stop: Callable[[], bool],
    learned: Callable[[int], None],
    after: Callable[[Done], bool],
    precision: str = "fp32",
    accumulate: int = 1,
    average: Callable[[Tensor, int], Tensor] | None = None,
) -> None:
    """Run `steps`. All that is random in a step is a function of (seed, step, rank).

    net(lr, scale) -> sr; average(lr, scale) likewise by the average of the weights, where there is one.
    batches(step) -> the scale drawn and this rank's part of the batch. ahead() lets the next one be begun.
    rates(step) sets learning rates. learned(step) is called when the weights have changed; after(done) ends
    each step, and True the training. Raises Diverged when the guard has seen enough.
    """
    following = batches(steps.start)
    for step in steps:
        (scale, batch), outputs = following, []
        rates(step)
        seed_torch(drawn(seed, step, 1 + world.rank), batch.lr.device)
        optimizer.zero_grad(set_to_none=True)
        loss = torch.zeros((), device=batch.lr.device)
        shares: dict[str, Tensor] = {}
        for part, last in parts_of(batch, accumulate):
            with world.synchronised(last):  # gradients travel between ranks once a step
                with torch.autocast(part.lr.device.type, AUTOCAST.get(precision), precision in AUTOCAST):
                    sr = net(part.lr, scale)
                    offered = {"lr": part.lr}
                    if average and criterion.asks("average"):
                        offered["average"] = average(part.lr, scale).float()
                terms = criterion.terms(sr.float(), part.hr, world, **offered)
                terms, lambdas = criterion.adapted(terms, sr, world)
                share = summed(terms) / accumulate
                ahead()  # while gradients are computed, the interpreter is free
                scaler.scale(share).backward()
            loss = loss + share.detach()
            if len(terms) > 1:
                shares |= {
                    name: shares.get(name, 0) + term.detach() / accumulate
                    for name, term in zip(criterion.log_names, terms, strict=True)
                }
            shares |= {name: shares.get(name, 0) + value / accumulate for name, value in lambdas.items()}
            if criterion.learning:
                outputs.append(sr.detach().float().clone())

        scaler.unscale_(optimizer)
        norm = clip(optimizer.param_groups[0]["lr"])
        loss, asked = world.agree(loss, stop())
        verdict = on_its_way(torch.stack([guard.trusts(loss, norm), asked]))
        following = batches(step + 1) if step + 1 < steps.stop else following  # cut while the device is busy
        good, stopping = verdict()

        if good:
            apply(optimizer, scaler)
            learned(step)
            if criterion.learning:
                seed_torch(drawn(seed, step, UPDATING), batch.lr.device)
                shares |= criterion.update(world.whole(torch.cat(outputs)), world.whole(batch.hr))
                world.alike(criterion.learnt())
        scaler.update()
        overflow = bool(scaler.is_enabled()) and not good and bool(loss.isfinite())  # fp16's own, and routine
        guard.count(good or overflow, loss)
        if after(Done(step + 1, loss, good, stopping, shares)):
            return


def apply(optimizer: torch.optim.Optimizer, scaler: torch.amp.GradScaler) -> None:
    """Step the optimizer. PluginError, naming it, where its code fails: on an option or a shape it cannot take."""
    try:
        scaler.step(optimizer)
    except Exception as error:
        if out_of_memory(error):
            raise
        name = type(optimizer).__name__
        raise PluginError(
            f"optimizer {name} failed in a step ({one_line(error)}); --set optimizer.name=adam is the usual"
        ) from error


def drawn(seed: int, step: int, place: int) -> int:
    """A seed for torch that is a function of the run's, the step and a place among the ranks."""
    return int(np.random.default_rng([seed, step, place]).integers(2**63))


def parts_of(batch: Batch, accumulate: int) -> Iterator[tuple[Batch, bool]]:
    """The batch in equal parts, and whether each is the last."""
    parts = zip(batch.lr.chunk(accumulate), batch.hr.chunk(accumulate), strict=True)
    for i, (lr, hr) in enumerate(parts):
        yield Batch(lr, hr), i + 1 == accumulate


def on_its_way(flags: Tensor) -> Callable[[], Iterable[bool]]:
    """Start bringing flags from the device; call the result to have them. In between the device can be given work."""
    if flags.device.type != "cuda":
        return lambda: flags.tolist()
    host = torch.empty(flags.shape, dtype=flags.dtype, pin_memory=True)
    host.copy_(flags, non_blocking=True)
    arrived = torch.cuda.Event()
    arrived.record()

    def read() -> Iterable[bool]:
        arrived.synchronize()
        return host.tolist()

    return read
