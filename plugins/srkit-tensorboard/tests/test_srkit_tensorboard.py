"""What TensorBoard's own reader finds in a run's folder is what `log.jsonl` says."""

import io
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

SMALL = [
    "--device", "cpu", "--set", "model.n_resblocks=1", "--set", "model.n_feats=4", "--set", "batch=2",
    "--set", "patch=8", "--set", "validate_every=10", "--set", "lr=1e-3",
]  # fmt: skip


def read(folder: Path):
    """TensorBoard's reader over a run's folder, keeping all points."""
    accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    events = accumulator.EventAccumulator(str(folder), size_guidance={accumulator.SCALARS: 0, accumulator.IMAGES: 0})
    return events.Reload()


def found(folder: Path) -> set[tuple[str, int, np.float32]]:
    events = read(folder)
    points = [(tag, p.step, np.float32(p.value)) for tag in events.Tags()["scalars"] for p in events.Scalars(tag)]
    assert len(points) == len(set(points)), "a point is there twice"
    return set(points)


def expected(folder: Path) -> set[tuple[str, int, np.float32]]:
    lines = [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]
    return {(tag, line["step"], np.float32(value)) for line in lines for tag, value in line.items() if tag != "step"}


def pictures(folder: Path) -> dict[int, np.ndarray]:
    events = read(folder)
    (tag,) = events.Tags()["images"]
    return {i.step: np.asarray(Image.open(io.BytesIO(i.encoded_image_string))) for i in events.Images(tag)}


@pytest.fixture(autouse=True)
def library(monkeypatch):
    pytest.importorskip("tensorboard")
    monkeypatch.setattr("srkit.train.keeper.LOG_EVERY", 20)


def test_figures_and_pictures_are_those_of_the_log(run_srkit, tmp_path):
    """Of each loss too, where there are several."""
    words = ("train", *SMALL, "--set", 'loss=["l1", "l2"]', "--set", "tracker=tensorboard", "--steps", "40")
    code, _, err = run_srkit(*words, "--out", "run")
    assert code == 0, err
    assert {(tag, step) for tag, step, _ in found(tmp_path / "run")} == {
        *((tag, step) for tag in ("loss", "loss_l1", "loss_l2", "lr") for step in (20, 40)),
        *(("psnr_y", step) for step in (10, 20, 30, 40)),
    }
    assert found(tmp_path / "run") == expected(tmp_path / "run")
    shown = pictures(tmp_path / "run")
    assert list(shown) == [10, 20, 30, 40]
    (last,) = (tmp_path / "run" / "images").iterdir()
    assert np.array_equal(shown[40], np.asarray(Image.open(last)))
    assert not np.array_equal(shown[10], shown[40])


def test_a_resumed_run_has_each_point_once(run_srkit, tmp_path):
    """It goes on from step 24 as after a kill: with points in the event file that come after the checkpoint."""
    words = ["train", *SMALL, "--set", 'tracker=["tensorboard"]']
    assert run_srkit(*words, "--steps", "24", "--out", "run")[0] == 0
    state = tmp_path / "run" / "state-00000024.safetensors"
    early = state.read_bytes()
    assert run_srkit("train", "--resume", "run", "--steps", "52")[0] == 0
    before = found(tmp_path / "run")
    assert before == expected(tmp_path / "run")
    for later in (tmp_path / "run").glob("state-*"):
        later.unlink()
    state.write_bytes(early)
    text = (tmp_path / "run" / "run.toml").read_text()
    (tmp_path / "run" / "run.toml").write_text(text.replace("lr = 0.001", "lr = 0.002"))  # so that the points differ
    code, _, err = run_srkit("train", "--resume", "run", "--steps", "42")
    assert code == 0
    assert "resumed at step 24" in err
    after = found(tmp_path / "run")
    assert after == expected(tmp_path / "run")
    assert {p for p in after if p[1] <= 24} == {p for p in before if p[1] <= 24}
    assert {step for _, step, _ in after} == {10, 20, 24, 30, 40, 42}
    assert list(pictures(tmp_path / "run")) == [10, 20, 24, 30, 40, 42]


def test_pictures_can_be_fewer_or_none(run_srkit, tmp_path):
    for name, option in (("some", "images_every=2"), ("none", "images=false")):
        tracker = f'tracker=[{{name="tensorboard", {option}}}]'
        assert run_srkit("train", *SMALL, "--set", tracker, "--steps", "40", "--out", name)[0] == 0
    assert list(pictures(tmp_path / "some")) == [10, 30]
    assert read(tmp_path / "none").Tags()["images"] == []


def test_listing_it_imports_neither_torch_nor_tensorboard():
    script = (
        "import sys, srkit; assert srkit.load_plugins().find('tracker', 'tensorboard')\n"
        "print([name for name in ('torch', 'tensorboard') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_without_the_library_there_is_one_line_and_no_folder(run_srkit, tmp_path, monkeypatch):
    for name in [name for name in sys.modules if name.startswith(("torch.utils.tensorboard", "srkit_tensorboard.w"))]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "tensorboard", None)
    code, _, err = run_srkit("train", *SMALL, "--set", "tracker=tensorboard", "--steps", "1", "--out", "run")
    assert code == 1
    assert err.count("\n") == 1
    assert "pip install tensorboard" in err
    assert not (tmp_path / "run").exists()
