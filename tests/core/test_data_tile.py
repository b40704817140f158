"""Pictures cut to training tiles: where, in step with LR, with all bits, again after an interruption."""

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from srkit import DataError, UsageError, imresize, load_plugins, read_rgb
from srkit.data.pairs import open_dataset
from srkit.data.tiles import Tiling, cut_into, detail, starts
from srkit.files import machine
from srkit.images import About, picture_from, write_picture

CUT = Tiling(size=96, step=48, flat=1.0)


def basicsr(length: int, size: int, step: int) -> list[int]:
    """Where BasicSR's extract_subimages.py cuts a side, with its thresh_size of 0 (its lines, of numpy)."""
    space = np.arange(0, length - size + 1, step)
    if length - (space[-1] + size) > 0:
        space = np.append(space, length - size)
    return space.tolist()


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 500), st.integers(1, 60), st.integers(1, 60))
def test_tiles_are_where_basicsr_cuts_them(rest, size, step):
    assert starts(size + rest - 1, Tiling(size, step)) == basicsr(size + rest - 1, size, step)


def test_a_picture_of_div2k_gives_forty_tiles():
    down, across = (starts(side, Tiling()) for side in (1356, 2040))
    assert len(down) * len(across) == 40
    assert (down[-1], across[-1]) == (1356 - 480, 2040 - 480)
    assert starts(1360, Tiling(), 24)[-1] == 864, "a place in LR of every scale is whole"


@pytest.fixture
def pairs(tmp_path: Path, photo: np.ndarray) -> Path:
    """Two pictures with LR x2 and x3, one of 16 bits; one has a plain part."""
    root = tmp_path / "set"
    hr = photo[:294, :450].copy()
    hr[:, 300:] = 90
    deep = photo[:222, :318].astype(np.uint16) * np.uint16(257) + np.uint16(41)
    for name, pixels in (("0001", hr), ("0002", deep)):
        for folder, made in (("HR", pixels), *((f"LR/X{s}", imresize(pixels, 1 / s)) for s in (2, 3))):
            (root / folder).mkdir(parents=True, exist_ok=True)
            write_picture(root / folder / f"{name}.png", picture_from(made, About()))
    return root


def opened(root: Path, *scales: int) -> dict:
    dataset = load_plugins().choose("dataset", "folder")
    return {scale: open_dataset(dataset, root, "train", scale) for scale in scales}


def silent(*_: int) -> None:
    pass


def files_below(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*.png"))}


def test_hr_and_lr_are_cut_in_step_with_all_bits(pairs, tmp_path):
    out = tmp_path / "out"
    found = cut_into(opened(pairs, 2, 3), out, CUT, "set", silent)
    assert found.made == len(found.kept) > 20
    assert {path.parent.relative_to(out).as_posix() for path in out.rglob("*.png")} == {"HR", "LR/X2", "LR/X3"}
    assert len(list(out.rglob("*.png"))) == 3 * len(found.kept)
    for tile in found.kept:
        for folder, scale in (("HR", 1), ("LR/X2", 2), ("LR/X3", 3)):
            whole = read_rgb(pairs / folder / f"{tile.picture}.png", deep=True)
            top, left, side = tile.top // scale, tile.left // scale, 96 // scale
            cut = read_rgb(out / folder / f"{tile.name}.png", deep=True)
            assert cut.dtype == whole.dtype == (np.uint16 if tile.picture == "0002" else np.uint8)
            assert np.array_equal(cut, whole[top : top + side, left : left + side])
    assert {tile.name for tile in found.kept} >= {"0001_s001", "0002_s001"}
    for scale, set_of_tiles in opened(out, 2, 3).items():
        assert len(set_of_tiles) == len(found.kept)
        pair = set_of_tiles[0]
        assert pair.lr is not None
        assert pair.lr.shape[0] * scale == 96


def test_what_is_flat_is_dropped_and_named(pairs, tmp_path):
    found = cut_into(opened(pairs, 2), tmp_path / "out", CUT, "set", silent)
    assert found.dropped
    assert all(tile.picture == "0001" and tile.left >= 300 and tile.detail < 1 for tile in found.dropped)
    everything = cut_into(opened(pairs, 2), tmp_path / "all", Tiling(96, 48, 0), "set", silent)
    assert not everything.dropped
    assert len(everything.kept) == len(found.kept) + len(found.dropped)


def test_detail_is_what_bicubic_does_not_restore(photo):
    """The rank of tiles by both is the same; the limit is one gray level, 48 dB."""
    hr = photo[:288, :448]
    luma = hr @ np.array([0.299, 0.587, 0.114])
    error = (luma - imresize(imresize(hr, 1 / 2), 2) @ np.array([0.299, 0.587, 0.114])) ** 2
    places = [np.s_[y : y + 32, x : x + 32] for y in range(0, 288, 32) for x in range(0, 448, 32)]
    ours = np.array([detail(luma[place].astype(np.float32)) for place in places])
    theirs = np.array([np.sqrt(error[place].mean()) for place in places])
    assert np.corrcoef(ours.argsort().argsort(), theirs.argsort().argsort())[0, 1] > 0.98
    assert 0.7 < np.median(ours / theirs) < 1.3


def test_the_same_command_goes_on_after_an_interruption(pairs, tmp_path, monkeypatch):
    whole, out = tmp_path / "whole", tmp_path / "out"
    cut_into(opened(pairs, 2), whole, CUT, "set", silent)

    written = []

    def failing(path, picture):
        if len(written) == 12:
            raise KeyboardInterrupt
        written.append(path)
        return write_picture(path, picture)

    with monkeypatch.context() as patch:
        patch.setattr("srkit.data.tiles.write_picture", failing)
        patch.setattr("os.cpu_count", lambda: 1)
        with pytest.raises(KeyboardInterrupt):
            cut_into(opened(pairs, 2), out, CUT, "set", silent)
    assert 0 < len(files_below(out)) < len(files_below(whole))
    half = out / "HR" / f".0001_s001.png.{machine()}-999999999.tmp"  # no process has this number
    half.write_bytes(b"half")
    cut_into(opened(pairs, 2), out, CUT, "set", silent)
    assert not half.exists()
    assert files_below(out) == files_below(whole)

    monkeypatch.setattr("srkit.data.tiles.write_picture", lambda *_: pytest.fail("nothing is cut twice"))
    again = cut_into(opened(pairs, 2), out, CUT, "set", silent)
    assert (again.made, len(again.kept)) == (0, len(list((out / "HR").glob("*.png"))))


def test_a_picture_that_has_changed_is_cut_again(pairs, tmp_path, photo):
    out = tmp_path / "out"
    cut_into(opened(pairs, 2), out, CUT, "set", silent)
    first = files_below(out)
    write_picture(pairs / "HR/0001.png", picture_from(np.ascontiguousarray(photo[5:299, :450]), About()))
    cut_into(opened(pairs, 2), out, CUT, "set", silent)
    second = files_below(out)
    assert first["HR/0001_s001.png"] != second["HR/0001_s001.png"]
    assert first["HR/0002_s001.png"] == second["HR/0002_s001.png"]


def test_wrong_sizes_and_folders_are_refused(pairs, tmp_path):
    with pytest.raises(UsageError, match=r"size 100 is no multiple of 3, and LR x3 is cut in step: 99 is"):
        cut_into(opened(pairs, 2, 3), tmp_path / "out", Tiling(100, 50), "set", silent)
    assert not (tmp_path / "out").exists(), "a mistake claims no folder"
    cut_into(opened(pairs, 2), tmp_path / "out", CUT, "set", silent)
    with pytest.raises(UsageError, match="cut otherwise"):
        cut_into(opened(pairs, 2), tmp_path / "out", Tiling(96, 24), "set", silent)
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "a.txt").write_text("mine")
    with pytest.raises(UsageError, match="not of this command"):
        cut_into(opened(pairs, 2), tmp_path / "other", CUT, "set", silent)


def test_a_damaged_picture_is_named_and_the_rest_is_kept(pairs, tmp_path):
    data = (pairs / "HR/0002.png").read_bytes()
    (pairs / "HR/0002.png").write_bytes(data[: len(data) // 2])
    with pytest.raises(Exception, match="0002"):
        cut_into(opened(pairs, 2), tmp_path / "out", CUT, "set", silent)
    (pairs / "HR/0002.png").write_bytes(data)
    found = cut_into(opened(pairs, 2), tmp_path / "out", CUT, "set", silent)
    assert {tile.picture for tile in found.kept} == {"0001", "0002"}


def test_the_command_tells_what_it_left_out(run_srkit, tmp_path, photo):
    (tmp_path / "photos").mkdir()
    plain = photo.copy()
    plain[:, 250:] = 128
    Image.fromarray(plain).save(tmp_path / "photos" / "a.png")
    Image.fromarray(photo[:80, :100]).save(tmp_path / "photos" / "b.png")
    words = ("data", "tile", "photos", "-o", "new/tiles", "--size", 128, "--step", 64)
    code, out, err = run_srkit(*words)
    assert code == 0
    assert "1 smaller than 128x128 and left out: b (100x80)" in err
    assert "tiles of 128x128 in new/tiles" in out
    assert "left out: new/tiles.dropped.png" in out
    sheet = read_rgb("new/tiles.dropped.png")
    assert sheet.shape[1] > 600
    code, out, _ = run_srkit(*words, "--json")
    told = json.loads(out)
    assert code == 0
    assert (told["made"], told["too_small"]) == (0, {"b": "100x80"})
    assert len(told["dropped"]) + told["tiles"] == 4 * 7
    assert all(one["detail"] < 1 for one in told["dropped"])
    assert len(list(Path("new/tiles/HR").iterdir())) == told["tiles"]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("data tile nowhere -o out", "neither a folder nor a dataset"),
        ("data tile samples -o out --split trian", "did you mean 'train'?"),
        ("data tile samples -o out --scale x", "'x' is not a scale"),
        ("data tile samples -o out --sheet a.txt", "a.txt"),
        ("data tile samples -o out --size 0", "--size"),
    ],
)
def test_a_wrong_word_gets_one_line(run_srkit, tmp_path, words, said):
    code, out, err = run_srkit(*words.split())
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert said in err
    assert not list(tmp_path.iterdir())


def test_two_pictures_of_one_name_are_refused(tmp_path):
    class Twins(list):
        names = ("a", "a")

    from srkit import Pair

    pixels = np.zeros((96, 96, 3), np.uint8)
    with pytest.raises(DataError, match="two pictures are called 'a'"):
        cut_into({2: Twins([Pair("a", None, pixels)] * 2)}, tmp_path / "out", CUT, "twins", silent)
