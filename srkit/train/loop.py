"""The training loop: reads top to bottom, knows nothing of files, logs or metrics."""

from collections.abc import Callable, Mapping, Sequence

import numpy as np
import torch
from torch import Tensor, nn

from srkit.components import Batch


class Criterion(nn.Module):
    """The weighted sum of the run's losses; lets those that learn (a discriminator) learn."""

    def __init__(self, losses: Sequence[Callable[[Tensor, Tensor], Tensor]], weights: Sequence[float]):
        super().__init__()
        self.losses = list(losses)
        self.weights = list(weights)
        for i, loss in enumerate(losses):
            if isinstance(loss, nn.Module):  # so that .to(device) reaches it
                self.add_module(f"loss{i}", loss)

    def forward(self, sr: Tensor, hr: Tensor) -> Tensor:
        terms = [weight * loss(sr, hr) for weight, loss in zip(self.weights, self.losses, strict=True)]
        return torch.stack(terms).sum() if len(terms) > 1 else terms[0]

    def update(self, sr: Tensor, hr: Tensor) -> None:
        for loss in self.losses:
            if hasattr(loss, "update"):
                loss.update(sr, hr)


def train(
    net: Callable[[Tensor, int], Tensor],
    criterion: Criterion,
    optimizer: torch.optim.Optimizer,
    samplers: Mapping[int, Callable[[int], Batch]],
    augment: Callable[[Batch], Batch],
    schedule: Callable[[int], float],
    seed: int,
    steps: range,
    after: Callable[[int, Tensor], bool],
) -> None:
    """Run `steps`. All that is random in a step is a function of (seed, step).

    net(lr, scale) -> sr. samplers: by scale; of several scales, each step takes one at random.
    after(steps done, loss) is called after each step, loss a detached scalar on the device; True stops.
    """
    scales = sorted(samplers)
    for step in steps:
        rng = np.random.default_rng([seed, step])
        torch.manual_seed(int(rng.integers(2**63)))
        scale = scales[rng.integers(len(scales))]
        batch = augment(samplers[scale](step))
        for group in optimizer.param_groups:
            group["lr"] = schedule(step)

        sr = net(batch.lr, scale)
        loss = criterion(sr, batch.hr)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
        criterion.update(sr.detach(), batch.hr)

        if after(step + 1, loss.detach()):
            return
