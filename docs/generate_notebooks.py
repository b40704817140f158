"""Write the pages docs/notebooks/*.md from the notebooks of examples/: python docs/generate_notebooks.py"""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

PAGES = Path(__file__).with_name("notebooks")
BOOKS = sorted((PAGES.parents[1] / "examples").glob("*.ipynb"))


def parts(book: dict[str, Any]) -> Iterator[str]:
    """The cells, one after another; code is forced to be Python, since lines with ! and % are the notebook's own."""
    for cell in book["cells"]:
        source = "".join(cell["source"])
        yield source if cell["cell_type"] == "markdown" else f"```{{code-block}} python\n:force:\n\n{source}\n```"


def page(path: Path) -> str:
    return "\n\n".join(parts(json.loads(path.read_text(encoding="utf-8")))) + "\n"


if __name__ == "__main__":
    PAGES.mkdir(exist_ok=True)
    for each in BOOKS:
        (PAGES / f"{each.stem}.md").write_text(page(each), encoding="utf-8")
