"""What people wanted of training, data sets and records, from this field's public trackers: one test a complaint."""

import json
import re
from pathlib import Path

import pytest

import srkit
from srkit.checkpoint import read_about, read_tensors, save_tensors
from srkit.cli import run
from srkit.evaluate.protocol import PROTOCOLS
from srkit.recipes import comment_of, expected_of
from srkit.run import read_run_file
from tests.cli.conftest import SMALL
from tests.server import picture, tarred

FETCHED = """
from srkit import Archive, Dataset, hookimpl

@hookimpl
def srkit_datasets():
    archive = Archive(url="{url}/mine.tar", folders={{"HR": 2}}, into="Mine")
    return [Dataset(name="mine", build=lambda root, split, scale: [], archives=[archive])]
"""


@pytest.fixture
def published(server, install) -> bytes:
    """A dataset `mine` of two pictures on a server that publishes no checksum; its archive."""
    install("srkit-mine", FETCHED.format(url=server.url))
    server.files["mine.tar"] = tarred({"HR/a.png": picture(1, 96, 96), "HR/b.png": picture(2, 96, 96)})
    return server.files["mine.tar"]


@pytest.mark.parametrize("left", ["mine.tar", "mine.tar.part"])
def test_a_forced_download_asks_the_server_whatever_is_there(run_srkit, server, published, tmp_path, left):
    """commercialhaskell/stack#372, CentEAP/eap-build#20: a corrupt archive is used again. Right: it is replaced."""
    (tmp_path / "Mine").mkdir()
    spoilt = published[:700] + b"\xff" * (len(published) - 700)
    (tmp_path / "Mine" / left).write_bytes(spoilt)
    about = {"url": f"{server.url}/mine.tar", "total": len(published)}
    (tmp_path / "Mine/mine.tar.part.json").write_text(json.dumps(about))
    if left == "mine.tar":
        code, _, err = run_srkit("data", "fetch", "mine", "--root", tmp_path)
        assert code == 1
        assert "--force downloads it again" in err
    code, _, err = run_srkit("data", "fetch", "mine", "--root", tmp_path, "--force")
    assert code == 0, err
    assert server.seen == [("/mine.tar", None, None)]
    assert (tmp_path / "Mine/HR/a.png").read_bytes() == picture(1, 96, 96)
    assert sorted(path.name for path in (tmp_path / "Mine").iterdir()) == ["HR", "checksums.json"]


def test_an_interrupted_forced_download_goes_on_where_it_stopped(run_srkit, server, published, tmp_path, monkeypatch):
    """As the help of `data fetch` says. Right: --force begins anew once, not at each interruption."""
    monkeypatch.setattr("srkit.fetch.TRIES", 1)
    server.cuts = [5000]
    assert run_srkit("data", "fetch", "mine", "--root", tmp_path, "--force")[0] == 1
    assert run_srkit("data", "fetch", "mine", "--root", tmp_path, "--force")[0] == 0
    assert [wanted for _, wanted, _ in server.seen] == [None, "bytes=5000-"]


RECIPES = sorted((Path(__file__).parents[2] / "plugins").glob("*/**/recipes/*.toml"))


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.stem)
def test_a_figure_that_a_recipe_promises_can_be_measured(path):
    """yinboc/liif#50: what is cropped, scale or scale + 6? Right: each figure names a set and a protocol of `bench`."""
    registry, recipe = srkit.load_plugins(), srkit.Run.from_dict(read_run_file(path))
    for line in comment_of(path):
        expected = expected_of(line)
        if expected is None:
            assert not re.search(r"^expected|\d\s*dB", line, re.I), f"a promise that cannot be checked: {line}"
            continue
        assert expected.protocol in PROTOCOLS
        assert expected.scale in recipe.scales
        registry.find("dataset", expected.set)
        registry.find("metric", expected.metric)


def test_the_recipes_are_listed_with_what_they_promise(run_srkit):
    """yinboc/liif#50, where one chooses a recipe. Right: each figure stands there with its set and its protocol."""
    code, out, _ = run_srkit("train", "--list")
    assert code == 0
    assert "psnr 34.63, 30.94, 28.97 (div2k, protocol div2k)" in " ".join(out.split())


@pytest.fixture(scope="module")
def weights(tmp_path_factory, cache) -> Path:
    """A checkpoint of a small EDSR with a run on the samples; of it others are made."""
    out = tmp_path_factory.mktemp("weights") / "run"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SRKIT_CACHE", str(cache))
        assert run(["train", "--model", "edsr", *SMALL, "--steps", "1", "--out", str(out)]) == 0
    return out / "last.safetensors"


def trained_on(weights: Path, dataset: str, path: Path) -> Path:
    about = {key: value for key, value in read_about(weights).items() if key != "format"}
    about["run"] = about["run"] | {"data": about["run"]["data"] | {"name": dataset}}
    save_tensors(path, read_tensors(weights), about)
    return path


@pytest.mark.parametrize(("licence", "asked"), [
    ("academic research only", True), ("CC-BY-NC-4.0", True), ("CC-BY-SA-4.0", True), ("MIT, research use", True),
    ("CC0-1.0", False), ("CC-BY-4.0 and MIT", False), ("", False),
])  # fmt: skip
def test_weights_are_not_published_under_a_licence_their_data_may_forbid(
    run_srkit, install, weights, tmp_path, licence, asked
):
    """freds0/free-svc#13: `mit` for weights whose data are not for any use. Right: the licence is asked for."""
    install(
        "srkit-mine",
        f"""
from srkit import Dataset, hookimpl

@hookimpl
def srkit_datasets():
    return [Dataset(name="mine", build=lambda root, split, scale: [], licence="{licence}")]
""",
    )
    file = trained_on(weights, "srkit-mine:mine", tmp_path / "m.safetensors")
    code, _, err = run_srkit("weights", "push", file, "anna/edsr", "--dry-run", "-o", "card")
    if not asked:
        assert code == 0, err
        return
    assert code == 2
    assert licence in err
    assert "--licence" in err
    assert not Path("card").exists()
    assert (
        run_srkit("weights", "push", file, "anna/edsr", "--dry-run", "-o", "card", "--licence", "CC-BY-NC-4.0")[0] == 0
    )
    assert "license: cc-by-nc-4.0" in Path("card/README.md").read_text()


def test_weights_of_div2k_are_not_mit_without_a_word(run_srkit, weights, tmp_path):
    """keras-team/keras-applications#140, of DIV2K: academic research only. Right: an error that says so."""
    file = trained_on(weights, "srkit:div2k", tmp_path / "m.safetensors")
    code, _, err = run_srkit("weights", "push", file, "anna/edsr", "--dry-run")
    assert code == 2
    assert "trained on div2k, which is 'academic research only" in err


@pytest.mark.parametrize(("kind", "name"), [
    ("model", "edsr"), ("model", "edsr-baseline"), ("model", "srkit-vdsr"), ("loss", "l1"), ("metric", "psnr"),
    ("command", "bench"),
])  # fmt: skip
def test_a_new_plugin_is_not_given_a_name_that_means_another_component(run_srkit, tmp_path, kind, name):
    """get-bb/bb#2411: a scaffold with a reserved name makes a plugin nobody can use. Right: said at once."""
    code, _, err = run_srkit("plugins", "new", name, "--kind", kind)
    assert code == 2
    assert name.removeprefix("srkit-") in err
    assert "choose another" in err
    assert list(tmp_path.iterdir()) == []
    assert run_srkit("plugins", "new", name, "--kind", "wrapper")[0] == 0, "names are taken within their kind"
