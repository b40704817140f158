"""The perceptual loss: against torchvision's networks, and never with random weights unasked."""

import os
import socket

import pytest
import timm
import torch
from huggingface_hub import constants
from safetensors.torch import save_file

from srkit import CheckpointError, SrkitError, UnknownName, UsageError

SMALL = {"backbone": "test_resnet", "layers": (1, 3), "pretrained": False}


def build(registry, **options):
    return registry.choose("loss", "perceptual", options).build()


@pytest.fixture
def pair():
    generator = torch.Generator().manual_seed(0)
    return torch.rand(2, 2, 3, 64, 64, generator=generator).unbind()


@pytest.fixture
def weights(tmp_path):
    """A whole weight file of timm's smallest ResNet."""
    torch.manual_seed(1)
    save_file(timm.create_model("test_resnet", pretrained=False).state_dict(), tmp_path / "w.safetensors")
    return tmp_path / "w.safetensors"


@pytest.mark.parametrize("distance", ["l1", "l2"])
def test_it_is_what_torchvision_computes(registry, pair, tmp_path, distance):
    """torchvision's ResNet-18, its file, its layers and its normalisation."""
    models = pytest.importorskip("torchvision.models")
    transforms = pytest.importorskip("torchvision.transforms.v2.functional")
    torch.manual_seed(2)
    theirs = models.resnet18(weights=None).eval()
    torch.save(theirs.state_dict(), tmp_path / "resnet18.pth")
    loss = build(
        registry,
        backbone="resnet18",
        layers=[1, 3],
        layer_weights=[0.5, 2.0],
        distance=distance,
        pretrained=str(tmp_path / "resnet18.pth"),
    )

    def features(picture):
        x = transforms.normalize(picture, models.ResNet18_Weights.DEFAULT.transforms().mean, [0.229, 0.224, 0.225])
        one = theirs.layer1(theirs.maxpool(theirs.relu(theirs.bn1(theirs.conv1(x)))))
        return one, theirs.layer3(theirs.layer2(one))

    with torch.no_grad():
        gaps = [a - b for a, b in zip(*map(features, pair), strict=True)]
    one, three = (gap.abs().mean() if distance == "l1" else (gap**2).mean() for gap in gaps)
    assert float(one) > 1e-3
    assert float(loss(*pair)) == pytest.approx(float(0.5 * one + 2 * three), rel=1e-4)


def test_identical_images_cost_nothing_and_gradients_reach_sr_alone(registry, pair, weights):
    loss = build(registry, **{**SMALL, "pretrained": str(weights)})
    sr, hr = pair[0].clone().requires_grad_(), pair[1].clone().requires_grad_()
    assert loss(hr, hr).item() == 0
    loss(sr, hr).backward()
    assert sr.grad.isfinite().all()
    assert sr.grad.abs().sum() > 0
    assert hr.grad is None
    assert all(p.grad is None and not p.requires_grad for p in loss.parameters())


def test_it_stays_in_eval_mode_and_out_of_the_training_state(registry, pair):
    loss = build(registry, **SMALL)
    before = loss(*pair)
    loss.train()
    assert not any(module.training for module in loss.modules())
    assert loss(*pair).equal(before), "no batch statistics were gathered"
    assert loss.state_dict() == {}
    loss.load_state_dict({})


def test_a_weight_file_that_does_not_fit_is_refused(registry, tmp_path, weights):
    torch.save({"features.0.weight": torch.zeros(3)}, tmp_path / "other.pth")
    with pytest.raises(CheckpointError, match=r"other.pth' does not hold the weights of 'test_resnet'"):
        build(registry, **{**SMALL, "pretrained": str(tmp_path / "other.pth")})
    partly = timm.create_model("test_resnet", pretrained=False).state_dict()
    del partly["layer1.0.conv1.weight"]
    save_file(partly, tmp_path / "partly.safetensors")
    with pytest.raises(CheckpointError, match=r"layer1\.0\.conv1\.weight"):
        build(registry, **{**SMALL, "pretrained": str(tmp_path / "partly.safetensors")})
    with pytest.raises(UnknownName, match=r"no weight file .*did you mean '.*/w.safetensors'"):
        build(registry, **{**SMALL, "pretrained": str(tmp_path / "ww.safetensors")})


def test_a_pickle_is_never_executed(registry, tmp_path):
    class Harm:
        def __reduce__(self):
            return os.mkdir, (str(tmp_path / "harm"),)

    torch.save({"state_dict": Harm()}, tmp_path / "harmful.pth")
    with pytest.raises(CheckpointError, match=r"harmful\.pth"):
        build(registry, **{**SMALL, "pretrained": str(tmp_path / "harmful.pth")})
    assert not (tmp_path / "harm").exists()


@pytest.fixture
def offline(monkeypatch, tmp_path):
    """No network, and nothing downloaded before."""

    def refuse(*_, **__):
        raise socket.gaierror("Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))


def test_offline_one_line_says_which_weights_and_what_to_do(registry, offline):
    with pytest.raises(SrkitError) as caught:
        build(registry)
    text = str(caught.value)
    assert "\n" not in text
    assert "'timm/vgg19.tv_in1k' of 'vgg19'" in text
    assert "https://huggingface.co/timm/vgg19.tv_in1k/resolve/main/model.safetensors" in text
    assert 'pretrained = "FILE"' in text


def test_what_was_downloaded_before_needs_no_network(registry, pair, offline, tmp_path, weights):
    """The hub's cache as it lies on disk: refs name a commit, snapshots hold its files."""
    hub_id = timm.get_pretrained_cfg("test_resnet").hf_hub_id
    folder = tmp_path / "hub" / f"models--{hub_id.replace('/', '--')}"
    (folder / "refs").mkdir(parents=True)
    (folder / "refs" / "main").write_text("0123abc")
    (folder / "snapshots" / "0123abc").mkdir(parents=True)
    weights.rename(folder / "snapshots" / "0123abc" / "model.safetensors")
    cached = build(registry, **{**SMALL, "pretrained": True})
    path = folder / "snapshots" / "0123abc" / "model.safetensors"
    assert cached(*pair).equal(build(registry, **{**SMALL, "pretrained": str(path)})(*pair))


def test_wrong_options_name_themselves(registry):
    with pytest.raises(UnknownName, match="timm has no model 'vgg91'; did you mean 'vgg19'"):
        build(registry, backbone="vgg91")
    with pytest.raises(UsageError, match=r"layers = \[3, 1\]: they must rise"):
        build(registry, **{**SMALL, "layers": (3, 1)})
    with pytest.raises(UsageError, match="1 values for 2 layers"):
        build(registry, **{**SMALL, "layer_weights": (1.0,)})
    with pytest.raises(UsageError, match=r"'test_resnet' gives no features at the layers \[1, 99\]"):
        build(registry, **{**SMALL, "layers": (1, 99)})
