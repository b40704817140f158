"""What is written into the folder that is read: it would be read too, by the same command or the next one."""

from pathlib import Path

import pytest
from PIL import Image

from srkit import DataError, load_plugins
from srkit.data.pairs import open_dataset

TINY = ("--set", "patch=8", "--set", "batch=2", "--set", "model.n_resblocks=1", "--set", "model.n_feats=4")


@pytest.fixture
def photos(tmp_path: Path, photo) -> Path:
    folder = tmp_path / "photos"
    folder.mkdir()
    for i in range(3):
        Image.fromarray(photo[i : i + 96, i : i + 128]).save(folder / f"p{i}.png")
    return folder


@pytest.mark.parametrize(
    "words",
    [
        "tile photos -o photos/tiles --size 48 --step 48",
        "copies photos -o photos/copies --smallest 16",
        "select photos -o photos/selected",
        "select photos -o selected --sheet photos/dropped.png",
        "degrade photos -o photos/pairs --degradation blur",
        "preview photos -o photos/preview.png",
        "tile folder --root photos -o photos/../photos/tiles",
    ],
)
def test_a_command_writes_nothing_among_the_pictures_it_reads(run_srkit, photos, words):
    """ThorpeJosh/image-sorting-tool#40, bilayer-containers/bilayers#58: the second run takes what the first made."""
    before = sorted(photos.rglob("*"))
    code, out, err = run_srkit("data", *words.split())
    assert (code, out) == (2, "")
    assert "lies in 'photos', whose pictures are read" in err.splitlines()[-1]
    assert sorted(photos.rglob("*")) == before


def test_a_training_below_its_pictures_does_not_train_on_what_it_wrote(run_srkit, photos):
    """Its validation pictures would be among the training pictures from the next start on, resumed or new."""
    words = ("train", "--model", "edsr", "--data", "photos", *TINY, "--set", "validate_every=1")
    assert run_srkit(*words, "--out", "photos/run", "--steps", 2)[0] == 0
    assert list(photos.glob("run/images/*.png"))
    code, _, err = run_srkit("train", "--resume", "photos/run", "--steps", 3)
    assert code == 0
    assert "3 pictures" in err
    assert "1 training left out: run" in err
    dataset = load_plugins().choose("dataset", "folder", {"hr_dir": ".", "lr_dir": "none"})
    assert len(open_dataset(dataset, photos, "train", 2)) == 3
    whole = run_srkit(*words, "--out", "other", "--steps", 3)
    assert whole[0] == 0
    assert "3 pictures" in whole[2]
    resumed, at_once = (Path(run, "best.safetensors").read_bytes() for run in ("photos/run", "other"))
    assert len(resumed) == len(at_once)
    assert resumed[-4000:] == at_once[-4000:]


def test_a_training_in_the_very_folder_of_its_pictures(run_srkit, photos):
    words = ("train", "--model", "edsr", "--data", "photos", *TINY, "--set", "validate_every=1", "--out", "photos")
    assert run_srkit(*words, "--steps", 1)[0] == 0
    assert list(photos.glob("images/*.png"))
    code, _, err = run_srkit("train", "--resume", "photos", "--steps", 2)
    assert code == 0
    assert "3 pictures: HR in '.', LR x2 made from them; 1 training left out: ." in err
    dataset = load_plugins().choose("dataset", "folder")
    drawn = open_dataset(dataset, photos / "images", "train", 2)
    assert len(drawn) == len(list(photos.glob("images/*.png"))), "who names them can have them"


@pytest.mark.parametrize("place", ["", "up"])
def test_a_result_of_upscaling_is_no_hr(run_srkit, photos, place):
    """Results beside the photos have the size of their HR: a training would learn bicubic, a benchmark find inf dB."""
    words = ("upscale", "photos", "-o", f"photos/{place}", "--model", "bicubic", "--scale", 2)
    assert run_srkit(*words)[0] == 0
    assert len(list(photos.rglob("*_x2.png"))) == 3
    dataset = load_plugins().choose("dataset", "folder")
    with pytest.raises(DataError, match=r"made 2 times larger, and no HR"):
        open_dataset(dataset, photos, "train", 2)
    said = load_plugins().choose("dataset", "folder", {"hr_dir": ".", "lr_dir": "none"})
    assert len(open_dataset(said, photos, "train", 2)) == 6, "who says so can have them"
