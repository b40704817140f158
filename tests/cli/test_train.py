"""`srkit train` as people use it."""

import json
import os
import signal
import threading
import time
import tomllib
from pathlib import Path

import pytest
import torch
from PIL import Image

from srkit.checkpoint import read_about, read_tensors
from tests.fixtures import loaded

from .conftest import SMALL


def lines(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_a_finished_run_leaves_all_that_is_needed(trained):
    assert sorted(p.name for p in trained.iterdir()) == [
        "best.safetensors", "images", "last.safetensors", "log.jsonl", "run.toml", "state-00000060.safetensors",
    ]  # fmt: skip
    run = tomllib.loads((trained / "run.toml").read_text())
    assert run["model"] == {"name": "srkit:edsr", "n_resblocks": 1, "n_feats": 4, "res_scale": 1.0}
    about = read_about(trained / "best.safetensors")
    assert about["model"]["name"] == "srkit:edsr"
    assert about["run"] == run
    assert about["scores"]["protocol"] == "y"
    assert lines(trained / "log.jsonl")[-1] == {"step": 60, "psnr_y": about["scores"]["psnr"]}
    assert loaded(trained / "images" / "chelsea_x2.png").size == (450, 300)


def test_training_learns(tmp_path, run_srkit):
    code, _, err = run_srkit("train", *SMALL, "--steps", "200", "--set", "validate_every=50", "--out", "run")
    assert code == 0, err
    psnr = [line["psnr_y"] for line in lines(tmp_path / "run" / "log.jsonl") if "psnr_y" in line]
    assert len(psnr) == 4
    assert psnr[-1] > psnr[0] + 1


def test_words_files_and_assignments_lie_over_one_another(tmp_path, run_srkit, photo):
    (tmp_path / "photos").mkdir()
    Image.fromarray(photo).save(tmp_path / "photos" / "a.png")
    (tmp_path / "my.toml").write_text(
        'steps = 9\nscale = 2\nseed = 5\n[model]\nname = "edsr"\nn_feats = 12\nn_resblocks = 2\n'
    )
    code, out, _ = run_srkit(
        "train", "--run", "my.toml", "--scale", "3", "--data", "photos", *SMALL, "--steps", "2", "--set", "loss=l2"
    )
    assert code == 0
    assert "2 of 2 steps done" in out
    run = tomllib.loads((tmp_path / "runs" / "edsr_x3" / "run.toml").read_text())
    assert (run["scale"], run["steps"], run["seed"], run["loss"]) == (3, 2, 5, [{"name": "srkit:l2"}])
    assert run["model"]["n_feats"] == 4
    folders = {"hr_dir": "", "lr_dir": "", "lr_template": ""}
    assert run["data"] == {"name": "srkit:folder", "root": "photos", "split": "train", **folders}


def test_runs_are_numbered_and_never_overwritten(tmp_path, run_srkit, trained):
    for _ in range(2):
        assert run_srkit("train", *SMALL, "--steps", "1")[0] == 0
    assert sorted(p.name for p in (tmp_path / "runs").iterdir()) == ["edsr_x2", "edsr_x2-2"]
    code, _, err = run_srkit("train", *SMALL, "--steps", "1", "--out", trained)
    assert code == 2
    assert "already holds a run; go on with it by --resume" in err


def same_weights(a, b):
    first, second = read_tensors(Path(a)), read_tensors(Path(b))
    return first.keys() == second.keys() and all(torch.equal(first[k], second[k]) for k in first)


@pytest.mark.parametrize("optimizer", ["adam", "muon"])
def test_stopped_and_resumed_is_the_same_run(tmp_path, run_srkit, optimizer):
    words = ["train", *SMALL, "--set", f"optimizer={optimizer}", "--set", "validate_every=7"]
    assert run_srkit(*words, "--steps", "30", "--out", "whole")[0] == 0
    assert run_srkit(*words, "--steps", "13", "--out", "parts")[0] == 0
    code, out, err = run_srkit("train", "--resume", "parts", "--steps", "30")
    assert code == 0
    assert "resumed at step 13" in err
    assert "30 of 30 steps done" in out
    assert same_weights("whole/last.safetensors", "parts/last.safetensors")
    assert same_weights("whole/best.safetensors", "parts/best.safetensors")
    scores = [
        [line for line in lines(tmp_path / name / "log.jsonl") if line["step"] % 7 == 0] for name in ("whole", "parts")
    ]
    assert scores[0] == scores[1]


def test_the_best_survives_a_resume(tmp_path, run_srkit):
    assert run_srkit("train", *SMALL, "--steps", "20", "--out", "run")[0] == 0
    before = (tmp_path / "run" / "best.safetensors").read_bytes()
    text = (tmp_path / "run" / "run.toml").read_text().replace("lr = 0.001", "lr = 0.1")  # from here on it gets worse
    (tmp_path / "run" / "run.toml").write_text(text)
    code, out, _ = run_srkit("train", "--resume", "run", "--steps", "40")
    assert code == 0
    assert "at step 20" in out
    assert (tmp_path / "run" / "best.safetensors").read_bytes() == before


def test_ctrl_c_saves_and_says_how_to_go_on(tmp_path, run_srkit):
    def press():
        while not (tmp_path / "run" / "run.toml").exists():
            time.sleep(0.01)
        time.sleep(1.5)
        os.kill(os.getpid(), signal.SIGINT)

    before = signal.getsignal(signal.SIGINT)
    threading.Thread(target=press).start()
    code, out, err = run_srkit("train", *SMALL, "--out", "run")
    assert code == 130
    assert "stopping after this step" in err
    assert err.endswith("srkit: interrupted\n")
    assert "go on:    srkit train --resume run" in out
    (state,) = (tmp_path / "run").glob("state-*")
    done = int(state.stem.split("-")[1])
    assert done > 0
    assert (tmp_path / "run" / "last.safetensors").exists()
    assert read_about(tmp_path / "run" / "last.safetensors")["scores"] == {}, "these weights were not scored"
    assert signal.getsignal(signal.SIGINT) is before
    code, out, err = run_srkit("train", "--resume", "run", "--steps", done + 2)
    assert code == 0
    assert f"resumed at step {done:,}" in err


def test_max_time_ends_in_time(run_srkit, tmp_path):
    begin = time.monotonic()
    code, out, _ = run_srkit("train", *SMALL, "--max-time", "2s", "--out", "run")
    assert code == 0
    assert time.monotonic() - begin < 30
    assert "of 300,000 steps done" in out
    assert (tmp_path / "run" / "best.safetensors").exists()


def test_the_seed_decides_and_init_from_starts_elsewhere(tmp_path, run_srkit, trained):
    for name, words in {"a": [], "b": [], "c": ["--seed", "1"], "d": ["--init-from", trained]}.items():
        code, _, err = run_srkit("train", *SMALL, "--steps", "2", "--out", name, *words)
        assert code == 0
    assert f"started from '{trained / 'best.safetensors'}'" in err
    assert same_weights("a/last.safetensors", "b/last.safetensors")
    assert not same_weights("a/last.safetensors", "c/last.safetensors")
    best = [json.loads((tmp_path / n / "log.jsonl").read_text().splitlines()[-1])["psnr_y"] for n in ("a", "d")]
    assert best[1] > best[0] + 3


def test_a_x3_model_starts_from_x2_weights(run_srkit, trained):
    code, _, err = run_srkit("train", *SMALL, "--scale", "3", "--steps", "1", "--init-from", trained)
    assert code == 0
    rows = [line.removeprefix("srkit:").split() for line in err.splitlines()]
    assert ["body.*.body.*", "4", "loaded"] in rows
    assert ["tail.*.*", "2", "other", "shape,", "not", "loaded"] in rows


@pytest.mark.parametrize("key", ["nothing", "half"])
def test_init_from_something_that_does_not_fit(run_srkit, tmp_path, key):
    torch.save({"w": torch.zeros(1)}, tmp_path / "w.pt")
    words = {"nothing": "w.pt", "half": "missing.pt"}[key]
    code, _, err = run_srkit("train", *SMALL, "--steps", "1", "--init-from", words)
    assert code == (1 if key == "nothing" else 2)
    assert words in err
    assert err.strip().splitlines()[-1].startswith("srkit: ")


def test_several_losses_with_weights_and_a_loss_that_learns(run_srkit, install, tmp_path):
    install(
        "srkit-critic",
        """
import torch
from srkit import Loss, hookimpl

class Critic(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.scale = torch.nn.Parameter(torch.ones(()))
        self.optimizer = torch.optim.Adam(self.parameters(), lr=0.01)
    def forward(self, sr, hr):
        return (self.scale.detach() * (sr - hr).abs()).mean()
    def update(self, sr, hr):
        assert not sr.requires_grad
        self.optimizer.zero_grad()
        ((self.scale * sr).mean() - hr.mean()).square().backward()
        self.optimizer.step()

@hookimpl
def srkit_losses():
    return [Loss(name="critic", build=Critic)]
""",
    )
    losses = 'loss=[{name="l1", weight=0.7}, {name="critic", weight=0.3}]'
    assert run_srkit("train", *SMALL, "--steps", "8", "--set", losses, "--out", "run")[0] == 0
    state = read_tensors(tmp_path / "run" / "state-00000008.safetensors")
    assert 0 < abs(float(state["loss1.scale"]) - 1) < 0.2
    assert run_srkit("train", *SMALL, "--steps", "5", "--set", losses, "--out", "parts")[0] == 0
    assert run_srkit("train", "--resume", "parts", "--steps", "6")[0] == 0


def test_a_multi_scale_model_trains_at_all_its_scales(run_srkit, install, tmp_path):
    install(
        "srkit-multi",
        """
from srkit import Model, hookimpl

def build(scales):
    import torch
    class Multi(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.tails = torch.nn.ModuleDict({str(s): torch.nn.Conv2d(3, 3, 3, padding=1) for s in scales})
        def forward(self, lr, scale):
            sr = torch.nn.functional.interpolate(lr, scale_factor=scale)
            return sr + 0.1 * self.tails[str(scale)](sr)
    return Multi()

@hookimpl
def srkit_models():
    return [Model(name="multi", build=build, multi_scale=True)]
""",
    )
    words = ["--model", "multi", "--set", "scale=[2,3,4]", "--set", "batch=2", "--set", "patch=8"]
    code, out, err = run_srkit("train", *words, "--steps", "12", "--out", "run")
    assert code == 0, err
    code, out, err = run_srkit("bench", "run", "--models", "bicubic", "--sets", "samples", "--json")
    assert code == 0, err
    rows = json.loads(out)["rows"]
    assert [(r["model"], r["scale"]) for r in rows if r["model"] == "run"] == [("run", 2), ("run", 3), ("run", 4)]
    assert run_srkit("train", "--model", "edsr", "--set", "scale=[2,3]")[0] == 2


def test_a_folder_that_cannot_be_written(run_srkit, tmp_path):
    (tmp_path / "file").write_text("")
    code, _, err = run_srkit("train", *SMALL, "--out", "file")
    assert code == 2
    assert "is a file" in err
    code, _, err = run_srkit("train", *SMALL, "--out", "file/deeper")
    assert code == 2
    assert "cannot write into" in err


def test_a_loss_that_explodes_steps_back_and_then_stops(run_srkit, tmp_path):
    code, _, err = run_srkit("train", *SMALL, "--set", "lr=1e18", "--steps", "400", "--out", "run")
    assert code == 1
    assert "back to step 0, with half the learning rate (3 of 3 times)" in err
    assert "Try a lower learning rate (--set lr=" in err
    assert not list((tmp_path / "run").glob("*.safetensors"))


def test_an_optimizer_that_fails_in_a_step_is_named(run_srkit):
    code, _, err = run_srkit("train", *SMALL, "--set", "optimizer=adahessian", "--steps", "2", "--out", "run")
    assert code == 1
    assert "srkit: optimizer Adahessian failed in a step (" in err
    assert "--set optimizer.name=adam" in err
    assert "unexpected" not in err


@pytest.mark.parametrize(
    ("assignment", "words"),
    [
        ("lr=inf", "lr = inf: input should be less than inf"),
        ("optimizer.betas=[nan,0.9]", "betas = [nan, 0.9]"),
        ("optimizer.betas=[2,0.9]", "Invalid beta parameter"),
        ("optimizer=adem", "no optimizer called 'adem'; did you mean 'adam'?"),
        ("schedule=cosin", "no schedule called 'cosin'; did you mean 'cosine'?"),
        ("schedule.every=9", "schedule 'step' has no option 'every'; did you mean 'decay_every'?"),
        ("accumulate=3", "batch = 4 cannot be shared by 1 ranks in 3 parts; take a multiple of 3"),
        ("scale=[]", "scale = []"),
        ('loss=[{name="l1",weight=nan}]', "weight = nan"),
        ("batch=100000000000", "out of memory with batch=100000000000"),
        ("model.n_feats=1000000000", "out of memory building 'edsr'"),
    ],
)
def test_values_that_cannot_be_are_told_and_leave_nothing(run_srkit, tmp_path, assignment, words):
    code, _, err = run_srkit("train", *SMALL, "--set", assignment, "--steps", "1", "--out", "run")
    assert code in (1, 2)
    assert words in err
    assert err.strip().splitlines()[-1].startswith("srkit: ")
    assert not (tmp_path / "run" / "run.toml").exists()
