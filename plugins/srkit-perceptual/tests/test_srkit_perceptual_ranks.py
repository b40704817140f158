"""Adversarial training under two ranks: killed, resumed, and equal to one process."""

from pathlib import Path

import torch
from safetensors.torch import load_file
from srkit_perceptual.discriminators import UNet

from tests.processes import Running

STEPS = 20
TRAIN = ["train", "--device", "cpu"]
# What is not a mean over single pictures: the relativistic game, and a weight measured at the last layer.
GAN = '{name="gan", weight=0.1, adaptive=true, num_feat=4, mode="relativistic"}'


def words():
    small = ["model.n_resblocks=1", "model.n_feats=4", "batch=4", "patch=16", "lr=1e-3", "precision=fp32"]
    small += [f"steps={STEPS}", "validate_every=10", f'loss=[{{name="l1"}}, {GAN}]']
    return ["--model", "edsr", *(word for each in small for word in ("--set", each))]


def test_two_ranks_killed_and_resumed_are_one_process(run_srkit):
    """The network to 1e-5, and what its discriminator says to 1e-4."""
    code, _, err = run_srkit(*TRAIN, *words(), "--out", "one")
    assert code == 0, err
    killed = Running(*TRAIN, *words(), "--save-every", "0.001s", "--out", "two", ranks=2)
    assert 7 <= max(killed.kill_at(7, "two")) < STEPS
    code, said = Running(*TRAIN, "--resume", "two", ranks=2).finish()
    assert code == 0, said
    assert "resumed at step" in said

    one, two = (load_file(Path(name) / f"state-{STEPS:08d}.safetensors") for name in ("one", "two"))
    assert one.keys() == two.keys()
    weights = [key for key in one if key.startswith(("net.", "ema."))]
    assert max(float((one[key] - two[key]).abs().max()) for key in weights) < 1e-5
    torch.testing.assert_close(logits(one), logits(two), rtol=0, atol=1e-4)
    assert logits(one).std() > 1e-2, "it has something to say"


def logits(state):
    """What the discriminator of a training state says of a picture: its single weights follow Adam's noise."""
    net = UNet(4).eval()
    before = "loss1.discriminator."
    net.load_state_dict({key.removeprefix(before): value for key, value in state.items() if key.startswith(before)})
    with torch.no_grad():
        return net(torch.rand(1, 3, 32, 32, generator=torch.Generator().manual_seed(0)))
