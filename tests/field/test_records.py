"""What people wanted of training, data sets and records, from this field's public trackers: one test a complaint."""

import json
import re
from pathlib import Path

import pytest

import srkit
from srkit.evaluate.protocol import PROTOCOLS
from srkit.recipes import comment_of, expected_of
from srkit.run import read_run_file
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
    registry, run = srkit.load_plugins(), srkit.Run.from_dict(read_run_file(path))
    for line in comment_of(path):
        expected = expected_of(line)
        if expected is None:
            assert not re.search(r"^expected|\d\s*dB", line, re.I), f"a promise that cannot be checked: {line}"
            continue
        assert expected.protocol in PROTOCOLS
        assert expected.scale in run.scales
        registry.find("dataset", expected.set)
        registry.find("metric", expected.metric)


def test_the_recipes_are_listed_with_what_they_promise(run_srkit):
    """yinboc/liif#50, where one chooses a recipe. Right: each figure stands there with its set and its protocol."""
    code, out, _ = run_srkit("train", "--list")
    assert code == 0
    assert "psnr 34.63, 30.94, 28.97 (div2k, protocol div2k)" in " ".join(out.split())
