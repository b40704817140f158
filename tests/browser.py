"""A headless Chromium driven over its DevTools pipe, for tests of pages; without Chromium such tests are skipped."""

import base64
import itertools
import json
import os
import selectors
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
PATIENCE = 60.0  # seconds for one answer


def chromium() -> str:
    """Its path; skips the test where there is none."""
    found = os.environ.get("CHROMIUM") or next(filter(None, map(shutil.which, NAMES)), None)
    if found is None or os.name == "nt":
        pytest.skip("no Chromium on this machine: apt-get install chromium, or CHROMIUM names its path")
    return found


class Browser:
    """One page. Every request to the network fails, and is kept in `asked`; what goes wrong in scripts in `errors`."""

    def __init__(self, to_browser: int, from_browser: int):
        self.write, self.read = to_browser, from_browser
        self.numbers, self.buffer, self.session = itertools.count(1), b"", ""
        self.errors: list[str] = []
        self.asked: list[str] = []
        self.loaded = False
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        self.session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.call(f"{domain}.enable")

    def call(self, method: str, **values: Any) -> dict[str, Any]:
        """One command and its answer."""
        number = next(self.numbers)
        message = {"id": number, "method": method, "params": values}
        if self.session:
            message["sessionId"] = self.session
        os.write(self.write, json.dumps(message).encode() + b"\0")
        while True:
            answer = self.next_message()
            if answer.get("id") == number:
                if "error" in answer:
                    raise AssertionError(f"{method}: {answer['error']}")
                return answer["result"]

    def next_message(self) -> dict[str, Any]:
        end = time.monotonic() + PATIENCE
        with selectors.DefaultSelector() as ready:
            ready.register(self.read, selectors.EVENT_READ)
            while b"\0" not in self.buffer:
                if not ready.select(max(0, end - time.monotonic())):
                    raise AssertionError("Chromium does not answer")
                part = os.read(self.read, 1 << 20)
                if not part:
                    raise AssertionError("Chromium has ended")
                self.buffer += part
        text, _, self.buffer = self.buffer.partition(b"\0")
        message = json.loads(text)
        self.note(message.get("method", ""), message.get("params", {}))
        return message

    def note(self, event: str, about: dict[str, Any]) -> None:
        if event == "Runtime.exceptionThrown":
            details = about["exceptionDetails"]
            self.errors.append(details.get("exception", {}).get("description", details["text"]))
        elif event == "Log.entryAdded" and about["entry"]["level"] == "error":
            self.errors.append(about["entry"]["text"])
        elif event == "Network.requestWillBeSent" and not about["request"]["url"].startswith(("data:", "file:")):
            self.asked.append(about["request"]["url"])
        elif event == "Page.loadEventFired":
            self.loaded = True

    def open(self, page: Path | str, width: int, *, dark: bool = False, height: int = 900) -> None:
        """Load a file from the disk or an address, at a width in pixels, as a light or a dark page."""
        self.call("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=False)
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.call("Emulation.setEmulatedMedia", features=[scheme])
        self.loaded = False
        self.call("Page.navigate", url=page if isinstance(page, str) else page.resolve().as_uri())
        while not self.loaded:
            self.next_message()

    def run(self, script: str) -> Any:
        """The value of an expression in the page."""
        answer = self.call("Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in answer, answer["exceptionDetails"]
        return answer["result"].get("value")

    def wait_for(self, script: str, seconds: float = 0.0) -> Any:
        """Until an expression in the page is true; its value. seconds: `PATIENCE` if not given."""
        end = time.monotonic() + (seconds or PATIENCE)
        while not (value := self.run(script)):
            assert time.monotonic() < end, f"this never was so: {script}"
            time.sleep(0.1)
        return value

    def choose_files(self, selector: str, *files: Path) -> None:
        """As if the user had chosen them in the dialog of an `<input type=file>`."""
        root = self.call("DOM.getDocument")["root"]["nodeId"]
        node = self.call("DOM.querySelector", nodeId=root, selector=selector)["nodeId"]
        self.call("DOM.setFileInputFiles", nodeId=node, files=[str(file.resolve()) for file in files])

    def centre(self, selector: str) -> tuple[float, float]:
        """Where an element is, scrolled into sight."""
        script = f"""(() => {{ const e = document.querySelector({json.dumps(selector)});
            e.scrollIntoView({{block: "center"}}); const r = e.getBoundingClientRect();
            return [r.x + r.width / 2, r.y + r.height / 2]; }})()"""
        x, y = self.run(script)
        return x, y

    def drag(self, begin: tuple[float, float], end: tuple[float, float]) -> None:
        """With the mouse."""
        button = {"button": "left", "clickCount": 1}
        self.call("Input.dispatchMouseEvent", type="mousePressed", x=begin[0], y=begin[1], buttons=1, **button)
        self.call("Input.dispatchMouseEvent", type="mouseMoved", x=end[0], y=end[1], buttons=1, button="left")
        self.call("Input.dispatchMouseEvent", type="mouseReleased", x=end[0], y=end[1], buttons=0, **button)

    def click(self, selector: str) -> None:
        place = self.centre(selector)
        self.drag(place, place)

    def press(self, key: str, text: str = "") -> None:
        """A key, as `Enter` or `ArrowRight`."""
        codes = {"Enter": 13, "ArrowRight": 39, "ArrowLeft": 37, " ": 32}
        about = {"key": key, "code": "Space" if key == " " else key, "windowsVirtualKeyCode": codes[key]}
        self.call("Input.dispatchKeyEvent", type="keyDown" if text else "rawKeyDown", text=text, **about)
        self.call("Input.dispatchKeyEvent", type="keyUp", **about)

    def draws(self, selector: str, edge: int = 12) -> bool:
        """Is anything to be seen within an element, but for its edge? Of a frame with a page of its own, too."""
        self.centre(selector)
        script = f"""(() => {{ const r = document.querySelector({json.dumps(selector)}).getBoundingClientRect();
            const top = Math.max(0, r.y), bottom = Math.min(innerHeight, r.bottom);
            return [scrollX + r.x, scrollY + top, r.width, bottom - top]; }})()"""
        left, top, width, height = self.run(script)
        place = {"x": left + edge, "y": top + edge, "width": width - 2 * edge, "height": height - 2 * edge, "scale": 1}
        data = base64.b64decode(self.call("Page.captureScreenshot", format="png", clip=place)["data"])
        with Image.open(BytesIO(data)) as image:
            return any(low != high for low, high in image.convert("RGB").getextrema())  # type: ignore[misc]

    def screenshot(self, file: Path, *, whole: bool = False) -> None:
        options: dict[str, Any] = {"format": "png"}
        if whole:
            width, height = self.run("[innerWidth, document.documentElement.scrollHeight]")
            options |= {
                "clip": {"x": 0, "y": 0, "width": width, "height": height, "scale": 1},
                "captureBeyondViewport": True,
            }
        file.write_bytes(base64.b64decode(self.call("Page.captureScreenshot", **options)["data"]))


@contextmanager
def browser(profile: Path) -> Iterator[Browser]:
    """Start Chromium without a network, with a profile folder of its own, and end it."""
    words = [chromium(), "--headless=new", "--remote-debugging-pipe", f"--user-data-dir={profile}", "--no-first-run"]
    words += ["--disable-gpu", "--disable-dev-shm-usage", "--hide-scrollbars", "--proxy-server=127.0.0.1:9"]
    if hasattr(os, "geteuid") and os.geteuid() == 0:
        words.append("--no-sandbox")  # it refuses to start as root with one
    child_read, write = os.pipe()
    read, child_write = os.pipe()
    shell = f'exec "$@" 3<&{child_read} 4>&{child_write}'
    process = subprocess.Popen(
        ["bash", "-c", shell, "chromium", *words],
        pass_fds=(child_read, child_write),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    os.close(child_read)
    os.close(child_write)
    try:
        yield Browser(write, read)
    finally:
        process.terminate()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        os.close(write)
        os.close(read)
