"""`srkit upscale` over many pictures and large ones: killed, interrupted, without room, with others that fail."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from srkit import imresize, read_rgb
from srkit.files import lock_of, locked
from srkit.upscale import render, scratch

WORDS = ["--model", "edsr-small", "--scale", "2", "--tile", "32", "--device", "cpu"]
HOST = """
import sys, time
from srkit.upscale import render
drawn = render.drawn
def slowly(result, box):
    time.sleep(0.05)  # so that it is killed in the middle
    return drawn(result, box)
render.drawn = slowly
from srkit.cli import run
sys.exit(run(sys.argv[1:]))
"""


@pytest.fixture
def folder(photo, tmp_path):
    """Three photographs of 12 tiles each in `in`."""
    (tmp_path / "in").mkdir()
    for number, name in enumerate(("a.png", "b.png", "c.png")):
        Image.fromarray(photo[20 * number :][:90, : 115 - number]).save(tmp_path / "in" / name)
    return tmp_path / "in"


@pytest.fixture
def drawn(monkeypatch):
    """The boxes that are computed."""
    boxes, real = [], render.drawn

    def counted(result, box):
        boxes.append(box)
        return real(result, box)

    monkeypatch.setattr(render, "drawn", counted)
    return boxes


def hidden(folder: Path) -> list[str]:
    return [path.name for path in folder.rglob(".*")]


def test_killed_in_the_middle_of_a_folder_and_of_a_picture_the_second_run_does_only_the_rest(
    run_srkit, folder, tmp_path, drawn
):
    assert run_srkit("upscale", "in", "-o", "whole", *WORDS)[0] == 0
    assert len(drawn) == 3 * 12
    command = [sys.executable, "-c", HOST, "upscale", "in", "-o", "out", *WORDS]
    flags = tmp_path / "out" / ".b_edsr-small_x2.png.unfinished" / "tiles"
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True)
    while process.poll() is None and not (flags.is_file() and flags.read_bytes().count(1) >= 4):
        time.sleep(0.01)
    os.killpg(process.pid, signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    there = flags.read_bytes().count(1)
    assert 4 <= there < 12
    names = [f"{name}_edsr-small_x2.png" for name in "abc"]
    first = (tmp_path / "out" / names[0]).stat()

    drawn.clear()
    code, out, err = run_srkit("upscale", "in", "-o", "out", *WORDS)
    assert code == 0, err
    assert "1 of 3 were done before the last run was stopped; this one does the rest" in err
    assert f"b.png: {there} of 12 tiles are there from before" in err
    assert len(drawn) == 12 - there + 12
    assert out.count("\n") == 2
    assert (tmp_path / "out" / names[0]).stat() == first
    for name in names:
        assert (tmp_path / "out" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()
    assert hidden(tmp_path / "out") == []


def interrupt_at(monkeypatch, number):
    """Ctrl-C while the box of this number is computed."""
    count, real = 0, render.drawn

    def drawn(result, box):
        nonlocal count
        count += 1
        if count == number:
            raise KeyboardInterrupt
        return real(result, box)

    monkeypatch.setattr(render, "drawn", drawn)


def test_ctrl_c_is_one_line_and_the_next_run_goes_on(run_srkit, folder, tmp_path, monkeypatch):
    with monkeypatch.context() as patch:
        interrupt_at(patch, 12 + 5)
        code, out, err = run_srkit("upscale", "in", "-o", "out", *WORDS)
    assert code == 130
    *before, last = err.splitlines()
    assert last == "srkit: interrupted"
    assert all(line.startswith("srkit: edsr-small x2 from") or line == "srkit: in fp32, by PyTorch" for line in before)
    assert out.count("\n") == 1, "the first is done"
    assert [path.name for path in (tmp_path / "out").glob(".*")] == [".b_edsr-small_x2.png.unfinished"]
    code, _, err = run_srkit("upscale", "in", "-o", "out", *WORDS)
    assert code == 0, err
    assert "1 of 3 were done" in err
    assert "4 of 12 tiles are there from before" in err
    assert hidden(tmp_path / "out") == []


def test_what_other_options_began_is_begun_again(run_srkit, folder, monkeypatch, drawn, tmp_path):
    words = ["upscale", "in/a.png", "-o", "a.png", "--model", "edsr-small", "--scale", "2"]
    with monkeypatch.context() as patch:
        interrupt_at(patch, 5)
        assert run_srkit(*words, "--tile", "32")[0] == 130
    assert hidden(tmp_path) == [".a.png.unfinished", *hidden(tmp_path / ".a.png.unfinished")]
    drawn.clear()
    code, _, err = run_srkit(*words, "--tile", "32", "--strength", "0.5")
    assert code == 0
    assert "from before" not in err
    assert len(drawn) == 12
    assert hidden(tmp_path) == []


def test_what_was_begun_before_the_machine_was_started_again_is_not_trusted(run_srkit, folder, monkeypatch, drawn):
    words = ["upscale", "in/a.png", "-o", "a.png", *WORDS]
    with monkeypatch.context() as patch:
        interrupt_at(patch, 5)
        assert run_srkit(*words)[0] == 130
    monkeypatch.setattr(scratch, "boot", lambda: "another")
    drawn.clear()
    assert run_srkit(*words)[0] == 0
    assert len(drawn) == 12


def test_two_commands_do_not_write_one_picture(run_srkit, folder, tmp_path):
    with locked(lock_of(tmp_path / "a.png"), wait=False):
        code, _, err = run_srkit("upscale", "in/a.png", "-o", "a.png", "--model", "nearest")
    assert code == 1
    assert err.splitlines()[-1] == (
        "srkit: 'in/a.png': 'a.png' is being written by another srkit; wait for it, or name another file"
    )
    assert run_srkit("upscale", "in/a.png", "-o", "a.png", "--model", "nearest")[0] == 0


@pytest.fixture
def limit():
    """limit(bytes): no file may be larger, as on a full disk."""
    resource = pytest.importorskip("resource")
    before = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    yield lambda most: resource.setrlimit(resource.RLIMIT_FSIZE, (most, hard))
    resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    signal.signal(signal.SIGXFSZ, before)


def test_a_full_disk_is_one_line_before_any_work_and_leaves_nothing(run_srkit, folder, tmp_path, limit, drawn):
    limit(50_000)
    code, out, err = run_srkit("upscale", "in/a.png", "-o", "a.png", *WORDS)
    limit(10**9)
    assert (code, out, drawn) == (1, "", [])
    assert "MB of 'a.png' cannot be kept beside it while it is made" in err.splitlines()[-1]
    assert not (tmp_path / "a.png").exists()
    assert hidden(tmp_path) == []


def test_a_disk_that_is_full_at_the_end_keeps_what_is_computed(run_srkit, folder, tmp_path, monkeypatch, drawn):
    from srkit.errors import ImageError
    from srkit.upscale import file

    def full(target, *_):
        raise ImageError(f"cannot write '{target}': OSError: [Errno 28] No space left on device")

    words = ["upscale", "in/a.png", "-o", "a.png", *WORDS]
    with monkeypatch.context() as patch:
        patch.setattr(file, "write_pixels", full)
        code, _, err = run_srkit(*words)
    assert code == 1
    assert "No space left on device; its pixels are kept: the same command goes on from there" in err
    drawn.clear()
    assert run_srkit(*words)[0] == 0
    assert drawn == []
    assert hidden(tmp_path) == []


# --- one that fails -------------------------------------------------------------------------------------------------


def test_one_that_fails_costs_no_other_and_json_has_a_line_for_each(run_srkit, folder, tmp_path):
    (folder / "sub" / "deep").mkdir(parents=True)
    (folder / "bad.png").write_bytes(b"\x89PNG\r\n\x1a\n" + bytes(50))
    (folder / "c.png").rename(folder / "sub" / "deep" / "c d.png")
    code, out, err = run_srkit("upscale", "in", "-o", "out", "--model", "bicubic", "--json")
    assert code == 1
    assert err.splitlines()[-1] == "srkit: 1 of 4 pictures could not be upscaled"
    lines = [json.loads(line) for line in out.splitlines()]
    found = {line["source"]: line for line in lines}
    assert set(found) == {"in/a.png", "in/b.png", "in/bad.png", "in/sub/deep/c d.png"}
    assert "bad.png" in found["in/bad.png"]["error"]
    good = found["in/sub/deep/c d.png"]
    assert good["target"] == "out/sub/deep/c d_bicubic_x2.png"
    assert (good["width"], good["height"]) == (226, 180)
    assert good["seconds"] >= 0
    np.testing.assert_array_equal(read_rgb(good["target"]), imresize(read_rgb(good["source"]), 2))
    code, out, err = run_srkit("upscale", "in", "-o", "out", "--model", "bicubic", "--skip-existing")
    assert (code, out) == (1, "")
    assert "bad.png" in err, "why the only one that was left failed"


@pytest.mark.parametrize("place", ["read_picture", "render", "write_pixels"])
@pytest.mark.parametrize(
    ("error", "words"),
    [(MemoryError(), "out of memory\n"), (KeyError("a"), "unexpected KeyError: 'a' (SRKIT_DEBUG=1 shows where)\n")],
)
def test_an_error_that_nobody_foresaw_costs_one_picture(run_srkit, folder, tmp_path, monkeypatch, place, error, words):
    from srkit.upscale import file

    real = getattr(file, place)
    calls = []

    def failing(*args, **options):
        calls.append(place)
        if len(calls) == 2:
            raise error
        return real(*args, **options)

    monkeypatch.setattr(file, place, failing)
    code, out, err = run_srkit("upscale", "in", "-o", "out", "--model", "nearest")
    assert code == 1
    assert out.count("\n") == 2
    assert f"srkit: 'in/b.png': {words}" in err
    assert "1 of 3 pictures could not be upscaled" in err
    assert hidden(tmp_path / "out") == []
    with locked(lock_of(tmp_path / "out/b_nearest_x2.png"), wait=False):
        pass


def test_a_network_that_fails_leaves_no_hidden_file(run_srkit, folder, tmp_path, monkeypatch):
    real, boxes = render.drawn, []

    def failing(result, box):
        boxes.append(box)
        if len(boxes) == 3:
            raise ValueError("a plugin's own")
        return real(result, box)

    monkeypatch.setattr(render, "drawn", failing)
    code, _, err = run_srkit("upscale", "in/a.png", "-o", "a.png", *WORDS)
    assert code == 1
    assert err.splitlines()[-1].startswith("srkit: 'in/a.png': unexpected ValueError: a plugin's own")
    assert hidden(tmp_path) == []


# --- told in advance ------------------------------------------------------------------------------------------------


def test_a_dry_run_predicts_pixels_and_makes_nothing(run_srkit, folder, tmp_path):
    before = sorted(str(path) for path in tmp_path.rglob("*"))
    sizes = [
        ["--scale", "2.7"],
        ["--long-edge", "500"],
        ["--fit", "300x300"],
        ["--print", "5x7in", "--dpi", "60", "--crop"],
    ]
    for words in sizes:
        words = ["upscale", "in", "-o", "out", "--model", "bicubic", *words]
        code, out, _ = run_srkit(*words, "--dry-run", "--json")
        assert code == 0
        planned = [json.loads(line) for line in out.splitlines()]
        assert sorted(str(path) for path in tmp_path.rglob("*")) == before
        assert len(planned) == 3
        code, out, _ = run_srkit(*words, "--json")
        assert code == 0
        for plan, made in zip(planned, map(json.loads, out.splitlines()), strict=True):
            assert {key: plan[key] for key in ("source", "target", "width", "height")} == {
                key: made[key] for key in ("source", "target", "width", "height")
            }
            with Image.open(made["target"]) as image:
                assert image.size == (plan["width"], plan["height"])
                Path(made["target"]).unlink()
        (tmp_path / "out").rmdir()
    code, out, err = run_srkit("upscale", "in", *WORDS, "--dry-run")
    assert code == 0
    assert "a_edsr-small_x2.png  (115x90 -> 230x180), x2, 12 tiles of 30 pixels, " in out
    assert "3 pictures in about" in err
    (folder / "bad.png").write_text("no picture")
    code, _, err = run_srkit("upscale", "in", "--model", "bicubic", "--dry-run")
    assert code == 1
    assert "bad.png" in err
    assert "1 of 4 pictures could not be upscaled" in err


def test_a_network_is_measured_once_for_a_folder(run_srkit, folder, monkeypatch):
    from srkit.upscale import stages

    tried = []
    monkeypatch.setattr(stages, "TILE", 32)  # pictures that are smaller are not tried
    monkeypatch.setattr(stages, "bytes_of_a_pixel", lambda *_: tried.append(1) or 1e5)
    assert run_srkit("upscale", "in", "-o", "out", "--model", "edsr-small", "--scale", "2")[0] == 0
    assert len(tried) == 1
