"""Pictures of the page of `srkit ui` in each of its states, at two widths, light and dark, to be looked at.

    python benchmarks/ui_pictures.py FOLDER [--states first,plan] [--docs]

Drives headless Chromium, with a server of its own in a temporary folder. Needs srkit-ui's environment (`make ui-test`
makes it) and Chromium. States are made in their order, each from the one before. --docs also writes the picture of the
documentation, docs/_static/ui.png, of the state `done`. Ends with 1 where a request left the machine, a script of the
page failed, or the page is wider than the window.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from PIL import Image

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

import tests.browser  # noqa: E402 - after the path
from tests.browser import Browser, browser  # noqa: E402

PHOTO = ROOT / "plugins/srkit_builtin/samples/chelsea.png"
LOOKS = [(width, dark) for dark in (False, True) for width in (1280, 390)]
PATIENCE = 600.0  # seconds, for a machine that does much else
DOCS = ROOT / "docs/_static/ui.png"


@contextmanager
def served(home: Path) -> Iterator[str]:
    """`srkit ui` with a training and a report; its address."""
    log = [{"step": step, "loss": 0.02 + 0.1 / step} for step in range(1, 3000, 10)]
    log += [{"step": step, "psnr_y": 37.2 - 400 / (step + 100)} for step in range(100, 3000, 100)]
    (home / "runs/edsr-small-x2").mkdir(parents=True)
    (home / "runs/edsr-small-x2/log.jsonl").write_text("\n".join(map(json.dumps, log)))
    (home / "report").mkdir()
    shutil.copyfile(ROOT / "docs/_static/full-bench.html", home / "report/index.html")
    command = [sys.executable, "-m", "srkit", "ui", "--no-open", "--port", "0", "--device", "cpu"]
    environment = os.environ | {"TMPDIR": str(home)}
    with subprocess.Popen(command, cwd=home, env=environment, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None
        try:
            yield server.stdout.readline().strip()
        finally:
            server.terminate()


def pictures(home: Path) -> dict[str, Path]:
    """A photo of a phone, a small one, one on its side, a letter, one of too many bytes, a bomb."""
    found = {name: home / name for name in ("cat.jpg", "small.png", "tall.jpg", "letter.png", "large.png", "bomb.png")}
    photo = Image.open(PHOTO).convert("RGB")
    photo.save(found["cat.jpg"], quality=88)
    photo.crop((100, 60, 250, 160)).save(found["small.png"])
    photo.transpose(Image.Transpose.ROTATE_90).resize((150, 225)).save(found["tall.jpg"], quality=90)
    found["letter.png"].write_text("Dear all")
    found["large.png"].write_bytes(bytes(60_000_000))
    head = bytes.fromhex("89504e470d0a1a0a0000000d49484452") + (60_000).to_bytes(4) * 2 + bytes([8, 2, 0, 0, 0])
    found["bomb.png"].write_bytes(head + bytes(100))
    return found


def choose(page: Browser, *files: Path) -> None:
    page.choose_files("#form picture-drop input", *files)


def press(page: Browser, words: str) -> None:
    page.run(
        f"[...document.querySelectorAll('label')].find((e) => e.innerText.includes({json.dumps(words)}))"
        ".querySelector('input').click()"
    )


def tab(page: Browser, name: str) -> None:
    """Waits for it: in a narrow window it is behind three dots."""
    found = f"[...document.querySelectorAll('[role=tab]')].find((e) => e.innerText === {json.dumps(name)})"
    page.wait_for(f"!!{found}")
    page.run(f"{found}.click()")


def seen(page: Browser, words: str, within: str = "body") -> None:
    page.wait_for(f"document.querySelector({json.dumps(within)}).innerText.includes({json.dumps(words)})")


def factor(page: Browser, times: int, size: str) -> None:
    press(page, "larger by a factor")
    page.wait_for("!!document.querySelector('input[type=number][aria-label*=\"Factor\"]')?.offsetParent")
    page.run(f"""(() => {{ const box = document.querySelector('input[type=number][aria-label*="Factor"]');
        box.value = {times}; box.dispatchEvent(new Event('input', {{bubbles: true}})); }})()""")
    seen(page, size, "#plan")
    page.wait_for("document.querySelector('#start')?.offsetParent && !document.querySelector('#start').disabled")


# --- the states, in their order ---


def first(page: Browser, files: dict[str, Path]) -> None:
    """As it opens."""


def plan(page: Browser, files: dict[str, Path]) -> None:
    choose(page, files["cat.jpg"])
    seen(page, "4 961 × 3 508", "#plan")


def more(page: Browser, files: dict[str, Path]) -> None:
    for name in ("More", "Print shop"):
        page.run(f"[...document.querySelectorAll('#form button')].find((e) => e.innerText.includes('{name}')).click()")
    seen(page, "guesswork", "#form")


def progress(page: Browser, files: dict[str, Path]) -> None:
    factor(page, 8, "3 608 × 2 400")
    page.click("#start")
    page.wait_for("document.querySelector('#progress progress')?.value > 0")


def cancelled(page: Browser, files: dict[str, Path]) -> None:
    page.click("#cancel")
    seen(page, "Cancelled", "#progress")


def done(page: Browser, files: dict[str, Path]) -> None:
    factor(page, 2, "902 × 600")
    page.click("#start")
    page.wait_for("!!document.querySelector('a.download')")
    drawn(page)
    page.run("""(() => { const s = document.querySelector('before-after input[type=range]');
        s.value = 40; s.dispatchEvent(new Event('input')); })()""")


def full(page: Browser, files: dict[str, Path]) -> None:
    page.click("before-after .tools button:nth-child(2)")
    page.wait_for("document.querySelector('before-after .after').src.includes('width=')")
    drawn(page)


def several(page: Browser, files: dict[str, Path]) -> None:
    choose(page, *(files[name] for name in ("tall.jpg", "letter.png", "large.png", "bomb.png")))
    page.wait_for("document.querySelectorAll('#form .pictures li.failed').length === 3")
    seen(page, "tall.jpg", "#plan")
    page.wait_for("document.querySelector('#start').innerText.includes('2 pictures')")


def both(page: Browser, files: dict[str, Path]) -> None:
    press(page, "(bicubic)")
    page.wait_for("!document.querySelector('#start').disabled")
    page.click("#start")
    page.wait_for("document.querySelectorAll('a.download').length === 2")
    drawn(page)


def compare(page: Browser, files: dict[str, Path]) -> None:
    tab(page, "Compare")
    page.wait_for("!!document.querySelector('picture-drop[single] input')")
    page.choose_files("picture-drop[single] input", files["cat.jpg"])
    page.wait_for("!document.querySelector('#compare-start').disabled")
    page.click("#compare-start")
    framed(page, "/pages/")


def trainings(page: Browser, files: dict[str, Path]) -> None:
    tab(page, "Trainings")
    seen(page, "psnr_y")


def benchmark(page: Browser, files: dict[str, Path]) -> None:
    tab(page, "Benchmark")
    framed(page, "/report")


STATES: dict[str, Callable[[Browser, dict[str, Path]], None]] = {
    act.__name__: act
    for act in (
        first, plan, more, progress, cancelled, done, full, several, both, compare, trainings, benchmark,
    )
}  # fmt: skip


def framed(page: Browser, address: str) -> None:
    """Waits until a page in the page is drawn, which is later than its frame is there."""
    page.wait_for(f"!!document.querySelector('iframe[src^=\"{address}\"]')")
    while not page.draws(f'iframe[src^="{address}"]'):
        time.sleep(0.5)


def drawn(page: Browser) -> None:
    page.wait_for("[...document.querySelectorAll('before-after img')].every((i) => i.complete && i.naturalWidth)")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--states", default=",".join(STATES))
    parser.add_argument("--docs", action="store_true")
    said = parser.parse_args()
    said.folder.mkdir(parents=True, exist_ok=True)
    tests.browser.PATIENCE = PATIENCE
    faults: list[str] = []
    with tempfile.TemporaryDirectory() as name, served(Path(name)) as address:
        files = pictures(Path(name))
        with browser(Path(name) / "profile") as page:
            page.open(address, *LOOKS[0][:1])
            for state in said.states.split(","):
                sized(page, *LOOKS[0])
                page.wait_for("!!document.querySelector('picture-drop .zone') && !!document.querySelector('#start')")
                STATES[state](page, files)
                for width, dark in LOOKS:
                    faults += looked_at(
                        page, said.folder / f"{state}-{width}-{'dark' if dark else 'light'}.png", width, dark
                    )
            outside = [url for url in page.asked if not url.startswith((address, "blob:"))]
            faults += [f"asked {url}" for url in outside]
            faults += [f"script: {line}" for line in page.errors if "status of 4" not in line]
            print(f"{len(page.asked)} requests, {len(outside)} of them to others")
    if said.docs:
        for_docs(said.folder / "done-1280-light.png")
    print("\n".join(faults))
    return int(bool(faults))


def sized(page: Browser, width: int, dark: bool) -> None:
    page.call("Emulation.setDeviceMetricsOverride", width=width, height=900, deviceScaleFactor=1, mobile=False)
    scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
    page.call("Emulation.setEmulatedMedia", features=[scheme])
    page.run(f"document.body.classList.toggle('dark', {json.dumps(dark)})")  # Gradio looks once, when the page opens


def looked_at(page: Browser, file: Path, width: int, dark: bool) -> list[str]:
    """One picture of the page as it is; what is wrong with it."""
    sized(page, width, dark)
    time.sleep(1.5)
    drawn(page)
    page.screenshot(file, whole=True)
    wide = page.run("document.documentElement.scrollWidth")
    print(file.name, flush=True)
    return [f"{file.name}: {wide} pixels wide"] if wide > width else []


def for_docs(file: Path) -> None:
    """As the documentation has it: 960 pixels wide, in 160 colours."""
    image = Image.open(file).convert("RGB")
    image = image.resize((960, round(image.height * 960 / image.width)), Image.Resampling.LANCZOS)
    image.quantize(160, dither=Image.Dither.NONE).save(DOCS, optimize=True)
    print(f"{DOCS}: {DOCS.stat().st_size:,} bytes")


if __name__ == "__main__":
    sys.exit(main())
