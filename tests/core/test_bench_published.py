"""Published figures are quoted only where they are comparable, with the document each was read from."""

import re
from collections import Counter
from dataclasses import replace

from srkit.evaluate.protocol import PROTOCOLS
from srkit.evaluate.published import beside, documents, quotes, read, sources, wide
from srkit.evaluate.statistics import standings
from srkit.evaluate.table import Results, Score, SetInfo


def measured(protocol: str = "y", images: int = 5, lr_maker: str = "", scale: int = 2) -> Results:
    scores = [Score("mine", scale, "set5", f"{i}", "psnr", protocol, 37.0 + i) for i in range(5)]
    return Results(scores, sets=[SetInfo("set5", scale, images, lr_maker=lr_maker)])


def test_every_figure_has_a_document_that_can_be_found():
    found = documents()
    for name, document in found.items():
        assert document.protocol in PROTOCOLS
        assert document.source
        assert document.address.startswith("https://github.com/") or name == "RCAN"
        assert re.fullmatch("[0-9a-f]{40}|", document.commit)
    assert {name for each in quotes() for name in each.documents} == set(found)


def test_figures_have_the_form_that_tables_print():
    for each in quotes():
        assert each.dataset in read()["images"]
        assert each.scale in (2, 3, 4, 8)
        for metric, text in each.figures.items():
            assert re.fullmatch(r"\d\d\.\d\d" if metric == "psnr" else r"0\.\d{4}", text), each


def test_no_method_stands_twice_in_one_document():
    for document in read()["document"]:
        rows = Counter((method, scale) for method, scale, *_ in document["rows"])
        assert max(rows.values()) == 1, document["name"]
        assert all(len(row) == 2 + len(document["sets"]) for row in document["rows"]), document["name"]


def test_documents_of_one_protocol_agree_on_what_they_both_have_but_for_known_places():
    """A slip in one of them shows here: a figure that two documents have is the same, or known to differ."""
    by_place: dict[tuple, set] = {}
    for each in quotes():
        by_place.setdefault((each.method, each.scale, each.dataset, each.protocol), set()).add(
            tuple(each.figures.items())
        )
    differing = {place[:3] for place, found in by_place.items() if len(found) > 1}
    assert differing == {("SRCNN", 2, "set14")}


def test_only_figures_of_the_protocol_that_was_measured_are_quoted():
    rows, notices = beside(measured("y"))
    assert not notices
    assert {row.protocol for row in rows} == {"y"}
    assert ("VDSR", "37.53") in {(row.method, row.figures["psnr"]) for row in rows}
    (bicubic,) = [row for row in beside(measured("y-uint8"))[0] if row.method == "bicubic"]
    assert (bicubic.figures["psnr"], bicubic.documents) == ("33.64", ("SelfExSR",))
    rows, notices = beside(measured("rgb"))
    assert (rows, notices) == ([], ["no published figures by protocol 'rgb'; there are some by y, y-uint8"])


def test_another_set_of_the_same_name_gets_none():
    assert beside(measured(images=4)) == (
        [], ["set5 x2: published figures are not comparable, the set has 4 pictures, the published one 5"],
    )  # fmt: skip
    rows, notices = beside(measured(lr_maker="Pillow bicubic"))
    assert rows == []
    assert "made by Pillow bicubic, the published ones by MATLAB's" in notices[0]
    assert beside(measured(lr_maker="MATLAB bicubic"))[0]


def test_scales_and_sets_that_were_not_measured_are_left_out():
    assert {(row.dataset, row.scale) for row in beside(measured(scale=3))[0]} == {("set5", 3)}
    assert beside(measured(scale=5)) == ([], [])
    own = replace(measured(), sets=[SetInfo("holidays", 2, 5)])
    assert beside(own) == ([], [])


def test_quoted_rows_are_no_part_of_the_results():
    results = measured()
    beside(results)
    assert list(standings(results, "set5", 2, "psnr")) == ["mine"]


def test_bicubic_of_the_published_y_uint8_table_is_what_srkit_measures(shared):
    """SelfExSR's 33.64, 30.39, 28.42 dB: the figures that the README of the reference data measures by y-uint8."""
    text = (shared / "README.md").read_text(encoding="utf-8")
    line = next(line for line in text.splitlines() if "luma rounded" in line)
    ours = [f"{float(cell):.2f}" for cell in re.findall(r"\d\d\.\d{4}", line)]
    theirs = [
        q.figures["psnr"] for q in quotes() if (q.method, q.dataset, q.protocol) == ("bicubic", "set5", "y-uint8")
    ]
    assert ours == theirs


def test_documents_that_agree_share_a_row():
    rows = [row for row in beside(measured())[0] if row.scale == 2]
    (rcan,) = [found for found in wide(rows) if found[0] == "RCAN"]
    assert rcan == ("RCAN", ("IRN", "RCAN"), {("set5", "psnr"): "38.27", ("set5", "ssim"): "0.9614"})
    lines = sources(rows)
    assert lines[0].startswith("[AdderNet] Chen et al.")
    assert any("xiaomi-automl/FALSR/blob/001c3bd1ebf9" in line for line in lines)
