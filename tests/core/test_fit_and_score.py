"""`srkit.fit` and `srkit.score`: what the commands do, in a script, a notebook or a thread, without a command line."""

import asyncio
import io
import json
import os
import signal
import subprocess
import sys
import threading
import time
import tomllib
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import nn

import srkit
from srkit import DataError, Model, OptionError, OutputError, Pair, Part, Run, UnknownName, UsageError
from srkit import progress as shown
from srkit.api.fitting import RunValues
from srkit.run import OWN_KEYS, read_run_file, scalar_options

SMALL = {"name": "edsr", "n_resblocks": 1, "n_feats": 4}
QUICK = {"model": SMALL, "batch": 2, "patch": 12, "steps": 2, "validate_every": 100}


@pytest.fixture(scope="module")
def trained(tmp_path_factory, cache) -> srkit.FitResult:
    """Two steps, on the CPU."""
    folder = tmp_path_factory.mktemp("fit") / "run"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SRKIT_CACHE", str(cache))
        patch.setenv("SRKIT_PLUGINS", "")
        return srkit.fit(**QUICK, out=folder, device="cpu", progress=False)


def test_three_lines_in_a_fresh_interpreter(tmp_path):
    program = """
import sys, srkit
trained = srkit.fit(model={"name": "edsr", "n_resblocks": 1, "n_feats": 4}, steps=3, batch=2, patch=12, device="cpu")
scores = srkit.score(trained, "samples", metrics="psnr")
large = trained.load().upscale(__import__("numpy").full((8, 9, 3), 110, "uint8"))
assert large.shape == (16, 18, 3)
assert scores.scores["psnr"] == trained.best.score, (scores, trained)
assert not [name for name in sys.modules if name.startswith("srkit.cli")]
"""
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=120, stdin=subprocess.DEVNULL
    )
    assert (done.returncode, done.stdout) == (0, ""), done.stderr
    assert "srkit: edsr x2, 1,259 parameters" in done.stderr
    assert (tmp_path / "runs/edsr_x2/best.safetensors").is_file()


def test_what_fit_gives(trained):
    assert (trained.steps, trained.reason) == (2, "finished")
    assert (trained.best.metric, trained.best.protocol, trained.best.step) == ("psnr", "y", 2)
    assert {"run.toml", "best.safetensors", "last.safetensors"} < {path.name for path in trained.folder.iterdir()}
    assert trained.run.model == Part(name="srkit:edsr", options={"n_resblocks": 1, "n_feats": 4, "res_scale": 1.0})
    assert f"2 of 2 steps done (finished), in '{trained.folder}'; best PSNR " in str(trained)
    upscaler = trained.load(device="cpu")
    assert (upscaler.scale, upscaler.origin) == (2, str(trained.folder / "best.safetensors"))
    assert trained.load(ensemble=True).name == "edsr+"


def test_a_run_can_be_a_run_a_dict_a_file_or_keywords(tmp_path):
    values = {**QUICK, "steps": 1, "lr": 5e-4}
    Path("mine.toml").write_text(Run(**values).to_toml())
    given = {
        "run": {"run": Run(**values)},
        "dict": {"run": values},
        "file": {"run": Path("mine.toml")},
        "laid over": {"run": Run(**values, seed=3), "seed": 0},
        "keywords": values,
        "parts": {**values, "model": Part(name="edsr", options={"n_resblocks": 1, "n_feats": 4}), "loss": ["l1"]},
    }
    runs = {
        name: srkit.fit(**words, out=tmp_path / name, device="cpu", progress=False).run for name, words in given.items()
    }
    assert runs["run"].lr == 5e-4
    assert all(run == runs["run"] for run in runs.values()), runs
    assert Run.from_dict(tomllib.loads((tmp_path / "dict/run.toml").read_text())) == runs["run"]


def test_data_is_a_folder_or_the_name_of_a_dataset(tmp_path, photo):
    from PIL import Image

    Path("photos").mkdir()
    Image.fromarray(photo).save("photos/cat.png")
    done = srkit.fit(**QUICK, data=Path("photos"), validation="photos", device="cpu", progress=False)
    (data,), (validation,) = done.run.data, done.run.validation
    assert (data.name, data.root, validation.root) == ("srkit:folder", "photos", "photos")
    assert done.folder == Path("runs/edsr_x2")
    by = {"name": "folder", "root": "photos", "metric": "ssim", "protocol": "rgb"}
    best = srkit.fit(done.run, validation=by, device="cpu", progress=False).best
    assert (best.metric, best.protocol, best.dataset) == ("ssim", "rgb", "srkit:folder")
    with pytest.raises(UnknownName, match="'photo' is neither a folder nor a dataset; did you mean 'photos'"):
        srkit.fit(**QUICK, data="photo")


def test_wrong_words_are_srkit_errors(trained):
    wrong = {
        "a run has no key 'step'; did you mean 'steps'": {"step": 5},
        "the run: lr = -1": {"lr": -1},
        "no model called 'edsrr'": {"model": "edsrr"},
        "no run file or recipe called 'edsr-baseline-x9'": {"run": "edsr-baseline-x9"},
        "a run is a srkit.Run, a table, .*, not list": {"run": []},
        "already holds a run": {**QUICK, "out": trained.folder},
        "no folder 'nowhere'": {"resume": "nowhere"},
        "of the run's keys only steps and precision go with it": {"resume": trained.folder, "lr": 1e-3},
        "'soon' is not a length of time": {"max_time": "soon"},
        "'-3' is not a length of time": {"max_time": -3},
        "resident is auto, yes or no": {"resident": "maybe"},
        "no device called 'gpu'": {**QUICK, "device": "gpu"},
    }
    for words, values in wrong.items():
        with pytest.raises((UnknownName, OptionError, UsageError), match=words):
            srkit.fit(**values)


def test_a_limit_in_time_ends_it_and_resume_goes_on(tmp_path):
    values = {**QUICK, "steps": 4}
    whole = srkit.fit(**values, out="whole", device="cpu", progress=False)
    part = srkit.fit(**values, out="part", device="cpu", max_time=1e-3, progress=False)
    assert (part.reason, part.steps) == ("time", 1)
    again = srkit.fit(resume="part", device="cpu", progress=False)
    assert (again.reason, again.steps, again.folder) == ("finished", 4, Path("part"))
    assert again.run == whole.run
    for name, tensor in whole.load(device="cpu").net.state_dict().items():
        assert torch.equal(tensor, again.load(device="cpu").net.state_dict()[name]), name
    assert srkit.fit(resume=again.folder, steps=5, device="cpu", progress=False).steps == 5


def test_auto_starts_and_goes_on_also_from_a_copy(tmp_path):
    values = {**QUICK, "steps": 4, "device": "cpu", "progress": False}
    part = srkit.fit(**values, out="here", resume="auto", copy_to="copy", max_time=1e-3)
    assert (part.reason, part.steps) == ("time", 1)
    again = srkit.fit(**values, out="elsewhere", resume="auto", copy_to="copy")
    assert (again.reason, again.steps) == ("finished", 4)
    whole = srkit.fit(**values, out="whole")
    for name, tensor in whole.load(device="cpu").net.state_dict().items():
        assert torch.equal(tensor, again.load(device="cpu").net.state_dict()[name]), name
    with pytest.raises(srkit.UsageError, match="holds another run: lr"):
        srkit.fit(**values, out="elsewhere", resume="auto", lr=0.123)
    with pytest.raises(srkit.UsageError, match="name it by"):
        srkit.fit(**values, resume="auto")


def interrupt_when_training(folder: Path) -> threading.Thread:
    """Ctrl-C as soon as the run in `folder` has its first training state."""

    def wait() -> None:
        end = time.monotonic() + 60
        while not list(folder.glob("state-*")) and time.monotonic() < end:
            time.sleep(0.01)
        os.kill(os.getpid(), signal.SIGINT)

    thread = threading.Thread(target=wait)
    thread.start()
    return thread


@pytest.mark.skipif(os.name == "nt", reason="a process cannot send itself Ctrl-C on Windows")
def test_an_interruption_saves_and_says_how_to_go_on(tmp_path, capsys):
    before = signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)
    thread = interrupt_when_training(tmp_path / "stopped")
    with pytest.raises(
        KeyboardInterrupt, match=r"stopped at step \d+ and saved; srkit.fit\(resume='stopped'\) goes on"
    ):
        srkit.fit(**{**QUICK, "steps": 1_000_000}, out="stopped", device="cpu", progress=False)
    thread.join()
    assert (signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)) == before
    (state,) = sorted(Path("stopped").glob("state-*"))[-1:]
    steps = int(state.stem.removeprefix("state-"))
    assert steps > 0
    assert srkit.fit(resume="stopped", steps=steps + 1, device="cpu", progress=False).steps == steps + 1


def test_it_works_in_a_thread_and_under_a_running_loop(monkeypatch, tmp_path):
    """Where no signal handler may be installed, and where nobody can answer a question."""
    monkeypatch.setattr("builtins.input", lambda *_: pytest.fail("it asked something"))
    results = []

    def work() -> None:
        done = srkit.fit(**QUICK, out="thread", device="cpu")
        results.append(srkit.score(done, "samples", metrics=["psnr"]))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join(60)

    async def cell() -> None:
        work_done = srkit.fit(**QUICK, out="loop", device="cpu", progress=False)
        results.append(srkit.score(work_done, "samples", metrics=["psnr"], progress=False))

    asyncio.run(cell())
    assert results[0].scores == results[1].scores


def test_a_network_of_ones_own_needs_no_package(registry, trained):
    class Doubling(nn.Module):
        def __init__(self):
            super().__init__()
            self.one = nn.Conv2d(3, 12, 3, padding=1)
            nn.init.constant_(self.one.bias, 0.45)

        def forward(self, lr):
            return torch.pixel_shuffle(self.one(lr), 2)

    registry.add("model", Model(name="doubling", build=lambda scale: Doubling(), scales=(2,)))
    done = srkit.fit(**{**QUICK, "model": "doubling"}, device="cpu", progress=False, registry=registry)
    assert isinstance(done.load(device="cpu").net, Doubling)
    net = done.load(device="cpu").net.train()
    net.one.eval()
    scores = srkit.score(net, "samples", scale=2, metrics="psnr")
    assert (scores.model, scores.parameters) == ("Doubling", 336)
    assert scores.scores == srkit.score(done, "samples", metrics="psnr").scores
    assert (net.training, net.one.training) == (True, False), "a module is given back in the modes it had"


def test_scores_are_those_of_bench(run_srkit):
    code, out, _ = run_srkit("bench", "--models", "bicubic", "--sets", "samples", "--scales", 3, "--json")
    assert code == 0
    (row,) = json.loads(out)["rows"]
    scores = srkit.score("bicubic", "samples", 3)
    mine = scores.to_dict()
    pictures = mine.pop("pictures")
    assert {**mine, "seconds_per_image": 0} == {**row, "seconds_per_image": 0}
    assert [picture["name"] for picture in pictures] == ["chelsea", "coffee"]
    assert np.mean([picture["psnr"] for picture in pictures]) == pytest.approx(scores.scores["psnr"], abs=1e-12)
    assert scores.pictures[0].scores == {key: pictures[0][key] for key in ("psnr", "ssim")}
    json.dumps(scores.to_dict(), allow_nan=False)


def test_scores_show_themselves_with_their_protocol():
    bicubic, lanczos = (srkit.score(name, "samples", 2, progress=False) for name in ("bicubic", "lanczos"))
    heading, _, row = str(bicubic).splitlines()
    assert "PSNR (y)" in heading
    assert row.split()[:3] == ["bicubic", "x2", "samples"]
    assert [line.split()[0] for line in bicubic.table(lanczos).splitlines()[2:]] == ["bicubic", "lanczos"]
    assert repr(bicubic).startswith("<bicubic x2 on samples, 2 pictures, protocol y: PSNR ")
    assert bicubic._repr_html_().startswith("<table><tr><th>model</th>")
    rgb = srkit.score("bicubic", "samples", 2, protocol="rgb", progress=False)
    with pytest.raises(UsageError, match="scores of two protocols cannot be compared in one table: rgb and y"):
        bicubic.table(rgb)
    with pytest.raises(UsageError, match="scores by other metrics: psnr, ssim and psnr"):
        bicubic.table(srkit.score("bicubic", "samples", 2, metrics="psnr", progress=False))


def test_pairs_and_callables_are_scored(photo):
    def nearest(lr: torch.Tensor) -> torch.Tensor:
        return nn.functional.interpolate(lr, scale_factor=2)

    pairs = [Pair(name="cat", lr=None, hr=photo[:80, :90]), Pair(name="ear", lr=None, hr=photo[50:120, 40:110])]
    scores = srkit.score(nearest, pairs, scale=2, name="ours")
    assert (scores.model, scores.dataset, scores.parameters) == ("ours", "pairs", 0)
    assert scores.scores == srkit.score("nearest", pairs, 2).scores
    same = srkit.score(lambda lr: torch.tensor(photo).permute(2, 0, 1)[None, :, :80, :90] / 255, pairs[:1], 2)
    assert same.scores["psnr"] == float("inf")
    assert same.to_dict()["pictures"] == [{"name": "cat", "psnr": None, "ssim": pytest.approx(1)}]
    upscaler = srkit.load("bicubic", ensemble=True)
    assert srkit.score(upscaler, pairs).model == "bicubic+"
    wrong = {
        "say scale=2": (nearest, pairs, None, {}),
        "'bicubic.' upscales x2, not x3": (upscaler, pairs, 3, {}),
        "the Upscaler computes on": (upscaler, pairs, None, {"device": "cpu"}),
        "a model is a name, a path, an Upscaler or a callable, not int": (3, pairs, 2, {}),
        "not of ndarray": ("bicubic", [photo], 2, {}),
        "a sequence of srkit.Pair, not dict": ("bicubic", {"cat": photo}, 2, {}),
        "no metric to score by": ("bicubic", pairs, 2, {"metrics": []}),
        "no protocol called 'Y'; did you mean 'y'": ("bicubic", pairs, 2, {"protocol": "Y"}),
        "no dataset called 'sample'; did you mean 'samples'": ("bicubic", "sample", 2, {}),
    }
    for words, (model, dataset, scale, more) in wrong.items():
        with pytest.raises(UsageError, match=words):
            srkit.score(model, dataset, scale, **more)
    with pytest.raises(DataError, match="the dataset has no pictures"):
        srkit.score("bicubic", [], 2)
    with pytest.raises(OutputError, match="'cat': '<lambda>' x2 makes 45x40 of 45x40 pixels, not 90x80"):
        srkit.score(lambda lr: lr, pairs, 2)


def test_the_keywords_of_fit_are_the_keys_of_a_run():
    assert set(RunValues.__annotations__) == {*scalar_options(), *OWN_KEYS}


def test_progress_is_lines_without_a_terminal_and_can_be_silent(monkeypatch, capsys):
    monkeypatch.setattr(shown, "QUIET_SECONDS", 0.0)
    monkeypatch.setattr(shown, "PLAIN_SECONDS", 0.0)
    srkit.score("bicubic", "samples", 2)
    out, err = capsys.readouterr()
    assert (out, err.splitlines()[-1]) == ("", "scoring bicubic  2/2  samples  0s left")
    srkit.score("bicubic", "samples", 2, progress=False)
    srkit.fit(**QUICK, progress=False)
    assert capsys.readouterr() == ("", "")


def test_in_a_notebook_progress_is_one_line_changed_in_place(monkeypatch, capsys):
    """IPython itself is a stand-in here; tests/docs runs a real kernel where one is installed."""
    outputs: list[list[dict[str, str]]] = []

    def display(thing, display_id):
        assert display_id is True
        versions = [thing._repr_mimebundle_()]
        outputs.append(versions)
        return SimpleNamespace(update=lambda thing: versions.append(thing._repr_mimebundle_()))

    stand_in = SimpleNamespace(get_ipython=lambda: SimpleNamespace(kernel=object()))
    stand_in.display = SimpleNamespace(display=display)
    monkeypatch.setitem(sys.modules, "IPython", stand_in)
    monkeypatch.setitem(sys.modules, "IPython.display", stand_in.display)
    monkeypatch.setattr(shown, "NOTEBOOK_SECONDS", 0.0)
    monkeypatch.setattr(sys, "stderr", io.StringIO())
    srkit.score("bicubic", "samples", 2)
    (versions,) = outputs
    assert versions[0]["text/plain"].startswith("scoring bicubic  1/2  samples")
    assert versions[-1]["text/html"].startswith('<progress value="2" max="2"></progress> scoring bicubic  2/2')
    assert sys.stderr.getvalue() == ""


def test_a_recipe_is_a_run_by_name(registry):
    from srkit.recipes import run_file
    from srkit.train.start import planned

    run = planned(registry, "edsr-baseline-x2", {"steps": 7, "data": "samples", "validation": "samples"})
    assert run.steps == 7
    assert run.batch == read_run_file(run_file("edsr-baseline-x2", registry)).get("batch", 16)
