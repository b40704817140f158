"""`precision`: resolved before a run starts, kept when it resumes, changed only where that is asked for and logged."""

import json
import tomllib
from pathlib import Path

import pytest
import torch

import srkit
from srkit.checkpoint import read_about, read_tensors

from .conftest import SMALL

AUTO = [word for pair in zip(SMALL[::2], SMALL[1::2], strict=True) if pair[1] != "precision=fp32" for word in pair]


@pytest.fixture
def processor(monkeypatch):
    """processor("avx512_bf16") -> the CPU is one that can do this, and nothing else."""

    def is_one_of(*names: str) -> None:
        monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: dict.fromkeys(names, True), raising=False)

    return is_one_of


def run_of(folder: Path) -> dict:
    return tomllib.loads((folder / "run.toml").read_text())


def log(folder: Path) -> list[dict]:
    return [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]


@pytest.mark.parametrize(("capability", "precision"), [("amx_bf16", "bf16"), ("avx512_bf16", "bf16"), ("avx2", "fp32")])
def test_a_run_says_what_auto_was(run_srkit, tmp_path, processor, capability, precision):
    processor(capability)
    code, _, err = run_srkit("train", *AUTO, "--steps", "2", "--out", "run")
    assert code == 0, err
    assert f"on cpu in {precision}" in err
    assert run_of(tmp_path / "run")["precision"] == precision
    for name in ("last", "state-00000002"):
        assert read_about(tmp_path / "run" / f"{name}.safetensors")["run"]["precision"] == precision


def test_a_bf16_run_resumes_bit_for_bit_where_bf16_is_native(run_srkit, tmp_path, processor):
    processor("avx512_bf16")
    assert run_srkit("train", *AUTO, "--steps", "12", "--out", "whole")[0] == 0
    assert run_srkit("train", *AUTO, "--steps", "5", "--out", "parts")[0] == 0
    code, _, err = run_srkit("train", "--resume", "parts", "--steps", "12")
    assert code == 0, err
    whole, parts = (read_tensors(tmp_path / name / "last.safetensors") for name in ("whole", "parts"))
    assert all(torch.equal(whole[name], parts[name]) for name in whole)
    assert not [line for line in log(tmp_path / "parts") if "precision" in line]


def test_where_bf16_is_not_native_a_resume_asks_for_the_precision_and_logs_it(run_srkit, tmp_path, processor):
    processor("avx512_bf16")
    assert run_srkit("train", *AUTO, "--steps", "6", "--out", "run")[0] == 0
    processor("avx2")
    code, _, err = run_srkit("train", "--resume", "run", "--steps", "9")
    assert code == 2
    (line,) = err.splitlines()
    assert "'run' was trained in bf16, which this cpu does not multiply natively" in line
    assert "--precision fp32" in line
    assert run_of(tmp_path / "run")["steps"] == 6, "nothing was changed"

    code, _, err = run_srkit("train", "--resume", "run", "--steps", "9", "--precision", "auto")
    assert code == 0, err
    assert "trained in bf16 up to step 6; from here on in fp32" in err
    assert run_of(tmp_path / "run")["precision"] == "fp32"
    lines = log(tmp_path / "run")
    assert [(line["step"], line["precision"]) for line in lines if "precision" in line] == [(7, "fp32")]
    assert [line["step"] for line in lines if "loss" in line] == [6, 9], "what was logged before stays"
    code, _, err = run_srkit("train", "--resume", "run", "--steps", "11")
    assert code == 0, "it is an fp32 run now"
    assert "from here on" not in err


def test_a_run_that_was_begun_in_slow_bf16_resumes_there(run_srkit, tmp_path, processor):
    processor("avx2")
    assert run_srkit("train", *AUTO, "--precision", "bf16", "--steps", "2", "--out", "run")[0] == 0
    code, _, err = run_srkit("train", "--resume", "run", "--steps", "4")
    assert code == 0, err
    assert run_of(tmp_path / "run")["precision"] == "bf16"


def test_a_finished_run_keeps_the_precision_it_was_trained_in(run_srkit, tmp_path, processor):
    processor("avx512_bf16")
    assert run_srkit("train", *AUTO, "--steps", "2", "--out", "run")[0] == 0
    processor("avx2")
    assert run_srkit("train", "--resume", "run", "--precision", "fp32")[0] == 0
    assert run_of(tmp_path / "run")["precision"] == "bf16"
    code, _, err = run_srkit("train", "--resume", "run", "--precision", "fp31")
    assert code == 2
    assert "no precision called 'fp31'" in err


def test_a_run_goes_on_in_fp16_with_a_new_scaler(run_srkit, tmp_path):
    assert run_srkit("train", *SMALL, "--steps", "2", "--out", "run")[0] == 0
    code, _, err = run_srkit("train", "--resume", "run", "--steps", "4", "--precision", "fp16")
    assert code == 0, err
    assert log(tmp_path / "run")[-1]["step"] == 4


def test_python_resumes_with_another_precision(tmp_path, processor, cache):
    values = {"model": {"name": "edsr", "n_resblocks": 1, "n_feats": 4}, "batch": 4, "patch": 16}
    processor("avx512_bf16")
    first = srkit.fit(**values, steps=2, out=tmp_path / "run", progress=False)
    assert first.run.precision == "bf16"
    processor("avx2")
    with pytest.raises(srkit.UsageError, match="say --precision"):
        srkit.fit(resume=first.folder, steps=4, progress=False)
    assert srkit.fit(resume=first.folder, steps=4, precision="fp32", progress=False).run.precision == "fp32"


def test_a_sweep_passes_the_precision_on(run_srkit, tmp_path, processor):
    processor("avx512_bf16")
    words = ["sweep", "--vary", "seed=0,1", *AUTO, "--steps", "3", "--out", "grid"]
    assert run_srkit(*words, "--max-time", "0.001s")[0] == 0
    code, _, err = run_srkit(*words, "--precision", "fp32")
    assert code == 0, err
    assert [run_of(tmp_path / "grid" / f"seed={n}")["precision"] for n in (0, 1)] == ["fp32", "fp32"]
    assert "which is a difference too" not in err
    (tmp_path / "grid/seed=1/run.toml").write_text(
        (tmp_path / "grid/seed=1/run.toml").read_text().replace('"fp32"', '"bf16"')
    )
    assert "cells were trained in bf16 and fp32, which is a difference too" in run_srkit(*words)[2]
    code, _, err = run_srkit("sweep", "--vary", "precision=fp32,bf16", "--precision", "fp32")
    assert code == 2
    assert "--vary precision and --precision" in err


def test_the_default_average_is_warmed_up(run_srkit, tmp_path):
    """After a few steps it is near the weights, although its decay ends at 0.999."""
    assert run_srkit("train", *SMALL, "--steps", "20", "--out", "run")[0] == 0
    assert run_of(tmp_path / "run")["ema"] == 0.999
    state = read_tensors(tmp_path / "run" / "state-00000020.safetensors")
    last = read_tensors(tmp_path / "run" / "last.safetensors")
    assert all(torch.equal(state[f"ema.{name}"], last[name]) for name in last)
    name = "body.0.body.0.weight"
    assert 0 < (state[f"net.{name}"] - last[name]).abs().max() < 0.02


COPIED = """
import torch
from srkit import Model, hookimpl

class Held(torch.nn.Conv2d):
    def __deepcopy__(self, memo):
        raise RuntimeError("Only Tensors created explicitly by the user support the deepcopy protocol")

def build(scale):
    return torch.nn.Sequential(Held(3, 3 * scale**2, 3, padding=1), torch.nn.PixelShuffle(scale))

@hookimpl
def srkit_models():
    return [Model(name="held", build=build)]
"""


def test_a_network_that_cannot_be_copied_is_told_to_train_without_an_average(run_srkit, install):
    install("srkit-held", COPIED)
    words = ["train", "--model", "held", "--steps", "1", "--set", "batch=1", "--set", "patch=8"]
    code, _, err = run_srkit(*words)
    assert code == 2
    assert "cannot be copied" in err
    assert "--set ema=0" in err
    assert run_srkit(*words, "--set", "ema=0")[0] == 0
