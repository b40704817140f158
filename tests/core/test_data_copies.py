"""Pictures beside smaller copies of themselves: MATLAB's pixels, all bits, again after an interruption."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from srkit import DataError, Pair, SrkitError, UsageError, imresize, load_plugins, read_rgb
from srkit.data.copies import copy_into
from srkit.data.pairs import open_dataset
from srkit.images import About, picture_from, write_picture


@pytest.fixture
def photos(tmp_path: Path, photo: np.ndarray) -> Path:
    """One of 8 bits, one of 16 and a small one, in a folder."""
    folder = tmp_path / "photos"
    folder.mkdir()
    deep = photo[:161, :203].astype(np.uint16) * np.uint16(257) + np.uint16(41)
    for name, pixels in (("a", photo[:121, :157]), ("b", deep), ("c", photo[:70, :90])):
        write_picture(folder / f"{name}.png", picture_from(pixels, About()))
    return folder


def copied(root: Path, out: Path, factors=(0.7, 0.5), smallest=50):
    pairs = open_dataset(load_plugins().choose("dataset", "folder"), root, "train", 2)
    return copy_into(pairs, out, factors, smallest, "photos", lambda *_: None)


def files_below(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted((folder / "HR").iterdir())}


def test_copies_are_what_matlab_makes_with_all_bits(photos, tmp_path):
    found = copied(photos, tmp_path / "out")
    assert found.kept == ["a", "ax0.7", "ax0.5", "b", "bx0.7", "bx0.5", "c"]
    assert found.made == 7
    assert found.too_small == {"cx0.7": "63x49", "cx0.5": "45x35"}
    assert sorted(files_below(tmp_path / "out")) == sorted(f"{name}.png" for name in found.kept)
    for name in "ab":
        whole = read_rgb(photos / f"{name}.png", deep=True)
        assert np.array_equal(read_rgb(tmp_path / "out/HR" / f"{name}.png", deep=True), whole)
        for factor in (0.7, 0.5):
            copy = read_rgb(tmp_path / "out/HR" / f"{name}x{factor}.png", deep=True)
            assert copy.dtype == (np.uint16 if name == "b" else np.uint8)
            assert np.array_equal(copy, imresize(whole, factor))


def test_a_training_takes_them_all_as_hr(photos, tmp_path):
    copied(photos, tmp_path / "out", smallest=1)
    pairs = open_dataset(load_plugins().choose("dataset", "folder"), tmp_path / "out", "train", 2)
    assert len(pairs) == 9
    assert all(pair.lr is None for pair in pairs)
    with pytest.raises(DataError, match="all are HR with"):  # which elsewhere has to be said
        open_dataset(load_plugins().choose("dataset", "folder"), tmp_path / "out/HR", "train", 2)


def test_the_same_command_goes_on_after_an_interruption(photos, tmp_path, monkeypatch):
    copied(photos, tmp_path / "whole")
    written = []

    def failing(path, picture):
        if len(written) == 4:  # amid the second picture
            raise KeyboardInterrupt
        written.append(path)
        return write_picture(path, picture)

    with monkeypatch.context() as patch:
        patch.setattr("srkit.data.copies.write_picture", failing)
        patch.setattr("os.cpu_count", lambda: 1)
        with pytest.raises(KeyboardInterrupt):
            copied(photos, tmp_path / "out")
    found = copied(photos, tmp_path / "out")
    assert found.made == 4, "the first picture is not made again"
    assert files_below(tmp_path / "out") == files_below(tmp_path / "whole")
    (tmp_path / "out/HR/bx0.5.png").unlink()
    assert copied(photos, tmp_path / "out").made == 3, "of the picture that lacks a file"
    write_picture(photos / "c.png", picture_from(read_rgb(photos / "a.png"), About()))
    assert copied(photos, tmp_path / "out").made == 3, "of the picture that has changed"


def test_other_sizes_and_a_folder_of_something_else_are_refused(photos, tmp_path):
    for factor in (0, 1, 1.5, -0.5, float("nan")):
        with pytest.raises(UsageError, match="makes no smaller copy"):
            copied(photos, tmp_path / "out", factors=(0.5, factor))
    assert not (tmp_path / "out").exists(), "a mistake claims no folder"
    copied(photos, tmp_path / "out")
    with pytest.raises(UsageError, match="of other sizes"):
        copied(photos, tmp_path / "out", factors=(0.5,))
    with pytest.raises(UsageError, match="not of this command"):
        copied(photos, photos)


def test_a_copy_takes_no_other_pictures_name(tmp_path):
    class Twins(list):
        names = ("a", "ax0.5")

    pixels = np.zeros((96, 96, 3), np.uint8)
    pairs = Twins(Pair(name, None, pixels) for name in Twins.names)
    pairs.names = list(Twins.names)
    with pytest.raises(DataError, match=r"two pictures are called 'ax0\.5'"):
        copy_into(pairs, tmp_path / "out", [0.5], 1, "twins", lambda *_: None)


def test_a_damaged_picture_is_named_and_the_rest_is_kept(photos, tmp_path):
    data = (photos / "b.png").read_bytes()
    (photos / "b.png").write_bytes(data[: len(data) // 2])
    with pytest.raises(SrkitError, match=r"b\.png"):
        copied(photos, tmp_path / "out")
    assert (tmp_path / "out/HR/ax0.5.png").exists()
    assert not list((tmp_path / "out/HR").glob("b*"))


def test_the_command_tells_what_it_made(run_srkit, photos):
    words = ("data", "copies", "photos", "-o", "new/copies", "--factor", "0.5", "--smallest", 40)
    code, out, err = run_srkit(*words)
    assert code == 0
    assert "5 pictures in new/copies" in out
    assert "srkit train --data new/copies" in out
    assert "1 copies would be smaller than 40 pixels and are left out: cx0.5 (45x35)" in err
    code, out, _ = run_srkit(*words, "--json")
    assert code == 0
    assert json.loads(out) == {"folder": "new/copies", "pictures": 5, "made": 0, "too_small": {"cx0.5": "45x35"}}


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("data copies nowhere -o out", "neither a folder nor a dataset"),
        ("data copies samples -o out --factor x", "'x' is not a factor"),
        ("data copies samples -o out --factor 2", "makes no smaller copy"),
        ("data copies samples -o out --factor ,", "no factor is named"),
        ("data copies samples -o out --smallest 0", "--smallest"),
        ("data copies samples -o out --split trian", "did you mean 'train'?"),
    ],
)
def test_a_wrong_word_gets_one_line(run_srkit, tmp_path, words, said):
    code, out, err = run_srkit(*words.split())
    assert (code, out) == (2, "")
    assert said in err.splitlines()[-1]
    assert not list(tmp_path.iterdir())


def test_one_bit_and_gray_pictures_are_copied_as_they_are_read(run_srkit, tmp_path, photo):
    (tmp_path / "photos").mkdir()
    Image.fromarray(photo[:64, :64]).convert("L").save(tmp_path / "photos/gray.png")
    assert run_srkit("data", "copies", "photos", "-o", "out", "--smallest", 1)[0] == 0
    gray = read_rgb("photos/gray.png")
    assert np.array_equal(read_rgb("out/HR/grayx0.5.png"), imresize(gray, 0.5))
