"""What the packages declare: dependencies that are imported, bounds that are tested, one version everywhere."""

import ast
import re
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

import srkit

ROOT = Path(__file__).parents[1]
OFFICIAL = sorted(path.parent for path in ROOT.glob("plugins/srkit-*/pyproject.toml"))
#: where the module is not called like the distribution
MODULES = {"pillow": "PIL", "mlflow-skinny": "mlflow", "pywavelets": "pywt"}
#: distribution -> what needs it, where the package itself does not import it
IMPORTED_BY_OTHERS = {
    "alembic": "mlflow's SQLite store", "sqlalchemy": "mlflow's SQLite store", "pillow": "pictures of mlflow, wandb",
    "tensorboard": "torch.utils.tensorboard", "pyvips-binary": "pyvips", "onnxscript": "torch.onnx",
    "h11": "uvicorn's protocol, which srkit-server changes", "python-multipart": "starlette's forms",
}  # fmt: skip
#: what a package imports only where it is there, or in tests
OPTIONAL = {"IPython", "av", "imagecodecs", "matplotlib", "pandas", "pillow_heif", "polars", "pytest"}


def project(folder: Path) -> dict:
    return tomllib.loads((folder / "pyproject.toml").read_text(encoding="utf-8"))["project"]


def distribution(requirement: str) -> str:
    return re.split(r"[^\w.-]", requirement, maxsplit=1)[0].lower()


def imported(*folders: Path) -> Iterator[str]:
    """The top-level names of all absolute imports below the folders."""
    for file in (file for folder in folders for file in folder.rglob("*.py")):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                yield from (name.name.split(".")[0] for name in node.names)
            elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
                yield node.module.split(".")[0]


@pytest.mark.parametrize("folder", [ROOT, *OFFICIAL], ids=lambda folder: folder.name)
def test_the_dependencies_are_what_is_imported(folder):
    packages = [ROOT / "srkit", ROOT / "plugins/srkit_builtin"] if folder == ROOT else [*folder.glob("srkit_*")]
    declared = {distribution(line) for line in project(folder)["dependencies"]}
    own = {package.name for package in packages}
    needed = set(imported(*packages)) - set(sys.stdlib_module_names) - own - OPTIONAL
    modules = {name: MODULES.get(name, name.replace("-", "_")) for name in declared}
    assert needed <= set(modules.values()), "imported, not declared"
    unused = {name for name, module in modules.items() if module not in needed} - set(IMPORTED_BY_OTHERS)
    assert not unused, "declared, not imported"


def test_the_lowest_versions_are_the_bounds():
    lines = (line.partition("#")[0].strip() for line in (ROOT / "tests/lowest.txt").read_text().splitlines())
    lowest = dict(line.split("==") for line in lines if line)
    about = project(ROOT)
    for requirement in [*about["dependencies"], *about["optional-dependencies"]["bench"]]:
        name, _, bound = requirement.partition(">=")
        pinned = lowest.pop(name)
        assert pinned == bound or re.fullmatch(rf"{re.escape(bound)}(\.0)+", pinned), requirement
    assert set(lowest) == {"torchvision"}


@pytest.mark.parametrize("folder", OFFICIAL, ids=lambda folder: folder.name)
def test_an_official_plugin_bounds_all_it_needs_and_the_next_major_srkit(folder):
    dependencies = project(folder)["dependencies"]
    assert "srkit>=0.2,<1" in dependencies
    assert all(">=" in requirement for requirement in dependencies)


def test_the_version_is_the_same_in_all_places():
    version = project(ROOT)["version"]
    assert srkit.__version__ == version
    assert f"\nversion: {version}\n" in (ROOT / "CITATION.cff").read_text(encoding="utf-8")
    assert re.search(rf"^## (Unreleased|{re.escape(version)} )", (ROOT / "CHANGELOG.md").read_text(), flags=re.M)


def test_both_packages_say_they_are_typed():
    assert (ROOT / "srkit/py.typed").is_file()
    assert (ROOT / "plugins/srkit_builtin/py.typed").is_file()
