"""The eight symmetries: as augmentation, bit-exact on the pair; as self-ensemble, the mean of eight passes."""

import numpy as np
import pytest
import torch

from srkit import Batch
from srkit.upscale.wrap import make_upscaler


def eight(image: np.ndarray) -> list[np.ndarray]:
    """All symmetries of H,W,C by numpy: four turns of it and of its mirror image."""
    return [np.rot90(m, k) for m in (image, image[:, ::-1]) for k in range(4)]


@pytest.mark.parametrize("side", [7, 8, 17])
def test_dihedral_turns_both_images_alike_and_exactly(registry, side):
    rng = np.random.default_rng(0)
    hr = rng.random((3 * side, 3 * side, 3), dtype=np.float32)
    lr = hr[::3, ::3]
    count = 200
    batch = Batch(*(torch.from_numpy(a.copy()).permute(2, 0, 1).expand(count, -1, -1, -1) for a in (lr, hr)))
    torch.manual_seed(0)
    out = registry.choose("augmentation", "dihedral").build()(batch)
    seen = set()
    for small, large in zip(out.lr, out.hr, strict=True):
        small, large = (t.permute(1, 2, 0).numpy() for t in (small, large))
        which = [i for i, turned in enumerate(eight(hr)) if np.array_equal(turned, large)]
        assert len(which) == 1
        assert np.array_equal(eight(lr)[which[0]], small)
        seen.add(which[0])
    assert seen == set(range(8))


@pytest.mark.parametrize(("height", "width"), [(4, 6), (6, 4)])
def test_dihedral_refuses_what_is_not_square(registry, height, width):
    batch = Batch(torch.rand(9, 3, height, width), torch.rand(9, 3, 2 * height, 2 * width))
    with pytest.raises(RuntimeError, match="shape"):
        registry.choose("augmentation", "dihedral").build()(batch)


def test_dihedral_is_decided_by_the_global_seed(registry):
    batch = Batch(torch.rand(9, 3, 4, 4), torch.rand(9, 3, 8, 8))
    augment = registry.choose("augmentation", "dihedral").build()
    results = []
    for seed in (1, 1, 2):
        torch.manual_seed(seed)
        results.append(augment(batch).hr)
    assert torch.equal(results[0], results[1])
    assert not torch.equal(results[0], results[2])


def test_self_ensemble_is_the_mean_of_eight_explicit_passes(registry, photo):
    torch.manual_seed(0)
    model = registry.choose("model", "edsr", {"n_resblocks": 2, "n_feats": 8})
    net = model.build(2)
    wrapper = registry.choose("wrapper", "self-ensemble")
    picture = photo[:33, :50].astype(np.float32) / 255
    lr = torch.from_numpy(picture).permute(2, 0, 1)[None]
    ours = make_upscaler(net, model, 2, wrappers=[wrapper])(lr)[0].permute(1, 2, 0).numpy()

    passes = []
    for mirrored in (False, True):
        for turns in range(4):
            turned = np.rot90(picture[:, ::-1] if mirrored else picture, turns)
            with torch.inference_mode():
                sr = net(torch.from_numpy(turned.copy()).permute(2, 0, 1)[None])[0].permute(1, 2, 0).numpy()
            sr = np.rot90(sr, -turns)
            passes.append(sr[:, ::-1] if mirrored else sr)
    np.testing.assert_allclose(ours, np.mean(passes, axis=0), atol=1e-6)
