"""Small trained things for command-line tests."""

from pathlib import Path

import pytest

from srkit.cli import run

SMALL = [
    "--set",
    "model.n_resblocks=1",
    "--set",
    "model.n_feats=4",
    "--set",
    "batch=4",
    "--set",
    "patch=16",
    "--set",
    "lr=1e-3",
    "--set",
    "precision=fp32",  # alike on every machine
]


#: python -c TWO_FORKED train ...: two ranks, as torchrun starts them, but the slow imports are made once for both
TWO_FORKED = """
import os, socket, sys
import timm.optim, torch.distributed
from srkit.cli import run

with socket.create_server(("127.0.0.1", 0)) as free:
    port = free.getsockname()[1]
places = {"WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
children = []
for rank in "01":
    child = os.fork()
    if child == 0:
        os.environ.update(places, RANK=rank, LOCAL_RANK=rank)
        code = run(sys.argv[1:])
        sys.stderr.flush()
        os._exit(code)
    children.append(child)
sys.exit(max(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children))
"""


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory, cache: Path) -> Path:
    """The folder of a finished run of a very small EDSR x2 on the samples."""
    out = tmp_path_factory.mktemp("trained") / "run"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SRKIT_CACHE", str(cache))
        assert run(["train", "--model", "edsr", *SMALL, "--steps", "60", "--out", str(out)]) == 0
    return out
