"""Send hostile uploads to `srkit serve`: no traceback to the client, memory bounded, the server lives, answers right.

    python benchmarks/hostile_uploads.py [--count 200] [--seed 0] [--json FILE]

It starts a server of its own on a free port (Linux: its memory is read from /proc), sends damaged, cut and mistaken
pictures, bombs, broken forms, wrong names, absurd options, lying lengths and endless heads, a hundred connections that
send next to nothing, and after every tenth a good picture, whose answer must have the bytes of the first one. Prints a
table; the exit code says whether all is well. Needs srkit-server.
"""

import argparse
import collections
import contextlib
import http.client
import io
import json
import re
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import zipfile
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from runpy import run_path

import numpy as np

MB = 1_000_000
UPLOAD = 4  # MB, of the server that is started
LONGEST = 120.0  # seconds for an answer
MUCH = 700  # MB that the server's own memory may grow by: that of the largest picture it takes, read and enlarged
ENDING = 300  # seconds until what does not end is a fault
BOUNDARY = "0123456789abcdef"
TRACE = re.compile(rb'Traceback|File "|line \d+, in |/site-packages/|/tmp/')
REFUSED = frozenset((400, 403, 404, 405, 408, 413, 414, 415, 421, 422, 431, 499, 503, 504))


@dataclass(frozen=True)
class Hostile:
    """What is sent, byte for byte. may: the statuses that are right; 0 is a connection that is closed unanswered.

    ends: the client goes away after the last byte, and waits for nothing.
    """

    kind: str
    sent: bytes
    may: frozenset[int] = REFUSED | {0}
    ends: bool = False


def form(picture: bytes | None, name: str = "p.png", fields: dict[str, str] | None = None) -> bytes:
    """A multipart body with one file and some fields."""
    parts = [
        f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="{key}"\r\n\r\n{value}\r\n'.encode()
        for key, value in (fields or {}).items()
    ]
    if picture is not None:
        head = f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="picture"; filename="{name}"\r\n'
        parts.append(head.encode(errors="replace") + b"Content-Type: image/png\r\n\r\n" + picture + b"\r\n")
    return b"".join(parts) + f"--{BOUNDARY}--\r\n".encode()


def request(
    body: bytes, *, kind: str = f"multipart/form-data; boundary={BOUNDARY}", length: str | None = None, more: str = "",
    path: str = "/upscale", method: str = "POST",
) -> bytes:  # fmt: skip
    head = f"{method} {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\nContent-Type: {kind}\r\n{more}"
    head += f"Content-Length: {len(body) if length is None else length}\r\n\r\n"
    return head.encode("latin-1", "replace") + body


def noise(width: int, height: int, seed: int = 0) -> bytes:
    """A PNG of random pixels."""
    from PIL import Image

    pixels = np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "png")
    return file.getvalue()


def chunk(kind: bytes, data: bytes) -> bytes:
    return len(data).to_bytes(4, "big") + kind + data + zlib.crc32(kind + data).to_bytes(4, "big")


def png_saying(width: int, height: int, *extra: bytes, data: bytes = b"") -> bytes:
    head = chunk(b"IHDR", width.to_bytes(4, "big") + height.to_bytes(4, "big") + b"\x08\x02\0\0\0")
    return b"\x89PNG\r\n\x1a\n" + head + b"".join(extra) + chunk(b"IDAT", data) + chunk(b"IEND", b"")


# --- the kinds; each gives as many as it is asked for, in turn ---


def damaged(rng: np.random.Generator) -> Iterator[Hostile]:
    """Mutated pictures of every format: a picture, or a line."""
    tools = run_path(str(Path(__file__).with_name("mutated_pictures.py")))
    with tempfile.TemporaryDirectory() as folder:
        files = tools["originals"](Path(folder))
        pictures = [(path.name, path.read_bytes()) for path in files]
    while True:
        name, data = pictures[int(rng.integers(len(pictures)))]
        body = form(tools["mutated"](data, rng), name, {"model": "bicubic"})
        yield Hostile("mutated picture", request(body), REFUSED | {200})


def cut(rng: np.random.Generator) -> Iterator[Hostile]:
    """Pictures and forms that end too early, and clients that do."""
    whole = noise(64, 64)
    while True:
        part = whole[: int(rng.integers(1, len(whole) - 16))]
        yield Hostile("cut picture", request(form(part)), REFUSED | {200})
        body = form(whole)
        yield Hostile("cut form", request(body[: int(rng.integers(10, len(body) - 4))]))
        yield Hostile("client gone while sending", request(body)[: int(rng.integers(200, len(body)))], ends=True)
        yield Hostile("client gone while it is made", request(form(whole)), ends=True)


def bombs(rng: np.random.Generator) -> Iterator[Hostile]:
    """Small files that say or hold far more than they are."""
    zeros = zlib.compress(bytes(200 * MB), 9)
    gif = b"GIF89a\xff\xff\xff\xff\x80\0\0\0\0\0\xff\xff\xff,\0\0\0\0\xff\xff\xff\xff\0\x02\x02D\x01\0;"
    bmp = b"BM" + (58).to_bytes(4, "little") + bytes(4) + (54).to_bytes(4, "little") + (40).to_bytes(4, "little")
    bmp += (60_000).to_bytes(4, "little") * 2 + b"\x01\0\x18\0" + bytes(24)
    files = {
        "png that says 60000x60000": png_saying(60_000, 60_000, data=zlib.compress(b"")),
        "png of 200 MB zeros that says 8000x8000": png_saying(8000, 8000, data=zeros),
        "png that says 100x100 and holds 200 MB": png_saying(100, 100, data=zeros),
        "png whose text holds 200 MB": png_saying(
            8, 8, chunk(b"zTXt", b"k\0\0" + zeros), data=zlib.compress(bytes(200))
        ),
        "png whose profile holds 200 MB": png_saying(
            8, 8, chunk(b"iCCP", b"k\0\0" + zeros), data=zlib.compress(bytes(200))
        ),
        "gif that says 65535x65535": gif,
        "bmp that says 60000x60000": bmp,
        "png that says 4294967295 rows": png_saying(1, 2**32 - 1, data=zlib.compress(b"\0")),
        "svg of entities": b'<?xml version="1.0"?><!DOCTYPE s [<!ENTITY a "aaaaaaaaaa">'
        + b"".join(f'<!ENTITY {chr(98 + n)} "{f"&{chr(97 + n)};" * 10}">'.encode() for n in range(9))
        + b"]><svg xmlns='http://www.w3.org/2000/svg'>&j;</svg>",
    }
    while True:
        for name, data in files.items():
            yield Hostile(name, request(form(data)), REFUSED | {200})


def mistaken(rng: np.random.Generator) -> Iterator[Hostile]:
    """Files that are no pictures, or whose address is to be opened by whoever reads them."""
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as held:
        held.writestr("../../x", "x")
    files = {
        "html": b"<html><script>alert(1)</script></html>",
        "zip": archive.getvalue(),
        "svg with a link": b"<svg xmlns='http://www.w3.org/2000/svg'><image href='file:///etc/passwd'/></svg>",
        "ELF": b"\x7fELF" + bytes(200),
        "empty": b"",
        "pickle": b"\x80\x04\x95\x1a\0\0\0\0\0\0\0\x8c\x05posix\x8c\x06system\x93\x8c\x04true\x85R.",
        "ImageMagick": b"push graphic-context\nfill 'url(https://127.0.0.1/x)'\npop graphic-context",
        "postscript": b"%!PS\n(/etc/passwd) (r) file showpage",
        "pdf": b"%PDF-1.7\n1 0 obj<</OpenAction<</S/Launch>>>>endobj",
        "m3u8": b"#EXTM3U\n#EXTINF:1,\nfile:///etc/passwd\n",
    }
    while True:
        for name, data in files.items():
            yield Hostile(f"file: {name}", request(form(data)))


def names(rng: np.random.Generator) -> Iterator[Hostile]:
    """File names that go elsewhere: the picture is good, and only its last part is kept."""
    good = noise(8, 8)
    for name in (
        "../../x.png", "/etc/passwd", "..\\..\\x.png", "x" * 3000 + ".png", "a\\0b.png", "%2e%2e%2fx.png", "..", ".",
        "con.png", "-rf.png", "*.png", "a,b.png", "hf:a/b", "~/.bashrc", "${HOME}.png", "a\tb.png", "😀.png", "",
    ) * 100:  # fmt: skip
        sent = request(form(good, name, {"model": "nearest"}))
        yield Hostile("file name", sent, frozenset((200, 400, 422)))


def options(rng: np.random.Generator) -> Iterator[Hostile]:
    """Values that cannot be, or that would open something."""
    good = noise(8, 8)
    values = [("scale", word) for word in ("nan", "inf", "-inf", "1e9", "-1", "0", "1e400", "0x10", "٣", "9" * 3000)]
    values += [("model", word) for word in (
        "../../etc/passwd", "/etc/passwd", "hf:owner/name", "owner/name", "https://127.0.0.1/x.safetensors",
        "edsr-small@../x", "edsr-small@none", "edsr", "x.pth", "srkit:edsr", "\x00",
    )]  # fmt: skip
    values += [
        ("width", "1000000000"), ("width", "-5"), ("height", "1.5"), ("long_edge", "NaN"), ("fit", "1x9999999999"),
        ("fit", "x"), ("print", "0x0cm"), ("print", "A" * 3000), ("dpi", "nan"), ("bleed", "1e9km"), ("pad", "url(x)"),
        ("protect", "/etc/passwd"), ("strength", "nan"), ("strength", "2"), ("range", "nan,nan"), ("range", "1,0"),
        ("quality", "10" * 40), ("depth", "7"), ("format", "exe"), ("profile", "/etc/passwd"), ("receipt", "sidecar"),
        ("crop", "perhaps"), ("max_pixels", "1"), ("out", "/tmp/x"), ("confidence", "/tmp/x"), ("tile", "1"),
        ("__class__", "1"), ("scale[$ne]", "1"), ("background", "expression(1)"), ("device", "cuda"),
    ]  # fmt: skip
    while True:
        for key, value in values:
            fields = {key: value} | ({"format": "jpeg"} if key in ("quality", "background") else {})
            yield Hostile(f"option {key}", request(form(good, fields=fields)), REFUSED - {503})


def forms(rng: np.random.Generator) -> Iterator[Hostile]:
    """Bodies that are no such form."""
    good, line = noise(8, 8), f"--{BOUNDARY}\r\n".encode()
    part = b'Content-Disposition: form-data; name="scale"\r\n\r\n2\r\n'
    file = b'Content-Disposition: form-data; name="picture"; filename="p.png"\r\n\r\n' + good + b"\r\n"
    end = f"--{BOUNDARY}--\r\n".encode()
    tried = {
        "no boundary": request(form(good), kind="multipart/form-data"),
        "another boundary": request(form(good), kind="multipart/form-data; boundary=x"),
        "a boundary of 4 kB": request(form(good), kind="multipart/form-data; boundary=" + "x" * 4096),
        "a charset that is none": request(form(good), kind=f"multipart/form-data; charset=x-y; boundary={BOUNDARY}"),
        "a charset that is no text": request(
            form(good, fields={"model": "é"}), kind=f"multipart/form-data; charset=zip; boundary={BOUNDARY}"
        ),
        "json": request(b'{"scale": 2}', kind="application/json"),
        "the picture itself": request(good, kind="image/png"),
        "urlencoded": request(b"picture=x&scale=2", kind="application/x-www-form-urlencoded"),
        "nothing": request(b""),
        "no picture": request(form(None, fields={"scale": "2"})),
        "two pictures": request(line + file + line + file + end),
        "a field twice": request(line + part + line + part + line + file + end),
        "a field called picture": request(line + part.replace(b"scale", b"picture") + end),
        "10,000 fields": request((line + part) * 10_000 + line + file + end),
        "a field of 3 MB": request(line + part.replace(b"2\r\n", b"2" * 3 * MB + b"\r\n") + line + file + end),
        "a part's head of 3 MB": request(line + b"X-Long: " + b"x" * 3 * MB + b"\r\n" + file + end),
        "100,000 heads of a part": request(line + b"X-Y: z\r\n" * 100_000 + file + end),
        "no name": request(line + b"Content-Disposition: form-data\r\n\r\n2\r\n" + end),
        "no head": request(line + b"\r\n2\r\n" + end),
        "binary": request(bytes(np.random.default_rng(0).integers(0, 256, 5000, dtype=np.uint8))),
        "only dashes": request(b"-" * 100_000),
    }
    while True:
        for name, sent in tried.items():
            yield Hostile(f"form: {name}", sent, REFUSED | {0, 200})


def lies(rng: np.random.Generator) -> Iterator[Hostile]:
    """Lengths, heads and lines of HTTP that are not what they say."""
    body = form(noise(8, 8))
    many = f"{UPLOAD * MB + MB:x}\r\n".encode() + bytes(UPLOAD * MB + MB) + b"\r\n0\r\n\r\n"
    kind = f"Content-Type: multipart/form-data; boundary={BOUNDARY}\r\n"
    head = f"POST /upscale HTTP/1.1\r\nHost: 127.0.0.1\r\n{kind}Connection: close\r\n".encode()
    tried = {
        "10 GB announced": request(body, length="10000000000"),
        "a negative length": request(body, length="-1"),
        "a length of words": request(body, length="many"),
        "10^40 announced": request(body, length="1" + "0" * 40),
        "two lengths": request(body, more="Content-Length: 3\r\n"),
        "length and chunks": request(body, more="Transfer-Encoding: chunked\r\n"),
        "more in chunks than may be": head + b"Transfer-Encoding: chunked\r\n\r\n" + many,
        "a chunk that is none": head + b"Transfer-Encoding: chunked\r\n\r\nzz\r\nabc\r\n",
        "a chunk of 10^18": head + b"Transfer-Encoding: chunked\r\n\r\nde0b6b3a7640000\r\nabc",
        "too large a picture": request(form(bytes(UPLOAD * MB + MB))),
        "a head of 1 MB": request(body, more=f"X-Long: {'x' * MB}\r\n"),
        "10,000 heads": request(body, more="X-Y: z\r\n" * 10_000),
        "a path of 1 MB": request(body, path="/" + "x" * MB),
        "a path upwards": request(body, path="/../../etc/passwd"),
        "a job upwards": request(b"", path="/jobs/..%2f..%2fetc%2fpasswd", method="GET"),
        "another method": request(body, method="TRACE"),
        "a method that is none": request(body, method="X" * 100),
        "a version that is none": request(body).replace(b"HTTP/1.1", b"HTTP/9.9", 1),
        "no host": request(body).replace(b"Host: 127.0.0.1\r\n", b"", 1),
        "another host": request(body).replace(b"Host: 127.0.0.1", b"Host: evil.example", 1),
        "another site's page": request(body, more="Origin: https://evil.example\r\n"),
        "the page null": request(body, more="Origin: null\r\n"),
        "an upgrade": request(body, more="Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Key: eA==\r\n"),
        "TLS": b"\x16\x03\x01\x02\0\x01\0\x01\xfc\x03\x03" + bytes(300),
        "nul": bytes(5000),
        "smuggled": request(body, more="Transfer-Encoding : chunked\r\n"),
        "a broken line": b"POST\r\n\r\n",
    }
    while True:
        for name, sent in tried.items():
            yield Hostile(f"http: {name}", sent, REFUSED | {0, 200, 501, 505})


KINDS: tuple[Callable[[np.random.Generator], Iterator[Hostile]], ...] = (
    damaged, options, cut, damaged, bombs, forms, damaged, names, lies, mistaken,
)  # fmt: skip


def hostile(count: int, seed: int = 0) -> Iterator[Hostile]:
    """So many of all kinds, in turn."""
    rng = np.random.default_rng(seed)
    sources = [kind(rng) for kind in KINDS]
    for number in range(count):
        yield next(sources[number % len(sources)])


# --- sending, and what came back ---


def answer_to(port: int, one: Hostile) -> tuple[int, bytes]:
    """(status, all that came back); 0 where the connection was closed without an answer."""
    with socket.create_connection(("127.0.0.1", port), timeout=LONGEST) as client:
        came = b""
        try:
            client.sendall(one.sent)
            if one.ends:
                return 0, b""
            client.shutdown(socket.SHUT_WR) if one.kind.startswith(("cut form", "http: a chunk of")) else None
            while piece := client.recv(65_536):
                came += piece
        except TimeoutError:
            return -1, came
        except ConnectionError:
            with contextlib.suppress(OSError):
                while piece := client.recv(65_536):
                    came += piece
    match = re.match(rb"HTTP/1\.[01] (\d{3})", came)
    return (int(match[1]) if match else 0), came


def fault_of(one: Hostile, status: int, came: bytes) -> str:
    """What is wrong with an answer; empty where nothing is."""
    if one.ends:
        return ""
    if status not in one.may:
        return f"status {status}: {came[:300]!r}"
    body = came.partition(b"\r\n\r\n")[2]
    if status != 200 and TRACE.search(body):
        return f"it tells too much: {body[:300]!r}"
    return ""


def good_answer(port: int, picture: bytes) -> bytes:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=LONGEST)
    kind = {"Content-Type": f"multipart/form-data; boundary={BOUNDARY}"}
    connection.request("POST", "/upscale", form(picture, fields={"model": "edsr-small"}), kind)
    response = connection.getresponse()
    body = response.read()
    connection.close()
    return body if response.status == 200 else b""


def slow_clients(port: int, count: int) -> list[socket.socket]:
    """Connections that send the first bytes of a request and no more."""
    clients = []
    for number in range(count):
        client = socket.create_connection(("127.0.0.1", port), timeout=LONGEST)
        client.sendall(b"POST /upscale HTTP/1.1\r\nHost: 127.0.0.1\r\n"[: 1 + number % 40])
        clients.append(client)
    return clients


def memory(pid: int) -> float:
    """MB of a process that no file backs."""
    return int(Path(f"/proc/{pid}/status").read_text().split("RssAnon:")[1].split()[0]) / 1000


class Watch(threading.Thread):
    """The most memory of a process, looked at a hundred times a second. With it: started; after it: `most`."""

    def __init__(self, pid: int):
        super().__init__(daemon=True)
        self.pid, self.most, self.over = pid, memory(pid), threading.Event()

    def run(self) -> None:
        while not self.over.wait(0.01):
            with contextlib.suppress(OSError, IndexError):  # it has ended
                self.most = max(self.most, memory(self.pid))


def started(*words: str) -> tuple[subprocess.Popen[str], int]:
    """(a server, its port)."""
    command = [sys.executable, "-m", "srkit", "serve", "--port", "0", "--max-upload", str(UPLOAD), *words]
    server = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert server.stdout is not None
    return server, int(server.stdout.readline().rsplit(":", 1)[1].strip(" /\n"))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", type=Path, help="keep what came out in this file")
    said = parser.parse_args()
    server, port = started("--device", "cpu")
    faults: list[str] = []
    counts: collections.Counter[str] = collections.Counter()
    try:
        picture = noise(40, 30, 1)
        right = good_answer(port, picture)
        assert right, "the server does not answer a good picture"
        before = memory(server.pid)
        slowest, begun = (0.0, ""), time.monotonic()
        watch = Watch(server.pid)
        watch.start()
        loris = slow_clients(port, 100)
        for number, one in enumerate(hostile(said.count, said.seed), 1):
            sent = time.monotonic()
            status, came = answer_to(port, one)
            slowest = max(slowest, (round(time.monotonic() - sent, 1), one.kind))
            counts["gone" if one.ends else str(status or "closed")] += 1
            if fault := fault_of(one, status, came):
                faults.append(f"{number} {one.kind}: {fault}")
            if server.poll() is not None:
                faults.append(f"{number} {one.kind}: the server has ended with {server.returncode}")
                break
            if number % 10 == 0 and good_answer(port, picture) != right:
                faults.append(f"{number}: after {one.kind} a good picture is answered wrongly")
        seconds = time.monotonic() - begun
        closed = sum(is_closed(client) for client in loris)
        if closed < len(loris):
            faults.append(f"{len(loris) - closed} connections that send nothing are open after {seconds:.0f} s")
        if good_answer(port, picture) != right:
            faults.append("at the end a good picture is answered wrongly")
        watch.over.set()
        server.send_signal(signal.SIGINT)
        code = ended(server)
    finally:
        server.kill()
        server.stdout.close()  # type: ignore[union-attr]
    if watch.most - before > MUCH:
        faults.append(f"its memory grew by {watch.most - before:.0f} MB")
    if code != 0:
        faults.append(f"Ctrl-C: {'it does not end' if code is None else f'exit code {code}'}")
    result = {
        "count": said.count, "seed": said.seed, "answers": dict(sorted(counts.items())), "seconds": round(seconds, 1),
        "slowest": slowest, "MB before": round(before), "MB peak": round(watch.most),
        "slow connections closed": closed, "exit code": code, "faults": faults,
    }  # fmt: skip
    print(json.dumps(result, indent=1))
    if said.json:
        said.json.write_text(json.dumps(result, indent=1) + "\n")
    return int(bool(faults))


def ended(server: subprocess.Popen[str]) -> int | None:
    """Its exit code; None where it does not end. On a machine that does much else that takes longer."""
    try:
        return server.wait(ENDING)
    except subprocess.TimeoutExpired:
        return None


def is_closed(client: socket.socket) -> bool:
    """Has the other side closed it?"""
    client.settimeout(0.5)
    try:
        return client.recv(1) == b""
    except TimeoutError:
        return False
    except ConnectionError:
        return True
    finally:
        client.close()


if __name__ == "__main__":
    sys.exit(main())
