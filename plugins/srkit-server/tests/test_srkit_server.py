"""The server as clients see it, over real sockets: the command's bytes, the queue, the limits, who may ask."""

import base64
import contextlib
import hashlib
import http.client
import json
import os
import re
import signal
import socket
import stat
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.resources import files
from io import BytesIO
from pathlib import Path
from runpy import run_path

import numpy as np
import pytest
from PIL import Image

import srkit
from srkit.testing import check

srkit_server = pytest.importorskip("srkit_server")

from srkit_server import app, receive, serving  # noqa: E402 - after the skip
from srkit_server.app import make_app  # noqa: E402
from srkit_server.guard import check_address, check_origin  # noqa: E402
from srkit_server.jobs import Full, Jobs, Limits, TooLarge  # noqa: E402
from srkit_server.options import Options  # noqa: E402
from srkit_server.private import PREFIX, PrivateFolder, remove_leftovers  # noqa: E402

ROOT = Path(__file__).parents[3]
HOSTILE = run_path(str(ROOT / "benchmarks" / "hostile_uploads.py"))
form, BOUNDARY, noise = HOSTILE["form"], HOSTILE["BOUNDARY"], HOSTILE["noise"]
PASSWORD = "correct horse battery"
SMALL = Limits(upload=300_000, pixels=200_000, result_pixels=2_000_000, waiting=2, seconds=60)


@dataclass
class Served:
    """A server in this process."""

    port: int
    jobs: Jobs

    def ask(self, method: str, path: str, body: bytes = b"", headers: dict[str, str] | None = None) -> "Answer":
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=240)
        with contextlib.closing(connection):
            connection.request(method, path, body, headers or {})
            response = connection.getresponse()
            return Answer(response.status, dict(response.getheaders()), response.read())

    def post(self, picture: bytes | None, path: str = "/upscale", name: str = "p.png", **fields: str) -> "Answer":
        return self.ask("POST", path, form(picture, name, fields), KIND)


@dataclass
class Answer:
    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def error(self) -> str:
        return str(json.loads(self.body)["error"])


KIND = {"Content-Type": f"multipart/form-data; boundary={BOUNDARY}"}


@contextlib.contextmanager
def served(within: Path, limits: Limits = SMALL, **access) -> Iterator[Served]:
    """Small tiles, so that a picture has many."""
    jobs = Jobs(limits, device="cpu", tile=24, within=within)
    listener = serving.bound("127.0.0.1", 0)
    server = serving.server_of(make_app(jobs, **access), jobs)
    thread = threading.Thread(target=server.run, args=([listener],))
    thread.start()
    try:
        yield Served(listener.getsockname()[1], jobs)
    finally:
        jobs.stop()
        server.should_exit = True
        thread.join()
        jobs.close()


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with served(tmp_path_factory.mktemp("server")) as found:
        yield found


@pytest.fixture
def picture(photo) -> bytes:
    return encoded(photo[40:80, 60:110])


@pytest.fixture
def slow(photo) -> bytes:
    """A picture of many tiles: seconds."""
    return encoded(photo[:300, :300])


def encoded(pixels: np.ndarray) -> bytes:
    file = BytesIO()
    Image.fromarray(pixels).save(file, "png")
    return file.getvalue()


def until(true, seconds: float = 120) -> None:
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, "it does not come about"
        time.sleep(0.01)


def empty(jobs: Jobs) -> bool:
    return not [path for path in jobs.folder.iterdir() if path.is_dir()]


# --- what it makes ---


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"model": "edsr-small", "scale": "3"},
        {"model": "edsr-small", "print": "10x15cm", "dpi": "25", "bleed": "3mm", "crop": "true", "format": "tiff"},
        {"model": "bicubic", "print": "A6", "dpi": "40", "pad": "black", "format": "jpeg", "quality": "70"},
        {"model": "lanczos", "width": "111", "depth": "16"},
        {"long_edge": "60", "protect": "text", "strength": "0.5", "strip": "true", "profile": "srgb"},
        {"self_ensemble": "true", "keep_colour": "true", "receipt": "xmp", "scale": "2", "format": "webp"},
        {"model": "bicubic", "height": "99", "format": "bmp", "background": "red"},
        {"model": "edsr-small", "backend": "torch", "precision": "bf16"},
    ],
)
def test_the_answer_is_the_file_of_the_command(site, run_srkit, picture, fields):
    Path("p.png").write_bytes(picture)
    options = [(f"--{name.replace('_', '-')}", value) for name, value in fields.items()]
    words = [word for option in options for word in option if word != "true"]
    code, out, err = run_srkit("upscale", "p.png", "--device", "cpu", "--tile", "24", "--json", *words)
    assert code == 0, err
    made = Path(json.loads(out)["target"])
    answer = site.post(picture, **fields)
    assert answer.status == 200, answer.body
    assert answer.body == made.read_bytes()
    assert f'filename="{made.name}"' in answer.headers["content-disposition"]
    assert answer.headers["content-type"] == Image.MIME[Image.open(BytesIO(answer.body)).format]


def test_the_headers_say_what_made_it(site, picture):
    answer = site.post(picture, model="edsr-small", scale="2", dpi="60")
    known = {model.name: model for model in srkit.list_models()}["edsr-small"]
    resources = [
        each.resource for e in srkit.load_plugins().of("model") for each in e.component.weights if each.resource
    ]
    shipped = [files(word.partition(":")[0]).joinpath(word.partition(":")[2]) for word in resources]
    told = {key: value for key, value in answer.headers.items() if key.startswith("srkit-")}
    assert told.pop("srkit-model") == "edsr-small x2"
    assert told.pop("srkit-licence") == known.licence
    assert told.pop("srkit-weights") in {hashlib.sha256(file.read_bytes()).hexdigest() for file in shipped}
    assert told.pop("srkit-runtime") == "torch in fp32"
    assert told.pop("srkit-size") == "100x80"
    assert float(told.pop("srkit-seconds")) > 0
    assert float(told.pop("srkit-waited")) >= 0
    assert any("at 60 dpi a print of 4.2 x 3.4 cm" in line for line in json.loads(told.pop("srkit-notices")))
    assert not told


def test_each_option_is_one_of_the_command(run_srkit):
    code, out, _ = run_srkit("upscale", "--help")
    words = set(re.findall(r"--[a-z][a-z-]*", out))
    assert code == 0
    assert {f"--{field.alias or name}".replace("_", "-") for name, field in Options.model_fields.items()} <= words
    assert len(Options.model_fields) > 20


def test_models_and_health(site):
    found = {model["name"]: model for model in json.loads(site.ask("GET", "/models").body)}
    assert set(found) == {model.name for model in srkit.list_models()}
    assert found["edsr-small@photo"]["licence"]
    assert 2 in found["edsr-small"]["scales"]
    assert json.loads(site.ask("GET", "/health").body) == {"status": "ok"}


def test_a_plan_is_that_of_python(site, picture):
    plan = json.loads(site.post(picture, "/plan", model="edsr-small", scale="3").body)
    assert (plan["source"], plan["size"], plan["chain"]) == ([50, 40], [150, 120], [3])
    assert plan["seconds"] > 0
    assert empty(site.jobs)


def test_the_document_describes_each_address_and_option(site):
    document = json.loads(site.ask("GET", "/openapi.json").body)
    assert document["openapi"] == "3.1.0"
    form_of = document["paths"]["/upscale"]["post"]["requestBody"]["content"]["multipart/form-data"]["schema"]
    assert {*form_of["properties"]} == {"picture"} | {f.alias or n for n, f in Options.model_fields.items()}
    assert form_of["properties"]["scale"] == {
        "type": "number",
        "description": form_of["properties"]["scale"]["description"],
    }
    for path in document["paths"]:
        for method in set(document["paths"][path]) - {"parameters"}:
            status = site.ask(method.upper(), path.replace("{id}", "none")).status
            assert status in (200, 404, 415), (method, path, status)
    schemas = json.dumps(document)
    assert all(name in document["components"]["schemas"] for name in re.findall(r"#/components/schemas/(\w+)", schemas))


def test_the_page_asks_nothing_of_other_hosts(site):
    answer = site.ask("GET", "/")
    page = answer.body.decode()
    assert set(re.findall(r"https?://[^\s/<\"']+", page)) == {"http://127.0.0.1:8000"}  # in the example
    assert not re.search(r"<script|<img|<link|@import|url\(", page)
    assert "default-src 'none'" in answer.headers["content-security-policy"]
    assert all(f"<code>{f.alias or n}</code>" in page for n, f in Options.model_fields.items())


# --- the queue ---


def test_two_clients_at_once_are_both_answered_rightly(site, picture, photo):
    other = encoded(photo[:50, :40])
    alone = [site.post(each, model="edsr-small").body for each in (picture, other)]
    answers: dict[int, bytes] = {}

    def client(number: int) -> None:
        answers[number] = site.post((picture, other)[number], model="edsr-small").body

    threads = [threading.Thread(target=client, args=(number,)) for number in (0, 1)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [answers[0], answers[1]] == alone


def test_a_job_has_a_place_goes_on_and_is_deleted(site, slow, picture):
    first = json.loads(site.post(slow, "/jobs", model="edsr-small").body)
    second = site.post(picture, "/jobs", model="edsr-small")
    assert second.status == 202
    state = json.loads(second.body)
    assert second.headers["location"] == f"/jobs/{state['id']}"
    assert (state["state"], state["place"]) == ("waiting", 1)
    assert site.ask("GET", f"/jobs/{state['id']}/result").status == 409

    def now(job: dict) -> dict:
        return json.loads(site.ask("GET", f"/jobs/{job['id']}").body)

    until(lambda: 0 < now(first)["share"] < 1 and now(first)["left"] is not None)
    assert site.ask("DELETE", f"/jobs/{first['id']}").status == 204
    until(lambda: now(state)["state"] == "done")
    result = site.ask("GET", f"/jobs/{state['id']}/result")
    assert result.body == site.post(picture, model="edsr-small").body
    assert len(state["id"]) >= 32
    assert site.ask("DELETE", f"/jobs/{state['id']}").status == 204
    assert site.ask("GET", f"/jobs/{state['id']}/result").status == 404
    assert site.ask("GET", f"/jobs/{first['id']}").status == 404
    until(lambda: empty(site.jobs))


def test_a_full_queue_is_told_before_anything_is_sent(site, slow):
    jobs = [json.loads(site.post(slow, "/jobs", model="edsr-small").body) for _ in range(3)]
    answer = site.post(slow)
    assert answer.status == 503
    assert answer.error == "2 pictures are waiting, as many as may; come again later"
    assert int(answer.headers["retry-after"]) > 0
    for job in jobs:
        site.ask("DELETE", f"/jobs/{job['id']}")
    until(lambda: empty(site.jobs))


@pytest.mark.parametrize("waiting", [False, True])
def test_a_client_that_goes_away_cancels_its_job_within_a_tile(site, slow, waiting):
    before = json.loads(site.post(slow, "/jobs", model="edsr-small").body)["id"] if waiting else ""
    client = socket.create_connection(("127.0.0.1", site.port))
    client.sendall(HOSTILE["request"](form(slow, fields={"model": "edsr-small"})))
    mine = [0.0]

    def begun() -> bool:
        job = next((job for job in list(site.jobs._jobs.values()) if job.id != before), None)
        mine[0] = 0.0 if job is None else job.share
        return job is not None and (waiting or job.share > 0)

    until(begun)
    client.close()
    gone = time.monotonic()
    until(lambda: set(site.jobs._jobs) <= {before})
    assert time.monotonic() - gone < 10
    assert mine[0] < 0.5
    if waiting:
        site.ask("DELETE", f"/jobs/{before}")
    until(lambda: empty(site.jobs))


# --- the limits ---


def test_bytes_are_counted_while_they_come(site):
    answer = site.post(bytes(400_000))
    assert (answer.status, answer.error) == (413, "this server takes pictures of 0.3 MB at most")
    connection = http.client.HTTPConnection("127.0.0.1", site.port, timeout=60)
    with contextlib.closing(connection):  # no length is said
        connection.request("POST", "/upscale", (form(bytes(100_000)) for _ in range(9)), KIND, encode_chunked=True)
        assert connection.getresponse().status == 413
    assert empty(site.jobs)


def test_pixels_are_judged_by_the_header_and_by_the_plan(site, picture):
    answer = site.post(encoded(np.zeros((400, 501), np.uint8)), model="bicubic")
    assert (answer.status, answer.error) == (
        413, "the picture has 501x400 pixels, 0.2 million; this server takes 0.2 million"
    )  # fmt: skip
    answer = site.post(picture, scale="40")
    assert answer.status == 413
    assert answer.error.startswith("the result would have 2000x1600 pixels, 3.2 million")


def test_a_job_may_take_so_long(tmp_path, slow):
    with served(tmp_path, Limits(seconds=0.3)) as site:
        answer = site.post(slow, model="edsr-small")
        assert (answer.status, answer.error) == (504, "it took longer than 0.3 seconds, as long as it may")
        until(lambda: empty(site.jobs))


@pytest.mark.parametrize(
    ("fields", "error"),
    [
        ({"scale": "nan"}, "scale 'nan': Input should be a finite number"),
        ({"scale": "1e9"}, "--scale 1e+09 is not a factor; write 2, 4 or 2.7"),
        ({"scal": "2"}, "no option 'scal'; did you mean 'scale'?"),
        ({"scale": "2", "width": "9"}, "--scale and --width each say how large; give one of them"),
        ({"model": "../../etc/passwd"}, "no model '../../etc/passwd' here; there is bicubic, edsr-small"),
        ({"model": "hf:owner/name"}, "no model 'hf:owner/name' here; there is bicubic"),
        ({"model": "edsr-small@none"}, "no model 'edsr-small@none' here; did you mean 'edsr-small"),
        ({"model": "edsr"}, "no model 'edsr' here; "),
        ({"protect": "/etc/passwd"}, "protect '/etc/passwd': Input should be 'text'"),
        ({"receipt": "sidecar"}, "receipt 'sidecar': Input should be 'xmp'"),
        ({"max_pixels": "9"}, "no option 'max_pixels'; "),
        ({"backend": "../x"}, "no backend '../x' here; there is auto, "),
        ({"backend": "torch", "precision": "int8"}, "backend 'torch' computes in fp32, bf16, fp16, not in 'int8'"),
        ({"precision": "fp3"}, "no precision called 'fp3'; did you mean 'fp32'?"),
    ],
)
def test_wrong_options_are_one_line(site, picture, fields, error):
    answer = site.post(picture, **fields)
    assert answer.status == 422
    assert answer.error.startswith(error)


def test_no_picture_is_one_line_without_a_path(site):
    answer = site.post(b"<html>", name="../../x.png")
    assert answer.status == 415
    assert answer.error == "'x.png' is not a picture that can be read (by its content, not its name)"


@pytest.mark.parametrize(
    ("sent", "kept"),
    [
        ("../../x.png", "x.png"), ("..\\x.png", "x.png"), ("/etc/passwd", "passwd"), ("..", "picture"), ("", "picture"),
        ("a b,c*.png", "a_b_c_.png"), ("é.png", "é.png"), ("-\x00.png", "-_.png"),
        ("x" * 500 + ".png", "x" * 116 + ".png"),
        ("." + "y" * 500, "y" * 120), ("😀.png", "_.png"),
    ],
)  # fmt: skip
def test_a_name_of_a_file_is_its_last_part(sent, kept):
    assert receive.safe_name(sent) == kept
    assert len(receive.safe_name(sent).encode()) <= receive.NAME


# --- who may ask ---


def test_the_password(tmp_path):
    with served(tmp_path, password=PASSWORD) as site:
        answer = site.ask("GET", "/models")
        assert answer.status == 401
        assert answer.headers["www-authenticate"].startswith("Basic ")
        assert site.ask("GET", "/health").status == 200
        for word, status in ((f"any:{PASSWORD}", 200), ("any:wrong", 401), (PASSWORD, 401), ("", 401)):
            basic = {"Authorization": f"Basic {base64.b64encode(word.encode()).decode()}"}
            assert site.ask("GET", "/models", headers=basic).status == status
        assert site.ask("GET", "/models", headers={"Authorization": "Basic \xff"}).status == 401


def test_other_names_and_other_sites_pages_are_refused(site, picture):
    assert site.ask("GET", "/models", headers={"Host": "evil.example"}).status == 421
    assert site.ask("GET", "/models", headers={"Host": f"localhost:{site.port}"}).status == 200
    assert site.ask("GET", "/models", headers={"Host": f"[::1]:{site.port}"}).status == 200
    assert site.ask("GET", "/models", headers={f"X-{n}": "x" for n in range(101)}).status == 431
    body = form(picture)
    for origin in ("https://evil.example", "null", "http://127.0.0.1:1"):
        answer = site.ask("POST", "/upscale", body, KIND | {"Origin": origin})
        assert answer.status == 403
        assert "access-control-allow-origin" not in answer.headers
    own = {"Origin": f"http://127.0.0.1:{site.port}"}
    assert site.ask("POST", "/upscale", body, KIND | own).status == 200


def test_a_named_site_may_ask_from_a_browser(tmp_path):
    shop = "https://shop.example"
    with served(tmp_path, origins=[shop], password=PASSWORD) as site:
        asked = {
            "Origin": shop,
            "Access-Control-Request-Method": "POST",
            "Access-Control-Request-Headers": "authorization",
        }
        answer = site.ask("OPTIONS", "/upscale", headers=asked)
        assert answer.status == 200
        assert answer.headers["access-control-allow-origin"] == shop
        assert site.ask("OPTIONS", "/upscale", headers=asked | {"Origin": "https://evil.example"}).status == 400
        assert site.ask("GET", "/health", headers={"Origin": "https://evil.example"}).status == 403


def test_a_name_behind_a_proxy_is_answered(tmp_path):
    with served(tmp_path, names=["Pictures.shop.example"]) as site:
        assert site.ask("GET", "/models", headers={"Host": "pictures.shop.example"}).status == 200
        assert site.ask("GET", "/models", headers={"Host": "shop.example"}).status == 421


def test_who_does_not_read_the_answer_is_cut_off(tmp_path, picture, monkeypatch):
    monkeypatch.setattr(app, "TAKEN", 0.3)
    with served(tmp_path, Limits(result_pixels=50_000_000)) as site, socket.socket() as client:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        client.connect(("127.0.0.1", site.port))
        client.sendall(HOSTILE["request"](form(picture, fields={"model": "nearest", "scale": "60", "format": "bmp"})))
        until(lambda: not empty(site.jobs))
        until(lambda: empty(site.jobs))  # some 20 MB that nobody reads


def test_what_the_command_refuses():
    with pytest.raises(srkit.UsageError, match=r"'0.0.0.0' can be reached by others: set the environment variable"):
        check_address("0.0.0.0", "")
    with pytest.raises(srkit.UsageError, match="a password has at least 12 characters; this one has 5"):
        check_address("127.0.0.1", "short")
    for host in ("127.0.0.1", "localhost", "::1", "127.3.2.1"):
        check_address(host, "")
    check_address("0.0.0.0", PASSWORD)
    assert check_origin("https://Shop.example/") == "https://shop.example"
    for wrong in ("*", "shop.example", "https://*.example", "file:///x", "https://shop.example/path"):
        with pytest.raises(srkit.UsageError, match="is not the address of a site"):
            check_origin(wrong)


# --- its files ---


def test_files_are_private_and_deleted_after_a_while(tmp_path, picture):
    jobs = Jobs(Limits(kept=1.0, disk=10**9), device="cpu", within=tmp_path)
    try:
        jobs.upscaler(Options(model="bicubic"))  # loaded, so that the picture does not grow old before it has a job
        assert stat.S_IMODE(jobs.folder.stat().st_mode) == 0o700
        folder, unused = jobs.new_folder(), jobs.new_folder()
        (folder / "p.png").write_bytes(picture)
        job = jobs.submit(folder / "p.png", Options(model="bicubic"))
        assert job.wait(120)
        assert job.result is not None
        assert job.result.parent == folder
        until(lambda: not folder.exists() and not unused.exists(), 20)
        assert jobs.find(job.id) is None
    finally:
        jobs.close()
    assert not jobs.folder.exists()
    with pytest.raises(Full, match="ending"):
        jobs.submit(folder / "p.png", Options())


def test_the_oldest_go_where_the_disk_has_no_room(tmp_path, picture):
    jobs = Jobs(Limits(disk=len(picture) * 4), device="cpu", within=tmp_path)
    made = []
    with contextlib.closing(jobs):
        for _ in range(3):
            folder = jobs.new_folder()
            (folder / "p.png").write_bytes(picture)
            made.append(jobs.submit(folder / "p.png", Options(model="bicubic", scale=1)))
            assert made[-1].wait(120)
        jobs.sweep()
        assert [job.folder.exists() for job in made] == [False, False, True] or not made[0].folder.exists()
        assert made[2].folder.exists()


def test_limits_hold_for_python_too(tmp_path, picture):
    jobs = Jobs(SMALL, device="cpu", within=tmp_path)
    with contextlib.closing(jobs):
        folder = jobs.new_folder()
        (folder / "p.png").write_bytes(picture)
        with pytest.raises(TooLarge):
            jobs.submit(folder / "p.png", Options(scale=40))
        with pytest.raises(srkit.UnknownName):
            jobs.submit(folder / "p.png", Options(model="/etc/passwd"))
        job = jobs.submit(folder / "p.png", Options(model="edsr-small"), confidence=True)
        assert job.wait(120)
        assert job.confidence is not None
        assert job.confidence.is_file()


def test_what_a_killed_server_left_is_removed_and_a_living_ones_stays(tmp_path):
    program = (
        "import sys, os, signal; from pathlib import Path; from srkit_server.private import PrivateFolder; "
        f"folder = PrivateFolder(Path({str(tmp_path)!r})); print(folder.path, flush=True); "
        "(folder.new() / 'upload').write_text('secret'); os.kill(os.getpid(), signal.SIGKILL)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    left = Path(done.stdout.strip())
    assert (left.exists(), done.returncode) == (True, -signal.SIGKILL)
    living = PrivateFolder(tmp_path)
    assert not left.exists()
    assert living.path.exists()
    assert remove_leftovers(tmp_path) == []
    (tmp_path / f"{PREFIX}link").symlink_to("/")
    assert remove_leftovers(tmp_path) == []
    living.close()


# --- hostility ---


def test_hostile_uploads(site, picture):
    """Of each kind some; benchmarks/hostile_uploads.py sends hundreds and measures memory."""
    right = site.post(picture, model="edsr-small").body
    for one in HOSTILE["hostile"](30, seed=5):
        status, came = HOSTILE["answer_to"](site.port, one)
        assert not HOSTILE["fault_of"](one, status, came), one.kind
    assert site.post(picture, model="edsr-small").body == right
    until(lambda: empty(site.jobs))


def test_who_sends_nothing_is_cut_off(site, monkeypatch, picture):
    monkeypatch.setattr(serving, "HEAD", 0.3)
    monkeypatch.setattr(receive, "SILENCE", 0.3)
    silent, halting = HOSTILE["slow_clients"](site.port, 2)
    sending = socket.create_connection(("127.0.0.1", site.port), timeout=10)
    sending.sendall(HOSTILE["request"](form(picture))[:-500])
    assert sending.recv(1000).startswith(b"HTTP/1.1 408")
    for client in (silent, halting):
        client.settimeout(5)
        assert client.recv(10) == b""
        client.close()
    sending.close()


@pytest.mark.parametrize("error", [ZeroDivisionError, SystemExit])
def test_an_unexpected_error_is_one_line_a_traceback_for_the_owner_and_the_next_job_is_made(
    site, picture, monkeypatch, caplog, error
):
    def fail(*_: object, **__: object) -> None:
        raise error("secret")

    with monkeypatch.context() as patch:
        patch.setattr(srkit.Upscaler, "upscale_file", fail)
        answer = site.post(picture)
        assert (answer.status, answer.error) == (500, f"unexpected {error.__name__}; the server's log says more")
    assert "secret" in caplog.text
    assert "in fail" in caplog.text
    assert site.post(picture).status == 200


def test_the_document_names_the_backends_that_are_here_and_auto_says_what_it_took(tmp_path, registry, picture):
    with served(tmp_path) as site:
        document = json.loads(site.ask("GET", "/openapi.json").body)
        form_of = document["paths"]["/upscale"]["post"]["requestBody"]["content"]["multipart/form-data"]["schema"]
        there = [entry.component.name for entry in registry.of("backend")]
        assert form_of["properties"]["backend"]["enum"] == [*there, "auto"]
        assert {"fp32", "bf16", "auto"} <= {*form_of["properties"]["precision"]["enum"]}
        site.jobs.backends = {"torch": ("fp32",)}
        assert site.post(picture, backend="nowhere").error == "no backend 'nowhere' here; there is auto, torch"


# --- the command ---


def test_it_keeps_the_contract_and_listing_it_imports_nothing_heavy(registry):
    assert {finding.outcome for finding in check(registry, "command", "serve")} == {"ok"}
    code = (
        "import sys, srkit; r = srkit.load_plugins(); assert not r.notices, r.notices; "
        "assert any(e.component.name == 'serve' for e in r.of('command')); "
        "print({'torch', 'starlette', 'uvicorn', 'pydantic'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout.strip() == "set()", done.stderr


def test_ctrl_c_ends_it_with_a_job_running_and_leaves_nothing(tmp_path, slow):
    environment = os.environ | {"TMPDIR": str(tmp_path)}
    command = [sys.executable, "-m", "srkit", "serve", "--port", "0", "--device", "cpu", "--tile", "24"]
    with subprocess.Popen(
        command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as server:
        assert server.stdout is not None
        assert server.stderr is not None
        address = server.stdout.readline()
        port = int(address.rsplit(":", 1)[1].strip(" /\n"))
        client = socket.create_connection(("127.0.0.1", port))
        client.sendall(HOSTILE["request"](form(slow, fields={"model": "edsr-small"})))
        until(lambda: len(list(tmp_path.glob(f"{PREFIX}*/*/p.png"))) == 1)
        server.send_signal(signal.SIGINT)
        answer = client.recv(10_000)
        client.close()
        assert server.wait(120) == 0
        assert "Traceback" not in server.stderr.read()
    assert answer.startswith(b"HTTP/1.1 503")
    assert not list(tmp_path.glob(f"{PREFIX}*"))


def test_wrong_use_of_the_command_is_told(run_srkit):
    assert run_srkit("serve", "--host", "0.0.0.0")[0] == 2
    assert run_srkit("serve", "--password", "short")[0] == 2
    assert run_srkit("serve", "--origin", "*")[0] == 2


def test_a_port_that_is_taken_is_one_line(run_srkit):
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        code, out, err = run_srkit("serve", "--port", port)
    assert (code, out) == (1, "")
    assert f"cannot listen on 127.0.0.1 port {port}: Address already in use" in err.splitlines()[-1]
    assert "Traceback" not in err


def test_the_commands_of_the_pages_are_ones(run_srkit):
    """Every `srkit serve ...` and every option named beside it."""
    _, out, _ = run_srkit("serve", "--help")
    known = set(re.findall(r"--[a-z][a-z-]*", out))
    for page in (ROOT / "docs/server.md", ROOT / "plugins/srkit-server/README.md"):
        text = page.read_text(encoding="utf-8")
        named = {
            word
            for line in re.findall(r"srkit serve (.*)$", text, flags=re.M)
            for word in re.findall(r"--[a-z-]+", line)
        }
        named |= set(re.findall(r"^\| `(--[a-z-]+)` \|", text, flags=re.M))
        assert named <= known, page
        for path in re.findall(r"127\.0\.0\.1:8000(/\w+)", text):
            assert path in ("/upscale",), page


def test_the_container_runs_what_there_is():
    """Without Docker: its lines were run by benchmarks/container_lines.py."""
    yaml = pytest.importorskip("yaml")
    tools = run_path(str(ROOT / "benchmarks/container_lines.py"))
    lines = tools["instructions"]((ROOT / "Dockerfile").read_text())
    found = dict(lines)
    assert found["USER"] not in ("root", "0")
    assert [word for word, _ in lines].index("USER") < [word for word, _ in lines].index("ENTRYPOINT")
    assert f"127.0.0.1:{found['EXPOSE']}/health" in found["HEALTHCHECK"]
    assert (json.loads(found["ENTRYPOINT"]), json.loads(found["CMD"])) == (["srkit"], ["serve", "--host", "0.0.0.0"])
    rules = [line for line in (ROOT / ".dockerignore").read_text().splitlines() if line and not line.startswith("#")]
    for name, through in (
        ("srkit/__init__.py", True), ("plugins/srkit_builtin/__init__.py", True), ("pyproject.toml", True),
        ("plugins/srkit-server/srkit_server/app.py", True), ("plugins/srkit-server/tests/test_srkit_server.py", False),
        ("plugins/srkit-onnx/pyproject.toml", False), ("benchmarks/README.md", False), (".git/config", False),
    ):  # fmt: skip
        assert tools["is_let_through"](name, rules) is through, name
    service = yaml.safe_load((ROOT / "compose.yaml").read_text())["services"]["srkit"]
    assert service["ports"] == ["127.0.0.1:8000:8000"]
    assert service["environment"]["SRKIT_PASSWORD"].startswith("${SRKIT_PASSWORD:?")
    assert (service["read_only"], service["cap_drop"]) == (True, ["ALL"])
