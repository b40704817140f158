"""checkpoint = true: blocks computed again give the same gradients to the bit, and keep less."""

from functools import partial

import pytest
import torch
from torch import nn
from torch.nn.utils.parametrizations import spectral_norm, weight_norm

from srkit import UsageError, load_plugins
from srkit.checkpoint import read_tensors
from srkit.train.recompute import recompute_blocks, repeated_blocks


class Hard(nn.Module):
    """A block of all that a second pass may do otherwise: statistics, a power iteration, random numbers."""

    def __init__(self):
        super().__init__()
        self.body = nn.Sequential(
            spectral_norm(nn.Conv2d(4, 4, 3, padding=1)), nn.BatchNorm2d(4), nn.ReLU(), nn.Dropout(0.3),
            weight_norm(nn.Conv2d(4, 4, 3, padding=1)), nn.BatchNorm2d(4, momentum=None),
        )  # fmt: skip

    def forward(self, x, *, factor):
        return x + factor * self.body(x)


class HardNet(nn.Module):
    def __init__(self):
        super().__init__()
        self.head = nn.Sequential(nn.Conv2d(3, 4, 3, padding=1))
        self.blocks = nn.ModuleList(Hard() for _ in range(3))
        self.tail = nn.Sequential(nn.Conv2d(4, 3, 3, padding=1))

    def forward(self, x):
        x = self.head(x)
        for block in self.blocks:
            x = block(x, factor=0.5)
        return self.tail(x)


def built(name, options):
    return load_plugins().choose("model", name, options).build(2)


NETS = {
    "edsr": (partial(built, "edsr", {"n_resblocks": 6, "n_feats": 4}), 6),
    "srresnet": (partial(built, "srresnet", {"n_resblocks": 3, "n_feats": 4}), 3),
    "hard": (HardNet, 3),
}
EACH = pytest.mark.parametrize("name", NETS)


def two_steps(make, *, again):
    """(gradients of the second step, parameters and buffers after it, bytes kept for the gradients)."""
    torch.manual_seed(0)
    net = make()
    if again:
        recompute_blocks(net, "net")
    optimizer, kept = torch.optim.SGD(net.parameters(), lr=0.1), []
    for step in range(2):
        torch.manual_seed(step)
        optimizer.zero_grad()
        with torch.autograd.graph.saved_tensors_hooks(lambda t: kept.append(t.nbytes) or t, lambda t: t):
            loss = net(torch.rand(2, 3, 12, 12)).square().mean()
        loss.backward()
        optimizer.step()
    return [p.grad for p in net.parameters() if p.grad is not None], net.state_dict(), sum(kept)


@EACH
def test_gradients_and_buffers_are_the_same_to_the_bit_and_less_is_kept(name):
    make, count = NETS[name]
    assert len(repeated_blocks(make())) == count
    gradients, state, kept = two_steps(make, again=False)
    theirs, their_state, their_kept = two_steps(make, again=True)
    assert len(gradients) > 4
    assert all(torch.equal(a, b) for a, b in zip(gradients, theirs, strict=True))
    assert list(state) == list(their_state)
    assert [key for key in state if not torch.equal(state[key], their_state[key])] == []
    assert their_kept < 0.8 * kept


def test_a_graph_may_be_gone_through_twice():
    """As an adaptive weight does, where the last layer is in a block."""
    net = HardNet()
    recompute_blocks(net, "net")
    loss = net(torch.rand(1, 3, 8, 8)).square().mean()
    (first,) = torch.autograd.grad(loss, net.blocks[0].body[0].bias, retain_graph=True)
    loss.backward()
    assert torch.equal(first, net.blocks[0].body[0].bias.grad)


def test_without_gradients_a_block_is_as_ever_and_without_blocks_it_is_told():
    net, picture = HardNet().eval(), torch.rand(1, 3, 8, 8)
    with torch.no_grad():
        before = net(picture)
        recompute_blocks(net, "net")
        assert torch.equal(net(picture), before)
    with pytest.raises(UsageError, match="'srcnn' has no repeated blocks to compute again; --set checkpoint=false"):
        recompute_blocks(built("srcnn", {}), "srcnn")


def test_a_run_with_it_is_the_run_without_it(run_srkit, tmp_path):
    words = ["--set", "model.n_resblocks=2", "--set", "model.n_feats=4", "--set", "batch=2", "--set", "patch=12"]
    words = ["train", "--model", "edsr", *words, "--steps", "3", "--set", "precision=fp32", "--device", "cpu"]
    assert run_srkit(*words, "--out", "without")[0] == 0
    assert run_srkit(*words, "--set", "checkpoint=true", "--out", "with")[0] == 0
    one, two = (read_tensors(tmp_path / name / "last.safetensors") for name in ("without", "with"))
    assert all(torch.equal(one[name], two[name]) for name in one)
    code, _, err = run_srkit(*words, "--set", "checkpoint=true", "--set", "compile=on", "--out", "no")
    assert code == 2
    assert "checkpoint = true is for a network that is not compiled: --set compile=off" in err
