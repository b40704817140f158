"""Training with an object store: shards from it, a copy of the run to it. `make ray-test` has an environment for it."""

import importlib.util
import shutil
import socket
import subprocess
import sys
import time
from contextlib import closing, suppress
from pathlib import Path

import pytest

from srkit.checkpoint import read_tensors
from srkit.train.copying import Place

from .conftest import SMALL

HERE = all(importlib.util.find_spec(name) for name in ("moto", "s3fs"))
pytestmark = pytest.mark.skipif(not HERE, reason="moto and s3fs are not installed; make ray-test")


@pytest.fixture
def bucket(monkeypatch):
    """The address of a bucket of a server on this machine."""
    import s3fs

    with closing(socket.socket()) as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    for name, value in {
        "AWS_ENDPOINT_URL": f"http://127.0.0.1:{port}", "AWS_ACCESS_KEY_ID": "key", "AWS_SECRET_ACCESS_KEY": "secret",
        "AWS_DEFAULT_REGION": "us-east-1",
    }.items():  # fmt: skip
        monkeypatch.setenv(name, value)
    server = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)]
    with subprocess.Popen(server, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        try:
            for _ in range(600):
                with suppress(Exception):
                    s3fs.S3FileSystem().mkdir("bucket")
                    break
                time.sleep(0.1)
            yield "s3://bucket"
        finally:
            process.kill()


def test_shards_from_a_store_and_the_run_to_it(run_srkit, bucket, tmp_path, monkeypatch):
    assert run_srkit("data", "pack", "samples", "--shards", "4", "-o", f"{bucket}/packed")[0] == 0
    words = ["train", *SMALL, "--device", "cpu", "--steps", "30", "--set", "validate_every=10"]
    words += ["--set", "data.name=shards", "--set", f"data.root={bucket}/packed", "--resume", "auto"]
    said = {}
    for name, bound in (("whole", "1GB"), ("far", "10MB")):
        monkeypatch.setenv("SRKIT_CACHE", str(tmp_path / f"cache-{name}"))
        monkeypatch.setenv("SRKIT_SHARD_CACHE", bound)
        code, _, said[name] = run_srkit(*words, "--out", name)
        assert code == 0, said[name]
    assert "address" not in said["whole"]
    assert "2 of 4 shards" in said["far"]
    copy = ["--out", "run", "--copy-to", f"{bucket}/run"]
    assert run_srkit(*words, *copy, "--max-time", "0.01s")[0] == 0
    shutil.rmtree("run")
    code, _, err = run_srkit(*words, *copy)
    assert code == 0, err
    assert f"brought the run from {bucket}/run, at step" in err
    whole = read_tensors(Path("whole/last.safetensors"))
    for other in (read_tensors(Path(name, "last.safetensors")) for name in ("far", "run")):
        assert all(other[key].equal(tensor) for key, tensor in whole.items())
    names = Place(f"{bucket}/run").names()
    assert "state-00000030.safetensors" in names
    assert {"run.toml", "log.jsonl", "best.safetensors", "last.safetensors"} < set(names)
