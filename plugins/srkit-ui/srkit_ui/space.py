"""The files of a Hugging Face Space that shows the page: `srkit ui --space DIR`."""

from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import srkit

SOURCE = "https://github.com/srkit/srkit"
APP = '''"""The page of `srkit ui`, for everybody: a Space is public, so it takes less than one's own computer.

A secret SRKIT_PASSWORD of the Space makes it ask for a password.
"""

import os

from srkit_server.limits import Limits
from srkit_ui.serving import serve

limits = Limits(upload=20_000_000, pixels=12_000_000, result_pixels=50_000_000, seconds=900, waiting=8)
serve(
    "0.0.0.0",
    7860,
    limits,
    password=os.environ.get("SRKIT_PASSWORD", ""),
    public=True,
    ancestors="https://huggingface.co",
)
'''
README = """---
title: Make a picture larger
emoji: 🖼️
colorFrom: blue
colorTo: gray
sdk: gradio
sdk_version: {gradio}
python_version: "3.12"
app_file: app.py
pinned: false
license: mit
short_description: Enlarge a photo for a print, by srkit
---

# Make a picture larger

The page of `srkit ui` ({source}). Pictures are deleted after an hour.
Each model's licence is beside its name on the page.
"""
REQUIREMENTS = """# Of the repository, since no index has the packages; a fork or a commit is named here.
torch>=2.7
srkit @ git+{source}@v{srkit}
srkit-server @ git+{source}@v{srkit}#subdirectory=plugins/srkit-server
srkit-ui @ git+{source}@v{srkit}#subdirectory=plugins/srkit-ui
"""
GRADIO = "6.31.0"  # where none is installed to be asked


def write_space(folder: Path) -> list[Path]:
    """`app.py`, `README.md` with its header, `requirements.txt`. UsageError where one of them is there already."""
    try:
        gradio = version("gradio")
    except PackageNotFoundError:
        gradio = GRADIO
    texts = {
        "app.py": APP,
        "README.md": README.format(gradio=gradio, source=SOURCE),
        "requirements.txt": REQUIREMENTS.format(source=SOURCE, srkit=srkit.__version__),
    }
    there = [name for name in texts if (folder / name).exists()]
    if there:
        raise srkit.UsageError(f"'{folder / there[0]}' is there already; name an empty folder")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name, text in texts.items():
            (folder / name).write_text(text, encoding="utf-8")
    except OSError as error:
        raise srkit.SrkitError(f"cannot write into '{folder}': {error.strerror}") from None
    return [folder / name for name in texts]
