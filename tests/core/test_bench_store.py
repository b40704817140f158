"""What a benchmark keeps: found again, shared by processes, and never trusted where it is not whole."""

import logging
import math
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from srkit.evaluate.compute import Work
from srkit.evaluate.plan import Plan
from srkit.evaluate.protocol import protocol_named
from srkit.evaluate.store import Kept, Store, file_name

KEY = {"scale": 2, "protocol": "y", "metric": {"name": "srkit:psnr"}, "subject": {"model": {"name": "srkit:edsr"}}}


def test_values_are_found_again(tmp_path: Path):
    store = Store(tmp_path / "results")
    store.keep(KEY, "aa", "baby", Kept(37.25, 0.5, 100, "cpu"))
    store.keep(KEY, "bb", "flat", Kept(math.inf))
    store.remember(["size", 3], {"of": [1, 2]})
    again = Store(tmp_path / "results")
    assert again.kept(KEY) == {"aa": Kept(37.25, 0.5, 100, "cpu"), "bb": Kept(math.inf)}
    assert again.recall(["size", 3]) == {"of": [1, 2]}
    assert again.recall(["size", 4]) is None
    assert again.kept(KEY | {"protocol": "rgb"}) == {}
    assert file_name(KEY).startswith("edsr-x2-y-psnr-")


def test_without_a_folder_nothing_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    store = Store(None)
    store.keep(KEY, "aa", "baby", Kept(1.0))
    assert store.kept(KEY) == {"aa": Kept(1.0)}
    assert not list(tmp_path.iterdir())


def test_lines_that_are_not_whole_are_passed_over_and_said(tmp_path: Path, caplog: pytest.LogCaptureFixture):
    store = Store(tmp_path)
    store.keep(KEY, "aa", "baby", Kept(1.0))
    store.keep(KEY, "bb", "bird", Kept(2.0))
    file = tmp_path / file_name(KEY)
    whole = file.read_bytes()
    file.write_bytes(whole[:-20] + b'\n\xff\xfe\x00\n[1]\n{"picture": "cc", "value": "none"}\n' + whole[-90:-30])
    with caplog.at_level(logging.WARNING, "srkit"):
        again = Store(tmp_path)
        assert again.kept(KEY) == {"aa": Kept(1.0)}
    assert "not whole" in caplog.text
    again.keep(KEY, "dd", "head", Kept(4.0))
    assert Store(tmp_path).kept(KEY) == {"aa": Kept(1.0), "dd": Kept(4.0)}, "what follows half a line is a line"


def test_two_processes_write_at_once(tmp_path: Path):
    program = (
        "import sys; from pathlib import Path; from srkit.evaluate.store import Kept, Store\n"
        f"store = Store(Path({str(tmp_path)!r}))\n"
        "for i in range(300): store.keep("
        f"{KEY!r}, f'{{sys.argv[1]}} {{i}}', 'x' * 200, Kept(float(i)))"
    )
    running = [subprocess.Popen([sys.executable, "-c", program, name]) for name in ("one", "two")]
    assert [each.wait(60) for each in running] == [0, 0]
    kept = Store(tmp_path).kept(KEY)
    assert len(kept) == 600
    assert all(one.value == float(key.split()[1]) for key, one in kept.items())


def test_a_folder_that_cannot_be_written_costs_the_keeping_only(tmp_path: Path, caplog: pytest.LogCaptureFixture):
    (tmp_path / "file").write_text("")
    store = Store(tmp_path / "file" / "results")
    with caplog.at_level(logging.WARNING, "srkit"):
        store.keep(KEY, "aa", "baby", Kept(1.0))
        store.keep(KEY, "bb", "bird", Kept(2.0))
    assert len(store.kept(KEY)) == 2
    assert caplog.text.count("are not kept") == 1


def test_the_digest_of_a_file_follows_its_content(tmp_path: Path):
    file = tmp_path / "a.png"
    store = Store(tmp_path / "results")
    file.write_bytes(b"one")
    os.utime(file, (1_700_000_000, 1_700_000_000))
    first = store.sha256(file)
    file.write_bytes(b"two")
    os.utime(file, (1_700_000_000, 1_700_000_000))
    assert store.sha256(file) != first


def test_the_time_left_is_of_each_models_own_pace():
    plan = Plan([], [], protocol_named("y"), Store(None))
    work = Work(plan, torch.device("cpu"), {}, {}, waiting={1: 10, 2: 10, 3: 4})
    assert work.left is None, "nothing is known yet"
    work.pace = {1: (0.4, 2), 2: (9.8, 1)}
    assert work.left == pytest.approx(10 * 0.2 + 10 * 9.8 + 4 * 5.0), "the third at the mean of the others"
