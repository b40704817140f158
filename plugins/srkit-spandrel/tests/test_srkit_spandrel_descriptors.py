"""srkit's EDSR through spandrel's own loader, against srkit's network."""

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch import nn

spandrel = pytest.importorskip("spandrel")
descriptors = pytest.importorskip("srkit_spandrel.descriptors")


def as_tensor(rgb: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(rgb.copy()).permute(2, 0, 1)[None] / 255


@pytest.mark.parametrize("scale", [2, 3])
def test_edsr_trained_by_srkit_loads_in_spandrel(run_srkit, registry, tmp_path, photo, scale):
    size = {"n_resblocks": 2, "n_feats": 8}
    options = {**{f"model.{name}": value for name, value in size.items()}, "batch": 4, "lr": 1e-3, "scale": scale}
    words = [word for name, value in options.items() for word in ("--set", f"{name}={value}")]
    assert run_srkit("train", "--model", "edsr", *words, "--steps", 8, "--out", "run")[0] == 0
    best = tmp_path / "run" / "best.safetensors"
    ours = registry.choose("model", "srkit:edsr", size).build(scale).eval()
    ours.load_state_dict(load_file(best))
    torch.save(ours.state_dict(), "plain.pth")
    lr = as_tensor(photo[:40, :51])
    with torch.inference_mode():
        expected = ours(lr).clamp(0, 1)
    assert expected.std() > 0.02

    descriptors.install()
    descriptors.install()
    for path in (best, tmp_path / "plain.pth"):
        model = spandrel.ModelLoader().load_from_file(path)
        assert (model.architecture.id, model.scale, model.purpose) == ("srkit-EDSR", scale, "SR")
        assert model.tags == ["8nf", "2nb"]
        torch.testing.assert_close(model(lr), expected, rtol=0, atol=1e-6)


@pytest.mark.parametrize(("n_feats", "res_scale"), [(256, 0.1), (16, 1.0)])
@pytest.mark.parametrize("scale", [2, 4, 8])
def test_size_scale_and_residual_scaling_are_found(registry, n_feats, res_scale, scale):
    torch.manual_seed(scale)
    options = {"n_resblocks": 3, "n_feats": n_feats, "res_scale": res_scale}
    net = registry.choose("model", "srkit:edsr", options).build(scale).eval()
    theirs = spandrel.ArchRegistry()
    descriptors.install(theirs)
    model = theirs.load(net.state_dict())
    lr = torch.rand(1, 3, 9, 8)
    with torch.inference_mode():
        torch.testing.assert_close(model(lr), net(lr).clamp(0, 1), rtol=0, atol=1e-6)
    assert model.scale == scale


class Greedy(spandrel.Architecture[nn.Module]):
    def __init__(self):
        super().__init__(id="Greedy", detect=lambda state: True)

    def load(self, state_dict):
        raise AssertionError("asked although")


@pytest.mark.parametrize("greedy_first", [True, False])
def test_ours_is_asked_first_and_takes_nobody_elses(registry, greedy_first):
    theirs = spandrel.ArchRegistry()
    theirs.add(*(known for known in spandrel.MAIN_REGISTRY if known.architecture.id != "srkit-EDSR"))
    if not greedy_first:
        descriptors.install(theirs)
    theirs.add(spandrel.ArchSupport.from_architecture(Greedy()))
    descriptors.install(theirs)
    state = registry.choose("model", "srkit:edsr", {"n_resblocks": 1, "n_feats": 4}).build(2).state_dict()
    assert theirs.load(dict(state)).architecture.id == "srkit-EDSR"
    with pytest.raises(AssertionError, match="asked although"):
        theirs.load({**state, "body.0.body.3.conv_du.0.weight": torch.zeros(1)})
