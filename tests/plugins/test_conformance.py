"""The conformance kit: what ships passes it, and ten broken plugins are each told what to change."""

import json
from functools import partial
from typing import Annotated

import numpy as np
import pytest
from PIL import Image

from srkit import load_plugins, progress
from srkit.testing import check, models

HEAD = "from typing import Annotated\nfrom srkit import *\nfrom srkit import hookimpl\n"

NET = """
def build(scale, *, width: Annotated[int, "channels"] = 8):
    from torch import nn
    import torch
    {body}

@hookimpl
def srkit_models():
    return [Model(name="bad", build=build, scales=(2,), summary="broken", licence="MIT"{more})]
"""

CONV = "nn.Conv2d(3, 12, 3, padding=1), nn.PixelShuffle(2)"

#: fault -> (the plugin, the component to check, what must be said, what to do about it)
BROKEN = {
    "wrong size at an odd input": (
        NET.format(body="return nn.Sequential(nn.Conv2d(3, 48, 2, stride=2), nn.PixelShuffle(4))", more=""),
        "bad",
        "x2 of a 3x1 picture|x2 of a 1x1 picture|x2 of a 5x3 picture",
        "size_multiple",
    ),
    "crash in half precision": (
        NET.format(
            body=f"""
    class Bad(nn.Module):
        def __init__(self):
            super().__init__()
            self.net = nn.Sequential({CONV})
        def forward(self, x):
            return self.net(x - torch.tensor([0.4, 0.4, 0.4]).view(1, 3, 1, 1))
    return Bad()""",
            more="",
        ),
        "bad",
        "net.bfloat16() raised|bfloat16 went in and torch.float32 came out",
        "dtype",
    ),
    "silent nonsense in half precision": (
        NET.format(
            body=f"""
    class Bad(nn.Module):
        def __init__(self):
            super().__init__()
            self.net = nn.Sequential({CONV})
        def forward(self, x):
            return self.net(x) * 1000 - self.net(x).round(decimals=2) * 1000
    return Bad()""",
            more="",
        ),
        "bad",
        "in bfloat16 the result",
        "float32",
    ),
    "unused parameter": (
        NET.format(
            body=f"""
    net = nn.Sequential({CONV})
    net[0].register_parameter("forgotten", nn.Parameter(torch.zeros(3)))
    return net""",
            more="",
        ),
        "bad",
        "no gradient reaches the parameter '0.forgotten'",
        "use it in forward, or remove it",
    ),
    "torch at import": (
        "import torch\n" + NET.format(body=f"return nn.Sequential({CONV})", more=""),
        "bad",
        "importing srkit_bad imports 'torch'",
        "srkit.lazy",
    ),
    "option without help": (
        NET.format(body=f"return nn.Sequential({CONV})", more="").replace('Annotated[int, "channels"]', "int"),
        "bad",
        "option 'width' has no help",
        'Annotated[int, "what it does"] = 8',
    ),
    "receptive field too small": (
        NET.format(
            body=f"return nn.Sequential(nn.Conv2d(3, 3, 9, padding=4), {CONV})",
            more=", receptive_field=2",
        ),
        "bad",
        "at x2 it sees 5 pixels or more to each side and declares 2",
        "receptive_field=5",
    ),
    "metric in the wrong range": (
        """
def build():
    import numpy as np
    return lambda sr, hr: float(10 * np.log10(1 / max(np.mean((sr - hr) ** 2), 1e-10)))
@hookimpl
def srkit_metrics():
    return [Metric(name="bad", build=build, range=(0, 200), summary="PSNR that takes 255 for 1", licence="MIT")]
""",
        "bad",
        "outside its range 0 to 200",
        "0..255",
    ),
    "a hook that does not exist": (
        "@hookimpl\ndef srkit_modles(): return []",
        "srkit-bad",
        "unknown hook 'srkit_modles'",
        "rename the function",
    ),
    "name clash": (
        NET.format(body=f"return nn.Sequential({CONV})", more="").replace('name="bad"', 'name="edsr"'),
        "srkit-bad",
        "two model components are called 'edsr'",
        "choose a name that no other package has",
    ),
    "made for API 2": (
        "srkit_api = 2\n" + NET.format(body=f"return nn.Sequential({CONV})", more=""),
        "srkit-bad",
        "made for srkit API 2, and this srkit has API 1",
        "install the srkit",
    ),
    "no licence": (
        NET.format(body=f"return nn.Sequential({CONV})", more="").replace(', licence="MIT"', ""),
        "bad",
        "no licence is stated",
        "licence=",
    ),
    "augmentation that turns one image only": (
        """
def build():
    import torch
    class Bad(torch.nn.Module):
        def forward(self, batch):
            return Batch(batch.lr.flip(-1), batch.hr)
    return Bad()
@hookimpl
def srkit_augmentations():
    return [Augmentation(name="bad", build=build, summary="broken", licence="MIT")]
""",
        "bad",
        "LR and HR no longer show the same",
        "draw the random numbers once",
    ),
    "augmentation that degrades LR two pixels off": (
        """
def build():
    import torch
    class Bad(torch.nn.Module):
        def forward(self, batch):
            lr = batch.lr + 0.1 * torch.randn(batch.lr.shape)
            return Batch(lr.roll(2, -1).clamp(0, 1), batch.hr)
    return Bad()
@hookimpl
def srkit_augmentations():
    return [Augmentation(name="bad", build=build, summary="broken", licence="MIT")]
""",
        "bad",
        "LR fits HR best when shifted by -2 pixels right and 0 down",
        "align_corners=False",
    ),
    "loss that forgets its optimizer": (
        """
def build():
    import torch
    class Bad(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.w = torch.nn.Parameter(torch.ones(()))
            self.o = torch.optim.Adam([self.w], lr=0.1)
        def forward(self, sr, hr):
            return (self.w.detach() * (sr - hr).abs()).mean()
        def update(self, sr, hr):
            self.o.zero_grad()
            (self.w * sr.mean() - hr.mean()).square().backward()
            self.o.step()
    return Bad()
@hookimpl
def srkit_losses():
    return [Loss(name="bad", build=build, summary="broken", licence="MIT")]
""",
        "bad",
        "after its state is restored it goes on differently",
        "optimizer",
    ),
}


@pytest.mark.parametrize("fault", BROKEN)
def test_a_broken_plugin_is_told_what_to_change(install, run_srkit, fault):
    source, name, words, advice = BROKEN[fault]
    install("srkit-bad", HEAD + source)
    code, out, err = run_srkit("plugins", "check", name, "--json")
    assert code == 1, out
    assert "found" in err
    faults = [f for findings in json.loads(out).values() for f in findings if f["outcome"] == "fault"]
    assert any(any(word in f["text"] for word in words.split("|")) and advice in f["advice"] for f in faults), faults


def test_an_augmentation_may_degrade_lr(install, run_srkit):
    source = """
def build():
    import torch
    class Noise(torch.nn.Module):
        def forward(self, batch):
            return Batch((batch.lr + 0.15 * torch.randn(batch.lr.shape)).clamp(0, 1), batch.hr)
    return Noise()
@hookimpl
def srkit_augmentations():
    return [Augmentation(name="noise", build=build, summary="Gaussian noise on LR", licence="MIT")]
"""
    install("srkit-noise", HEAD + source)
    code, out, _ = run_srkit("plugins", "check", "noise", "--json")
    findings = {f["check"]: f for f in json.loads(out)["augmentation noise"]}
    assert code == 0
    assert findings["both images are changed alike"]["outcome"] == "note"
    assert "LR is degraded: its correlation with HR falls to 0." in findings["both images are changed alike"]["text"]


DATASET = """
class Shifted:
    def __init__(self, root, split, scale):
        self.files, self.scale = list_images(root), scale
    def __len__(self):
        return len(self.files)
    def __getitem__(self, i):
        hr = read_rgb(self.files[i])
        s = self.scale
        h, w = hr.shape[0] // s * s - s, hr.shape[1] // s * s - s
        lr = imresize(hr[{down}:h + {down}, {right}:w + {right}], 1 / s)
        return Pair(str(self.files[i]), lr, hr[:h, :w])
@hookimpl
def srkit_datasets():
    return [Dataset(name="bad", build=Shifted, summary="broken", licence="MIT")]
"""


@pytest.mark.parametrize(("right", "down"), [(0, 0), (1, 0), (0, 1), (1, 1)])
def test_a_dataset_misaligned_by_one_pixel_is_seen(install, run_srkit, tmp_path, photo, right, down):
    install("srkit-bad", HEAD + DATASET.format(right=right, down=down))
    (tmp_path / "pictures").mkdir()
    for i in range(3):
        Image.fromarray(np.ascontiguousarray(photo[:, i * 100 : i * 100 + 200])).save(
            tmp_path / "pictures" / f"{i}.png"
        )
    code, out, _ = run_srkit("plugins", "check", "bad", "--root", "pictures", "--json")
    faults = [f for f in json.loads(out)["dataset bad"] if f["outcome"] == "fault"]
    if (right, down) == (0, 0):
        assert (code, faults) == (0, [])
        return
    assert code == 1
    assert f"fits HR shifted by {right} pixels right and {down} down" in faults[0]["text"]
    assert "cut both from the same place" in faults[0]["advice"]


BUILT_IN = [(e.kind, e.component.name) for e in load_plugins().entries if e.package == "srkit"]


@pytest.mark.parametrize(("kind", "name"), BUILT_IN)
def test_what_ships_passes(registry, photo, tmp_path, monkeypatch, request, kind, name):
    root = None
    if name in ("set5", "set14", "b100"):
        monkeypatch.setenv("SRKIT_DATA", str(request.getfixturevalue("shared")))
    elif name in ("folder", "urban100"):
        root = tmp_path / "Urban100"
        (root / "HR").mkdir(parents=True)
        for i in range(6):
            Image.fromarray(np.ascontiguousarray(photo[:150, i * 50 : i * 50 + 100])).save(root / "HR" / f"{i}.png")
        root = tmp_path if name == "urban100" else root
    monkeypatch.setattr(models, "SECONDS", 3.0)
    findings = check(registry, kind, name, root)
    assert len(findings) >= 4
    assert not [f for f in findings if f.outcome == "fault"]
    if (kind, name) == ("model", "edsr"):
        notes = [f.text for f in findings if f.outcome == "note"]
        assert all("edsr-large" in text for text in notes), notes  # too large to measure, or no time


def test_the_report_and_its_exit_code(install, run_srkit, monkeypatch):
    for name in ("QUIET_SECONDS", "PLAIN_SECONDS"):
        monkeypatch.setattr(progress, name, 0)
    code, out, err = run_srkit("plugins", "check", "l1")
    assert code == 0
    assert err.startswith("checking l1  1  loss l1: the module imports nothing heavy\nchecking l1  2  loss l1: it says")
    assert out.startswith("loss l1\n  ok     the module imports nothing heavy\n")
    assert out.endswith("it keeps the contract, as far as it was checked (1 not made)\n")
    code, _, err = run_srkit("plugins", "check", "l11")
    assert code == 2
    assert "nothing is called 'l11'; did you mean 'l1'?" in err
    install("srkit-bad", HEAD + "@hookimpl\ndef srkit_modles(): return []")
    code, out, err = run_srkit("plugins", "check", "srkit-bad")
    assert (code, "1 fault found" in err) == (1, True)
    assert "\n  fault  it loads and its names are free: " in out
    assert "\n         -> the hooks are listed in " in out


def test_a_receptive_field_may_be_none_with_some_options():
    """As where an option puts a norm of the whole picture into the network: a note, and the picture goes whole."""
    import torch
    from torch import nn

    from srkit import Model, Registry
    from srkit.testing import Check
    from srkit.upscale.wrap import make_upscaler

    def build(scale, *, whole: Annotated[bool, "take off the mean of the picture"] = True):
        class Mean(nn.Module):
            def forward(self, x):
                return x - x.mean((2, 3), keepdim=True) if whole else x

        return nn.Sequential(nn.Conv2d(3, 12, 3, padding=1), Mean(), nn.PixelShuffle(2))

    registry = Registry()
    field = lambda scale, *, whole: None if whole else 1  # noqa: E731
    registry.add("model", Model(name="mine", build=build, scales=(2,), summary="a test", receptive_field=field))
    for whole, told in ((True, "with these options it has no receptive_field"), (False, "")):
        choice = registry.choose("model", "mine", {"whole": whole})
        for test in (models.receptive_field, models.tiles):
            finding = Check("a check", partial(test, choice, 2)).finding()
            assert (finding.outcome, told in finding.text) == ("note" if whole else "ok", True)
        net, lr = models.built(choice, 2), torch.rand(1, 3, 600, 40)
        with torch.inference_mode():
            torch.testing.assert_close(make_upscaler(net, choice, 2, in_range=False)(lr), net(lr))
