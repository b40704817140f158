"""A converted network is kept by what it computes, found again, and made anew where a file is damaged."""

import os
from pathlib import Path

import pytest
import torch
from torch import nn

import srkit
from srkit.weights.kept import UNUSED, fingerprint, networks_folder


class Runtime:
    """Writes what it is given, counts how often, and reads it."""

    def __init__(self, text: str = "converted"):
        self.text, self.made = text, 0

    def make(self, folder: Path) -> None:
        self.made += 1
        (folder / "net.txt").write_text(self.text)

    def read(self, folder: Path) -> str:
        return (folder / "net.txt").read_text()

    def of(self, net: nn.Module, **versions: object) -> str:
        return srkit.converted(net, {"runtime": "mine 1.0", **versions}, self.make, self.read)


@pytest.fixture(autouse=True)
def own_cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("SRKIT_CACHE", str(tmp_path / "cache"))


def edsr(registry, scale: int = 2, **options):
    torch.manual_seed(0)
    return registry.choose("model", "edsr", {"n_resblocks": 1, "n_feats": 4, **options}).build(scale)


def test_it_is_made_once_for_what_it_computes(registry):
    runtime, net = Runtime(), edsr(registry)
    for _ in range(3):
        assert runtime.of(net) == "converted"
    assert runtime.of(edsr(registry).train().to(memory_format=torch.channels_last)) == "converted"
    assert runtime.made == 1
    runtime.of(net, scale=2)  # what else decides it
    assert runtime.made == 2
    runtime.of(edsr(registry, res_scale=0.1))  # a setting that no weight shows
    assert runtime.made == 3
    with torch.no_grad():
        next(net.parameters()).view(-1)[0] += 1e-3
    runtime.of(net)
    assert runtime.made == 4


@pytest.mark.parametrize("damage", ["cut", "gone", "manifest", "empty"])
def test_a_damaged_file_is_made_anew(registry, damage):
    runtime, net = Runtime(), edsr(registry)
    runtime.of(net)
    (file,) = networks_folder().glob("*/net.txt")
    if damage == "cut":
        file.write_text("conv")
    elif damage == "gone":
        file.unlink()
    elif damage == "manifest":
        (file.parent / "sha256.json").write_text("[]")
    else:
        for path in file.parent.iterdir():
            path.unlink()
    assert runtime.of(net) == "converted"
    assert runtime.made == 2
    assert runtime.of(net) == "converted"
    assert runtime.made == 2


def test_what_can_not_be_read_any_more_is_made_anew_once(registry):
    net, old, new = edsr(registry), Runtime("old"), Runtime("new")
    old.of(net)

    def picky(folder: Path) -> str:
        if new.read(folder) == "old":
            raise ValueError("a format of last year")
        return new.read(folder)

    assert srkit.converted(net, {"runtime": "mine 1.0"}, new.make, picky) == "new"
    broken = Runtime("old")
    with pytest.raises(ValueError, match="last year"):
        srkit.converted(net, {"runtime": "other"}, broken.make, picky)
    assert broken.made == 1


def test_what_fails_leaves_nothing(registry):
    def make(folder: Path) -> None:
        (folder / "net.txt").write_text("half of")
        raise RuntimeError("operator is not there")

    with pytest.raises(RuntimeError, match="operator"):
        srkit.converted(edsr(registry), {}, make, Runtime().read)
    assert [path.suffix for path in networks_folder().iterdir()] == [".lock"]


def test_a_cache_that_cannot_be_written_costs_nothing(registry, monkeypatch, tmp_path):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("SRKIT_CACHE", str(tmp_path / "file"))
    runtime = Runtime()
    assert [runtime.of(edsr(registry)) for _ in range(2)] == ["converted"] * 2
    assert runtime.made == 2


def test_what_nobody_has_used_for_a_month_is_removed(registry):
    runtime = Runtime()
    runtime.of(edsr(registry), scale=2)
    for path in networks_folder().iterdir():
        old = path.stat().st_mtime - UNUSED - 60
        os.utime(path, (old, old))
    runtime.of(edsr(registry), scale=3)
    assert len(list(networks_folder().glob("*/net.txt"))) == 1
    runtime.of(edsr(registry), scale=3)
    assert runtime.made == 2


@pytest.mark.parametrize("name", ["edsr-small", "srcnn", "vdsr", "srresnet"])
def test_every_model_that_ships_has_a_fingerprint(registry, name):
    model = registry.choose("model", name)
    torch.manual_seed(0)
    net = model.build(2)
    assert fingerprint(net)
    assert fingerprint(net) == fingerprint(net.eval())
    assert fingerprint(net) != fingerprint(model.build(2)), "other random weights"


def with_hook() -> nn.Module:
    net = nn.Conv2d(3, 3, 1)
    net.register_forward_hook(lambda module, given, made: 2 * made)
    return net


class Calls(nn.Module):
    def __init__(self, call):
        super().__init__()
        self.call = call


@pytest.mark.parametrize("build", [with_hook, lambda: Calls(lambda lr: 2 * lr), lambda: Calls(object())])
def test_what_cannot_be_told_apart_is_converted_each_time(build):
    runtime = Runtime()
    assert fingerprint(build()) is None
    assert [runtime.of(build()) for _ in range(2)] == ["converted"] * 2
    assert runtime.made == 2
    assert not networks_folder().exists()


def test_modules_of_one_shape_are_told_apart():
    plain = nn.Conv2d(3, 3, 3, padding=1, bias=False)
    nn.init.ones_(plain.weight)
    others = [nn.Conv2d(3, 3, 3, padding=p, padding_mode=m, bias=False) for p, m in ((0, "zeros"), (1, "reflect"))]
    for net in others:
        nn.init.ones_(net.weight)
    activated = [nn.Sequential(plain, nn.LeakyReLU(slope)) for slope in (0.1, 0.2)]
    twice = nn.Sequential(plain, plain)
    marks = [fingerprint(net) for net in (plain, *others, *activated, twice)]
    assert None not in marks
    assert len(set(marks)) == len(marks)
