"""The loss `distillation`: what the teacher makes is what srkit.load makes, and a run with it goes on bit for bit."""

import shutil
from pathlib import Path

import pytest
import torch

import srkit
from srkit.checkpoint import read_tensors
from tests.cli.conftest import SMALL
from tests.processes import Running

CPU = torch.device("cpu")


@pytest.fixture
def pair(photo):
    """LR of 1,3,24,32 and something like HR of twice that."""
    lr = torch.from_numpy(photo[100:124, 120:152].copy()).permute(2, 0, 1)[None].float() / 255
    return lr, torch.nn.functional.interpolate(lr, scale_factor=2)


def build(registry, scale=2, **options):
    loss = registry.choose("loss", "distillation", options).build()
    loss.prepare((scale,), CPU)
    return loss


@pytest.mark.parametrize("ensemble", [False, True])
@pytest.mark.parametrize("distance", ["l1", "l2"])
def test_it_is_the_distance_from_what_the_teacher_makes(registry, pair, ensemble, distance):
    lr, hr = pair
    taught = srkit.load("edsr-small", 2, device="cpu", ensemble=ensemble).upscale(lr).double().numpy()
    error = hr.double().numpy() - taught
    expected = abs(error).mean() if distance == "l1" else (error**2).mean()
    found = build(registry, ensemble=ensemble, distance=distance)(hr, torch.zeros_like(hr), lr=lr)
    assert float(found) == pytest.approx(expected, rel=1e-5)


def test_the_gradient_reaches_the_student_and_not_the_teacher(registry, pair):
    lr, hr = pair
    loss, sr = build(registry), hr.clone().requires_grad_()
    loss(sr, hr, lr=lr.requires_grad_()).backward()
    assert sr.grad.abs().sum() > 0
    assert lr.grad is None
    assert not any(parameter.requires_grad for parameter in loss.nets[2].parameters())


def test_bf16_is_near_fp32(registry, pair):
    lr, _ = pair
    exact, half = (build(registry, precision=p).taught(lr, 2) for p in ("fp32", "bf16"))
    assert 0 < float((exact - half).abs().max()) < 0.02


def test_one_scale_after_another(registry, pair):
    lr, _ = pair
    loss = registry.choose("loss", "distillation").build()
    loss.prepare((2, 3), CPU)
    for scale in (2, 3):
        expected = srkit.load("edsr-small", scale, device="cpu").upscale(lr)
        assert torch.allclose(loss.taught(lr, scale), expected, atol=1e-5)


def test_patches_that_the_teacher_cannot_take_are_refused(registry, pair):
    loss = build(registry)
    loss.multiples[2] = 7
    with pytest.raises(srkit.UsageError, match=r"takes patches whose side is a multiple of 7, not 32; --set patch=28"):
        loss(pair[1], pair[1], lr=pair[0])


def words(steps, teacher="edsr-small", precision="fp32"):
    loss = f'loss=[{{name="l1"}}, {{name="distillation", weight=0.5, teacher="{teacher}"}}]'
    more = ["validate_every=100", "accumulate=2", f'precision="{precision}"', loss]
    return [
        "--model",
        "edsr",
        "--device",
        "cpu",
        *SMALL,
        *(w for m in more for w in ("--set", m)),
        "--steps",
        str(steps),
    ]


def test_a_teacher_that_is_not_there_is_named_before_anything_is_packed(run_srkit):
    code, _, err = run_srkit("train", *words(3, teacher="edsr-smll"), "--out", "run")
    assert code == 2
    assert "loss 'distillation': " in err
    assert "did you mean 'edsr-small'?" in err
    assert "packing" not in err
    assert not Path("run").exists()


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_a_killed_run_goes_on_bit_for_bit(run_srkit, precision):
    train = ["train", *words(24, precision=precision)]
    assert run_srkit(*train, "--out", "whole")[0] == 0
    killed = Running(*train, "--out", "parts", "--save-every", "0.01s").kill_at(5, "parts")
    assert 5 <= max(killed) < 24
    code, _, err = run_srkit("train", "--resume", "parts")
    assert code == 0, err
    assert "resumed at step" in err
    for name in ("last.safetensors", "state-00000024.safetensors"):
        one, other = (read_tensors(Path(folder) / name) for folder in ("whole", "parts"))
        assert one.keys() == other.keys()
        assert all(torch.equal(one[key], other[key]) for key in one)
    assert not [key for key in one if key.startswith("loss1")], "the teacher is in no training state"


def test_two_ranks_are_one_process(run_srkit):
    assert run_srkit("train", *words(10), "--out", "one")[0] == 0
    code, said = Running("train", *words(10), "--out", "two", ranks=2).finish()
    assert code == 0, said
    one, two = (read_tensors(Path(folder) / "last.safetensors") for folder in ("one", "two"))
    assert max(float((one[key] - two[key]).abs().max()) for key in one) < 1e-5


def test_a_run_does_not_go_on_with_another_teacher(run_srkit):
    origin = Path(srkit.load("edsr-small", 2).origin)
    shutil.copy(origin, "teacher.safetensors")
    assert run_srkit("train", *words(4, teacher="teacher.safetensors"), "--out", "run")[0] == 0
    tensors = read_tensors(Path("teacher.safetensors"))
    changed = bytearray(Path("teacher.safetensors").read_bytes())
    changed[-1] ^= 1
    Path("teacher.safetensors").write_bytes(changed)
    assert tensors.keys() == read_tensors(Path("teacher.safetensors")).keys()
    code, _, err = run_srkit("train", "--resume", "run", "--steps", "6")
    assert code == 2
    assert "the teacher 'teacher.safetensors' is another weight file than this run began with" in err
    shutil.copy(origin, "teacher.safetensors")
    assert run_srkit("train", "--resume", "run", "--steps", "6")[0] == 0
