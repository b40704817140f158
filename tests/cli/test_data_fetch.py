"""`srkit data fetch` as people use it: from a server that stands in for the real ones, to a trained step."""

import io
import json
import tomllib
from pathlib import Path

import pytest
from PIL import Image

from srkit import imresize, load_plugins
from srkit.components import Archive
from srkit.fetch import Partial
from tests.server import picture, pixels, tarred, zipped

from .conftest import SMALL

DATASET = """
from pathlib import Path
from srkit import Archive, Dataset, Pair, data_folder, hookimpl, list_images, read_rgb

class Mine:
    def __init__(self, root, split, scale):
        self.files = list_images(Path(root or data_folder()) / "Mine/HR")
    def __len__(self):
        return len(self.files)
    def __getitem__(self, index):
        return Pair(self.files[index].stem, None, read_rgb(self.files[index]))

@hookimpl
def srkit_datasets():
    hr = Archive(url="{url}/mine-hr.tar", folders={{"HR": 2}}, into="Mine")
    lr = [Archive(url=f"{url}/mine-x{{s}}.zip", folders={{f"LR/X{{s}}": 1}}, into="Mine", scale=s) for s in (2, 4)]
    return [Dataset(name="mine", build=Mine, archives=[hr, *lr], licence="CC0", page="https://example.com/mine")]
"""


@pytest.fixture
def mine(server, install) -> None:
    """A stranger's dataset, published on the server."""
    install("srkit-mine", DATASET.format(url=server.url))
    server.files["mine-hr.tar"] = tarred({"HR/a.png": picture(1, 96, 96), "HR/b.png": picture(2, 96, 96)})
    for scale in (2, 4):
        server.files[f"mine-x{scale}.zip"] = zipped({f"LR/X{scale}/a.png": picture(scale, 8, 8)})


def png(pixels) -> bytes:
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    return file.getvalue()


@pytest.fixture
def div2k(server) -> None:
    """A DIV2K of two pictures to train and one to validate, as its archives are laid out."""
    for part, numbers in (("train", (1, 2)), ("valid", (801,))):
        hr = {number: pixels(number, 96, 120) for number in numbers}
        folder = f"DIV2K_{part}_HR"
        server.files[f"{folder}.zip"] = zipped({f"{folder}/{n:04}.png": png(p) for n, p in hr.items()})
        for scale in (2, 3):
            lr = {
                f"DIV2K_{part}_LR_bicubic/X{scale}/{n:04}x{scale}.png": png(imresize(p, 1 / scale))
                for n, p in hr.items()
            }
            server.files[f"DIV2K_{part}_LR_bicubic_X{scale}.zip"] = zipped(lr)
        server.files[f"DIV2K_{part}_LR_mild.zip"] = zipped(
            {f"DIV2K_{part}_LR_mild/{n:04}x4m.png": png(p[::4, ::4]) for n, p in hr.items()}
        )


def names(folder: Path) -> list[str]:
    return sorted(p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file())


def paths(server) -> list[str]:
    return [path for path, _, _ in server.seen]


def test_a_strangers_dataset_is_fetched_skipped_and_used(run_srkit, server, mine, monkeypatch, tmp_path):
    monkeypatch.setenv("SRKIT_DATA", str(tmp_path / "data"))
    code, out, err = run_srkit("data", "fetch", "mine")
    assert code == 0, err
    assert [line.split() for line in out.splitlines()[2:3]] == [
        ["mine-hr.tar", "to", "fetch", str(tmp_path / "data/Mine")]
    ]
    assert out.endswith("train:  srkit train --data mine\n")
    assert "mine: CC0; https://example.com/mine" in err
    assert "mine-hr.tar: 2 in HR" in err
    assert names(tmp_path / "data") == ["Mine/HR/a.png", "Mine/HR/b.png", "Mine/checksums.json"]

    code, out, err = run_srkit("data", "fetch", "mine", "--scale", "4")
    assert (code, paths(server)) == (0, ["/mine-hr.tar", "/mine-x4.zip"])
    assert [line.split()[:2] for line in out.splitlines()[2:4]] == [["mine-hr.tar", "there"], ["mine-x4.zip", "to"]]
    assert out.endswith("train:  srkit train --data mine --scale 4\n")

    code, out, err = run_srkit("train", "--data", "mine", *SMALL, "--steps", "1", "--out", "run")
    assert code == 0, err


@pytest.mark.parametrize(
    "words", ["--scale 2 4", "--scale 2,4", "--scale 2 --scale 4", "--scale x2,x4", "--scale 4 2 --force"]
)
@pytest.mark.parametrize("first", [True, False], ids=["name first", "name last"])
def test_several_scales_however_they_are_said(run_srkit, server, mine, tmp_path, words, first):
    line = ["mine", *words.split()] if first else [*words.split(), "mine"]
    code, _, err = run_srkit("data", "fetch", *line, "--root", tmp_path)
    assert code == 0, err
    assert paths(server) == ["/mine-hr.tar", "/mine-x2.zip", "/mine-x4.zip"]


def test_another_file_than_the_first_time_is_refused_unless_forced(run_srkit, server, mine, tmp_path):
    assert run_srkit("data", "fetch", "mine", "--root", tmp_path)[0] == 0
    first = json.loads((tmp_path / "Mine/checksums.json").read_text())["mine-hr.tar"]["sha256"]
    (tmp_path / "Mine/HR/a.png").unlink()
    server.files["mine-hr.tar"] = tarred({"HR/a.png": picture(5, 96, 96), "HR/b.png": picture(2, 96, 96)})
    code, _, err = run_srkit("data", "fetch", "mine", "--root", tmp_path)
    assert code == 1
    last = err.splitlines()[-1]
    assert f"not {first}: the file is not the expected one; --force accepts it" in last
    code, _, err = run_srkit("data", "fetch", "mine", "--root", tmp_path, "--force")
    assert code == 0, err
    assert (tmp_path / "Mine/HR/a.png").read_bytes() == picture(5, 96, 96)


def test_div2k_is_fetched_from_a_mirror_and_trains(run_srkit, server, div2k, tmp_path, monkeypatch):
    code, _, err = run_srkit("data", "fetch", "div2k", "--scale", "2", "--mirror", server.url, "--root", tmp_path)
    assert code == 1
    assert "bytes, not 3,530,603,713: the file is not the expected one; --force accepts it" in err, (
        "the published size is known"
    )

    monkeypatch.setenv("SRKIT_MIRROR", server.url + "/")
    code, out, err = run_srkit("data", "fetch", "div2k", "--scale", "2", "3", "--root", tmp_path, "--force")
    assert code == 0, err
    assert names(tmp_path / "DIV2K") == [
        *(f"DIV2K_train_HR/{n}.png" for n in ("0001", "0002")),
        *(f"DIV2K_train_LR_bicubic/X{s}/{n}x{s}.png" for s in (2, 3) for n in ("0001", "0002")),
        "DIV2K_valid_HR/0801.png", "DIV2K_valid_LR_bicubic/X2/0801x2.png", "DIV2K_valid_LR_bicubic/X3/0801x3.png",
        "checksums.json",
    ]  # fmt: skip
    use = f"srkit train --data div2k --scale 2 --set data.root={tmp_path}"
    assert out.endswith(f"train:  {use}\n")
    server.seen.clear()
    assert run_srkit("data", "fetch", "div2k", "--scale", "3", "--root", tmp_path)[0] == 0
    assert server.seen == [], "what was taken by force is there"

    code, out, err = run_srkit(*use.split()[1:], *SMALL, "--steps", "2", "--out", "run")
    assert code == 0, err
    assert "2 of 2 steps done; best PSNR" in out
    run = tomllib.loads((tmp_path / "run/run.toml").read_text())
    assert run["data"] == {
        "name": "srkit:div2k",
        "root": str(tmp_path),
        "split": "train",
        "track": "bicubic",
        "images": "",
    }
    assert (tmp_path / "run/images/0801_x2.png").is_file()


def test_a_track(run_srkit, server, div2k, tmp_path):
    words = ["data", "fetch", "div2k", "--track", "mild", "--mirror", server.url, "--root", tmp_path, "--force"]
    code, out, err = run_srkit(*words)
    assert code == 0, err
    assert out.endswith(
        f"train:  srkit train --data div2k --scale 4 --set data.track=mild --set data.root={tmp_path}\n"
    )
    pairs = load_plugins().choose("dataset", "div2k", {"track": "mild"}).build(tmp_path, "train", 4)
    assert [pair.lr.shape for pair in pairs] == [(24, 30, 3)] * 2


def test_the_test_sets_come_together_and_are_scored(run_srkit, server, tmp_path, monkeypatch):
    sets = {"Set5": 5, "Set14": 14, "B100": 100, "Urban100": 100}
    small = picture(1, 32, 32)
    files = {f"benchmark/{name}/HR/img_{i:03}.png": small for name, count in sets.items() for i in range(count)}
    server.files["benchmark.tar"] = tarred({**files, "benchmark/readme.txt": b"hello"})
    monkeypatch.setenv("SRKIT_MIRROR", server.url)
    monkeypatch.setenv("SRKIT_DATA", str(tmp_path / "data"))
    code, out, err = run_srkit("data", "fetch", "set5")
    assert code == 0, err
    assert out.endswith("score:  srkit bench --sets set5\n")
    assert len(names(tmp_path / "data/benchmark")) == 219
    code, out, err = run_srkit("data", "fetch", "urban100", "--root", tmp_path / "data")
    assert (code, paths(server)) == (0, ["/benchmark.tar"]), "they came in one archive"
    assert out.endswith(f"score:  srkit bench --sets urban100 --root {tmp_path / 'data'}\n")
    code, out, err = run_srkit("bench", "--sets", "set5", "--models", "bicubic", "--scales", "2", "--json")
    assert code == 0, err
    assert json.loads(out)["rows"][0]["set"] == "set5"


def test_broken_off_and_said_again_it_goes_on(run_srkit, server, mine, tmp_path, monkeypatch):
    monkeypatch.setattr("srkit.fetch.TRIES", 1)
    server.cuts = [10_000]
    code, _, err = run_srkit("data", "fetch", "mine", "--root", tmp_path)
    assert code == 1
    assert "the connection broke" in err
    assert "10.0 kB of it are kept" in err
    assert run_srkit("data", "fetch", "mine", "--root", tmp_path)[0] == 0
    assert server.seen[-1][1] == "bytes=10000-"


def test_ctrl_c_keeps_the_part(run_srkit, server, mine, tmp_path, monkeypatch):
    add = Partial.add

    def stop(part, chunk: bytes) -> None:
        add(part, chunk[:5000])
        raise KeyboardInterrupt

    monkeypatch.setattr("srkit.fetch.Partial.add", stop)
    code, _, err = run_srkit("data", "fetch", "mine", "--root", tmp_path)
    assert code == 130
    assert "the part that has arrived is kept; the same command continues from there" in err
    assert (tmp_path / "Mine/mine-hr.tar.part").stat().st_size == 5000
    monkeypatch.setattr("srkit.fetch.Partial.add", add)
    assert run_srkit("data", "fetch", "mine", "--root", tmp_path)[0] == 0
    assert server.seen[-1][1] == "bytes=5000-"


def test_offline_it_is_one_line_with_the_addresses_and_the_layout(run_srkit, tmp_path, monkeypatch):
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    monkeypatch.setenv("https_proxy", "http://127.0.0.1:9")
    monkeypatch.setenv("no_proxy", "")
    monkeypatch.setattr("urllib.request._opener", None)  # it read the environment when it was made
    code, _, err = run_srkit("data", "fetch", "div2k", "--scale", "2", "--root", tmp_path)
    assert code == 1
    last = err.splitlines()[-1]
    base = "https://data.vision.ee.ethz.ch/cvl/DIV2K/"
    for words in (
        f"'data.vision.ee.ethz.ch' cannot be reached (Connection refused): {base}DIV2K_train_HR.zip; by hand: ",
        "DIV2K_train_HR.zip, DIV2K_valid_HR.zip, DIV2K_train_LR_bicubic_X2.zip, DIV2K_valid_LR_bicubic_X2.zip from "
        f"{base} into '{tmp_path / 'DIV2K'}' and run this command again",
        "DIV2K_train_HR (800 pictures), DIV2K_valid_HR (100 pictures), DIV2K_train_LR_bicubic/X2 (800 pictures)",
    ):
        assert words in last


def test_what_is_not_free_to_download_counts_when_it_was_put_there(run_srkit, tmp_path):
    (tmp_path / "Manga109/HR").mkdir(parents=True)
    for i in range(109):
        (tmp_path / f"Manga109/HR/{i}.png").write_bytes(b"")
    code, out, err = run_srkit("data", "fetch", "manga109", "--root", tmp_path)
    assert (code, err) == (0, "")
    assert out.endswith(f"score:  srkit bench --sets manga109 --root {tmp_path}\n")


def test_room_is_checked_before(run_srkit, tmp_path, monkeypatch):
    monkeypatch.setattr("shutil.disk_usage", lambda place: type("Usage", (), {"free": 2 * 10**9}))
    code, _, err = run_srkit("data", "fetch", "div2k", "--root", tmp_path)
    assert code == 1
    assert "has 2.0 GB free, and 7.5 GB are needed; --root names another folder" in err
    assert not list(tmp_path.iterdir())


WRONG = {
    "dataset": ("div2", "no dataset called 'div2'; did you mean 'div2k'?"),
    "nothing to fetch": ("samples", "'samples' has nothing to fetch; these have: div2k, flickr2k, set5"),
    "no scale": ("div2k --scale two", "'two' is not a scale; write 2,3,4"),
    "scale": ("div2k --scale 5", "'div2k' has no LR x5 of track 'bicubic'; it has x2, x3, x4, x8"),
    "scale of a track": ("div2k --scale 2 --track wild", "'div2k' has no LR x2 of track 'wild'; it has x4"),
    "track": ("div2k --track bicubi --scale 2", "'div2k' has no track 'bicubi'; did you mean 'bicubic'?"),
    "track of one that has none": ("set5 --track unknown", "'set5' has no track 'unknown'"),
    "track without scale": ("div2k --track unknown", "say --scale 2 3 4 too"),
    "asked for": ("manga109", "ask for it at http://www.manga109.org/en/, then put its pictures in '"),
    "mirror": ("set5 --mirror nowhere", "'nowhere/benchmark.tar' is not an http(s) address"),
}


@pytest.mark.parametrize("case", WRONG)
def test_a_wrong_word_gets_one_line_and_exit_code_2(run_srkit, case):
    line, words = WRONG[case]
    code, _, err = run_srkit("data", "fetch", *line.split())
    assert code == 2, err
    assert words in err.splitlines()[-1]


def test_the_table_is_div2ks_own(registry):
    """The files of NTIRE 2017 and 2018 (train and validation), whose sizes and SHA-256 TensorFlow Datasets recorded."""
    archives: list[Archive] = registry.find("dataset", "div2k").component.archives
    parts = ["HR", *(f"LR_{track}_X{s}" for track in ("bicubic", "unknown") for s in (2, 3, 4)),
             "LR_x8", "LR_mild", "LR_difficult", "LR_wild"]  # fmt: skip
    assert {a.file for a in archives} == {f"DIV2K_{split}_{part}.zip" for split in ("train", "valid") for part in parts}
    assert len(archives) == len({a.sha256 for a in archives}) == 22
    # the whole of bicubic_x2 as TensorFlow Datasets' pull request 1276 counted it
    assert sum(a.size for a in archives if a.scale is None or (a.track, a.scale) == ("bicubic", 2)) == 5_022_751_798
