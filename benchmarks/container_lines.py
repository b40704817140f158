"""Run the RUN lines of the Dockerfile in a fresh environment, then its command and its health check, without Docker.

    python benchmarks/container_lines.py [--torch WORDS] [--json FILE]

Where no container can be built, this shows that the lines do what they say: the paths /build and /wheels become folders
of a temporary one, `pip` that of a new virtual environment, what .dockerignore leaves out is left out. `useradd` and
USER are not run: they want root and change the system. Where download.pytorch.org cannot be reached, --torch says what
is installed in place of that line, "torch==2.13.0+cpu torchvision". At the end the server is started by CMD, asked by
HEALTHCHECK until it is healthy, given a picture, refused one without the password, and stopped by SIGTERM as `docker
stop` does.
"""

import argparse
import base64
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
import venv
from pathlib import Path

ROOT = Path(__file__).parents[1]
PASSWORD = "correct horse battery"
PHOTO = ROOT / "plugins/srkit_builtin/samples/chelsea.png"


def instructions(text: str) -> list[tuple[str, str]]:
    """(word, rest) of each line of a Dockerfile, comments left out, continued lines joined."""
    joined = re.sub(r"\\\n", " ", re.sub(r"^#.*\n", "", text, flags=re.M))
    return [(word, rest.strip()) for word, _, rest in (line.partition(" ") for line in joined.splitlines()) if word]


def context(folder: Path) -> None:
    """What `COPY . .` brings: the files git knows that .dockerignore lets through."""
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    rules = [line for line in (ROOT / ".dockerignore").read_text().splitlines() if line and not line.startswith("#")]
    for name in listed.splitlines():
        if is_let_through(name, rules):
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(ROOT / name, folder / name)


def is_let_through(name: str, rules: list[str]) -> bool:
    """Does .dockerignore keep a file? The last rule that matches it or a folder above it decides."""
    ways = [name, *map(str, Path(name).parents)]
    through = True
    for rule in rules:
        pattern = re.escape(rule.lstrip("!")).replace(r"\*\*/", "(.*/)?").replace(r"\*", "[^/]*")
        if any(re.fullmatch(pattern, way) for way in ways):
            through = rule.startswith("!")
    return through


def prepared(line: str, folder: Path, arguments: dict[str, str], torch: str) -> str:
    for name, value in arguments.items():
        line = line.replace(f"${{{name}}}", value)
    if torch:
        line = re.sub(r"--index-url \S+ torch torchvision", torch, line)
    return re.sub(r"(?<![\w.])/(build|wheels)\b", rf"{folder}/\1", line)


def run_lines(folder: Path, torch: str) -> list[dict[str, object]]:
    """All RUN lines, in their order. Raises CalledProcessError where one fails."""
    (folder / "build").mkdir()
    context(folder / "build")
    environment = os.environ | {"PATH": f"{folder}/venv/bin:{os.environ['PATH']}", "VIRTUAL_ENV": f"{folder}/venv"}
    for name in ("PYTHONPATH", "PYTHONHOME"):
        environment.pop(name, None)
    arguments: dict[str, str] = {}
    told = []
    for word, rest in instructions((ROOT / "Dockerfile").read_text()):
        if word == "ARG":
            name, _, value = rest.partition("=")
            arguments[name] = value
        if word != "RUN":
            continue
        line = prepared(rest, folder, arguments, torch)
        skipped = line.startswith("useradd")
        begun = time.monotonic()
        print(f"{'not run' if skipped else 'RUN'}: {line}", flush=True)
        if not skipped:
            subprocess.run(["sh", "-ec", line], cwd=folder / "build", env=environment, check=True)
        told.append({"line": rest, "run": "" if skipped else line, "seconds": round(time.monotonic() - begun, 1)})
    return told


def serve(folder: Path) -> dict[str, object]:
    """Start CMD, wait for HEALTHCHECK, send a picture, stop it."""
    found = dict(instructions((ROOT / "Dockerfile").read_text()))
    words = [*json.loads(found["ENTRYPOINT"]), *json.loads(found["CMD"])]
    health = json.loads(found["HEALTHCHECK"].partition("CMD ")[2])
    port = int(found["EXPOSE"])
    environment = {"PATH": f"{folder}/venv/bin:/usr/bin:/bin", "HOME": str(folder), "SRKIT_PASSWORD": PASSWORD}
    environment |= dict(pair.split("=", 1) for pair in found["ENV"].split()) | {"SRKIT_CACHE": str(folder / "cache")}
    environment["TMPDIR"] = str(folder)
    server = subprocess.Popen(words, env=environment, cwd=folder)
    try:
        begun = time.monotonic()
        while subprocess.run(health, env=environment, stderr=subprocess.DEVNULL).returncode:
            if server.poll() is not None or time.monotonic() - begun > 300:
                sys.exit("it does not become healthy")
            time.sleep(0.5)
        healthy = time.monotonic() - begun
        refused, _ = asked(port, "")
        status, size = asked(port, PASSWORD)
        server.send_signal(signal.SIGTERM)
        code = server.wait(60)
    finally:
        server.kill()
    left = [path.name for path in folder.glob("srkit-server-*")]
    return {
        "healthy after": round(healthy, 1), "without password": refused, "with password": status, "bytes": size,
        "exit code": code, "left over": left,
    }  # fmt: skip


def asked(port: int, password: str) -> tuple[int, int]:
    """(status, bytes) of a picture made larger."""
    body = b'--x\r\nContent-Disposition: form-data; name="picture"; filename="p.png"\r\n\r\n'
    body += PHOTO.read_bytes() + b"\r\n--x--\r\n"
    headers = {"Content-Type": "multipart/form-data; boundary=x"}
    if password:
        headers["Authorization"] = f"Basic {base64.b64encode(f'srkit:{password}'.encode()).decode()}"
    request = urllib.request.Request(f"http://127.0.0.1:{port}/upscale", body, headers)
    try:
        with urllib.request.urlopen(request, timeout=300) as answer:
            return answer.status, len(answer.read())
    except urllib.error.HTTPError as error:
        with error:
            return error.code, 0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--torch", default="", help="in place of torch torchvision from download.pytorch.org")
    parser.add_argument("--json", type=Path, help="keep what came out in this file")
    said = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        venv.create(folder / "venv", with_pip=True)
        result = {"lines": run_lines(folder, said.torch), "server": serve(folder)}
        text = json.dumps(result, indent=1).replace(name, "FOLDER")
    print(text)
    if said.json:
        said.json.write_text(text + "\n")
    server = result["server"]
    assert isinstance(server, dict)
    sys.exit(int((server["without password"], server["with password"], server["exit code"]) != (401, 200, 0)))


if __name__ == "__main__":
    main()
