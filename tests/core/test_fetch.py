"""Downloading: every way a server and a connection can go wrong ends in the right bytes or in one clear line."""

import hashlib
import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

import srkit.fetch
from srkit import ChecksumError, FetchError, SrkitError, UsageError
from srkit.fetch import fetch

DATA = os.urandom(3_000_000)
OTHER = os.urandom(3_000_000)
SHA256 = hashlib.sha256(DATA).hexdigest()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "deep" / "file.bin"


@pytest.fixture
def stopped(server, path, monkeypatch) -> None:
    """A download that stopped after a million bytes, as one that was killed leaves it."""
    server.files["file.bin"] = DATA
    server.cuts = [1_000_000]
    monkeypatch.setattr("srkit.fetch.TRIES", 1)
    with pytest.raises(FetchError, match="1.0 MB of it are kept in '.*file.bin.part'"):
        fetch(f"{server.url}/file.bin", path)
    monkeypatch.setattr("srkit.fetch.TRIES", 5)
    assert (path.parent / "file.bin.part").read_bytes() == DATA[:1_000_000]
    server.seen.clear()


def is_whole(path: Path, data: bytes = DATA) -> bool:
    return path.read_bytes() == data and [p.name for p in path.parent.iterdir()] == [path.name]


def test_a_file_comes_whole_with_progress_and_its_digest(server, path):
    server.files["file.bin"] = DATA
    told = []
    digest = fetch(f"{server.url}/file.bin", path, size=len(DATA), progress=lambda *values: told.append(values))
    assert digest == SHA256
    assert is_whole(path)
    assert told[0] == (0, len(DATA))
    assert told[-1] == (len(DATA), len(DATA))


@pytest.mark.parametrize("length", [True, False])
def test_without_a_length_or_through_a_redirect(server, path, length):
    server.files["file.bin"] = DATA
    server.length = length
    fetch(f"{server.url}/moved/file.bin", path)
    assert is_whole(path)
    assert [seen[0] for seen in server.seen] == ["/moved/file.bin", "/file.bin"]


def test_what_is_there_and_fits_is_not_fetched(server, path):
    path.parent.mkdir()
    path.write_bytes(DATA)
    assert fetch(f"{server.url}/file.bin", path, sha256=SHA256, size=len(DATA)) == SHA256
    assert server.seen == []
    server.files["file.bin"] = DATA
    path.write_bytes(OTHER)
    fetch(f"{server.url}/file.bin", path, sha256=SHA256)
    assert is_whole(path)


def test_a_broken_connection_is_taken_up_where_it_broke(server, path):
    server.files["file.bin"] = DATA
    server.cuts = [1_000_000, 500_000, 0, 1_000_000, 1]
    assert fetch(f"{server.url}/file.bin", path) == SHA256
    assert is_whole(path)
    ranges = [wanted for _, wanted, _ in server.seen]
    assert ranges[:4] == [None, "bytes=1000000-", "bytes=1500000-", "bytes=1500000-"]


def test_a_later_call_goes_on_and_asks_for_the_same_version(stopped, server, path):
    told = []
    assert fetch(f"{server.url}/file.bin", path, progress=lambda done, total: told.append(done)) == SHA256
    assert is_whole(path)
    etag = f'"{hashlib.md5(DATA).hexdigest()}"'
    assert server.seen == [("/file.bin", "bytes=1000000-", etag)]
    assert told[0] == 1_000_000


def test_a_file_that_changed_in_between_is_not_spliced(stopped, server, path):
    server.files["file.bin"] = OTHER
    assert fetch(f"{server.url}/file.bin", path) == hashlib.sha256(OTHER).hexdigest()
    assert is_whole(path, OTHER)


def test_a_server_that_forgets_if_range_is_seen_through(stopped, server, path, monkeypatch):
    """It sends the rest of another file as 206; its ETag gives it away."""
    server.files["file.bin"] = OTHER
    validator = property(lambda part: f'"{hashlib.md5(OTHER).hexdigest()}"')
    monkeypatch.setattr(srkit.fetch.Partial, "validator", validator)
    fetch(f"{server.url}/file.bin", path)
    assert is_whole(path, OTHER)
    assert [wanted for _, wanted, _ in server.seen] == ["bytes=1000000-", None]


@pytest.mark.parametrize("how", ["ranges", "lies", "validators", "weak", "shorter", "sidecar"])
def test_where_a_part_cannot_be_used_the_whole_is_fetched(stopped, server, path, how):
    data = DATA
    if how == "ranges":
        server.ranges = False
    elif how == "lies":
        server.lies = True
    elif how in ("validators", "weak"):
        (path.parent / "file.bin.part.json").unlink()
        path.with_name("file.bin.part").unlink()
        setattr(server, how, how == "weak")
        server.cuts = [1_000_000]
    elif how == "shorter":
        data = server.files["file.bin"] = OTHER[:500]
    else:
        (path.parent / "file.bin.part.json").write_text('{"url": "http://elsewhere/file.bin", "total": 1000000}')
    fetch(f"{server.url}/file.bin", path)
    assert is_whole(path, data)
    assert server.seen[-1][1] is None or how in ("ranges", "shorter"), "these answer a Range by the whole file"


def test_416_starts_over(stopped, server, path):
    server.answers = [416]
    fetch(f"{server.url}/file.bin", path)
    assert is_whole(path)
    assert [wanted for _, wanted, _ in server.seen] == ["bytes=1000000-", None]


def test_a_part_of_unknown_version_is_used_where_the_checksum_is_known(stopped, server, path):
    (path.parent / "file.bin.part.json").unlink()
    fetch(f"{server.url}/file.bin", path, sha256=SHA256)
    assert is_whole(path)
    assert [wanted for _, wanted, _ in server.seen] == ["bytes=1000000-"]


def test_a_spoilt_part_is_found_out_by_the_checksum_and_fetched_anew(stopped, server, path):
    path.with_name("file.bin.part").write_bytes(bytes(1_000_000))
    fetch(f"{server.url}/file.bin", path, sha256=SHA256)
    assert is_whole(path)
    assert [wanted for _, wanted, _ in server.seen] == ["bytes=1000000-", None]


def test_another_file_than_expected_is_refused_and_not_kept(server, path):
    server.files["file.bin"] = OTHER
    with pytest.raises(ChecksumError, match=f"has the SHA-256 {hashlib.sha256(OTHER).hexdigest()}, not {SHA256}"):
        fetch(f"{server.url}/file.bin", path, sha256=SHA256)
    with pytest.raises(ChecksumError, match="has 3,000,000 bytes, not 2,999,999"):
        fetch(f"{server.url}/file.bin", path, size=2_999_999)
    server.length = False
    with pytest.raises(ChecksumError, match="has 3,000,000 bytes, not 2,999,999"):
        fetch(f"{server.url}/file.bin", path, size=2_999_999)
    assert not list(path.parent.iterdir())


def test_a_busy_server_is_asked_again_and_a_no_is_a_no(server, path):
    server.files["file.bin"] = DATA
    server.answers = [503, 429, 500]
    fetch(f"{server.url}/file.bin", path)
    assert is_whole(path)
    server.seen.clear()
    with pytest.raises(FetchError, match=f"'{server.url}/gone.bin' answers 404 Not Found"):
        fetch(f"{server.url}/gone.bin", path.with_name("gone.bin"))
    assert len(server.seen) == 1
    server.answers = [503] * 9
    with pytest.raises(FetchError, match="answers 503"):
        fetch(f"{server.url}/file.bin", path.with_name("again.bin"))
    assert len(server.seen) == 1 + 5


def test_it_gives_up_where_nothing_new_comes(server, path):
    server.files["file.bin"] = DATA
    server.ranges = False
    server.cuts = [1_000_000] * 20
    with pytest.raises(FetchError, match=r"the connection broke 5 times \(ConnectionError: 1,000,000 of 3,000,000"):
        fetch(f"{server.url}/file.bin", path)
    assert len(server.seen) == 5


def test_a_web_page_in_its_place_is_told(stopped, server, path):
    server.kind = "text/html; charset=utf-8"
    server.ranges = False
    with pytest.raises(FetchError, match="answers with a web page, not with the file"):
        fetch(f"{server.url}/file.bin", path)
    assert path.with_name("file.bin.part").stat().st_size == 1_000_000, "what was there is not lost"


def test_offline_says_what_cannot_be_reached_at_once(path, monkeypatch):
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        port = unused.getsockname()[1]
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    monkeypatch.setattr("time.sleep", lambda seconds: pytest.fail("it waits"))
    with pytest.raises(FetchError, match=f"'127.0.0.1:{port}' cannot be reached .*: http://127.0.0.1:{port}/file.bin"):
        fetch(f"http://127.0.0.1:{port}/file.bin", path)
    assert not list(path.parent.iterdir())


def test_a_proxy_is_used_as_urllib_does(server, path, monkeypatch):
    """The proxy is asked for the whole address."""
    server.files["http://example.invalid/file.bin"] = DATA
    monkeypatch.setenv("http_proxy", server.url)
    monkeypatch.setenv("no_proxy", "")
    monkeypatch.setattr("urllib.request._opener", None)  # it read the environment when it was made
    fetch("http://example.invalid/file.bin", path)
    assert is_whole(path)


def test_a_full_disk_is_told_before_and_while(server, path, monkeypatch):
    server.files["file.bin"] = DATA
    monkeypatch.setattr("shutil.disk_usage", lambda place: type("Usage", (), {"free": 1_000_000}))
    with pytest.raises(SrkitError, match=r"has 1.0 MB free, and 'file.bin' needs 3.0 MB more"):
        fetch(f"{server.url}/file.bin", path)
    monkeypatch.undo()
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    blocked = path.parent / "file" / "x.bin"
    path.parent.joinpath("file").write_text("")
    with pytest.raises(SrkitError, match="cannot write"):
        fetch(f"{server.url}/file.bin", blocked)


def test_a_disk_that_fills_up_is_told_and_not_tried_again(server, path):
    """A limit on the size of files stands in for the disk; what fitted is kept."""
    resource = pytest.importorskip("resource")
    server.files["file.bin"] = DATA
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1_000_000, hard))
    try:
        with pytest.raises(SrkitError, match="cannot write '.*file.bin.part': .*File too large"):
            fetch(f"{server.url}/file.bin", path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert len(server.seen) == 1
    assert path.with_name("file.bin.part").read_bytes() == DATA[:1_000_000]
    fetch(f"{server.url}/file.bin", path)
    assert is_whole(path)


def test_two_do_not_write_the_same_file(stopped, server, path):
    part = path.with_name("file.bin.part")
    hold = f"with locked(lock_of(Path({str(part)!r}))): print(1, flush=True); input()"
    code = f"from pathlib import Path; from srkit.files import lock_of, locked\n{hold}"
    other = subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert other.stdout is not None
    other.stdout.readline()
    with pytest.raises(SrkitError, match="is being fetched by another program"):
        fetch(f"{server.url}/file.bin", path)
    other.communicate(b"\n")
    fetch(f"{server.url}/file.bin", path)
    assert is_whole(path)


def test_ctrl_c_keeps_what_has_come(server, path):
    server.files["file.bin"] = DATA

    def stop(done: int, total: int | None) -> None:
        if done > 1_500_000:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fetch(f"{server.url}/file.bin", path, progress=stop)
    kept = path.with_name("file.bin.part").read_bytes()
    assert len(kept) > 1_500_000
    assert json.loads(path.with_name("file.bin.part.json").read_text())["total"] == len(DATA)
    fetch(f"{server.url}/file.bin", path)
    assert is_whole(path)
    assert server.seen[-1][1] == f"bytes={len(kept)}-"


@pytest.mark.parametrize("url", ["file:///etc/passwd", "ftp://example.com/a", "div2k.zip", "http:///a"])
def test_only_http(url, path):
    with pytest.raises(UsageError, match="is not an http"):
        fetch(url, path)


def test_an_impossible_address_is_told(path):
    with pytest.raises(FetchError, match="InvalidURL"):
        fetch("http://127.0.0.1/a b\n", path)
