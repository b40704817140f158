"""The blocks of docs/python.md are the cells of one notebook: they run in order and do not block."""

import asyncio
import re
import signal
import sys
from pathlib import Path

import pytest
from PIL import Image

PAGE = Path(__file__).parents[2] / "docs" / "python.md"
CELLS = re.findall(r"^```python\n(.*?)^```$", PAGE.read_text(encoding="utf-8"), flags=re.M | re.S)


@pytest.fixture
def photos(tmp_path, photo):
    (tmp_path / "photos").mkdir()
    Image.fromarray(photo[:96, :120]).save(tmp_path / "photos/cat.png")


def test_the_cells_run_under_a_running_loop(photos, monkeypatch, capsys):
    """As a kernel runs them: a loop runs, nobody answers, and only a training may touch the signal handlers."""
    monkeypatch.setattr("builtins.input", lambda *_: pytest.fail("it asks a question"))
    monkeypatch.setattr(sys, "stdin", None)
    handlers = signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)
    names: dict = {"__name__": "__main__"}

    async def notebook() -> None:
        inside = signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)
        for cell in CELLS:
            exec(compile(cell, str(PAGE), "exec"), names)
            assert (signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)) == inside

    asyncio.run(notebook())
    assert (signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)) == handlers
    assert names["large"].shape == (192, 240, 3)
    assert names["larger"].size == (360, 288)
    assert names["other_seed"].run.seed == 1
    assert names["mine"].run.model.name == "local:shuffled"
    out = capsys.readouterr().out
    assert re.search(r"^10 of 10 steps done \(finished\), in 'runs/photos'; best PSNR [\d.]+ \(protocol y, ", out, re.M)
    for line in (r" bicubic +x2 +samples +32\.9223 +0\.90084 ", r" edsr +x2 +samples .* 21,763 "):
        assert re.search(f"^{line}", out, re.M)
        assert re.search(f"^{line}", PAGE.read_text(encoding="utf-8"), re.M), "the page prints what comes out"


def test_a_kernel_runs_it(photos, tmp_path, monkeypatch):
    """A real notebook: the outputs hold progress that is changed in place, and no error."""
    nbclient = pytest.importorskip("nbclient", reason="nbclient is not installed")
    pytest.importorskip("ipykernel", reason="ipykernel is not installed")
    nbformat = pytest.importorskip("nbformat", reason="nbformat is not installed")
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path / "ipython"))
    first = "import srkit.progress\nsrkit.progress.NOTEBOOK_SECONDS = 0.0\n"
    cells = [nbformat.v4.new_code_cell(cell) for cell in (first, CELLS[0], "repr(scores)", "scores")]
    book = nbformat.v4.new_notebook(cells=cells)
    nbclient.NotebookClient(book, timeout=120, resources={"metadata": {"path": str(tmp_path)}}).execute()
    progress = [output for output in book.cells[1].outputs if output.output_type == "display_data"]
    lines = [output["data"]["text/plain"] for output in progress]
    assert [line for line in lines if re.match(r"training  20/20  loss [\d.]+  [\d.]+ steps/s  PSNR ", line)], lines
    assert [line for line in lines if line.startswith("scoring edsr  2/2")], lines
    assert all("<progress value=" in output["data"]["text/html"] for output in progress)
    assert len(lines) <= 5, "one line for each piece of work, changed in place"
    assert "protocol y: PSNR" in book.cells[2].outputs[0]["data"]["text/plain"]
    assert "<table>" in book.cells[3].outputs[0]["data"]["text/html"]
