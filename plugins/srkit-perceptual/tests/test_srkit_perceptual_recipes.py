"""The shipped run files: they say what their papers say, and they run."""

import re
import subprocess
import sys
import tomllib
from importlib.resources import files
from pathlib import Path

import pytest
import timm
from safetensors.torch import save_file

from srkit import Run

README = (Path(__file__).parents[1] / "README.md").read_text()
NAMES = sorted(p.name.removesuffix(".toml") for p in files("srkit_perceptual").joinpath("recipes").iterdir())


def recipe(name):
    done = subprocess.run([sys.executable, "-m", "srkit_perceptual", name], capture_output=True, text=True, check=True)
    return Path(done.stdout.strip())


def read(path):
    return tomllib.loads(path.read_text())


def test_the_readme_names_each_recipe_in_its_command():
    assert NAMES == ["esrgan-x4", "srgan-x4"]
    said = re.findall(r'^\$ srkit train --run "\$\(python -m srkit_perceptual ([\w-]+)\)"', README, flags=re.M)
    assert sorted(said) == NAMES


def test_an_unknown_recipe_names_those_there_are():
    done = subprocess.run([sys.executable, "-m", "srkit_perceptual", "gan"], capture_output=True, text=True)
    assert done.returncode == 2
    assert "srgan-x4" in done.stderr


@pytest.mark.parametrize(("name", "hr_patch", "weights"), [
    ("srgan-x4", 96, {"perceptual": 0.006, "gan": 1e-3}),
    ("esrgan-x4", 128, {"l1": 1e-2, "perceptual": 1.0, "gan": 5e-3}),
])  # fmt: skip
def test_it_resolves_to_the_figures_of_its_paper(registry, name, hr_patch, weights):
    run = Run.from_dict(read(recipe(name))).resolved(registry)
    assert {part.name.rpartition(":")[2]: part.weight for part in run.loss} == weights
    assert run.patch * run.scale == hr_patch
    assert run.batch == 16
    assert run.lr == 1e-4
    assert run.init_from
    assert registry.choose("loss", run.loss[-1].name, run.loss[-1].options).build().mode in ("vanilla", "relativistic")
    assert Run.from_dict(run.to_dict()) == run, "what is written into run.toml reads back"


@pytest.mark.parametrize("name", NAMES)
def test_it_trains_from_a_model_trained_for_psnr(run_srkit, tmp_path, name):
    """The recipe as it is, but for a small backbone's file and a narrow discriminator in place of the large ones."""
    save_file(timm.create_model("test_resnet", pretrained=False).state_dict(), tmp_path / "weights.safetensors")
    values = read(recipe(name))
    for loss in values["loss"]:
        if loss["name"] == "perceptual":
            loss |= {"backbone": "test_resnet", "layers": [3], "pretrained": "weights.safetensors"}
        if loss["name"] == "gan":
            loss |= {"num_feat": 4}
    Path("recipe.toml").write_text(Run.from_dict(values).to_toml())
    small = ["--set", "model.n_resblocks=1", "--set", "model.n_feats=4", "--set", "batch=1"]
    assert run_srkit("train", "--scale", 4, *small, "--steps", 2, "--out", "runs/edsr-baseline_x4")[0] == 0
    code, out, err = run_srkit("train", "--run", "recipe.toml", *small, "--steps", 2, "--out", "out")
    assert code == 0, err
    assert "started from" in err
    assert "runs/edsr-baseline_x4/best.safetensors" in err
    assert "2 of 2 steps done" in out
