"""The notebooks of examples/: each runs from its first cell to its last, in small, and is stored without outputs."""

import ast
import os
import re
import shlex
import sys
import tomllib
import warnings
import zlib
from collections.abc import Callable
from pathlib import Path
from types import ModuleType, SimpleNamespace

import pytest

nbclient = pytest.importorskip("nbclient", reason="nbclient is not installed")
nbformat = pytest.importorskip("nbformat", reason="nbformat is not installed")
pytest.importorskip("ipykernel", reason="ipykernel is not installed")

from IPython.core.inputtransformer2 import TransformerManager  # noqa: E402 - after the skips

ROOT = Path(__file__).parents[2]
BOOKS = sorted((ROOT / "examples").glob("*.ipynb"))
#: what the cell of parameters is told here
SMALL = {
    "train-on-your-photos": "MINUTES = 0.1 / 60",
    "compare-with-a-paper": "DOWNLOAD = False",
    "write-a-plugin": "STEPS = 4",
}


def cell_of(book, tag: str) -> int:
    (place,) = (i for i, cell in enumerate(book.cells) if tag in cell.metadata.get("tags", ()))
    return place


def in_small(name: str):
    """A notebook with the cell of parameters followed by that of the tests."""
    book = nbformat.read(ROOT / f"examples/{name}.ipynb", as_version=4)
    book.cells.insert(cell_of(book, "parameters") + 1, nbformat.v4.new_code_cell(SMALL[name]))
    return book


def text_of(cell) -> str:
    """All that a cell printed or showed as text."""
    parts = [output.get("text", "") or output.get("data", {}).get("text/plain", "") for output in cell.outputs]
    return "\n".join(parts)


@pytest.fixture
def executed(run_srkit, capsys, monkeypatch) -> Callable[[str], tuple[str, list]]:
    """executed(name) runs a notebook here, its lines `!srkit ...` too, so that torch is imported once.

    Gives all that is printed, and the value each cell ends with. How a kernel does it, write-a-plugin's test sees.
    """
    for name in ("TERM", "COLUMNS", "LINES"):  # what the first cell sets is put back
        monkeypatch.setenv(name, "0")
    printed, shown = [], []

    def execute(name: str) -> tuple[str, list]:
        names: dict = {"__name__": "__main__"}

        def system(line: str) -> None:
            printed.append(capsys.readouterr().out)
            program, *words = shlex.split(line.format(**names))
            code, out, err = run_srkit(*words)
            assert (program, code) == ("srkit", 0), (line, err)
            printed.append(out)

        names["get_ipython"] = lambda: SimpleNamespace(system=system)
        for cell in in_small(name).cells:
            if cell.cell_type == "code":
                body = ast.parse(TransformerManager().transform_cell(cell.source)).body
                last = [body.pop()] if isinstance(body[-1], ast.Expr) else []
                exec(compile(ast.Module(body, []), name, "exec"), names)
                shown.extend(eval(compile(ast.Expression(each.value), name, "eval"), names) for each in last)
                printed.append(capsys.readouterr().out)
        return "\n".join(printed), shown

    with warnings.catch_warnings():
        yield execute


def test_training_on_photos(executed, tmp_path):
    printed, shown = executed("train-on-your-photos")
    assert "8 to learn from, 2 held out" in printed
    assert re.search(r"[\d,]+ of 300,000 steps done \(time\), in 'runs/edsr-small_x2'; best PSNR", printed)
    scores = {name: float(value) for name, value in re.findall(r"^(\S.*?) +(\d+\.\d+) dB$", printed, flags=re.M)}
    assert set(scores) == {"bicubic", "srkit's weights", "yours"}
    assert scores["yours"] > scores["bicubic"], "it starts from weights that are better"
    assert sum(hasattr(each, "_repr_png_") for each in shown) == 2
    assert (tmp_path / "large.png").is_file()


def test_comparing_with_a_paper(executed, shared, monkeypatch):
    monkeypatch.setenv("SRKIT_DATA", str(shared / "bench"))
    printed, _ = executed("compare-with-a-paper")
    for line in (
        "x2: 33.67 dB (papers: 33.66 dB)",
        "x3: 30.40 dB (papers: 30.39 dB)",
        "x4: 28.43 dB (papers: 28.42 dB)",
        "y        33.67 dB",
        "y-uint8  33.64 dB",
        "rgb      31.79 dB",
        "div2k    31.79 dB",
    ):
        assert line in printed
    assert re.search(r"^ bicubic +x2 +set5 +33\.6734 \[\d", printed, flags=re.M)
    assert re.search(r"^ edsr-small +x2 +set5 +37\.5247 \[\d.* 37\.5247 ", printed, flags=re.M)
    plain, plus = map(float, re.search(r"^([\d.]+) dB, and ([\d.]+) dB with self-ensemble", printed, re.M).groups())
    assert plus > plain


def test_writing_a_plugin(tmp_path, monkeypatch):
    """In a kernel, from clean; pip installs the package into a folder that only this kernel sees."""
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path / "ipython"))
    monkeypatch.setenv("PATH", f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
    site = tmp_path / "site"
    for name, value in {"TARGET": str(site), "NO_INDEX": "1", "NO_DEPS": "1", "NO_BUILD_ISOLATION": "0"}.items():
        monkeypatch.setenv(f"PIP_{name}", value)  # pip reads the 0 as: no isolation
    paths = [str(site), os.environ.get("PYTHONPATH", "")]
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(filter(None, paths)))
    monkeypatch.setenv("SRKIT_PLUGINS", "srkit-crisp")
    for folder in (site, tmp_path / "work"):
        folder.mkdir()
    book, where = in_small("write-a-plugin"), {"metadata": {"path": str(tmp_path / "work")}}
    nbclient.NotebookClient(book, timeout=900, startup_timeout=300, resources=where).execute()
    printed = "\n".join(text_of(cell) for cell in book.cells if cell.cell_type == "code")
    assert re.search(r"4 of 4 steps done \(finished\), in 'runs/crisp_x2'", printed)
    assert "model 'crisp' has no option 'widht'; did you mean 'width'?" in printed
    assert re.search(r"^ crisp +x2 +samples ", printed, flags=re.M)
    assert "(160, 320, 3)" in printed
    assert "  ok     tiles give the whole picture" in printed
    assert "fault" not in printed.replace("default", "")


@pytest.mark.parametrize("path", BOOKS, ids=lambda path: path.stem)
def test_they_are_stored_without_outputs_and_open_in_colab(path):
    """A figure in a stored output ages unseen, and every run would be a change of the file."""
    text = path.read_text(encoding="utf-8")
    book = nbformat.reads(text, as_version=4)
    nbformat.validate(book)
    assert all(cell.get("outputs", []) == [] and cell.get("execution_count") is None for cell in book.cells)
    assert len(zlib.compress(text.encode())) < 10_000
    address = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["urls"]["Homepage"]
    place = f"{address.removeprefix('https://')}/blob/main/examples/{path.name}".removeprefix("github.com/")
    assert f"https://colab.research.google.com/github/{place}" in book.cells[0].source
    assert f"git+{address}\n" in book.cells[cell_of(book, "install")].source + "\n"
    assert path.stem in SMALL


@pytest.mark.parametrize("colab", [True, False])
def test_the_first_cell_installs_on_colab_and_nowhere_else(colab, monkeypatch):
    asked = []
    shell = type("Shell", (), {"run_line_magic": lambda self, *words: asked.append(words)})()
    for name in ("TERM", "COLUMNS", "LINES"):  # what the cell sets is put back
        monkeypatch.setenv(name, "0")
    monkeypatch.setitem(sys.modules, "google.colab", ModuleType("google.colab"))
    if not colab:
        monkeypatch.delitem(sys.modules, "google.colab")
    for path in BOOKS:
        book = nbformat.read(path, as_version=4)
        source = TransformerManager().transform_cell(book.cells[cell_of(book, "install")].source)
        with warnings.catch_warnings():
            exec(compile(source, str(path), "exec"), {"get_ipython": lambda: shell})
    install = ("pip", "install --quiet git+https://github.com/srkit/srkit")
    assert asked == ([install] * len(BOOKS) if colab else [])
