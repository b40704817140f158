"""What trackio's own store holds after a run is what `log.jsonl` and `run.toml` say."""

import json
import os
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pytest
from PIL import Image

SMALL = [
    "--device", "cpu", "--set", "model.n_resblocks=1", "--set", "model.n_feats=4", "--set", "batch=2",
    "--set", "patch=8", "--set", "validate_every=50", "--set", "lr=1e-3",
]  # fmt: skip

HERE = find_spec("trackio") is not None
needs_trackio = pytest.mark.skipif(
    not HERE, reason="trackio is not installed here: make trackio-test makes an environment for it"
)


@pytest.fixture(scope="module", autouse=True)
def store():
    """trackio reads the folder of its store once, when it is imported."""
    with TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        patch.setenv("TRACKIO_DIR", folder)
        yield Path(folder)


@pytest.fixture(autouse=True)
def on_this_machine(monkeypatch, tmp_path):
    for name in ("TRACKIO_SPACE_ID", "TRACKIO_SERVER_URL", "HF_TOKEN", "HUGGING_FACE_HUB_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr("huggingface_hub.constants.HF_TOKEN_PATH", str(tmp_path / "no-token"))


def tracker(project: str, **options) -> str:
    """A project for each test: the store is one."""
    given = {"name": "trackio", "project": project, **options}
    return f"tracker=[{{{', '.join(f'{name}={json.dumps(value)}' for name, value in given.items())}}}]"


def only_run(project: str):
    from trackio.api import Api

    (run,) = Api().runs(project)
    return run


def rows(run) -> list[dict]:
    from trackio.sqlite_storage import SQLiteStorage

    return SQLiteStorage.get_logs(run.project, run.name, run_id=run.id)


def points(run) -> list[tuple[str, int, float]]:
    return sorted(
        (name, row["step"], value)
        for row in rows(run)
        for name, value in row.items()
        if name not in ("step", "timestamp") and not isinstance(value, dict)
    )


def pictures(run, store: Path) -> list[tuple[int, np.ndarray]]:
    found = [(row["step"], value) for row in rows(run) for value in row.values() if isinstance(value, dict)]
    return [(step, np.asarray(Image.open(store / "media" / value["file_path"]))) for step, value in found]


def expected(folder: Path) -> list[tuple[str, int, float]]:
    lines = [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]
    return sorted((key, line["step"], value) for line in lines for key, value in line.items() if key != "step")


@needs_trackio
def test_figures_pictures_and_settings_are_those_of_the_run(run_srkit, tmp_path, store):
    two = 'loss=[{name="l1"}, {name="l2", weight=0.1}]'
    words = ["train", *SMALL, "--set", tracker("whole"), "--set", two, "--steps", "200", "--out", "a run"]
    code, out, err = run_srkit(*words)
    assert code == 0, err
    assert "rackio" not in out + err
    run = only_run("whole")
    found = points(run)
    assert found == expected(tmp_path / "a run")
    assert {(name, step) for name, step, _ in found} >= {
        *((name, step) for name in ("loss", "loss_l1", "loss_l2", "lr") for step in (100, 200)),
        *(("psnr_y", step) for step in (50, 100, 150, 200)),
    }
    shown = pictures(run, store)
    assert [step for step, _ in shown] == [50, 100, 150, 200]
    (last,) = (tmp_path / "a run" / "images").iterdir()
    assert np.array_equal(shown[-1][1][..., :3], np.asarray(Image.open(last)))
    assert (shown[-1][1][..., 3] == 255).all()
    assert run.name.startswith("a run-")
    assert (run.config["model"]["n_feats"], run.config["loss"][0]["name"], run.config["lr"]) == (4, "srkit:l1", 0.001)


@needs_trackio
def test_a_resumed_run_goes_on_in_the_same_and_has_each_point_once(run_srkit, tmp_path, store):
    """It goes on after a stop at step 120, and as after a kill: with points later than the checkpoint."""
    from trackio.api import Api

    folder = tmp_path / "run"
    assert run_srkit("train", *SMALL, "--set", tracker("resumed"), "--steps", "120", "--out", "run")[0] == 0
    first = only_run("resumed").id
    state, early = folder / "state-00000120.safetensors", (folder / "state-00000120.safetensors").read_bytes()
    assert run_srkit("train", "--resume", "run", "--steps", "260")[0] == 0
    assert points(only_run("resumed")) == expected(folder)
    text = (folder / "run.toml").read_text()
    for steps, changed in (("260", text), ("210", text.replace("lr = 0.001", "lr = 0.002"))):
        for later in folder.glob("state-*"):
            later.unlink()
        state.write_bytes(early)
        (folder / "run.toml").write_text(changed)
        code, _, err = run_srkit("train", "--resume", "run", "--steps", steps)
        assert code == 0
        assert "resumed at step 120" in err
        if changed == text:  # the same steps again, to the last bit: they are there
            run = only_run("resumed")
            assert (run.id, points(run)) == (first, expected(folder))
            assert [step for step, _ in pictures(run, store)] == [50, 100, 120, 150, 200, 250, 260]
    (again,) = (run for run in Api().runs("resumed") if run.id != first)  # other points: another run
    assert points(again) == expected(folder)
    assert {step for _, step, _ in points(again)} == {50, 100, 120, 150, 200, 210}
    assert [step for step, _ in pictures(again, store)] == [150, 200, 210]


@needs_trackio
def test_what_a_kill_took_is_written_at_the_resume(tmp_path):
    from srkit_trackio.tracker import Trackio

    folder = tmp_path / "run"
    folder.mkdir()
    script = """if True:
        import os, sys, srkit_trackio.tracker as t
        from pathlib import Path
        Path("log.jsonl").write_text('{"step": 1, "loss": 0.5}\\n')
        t.Trackio(Path.cwd(), project="killed").scalars(1, {"loss": 0.5})
        os.kill(os.getpid(), 9)
    """
    subprocess.run([sys.executable, "-c", script], cwd=folder, timeout=300)
    assert json.loads((folder / "trackio-run.json").read_text())
    with (folder / "log.jsonl").open("a") as log:
        log.write('{"step": 2, "loss": 0.25}\n{"step": 3, "lo')
    again = Trackio(folder, project="killed")
    again.scalars(2, {"loss": 0.25})
    again.close()
    assert points(only_run("killed")) == [("loss", 1, 0.5), ("loss", 2, 0.25)]


@needs_trackio
def test_pictures_can_be_left_out(run_srkit, tmp_path, store):
    words = [*SMALL, "--set", tracker("bare", images=False), "--steps", "50", "--out", "run"]
    assert run_srkit("train", *words)[0] == 0
    assert pictures(only_run("bare"), store) == []


@needs_trackio
def test_on_this_machine_nothing_is_asked_of_the_network(tmp_path):
    """Every address is a server here that counts who calls: the hub's, and as a proxy all others."""
    calls = []

    class Handler(BaseHTTPRequestHandler):
        def handle_one_request(self):
            calls.append(self.rfile.readline())
            self.close_connection = True

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        here = f"http://127.0.0.1:{server.server_address[1]}"
        variables = dict.fromkeys(("HF_ENDPOINT", "http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"), here)
        environment = {**os.environ, **variables, "HF_TOKEN": "hf_right", "no_proxy": "", "NO_PROXY": ""}
        words = [sys.executable, "-m", "srkit", "train", *SMALL, "--set", tracker("alone"), "--steps", "50"]
        words += ["--out", "run"]
        done = subprocess.run(words, check=True, env=environment, capture_output=True, text=True, timeout=300)
        told = list(calls)
        ask = "import huggingface_hub; huggingface_hub.whoami()"  # the server does count
        subprocess.run([sys.executable, "-c", ask], env=environment, capture_output=True, timeout=300)
        server.shutdown()
    assert told == []
    assert calls
    assert "rackio" not in done.stdout + done.stderr


@needs_trackio
def test_without_a_login_there_is_one_line_and_no_training(run_srkit, tmp_path):
    words = [*SMALL, "--set", tracker("far", space="anna/denim"), "--steps", "50", "--out", "run"]
    code, _, err = run_srkit("train", *words)
    assert code == 1
    assert "anna/denim" in err.splitlines()[-1]
    assert "hf auth login" in err.splitlines()[-1]
    assert not (tmp_path / "run" / "run.toml").exists()
    assert not list((tmp_path / "run").glob("state-*"))


def test_listing_it_imports_neither_torch_nor_trackio():
    script = (
        "import sys, srkit; assert srkit.load_plugins().find('tracker', 'trackio')\n"
        "print([name for name in ('torch', 'trackio') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_without_the_library_there_is_one_line_and_no_folder(run_srkit, tmp_path, monkeypatch):
    monkeypatch.delitem(sys.modules, "srkit_trackio.tracker", raising=False)
    monkeypatch.setitem(sys.modules, "trackio", None)
    code, _, err = run_srkit("train", *SMALL, "--set", "tracker=trackio", "--steps", "1", "--out", "run")
    assert code == 1
    assert err.count("\n") == 1
    assert "pip install trackio" in err
    assert not (tmp_path / "run").exists()
