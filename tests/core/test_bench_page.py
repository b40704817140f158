"""The page of a benchmark: what it shows, that no name becomes markup, that a browser needs no network for it."""

import base64
import html
import io
import json
import math
import re
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from srkit.errors import SrkitError, UsageError
from srkit.evaluate.bench_crops import choose
from srkit.evaluate.bench_data import Shown
from srkit.evaluate.bench_page import page_of
from srkit.evaluate.bench_report import write_report
from srkit.evaluate.published import quotes, sources
from srkit.evaluate.table import Cost, MetricInfo, ModelInfo, Results, Score, SetInfo, read_results
from tests.browser import Browser, browser

EVIL = "<script>alert(1)</script>"
#: PSNR of the first picture, parameters, multiply-adds
MODELS = {
    "bicubic": (30.0, 0, 0),
    "small": (31.0, 2e5, 4.5e10),
    "large": (32.0, 4e7, 9e12),
    EVIL: (30.5, 1e6, 3e11),
}
IMAGES = [f"p{i}" for i in range(9)]
HOW = {"device": "cpu", "threads": "2", "processor": "A fast one", "runs": "5"}
VOID = ("img", "input", "meta", "br", "link", "hr")


def scores_of(model: str, base: float) -> list[Score]:
    found = []
    for i, image in enumerate(IMAGES):
        value = base + i + (0.01 * i * i if model == "large" else 0)
        found.append(Score(model, 2, "set<9>", image, "psnr", "y", value, seconds=0.25))
        found.append(Score(model, 2, "set<9>", image, "lpips", "y", 1 / value))
    return found


def costs_of(model: str, parameters: float, adds: float) -> list[Cost]:
    found = [Cost(model, 2, "parameters", parameters)]
    if adds:
        found += [
            Cost(model, 2, "multiply_adds", adds, size="1280x720", conditions={"lr": "640x360"}),
            Cost(model, 2, "latency", adds / 1e11, size="1280x720", conditions=HOW),
            Cost(model, 2, "latency_spread", adds / 1e12, size="1280x720", conditions=HOW),
            Cost(model, 2, "memory", adds / 1e3, size="1280x720", conditions=HOW),
        ]
    return found


@pytest.fixture(scope="module")
def results() -> Results:
    failed = Score("RCAN", 2, "set<9>", "p3", "psnr", "y", None, error="no picture <b>p3</b>")
    return Results(
        [score for model, (base, _, _) in MODELS.items() for score in scores_of(model, base)] + [failed],
        [cost for model, (_, *parts) in MODELS.items() for cost in costs_of(model, *parts)]
        + [Cost("large", 2, "latency", None, size="3840x2160", error="needs too much memory")],
        [MetricInfo("psnr", unit="dB", digits=4), MetricInfo("lpips", higher_is_better=False)],
        [
            ModelInfo(model, 2, "ab" * 32, "weights/a.safetensors", int(parameters), {"set<9> y psnr": 36.0}, "MIT")
            for model, (_, parameters, _) in MODELS.items()
        ],
        [SetInfo("set<9>", 2, 9, "cd" * 32, "sets/9", {"tiny": "too small"}, "MATLAB bicubic", {"flat": IMAGES[:6]})],
        {"srkit": "0.2.0", "command": f"srkit bench --images {EVIL}=x", "date": "2026-11-25"},
    )


@pytest.fixture(scope="module")
def crops() -> list[Shown]:
    black, white = np.zeros((64, 64, 3), np.uint8), np.full((64, 64, 3), 255, np.uint8)
    pixels = {"HR": white, "LR": white[::2, ::2], "bicubic": black, EVIL: white}
    figures = dict.fromkeys(pixels, "<b>1 dB</b>")
    return [Shown(f"{n}. {EVIL}: worst", pixels, figures, group) for n, group in ((1, ""), (2, ""), (3, "flat"))]


@pytest.fixture(scope="module")
def page(results: Results, crops: list[Shown]) -> str:
    return page_of(results, crops)


class Read(HTMLParser):
    """Tags, that all are closed, and tables as text."""

    def __init__(self, text: str):
        super().__init__()
        self.stack: list[str] = []
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str | None]] = []
        self.tables: list[list[list[str]]] = []
        self.feed(text)
        self.close()
        assert not self.stack

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += attrs
        if tag not in VOID:
            self.stack.append(tag)
        if tag == "table":
            self.tables.append([])
        elif tag == "tr":
            self.tables[-1].append([])
        elif tag in ("td", "th"):
            self.tables[-1][-1].append("")

    def handle_endtag(self, tag):
        assert self.stack.pop() == tag

    def handle_data(self, data):
        if "td" in self.stack or "th" in self.stack:
            self.tables[-1][-1][-1] += data + " "


def test_names_stay_text_and_nothing_is_from_elsewhere(page):
    read = Read(page)
    assert read.tags.count("script") == 2, "the data and the program"
    code = re.sub(r"base64,[\w+/=]+", "", page).replace("http://www.w3.org/2000/svg", "")
    assert not re.search(r"https?:|//\w|url\(|@import|\bfetch\(|XMLHttp", code)
    for name, value in read.attributes:
        assert not name.startswith("on")
        assert name not in ("src", "href") or (value or "").startswith(("data:", "#"))
    data = json.loads(re.search(r"id=data>(.*?)</script>", page, re.S)[1])
    assert EVIL in [row["model"] for row in data["columns"][0]["rows"]]
    for heading in ("Scores", "Quality and cost", "Where it fails", "Failures", "How this was made"):
        assert f">{heading}</h2>" in page


def test_the_tables_say_what_was_measured(page):
    tables = Read(page).tables
    head, *rows = tables[0]
    assert [text.strip() for text in head] == [
        "model", "scale", "set", "PSNR in dB", "LPIPS (lower is better)", "claimed PSNR", "parameters",
        "multiply-adds 1280x720", "latency 1280x720", "s/image", "error",
    ]  # fmt: skip
    small = next(row for row in rows if row[0] == "small ")
    assert small[3].split() == ["35.0000", "33.3333", "–", "36.6667"], "the mean, and its interval"
    assert small[5].split() == ["36", "measured", "-1.0000"]
    assert small[6:10] == ["200,000 ", "45.00 G ", "450 ms ", "0.250 "]
    failed = next(row for row in rows if row[0] == "RCAN ")
    assert failed[3] == "– "
    assert failed[-1] == "no picture <b>p3</b> "
    groups = next(table for table in tables if table[0][0] == "group ")
    assert groups[1][5].split()[:2] == ["33.5000", "-1.5000;"], "of 'small' on the six flat pictures"
    assert page.index("id=crop-2") < page.index("id=groups") < page.index("id=group-1") < page.index("id=failures")
    text = re.sub(r"<[^>]*>", " ", page)
    assert "Mann-Whitney" in text
    assert "tiny was scored by no model: too small" in text
    assert "cost of large x2: 3840x2160: needs too much memory" in text
    assert "MATLAB bicubic" in text
    assert "A fast one" in text


def test_a_table_of_one_model_without_costs_and_sets_is_a_page_too():
    one = Results([Score("a", 2, "s", "p", "psnr", "y", math.inf)], metrics=[MetricInfo("psnr")])
    page = page_of(one)
    assert [row[3] for row in Read(page).tables[0]] == ["PSNR ", "inf no interval: a score is not finite "]
    with pytest.raises(UsageError, match="two protocols"):
        page_of(Results([*one.scores, Score("a", 2, "s", "p", "psnr", "rgb", 1.0)], metrics=one.metrics))


def test_published_figures_are_apart_and_say_where_they_were_read():
    measured = Results([Score("a", 2, "set5", "p", "psnr", "y", 30.0)], metrics=[MetricInfo("psnr")])
    row = quotes()[0]
    page = page_of(measured, quoted=[row])
    text = re.sub(r"<[^>]*>", "", page)
    assert ">Published figures, quoted</h2>" in page
    assert row.method in [line[0].strip() for line in Read(page).tables[1]]
    assert sources([row])[0] in html.unescape(text)
    assert row.method not in [line[0].strip() for line in Read(page).tables[0]]
    assert "quoted</h2>" not in page_of(measured)


def test_the_pictures_to_look_at(results):
    found = choose(results)
    assert [(one.image, one.worst, one.models) for one in found] == [
        ("p0", True, ("large", "small", EVIL, "bicubic")),
        ("p8", False, ("large", "small", EVIL, "bicubic")),
        ("p1", True, ("large", "small", EVIL, "bicubic")),
        ("p7", False, ("large", "small", EVIL, "bicubic")),
        ("p0", True, ("large", "bicubic")),
        ("p1", True, ("large", "bicubic")),
    ], "RCAN has not all pictures; the last two are the worst of the group"
    assert [one.group for one in found] == [""] * 4 + ["flat"] * 2
    assert len([one for one in choose(results, most=13) if not one.group]) == 2


def test_a_folder_gets_the_page_the_table_and_plots_for_papers(results, tmp_path):
    pytest.importorskip("matplotlib")
    few = Results(results.scores, results.costs[:-1][:6], results.metrics, results.models, results.sets, results.about)
    written = write_report(few, tmp_path / "new" / "report")
    assert [path.name for path in written[:3]] == ["index.html", "table.json", "MODEL.md"]
    assert read_results(written[1]).scores == results.scores
    assert [path.name for path in written[3:]] == ["psnr-set_9_-x2-parameters.svg", "psnr-set_9_-x2-parameters.pdf"]
    assert "&lt;script&gt;" in written[3].read_text()
    assert written[4].read_bytes().startswith(b"%PDF")
    card = written[2].read_text()
    assert "## small x2\n\nWhat it was trained on is not recorded" in card
    assert "9 pictures: PSNR 35.0000 dB (33.3333 dB to 36.6667 dB); worst p0, 31.0000 dB." in card
    assert "Too few pictures to say: flat (6)." in card
    assert "RCAN" not in card, "it has no weights"
    assert all(word in card for word in ("who somebody is", "evidence", "diagnosis"))
    (tmp_path / "file").write_text("")
    with pytest.raises(SrkitError, match="cannot write into"):
        write_report(few, tmp_path / "file" / "report")


@pytest.fixture(scope="module")
def opened(page: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Browser, Path]]:
    folder = tmp_path_factory.mktemp("browser")
    (folder / "index.html").write_text(page)
    with browser(folder / "profile") as one:
        yield one, folder / "index.html"


@pytest.mark.parametrize("width", [1400, 400])
def test_a_browser_shows_it_light_and_dark_without_network(opened, tmp_path, width):
    one, file = opened
    seen = {}
    for dark in (False, True):
        one.open(file, width, dark=dark)
        assert one.run("document.documentElement.scrollWidth") <= width, "the page itself does not scroll sideways"
        assert one.run("document.querySelectorAll('#plot circle').length") == 3
        one.screenshot(tmp_path / "shot.png")
        with Image.open(tmp_path / "shot.png") as image:
            seen[dark] = np.asarray(image.convert("L"))[:, :8].mean()
    assert seen[False] > 250
    assert seen[True] < 40
    assert (one.errors, one.asked) == ([], [])


COLUMN = "[...document.querySelectorAll('#scores-table tbody tr:not([hidden])')].map(r => r.cells[{}].dataset.sort)"


def test_a_column_is_sorted_by_mouse_and_keyboard_and_rows_are_filtered(opened):
    one, file = opened
    one.open(file, 1400)
    one.click("#scores-table th:nth-child(4) .sort")
    assert one.run(COLUMN.format(0)) == ["large", "small", EVIL, "bicubic", "RCAN"], "what is not there is last"
    assert one.run("document.querySelector('#scores-table [aria-sort]').cellIndex") == 3
    one.press("Enter", "\r")
    assert one.run(COLUMN.format(0)) == ["bicubic", EVIL, "small", "large", "RCAN"]
    assert one.run("document.querySelector('#scores-table [aria-sort]').ariaSort") == "ascending"
    one.click("#scores-table th:nth-child(1) .sort")
    assert one.run(COLUMN.format(0)) == sorted(["large", "small", EVIL, "bicubic", "RCAN"], key=str.lower)
    one.click("#only-model")
    one.call("Input.insertText", text="LARG")
    assert one.run(COLUMN.format(0)) == ["large"]
    assert one.run("document.getElementById('shown').textContent") == "1 of 5 rows"


def test_the_slider_is_dragged_and_moved_by_keys(opened):
    one, file = opened
    one.open(file, 1400)
    value = "document.querySelector('#crop-1 input').value"
    x, y = one.centre("#crop-1 .box")
    width = one.run("document.querySelector('#crop-1 .box').clientWidth")
    one.drag((x, y), (x + width / 4, y))
    assert float(one.run(value)) == pytest.approx(75, abs=1)
    clip = "document.querySelector('#crop-1 .over').style.clipPath"
    assert re.fullmatch(r"inset\(0px 2[45][\d.]*% 0px 0px\)", one.run(clip))
    one.run("document.querySelector('#crop-1 input').focus()")
    one.press("ArrowLeft")
    assert float(one.run(value)) == pytest.approx(74.5, abs=1)
    shot = one.run("document.querySelector('#crop-1 .under').src")
    assert one.run("document.querySelector('#crop-1 li:last-child img').src") == shot, "the last version, on the right"


def test_the_plots_follow_their_menus(opened):
    one, file = opened
    one.open(file, 1400)
    front = "document.getElementById('front').textContent"
    assert one.run(front) == (
        "On the Pareto front, the cheapest first: small, large. Dotted: without this cost (bicubic)."
    )

    def pick(menu, value):
        one.run(f"document.getElementById('{menu}').value = '{value}'")
        one.run(f"document.getElementById('{menu}').dispatchEvent(new Event('change'))")

    pick("plot-metric", "lpips")
    pick("plot-cost", "latency 1280x720")
    assert one.run(front).startswith("On the Pareto front, the cheapest first: small, large.")
    assert one.run("document.querySelector('#plot circle.on').parentNode.ariaLabel").startswith("small: 0.02")
    pick("pairs-a", "small")
    pick("pairs-b", "large")
    told = one.run("document.getElementById('pairs-told').textContent")
    assert told == (
        "large is better on 9 of 9 pictures, small on 0. Mean difference +1.2267; paired Wilcoxon test: p = 0.004."
    )
    assert (one.errors, one.asked) == ([], [])


def test_crops_are_stored_without_loss(page):
    kinds = set(re.findall(r"data:image/(\w+);base64", page))
    assert kinds <= {"webp", "png"}
    assert kinds
    first = re.search(r'src="data:image/\w+;base64,([\w+/=]+)"', page)[1]
    with Image.open(io.BytesIO(base64.b64decode(first))) as image:
        assert np.asarray(image.convert("RGB")).min() == 255
