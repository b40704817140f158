"""Write docs/cli.md from the commands themselves: python docs/generate_cli.py"""

import html
import os
import subprocess
import sys
from pathlib import Path

PAGE = Path(__file__).with_name("cli.md")


def reference() -> str:
    """The command reference as Markdown, by typer's own generator."""
    words = [sys.executable, "-m", "typer", "srkit.cli", "utils", "docs", "--name", "srkit", "--title", "Commands"]
    alone = {**os.environ, "SRKIT_PLUGINS": ""}  # without the commands of the plugins that happen to be installed
    done = subprocess.run(words, capture_output=True, text=True, check=True, env=alone)
    return html.unescape(done.stdout).strip() + "\n"


if __name__ == "__main__":
    PAGE.write_text(reference(), encoding="utf-8")
