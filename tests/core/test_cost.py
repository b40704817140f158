"""What a model costs: counted by hand, measured in a process of its own, and told when it cannot be."""

import os
import platform
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn

from srkit.components import Model
from srkit.errors import UsageError
from srkit.evaluate.cost import measure, multiply_adds
from srkit.evaluate.cost_table import TOO_MUCH, cost_table, front, lr_of, size_named, told, with_spread
from srkit.evaluate.table import Cost, Results
from srkit.malloc import keep_freed_memory
from srkit.nets import Loaded, build_net
from srkit.plugins import Registry
from srkit.weights import alone
from srkit.weights.alone import Request, measure_alone


def row(model: str = "m", scale: int = 2) -> Cost:
    return Cost(model, scale, "", None, weights="ab")


def loaded(registry: Registry, name: str, scale: int, options: dict[str, Any] | None = None) -> Loaded:
    choice = registry.choose("model", name, options or {})
    return Loaded(build_net(choice, [scale]), choice, scale)


def given(registry: Registry, build: Callable[[int], nn.Module], scale: int = 2) -> Loaded:
    """A model that a test wrote."""
    registry.add("model", Model(name="given", build=build))
    return loaded(registry, "given", scale)


def test_multiply_adds_of_the_edsr_baseline_are_those_counted_by_hand(registry):
    """Each convolution: its inputs, times its outputs, times its window, times the pixels it makes."""
    lr, hr, n = 640 * 360, 1280 * 720, 64
    mean_shifts = 3 * 3 * (lr + hr)
    head = 3 * n * 9 * lr
    body = (2 * 16 + 1) * n * n * 9 * lr
    tail = n * 4 * n * 9 * lr + n * 3 * 9 * hr
    (found,) = multiply_adds(loaded(registry, "edsr", 2), (), row())
    assert found.value == mean_shifts + head + body + tail
    assert told("multiply_adds", found.value) == "316.26 G", "Lim et al. 2017 and others: 316.3 G"
    assert found.conditions["lr"] == "640x360"


def test_a_scale_that_does_not_divide_is_rounded_up_and_a_wrapper_counts_each_call(registry):
    once = loaded(registry, "srcnn", 3)
    (found,) = multiply_adds(once, (), row(scale=3))
    assert found.conditions["lr"] == "427x240"
    (eight,) = multiply_adds(once, [registry.choose("wrapper", "self-ensemble")], row(scale=3))
    assert eight.value == 8 * found.value


def test_interpolation_has_none(registry):
    assert list(multiply_adds(loaded(registry, "bicubic", 2), (), row())) == []


class Pixels(nn.Module):
    """Looks at values, which a tensor without memory has not. power: how its cost grows with the area."""

    def __init__(self, scale: int, power: int = 1):
        super().__init__()
        self.conv, self.power = nn.Conv2d(3, 3 * scale**2, 3, padding=1), power
        self.squeeze = nn.Conv2d(3, 5, 1)

    def forward(self, lr: torch.Tensor) -> torch.Tensor:
        assert lr.mean().item() < 2
        self.squeeze(lr.mean((2, 3), keepdim=True))
        if self.power == 2:
            lr[0, 0] @ lr[0, 0].mT
        return nn.functional.pixel_shuffle(self.conv(lr), 2)


def test_a_model_that_needs_values_is_counted_at_other_sizes_where_that_is_exact(registry):
    (found,) = multiply_adds(given(registry, Pixels), (), row())
    assert found.value == 3 * 12 * 9 * 640 * 360 + 3 * 5
    registry.add("model", Model(name="square", build=lambda scale: Pixels(scale, 2)))
    (found,) = multiply_adds(loaded(registry, "square", 2), (), row())
    assert found.value is None
    assert "not in proportion" in found.error


class Attention(nn.Module):
    def __init__(self, scale: int):
        super().__init__()

    def forward(self, lr: torch.Tensor) -> torch.Tensor:
        lr.mean().item()
        tokens = lr[:, :, :8, :8].flatten(2).mT[None]  # 1,B,64,3
        nn.functional.scaled_dot_product_attention(tokens, tokens, tokens)
        return lr.repeat_interleave(2, -1).repeat_interleave(2, -2)


def test_attention_is_counted_with_values_too(registry):
    """The counter does not know the fused kernel that a CPU takes."""
    (found,) = multiply_adds(given(registry, Attention), (), row())
    assert found.value == 2 * 64 * 64 * 3


def test_what_is_measured_of_a_network(registry):
    net = loaded(registry, "edsr", 2, {"n_resblocks": 1, "n_feats": 4})
    found = {(cost.name, cost.size): cost for cost in measure(net, (), row(), [(64, 48), (32, 24)], seconds=0.01)}
    assert list(found) == [
        ("parameters", ""),
        ("multiply_adds", "1280x720"),
        *((name, size) for size in ("32x24", "64x48") for name in ("memory", "latency", "latency_spread")),
    ]
    assert found["parameters", ""].value == net.parameters
    time = found["latency", "64x48"]
    assert 0 < time.value < 10
    assert time.conditions["lr"] == "32x24"
    assert int(time.conditions["runs"]) >= 3
    assert time.conditions["threads"] == str(torch.get_num_threads())
    assert {cost.model for cost in found.values()} == {"m"}


@pytest.mark.skipif(platform.system() != "Linux", reason="the peak can be reset on Linux alone")
def test_memory_is_that_of_the_run_and_not_of_what_was_before(registry):
    class Large(nn.Module):
        def forward(self, lr):
            torch.ones(10, 1000, 1000)  # 40 MB
            return lr.repeat_interleave(2, -1).repeat_interleave(2, -2)

    keep_freed_memory()  # as the command does, and `fit`
    torch.ones(50, 1000, 1000)
    net = given(registry, lambda scale: Large())
    # Several times, since the system may take other pages of a large process back meanwhile.
    costs = [cost for _ in range(5) for cost in measure(net, (), row(), [(8, 8)], seconds=0)]
    assert 39e6 < max(cost.value for cost in costs if cost.name == "memory") < 60e6


def test_too_much_memory_is_a_row_and_the_rest_is_measured(registry):
    class Greedy(nn.Module):
        def forward(self, lr):
            if lr.shape[-1] > 8 and lr.device.type == "cpu":
                torch.empty(2**60, dtype=torch.uint8, device=lr.device)
            return lr.repeat_interleave(2, -1).repeat_interleave(2, -2)

    found = list(measure(given(registry, lambda scale: Greedy()), (), row(), [(64, 64), (8, 8)], seconds=0))
    assert [(c.name, c.size, c.error) for c in found if c.error] == [
        ("latency", "64x64", TOO_MUCH),
        ("memory", "64x64", TOO_MUCH),
    ]
    assert next(c.value for c in found if (c.name, c.size) == ("latency", "8x8")) > 0
    headings, cells = cost_table(Results([], found))
    assert headings[-1] == "error"
    assert cells[0][-1] == f"64x64: {TOO_MUCH}"


KILLED = """
from srkit import Model, hookimpl

def build(scale):
    import os
    import torch
    class Killed(torch.nn.Module):
        def forward(self, lr):
            print("a plugin that prints")
            if lr.shape[-1] > 8 and lr.device.type == "cpu":
                os.kill(os.getpid(), 9)
            return lr.repeat_interleave(scale, -2).repeat_interleave(scale, -1)
    return Killed()

@hookimpl
def srkit_models():
    return [Model(name="killed", build=build, trainable=False)]
"""


@pytest.mark.skipif(os.name == "nt", reason="a signal ends a process on POSIX")
def test_a_process_of_its_own_that_the_system_ends_is_a_row(install):
    install("srkit-killed", KILLED)
    found = measure_alone(Request("killed", 2, "killed", weights="cd", sizes=[(64, 64), (8, 8)], seconds=0))
    there = {(cost.name, cost.size): cost for cost in found if not cost.error}
    assert {("parameters", ""), ("memory", "8x8"), ("latency", "8x8"), ("latency_spread", "8x8")} == set(there)
    (failed,) = [cost for cost in found if cost.error]
    assert (failed.name, failed.size, failed.value, failed.weights) == ("latency", "64x64", None, "cd")
    assert failed.error == f"{TOO_MUCH}: the system ended its process"


def test_the_last_words_of_a_process_that_fails_are_the_error(monkeypatch):
    ends = "import sys; print('{\"cost\": 1}'); print('a warning', file=sys.stderr); sys.exit(\"no model called 'x'\")"
    monkeypatch.setattr(alone, "PROGRAM", ends)
    (failed,) = measure_alone(Request("x", 2, "x", sizes=[(8, 8)]))
    assert (failed.name, failed.size, failed.error) == ("latency", "8x8", "no model called 'x'")


def test_a_process_that_takes_too_long_is_ended():
    (failed,) = measure_alone(Request("bicubic", 2, "bicubic", sizes=[(8, 8)], limit=0.01))
    assert failed.error == "it took more than 0.01 s"


def test_the_front_is_what_nothing_beats():
    points = [(1, 30), (2, 29), (2, 31), (3, 31), (4, 33), (4, 33), (5, 32)]
    assert front(points) == [0, 2, 4, 5]
    assert front([(cost, -quality) for cost, quality in points], higher_is_better=False) == [0, 2, 4, 5]
    assert front([]) == []


def test_figures_in_words():
    assert [told("parameters", 1369859.0), told("multiply_adds", 3.1625e11)] == ["1,369,859", "316.25 G"]
    assert [told("latency", 1.234), told("latency", 0.01234), told("memory", 3.1e8)] == ["1.23 s", "12.3 ms", "310 MB"]
    assert [with_spread(1.234, 0.1), with_spread(0.01, 0.0012)] == ["1.23 ± 0.05 s", "10 ± 0.6 ms"]
    assert lr_of((1280, 720), 3) == (427, 240)
    assert size_named(" 640X360 ") == (640, 360)
    for word in ("640", "0x9", "axb", "640x360x3"):
        with pytest.raises(UsageError, match="1280x720"):
            size_named(word)
