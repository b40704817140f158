"""A run's list of degradations: the same on any ranks, at any resume, in validation and as files; x1."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import srkit
from srkit import DataError, Degradation, Run, UsageError, load_plugins
from srkit.checkpoint import read_tensors
from srkit.components import Pair
from srkit.data.degrade import Degraded, Degrader, Step
from srkit.data.sampler import Batches, Sampler
from srkit.data.store import packed
from srkit.images import About, Encoding, picture_from, write_picture
from srkit.train.parts import built_degrader

CPU = torch.device("cpu")
LIST = [
    {"name": "blur", "prob": 0.8},
    {"name": "noise", "shuffle": "a"},
    {"name": "resize", "shuffle": "a", "to": "factor"},
    {"name": "jpeg", "prob": 0.5},
]
SMALL = {"name": "edsr", "n_resblocks": 1, "n_feats": 4}
QUICK = {"model": SMALL, "batch": 4, "patch": 12, "steps": 4, "validate_every": 2}


@pytest.fixture(autouse=True)
def one_thread():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture
def folder(tmp_path: Path, photo) -> Path:
    """A picture of 8 bits and one of 16."""
    place = tmp_path / "pictures"
    place.mkdir()
    Image.fromarray(photo[:50, :60]).save(place / "a.png")
    deep = photo[20:70, 30:90].astype(np.uint16) * np.uint16(257) + np.uint16(37)
    write_picture(place / "b.png", picture_from(deep, About()), Encoding("png"))
    return place


def batches(folder: Path, degrader: Degrader, **ranks) -> Batches:
    store = packed(load_plugins().choose("dataset", "folder"), str(folder), "train", 2)
    sampler = Sampler([store], scale=2, batch=4, patch=12, seed=3, device=CPU)
    return Batches({2: sampler}, [], 3, degrader=degrader, **ranks)


def degrader_of(*names) -> Degrader:
    registry = load_plugins()
    found = built_degrader(registry, Run(degradation=list(names)).resolved(registry).degradation, CPU)
    assert found is not None
    return found


def test_ranks_see_what_one_process_sees(folder):
    whole = batches(folder, degrader_of(*LIST))(5)[1]
    for size in (2, 4):
        parts = [batches(folder, degrader_of(*LIST), rank=rank, size=size)(5)[1] for rank in range(size)]
        assert torch.equal(torch.cat([part.lr for part in parts]), whole.lr)
        assert torch.equal(torch.cat([part.hr for part in parts]), whole.hr)
    assert not torch.equal(batches(folder, degrader_of(*LIST))(6)[1].lr, whole.lr)


def test_lr_of_a_deep_picture_has_16_bits_and_of_another_8(folder):
    deep, plain = [], []
    for step in range(4):
        feed = batches(folder, Degrader([Step("dim", lambda image, size, scale: 0.9 * image)]))
        eight = feed.begin(step, None).patches.plain
        for lr, is_plain in zip(feed(step)[1].lr, eight.tolist(), strict=True):
            (plain if is_plain else deep).append(lr)
    of_8, of_16 = 255 * torch.stack(plain), 255 * torch.stack(deep)
    torch.testing.assert_close(of_8, of_8.round(), atol=1e-3, rtol=0)
    assert (of_16 - of_16.round()).abs().max() > 0.1


def test_a_plugins_own_is_listed_and_trained_with(tmp_path):
    """At x1, with what is random, several sets and 16 bits, killed and resumed: bit for bit."""
    registry = load_plugins()
    registry.add("degradation", Degradation(name="dim", build=lambda *, by=0.5: lambda image, size, scale: by * image))
    values = {
        **QUICK,
        "scale": 1,
        "data": [{"name": "samples", "weight": 2}, {"name": "samples", "split": "valid"}],
        "degradation": [{"name": "dim", "by": 0.8}, *LIST],
    }
    done = srkit.fit(values, out=tmp_path / "whole", device="cpu", progress=False, registry=registry)
    assert done.run.degradation[0].options == {"by": 0.8}
    assert done.best is not None
    assert 5 < done.best.score < 40  # not HR against itself
    words = {"device": "cpu", "progress": False, "registry": registry}
    srkit.fit({**values, "steps": 2}, out=tmp_path / "parts", **words)
    srkit.fit(resume=tmp_path / "parts", steps=4, **words)
    whole, parts = (read_tensors(tmp_path / name / "last.safetensors") for name in ("whole", "parts"))
    assert all(torch.equal(whole[name], parts[name]) for name in whole)


WRONG = {
    "nothing to learn": ({"validation": {"name": "folder", "root": "PAIRS"}}, "every LR is HR itself"),
    "nothing to score": ({}, "scores of it measure nothing"),
    "two make LR": ({"degradation": ["jpeg"], "augmentation": ["photo"]}, "augmentation 'photo' makes LR anew"),
    "no list": ({"validation": {"name": "samples", "degraded": True}}, "the run has no .*degradation"),
    "apart": (
        {"degradation": [{"name": "blur", "shuffle": "a"}, "noise", {"name": "jpeg", "shuffle": "a"}]},
        "do not follow one another",
    ),
    "no such option": ({"degradation": [{"name": "jpeg", "prop": 1}]}, "did you mean 'prob'"),
}


@pytest.mark.parametrize("case", WRONG)
def test_what_does_not_fit_is_told(case, tmp_path, photo):
    values, words = WRONG[case]
    for role in ("HR", "LR"):
        (tmp_path / "pairs" / role).mkdir(parents=True)
        Image.fromarray(photo[:50, :60] // (1 + (role == "LR"))).save(tmp_path / "pairs" / role / "a.png")
    if "root" in dict(values.get("validation", {})):
        values = {"validation": {"name": "folder", "root": str(tmp_path / "pairs")}}
    with pytest.raises(srkit.SrkitError, match=words):
        srkit.fit({**QUICK, "scale": 1, **values}, out=tmp_path / "run", device="cpu", progress=False)
    assert not (tmp_path / "run").exists()


class Two(list):
    """Pairs without files."""


def test_a_picture_is_degraded_by_its_name_alone(photo):
    a, b = Pair("a", None, photo[:40, :40]), Pair("b", None, photo[:40, :40])
    first, second = (Degraded(Two(pairs), degrader_of("noise"), 2, 0, "[]") for pairs in ([a, b], [b, a]))
    assert np.array_equal(first[0].lr, second[1].lr)
    assert not np.array_equal(first[0].lr, first[1].lr)
    before = torch.random.get_rng_state()
    other = Degraded(Two([a]), degrader_of("noise"), 2, 1, "[]")[0].lr
    assert torch.equal(torch.random.get_rng_state(), before)
    assert not np.array_equal(first[0].lr, other)


# as files -----------------------------------------------------------------------------------------------------------


def test_pairs_as_files_are_made_once_and_scored_at_x1(run_srkit, folder, tmp_path):
    words = ("data", "degrade", folder, "-o", tmp_path / "out", "--scale", 1, "--degradation", "noise,jpeg", "--json")
    code, out, _ = run_srkit(*words)
    assert code == 0
    assert json.loads(out)["made"] == ["a", "b"]
    lr = tmp_path / "out/LR/X1/a.png"
    before = lr.read_bytes()
    lr.unlink()
    _, out, _ = run_srkit(*words)
    assert (json.loads(out)["made"], json.loads(out)["kept"]) == (["a"], ["b"])
    assert lr.read_bytes() == before
    code, _, err = run_srkit(*words, "--seed", 1)
    assert code == 2
    assert "another list, seed or scale" in err
    pairs = load_plugins().choose("dataset", "folder").build(tmp_path / "out", "test", 1)
    assert [pair.lr is not None for pair in pairs] == [True, True]
    code, out, _ = run_srkit("bench", "bicubic", "--sets", tmp_path / "out", "--scales", 1, "--json")
    assert code == 0
    assert "Infinity" not in out
    code, out, err = run_srkit("bench", "bicubic", "--sets", folder, "--scales", 1)
    assert code == 1
    assert "at x1 one made of HR is HR itself" in out + err


@pytest.mark.parametrize(
    ("words", "told"),
    [((), "say what degrades"), (("--degradation", "jepg"), "did you mean 'jpeg'"), (("--run", "vdsr"), "has no ")],
)
def test_a_wrong_word_is_told_and_nothing_is_written(run_srkit, folder, tmp_path, words, told):
    code, _, err = run_srkit("data", "degrade", folder, "-o", tmp_path / "out", *words)
    assert code == 2
    assert told in err
    assert not (tmp_path / "out").exists()


# which is HR at x1 --------------------------------------------------------------------------------------------------


def at_x1(root: Path, names: list[str], photo, **options):
    for i, name in enumerate(names):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(photo[:40, :40] // (1 + i % 2)).save(root / name)
    pairs = load_plugins().choose("dataset", "folder", options).build(root, "train", 1)
    return [(pair.name, pair.lr is not None) for pair in pairs]


@pytest.mark.parametrize(
    ("names", "options", "wanted"),
    [
        (["HR/a.png", "LR/a.png"], {}, [("a", True)]),
        (["gt/a.png", "lq/a.png"], {}, [("a", True)]),
        (["HR/a.png", "LR/X1/a.png"], {}, [("a", True)]),
        (["clean/a.png", "noisy/a.png"], {"hr_dir": "clean", "lr_dir": "noisy"}, [("a", True)]),
        (["a.png", "b.png"], {}, [("a", False), ("b", False)]),
        (["dsc_1.png", "dsc_2.png"], {}, [("dsc_1", False), ("dsc_2", False)]),
    ],
)
def test_pairs_of_one_size_are_known_by_names(tmp_path, photo, names, options, wanted):
    assert at_x1(tmp_path, names, photo, **options) == wanted


@pytest.mark.parametrize("names", [["clean/a.png", "noisy/a.png"], ["a.png", "a_noisy.png"]])
def test_pairs_of_one_size_that_names_do_not_tell_are_an_error(tmp_path, photo, names):
    with pytest.raises(DataError, match="say it: --set data.hr_dir=FOLDER"):
        at_x1(tmp_path, names, photo)
    assert len(at_x1(tmp_path, names, photo, lr_dir="none")) == 2


def test_the_options_are_refused_without_a_component():
    with pytest.raises(UsageError):
        Run(degradation=[{"prob": 0.5}])


def test_a_restoring_network_is_tiled_to_the_bit_in_16_bits_too(tmp_path, photo):
    torch.manual_seed(0)
    values = {**QUICK, "scale": 1, "steps": 2, "degradation": ["noise"]}
    done = srkit.fit(values, out=tmp_path / "run", device="cpu", progress=False)
    deep = photo[:70, :90].astype(np.uint16) * np.uint16(257) + np.uint16(5)
    for pixels in (photo[:70, :90], deep):
        whole, tiled = (done.load(tile=tile).upscale(pixels) for tile in (0, 32))
        assert whole.shape == pixels.shape
        assert whole.dtype == pixels.dtype
        assert np.array_equal(whole, tiled)
    with pytest.raises(UsageError, match="x1"):
        done.load(scale=2)
