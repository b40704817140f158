"""Optimizers, schedules and clipping against torch's own and the papers' formulae."""

import math

import pytest
import torch
from torch import nn

from srkit import OptionError, UnknownName
from srkit.optim_options import resolved_optimizer, resolved_schedule, timms
from srkit.run import Run
from srkit.train.optim import clipper, make_optimizer, make_schedule


def net():
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Conv2d(4, 3, 3))


def rates(name, options, steps, wanted, lr=1.0):
    optimizer = torch.optim.SGD(net().parameters(), lr=lr)
    set_rate = make_schedule(name, options, optimizer, steps)
    found = []
    for step in wanted:
        set_rate(step)
        found.append(optimizer.param_groups[0]["lr"])
    return found


@pytest.mark.parametrize("strides", [torch.contiguous_format, torch.channels_last])
def test_the_default_optimizer_is_adam_of_the_paper(strides):
    ours, theirs = net().to(memory_format=strides), net().to(memory_format=strides)
    assert resolved_optimizer("adam", {})["betas"] == [0.9, 0.999]
    assert resolved_optimizer("adam", {})["eps"] == 1e-8
    one = make_optimizer("adam", resolved_optimizer("adam", {}), ours, 1e-3)
    two = torch.optim.Adam(theirs.parameters(), lr=1e-3, betas=(0.9, 0.999), eps=1e-8)
    x = torch.rand(2, 3, 9, 9)
    for _ in range(5):
        for model, optimizer in ((ours, one), (theirs, two)):
            optimizer.zero_grad()
            model(x).square().mean().backward()
            optimizer.step()
    assert one.param_groups[0]["fused"]
    for a, b in zip(ours.parameters(), theirs.parameters(), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-6, atol=1e-8)


def test_weights_that_are_not_dense_are_not_stepped_in_the_order_of_memory():
    """Fused, torch's Adam takes the memory of weight and gradient in order, whatever their strides."""
    odd = nn.Linear(4, 4)
    odd.weight = nn.Parameter(torch.rand(8, 4)[::2])
    before = odd.weight.detach().clone()
    optimizer = make_optimizer("adam", {}, odd, 1e-2)
    (odd.weight * torch.tensor([1.0, -1.0, 1.0, -1.0])).sum().backward()
    optimizer.step()
    torch.testing.assert_close(odd.weight.detach() - before, torch.tensor([-1e-2, 1e-2, -1e-2, 1e-2]).expand(4, 4))
    assert not optimizer.param_groups[0]["fused"]
    assert make_optimizer("adam", {"fused": False}, nn.Linear(4, 4), 1e-2).param_groups[0]["fused"] is False
    make_optimizer("adamw", {"differentiable": True}, nn.Linear(4, 4), 1e-2)  # which fused does not go with


def test_the_default_schedule_halves():
    """Lim et al. 2017, section 4.2: halved every 200,000 steps."""
    defaults = resolved_schedule("step", {})
    steps = [0, 199_999, 200_000, 399_999, 400_000, 600_001]
    assert rates("step", defaults, 300_000, steps, 1e-4) == [1e-4 * f for f in (1, 1, 0.5, 0.5, 0.25, 0.125)]


def test_cosine_is_the_published_formula_and_multistep_torchs():
    found = rates("cosine", {"min_lr": 0.1}, 50, range(51))
    for step, rate in enumerate(found):
        assert math.isclose(rate, 0.1 + 0.9 * (1 + math.cos(math.pi * step / 50)) / 2, abs_tol=1e-9)
    reference = torch.optim.SGD(net().parameters(), lr=1.0)
    scheduler = torch.optim.lr_scheduler.MultiStepLR(reference, [3, 7], gamma=0.1)
    expected = []
    for _ in range(10):
        expected.append(reference.param_groups[0]["lr"])
        reference.step()
        scheduler.step()
    assert rates("multistep", {"milestones": [3, 7], "decay_rate": 0.1}, 10, range(10)) == pytest.approx(expected)


def test_a_schedule_has_no_memory():
    for name in ("step", "multistep", "cosine", "tanh", "poly", "wsd", "rsqrt", "constant"):
        options = {"decay_every": 10, "warmup": 5}
        ordered = rates(name, options, 40, range(40))
        assert [rates(name, options, 40, [step])[0] for step in (0, 4, 17, 39)] == [ordered[i] for i in (0, 4, 17, 39)]
        assert ordered[0] == pytest.approx(1e-6)


def test_clipping():
    for by, limit in (("norm", 0.5), ("value", 0.01), ("value/lr", 0.001)):
        model = net()
        model(torch.rand(2, 3, 9, 9)).sum().backward()
        before = [p.grad.clone() for p in model.parameters()]
        total = torch.cat([g.flatten() for g in before]).norm()
        assert clipper(list(model.parameters()), limit, by)(0.1).item() == pytest.approx(total.item())
        for p, g in zip(model.parameters(), before, strict=True):
            bound = {"value": 0.01, "value/lr": 0.01}.get(by)
            expected = g.clamp(-bound, bound) if bound else g * (0.5 / total)
            torch.testing.assert_close(p.grad, expected, rtol=1e-4, atol=1e-7)


@pytest.mark.parametrize(
    ("resolve", "name", "options", "words"),
    [
        (resolved_optimizer, "adem", {}, "did you mean 'adam'"),
        (resolved_optimizer, "adamw", {"beta": 1}, "did you mean 'betas'"),
        (resolved_optimizer, "adamw", {"weight_decay": -1}, "greater than or equal to 0"),
        (resolved_schedule, "cosin", {}, "did you mean 'cosine'"),
        (resolved_schedule, "step", {"decay_every": 0}, "greater than 0"),
    ],
)
def test_wrong_words(resolve, name, options, words):
    with pytest.raises((UnknownName, OptionError), match=words):
        resolve(name, options)


def works_here(name: str) -> bool:
    """Those of CUDA are left out, and those that ask for a package that is not installed, or for second derivatives."""
    return not name.startswith(("fused", "bnb", "kron", "adahessian"))


@pytest.mark.parametrize("name", [name for name in timms() if works_here(name)])
def test_every_optimizer_of_timm_steps_with_its_defaults(name):
    """muon had its whole numbers as fractions, adafactor a negative default, sgd no momentum."""
    options = resolved_optimizer(name, {})
    assert Run.from_dict({"optimizer": {"name": name, **options}}).optimizer.options == options, "a run file keeps them"
    ours = nn.Sequential(nn.Conv2d(3, 4, 3), nn.Conv2d(4, 3, 1))
    before = [parameter.clone() for parameter in ours.parameters()]
    optimizer = make_optimizer(name, options, ours, 1e-3)
    for _ in range(2):
        optimizer.zero_grad()
        ours(torch.rand(1, 3, 8, 8)).abs().mean().backward()
        optimizer.step()
    after = list(ours.parameters())
    assert all(parameter.isfinite().all() for parameter in after)
    assert any(not torch.equal(new, old) for new, old in zip(after, before, strict=True))


def test_whole_numbers_stay_whole_and_sgd_has_the_momentum_of_timm():
    assert resolved_optimizer("muon", {})["ns_steps"] == 5
    assert type(resolved_optimizer("muon", {})["ns_steps"]) is int
    with pytest.raises(OptionError, match="ns_steps"):
        resolved_optimizer("muon", {"ns_steps": 2.5})
    assert resolved_optimizer("sgd", {})["momentum"] == 0.9
    assert resolved_optimizer("sgd", {"weight_decay": 0.01})["weight_decay"] == 0.01
    assert resolved_optimizer("adafactor", {"decay_rate": -0.5})["decay_rate"] == -0.5


@pytest.mark.skipif(torch.cuda.is_available(), reason="there it can be used")
def test_an_optimizer_that_needs_a_gpu_is_told():
    with pytest.raises(OptionError, match="bnbadam.* cannot be used here: CUDA required"):
        resolved_optimizer("bnbadam", {})
