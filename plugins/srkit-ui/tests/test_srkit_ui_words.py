"""What needs no Gradio: words, curves, looks, the desk, what may be asked, the files of a Space."""

import asyncio
import json
import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from srkit_ui import runs, words

import srkit
from srkit import FilePlan, UsableModel, UsageError

pyvips = pytest.importorskip("pyvips")


def plan_of(**changed) -> FilePlan:
    about = {
        "source": (300, 200), "size": (4961, 3508), "whole": (5262, 3508), "offset": (-150, 0), "chain": (2, 2),
        "models": {}, "depth": 8, "dpi": 300.0, "notices": ("cut off: 5.7 % of the picture at the left & right",),
    }  # fmt: skip
    return FilePlan(**about | changed)


def test_the_sheets_of_the_list_are_what_srkit_takes(tmp_path):
    Image.new("RGB", (30, 20)).save(tmp_path / "a.png")
    upscaler = srkit.load("bicubic")
    for shown, word in words.sheets():
        plan = upscaler.plan(tmp_path / "a.png", paper=word, dpi=72, crop=True, measure=False)
        first = int(re.search(r"\d+", shown)[0]) if "×" in shown else 0
        unit = 72 / 2.54 if shown.endswith("cm") else 72
        assert not first or min(plan.size) == pytest.approx(first * unit, abs=1), shown


def test_a_plan_is_told_and_nothing_from_elsewhere_is_markup():
    page = words.plan_row("<b>cat</b>.jpg", plan_of())
    assert "<b>cat" not in page
    assert "&lt;b&gt;cat&lt;/b&gt;.jpg" in page
    assert "left &amp; right." in page
    assert "4 961 × 3 508" in page
    told = words.plan_page([page], 70.0, 2)
    assert "about 70 seconds" in told
    assert "after 2 other pictures" in told
    assert "other picture" not in words.plan_page([page], 70.0, 0)


@pytest.mark.parametrize(
    ("seconds", "said"),
    [(0.2, "about a second"), (7.4, "about 7 seconds"), (42, "about 40 seconds"), (200, "about 3 minutes"),
     (8000, "about 2 hours")],
)  # fmt: skip
def test_times_are_said_as_people_say_them(seconds, said):
    assert words.span(seconds) == said


def test_errors_name_what_is_on_the_page_not_options_of_the_command(tmp_path):
    Image.new("RGB", (30, 20)).save(tmp_path / "a.png")
    upscaler = srkit.load("bicubic")
    for options in ({"paper": "A3"}, {"paper": "B99"}, {"paper": "A3", "bleed": "x", "crop": True}, {"scale": 99}):
        with pytest.raises(UsageError) as raised:
            upscaler.plan(tmp_path / "a.png", **options)
        assert "--" not in words.in_words(str(raised.value)), options


def test_models_for_photographs_come_first_and_interpolations_last():
    common = {"scales": (2,), "claims": {}}
    found = words.model_choices([
        UsableModel(name="flat", trainable=False, **common),
        UsableModel(name="clean", **common),
        UsableModel(name="net@photo", tag="photo", **common),
    ])  # fmt: skip
    assert [name for _, name in found] == ["net@photo", "clean", "flat"]
    assert "Licence of the weights: not said" in words.about_model(UsableModel(name="x", **common))


def log(folder: Path, lines: list[str]) -> None:
    folder.mkdir(parents=True)
    (folder / "log.jsonl").write_text("\n".join(lines))


def test_runs_are_found_in_sweeps_too_and_a_line_that_is_cut_costs_nothing(tmp_path):
    steps = [json.dumps({"step": s, "loss": 1 / s, "lr": 1e-4}) for s in range(1, 1001)]
    log(tmp_path / "a", [*steps, json.dumps({"step": 1000, "psnr_y": 30.5}), '{"step": 10'])
    log(tmp_path / "sweep/l=<1>", ['{"step": 5, "loss": NaN}', '{"step": 6, "note": "x"}'])
    assert sorted(runs.run_names(tmp_path)) == ["a", "sweep/l=<1>"]
    run = runs.read_run(tmp_path, "a")
    assert (run.steps, list(run.curves), len(run.curves["loss"])) == (1000, ["psnr_y", "loss"], 1000)
    page = runs.run_page(run)
    assert "psnr_y: 30.5 at step 1,000" in page
    assert max(map(len, re.findall(r'points="([^"]*)"', page))) < 10_000, "long curves are thinned"
    numbers = [float(n) for points in re.findall(r'points="([^"]*)"', page) for n in re.split("[ ,]", points)]
    assert np.isfinite(numbers).all()
    assert runs.run_page(runs.read_run(tmp_path, "sweep/l=<1>")) == "<p>Nothing is logged yet.</p>"


@pytest.mark.parametrize("name", ["", "..", "../a", "/etc", "a/../a", "b"])
def test_no_run_is_read_that_is_not_in_the_list(tmp_path, name):
    log(tmp_path / "runs/a", ['{"step": 1, "loss": 1}'])
    log(tmp_path / "a", ['{"step": 1, "loss": 1}'])
    assert runs.read_run(tmp_path / "runs", name) is None


def decoded(data: bytes) -> np.ndarray:
    image = pyvips.Image.new_from_buffer(data, "")
    return np.asarray(image.numpy())


@pytest.fixture
def cropped(tmp_path, photo):
    """(source, result, plan) of a sheet that cuts at the left and right."""
    source = tmp_path / "cat.png"
    Image.fromarray(photo[:60, :90]).save(source)
    upscaler = srkit.load("bicubic")
    options = {"paper": "50x50cm", "dpi": 10, "crop": True}
    plan = upscaler.plan(source, measure=False, **options)
    return source, upscaler.upscale_file(source, tmp_path / "large.png", **options), plan


def test_before_lies_under_after_and_windows_are_parts_of_the_whole(cropped):
    from srkit_ui.looks import prepare

    source, result, plan = cropped
    look = prepare(source, result, plan)
    after, before = (decoded(look.shown(layer, None)).astype(int) for layer in ("after", "before"))
    assert (after == srkit.read_rgb(result)).all()
    assert before.shape == after.shape
    assert np.abs(before - after).mean() < 3, "vips' cubic and MATLAB's bicubic of the same place"
    shifted = np.abs(before[:, 4:] - after[:, :-4]).mean()
    assert shifted > 2 * np.abs(before - after).mean(), "the place matters"
    part = decoded(look.shown("after", (20, 30, 64, 48)))
    assert (part == after[30:78, 20:84]).all()
    assert decoded(look.shown("before", (10**9, -5, 10**9, 48))).shape[:2] == (48, after.shape[1])
    for layer in ("doubt", "look.json", "../large"):
        with pytest.raises(KeyError):
            look.shown(layer, None)


def test_a_sheet_that_is_filled_and_a_deep_picture_with_a_profile_are_shown(tmp_path, photo):
    from srkit_ui.looks import prepare

    source = tmp_path / "deep.png"
    deep = pyvips.Image.new_from_array(photo[:40, :60]).copy(interpretation="srgb").colourspace("rgb16")
    deep.pngsave(str(source), bitdepth=16)
    upscaler = srkit.load("bicubic")
    options = {"paper": "30x30cm", "dpi": 10, "pad": "white"}
    plan = upscaler.plan(source, measure=False, **options)
    result = upscaler.upscale_file(source, tmp_path / "large.tif", **options)
    levels = np.full((40, 60), 20, np.float32)
    doubt = srkit.Confidence(levels=levels, share=1.0, words="all of it")
    look = prepare(source, result, plan, "white", doubt)
    after, before, layer = (decoded(look.shown(each, None)) for each in ("after", "before", "doubt"))
    assert after.dtype == np.uint8
    assert after.shape[:2] == before.shape[:2] == layer.shape[:2] == (118, 118)
    assert (before[0] == 255).all()
    assert (after[0] == 255).all()
    assert (layer[0, :, 3] == 0).all(), "the border of a sheet is no guesswork"
    assert (layer[59, :, 3] == 255).all()


def asked(path: str, *, method: str = "GET", body: bytes = b"", kind: str = "application/json") -> int:
    """The status that the shield gives, 200 where it lets the request through."""
    from srkit_ui.shield import Shield

    async def app(scope, receive, send):
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": (await receive())["body"]})

    sent = []

    async def receive():
        return {"type": "http.request", "body": body}

    async def send(message):
        sent.append(message)

    scope = {"type": "http", "path": path, "method": method, "headers": [(b"content-type", kind.encode())]}
    asyncio.run(Shield(app)(scope, receive, send))
    return sent[0]["status"]


FILE = {"path": "/etc/passwd", "meta": {"_type": "gradio.FileData"}}


@pytest.mark.parametrize("path", [
    "/gradio_api/file=/etc/passwd", "/gradio_api/upload", "/gradio_api/proxy=http://example.org", "/file=/etc/passwd",
    "/gradio_api/call/plan", "/gradio_api/component_server", "/monitoring", "/gradio_api/deep_link", "/proxy=x",
    "/login", "/gradio_api/stream/x", "/static/../app.py\n", "/assets/%2e%2e", "/gradio_api/runs",
    "/docs", "/looks/a/../b",
])  # fmt: skip
def test_roads_that_the_page_does_not_need_are_closed(path):
    assert asked(path) == 404


@pytest.mark.parametrize("value", [FILE, [[FILE]], {"data": [{"a": [FILE]}]}, {"path": "http://example.org/x.png"}])
def test_a_request_that_names_a_file_or_an_address_goes_nowhere(value):
    assert asked("/gradio_api/queue/join", method="POST", body=json.dumps(value).encode()) == 400
    escaped = json.dumps(value).replace("path", "\\u0070ath").replace("meta", "\\u006deta").encode()
    assert asked("/gradio_api/queue/join", method="POST", body=escaped) == 400


def test_what_the_page_asks_goes_through():
    body = json.dumps({"data": ["A3", None, 300], "fn_index": 1, "session_hash": "x"}).encode()
    assert asked("/gradio_api/queue/join", method="POST", body=body) == 200
    assert asked("/gradio_api/queue/join", method="POST", body=body, kind="text/plain") == 400
    assert asked("/gradio_api/queue/join", method="POST", body=b"[" * 100_000) == 400
    assert asked("/gradio_api/queue/join", method="POST", body=b"[" + b" " * 300_000 + b"]") == 400
    for path in ("/", "/config", "/assets/index-DphvyggB.js", "/theme.css", "/looks/aB_-1/after", "/page.js"):
        assert asked(path) == 200


def test_the_files_of_a_space(run_srkit, tmp_path):
    from srkit_ui.space import write_space

    written = write_space(tmp_path / "space")
    assert [path.name for path in written] == ["app.py", "README.md", "requirements.txt"]
    compile(written[0].read_text(), "app.py", "exec")
    head = written[1].read_text().split("---")[1]
    about = dict(line.split(": ", 1) for line in head.strip().splitlines())
    assert about["sdk"] == "gradio"
    assert re.fullmatch(r"\d+\.\d+\.\d+", about["sdk_version"])
    assert (tmp_path / "space" / about["app_file"]).is_file()
    assert f"@v{srkit.__version__}#subdirectory=plugins/srkit-ui" in written[2].read_text()
    with pytest.raises(UsageError, match="is there already"):
        write_space(tmp_path / "space")
