"""A network split over the ranks: what it learns, what is saved of it, and what it cannot do."""

import json
import re
from pathlib import Path

import pytest
import torch

from srkit.checkpoint import read_about, read_tensors
from srkit.errors import UsageError
from srkit.train.sharding import check_can_be_split, split_as, whole
from srkit.train.start import planned
from tests.processes import Running

from .conftest import SMALL

BLOCKS = ["--set", "model.n_resblocks=2", "--set", "model.n_feats=4", *SMALL[4:]]
SETTINGS = ["ema=0.9", "clip=0.1", "accumulate=2"]
WORDS = ["--model", "edsr", *BLOCKS, *(word for setting in SETTINGS for word in ("--set", setting))]
WORDS += ["--steps", "30", "--save-every", "0.0001s"]


def trained(*words: object, ranks: int = 1) -> str:
    code, said = Running("train", *words, ranks=ranks).finish()
    assert code == 0, said
    return said


def newest(folder: Path) -> Path:
    return max(folder.glob("state-*"))


def apart(one: Path, two: Path) -> float:
    """The largest difference of two files of tensors, which have the same names and shapes."""
    tensors, others = read_tensors(one), read_tensors(two)
    assert {name: t.shape for name, t in tensors.items()} == {name: t.shape for name, t in others.items()}
    floats = [name for name, tensor in tensors.items() if tensor.is_floating_point() and tensor.isfinite().all()]
    return max(float((tensors[name] - others[name]).abs().max()) for name in floats)


@pytest.fixture(scope="module")
def split_run(tmp_path_factory):
    """The folder of thirty steps on two ranks, each of which held its part."""
    out = tmp_path_factory.mktemp("split") / "run"
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(out.parent)
        said = trained(*WORDS, "--out", "run", "--shard", ranks=2)
    whole, part = (int(re.search(rf"([\d,]+) {word}", said)[1].replace(",", "")) for word in ("parameters", "values"))
    assert 0.4 * whole < part < 0.65 * whole, "what cannot be halved lies on the first rank"
    return out


def test_it_learns_what_one_process_learns(split_run, tmp_path):
    trained(*WORDS, "--out", "whole")
    for name in ("last.safetensors", "best.safetensors"):
        assert apart(split_run / name, tmp_path / "whole" / name) < 1e-5
    assert apart(newest(split_run), newest(tmp_path / "whole")) < 1e-3, "moments, average and guard too"
    scores = [line["psnr_y"] for folder in (split_run, tmp_path / "whole") for line in log(folder) if "psnr_y" in line]
    assert scores[0] == pytest.approx(scores[-1], abs=1e-3)


def log(folder: Path) -> list[dict]:
    return [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]


def test_killed_it_goes_on_bit_for_bit(split_run):
    killed = Running("train", *WORDS, "--out", "run", "--shard", ranks=2)
    at = killed.kill_at(8, "run")[-1]
    said = trained("--resume", "run", "--shard", ranks=2)
    assert f"resumed at step {at}" in said
    assert apart(Path("run/last.safetensors"), split_run / "last.safetensors") == 0
    assert apart(newest(Path("run")), newest(split_run)) == 0


def test_it_goes_on_whole_and_what_was_whole_goes_on_split(split_run, tmp_path):
    (tmp_path / "half").mkdir()
    for name in ("run.toml", newest(split_run).name):
        (tmp_path / "half" / name).write_bytes((split_run / name).read_bytes())
    said = trained("--resume", "half", "--steps", "40")
    assert "resumed at step 30" in said
    said = trained("--resume", "half", "--steps", "50", "--shard", ranks=2)
    assert "resumed at step 40" in said
    assert read_about(tmp_path / "half/last.safetensors")["step"] == 50


def test_several_scales_blocks_computed_again_and_weights_to_start_from(split_run, tmp_path):
    """Of mdsr each step leaves the parameters of the other scales alone."""
    words = ["--model", "mdsr", *BLOCKS, "--set", "scale=[2, 3]", "--steps", "6", "--set", "checkpoint=true"]
    for name, more, ranks in (("split", ["--shard"], 2), ("whole", [], 1)):
        said = trained(*words, *more, "--out", name, "--init-from", split_run, "--force", ranks=ranks)
        assert "loaded" in said
    assert apart(tmp_path / "split/last.safetensors", tmp_path / "whole/last.safetensors") < 1e-5


@pytest.mark.parametrize(
    ("values", "told"),
    [
        ({"precision": "fp16"}, "precision=bf16"),
        ({"compile": "on"}, "compile=off"),
        ({"batch": "auto"}, "batch=16"),
        ({"loss": [{"name": "l1"}, {"name": "l2", "adaptive": True}]}, "without adaptive"),
    ],
)
def test_what_cannot_be_split_is_told_with_what_can(registry, values, told):
    with pytest.raises(UsageError, match=f"--shard does not go with .*{told}"):
        check_can_be_split(planned(registry, None, {"model": "edsr", **values}), 2)


def test_alone_there_is_nothing_to_split(run_srkit):
    code, _, err = run_srkit("train", *WORDS, "--out", "run", "--shard")
    assert code == 2
    assert "start them by torchrun" in err


def test_tensors_that_are_not_split_stay_what_they_are():
    value, like = torch.ones(3), torch.zeros(3)
    assert whole(value) is value
    assert split_as(value, like) is value
