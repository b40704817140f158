"""Every run writes log.jsonl: without a tracker, and once where the run names the tracker `jsonl` too."""

import json
from pathlib import Path

from srkit.train.log import JsonLines, with_log


def test_the_log_is_written_once_whatever_the_run_names(registry, tmp_path):
    other = object()
    named = registry.choose("tracker", "jsonl").build(tmp_path)
    trackers = with_log(tmp_path, [named, other])
    assert [type(tracker) for tracker in trackers] == [JsonLines, object]
    trackers[0].scalars(1, {"loss": 0.5})
    assert Path(tmp_path / "log.jsonl").read_text() == '{"step": 1, "loss": 0.5}\n'


def test_a_resumed_run_overwrites_what_it_repeats(tmp_path):
    (log,) = with_log(tmp_path, [])
    for step in (1, 2, 3):
        log.scalars(step, {"loss": 1.0})
    with (tmp_path / "log.jsonl").open("a") as file:
        file.write('{"step": 4, "lo')  # cut off by a kill
    (again,) = with_log(tmp_path, [])
    again.scalars(2, {"loss": 2.0})
    lines = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    assert lines == [{"step": 1, "loss": 1.0}, {"step": 2, "loss": 2.0}]
