"""The page driven in headless Chromium, its server in a process of its own. Skipped without Gradio or Chromium.

`SLOW` (an environment variable) makes all patience that many times longer, for a machine that does much else. `SHOTS`
names a folder for a picture of what each test leaves.
"""

import base64
import json
import os
import re
import struct
import subprocess
import sys
import time
import urllib.error
import urllib.request
import zlib
from collections.abc import Iterator
from contextlib import closing, contextmanager
from http.client import HTTPConnection
from importlib.util import find_spec
from io import BytesIO
from pathlib import Path
from urllib.parse import urlsplit

import numpy as np
import pytest
from PIL import Image

import tests.browser
from tests.browser import Browser, browser, chromium

ROOT = Path(__file__).parents[3]
AXE = Path(os.environ.get("AXE_CORE", ROOT / ".venv-ui/node_modules/axe-core/axe.min.js"))
SLOW = float(os.environ.get("SLOW", "1"))
#: Runs in the server's process: every address that it connects to.
WATCH = """
import os, sys
def hook(event, arguments):
    if event in ("socket.connect", "socket.getaddrinfo"):
        with open(os.environ["CONNECTIONS"], "a") as file:
            file.write(f"{event} {arguments[1] if event == 'socket.connect' else arguments[0]}\\n")
sys.addaudithook(hook)
"""
#: A backend that is installed beside it: PyTorch once more.
TWIN = """
from typing import Annotated, Literal
from srkit import Backend, hookimpl
srkit_api = 1
def build(net, scale, *, precision: Annotated[Literal["fp32"], "number format"] = "fp32"):
    return net
@hookimpl
def srkit_backends():
    return [Backend(name="twin", build=build, summary="PyTorch once more")]
"""

if find_spec("gradio") is None:
    pytest.skip("Gradio is not installed here: make ui-test makes an environment for it", allow_module_level=True)


@contextmanager
def served(folder: Path, *words: str, **variables: str) -> Iterator[str]:
    """`srkit ui` in a folder; its address."""
    (folder / "watch").mkdir(parents=True)
    (folder / "watch/sitecustomize.py").write_text(WATCH)
    about = folder / "watch/srkit_twin-1.0.dist-info"
    about.mkdir()
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: srkit-twin\nVersion: 1.0\n")
    (about / "entry_points.txt").write_text("[srkit]\ntwin = srkit_twin\n")
    (folder / "watch/srkit_twin.py").write_text(TWIN)
    paths = [str(folder / "watch"), os.environ.get("PYTHONPATH", "")]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, paths)), "TMPDIR": str(folder)}
    environment |= {"CONNECTIONS": str(folder / "connections.txt"), **variables}
    command = [sys.executable, "-m", "srkit", "ui", "--no-open", "--port", "0", "--device", "cpu", *words]
    with open(folder / "log.txt", "w") as log:
        process = subprocess.Popen(
            command, cwd=folder, env=environment, stdout=subprocess.PIPE, stderr=log, text=True, encoding="utf-8"
        )
        try:
            assert process.stdout is not None
            address = process.stdout.readline().strip()
            assert address.startswith("http"), (folder / "log.txt").read_text()
            yield address
        finally:
            process.terminate()
            try:
                process.wait(30 * SLOW)
            finally:
                process.kill()
                process.stdout.close()
    left = [path.name for path in folder.glob("srkit-server-*")]
    assert not left, "the server's private folder goes with it"


@pytest.fixture(scope="module", autouse=True)
def patience() -> None:
    tests.browser.PATIENCE *= SLOW


@pytest.fixture(scope="module")
def home(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("ui")


@pytest.fixture(scope="module")
def address(home) -> Iterator[str]:
    chromium()
    log = [{"step": s, "loss": 1 / s} for s in range(1, 300)] + [{"step": 299, "psnr_y": 31.25}]
    (home / "runs/mine").mkdir(parents=True)
    (home / "runs/mine/log.jsonl").write_text("\n".join(map(json.dumps, log)))
    (home / "report").mkdir()
    (home / "report/index.html").write_text("<title>bench</title><p>the report</p>")
    with served(home, "--max-pixels", "30000000", "--max-result", "100000000") as found:
        yield found
    asked = (home / "connections.txt").read_text().splitlines() if (home / "connections.txt").exists() else []
    outside = [line for line in asked if not re.search(r"127\.0\.0\.1|localhost|::1|^socket.connect /|None", line)]
    assert not outside, "the server asks nobody"
    assert "Traceback" not in (home / "log.txt").read_text()


@pytest.fixture(scope="module")
def window(tmp_path_factory) -> Iterator[Browser]:
    """One Chromium for all tests: each opens the page anew, which is a new user to the server."""
    with browser(tmp_path_factory.mktemp("profile")) as found:
        yield found


@pytest.fixture
def page(window, address, request) -> Iterator[Browser]:
    """The page, opened at 1280 pixels. No request of it leaves the machine, and no script fails."""
    window.asked.clear()
    window.errors.clear()
    opened(window, address)
    yield window
    if folder := os.environ.get("SHOTS"):
        window.screenshot(Path(folder) / f"{request.node.name}.png", whole=True)
    assert window.asked
    assert not [url for url in window.asked if not url.startswith((address, "blob:"))]
    assert not [line for line in window.errors if "status of 4" not in line], "what is refused is told on the page"


def opened(page: Browser, address: str, width: int = 1280, *, dark: bool = False) -> None:
    page.open(address, width, dark=dark)
    page.wait_for("!!document.querySelector('picture-drop .zone') && !!document.querySelector('#start')")


@pytest.fixture(scope="module")
def cat(home, photo_file) -> Path:
    Image.open(photo_file).convert("RGB").crop((0, 0, 150, 100)).save(home / "cat.png")
    return home / "cat.png"


@pytest.fixture(scope="module")
def photo_file() -> Path:
    return ROOT / "plugins/srkit_builtin/samples/chelsea.png"


def text(page: Browser, selector: str) -> str:
    return page.run(f"document.querySelector({json.dumps(selector)})?.innerText ?? ''")


def press(page: Browser, words: str) -> None:
    """A radio button or checkbox by its words."""
    script = f"""(() => {{ const found = [...document.querySelectorAll('label')].find(
        (label) => label.innerText.includes({json.dumps(words)})); found.querySelector('input').click(); }})()"""
    page.run(script)


def planned(page: Browser, *words: str) -> str:
    conditions = " && ".join(
        f"document.querySelector('#plan').innerText.includes({json.dumps(word)})" for word in words
    )
    page.wait_for(conditions)
    page.wait_for("!document.querySelector('#start').disabled || !!document.querySelector('.trouble')")
    return text(page, "#plan")


def start(page: Browser) -> None:
    page.wait_for("!document.querySelector('#start').disabled")
    page.click("#start")


def done(page: Browser, count: int = 1) -> list[str]:
    """Waits for results; their addresses."""
    page.wait_for(f"document.querySelectorAll('a.download').length === {count}", 120 * SLOW)
    page.wait_for("!document.querySelector('#start').hidden && document.querySelector('#start').offsetParent !== null")
    return page.run("[...document.querySelectorAll('a.download')].map((link) => link.href)")


def fetched(page: Browser, url: str) -> bytes:
    """What the browser gets of an address."""
    script = f"""fetch({json.dumps(url)}).then((answer) => answer.blob()).then((blob) => new Promise((resolve) => {{
        const reader = new FileReader();
        reader.onload = () => resolve(reader.result);
        reader.readAsDataURL(blob); }}))"""
    return base64.b64decode(page.run(script).partition(",")[2])


def by_command(home: Path, picture: Path, target: str, *words: str) -> bytes:
    """The file that `srkit upscale` writes."""
    command = [sys.executable, "-m", "srkit", "upscale", picture, "-o", home / target, "--device", "cpu", *words]
    subprocess.run(command, check=True, capture_output=True, cwd=home, timeout=200 * SLOW)
    return (home / target).read_bytes()


def by_factor(page: Browser, *files: Path, model: str = "(edsr-small)") -> None:
    """Choose files, a factor of 2 and a model."""
    press(page, "larger by a factor")
    press(page, model)
    page.choose_files("#form picture-drop input", *files)
    planned(page, files[0].name)


def test_a_photo_on_a_sheet_of_paper_is_the_file_of_the_command(page, home, cat):
    press(page, "(edsr-small)")
    page.choose_files("#form picture-drop input", cat)
    told = planned(page, "4 961 × 3 508")
    assert "300 dpi" in told
    assert "source pixels to the printed inch: sharp from" in told
    assert "about" in told
    page.run("(() => { const box = document.querySelector('#paper input'); box.focus(); box.select(); })()")
    page.call("Input.insertText", text="10x15cm")
    page.press("Enter", "\r")
    planned(page, "1 772 × 1 181")
    start(page)
    (url,) = done(page)
    words = ("--model", "edsr-small", "--print", "10x15cm", "--dpi", "300", "--crop")
    assert fetched(page, url) == by_command(home, cat, "poster.png", *words)
    assert "Cut off" in text(page, ".job.made") or "sharp from" in text(page, ".job.made")


def test_no_question_is_lost_however_quickly_they_come(page, cat):
    """gradio 13761: its stream that ends as a question is asked takes the question with it."""
    by_factor(page, cat)
    for times in (3, 5, 2, 7, 4, 8, 6, 2, 8, 3, 7, 5):
        for each in (times - 1, times):
            page.run(f"""(() => {{ const box = document.querySelector('input[type=number][aria-label*="Factor"]');
                box.value = {each}; box.dispatchEvent(new Event('input', {{bubbles: true}})); }})()""")
        width = f"{150 * times:,}".replace(",", " ")
        planned(page, f"{width} × {100 * times:,}".replace(",", " "))


def test_progress_is_told_and_cancel_ends_it_within_a_tile(page, photo_file):
    by_factor(page, photo_file)
    page.run("""(() => { const box = document.querySelector('input[type=number][aria-label*="Factor"]');
        box.value = 8; box.dispatchEvent(new Event('input', {bubbles: true})); })()""")
    planned(page, "3 608 × 2 400")
    start(page)
    page.wait_for("!!document.querySelector('#progress progress')")
    page.wait_for("document.querySelector('#progress progress')?.value > 0", 120 * SLOW)
    page.click("#cancel")
    begun = time.monotonic()
    page.wait_for("document.querySelector('#progress').innerText.includes('Cancelled')", 60 * SLOW)
    assert time.monotonic() - begun < 30 * SLOW
    assert not page.run("document.querySelectorAll('a.download').length")
    start(page)  # it can be started once more
    page.wait_for("!!document.querySelector('#progress progress')")


def test_the_slider_shows_before_and_after_whole_and_at_100_percent(page, cat):
    by_factor(page, cat)
    start(page)
    (url,) = done(page)
    page.wait_for("[...document.querySelectorAll('before-after img')].every((i) => i.complete && i.naturalWidth)")
    assert page.run("[...document.querySelectorAll('before-after img')].map((i) => i.naturalWidth)") == [300, 300]
    clip = "document.querySelector('before-after .after').style.clipPath"
    assert "50%" in page.run(clip)
    page.run("document.querySelector('before-after input[type=range]').focus()")
    page.press("ArrowRight")
    assert "51%" in page.run(clip)
    x, y = page.centre("before-after .stage")
    page.drag((x, y), (x + 100, y))
    assert "51%" not in page.run(clip)
    page.click("before-after .tools button:nth-child(2)")
    page.wait_for("document.querySelector('before-after .after').src.includes('width=')")
    shown = fetched(page, page.run("document.querySelector('before-after .after').src"))
    result = fetched(page, url)
    window, whole = (np.asarray(Image.open(BytesIO(data)).convert("RGB")) for data in (shown, result))
    assert window.shape[0] <= whole.shape[0]
    assert any((window == whole[: window.shape[0], : window.shape[1]]).all(axis=-1).ravel()), "its own pixels"


def test_several_files_and_a_wrong_one(page, home, cat):
    other = home / "second.jpg"
    Image.open(cat).convert("RGB").transpose(Image.Transpose.ROTATE_90).save(other, quality=90)
    wrong = home / "letter.png"
    wrong.write_text("Dear all")
    page.choose_files("#form picture-drop input", cat, other, wrong)
    page.wait_for("document.querySelectorAll('#form .pictures li.failed').length === 1")
    said = text(page, "#form .pictures li.failed .state")
    assert "picture" in said.lower()
    assert "Traceback" not in said
    press(page, "larger by a factor")
    press(page, "(bicubic)")
    planned(page, "cat.png", "second.jpg")
    assert text(page, "#start") == "Make 2 pictures larger"
    start(page)
    urls = done(page, 2)
    assert fetched(page, urls[1]) == by_command(home, other, "second.png", "--model", "bicubic", "--scale", "2")
    page.click("#form .pictures li:first-child .remove")
    page.wait_for("document.querySelector('#start').innerText === 'Make it larger'")


def png_of(width: int, height: int) -> bytes:
    """A PNG that says a size and has no pixels of it: a bomb where they are allocated."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    data = zlib.compress(b"\0" * 1_000_000)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", data) + chunk(b"IEND", b"")


def test_a_large_file_and_a_bomb_are_refused_before_anything_is_decoded(page, address, home):
    large, bomb = home / "large.png", home / "bomb.png"
    large.write_bytes(b"\0" * 60_000_000)
    bomb.write_bytes(png_of(60_000, 60_000))
    page.choose_files("#form picture-drop input", large, bomb)
    page.wait_for("document.querySelectorAll('#form .pictures li.failed').length === 2")
    told = page.run("[...document.querySelectorAll('#form .pictures li.failed .state')].map((e) => e.innerText)")
    assert "50 MB" in told[0]
    assert "60000x60000" in told[1]
    with closing(HTTPConnection(urlsplit(address).netloc, timeout=60 * SLOW)) as connection:
        connection.putrequest("POST", "/pictures?name=large.png")  # without the page, which refuses it itself
        for name, value in {"X-Srkit": "1", "Content-Length": "60000000"}.items():
            connection.putheader(name, value)
        connection.endheaders(b"the first bytes")
        with connection.getresponse() as answer:
            assert answer.status == 413
    assert not list(home.glob("srkit-server-*/*/large.png"))


def test_two_users_take_turns_and_neither_sees_the_other(page, address, cat, photo_file, tmp_path):
    by_factor(page, photo_file)
    with browser(tmp_path / "other") as other:
        opened(other, address)
        by_factor(other, cat)
        start(page)
        page.wait_for("!!document.querySelector('#progress progress')")
        start(other)
        other.wait_for("!!document.querySelector('#progress .job')")
        (mine,) = done(page)
        (theirs,) = done(other)
        assert mine != theirs
        assert "chelsea" not in text(other, "#result")


def jobs_running(home: Path) -> int:
    return len([path for path in home.glob("srkit-server-*/*") if path.is_dir() and path.name != "gradio"])


@pytest.mark.parametrize("how", ["reload", "close"])
def test_leaving_the_page_cancels_and_deletes(page, address, home, photo_file, cat, how):
    before = jobs_running(home)
    by_factor(page, photo_file)
    page.run("""(() => { const box = document.querySelector('input[type=number][aria-label*="Factor"]');
        box.value = 8; box.dispatchEvent(new Event('input', {bubbles: true})); })()""")
    planned(page, "3 608 × 2 400")
    start(page)
    page.wait_for("!!document.querySelector('#progress progress')")
    assert jobs_running(home) > before
    if how == "reload":
        opened(page, address)
        assert not page.run("document.querySelectorAll('.job').length"), "it begins anew"
    else:
        page.call("Page.navigate", url="about:blank")
    end = time.monotonic() + 60 * SLOW
    while jobs_running(home) > before and time.monotonic() < end:
        time.sleep(0.2)
    assert jobs_running(home) <= before


def test_guesswork_is_a_layer(page, cat):
    page.run("[...document.querySelectorAll('#form button')].find((each) => each.innerText.includes('More')).click()")
    page.wait_for("document.querySelector('#form').innerText.includes('guesswork')")
    press(page, "guesswork")
    by_factor(page, cat)
    start(page)
    done(page)
    page.wait_for("!!document.querySelector('before-after .doubt')")
    assert page.run("document.querySelector('before-after .doubt').hidden")
    page.click("before-after .tools input")
    page.wait_for("document.querySelector('before-after .doubt').naturalWidth === 300")
    assert "guesswork" in text(page, ".job.made").lower()


def test_a_runtime_that_is_installed_is_offered_and_said(page, home, cat):
    page.run("[...document.querySelectorAll('#form button')].find((each) => each.innerText.includes('More')).click()")
    page.wait_for("document.querySelector('#form').innerText.includes('Computed by')")
    page.click("#backend input")
    page.wait_for("[...document.querySelectorAll('[role=option]')].some((each) => each.innerText.includes('twin'))")
    page.run("""[...document.querySelectorAll('[role=option]')].find((each) => each.innerText.includes('twin')).id =
        'pick-twin'""")
    page.click("#pick-twin")
    by_factor(page, cat)
    start(page)
    (url,) = done(page)
    assert "by twin in fp32" in text(page, ".job.made")
    assert fetched(page, url) == by_command(home, cat, "twin.png", "--model", "edsr-small", "--scale", "2")


def tab(page: Browser, name: str) -> None:
    page.run(f"[...document.querySelectorAll('[role=tab]')].find((e) => e.innerText === {json.dumps(name)}).click()")


def shown_by(page: Browser, frame: str) -> None:
    """The frame is not only there: the page in it is drawn."""
    end = time.monotonic() + 60 * SLOW
    while not page.draws(frame):
        assert time.monotonic() < end, f"{frame} stays empty"
        time.sleep(0.2)


def test_the_other_tabs(page, photo_file):
    tab(page, "Compare")
    page.wait_for("!!document.querySelector('picture-drop[single] input')")
    page.choose_files("picture-drop[single] input", photo_file)  # large enough for three crops
    page.wait_for("!document.querySelector('#compare-start').disabled")
    page.click("#compare-start")
    page.wait_for("!!document.querySelector('#trial iframe')", 120 * SLOW)
    shown = fetched(page, page.run("document.querySelector('#trial iframe').src")).decode()
    assert shown.count("<article") == 3
    shown_by(page, "#trial iframe")
    tab(page, "Trainings")
    page.wait_for("document.body.innerText.includes('psnr_y 31.25 at step 299')")
    tab(page, "Benchmark")
    page.wait_for("!!document.querySelector('iframe[src=\"/report\"]')")
    shown_by(page, 'iframe[src="/report"]')


def test_the_keyboard_alone_reaches_everything(page, cat):
    page.choose_files("#form picture-drop input", cat)
    planned(page, "cat.png")
    seen = []
    page.run("document.body.focus()")
    for _ in range(40):
        page.call("Input.dispatchKeyEvent", type="rawKeyDown", key="Tab", code="Tab", windowsVirtualKeyCode=9)
        page.call("Input.dispatchKeyEvent", type="keyUp", key="Tab", code="Tab", windowsVirtualKeyCode=9)
        about = "(({tagName, type, id, className}) => `${tagName} ${type ?? ''} ${id} ${className}`)"
        seen.append(page.run(f"{about}(document.activeElement)"))
        if "start" in seen[-1].split():
            break
    assert any("INPUT file" in each for each in seen)
    assert any("remove" in each for each in seen)
    assert any("INPUT radio" in each for each in seen)
    assert "start" in seen[-1].split()
    page.press("Enter", "\r")
    page.wait_for("!!document.querySelector('#progress .job')")


@pytest.mark.parametrize("dark", [False, True])
@pytest.mark.parametrize("width", [1280, 390])
def test_axe_finds_no_serious_violation_and_nothing_is_cut_off(page, address, cat, width, dark):
    if not AXE.is_file():
        pytest.skip("axe-core is not here: npm install axe-core, and AXE_CORE names its axe.min.js")
    opened(page, address, width, dark=dark)
    by_factor(page, cat, model="(bicubic)")
    start(page)
    done(page)
    assert page.run("document.documentElement.scrollWidth") <= width
    page.run(AXE.read_text(encoding="utf-8") + "; 1")
    for name in ("Enlarge", "Trainings"):
        if width > 600 or name == "Enlarge":
            tab(page, name)
        found = page.run("axe.run({iframes: false}).then((result) => result.violations)")
        serious = [each for each in found if each["impact"] in ("serious", "critical")]
        told = [(each["id"], each["nodes"][0]["html"][:200], each["nodes"][0]["failureSummary"]) for each in serious]
        assert not told


HOSTILE = [
    ("GET", "gradio_api/file=/etc/passwd", None), ("GET", "file=/etc/passwd", None), ("GET", "looks/x/after", None),
    ("GET", "results/../../etc/passwd", None), ("POST", "gradio_api/upload", b"x"), ("GET", "pages/x", None),
    ("POST", "gradio_api/queue/join", {"data": [{"path": "/etc/passwd", "meta": {"_type": "gradio.FileData"}}],
                                       "fn_index": 2, "session_hash": "x"}),
    ("POST", "gradio_api/queue/join", {"data": ["A3"] * 300, "fn_index": 10**9, "session_hash": "x"}),
    ("POST", "gradio_api/run/predict", {"data": ["A3"] * 300, "fn_index": 10**9, "session_hash": "x"}),
    ("POST", "gradio_api/run/predict", {"data": [{"path": "/etc/passwd"}], "fn_index": 2, "session_hash": "x"}),
    ("POST", "gradio_api/run/predict", {"data": [], "fn_index": 2, "session_hash": "x"}),
    ("POST", "gradio_api/run/predict", {"data": [{"name": "x"}, None], "fn_index": 3, "session_hash": []}),
    ("POST", "gradio_api/run/predict", b"{"), ("POST", "gradio_api/run/plan", {"data": []}),
    ("POST", "pictures?name=../../../evil.png", b"x"), ("GET", "gradio_api/proxy=http://example.org/", None),
]  # fmt: skip


@pytest.fixture(scope="module")
def besieged(tmp_path_factory) -> Iterator[str]:
    """A server of its own: what Gradio says of such requests to its owner is no fault of the page."""
    with served(tmp_path_factory.mktemp("besieged")) as found:
        yield found
        with urllib.request.urlopen(found + "health", timeout=60 * SLOW) as answer:
            assert answer.status == 200, "it lives"


def asked(request: urllib.request.Request) -> tuple[int, str]:
    """(status, text) of an answer, which is closed."""
    try:
        answer = urllib.request.urlopen(request, timeout=60 * SLOW)
    except urllib.error.HTTPError as error:
        answer = error
    with answer:
        return answer.status, answer.read().decode()


@pytest.mark.parametrize(("method", "path", "body"), HOSTILE, ids=lambda value: str(value)[:40])
def test_what_nobody_may_ask_is_refused_without_a_traceback(besieged, method, path, body):
    data = body if body is None or isinstance(body, bytes) else json.dumps(body).encode()
    headers = {"Content-Type": "application/json", "X-Srkit": "1"}
    status, answer = asked(urllib.request.Request(besieged + path, data, headers, method=method))
    assert 400 <= status <= 500  # 500 is Gradio's own of a function that it has not
    assert "root:" not in answer
    assert "Traceback" not in answer


def test_a_password_is_asked_for_and_another_address_wants_one(tmp_path):
    command = [sys.executable, "-m", "srkit", "ui", "--host", "0.0.0.0", "--no-open"]
    environment = {key: value for key, value in os.environ.items() if key != "SRKIT_PASSWORD"}
    ended = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=120 * SLOW)
    assert (ended.returncode, ended.stdout) == (2, "")
    assert "can be reached by others" in ended.stderr
    with served(tmp_path / "served", SRKIT_PASSWORD="correct horse battery") as address:
        for path in ("", "config", "page.js", "gradio_api/queue/data?session_hash=x", "pictures"):
            assert asked(urllib.request.Request(address + path))[0] == 401, path
        word = base64.b64encode(b"me:correct horse battery").decode()
        request = urllib.request.Request(address, headers={"Authorization": f"Basic {word}"})
        assert asked(request)[0] == 200
