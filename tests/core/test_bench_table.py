"""The long table of a benchmark: written, read again, and told apart from others."""

import math
from dataclasses import replace
from pathlib import Path

import pytest

from srkit.errors import DataError, UsageError
from srkit.evaluate.table import Cost, MetricInfo, ModelInfo, Results, Score, SetInfo, fingerprint, read_results


@pytest.fixture
def table() -> Results:
    scores = [
        Score("edsr", 2, "set5", "baby", "psnr", "y", 37.5, weights="ab", seconds=0.2),
        Score("edsr", 2, "set5", "bird", "psnr", "y", math.inf),
        Score("edsr", 2, "set5", "head", "psnr", "y", None, error="out of memory"),
    ]
    return Results(
        scores,
        [Cost("edsr", 2, "latency", 0.1, size="1280x720", conditions={"threads": "2"})],
        [MetricInfo("psnr", unit="dB", digits=4)],
        [ModelInfo("edsr", 2, claims={"set5 y psnr": 37.5})],
        [SetInfo("set5", 2, 5, "cd", left_out={"tiny": "too small"}, groups={"flat": ["baby"]})],
        {"srkit": "0.2.0"},
    )


def test_what_is_written_is_read_again(tmp_path: Path, table: Results) -> None:
    file = tmp_path / "table.json"
    file.write_text(table.to_json())
    read = read_results(file)
    assert (read.scores, read.costs, read.metrics, read.models, read.sets) == (
        table.scores, table.costs, table.metrics, table.models, table.sets,
    )  # fmt: skip
    assert read.about == {"srkit": "0.2.0", "protocol": "y"}
    assert read.values("edsr", 2, "set5", "psnr") == {"baby": 37.5, "bird": math.inf}


def test_two_protocols_are_refused(table: Results) -> None:
    mixed = replace(table, scores=[*table.scores, replace(table.scores[0], protocol="rgb")])
    with pytest.raises(UsageError, match="rgb and y"):
        mixed.to_json()


def test_the_fingerprint_is_of_protocol_metrics_and_sets_and_not_of_models(table: Results) -> None:
    renamed = replace(table, scores=[replace(score, model="other") for score in table.scores])
    assert fingerprint(renamed) == fingerprint(table)
    other_pictures = replace(table, sets=[replace(table.sets[0], content="ef")])
    assert fingerprint(other_pictures) != fingerprint(table)


@pytest.mark.parametrize("text", ["", "[]", '{"about": {}}', '{"about": {"format": "other"}}', "\0"])
def test_another_file_is_named(tmp_path: Path, text: str) -> None:
    file = tmp_path / "x.json"
    file.write_text(text)
    with pytest.raises(DataError, match=r"x\.json"):
        read_results(file)
