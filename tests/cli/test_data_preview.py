"""`srkit data preview`: the sheet shows the very patches that training begins with, and wrong words are told."""

import re
import tomllib
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from srkit import Run, load_plugins, read_rgb
from srkit.cli.data.preview import SIDE
from srkit.data.sampler import Batches, Sampler
from srkit.data.store import packed
from srkit.evaluate.sheet import LABEL, MARGIN
from tests.fixtures import loaded

ROOT = Path(__file__).parents[2]


@pytest.fixture
def pictures(tmp_path, photo):
    (tmp_path / "pictures").mkdir()
    Image.fromarray(photo).save(tmp_path / "pictures" / "a.png")
    return "pictures"


def first_batches(root, scale, patch, count, seed, names):
    """What a training would begin with, asked of its own parts."""
    registry = load_plugins()
    store = packed(registry.choose("dataset", "folder"), root, "train", scale)
    sampler = Sampler([store], scale=scale, batch=count, patch=patch, seed=seed, device=torch.device("cpu"))
    built = [registry.choose("augmentation", name) for name in names]
    augment = [(choice.build(), choice.component.per_rank) for choice in built]
    return sampler(0), Batches({scale: sampler}, augment, seed)(0)[1]


def cells(sheet: np.ndarray, rows: int, side: int) -> list[list[np.ndarray]]:
    width = (sheet.shape[1] - MARGIN) // 4
    return [
        [
            sheet[LABEL + r * (side + MARGIN) :, MARGIN + c * width :][:side, :side]
            for c in range(4)
        ]
        for r in range(rows)
    ]  # fmt: skip


@pytest.mark.parametrize(("scale", "patch", "names"), [(2, 17, ["dihedral"]), (3, 48, ["realistic", "cutblur"])])
def test_it_shows_the_patches_of_a_trainings_first_step(run_srkit, pictures, tmp_path, scale, patch, names):
    words = [word for name in names for word in ("--augmentation", name)]
    code, out, err = run_srkit(
        "data",
        "preview",
        pictures,
        *words,
        "--scale",
        scale,
        "--patch",
        patch,
        "--count",
        3,
        "--seed",
        5,
        "-o",
        "s.png",
    )
    assert (code, err) == (0, "")
    assert out == f"3 patches of pictures x{scale}, plain and with {', '.join(names)}: s.png\n"
    plain, changed = first_batches(pictures, scale, patch, 3, 5, names)
    assert not torch.equal(plain.lr, changed.lr)
    sheet = read_rgb(tmp_path / "s.png")
    side = patch * scale
    side *= -(-SIDE // side)
    for i, row in enumerate(cells(sheet, 3, side)):
        for cell, images in zip(row, (plain.lr, plain.hr, changed.lr, changed.hr), strict=True):
            zoom = side // images.shape[-1]
            pixels = (255 * images[i]).round().byte().permute(1, 2, 0).numpy()
            assert np.array_equal(cell, pixels.repeat(zoom, axis=0).repeat(zoom, axis=1))
    assert (sheet[:LABEL] < 100).any(), "the columns are labelled"


def test_by_default_it_shows_what_a_run_does(run_srkit, tmp_path):
    code, out, _ = run_srkit("data", "preview", "samples", "--count", 1)
    assert code == 0
    assert out == f"1 patches of samples x4, plain and with {Run().augmentation[0].name}: preview.png\n"
    assert loaded(tmp_path / "preview.png").size == (MARGIN + 4 * (192 + MARGIN), LABEL + 192 + MARGIN)


def test_options_of_an_augmentation_are_set_by_its_name(run_srkit, pictures, tmp_path):
    words = ["data", "preview", pictures, "--augmentation", "realistic", "--count", 4, "-o"]
    assert run_srkit(*words, "whole.png")[0] == 0
    assert run_srkit(*words, "less.png", "--set", "realistic.strength=0", "--set", 'realistic.jpeg="exact"')[0] == 0
    errors = {}
    for name in ("whole", "less"):
        rows = cells(read_rgb(tmp_path / f"{name}.png"), 4, 192)
        errors[name] = np.mean([np.abs(row[0].astype(float) - row[2]).mean() for row in rows])
    assert errors["less"] < 0.75 * errors["whole"]


WRONG = {
    "source": ("data preview sampels", "did you mean 'samples'?"),
    "augmentation": ("data preview samples --augmentation dihedrl", "did you mean 'dihedral'?"),
    "option": ("data preview samples --augmentation mixup --set mixup.alfa=1", "did you mean 'alpha'?"),
    "value": ("data preview samples --augmentation mixup --set mixup.alpha=0", "alpha = 0: input should be greater"),
    "of another": ("data preview samples --set mixup.p=1", "no augmentation 'mixup' is shown"),
    "no option": ("data preview samples --set dihedral=1", "write dihedral.OPTION=VALUE"),
    "format": ("data preview samples -o sheet.pgn", "did you mean '.png'?"),
    "folder": ("data preview samples -o nowhere/sheet.png", "no folder 'nowhere'"),
    "too large": ("data preview samples --patch 3000", "8 patches of 12000 pixels make too large a sheet"),
    "count": ("data preview samples --count 0", "invalid value for '--count'"),
}


@pytest.mark.parametrize("case", WRONG)
def test_a_wrong_word_gets_one_line_and_no_sheet(run_srkit, tmp_path, case):
    line, words = WRONG[case]
    code, out, err = run_srkit(*line.split())
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert words in err
    assert not list(tmp_path.iterdir())


def test_a_patch_larger_than_every_picture_is_a_failure(run_srkit, pictures, tmp_path):
    code, _, err = run_srkit("data", "preview", pictures, "--patch", 100)
    assert code == 1
    assert "every picture is smaller than a patch of 400x400 pixels" in err
    assert not (tmp_path / "preview.png").exists()


def test_the_page_lists_every_augmentation_and_its_run_file_is_one():
    page = (ROOT / "docs/augmentation.md").read_text()
    registry = load_plugins()
    assert re.findall(r"^\| `([\w-]+)`", page, flags=re.M) == [e.component.name for e in registry.of("augmentation")]
    (table,) = re.findall(r"^```toml\n(.*?)^```$", page, flags=re.M | re.S)
    run = Run.from_dict(tomllib.loads(table)).resolved(registry)
    assert [part.name for part in run.augmentation] == ["srkit:dihedral", "srkit:realistic"]


def test_the_command_on_the_page_makes_its_picture(run_srkit, tmp_path):
    page = (ROOT / "docs/augmentation.md").read_text()
    (line,) = re.findall(r"^\$ srkit (data preview .*)$", page, flags=re.M)
    assert run_srkit(*line.split())[0] == 0
    ours, shown = (read_rgb(path) for path in ("augmentation.png", ROOT / "docs/images/augmentation.png"))
    for mine, there in zip(cells(ours, 4, 192), cells(shown, 4, 192), strict=True):
        for i in (0, 1, 3):  # how LR was degraded may be another's draw in another torch
            assert np.array_equal(mine[i], there[i])
        assert not np.array_equal(there[0], there[2])


def test_each_degradation_is_seen_alone_and_then_all_in_turn(run_srkit, pictures, tmp_path):
    words = ("data", "preview", pictures, "--scale", 2, "--patch", 40, "--count", 2, "-o", "s.png")
    code, out, err = run_srkit(*words, "--degradation", "jpeg,noise", "--set", "jpeg.quality=[20,20]")
    assert (code, err) == (0, "")
    assert out == f"2 patches of {pictures} x2, jpeg, noise, all in turn: s.png\n"
    sheet = read_rgb(tmp_path / "s.png")
    side, rows = 160, []
    width = (sheet.shape[1] - MARGIN) // 5
    for r in range(2):
        y = LABEL + r * (side + MARGIN)
        rows.append([sheet[y : y + side, MARGIN + c * width :][:, :side].astype(int) for c in range(5)])
    for lr, hr, jpeg, noise, both in rows:
        assert np.abs(hr - lr).mean() > 0
        assert 0 < np.abs(jpeg - lr).mean() < 30
        assert len({each.tobytes() for each in (lr, jpeg, noise, both)}) == 4
    (tmp_path / "run.toml").write_text('[[degradation]]\nname = "blur"\nprob = 0.0\n')
    code, out, _ = run_srkit(*words, "--run", "run.toml")
    assert (code, out) == (0, f"2 patches of {pictures} x2, blur: s.png\n")
    code, _, err = run_srkit(*words, "--run", "run.toml", "--degradation", "jpeg")
    assert code == 2
    assert "leave --degradation and --set out" in err
