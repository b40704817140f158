"""`srkit bench` by groups of pictures: measured, by folder, by a tag file; measured once; in every form."""

import csv
import io
import json
import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from srkit.errors import DataError, SrkitError
from srkit.evaluate import content
from srkit.evaluate.groups import group_scores
from srkit.evaluate.store import Store
from srkit.evaluate.table import MetricInfo, Results, Score, SetInfo
from srkit.evaluate.tags import left_over, read_tags, tagged

WORDS = ("--models", "bicubic,nearest", "--scales", 2, "--metrics", "psnr,ssim")


@pytest.fixture
def pictures(tmp_path: Path, photo: np.ndarray) -> Path:
    """Twelve pictures in two folders: dark ones of a room, flat ones of a street."""
    for number in range(12):
        part = photo[number * 9 :, number * 9 :][:64, :64]
        room = number < 6
        made = part // 8 if room else np.full_like(part, 150) + part // 64
        path = tmp_path / "places" / ("room" if room else "street") / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(made).save(path)
    return tmp_path / "places"


def test_groups_are_measured_once_and_folders_are_groups(run_srkit, pictures: Path, monkeypatch):
    code, out, err = run_srkit("bench", *WORDS, "--sets", pictures, "--groups", "--json")
    assert code == 0, err
    read = json.loads(out)
    groups = read["sets"][0]["groups"]
    assert groups["room/"] == [f"room/{n}" for n in range(6)]
    assert set(groups["dark"]) >= set(groups["room/"])
    assert set(groups["flat"]) >= set(groups["street/"])
    rows = {(row["model"], row["group"]): row for row in read["groups"]["rows"]}
    whole = {row["model"]: row for row in read["rows"]}
    one = rows["bicubic", "room/"]
    assert one["images"] == 6
    assert one["psnr_low"] <= one["psnr"] <= one["psnr_high"]
    assert one["psnr_difference"] == pytest.approx(one["psnr"] - whole["bicubic"]["psnr"])
    assert one["ssim_p"] is not None

    monkeypatch.setattr(content, "groups_in", lambda rgb: pytest.fail("it was measured again"))
    assert (
        json.loads(run_srkit("bench", *WORDS, "--sets", pictures, "--groups", "--json")[1])["groups"] == read["groups"]
    )
    assert json.loads(run_srkit("bench", *WORDS, "--sets", pictures, "--groups", "--scales", 3, "--json")[1])["groups"]


def test_a_tag_file_groups_pictures_and_what_is_left_over_is_said(run_srkit, pictures: Path, tmp_path: Path):
    lines = ["image,tag", "street/6.png,night,sky", "places/street/7,night", *[f"room/{n},night" for n in range(5)]]
    (tmp_path / "tags.csv").write_text("\n".join([*lines, "gone.png,sky", ""]))
    code, out, err = run_srkit("bench", *WORDS, "--sets", pictures, "--tags", tmp_path / "tags.csv", "--csv")
    assert code == 0, err
    rows = {(row["model"], row["group"]): row for row in csv.DictReader(io.StringIO(out))}
    assert rows.keys() == {(model, group) for model in ("bicubic", "nearest") for group in ("", "night", "sky")}
    assert [rows["nearest", group]["images"] for group in ("", "night", "sky")] == ["12", "7", "1"]
    assert rows["nearest", "sky"]["psnr_low"] == ""
    assert "1 name (gone) of no picture" in err
    assert "5 pictures (room/5, street/10, street/11, ...) of places without a tag" in err
    for form in ("", "--markdown"):
        _, text, _ = run_srkit("bench", *WORDS, "--sets", pictures, "--tags", tmp_path / "tags.csv", *form.split())
        row = next(line for line in text.splitlines() if "sky" in line)
        cells = [cell for cell in re.split(r"[|\s]+", row) if cell]
        assert cells[:5] == ["bicubic", "x2", "places", "sky", "1"]
        assert (cells[6], cells[-1]) == ("-", "-")
        assert "fewer than 5 pictures" in text
    assert run_srkit("bench", *WORDS, "--sets", pictures, "--groups", "--latex")[0] == 2


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("image,tag\na.png\n", "line 2: 'a.png' has no tag"),
        ("a,night\n\n,day\n", "line 3: no picture has no tag"),
        ("a.png,night\na,day\n", "line 2: 'a' is there already"),
        ("image,tag\n", "has no line"),
        ('a,"night\n', "it is no CSV"),
        (b"a,\xff\n", "it is no CSV in UTF-8"),
    ],
)
def test_a_fault_in_a_tag_file_is_one_line_that_names_file_and_line(tmp_path: Path, text, told: str):
    path = tmp_path / "tags.csv"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(DataError) as error:
        read_tags(path)
    assert told in str(error.value)
    assert str(path) in str(error.value)
    assert "\n" not in str(error.value)
    with pytest.raises(SrkitError, match=r"none\.csv"):
        read_tags(tmp_path / "none.csv")


def test_a_name_with_its_set_belongs_to_that_set_alone(tmp_path: Path):
    (tmp_path / "tags.csv").write_text("one/a,left\na,right\n")
    tags = read_tags(tmp_path / "tags.csv")
    assert tagged(tags, "one", ["a", "b"]) == {"left": ["a"]}
    assert tagged(tags, "two", ["a", "b"]) == {"right": ["a"]}
    assert left_over(tags, {"two": ["a"]}) == [f"'{tags.path}': 1 name (one/a) of no picture"]


def test_a_group_matters_where_its_pictures_score_otherwise_and_figures_are_remembered(tmp_path: Path):
    values = [30 + 0.1 * n for n in range(10)] + [20 + 0.1 * n for n in range(8)]
    names = [f"p{n}" for n in range(18)]
    scores = [Score("m", 2, "s", name, "psnr", "y", value) for name, value in zip(names, values, strict=True)]
    groups = {"low": names[10:], "mixed": names[::2], "few": names[:4], "gone": ["other"]}
    results = Results(scores, (), [MetricInfo("psnr")], (), [SetInfo("s", 2, 18, groups=groups)])
    found = {one.group: one for one in group_scores(results, ["psnr"], Store(tmp_path))}
    assert {group: one.matters for group, one in found.items()} == {"low": True, "mixed": False, "few": None}
    assert found["low"].apart == pytest.approx(np.mean(values[10:]) - np.mean(values))
    assert found["few"].interval.low is None

    from scipy.stats import mannwhitneyu

    assert found["low"].p == pytest.approx(2 * mannwhitneyu(values[10:], values[:10]).pvalue)  # Holm, of two tests
    assert {one.group: one for one in group_scores(results, ["psnr"], Store(tmp_path))} == found
    assert len((tmp_path / "facts.jsonl").read_text().splitlines()) == 3
