"""Schedule-free optimizers: the published recursion, what is scored and saved, and when it is looked at."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file
from torch import nn

from srkit.testing import check

NAMES = ("schedulefree-adamw", "schedulefree-radam", "schedulefree-sgd")
SMALL = ["model.n_resblocks=1", "model.n_feats=4", "batch=2", "patch=16", "lr=1e-3", "precision=fp32"]


def words(*settings):
    free = ["optimizer=schedulefree-adamw", "schedule=constant", "ema=0", "steps=20", "validate_every=10"]
    each = [word for setting in (*SMALL, *free, *settings) for word in ("--set", setting)]
    return ["train", "--model", "edsr", "--device", "cpu", *each]


@pytest.mark.parametrize("name", NAMES)
def test_they_keep_the_contract(registry, name):
    assert [f for f in check(registry, "optimizer", name) if f.outcome != "ok"] == []


def test_sgd_is_the_published_recursion(registry):
    """y = (1 - b) z + b x; z -= lr * gradient at y; x is the mean of all z. In double precision, by numpy."""
    x = z = np.array([1.0, -2.0, 3.0])
    parameter = nn.Parameter(torch.from_numpy(x.copy()))
    optimizer = registry.choose("optimizer", "schedulefree-sgd", {"momentum": 0.8}).build([parameter], 0.1)
    optimizer.train()
    for t in range(1, 8):
        y = 0.2 * z + 0.8 * x
        np.testing.assert_allclose(parameter.detach(), y, rtol=1e-12)
        z = z - 0.1 * 2 * (y - 0.5)
        x = (1 - 1 / t) * x + z / t
        optimizer.zero_grad()
        (parameter - 0.5).square().sum().backward()
        optimizer.step()
    optimizer.eval()
    np.testing.assert_allclose(parameter.detach(), x, rtol=1e-12)


def test_the_average_is_saved_and_looking_changes_nothing(run_srkit):
    """Going to the average and back by arithmetic would round, so that a run would depend on when it was saved."""
    code, _, err = run_srkit(*words(), "--out", "seldom")
    assert code == 0, err
    assert run_srkit(*words("validate_every=3"), "--save-every", "0.0001s", "--out", "often")[0] == 0
    name = "state-00000020.safetensors"
    seldom, often = (load_file(Path(folder) / name) for folder in ("seldom", "often"))
    assert all(seldom[key].equal(often[key]) for key in seldom if key.startswith(("net.", "optimizer.")))

    last = load_file("seldom/last.safetensors")
    with safe_open(Path("seldom") / name, "pt") as file:
        assert (
            json.loads(file.metadata()["srkit"])["run"]["optimizer"]["name"] == "srkit-schedulefree:schedulefree-adamw"
        )
    trained = [key for key in last if not seldom[f"net.{key}"].equal(last[key])]
    assert len(trained) > 8, "y is not x"
    y = seldom["net.head.0.weight"]
    (z,) = (value for key, value in seldom.items() if key.endswith(".z") and value.shape == y.shape)
    torch.testing.assert_close(last["head.0.weight"], y + (1 - 1 / 0.9) * (z - y), rtol=0, atol=1e-6)


def test_an_average_of_an_average_is_refused(run_srkit):
    code, _, err = run_srkit(*words("ema=0.999"), "--out", "run")
    assert code == 2
    assert "optimizer 'srkit-schedulefree:schedulefree-adamw' averages the weights itself; --set ema=0" in err
    code, _, err = run_srkit(*words("optimizer=schedulefree-adam"), "--out", "run")
    assert code == 2
    assert "no optimizer called 'schedulefree-adam'; did you mean 'schedulefree-" in err
    assert not Path("run").exists()
