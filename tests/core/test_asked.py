"""What a loss is given beside sr and hr, and what is said where it asks for more."""

from pathlib import Path

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from srkit import Batch, Loss, PluginError, Run, UsageError, load_plugins
from srkit.testing import check
from srkit.train.distributed import World
from srkit.train.loop import Criterion, Guard, train
from srkit.train.optim import clipper
from srkit.train.parts import built_criterion

CPU = torch.device("cpu")


class Curious(nn.Module):
    """Notes what it is called with."""

    def __init__(self, *, note: str = ""):
        super().__init__()
        self.seen: list[tuple[torch.Tensor, torch.Tensor, torch.Tensor]] = []
        self.told: list[tuple[tuple[int, ...], torch.device]] = []

    def prepare(self, scales, device):
        self.told.append((scales, device))

    def forward(self, sr, hr, *, lr, average):
        self.seen.append((lr, average, sr.detach()))
        return (sr - hr).abs().mean()


def trained(criterion, average, precision="fp32"):
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(3, 12, 3, padding=1), nn.PixelShuffle(2))
    batches = [Batch(torch.rand(4, 3, 8, 8), torch.rand(4, 3, 16, 16)) for _ in range(3)]
    train(
        lambda lr, scale: net(lr),
        criterion,
        torch.optim.Adam(net.parameters()),
        lambda step: (2, batches[step]),
        rates=lambda step: None,
        clip=clipper(list(net.parameters()), 0.0, "norm"),
        guard=Guard(100.0, 3, CPU),
        scaler=torch.amp.GradScaler("cpu", enabled=False),
        steps=range(3),
        seed=0,
        world=World(),
        stop=lambda: False,
        learned=lambda step: None,
        after=lambda done: False,
        precision=precision,
        accumulate=2,
        average=average,
    )
    return batches


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_a_loss_is_given_the_lr_of_each_part_and_what_the_average_makes_of_it(precision):
    curious = Curious()
    doubled = nn.Upsample(scale_factor=2).requires_grad_()
    batches = trained(Criterion([nn.L1Loss(), curious], [1.0, 0.5]), lambda lr, scale: doubled(lr), precision)
    assert len(curious.seen) == 6, "three steps of two parts"
    for n, (lr, average, sr) in enumerate(curious.seen):
        assert torch.equal(lr, batches[n // 2].lr.chunk(2)[n % 2])
        assert torch.equal(average, F.interpolate(lr, scale_factor=2))
        assert average.dtype == sr.dtype == torch.float32, "losses are computed in fp32"


def test_an_average_nobody_asks_for_is_not_computed():
    def never(lr, scale):
        raise AssertionError

    trained(Criterion([nn.L1Loss()], [1.0]), never)


def run_with(build, **changes):
    registry = load_plugins()
    registry.add("loss", Loss(name="curious", build=build))
    return built_criterion(Run(loss=[{"name": "curious"}], **changes).resolved(registry), registry, CPU)


def test_a_loss_is_told_scales_and_device_once_and_before_the_first_step():
    criterion = run_with(Curious, scale=[2, 3])
    assert criterion.losses[0].told == [((2, 3), CPU)]


def test_the_average_is_refused_where_there_is_none_unless_the_loss_does_without():
    with pytest.raises(UsageError, match=r"loss 'curious': it compares with the average of the weights, and ema = 0"):
        run_with(Curious, ema=0.0)

    def without(*, note: str = ""):
        return lambda sr, hr, *, average=None: sr.mean() * (0 if average is None else 1)

    criterion = run_with(without, ema=0.0)
    assert float(criterion(torch.ones(1), torch.ones(1))) == 0
    assert float(criterion(torch.ones(1), torch.ones(1), average=torch.ones(1))) == 1


def test_what_is_not_offered_is_named():
    def build(*, note: str = ""):
        return lambda sr, hr, *, mask: sr.mean()

    with pytest.raises(PluginError, match=r"loss 'curious': .* with 'mask', which is not offered; .* lr and average"):
        run_with(build)
    registry = load_plugins()
    registry.add("loss", Loss(name="curious", build=build))
    (fault,) = [f for f in check(registry, "loss", "curious") if "mask" in f.text]
    assert (fault.check, fault.outcome) == ("training offers what it asks for", "fault")


def test_an_error_while_a_loss_prepares_names_it():
    class Failing(Curious):
        def prepare(self, scales, device):
            raise ValueError("no such thing")

    with pytest.raises(PluginError, match="loss 'curious': ValueError: no such thing"):
        run_with(Failing)


def test_check_calls_a_loss_as_training_does(tmp_path: Path):
    registry = load_plugins()
    registry.add("loss", Loss(name="curious", build=Curious, summary="notes", licence="MIT"))
    found = {f.check: f.outcome for f in check(registry, "loss", "curious")}
    assert found["it gives a finite scalar, nearer images a smaller one"] == "ok"
    assert found["its gradient reaches sr and is finite"] == "ok"
