"""`srkit ray upscale`. What needs Ray skips where that is not installed: `make ray-test` has an environment for it."""

import importlib.util
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import closing, nullcontext
from pathlib import Path
from types import SimpleNamespace
from typing import get_type_hints

import numpy as np
import pytest
from PIL import Image
from srkit_ray import command
from srkit_ray.bench import keep, results_folder
from srkit_ray.manifest import Manifest, done_in, lines_of
from srkit_ray.places import WORK, Place, results_of
from srkit_ray.upscale import check
from srkit_ray.worker import Worker

import srkit
from srkit.cli import run as command_line
from srkit.cli.upscale import upscale

pytest_plugins = "srkit.testing.pytest_plugin"

RAY = importlib.util.find_spec("ray") is not None
needs_ray = pytest.mark.skipif(not RAY, reason="Ray is not installed; make ray-test")
MODEL = "edsr-small"


def test_it_keeps_the_contract(srkit_check):
    srkit_check("command", "ray")


def picture(path: Path, seed: int, size: tuple[int, int] = (32, 24)) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.random.default_rng(seed).integers(0, 256, (*size[::-1], 3), np.uint8)).save(path)
    return path


def album(folder: Path, count: int) -> Path:
    """Pictures in two folders, two of one name, one in 16 bits, one that is broken, and a note."""
    for number in range(count):
        picture(folder / ("sub" if number % 3 else "") / f"p{number:03}.png", number, (24 + number % 5, 20))
    picture(folder / "p000.jpg", 1)
    Image.fromarray(np.arange(400, dtype=np.uint16).reshape(20, 20) * 100).save(folder / "deep.png")
    (folder / "bad.png").write_bytes(b"\x89PNG\r\n\x1a\nand nothing more")
    (folder / "note.txt").write_text("no picture")
    (folder / ".hidden.png").write_bytes(b"")
    return folder


def run(*words: object, **more: object) -> subprocess.CompletedProcess:
    line = [sys.executable, "-m", "srkit", *map(str, words)]
    return subprocess.run(line, capture_output=True, text=True, timeout=900, **more)


def files_of(folder: Path) -> dict[str, bytes]:
    """Name -> bytes of all that is in a folder, hidden files too, but the manifest."""
    paths = [path for path in folder.rglob("*") if path.is_file() and not path.name.startswith("manifest-")]
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in paths}


def manifest_of(folder: Path) -> dict[str, dict]:
    return {line["input"]: line for _, line in lines_of(Place(str(folder))) if "input" in line}


# what needs no Ray


def test_results_are_named_as_the_command_names_them(tmp_path):
    album(tmp_path / "in", 5)
    picture(tmp_path / "in" / "p000.png_bicubic_x2.png", 3)  # of an earlier call
    names = Place(str(tmp_path / "in")).pictures(Place(str(tmp_path / "out")))
    made = results_of(names, "bicubic", "x2", ".png")
    srkit.load("bicubic", 2)
    done = run("upscale", tmp_path / "in", "-o", tmp_path / "out", "--model", "bicubic", "--scale", 2)
    assert done.returncode == 1  # the broken one
    assert sorted(files_of(tmp_path / "out")) == sorted(name for name in made.values() if not name.startswith("bad"))


def test_results_inside_the_folder_are_no_inputs(tmp_path):
    picture(tmp_path / "a.png", 0)
    picture(tmp_path / "out" / "old.png", 0)
    picture(tmp_path / "outside" / "b.png", 0)
    found = Place(str(tmp_path)).pictures(Place(str(tmp_path / "out")))
    assert found == ["a.png", "outside/b.png"]


@pytest.mark.parametrize("word", ["nothing-here", "photo.png"])
def test_a_folder_that_is_none(tmp_path, word):
    picture(tmp_path / "photo.png", 0)
    with pytest.raises(srkit.SrkitError, match=word):
        Place(str(tmp_path / word)).pictures(Place(str(tmp_path / "out")))


def test_a_folder_without_pictures(tmp_path):
    (tmp_path / "note.txt").write_text("none")
    with pytest.raises(srkit.UsageError, match="no pictures in"):
        Place(str(tmp_path)).pictures(Place(str(tmp_path / "out")))


def test_an_address_of_an_unknown_kind():
    with pytest.raises(srkit.UsageError, match="gopher"):
        Place("gopher://old/photos").pictures(Place("out"))


def line(name: str, error: str = "") -> dict:
    return {"input": name, "output": f"x_{name}", "width": 1, "height": 1, "seconds": 0.1, "error": error}


@pytest.mark.parametrize("kind", ["local", "memory"])
def test_the_manifest_goes_on_and_its_last_word_counts(tmp_path, kind):
    place = Place(str(tmp_path / "out") if kind == "local" else f"memory://{tmp_path.name}")
    for number, lines in enumerate([[line("a"), line("b", "broken")], [line("b"), line("c", "broken")]]):
        done, last = done_in(place, {"model": "m"})
        assert (done, last) == ((set(), 0), ({"a"}, 1))[number]
        manifest = Manifest(place, {"model": "m"}, last)
        for each in lines:
            manifest.add(each)
        manifest.close()
    assert done_in(place, {"model": "m"}) == ({"a", "b"}, 2)
    assert [name for name in place.files() if name.startswith("manifest")] == [
        "manifest-00001.jsonl", "manifest-00002.jsonl",
    ]  # fmt: skip


def test_a_line_that_was_cut_off_is_passed_over(tmp_path):
    manifest = Manifest(Place(str(tmp_path)), {}, 0)
    manifest.add(line("a"))
    manifest.close()
    with open(tmp_path / "manifest-00001.jsonl", "a") as file:
        file.write('{"input": "b", "outp')
    assert done_in(Place(str(tmp_path)), {}) == ({"a"}, 1)


def test_results_of_other_options_are_refused(tmp_path):
    manifest = Manifest(Place(str(tmp_path)), {"model": "edsr", "scale": 2.0}, 0)
    manifest.add(line("a"))
    manifest.close()
    with pytest.raises(srkit.UsageError, match=r"scale was 2\.0 and is 4\.0; strength was None and is 0\.5"):
        done_in(Place(str(tmp_path)), {"model": "edsr", "scale": 4.0, "strength": 0.5})


def here(capsys, *words: object) -> tuple[int, str]:
    """(exit code, what stderr said) of a command in this process."""
    code = command_line([str(word) for word in words])
    return code, capsys.readouterr().err


WRONG = [
    ["--receipt", "sidecar"], ["--protect", "mask.png"], ["--model", "edsr-smal"], ["--cores", "0"], ["--gpus", "1.5"],
    ["--scale", "0"], ["--scale", "nan"], ["--depth", "9"], ["--profile", "CMYK"], ["--range", "bright"],
    ["--strength", "2"], ["--tile", "-1"], ["--fit", "large"],
]  # fmt: skip


@pytest.mark.parametrize("words", WRONG, ids=" ".join)
def test_wrong_words_cost_no_start_of_ray(tmp_path, capsys, words):
    picture(tmp_path / "in" / "a.png", 0)
    code, told = here(capsys, "ray", "upscale", tmp_path / "in", tmp_path / "out", *words)
    assert code == 2
    assert len(told.strip().splitlines()) == 1
    assert words[0].strip("-") in told
    assert words[1] in told
    assert not (tmp_path / "out").exists()


def test_a_size_that_one_picture_has_not_is_no_wrong_word(capsys):
    upscaler = srkit.load(MODEL, device="cpu")
    check(upscaler, {"paper": "A2"})
    check(upscaler, {"width": 30_000})


@pytest.mark.parametrize("way", ["a file", "in a file", "busy"])
def test_a_folder_that_cannot_be_had_costs_no_start_of_ray(tmp_path, capsys, way):
    picture(tmp_path / "in" / "a.png", 0)
    (tmp_path / "file").write_text("in the way")
    out = {"a file": tmp_path / "file", "in a file": tmp_path / "file/out", "busy": tmp_path / "out"}[way]
    with Place(str(out)).held() if way == "busy" else nullcontext():
        code, told = here(capsys, "ray", "upscale", tmp_path / "in", out, "--model", "bicubic")
    assert code == 1
    assert f"'{out}'" in told.splitlines()[-1]
    assert ("another command writes" if way == "busy" else "cannot be written") in told.splitlines()[-1]
    assert not list(tmp_path.glob("out/.*")), "the lock goes with the command"


def test_other_files_called_manifest_are_none(tmp_path):
    (tmp_path / "manifest-of-photos.jsonl").write_text('{"input": "a"}\n')
    assert done_in(Place(str(tmp_path)), {}) == (set(), 0)


def test_two_commands_at_one_address_have_manifests_of_their_own(tmp_path):
    place = Place(f"memory://{tmp_path.name}")
    one, two = Manifest(place, {}, 0), Manifest(place, {}, 0)
    for name, manifest in (("a", one), ("b", two), ("c", one)):
        manifest.add(line(name))
    one.close()
    two.close()
    assert done_in(place, {}) == ({"a", "b", "c"}, 2)


FULL = """
import resource, sys
from srkit_ray.manifest import Manifest
from srkit_ray.places import Place
resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))
manifest = Manifest(Place(sys.argv[1]), {}, 0)
try:
    while True:
        manifest.add({"input": "a" * 100, "error": ""})
except Exception as error:
    print(type(error).__name__, error)
finally:
    manifest.close()
"""


@pytest.mark.skipif(sys.platform == "win32", reason="no limits of files")
def test_a_manifest_that_cannot_be_written_is_told_in_a_line(tmp_path):
    done = subprocess.run([sys.executable, "-c", FULL, str(tmp_path)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    path = tmp_path / "manifest-00001.jsonl"
    assert done.stdout == f"OutputError '{path}' cannot be written: File too large; the same command goes on\n"
    assert done_in(Place(str(tmp_path)), {}) == ({"a" * 100}, 1)


def test_an_error_has_the_names_that_the_user_knows(tmp_path):
    worker = Worker.__new__(Worker)
    worker.task = SimpleNamespace(source=Place("s3://photos"), target=Place(str(tmp_path)))
    row = {"input": "sub/a.png", "output": "sub/a_x2.png"}
    copy, made = tmp_path / "work/in/a.png", tmp_path / "work/a_x2.png"
    problem = srkit.OutputError(f"'{copy}': cannot write '{made}': full")
    assert worker.told(problem, row, tmp_path / "work") == (
        f"'s3://photos/sub/a.png': cannot write '{tmp_path / 'sub/a_x2.png'}': full"
    )


#: Options of srkit upscale that a folder has no use for, and what this command calls otherwise.
NOT_HERE = {
    "photos", "out", "name", "overwrite", "skip_existing", "repeat", "wrapper", "device", "confidence", "dry_run"
}  # fmt: skip


def options_of(function: Callable[..., None]) -> dict[str, tuple]:
    """Name -> (how it is written, least, most)."""
    hints = get_type_hints(function, include_extras=True)
    found = {name: hint.__metadata__[0] for name, hint in hints.items() if hasattr(hint, "__metadata__")}
    return {name: (each.param_decls, each.min, each.max) for name, each in found.items()}


def test_the_options_are_those_of_the_command():
    ours, theirs = options_of(command.upscale), options_of(upscale)
    assert set(theirs) - set(ours) == NOT_HERE
    assert set(ours) - set(theirs) == {"source", "target", "workers", "cores", "gpus", "address", "dashboard"}
    assert {name: ours[name] for name in ours.keys() & theirs} == {name: theirs[name] for name in ours.keys() & theirs}


# Ray on this machine


@needs_ray
def test_bytes_are_those_of_the_command_and_a_second_run_does_the_rest(tmp_path):
    source, out = album(tmp_path / "in", 9), tmp_path / "out"
    plain = run("upscale", source, "-o", tmp_path / "plain", "--model", MODEL, "--scale", 2)
    assert plain.returncode == 1
    first = run("ray", "upscale", source, out, "--model", MODEL, "--scale", 2)
    assert first.returncode == 1, first.stderr
    assert "bad.png" in first.stderr
    assert "Traceback" not in first.stderr
    assert files_of(out) == files_of(tmp_path / "plain")
    rows = manifest_of(out)
    assert len(rows) == 12
    assert [name for name, row in rows.items() if row["error"]] == ["bad.png"]
    assert (rows["p000.jpg"]["width"], rows["p000.jpg"]["height"]) == (64, 48)
    (source / "bad.png").unlink()
    picture(source / "new.png", 7)
    again = run("ray", "upscale", source, out, "--model", MODEL, "--scale", 2, "--json")
    assert again.returncode == 0, again.stderr
    assert "11 of 12 were done before" in again.stderr
    assert [json.loads(text)["input"] for text in again.stdout.splitlines()] == ["new.png"]


def started(source: Path, out: Path) -> subprocess.Popen:
    line = [sys.executable, "-m", "srkit", "ray", "upscale", str(source), str(out), "--model", MODEL]
    return subprocess.Popen(line, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def wait_for(count: int, out: Path, process: subprocess.Popen) -> None:
    for _ in range(3000):
        if len(manifest_of(out)) >= count:
            return
        assert process.poll() is None
        time.sleep(0.1)
    raise AssertionError("no results in five minutes")


def workers_of(driver: int) -> list[int]:
    """The processes of actors that a driver's Ray has."""
    import psutil

    return [
        each.pid
        for each in psutil.Process(driver).children(recursive=True)
        if any("MapWorker" in word for word in each.cmdline())
    ]


@needs_ray
def test_a_worker_and_the_driver_killed(tmp_path):
    source, out = tmp_path / "in", tmp_path / "out"
    for number in range(60):
        picture(source / f"p{number:03}.png", number, (160, 120))
    process = started(source, out)
    wait_for(4, out, process)
    workers = workers_of(process.pid)
    assert workers
    os.kill(workers[0], signal.SIGKILL)
    wait_for(20, out, process)
    process.send_signal(signal.SIGKILL)
    process.wait()
    before = len(manifest_of(out))
    assert before < 60
    again = run("ray", "upscale", source, out, "--model", MODEL)
    assert again.returncode == 0, again.stderr
    lines = [line for _, line in lines_of(Place(str(out))) if "input" in line]
    assert len(lines) == len({line["input"] for line in lines}) == 60
    assert not any(line["error"] for line in lines)
    assert not [path for path in out.iterdir() if path.name.startswith(WORK)]
    plain = run("upscale", source, "-o", tmp_path / "plain", "--model", MODEL)
    assert plain.returncode == 0
    assert files_of(out) == files_of(tmp_path / "plain")


@needs_ray
def test_interrupted_in_a_line_and_gone_on_with(tmp_path):
    source, out = tmp_path / "in", tmp_path / "out"
    for number in range(150):
        picture(source / f"p{number:03}.png", number, (160, 120))
    line = [sys.executable, "-m", "srkit", "ray", "upscale", str(source), str(out), "--model", MODEL]
    process = subprocess.Popen(line, stderr=subprocess.PIPE, text=True, start_new_session=True)
    wait_for(4, out, process)
    os.killpg(process.pid, signal.SIGSTOP)  # else it may be done before the other command has started
    busy = run("ray", "upscale", source, out, "--model", MODEL)
    os.killpg(process.pid, signal.SIGCONT)
    os.killpg(process.pid, signal.SIGINT)  # to all, as a terminal does
    _, told = process.communicate(timeout=300)
    assert process.returncode == 130
    assert told.splitlines()[-1] == "srkit: interrupted"
    assert "Traceback" not in told
    assert not [path.name for path in out.iterdir() if path.name.startswith(".")]
    assert busy.returncode == 1
    assert "another command writes into" in busy.stderr.splitlines()[-1]
    before = len(manifest_of(out))
    again = run("ray", "upscale", source, out, "--model", MODEL)
    assert again.returncode == 0, again.stderr
    assert f"{before} of 150 were done before" in again.stderr
    assert len(manifest_of(out)) == 150


DEADLY = """
import os, torch
from srkit import Model, hookimpl

srkit_api = 1

class Net(torch.nn.Module):  # kills its process where a picture is white
    def forward(self, lr):
        if lr.min() > 0.99:
            os.kill(os.getpid(), 9)
        return lr.repeat_interleave(2, 2).repeat_interleave(2, 3)

def build(scale):
    return Net()

@hookimpl
def srkit_models():
    return [Model(name="deadly", build=build, scales=(2,), trainable=False)]
"""


@needs_ray
def test_a_picture_that_kills_its_worker_each_time_is_a_line(tmp_path, install):
    """Ray begins such work again for ever: ray-project/ray 41258, 51946."""
    install("srkit-deadly", DEADLY)
    source, out = tmp_path / "in", tmp_path / "out"
    for number in range(5):
        picture(source / f"p{number}.png", number)
    Image.new("RGB", (32, 24), "white").save(source / "p2.png")
    there = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path), "SRKIT_PLUGINS": "srkit-ray,srkit-deadly"}
    done = run("ray", "upscale", source, out, "--model", "deadly", "--scale", 2, env=there)
    assert done.returncode == 1, done.stderr
    errors = {name: row["error"] for name, row in manifest_of(out).items()}
    assert sorted(errors) == [f"p{number}.png" for number in range(5)]
    assert errors.pop("p2.png").startswith("a worker died with it 3 times")
    assert not any(errors.values())
    assert len(files_of(out)) == 4


@pytest.fixture(scope="module")
def bucket(tmp_path_factory):
    """The address of a bucket in an object store on this machine, and how to reach it."""
    pytest.importorskip("moto", reason="moto is not installed; make ray-test")
    import s3fs

    with closing(socket.socket()) as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    server = subprocess.Popen(
        [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    own = {
        "AWS_ENDPOINT_URL": f"http://127.0.0.1:{port}", "AWS_ACCESS_KEY_ID": "key", "AWS_SECRET_ACCESS_KEY": "secret",
        "AWS_DEFAULT_REGION": "us-east-1",
    }  # fmt: skip
    system = s3fs.S3FileSystem(key="key", secret="secret", endpoint_url=own["AWS_ENDPOINT_URL"])
    for _ in range(600):
        try:
            system.mkdir("photos")
            break
        except Exception:
            time.sleep(0.1)
    yield system, os.environ | own
    server.kill()
    server.wait()


@needs_ray
def test_from_and_to_an_object_store(tmp_path, bucket):
    system, environment = bucket
    source = album(tmp_path / "in", 6)
    system.put(str(source), "photos/in", recursive=True)
    words = ["ray", "upscale", "s3://photos/in", "s3://photos/out", "--model", MODEL]
    first = run(*words, env=environment)
    assert first.returncode == 1, first.stderr
    assert "'s3://photos/in/bad.png' cannot be decoded" in first.stderr
    plain = run("upscale", source, "-o", tmp_path / "plain", "--model", MODEL)
    assert plain.returncode == 1
    system.invalidate_cache()
    system.get("photos/out", str(tmp_path / "got"), recursive=True)
    assert files_of(tmp_path / "got") == files_of(tmp_path / "plain")
    assert len(manifest_of(tmp_path / "got")) == 9
    again = run(*words, env=environment)
    assert "8 of 9 were done before" in again.stderr


@needs_ray
def test_a_worker_that_cannot_load_the_model_ends_it_in_a_line(tmp_path):
    picture(tmp_path / "in" / "a.png", 0)
    done = run("ray", "upscale", tmp_path / "in", tmp_path / "out", "--model", MODEL, "--cores", 64)
    assert done.returncode == 1
    assert "no worker of 64 cores" in done.stderr.splitlines()[-1]


def test_the_folder_of_results_is_one_for_all():
    words, folder = results_folder(["--models", "bicubic", "--results", "kept", "--json"])
    assert (words, folder) == (["--models", "bicubic", "--json"], Path("kept").absolute())
    assert results_folder(["--results=there"]) == ([], Path("there").absolute())


def test_lines_of_workers_are_kept_once(tmp_path):
    files = {"m-psnr.jsonl": '{"key": 1}\n{"picture": "a"}\n'}
    keep(files, tmp_path)
    keep(files | {"m-psnr.jsonl": '{"key": 1}\n{"picture": "b"}\n'}, tmp_path)
    assert (tmp_path / "m-psnr.jsonl").read_text() == '{"key": 1}\n{"picture": "a"}\n{"picture": "b"}\n'


@needs_ray
def test_a_benchmark_by_workers_has_the_same_table(tmp_path):
    words = ["--models", f"bicubic,{MODEL}", "--sets", "samples", "--scales", "2", "--csv"]
    plain = run("bench", *words, "--results", tmp_path / "one")
    assert plain.returncode == 0, plain.stderr
    spread = run("ray", "bench", *words, "--results", tmp_path / "two", "--parts", 3)
    assert spread.returncode == 0, spread.stderr

    def told(text: str) -> list[list[str]]:  # all but the seconds
        table = [line.split(",") for line in text.splitlines()]
        return [[cell for name, cell in zip(table[0], row, strict=True) if "seconds" not in name] for row in table]

    assert told(spread.stdout) == told(plain.stdout)
    assert sorted(p.name for p in (tmp_path / "one").glob("*-psnr-*")) == sorted(
        p.name for p in (tmp_path / "two").glob("*-psnr-*")
    )


TINY = [
    "--model", "edsr", "--set", "model.n_resblocks=1", "--set", "model.n_feats=4", "--set", "batch=4",
    "--set", "patch=16", "--set", "precision=fp32", "--set", "validate_every=1000", "--device", "cpu",
    "--save-every", "0.1s",
]  # fmt: skip


@needs_ray
def test_the_example_trains_by_two_ranks_and_one_that_is_lost_is_restarted(tmp_path):
    """examples/ray_train.py."""
    import psutil

    example = Path(__file__).parents[3] / "examples/ray_train.py"
    words = ["--workers", "2", "--", *TINY, "--steps", "100", "--out", "run"]
    log = (tmp_path / "log").open("w")
    process = subprocess.Popen([sys.executable, example, *words], cwd=tmp_path, stdout=log, stderr=subprocess.STDOUT)
    while process.poll() is None and not list(tmp_path.glob("run/state-*[1-9]*")):
        time.sleep(0.1)
    told = (tmp_path / "log").read_text()
    assert process.poll() is None, told
    ranks = [each for each in psutil.Process(process.pid).children(recursive=True) if "RayTrainWorker" in each.name()]
    assert ranks, told
    ranks[-1].kill()
    assert process.wait(600) == 0, (tmp_path / "log").read_text()
    told = (tmp_path / "log").read_text()
    log.close()
    assert "rank 1 of 2" in told
    assert "resumed at step" in told
    assert "100 of 100 steps done" in told
