"""A Hugging Face hub on this machine: the few endpoints huggingface_hub needs to push and pull."""

import base64
import hashlib
import json
import re
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

TOKEN = "hf_right"


class Hub(ThreadingHTTPServer):
    """repositories: name -> its files. private: those that want the token. cards: the READMEs it was asked to check.

    unknown: paths it was asked for and does not know.
    """

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.repositories: dict[str, dict[str, bytes]] = {}
        self.private: set[str] = set()
        self.gated: set[str] = set()
        self.blobs: dict[str, bytes] = {}
        self.commits = 0
        self.cards: list[str] = []
        self.unknown: list[str] = []
        self.url = f"http://127.0.0.1:{self.server_address[1]}"


class Handler(BaseHTTPRequestHandler):
    server: Hub

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - its name in the base class
        pass

    def answer(self, code: int, data: bytes = b"", **headers: str) -> None:
        self.send_response(code)
        for name, value in {"Content-Length": str(len(data)), **headers}.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(data)

    def say(self, code: int = 200, **values: object) -> None:
        self.answer(code, json.dumps(values).encode(), Content_Type="application/json")

    def body(self) -> bytes:
        return self.rfile.read(int(self.headers.get("Content-Length") or 0))

    @property
    def known(self) -> bool:
        return self.headers.get("Authorization") == f"Bearer {TOKEN}"

    def do_GET(self) -> None:
        match = re.fullmatch(r"/([^/]+/[^/]+)/resolve/main/(.+)", self.path)
        if not match:
            if not self.path.startswith("/api/models/"):
                self.server.unknown.append(self.path)
            return self.answer(401, X_Error_Code="RepoNotFound", X_Error_Message="Repository not found")
        repository, name = match.groups()
        if repository not in self.server.repositories or (repository in self.server.private and not self.known):
            return self.answer(401, X_Error_Code="RepoNotFound", X_Error_Message="Repository not found")
        if repository in self.server.gated:
            return self.answer(403, X_Error_Code="GatedRepo", X_Error_Message="Access to it is restricted")
        files = self.server.repositories[repository]
        if name not in files:
            return self.answer(404, X_Error_Code="EntryNotFound", X_Error_Message="Entry not found")
        digest = hashlib.sha256(files[name]).hexdigest()
        commit = hashlib.sha1(b"".join(files.values())).hexdigest()
        return self.answer(200, files[name], ETag=f'"{digest}"', X_Repo_Commit=commit)

    do_HEAD = do_GET  # noqa: N815 - the base class finds it by this name

    def do_POST(self) -> None:
        body = self.body()
        if self.path.endswith("/objects/batch"):
            objects = [
                {**each, "actions": {"upload": {"href": f"{self.server.url}/blob/{each['oid']}"}}}
                for each in json.loads(body)["objects"]
            ]
            return self.say(transfer="basic", objects=objects)
        if self.path == "/api/validate-yaml":
            self.server.cards.append(json.loads(body)["content"])
            return self.say(errors=[], warnings=[])
        if not self.known:
            return self.say(401, error="Invalid username or password.")
        if self.path == "/api/repos/create":
            asked = json.loads(body)
            repository = f"{asked['organization']}/{asked['name']}"
            if asked["organization"] != "anna":
                return self.say(403, error=f"You may not write to {asked['organization']}")
            if repository in self.server.repositories:
                return self.say(409, error="You already created this model repo", url=f"{self.server.url}/{repository}")
            self.server.repositories[repository] = {}
            if asked.get("visibility") == "private" or asked.get("private"):
                self.server.private.add(repository)
            return self.say(url=f"{self.server.url}/{repository}")
        if self.path.endswith("/preupload/main"):
            modes = [
                {"path": f["path"], "shouldIgnore": False,
                 "uploadMode": "lfs" if f["path"].endswith(".safetensors") else "regular"}
                for f in json.loads(body)["files"]
            ]  # fmt: skip
            return self.say(files=modes)
        if match := re.fullmatch(r"/api/models/(.+)/commit/main", self.path):
            files = self.server.repositories[match[1]]
            for line in map(json.loads, body.splitlines()):
                value = line["value"]
                if line["key"] == "file":
                    files[value["path"]] = base64.b64decode(value["content"])
                elif line["key"] == "lfsFile":
                    files[value["path"]] = self.server.blobs[value["oid"]]
            self.server.commits += 1
            return self.say(commitUrl=f"{self.server.url}/{match[1]}/commit/1", commitOid="1" * 40, success=True)
        self.server.unknown.append(self.path)
        return self.say(404)

    def do_PUT(self) -> None:
        body = self.body()
        assert hashlib.sha256(body).hexdigest() == self.path.rpartition("/")[2]
        self.server.blobs[self.path.rpartition("/")[2]] = body
        self.answer(200)


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Hub]:
    """HF_ENDPOINT names it; nobody is logged in; the hub's cache is empty."""
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    for name in ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN", "HF_HUB_OFFLINE"):
        monkeypatch.delenv(name, raising=False)
    constants = "huggingface_hub.constants."
    monkeypatch.setattr(f"{constants}HF_HUB_CACHE", str(tmp_path / "hub-cache"))
    monkeypatch.setattr(f"{constants}HF_TOKEN_PATH", str(tmp_path / "no-token"))
    monkeypatch.setattr(f"{constants}HF_HUB_OFFLINE", False)
    monkeypatch.setattr(f"{constants}HF_HUB_DISABLE_XET", True)  # Xet's own protocol is not imitated here
    with Hub() as made:
        monkeypatch.setenv("HF_ENDPOINT", made.url)
        thread = threading.Thread(target=made.serve_forever, args=(0.01,))
        thread.start()
        yield made
        made.shutdown()
        thread.join()
