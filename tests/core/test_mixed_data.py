"""Several [[data]], mixed by weight, and several [[validation]], of which the first chooses `best`."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import srkit
from srkit import DataError, OptionError, Run, UsageError
from srkit.checkpoint import read_tensors
from srkit.data.sampler import Sampler
from srkit.data.store import packed
from srkit.run import merge, resolved_run

SMALL = {"name": "edsr", "n_resblocks": 1, "n_feats": 4}
QUICK = {"model": SMALL, "batch": 4, "patch": 12, "steps": 4, "validate_every": 2}


@pytest.fixture
def folders(tmp_path: Path) -> list[Path]:
    """One of five black pictures, one of two white ones: a patch tells where it is from."""
    made = []
    for name, level, count in (("black", 0, 5), ("white", 255, 2)):
        (tmp_path / name).mkdir()
        for i in range(count):
            Image.fromarray(np.full((40 + 2 * i, 48, 3), level, np.uint8)).save(tmp_path / name / f"{i}.png")
        made.append(tmp_path / name)
    return made


def mixed(folders: list[Path], weights: list[float], *, batch: int = 16, patch: int = 16) -> Sampler:
    choice = srkit.load_plugins().choose("dataset", "folder")
    stores = [packed(choice, str(folder), "train", 2) for folder in folders]
    device = torch.device("cpu")
    return Sampler(stores, scale=2, batch=batch, patch=patch, seed=1, device=device, sets=[0, 1], weights=weights)


def test_three_to_one_over_a_thousand_steps(folders: list[Path]) -> None:
    """By the weights, whatever the number of pictures; 16,000 patches, so 0.01 is three standard deviations."""
    sampler = mixed(folders, [1, 3])
    white = np.mean([float(sampler.cut(step).hr.float().mean()) / 255 for step in range(1000)])
    assert abs(white - 0.75) < 0.01
    picked = np.concatenate([sampler.picked(np.random.default_rng(step)) for step in range(1000)])
    counts = np.bincount(picked, minlength=7) / len(picked)
    assert np.allclose(counts, [0.05] * 5 + [0.375] * 2, atol=0.012)  # each picture of a dataset as often as another


def test_a_step_is_a_pure_function_of_seed_and_step(folders: list[Path]) -> None:
    first, again = mixed(folders, [1, 3]), mixed(folders, [1, 3])
    again.cut(3)
    assert torch.equal(first.cut(7).hr, again.cut(7).hr)


def test_data_of_which_no_picture_is_left_is_an_error(folders: list[Path]) -> None:
    for path in folders[1].iterdir():
        Image.fromarray(np.zeros((20, 20, 3), np.uint8)).save(path)
    with pytest.raises(DataError, match=r"every picture of \[\[data\]\] 2 is smaller than a patch"):
        mixed(folders, [1, 3])


def test_a_run_file_of_several_reads_as_it_was_written() -> None:
    run = Run(data=[{"name": "folder", "root": "a", "weight": 3}, {"name": "samples"}], validation=["samples"])
    assert [(part.name, part.root, part.weight) for part in run.data] == [("folder", "a", 3.0), ("samples", "", 1.0)]
    assert Run.from_dict(run.to_dict()) == run
    assert run.to_dict()["validation"]["name"] == "samples"  # one is a table, as ever
    assert Run.from_dict(merge({"data": [{"name": "samples"}]}, {"data": {"split": "valid"}})).data[0].split == "valid"


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"data": []}, r"data = \[\]: one table at least"),
        ({"data": [{"name": "samples", "weight": 0}]}, "data.weight = 0"),
        ({"data": [{"name": "samples", "weight": -1}]}, "weight"),
        ({"data": [{"name": "samples", "roots": "x"}]}, "roots"),
        ({"validation": [{"name": "samples", "metric": ["psnr", 3]}]}, "validation.metric"),
        ({"validation": [{"name": "samples", "metric": []}]}, "validation.metric"),
        ({"validation": [{"name": "samples"}, {"name": "samples", "metric": "psnrr"}]}, "psnrr"),
        ({"validation": [{"name": "samples", "weight": 2}]}, "weight"),
    ],
)
def test_what_is_wrong_is_named(values: dict[str, object], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        resolved_run(values, srkit.load_plugins())


@pytest.mark.parametrize(
    ("validation", "message"),
    [
        ([{"name": "samples"}, {"name": "samples", "protocol": "rgb"}], "two .*validation.* are called 'samples'"),
        ([{"name": "samples", "metric": ["psnr", "psnr"]}], "names 'psnr' twice"),
    ],
)
def test_what_the_log_could_not_tell_apart_is_an_error(
    validation: list[dict[str, object]], message: str, tmp_path: Path
) -> None:
    with pytest.raises(OptionError, match=message):
        srkit.fit({**QUICK, "validation": validation}, out=tmp_path / "run", device="cpu", progress=False)
    assert not (tmp_path / "run").exists() or not list((tmp_path / "run").glob("*.safetensors"))


def test_all_of_it_trains_and_resumes_bit_for_bit(folders: list[Path], tmp_path: Path) -> None:
    values = {
        **QUICK,
        "data": [{"name": "samples", "weight": 3}, {"name": "folder", "root": str(folders[0])}],
        "validation": [
            {"name": "samples", "metric": ["psnr", "ssim"]},
            {"name": "folder", "root": str(folders[1]), "protocol": "rgb", "label": "flat"},
        ],
    }
    done = srkit.fit(values, out=tmp_path / "whole", device="cpu", progress=False)
    lines = [json.loads(line) for line in (tmp_path / "whole/log.jsonl").read_text().splitlines()]
    scored = [line for line in lines if "psnr_y" in line]
    assert [line["step"] for line in scored] == [2, 4]
    assert set(scored[0]) == {"step", "psnr_y", "ssim_y", "flat/psnr_rgb"}
    assert done.best is not None
    assert done.best.score == max(line["psnr_y"] for line in scored)
    assert srkit.score(done, "samples", metrics="psnr").scores["psnr"] == pytest.approx(done.best.score, abs=1e-6)

    first = {**values, "steps": 2}
    srkit.fit(first, out=tmp_path / "parts", device="cpu", progress=False)
    srkit.fit(resume=tmp_path / "parts", steps=4, device="cpu", progress=False)
    whole, parts = (read_tensors(tmp_path / name / "last.safetensors") for name in ("whole", "parts"))
    assert all(torch.equal(whole[name], parts[name]) for name in whole)


def test_fit_takes_a_list_of_folders_and_names(folders: list[Path], tmp_path: Path) -> None:
    done = srkit.fit(
        **QUICK, data=[folders[0], "samples"], validation=[str(folders[1]), "samples"],
        out=tmp_path / "run", device="cpu", progress=False,
    )  # fmt: skip
    assert [part.root for part in done.run.data] == [str(folders[0]), ""]
    assert [part.name for part in done.run.validation] == ["srkit:folder", "srkit:samples"]
