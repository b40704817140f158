"""A run as live objects: what a training holds, saves and scores."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from srkit.data.sampler import Batches
from srkit.data.store import Store
from srkit.evaluate.score import Metrics
from srkit.evaluate.selection import Selection
from srkit.nets import build_net
from srkit.plugins import Choice
from srkit.run import Part, Run
from srkit.train.loop import Criterion, Guard
from srkit.train.sharding import is_split, whole


class Display(Protocol):
    """How a session speaks to whoever watches. score: of the latest validation, `PSNR 30.12 dB`; empty before it."""

    def say(self, text: str) -> None: ...
    def packing(self, what: str, done: int, total: int) -> None: ...
    def training(self, step: int) -> None: ...  # the loop begins, with `step` steps done
    def progress(self, step: int, loss: float, score: str) -> None: ...


@dataclass(frozen=True)
class Trainee:
    """A run as live objects, before its first step; nothing of it is written yet.

    Attributes:
        net: on its device, in its memory format.
        average: timm's moving average of the weights, or None.
        rates: rates(step) sets the learning rates of the schedule.
        clip: clip(lr) clips the gradients, and gives the norm they had.
        guard: which steps to trust.
        batches: batches(step) gives the scale drawn, and this rank's part of the batch.
        pictures: how many there are to train on at the first scale.
        validation: the sets that are scored, of which the first one chooses `best`.
        lr_maker: what made the LR that is trained on; empty where it is unknown.
    """

    run: Run
    model: Choice
    device: torch.device
    net: nn.Module
    average: Any
    criterion: Criterion
    optimizer: torch.optim.Optimizer
    rates: Callable[[int], None]
    clip: Callable[[float], Tensor]
    guard: Guard
    scaler: torch.amp.GradScaler
    batches: Batches
    pictures: int
    validation: Sequence["ValidationSet"]
    lr_maker: str = ""

    @property
    def selection(self) -> Selection:
        """What `best` is chosen by."""
        return self.validation[0].selections[0]

    @property
    def scored(self) -> nn.Module:
        """The network that is validated and saved, within `averaged`: the average where there is one."""
        return self.net if self.average is None else self.average.module

    @property
    def memory_format(self) -> torch.memory_format:
        return memory_format(self.run)

    def parts(self) -> dict[str, Any]:
        """What a training state holds, by name."""
        parts: dict[str, Any] = {"net": self.net, "optimizer": self.optimizer, "guard": self.guard}
        if self.average is not None:
            parts["ema"] = self.average.module
        if self.scaler.is_enabled():
            parts["scaler"] = self.scaler
        losses = enumerate(self.criterion.losses)
        return parts | {f"loss{i}": loss for i, loss in losses if hasattr(loss, "state_dict")}

    @contextmanager
    def scoring(self) -> Iterator[nn.Module]:
        """Inside, the network that is validated: `scored`, of which each rank has the whole for as long."""
        with self.averaged():
            if not is_split(self.scored):
                yield self.scored
                return
            net = build_net(self.model, self.run.scales, self.device)
            net.load_state_dict({name: whole(tensor) for name, tensor in self.scored.state_dict().items()})
            yield net

    @contextmanager
    def averaged(self) -> Iterator[None]:
        """Inside, `scored` has the weights of an optimizer that averages them itself.

        It goes there and back by arithmetic, which rounds: the weights it had are put back as they were, so that a
        training is the same whenever it is scored or saved.
        """
        if not averages(self.optimizer):
            yield
            return
        trained = [(parameter, parameter.detach().clone()) for parameter in self.net.parameters()]
        optimizer: Any = self.optimizer
        optimizer.eval()
        try:
            yield
        finally:
            optimizer.train()
            with torch.no_grad():
                for parameter, before in trained:
                    parameter.copy_(before)

    def learned(self, step: int) -> None:
        """The weights have changed in `step`; so does their average."""
        if self.average is not None:
            self.average.update(self.net, step)


@dataclass(frozen=True)
class ValidationSet:
    """Pictures that are scored while training. stores: packed, by scale. metrics: by name, one for each selection."""

    label: str
    part: Part
    stores: Mapping[int, Store]
    selections: Sequence[Selection]
    metrics: Metrics


def averages(optimizer: Any) -> bool:
    """Does it average the weights itself, as `srkit.Optimizer` says?"""
    return hasattr(optimizer, "eval") and hasattr(optimizer, "train")


def memory_format(run: Run) -> torch.memory_format:
    return torch.channels_last if run.channels_last else torch.contiguous_format
