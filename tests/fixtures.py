"""What all tests share, those of the official plugins too (pytest loads it by `-p tests.fixtures`).

A private cache, an empty working folder, the reference data, fake installed plugins, the command line.
"""

import os
import sys
import sysconfig
import venv
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
from PIL import Image

import srkit

if TYPE_CHECKING:
    from torch import Tensor

ROOT = Path(__file__).parents[1]
SHARED = ROOT.parent / "shared" / "data"
REQUIRE_DATA = os.environ.get("SRKIT_REQUIRE_DATA") == "1"  # read here: the tests run without the user's variables


@pytest.fixture(scope="session")
def shared() -> Path:
    """The reference data beside the checkout: photographs, MATLAB's pixels, a published model's pictures.

    It is not in the repository. Without it the tests that need it are skipped, or fail with SRKIT_REQUIRE_DATA=1.
    """
    if not SHARED.is_dir():
        if REQUIRE_DATA:
            pytest.fail(f"SRKIT_REQUIRE_DATA=1, and the reference data is not at {SHARED}")
        pytest.skip("the reference data is not beside this checkout (../shared/data); CONTRIBUTING.md says what it is")
    return SHARED


@pytest.fixture(scope="session")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(autouse=True)
def apart(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, cache: Path) -> None:
    """Each test in an empty folder, with no srkit variable of the user's and none of the user's datasets."""
    for name in [name for name in os.environ if name.startswith("SRKIT_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("SRKIT_CACHE", str(cache))
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "user-data"))
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def registry() -> srkit.Registry:
    return srkit.load_plugins()


@pytest.fixture
def install(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[[str, str], None]:
    """install("srkit-hat", source): a distribution on sys.path, as pip would leave it."""

    def make(package: str, source: str) -> None:
        site = tmp_path / "site" / package
        module = package.replace("-", "_")
        info = site / f"{module}-1.2.dist-info"
        info.mkdir(parents=True)
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {package}\nVersion: 1.2\n")
        (info / "entry_points.txt").write_text(f"[srkit]\n{module} = {module}\n")
        (site / f"{module}.py").write_text(source)
        monkeypatch.syspath_prepend(str(site))
        monkeypatch.setenv("SRKIT_PLUGINS", f"{os.environ.get('SRKIT_PLUGINS', '')},{package}")
        monkeypatch.setitem(sys.modules, module, None)  # so that what this test imports is forgotten after it
        del sys.modules[module]

    return make


def loaded(path: Path | str) -> Image.Image:
    """A picture with its pixels read, so that its file is closed."""
    with Image.open(path) as image:
        image.load()
        return image


def reach(upscale: Callable[["Tensor"], "Tensor"], scale: int, centre: int) -> int:
    """How many pixels to each side of an LR pixel can change its part of the result, measured by gradient.

    upscale: takes 1,3,H,W in double precision. centre: of a square of LR that is larger than what is seen.
    """
    import torch

    torch.manual_seed(0)
    lr = torch.rand(1, 3, 2 * centre + 1, 2 * centre + 1, dtype=torch.double, requires_grad=True)
    sr = upscale(lr)
    assert sr.shape[-1] == scale * lr.shape[-1]
    part = sr[..., centre * scale : (centre + 1) * scale, centre * scale : (centre + 1) * scale]
    (gradient,) = torch.autograd.grad((part * torch.rand_like(part)).sum(), lr)  # weights, so that nothing cancels
    return int((gradient.abs().sum((0, 1)).nonzero() - centre).abs().max())


@pytest.fixture
def photo() -> np.ndarray:
    """A real photograph, 300x451: no side a multiple of 2, 3 or 4."""
    return srkit.read_rgb(ROOT / "plugins/srkit_builtin/samples/chelsea.png")[:299]


@pytest.fixture
def run_srkit(capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, str, str]]:
    """run_srkit("bench", "--json") -> exit code, stdout, stderr; in this process, so torch is imported once."""
    from srkit.cli import run

    def call(*words: object) -> tuple[int, str, str]:
        capsys.readouterr()
        code = run([str(word) for word in words])
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return call


@pytest.fixture(scope="session")
def stranger_python(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The python of a fresh virtual environment that sees srkit and torch but has its own packages."""
    home = tmp_path_factory.mktemp("stranger") / "venv"
    venv.create(home, with_pip=find_spec("pip") is None)  # the outer one's is seen there, and compiled already
    scheme = {"base": str(home), "platbase": str(home)}
    site = Path(sysconfig.get_path("purelib", "venv", scheme))
    # addsitedir, so that the .pth of an editable srkit is followed too
    (site / "outer.pth").write_text(f"import site; site.addsitedir({sysconfig.get_path('purelib')!r})\n")
    return Path(sysconfig.get_path("scripts", "venv", scheme)) / Path(sys.executable).name
