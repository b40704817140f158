"""The adversarial loss: its formulas, what it must leave alone, and that it resumes bit for bit."""

import random
from itertools import product
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors import safe_open
from srkit_perceptual.discriminators import Patch, Projected, UNet
from srkit_perceptual.gan import discriminator_loss, generator_loss
from torch import nn
from torch.nn.utils import parametrize

from srkit import UsageError
from tests.processes import Running

BOTH = pytest.mark.parametrize("discriminator", ["unet", "patch"])
EACH = pytest.mark.parametrize("discriminator", ["unet", "patch", "projected"])
SMALL = {"backbone": "test_resnet", "layers": [1, 2], "pretrained": False}
STEPS = 50


def build(registry, **options):
    torch.manual_seed(0)
    small = SMALL if options.get("discriminator") == "projected" else {}
    return registry.choose("loss", "gan", {"num_feat": 4, **small, **options}).build()


@pytest.fixture
def pair():
    generator = torch.Generator().manual_seed(0)
    return torch.rand(2, 2, 3, 32, 32, generator=generator).unbind()


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


@pytest.mark.parametrize("mode", ["vanilla", "lsgan", "hinge", "relativistic"])
def test_both_sides_of_the_game_are_the_published_formulas(mode):
    """As the papers write them: logarithms of sigmoids, squares, hinges; in double precision."""
    fake, real = np.random.default_rng(0).normal(size=(2, 2, 1, 5, 5))
    r, f = sigmoid(real - fake.mean()), sigmoid(fake - real.mean())
    for_model, for_discriminator = {
        "vanilla": (-np.log(sigmoid(fake)).mean(), -np.log(sigmoid(real)).mean() - np.log(1 - sigmoid(fake)).mean()),
        "lsgan": (0.5 * ((fake - 1) ** 2).mean(), 0.5 * ((real - 1) ** 2).mean() + 0.5 * (fake**2).mean()),
        "hinge": (-fake.mean(), np.maximum(0, 1 - real).mean() + np.maximum(0, 1 + fake).mean()),
        "relativistic": (
            -np.log(1 - r).mean() - np.log(f).mean(),
            -np.log(r).mean() - np.log(1 - f).mean(),
        ),
    }[mode]
    tensors = torch.from_numpy(fake), torch.from_numpy(real)
    assert float(generator_loss(mode, *tensors)) == pytest.approx(for_model, rel=1e-12)
    assert float(discriminator_loss(mode, *tensors)) == pytest.approx(for_discriminator, rel=1e-12)


@EACH
@pytest.mark.parametrize("mode", ["vanilla", "lsgan", "hinge", "relativistic"])
def test_the_models_backward_leaves_the_discriminator_alone(registry, pair, discriminator, mode):
    gan = build(registry, discriminator=discriminator, mode=mode)
    gan.update(*pair)
    before = {name: tensor.clone() for name, tensor in gan.discriminator.state_dict().items()}
    sr = pair[0].clone().requires_grad_()
    gan(sr, pair[1]).backward()
    assert sr.grad.isfinite().all()
    assert sr.grad.abs().sum() > 0
    assert all(p.grad is None for p in gan.parameters())
    after = gan.discriminator.state_dict()
    assert all(after[name].equal(before[name]) for name in before), "weights and spectral norms"

    kept = sr.grad.clone()
    gan.update(sr, pair[1])
    assert sr.grad.equal(kept), "nor does the discriminator's step reach the model"
    assert any(not after[name].equal(before[name]) for name in before), "its own step changes it"
    assert all(p.grad is None for p in gan.parameters())


@pytest.mark.parametrize(
    ("discriminator", "mode"),
    [*product(["unet", "patch"], ["vanilla", "lsgan", "hinge", "relativistic"]), ("projected", "hinge")],
)
def test_the_discriminator_learns_to_tell(registry, photo, discriminator, mode):
    """A photograph against a darker copy; what passes for real then costs the model less."""
    hr = torch.from_numpy(photo[100:164, 100:164].copy()).permute(2, 0, 1)[None] / 255
    sr = hr / 2
    gan = build(registry, discriminator=discriminator, mode=mode, lr=1e-3, num_feat=8)
    before = float(gan(sr, hr) - gan(hr, hr))
    for _ in range(60):
        gan.update(sr, hr)
    after = float(gan(sr, hr) - gan(hr, hr))
    assert after > max(0.3, before + 0.2)


def test_the_unet_is_as_large_as_its_picture_and_its_norms_are_one():
    """Spectral norms by a singular value decomposition, which spectral_norm only approaches."""
    torch.manual_seed(0)
    net = UNet(4)
    picture = torch.rand(1, 3, 24, 40)
    for _ in range(50):
        net(picture)
    assert net(picture).shape == (1, 1, 24, 40)
    normed = [m for m in net.modules() if parametrize.is_parametrized(m)]
    assert len(normed) == 8, "all but the first and the last, as published"
    for module in normed:
        assert torch.linalg.matrix_norm(module.weight.flatten(1), 2).item() == pytest.approx(1, abs=0.02)
    with pytest.raises(UsageError, match="a multiple of 8, not 30"):
        net(torch.rand(1, 3, 30, 30))
    assert sum(p.numel() for p in UNet(64).parameters()) == 4_376_897, "UNetDiscriminatorSN of Real-ESRGAN's code"


def test_the_projected_discriminator_is_as_large_as_the_authors():
    """Its trained parameters, and the logits of a picture of 256 pixels: four maps of 8x8 by windows of 4x4."""
    net = Projected(64, "tf_efficientnet_lite0", (1, 2, 3, 4), False)
    assert sum(p.numel() for p in net.parameters() if p.requires_grad) == 10_331_328
    assert net.least == 128
    with torch.no_grad():
        assert net(torch.rand(1, 3, 256, 256)).shape == (1, 100)


def test_a_projected_discriminator_trains_its_heads_alone(registry, pair):
    gan = build(registry, discriminator="projected")
    judge = gan.discriminator
    (backbone,) = judge.apart
    frozen = [tensor.clone() for tensor in backbone.state_dict().values()]
    before = {name: tensor.clone() for name, tensor in judge.state_dict().items()}
    gan.update(*pair)
    after = judge.state_dict()
    assert {name.partition(".")[0] for name in before if not before[name].equal(after[name])} == {"heads"}
    assert all(a.equal(b) for a, b in zip(frozen, backbone.state_dict().values(), strict=True)), "its norms neither"
    assert not any(len(tensor) == 0 for tensor in after.values())
    assert len(after) < len(backbone.state_dict()), "the backbone is no part of the state"
    with pytest.raises(UsageError, match="at least 32 pixels with these layers, not 24; raise patch"):
        judge(torch.rand(1, 3, 24, 24))


def test_patchgan_sees_70_pixels():
    """The published receptive field of three strided layers, read off a gradient; norms would spread it."""
    torch.manual_seed(0)
    net = nn.Sequential(*(m for m in Patch(4, 3) if not isinstance(m, nn.InstanceNorm2d)))
    picture = torch.rand(1, 3, 160, 160, requires_grad=True)
    logits = net(picture)
    logits[0, 0, 9, 9].backward()
    seen = picture.grad.abs().sum((0, 1)).nonzero()
    assert (seen.amax(0) - seen.amin(0) + 1).tolist() == [70, 70]
    with pytest.raises(UsageError, match="at least 24 pixels, not 16"):
        Patch(4, 3)(torch.rand(1, 3, 16, 16))
    assert Patch(4, 3)(torch.rand(1, 3, 24, 24)).shape == (1, 1, 1, 1)


def test_its_learning_rate_is_halved(registry, pair):
    gan = build(registry, lr=0.01, halve_every=3)
    rates = []
    for _ in range(7):
        rates.append(gan.optimizer.param_groups[0]["lr"])
        gan.update(*pair)
    assert rates == [0.01] * 3 + [0.005] * 3 + [0.0025]


def words(discriminator, steps):
    loss = f'loss=[{{name="l1"}}, {{name="gan", weight=0.01, discriminator="{discriminator}", num_feat=4, lr=1e-3}}]'
    small = ["model.n_resblocks=1", "model.n_feats=4", "batch=2", "patch=16", "lr=1e-3", "validate_every=35", loss]
    return ["--model", "edsr", "--device", "cpu", "--steps", str(steps), *(w for s in small for w in ("--set", s))]


def content(path):
    """The tensors of a checkpoint and, as text, all else it says."""
    with safe_open(path, "pt") as file:
        return {name: file.get_tensor(name) for name in file.keys()}, file.metadata()  # noqa: SIM118


def assert_same_run(one, other):
    for name in ("last.safetensors", f"state-{STEPS:08d}.safetensors"):
        (a, about_a), (b, about_b) = content(Path(one) / name), content(Path(other) / name)
        assert a.keys() == b.keys()
        assert [key for key in a if not a[key].equal(b[key])] == []
        assert about_a == about_b, "learning rates, schedules, counters"
    parts = {".".join(key.split(".")[:2]) for key in a if key.startswith("loss1.")}
    assert parts == {"loss1.discriminator", "loss1._extra_state"}
    return a


@BOTH
def test_stopped_or_killed_and_resumed_is_the_same_run(run_srkit, discriminator):
    assert run_srkit("train", *words(discriminator, STEPS), "--out", "whole")[0] == 0

    assert run_srkit("train", *words(discriminator, 21), "--out", "parts")[0] == 0
    code, _, err = run_srkit("train", "--resume", "parts", "--steps", STEPS)
    assert code == 0
    assert "resumed at step 21" in err
    state = assert_same_run("whole", "parts")
    counts = [t for key, t in state.items() if key.startswith("loss1._extra_state.optimizer") and key.endswith("step")]
    assert counts
    assert all(float(count) == STEPS for count in counts), "the discriminator took each step once"

    killed = Running("train", *words(discriminator, STEPS), "--save-every", "0.01s", "--out", "killed")
    assert max(killed.kill_at(random.Random(discriminator).randrange(5, 38), "killed")) < STEPS
    code, _, err = run_srkit("train", "--resume", "killed")
    assert code == 0
    assert "resumed at step" in err
    assert_same_run("whole", "killed")


def test_all_losses_together_resume_bit_for_bit(run_srkit):
    """With a random backbone too: it is made anew from the run's seed."""
    pytest.importorskip("pywt")
    loss = (
        'loss=[{name="l1"}, {name="gan", weight=0.01, num_feat=4, mode="relativistic"}, {name="charbonnier"}, '
        '{name="fft", weight=0.1}, {name="ssim", weight=0.1}, '
        '{name="ms-ssim", weight=0.1}, {name="wavelet"}, {name="consistency"}, {name="ldl"}, '
        '{name="perceptual", weight=0.1, backbone="test_resnet", layers=[1, 2], pretrained=false}]'
    )
    assert run_srkit("train", *words("unet", 20), "--set", loss, "--out", "whole")[0] == 0
    assert run_srkit("train", *words("unet", 9), "--set", loss, "--out", "parts")[0] == 0
    assert run_srkit("train", "--resume", "parts", "--steps", 20)[0] == 0
    name = "state-00000020.safetensors"
    (a, about_a), (b, about_b) = content(Path("whole") / name), content(Path("parts") / name)
    assert all(a[key].equal(b[key]) for key in a)
    assert about_a == about_b
    kept = {key.split(".")[0] for key in a if key.startswith("loss")}
    assert kept == {"loss1"}, "the backbone, windows and filters are in no training state"
