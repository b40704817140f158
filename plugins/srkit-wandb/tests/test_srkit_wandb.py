"""What W&B keeps of a run, read from its own files, is what `log.jsonl` and `run.toml` say."""

import json
import os
import subprocess
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

SMALL = [
    "--device", "cpu", "--set", "model.n_resblocks=1", "--set", "model.n_feats=4", "--set", "batch=2",
    "--set", "patch=8", "--set", "validate_every=10", "--set", "lr=1e-3",
]  # fmt: skip


@pytest.fixture(autouse=True)
def offline(tmp_path, monkeypatch):
    pytest.importorskip("wandb")
    for name in [name for name in os.environ if name.startswith("WANDB_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))  # nobody is logged in
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("WANDB_X_DISABLE_STATS", "true")
    monkeypatch.setattr("srkit.train.keeper.LOG_EVERY", 20)


def records(path: Path):
    """What a .wandb file holds: a head of 7 bytes, then records in LevelDB's log format, each one of W&B's messages."""
    from wandb.proto.wandb_internal_pb2 import Record

    data, place, begun = path.read_bytes(), 7, b""
    while place + 7 <= len(data):
        if (left := -place % 2**15) < 7:  # blocks of 32 KiB; no head of a record is cut
            place += left
            continue
        size, kind = int.from_bytes(data[place + 4 : place + 6], "little"), data[place + 6]
        begun += data[place + 7 : place + 7 + size]
        place += 7 + size
        if kind in (1, 4):  # whole, or the last part of one
            yield Record.FromString(begun)
            begun = b""


def sessions(folder: Path) -> list[Path]:
    """Each session's file, once it is whole: a process of W&B's own writes it."""
    files = sorted(folder.glob("wandb/offline-run-*/run-*.wandb"))
    last = time.monotonic() + 60
    while not all(any(record.HasField("exit") for record in records(file)) for file in files):
        assert time.monotonic() < last
        time.sleep(0.1)
    return files


def rows(files: list[Path]) -> list[dict]:
    """The rows of the history, without what W&B itself adds; of a picture its path in the session's `files`."""
    found = []
    for record in (record for file in files for record in records(file) if record.HasField("history")):
        row = {tuple(item.nested_key) or (item.key,): json.loads(item.value_json) for item in record.history.item}
        pictures = {key[0]: Path(value) for key, value in row.items() if key[1:] == ("path",)}
        numbers = {key[0]: value for key, value in row.items() if len(key) == 1 and key[0][0] != "_"}
        found.append({**numbers, **pictures})
    return found


def points(files: list[Path]) -> list[tuple[str, int, float]]:
    return sorted(
        (name, row["step"], value)
        for row in rows(files)
        for name, value in row.items()
        if name != "step" and not isinstance(value, Path)
    )


def pictures(files: list[Path]) -> list[tuple[int, np.ndarray]]:
    return [
        (row["step"], np.asarray(Image.open(file.parent / "files" / value)))
        for file in files
        for row in rows([file])
        for value in row.values()
        if isinstance(value, Path)
    ]


def expected(folder: Path) -> list[tuple[str, int, float]]:
    lines = [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]
    return sorted((key, line["step"], value) for line in lines for key, value in line.items() if key != "step")


def run_id(folder: Path) -> str:
    return json.loads((folder / "wandb-run.json").read_text())["id"]


def test_figures_pictures_and_settings_are_those_of_the_run(run_srkit, tmp_path):
    two = 'loss=[{name="l1"}, {name="l2", weight=0.1}]'
    words = ["train", *SMALL, "--set", "tracker=wandb", "--set", two, "--steps", "40", "--out", "a run"]
    code, _, err = run_srkit(*words)
    assert code == 0, err
    (file,) = files = sessions(tmp_path / "a run")
    found = points(files)
    assert found == expected(tmp_path / "a run")
    assert {(name, step) for name, step, _ in found} >= {
        *((name, step) for name in ("loss", "loss_l1", "loss_l2", "lr") for step in (20, 40)),
        *(("psnr_y", step) for step in (10, 20, 30, 40)),
    }
    shown = pictures(files)
    assert [step for step, _ in shown] == [10, 20, 30, 40]
    (last,) = (tmp_path / "a run" / "images").iterdir()
    assert np.array_equal(shown[-1][1], np.asarray(Image.open(last)))
    (run,) = (record.run for record in records(file) if record.HasField("run"))
    assert (run.project, run.display_name, run.run_id) == ("srkit", "a run", run_id(tmp_path / "a run"))
    config = {item.key: json.loads(item.value_json) for item in run.config.update}
    assert (config["model"]["n_feats"], config["loss"][0]["name"], config["lr"]) == (4, "srkit:l1", 0.001)
    assert {m.step_metric for r in records(file) if (m := r.metric).glob_name == "*"} == {"step"}
    (exit_code,) = (record.exit.exit_code for record in records(file) if record.HasField("exit"))
    assert exit_code == 0


def test_a_resumed_run_goes_on_in_the_same_and_has_each_point_once(run_srkit, tmp_path):
    """It goes on after a stop at step 24, and as after a kill: with points later than the checkpoint."""
    folder = tmp_path / "run"
    words = ["train", *SMALL, "--set", 'tracker=["wandb"]']
    assert run_srkit(*words, "--steps", "24", "--out", "run")[0] == 0
    first = run_id(folder)
    state, early = folder / "state-00000024.safetensors", (folder / "state-00000024.safetensors").read_bytes()
    assert run_srkit("train", "--resume", "run", "--steps", "52")[0] == 0
    assert points(sessions(folder)) == expected(folder)
    text = (folder / "run.toml").read_text()
    for steps, changed in (("52", text), ("42", text.replace("lr = 0.001", "lr = 0.002"))):
        for later in folder.glob("state-*"):
            later.unlink()
        state.write_bytes(early)
        (folder / "run.toml").write_text(changed)
        code, _, err = run_srkit("train", "--resume", "run", "--steps", steps)
        assert code == 0
        assert "resumed at step 24" in err
        if changed == text:  # the same steps again, to the last bit: they are there
            assert run_id(folder) == first
            assert points(sessions(folder)) == expected(folder)
            assert [step for step, _ in pictures(sessions(folder))] == [10, 20, 24, 30, 40, 50, 52]
    again = run_id(folder)  # other points: another run, with those before
    assert again != first
    theirs = [path for path in sessions(folder) if path.stem == f"run-{again}"]
    assert points(theirs) == expected(folder)
    assert {step for _, step, _ in points(theirs)} == {10, 20, 24, 30, 40, 42}
    assert [step for step, _ in pictures(theirs)] == [30, 40, 42]


def test_what_a_kill_took_is_written_at_the_resume(tmp_path, monkeypatch):
    from srkit_wandb import tracker

    folder = tmp_path / "run"
    folder.mkdir()
    script = """if True:
        import os, json, srkit_wandb.tracker as t
        from pathlib import Path
        run = t.WandB(Path.cwd())
        for step in (1, 2):
            with open("log.jsonl", "a") as log:
                log.write(json.dumps({"step": step, "loss": 1 / step}) + chr(10))
            run.scalars(step, {"loss": 1 / step})
        os.kill(os.getpid(), 9)
    """
    subprocess.run([sys.executable, "-c", script], cwd=folder, timeout=300)
    (killed,) = folder.glob("wandb/offline-run-*/run-*.wandb")
    killed.unlink()  # what W&B had not written yet, and on a slow machine has
    with (folder / "log.jsonl").open("a") as log:
        log.write('{"step": 3, "loss": 0.25}\n{"step": 4, "lo')
    monkeypatch.setattr(tracker, "SAFE_SECONDS", 0.0)
    again = tracker.WandB(folder)
    again.scalars(3, {"loss": 0.25})
    again.scalars(3, {"psnr_y": 30.0})
    assert json.loads((folder / "wandb-run.json").read_text())["safe"] == 2
    again.close()
    assert points(sessions(folder)) == [("loss", 1, 1.0), ("loss", 2, 0.5), ("loss", 3, 0.25), ("psnr_y", 3, 30.0)]
    about = json.loads((folder / "wandb-run.json").read_text())
    assert about["safe"] == 3


def test_pictures_can_be_left_out_and_a_training_that_fails_says_so(run_srkit, tmp_path):
    words = [*SMALL, "--set", 'tracker=[{name="wandb", images=false, project="denim"}]', "--set", "lr=1e5"]
    words += ["--steps", "400", "--set", "validate_every=1", "--out", "run"]
    assert run_srkit("train", *words)[0] == 1
    (file,) = sessions(tmp_path / "run")
    assert pictures([file]) == []
    (run,) = (record.run for record in records(file) if record.HasField("run"))
    (exit_code,) = (record.exit.exit_code for record in records(file) if record.HasField("exit"))
    assert (run.project, exit_code) == ("denim", 1)


def test_offline_nothing_is_asked_of_the_network(tmp_path):
    """Every address is a server here, that counts who calls, by W&B's own setting and as a proxy for all others."""
    calls = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            calls.append(self.path)
            self.send_error(404)

        do_POST = do_CONNECT = do_GET  # noqa: N815 - the base class finds them by these names

        def log_message(self, format, *args):  # noqa: A002 - its name in the base class
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        here = f"http://127.0.0.1:{server.server_address[1]}"
        proxies = dict.fromkeys(("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"), here)
        environment = {**os.environ, **proxies, "no_proxy": "", "NO_PROXY": ""}
        environment |= {"WANDB_BASE_URL": here, "WANDB_API_KEY": "0" * 40, "WANDB_INIT_TIMEOUT": "5"}
        script = "import srkit_wandb.tracker as t; run = t.WandB('.'); run.scalars(1, {'loss': 0.5}); run.close()"
        asked = {}
        for mode in ("offline", "online"):  # the second shows that the server does count
            (tmp_path / mode).mkdir()
            words = {"cwd": tmp_path / mode, "env": {**environment, "WANDB_MODE": mode}, "capture_output": True}
            done = subprocess.run([sys.executable, "-c", script], timeout=300, text=True, **words)
            asked[mode] = (done.returncode, len(calls))
        server.shutdown()
    assert asked["offline"] == (0, 0)
    assert asked["online"][0] == 1
    assert asked["online"][1] > 0
    assert points(sessions(tmp_path / "offline")) == [("loss", 1, 0.5)]
    assert "WANDB_MODE=offline" in done.stderr.splitlines()[-1]


def test_without_a_login_there_is_one_line_and_no_training(run_srkit, tmp_path, monkeypatch):
    monkeypatch.setenv("WANDB_MODE", "online")
    code, _, err = run_srkit("train", *SMALL, "--set", "tracker=wandb", "--steps", "50", "--out", "run")
    assert code == 1
    assert "wandb login" in err.splitlines()[-1]
    assert "WANDB_MODE=offline" in err.splitlines()[-1]
    assert not (tmp_path / "run" / "run.toml").exists()
    assert not list((tmp_path / "run").glob("state-*"))


def test_listing_it_imports_neither_torch_nor_wandb():
    script = (
        "import sys, srkit; assert srkit.load_plugins().find('tracker', 'wandb')\n"
        "print([name for name in ('torch', 'wandb') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_without_the_library_there_is_one_line_and_no_folder(run_srkit, tmp_path, monkeypatch):
    monkeypatch.delitem(sys.modules, "srkit_wandb.tracker", raising=False)
    monkeypatch.setitem(sys.modules, "wandb", None)
    code, _, err = run_srkit("train", *SMALL, "--set", "tracker=wandb", "--steps", "1", "--out", "run")
    assert code == 1
    assert err.count("\n") == 1
    assert "pip install wandb" in err
    assert not (tmp_path / "run").exists()
