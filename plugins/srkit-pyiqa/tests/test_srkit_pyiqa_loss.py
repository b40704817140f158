"""The loss `pyiqa`: its value and gradient are those of pyiqa's own call, turned round where higher is better."""

import pytest
import torch

import srkit
from srkit.testing import parts

pyiqa = pytest.importorskip("pyiqa")
loss_module = pytest.importorskip("srkit_pyiqa.loss")


def build(registry, metric):
    return registry.choose("loss", "pyiqa", {"metric": metric}).build()


@pytest.fixture
def pair(photo):
    """A photograph and the same with noise, each 2,3,176,192 in [0, 1]."""
    hr = torch.stack([torch.from_numpy(photo[y : y + 176, 120:312].copy()) for y in (20, 100)])
    hr = hr.permute(0, 3, 1, 2).float() / 255
    noise = 0.1 * torch.randn(hr.shape, generator=torch.Generator().manual_seed(0))
    return (hr + noise).clamp(0, 1), hr


def gradient(value, sr):
    return torch.autograd.grad(value, sr)[0]


@pytest.mark.parametrize(("name", "theirs", "best"), [("gmsd", "gmsd", None), ("ms-ssim", "ms_ssim", 1.0)])
def test_it_is_pyiqas_own_loss(registry, pair, name, theirs, best):
    """chaofengc/IQA-PyTorch#276: `as_loss` turns nothing round. Right: what is minimised makes pictures better."""
    sr, hr = pair[0].requires_grad_(), pair[1]
    value = build(registry, name)(sr, hr)
    expected = pyiqa.create_metric(theirs, as_loss=True, device=torch.device("cpu"))(sr, hr)
    expected = expected if best is None else best - expected
    assert value.ndim == 0
    assert value.item() == expected.item()
    found = gradient(value, sr)
    assert found.abs().sum() > 0
    assert torch.equal(found, gradient(expected, sr))
    assert build(registry, theirs)(hr, hr).item() < value.item(), "by pyiqa's name too"


@pytest.mark.parametrize("name", ["ms-ssim", "vsi", "fsim", "gmsd", "nlpd", "vif", "pyiqa-ssimc"])
def test_a_step_downhill_makes_the_picture_better(registry, pair, name):
    sr, hr = pair[0].requires_grad_(), pair[1]
    loss = build(registry, name)
    value = loss(sr, hr)
    slope = gradient(value, sr)
    assert slope.isfinite().all()
    with torch.no_grad():
        assert loss(sr - 0.01 * slope / slope.abs().max(), hr) < value


def test_a_metric_without_a_gradient_is_refused(registry, pair):
    """chaofengc/IQA-PyTorch#76: no gradient, and no word. Right: said at the first step."""
    sr = pair[0].requires_grad_()
    loss = build(registry, "gmsd")
    loss.model.as_loss = False
    with pytest.raises(srkit.UsageError, match="'gmsd' gives no gradient, so nothing can be trained by it"):
        loss(sr, pair[1])


def test_patches_that_are_too_small_are_said(registry):
    with pytest.raises(srkit.DataError, match=r"loss 'pyiqa': 'ms-ssim' cannot score patches of 32x24: \S"):
        build(registry, "ms-ssim")(torch.rand(1, 3, 24, 32), torch.rand(1, 3, 24, 32))


def test_a_metric_that_is_not_there_is_named(registry):
    with pytest.raises(srkit.UnknownName, match="pyiqa has no metric 'lipps'"):
        build(registry, "lipps")


def test_lpips_has_a_gradient_where_all_features_are_zero(registry, pair, monkeypatch):
    """richzhang/PerceptualSimilarity#69, #121: NaN, as of a root of 0. Right: finite, and the same value."""
    models = pytest.importorskip("pyiqa.archs.lpips_arch").models
    random = models.alexnet
    monkeypatch.setattr(models, "alexnet", lambda weights: random())
    made = pyiqa.create_metric("lpips", as_loss=True, pretrained=False, device=torch.device("cpu"))
    with torch.no_grad():
        made.net.net.slice1[0].bias.fill_(
            -100.0
        )  # nothing excites it, as with the published weights some pixels do not
    monkeypatch.setattr(loss_module, "load", lambda name, as_loss: made)
    loss, (sr, hr) = build(registry, "lpips"), (x[..., :96, :96].clone() for x in pair)
    sr.requires_grad_()
    value = loss(sr, hr)
    assert value.item() == pytest.approx(made(sr, hr).item(), rel=1e-5)
    assert gradient(value, sr).isfinite().all()


def test_it_keeps_the_contract(registry, monkeypatch):
    made = pyiqa.create_metric("gmsd", as_loss=True, device=torch.device("cpu"))
    monkeypatch.setattr(loss_module, "load", lambda name, as_loss: made)
    entry = registry.find("loss", "pyiqa")
    parts.loss_value(parts.made_loss(registry, entry))
    parts.loss_gradient(parts.made_loss(registry, entry))
    loss = build(registry, "gmsd")
    assert loss.state_dict() == {}
    assert not loss.train().training
    assert not any(parameter.requires_grad for parameter in loss.parameters())
