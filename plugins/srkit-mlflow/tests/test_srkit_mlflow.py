"""What MLflow's own client finds after a run is what `log.jsonl` and `run.toml` say."""

import json
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from srkit import PluginError

SMALL = [
    "--device", "cpu", "--set", "model.n_resblocks=1", "--set", "model.n_feats=4", "--set", "batch=2",
    "--set", "patch=8", "--set", "validate_every=10", "--set", "lr=1e-3",
]  # fmt: skip


@pytest.fixture(scope="module")
def empty(tmp_path_factory) -> Path:
    """A store with MLflow's tables and nothing in them, which takes a second to make."""
    pytest.importorskip("sqlalchemy")
    mlflow = pytest.importorskip("mlflow")
    path = tmp_path_factory.mktemp("mlflow") / "mlflow.db"
    mlflow.MlflowClient(f"sqlite:///{path}").search_experiments()
    return path


@pytest.fixture(autouse=True)
def client(tmp_path, monkeypatch, empty):
    from mlflow import MlflowClient

    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.setattr("srkit.train.keeper.LOG_EVERY", 20)
    with closing(sqlite3.connect(empty)) as made, closing(sqlite3.connect(tmp_path / "mlflow.db")) as copy:
        made.backup(copy)
    return MlflowClient(f"sqlite:///{tmp_path / 'mlflow.db'}")


def only_run(client):
    (run,) = client.search_runs([client.get_experiment_by_name("srkit").experiment_id])
    return run


def found(client) -> list[tuple[str, int, float]]:
    run = only_run(client)
    return sorted(
        (m.key, m.step, m.value) for k in run.data.metrics for m in client.get_metric_history(run.info.run_id, k)
    )


def expected(folder: Path) -> list[tuple[str, int, float]]:
    lines = [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]
    return sorted((key, line["step"], value) for line in lines for key, value in line.items() if key != "step")


def pictures(client) -> dict[int, np.ndarray]:
    run_id = only_run(client).info.run_id
    paths = [item.path for item in client.list_artifacts(run_id, "images") if item.path.endswith(".png")]
    read = {int(p.split("+step+")[1].split("+")[0]): client.download_artifacts(run_id, p) for p in paths}
    assert len(read) == len(paths)
    return {step: np.asarray(Image.open(path)) for step, path in sorted(read.items())}


def test_figures_pictures_and_settings_are_those_of_the_run(run_srkit, tmp_path, client):
    code, _, err = run_srkit("train", *SMALL, "--set", "tracker=mlflow", "--steps", "40", "--out", "a run")
    assert code == 0, err
    assert {(key, step) for key, step, _ in found(client)} == {
        *((key, step) for key in ("loss", "lr") for step in (20, 40)), *(("psnr_y", s) for s in (10, 20, 30, 40)),
    }  # fmt: skip
    assert found(client) == expected(tmp_path / "a run")
    shown = pictures(client)
    assert list(shown) == [10, 20, 30, 40]
    (last,) = (tmp_path / "a run" / "images").iterdir()
    assert np.array_equal(shown[40], np.asarray(Image.open(last)))
    run = only_run(client)
    assert (run.info.run_name, run.info.status) == ("a run", "FINISHED")
    settings = run.data.params
    assert (settings["model.n_feats"], settings["loss.0.name"], settings["lr"]) == ("4", "srkit:l1", "0.001")


def test_a_resumed_run_has_each_point_once(run_srkit, tmp_path, client):
    """It goes on at step 24 twice: after a stop, and as after a kill, with points later than the checkpoint."""
    words = ["train", *SMALL, "--set", 'tracker=["mlflow"]']
    assert run_srkit(*words, "--steps", "24", "--out", "run")[0] == 0
    first = only_run(client).info.run_id
    state = tmp_path / "run" / "state-00000024.safetensors"
    early = state.read_bytes()
    assert run_srkit("train", "--resume", "run", "--steps", "52")[0] == 0
    before = found(client)
    assert before == expected(tmp_path / "run")
    assert only_run(client).info.run_id == first
    for later in (tmp_path / "run").glob("state-*"):
        later.unlink()
    state.write_bytes(early)
    text = (tmp_path / "run" / "run.toml").read_text()
    (tmp_path / "run" / "run.toml").write_text(text.replace("lr = 0.001", "lr = 0.002"))  # so that the points differ
    code, _, err = run_srkit("train", "--resume", "run", "--steps", "42")
    assert code == 0
    assert "resumed at step 24" in err
    after = found(client)
    assert after == expected(tmp_path / "run")
    assert [p for p in after if p[1] <= 24] == [p for p in before if p[1] <= 24]
    assert {step for _, step, _ in after} == {10, 20, 24, 30, 40, 42}
    assert list(pictures(client)) == [10, 20, 24, 30, 40, 42]
    assert client.get_run(first).info.lifecycle_stage == "deleted"


def test_a_history_longer_than_one_request_is_carried_over_whole(tmp_path, client):
    from mlflow.entities import Metric
    from srkit_mlflow.tracker import MLflow

    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "run.toml").write_text("scale = 2\n")
    first = MLflow(tmp_path / "run")
    first.scalars(1, {"loss": 1.0, "lr": 0.1})
    values = [("loss", 1 / step, step) for step in range(2, 1100)] + [("lr", 0.1, step) for step in range(2, 1100)]
    first.write([Metric(name, value, 0, step) for name, value, step in values])
    again = MLflow(tmp_path / "run")
    again.scalars(1050, {"loss": 7.0})
    again.close()
    losses = [(step, value) for key, step, value in found(client) if key == "loss"]
    assert losses == [*((step, 1 / step) for step in range(1, 1050)), (1050, 7.0)]


def test_options_and_a_training_that_fails(run_srkit, tmp_path, client, monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path / 'mlflow.db'}")
    words = [*SMALL, "--set", 'tracker=[{name="mlflow", images=false}]', "--set", "lr=1e5", "--steps", "400"]
    assert run_srkit("train", *words, "--set", "validate_every=1", "--out", "deep/run")[0] == 1
    run = only_run(client)
    assert run.info.status == "FAILED"
    assert client.list_artifacts(run.info.run_id) == []
    code, _, err = run_srkit("train", *SMALL, "--set", 'tracker=[{name="mlflow", uri="odd://x"}]', "--steps", "1")
    assert code == 1
    assert "tracker 'srkit-mlflow:mlflow' cannot be built" in err.splitlines()[-1]


def test_runs_begun_at_once_share_a_new_store(tmp_path):
    """One in another process, one in this."""
    from mlflow import MlflowClient
    from srkit_mlflow.tracker import MLflow

    script = """if True:
        import sys, srkit_mlflow.tracker as t
        print("ready", flush=True)
        sys.stdin.readline()
        t.MLflow(sys.argv[1]).scalars(1, {"loss": 0.5})
    """
    for name in "ab":
        (tmp_path / "new" / name).mkdir(parents=True)
        (tmp_path / "new" / name / "run.toml").write_text("scale = 2\n")
    words = [sys.executable, "-c", script, str(tmp_path / "new" / "a")]
    with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout.readline() == "ready\n"
        other.stdin.write("go\n")
        other.stdin.flush()
        MLflow(tmp_path / "new" / "b").scalars(1, {"loss": 0.5})
    assert other.returncode == 0
    client = MlflowClient(f"sqlite:///{tmp_path / 'new' / 'mlflow.db'}")
    runs = client.search_runs([client.get_experiment_by_name("srkit").experiment_id])
    assert sorted((run.info.run_name, run.data.metrics["loss"]) for run in runs) == [("a", 0.5), ("b", 0.5)]


@pytest.mark.parametrize("name", ["50% näive #1 run's", "why?"])
def test_folders_with_odd_names(tmp_path, name):
    from srkit_mlflow.tracker import MLflow

    (tmp_path / name).mkdir()
    if "?" in name:  # an SQLite address ends there
        with pytest.raises(PluginError, match="for the '\\?'"):
            MLflow(tmp_path / name / "run")
    else:
        MLflow(tmp_path / name / "run")
    assert (tmp_path / name / "mlflow.db").exists() == ("?" not in name)


def test_listing_it_imports_neither_torch_nor_mlflow():
    script = (
        "import sys, srkit; assert srkit.load_plugins().find('tracker', 'mlflow')\n"
        "print([name for name in ('torch', 'mlflow') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_without_the_library_there_is_one_line_and_no_folder(run_srkit, tmp_path, monkeypatch):
    monkeypatch.delitem(sys.modules, "srkit_mlflow.tracker", raising=False)
    monkeypatch.setitem(sys.modules, "mlflow", None)
    code, _, err = run_srkit("train", *SMALL, "--set", "tracker=mlflow", "--steps", "1", "--out", "run")
    assert code == 1
    assert err.count("\n") == 1
    assert "pip install mlflow-skinny" in err
    assert not (tmp_path / "run").exists()
