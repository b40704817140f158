"""Write the table of docs/training.md from the run's own declarations: python docs/generate_run_keys.py"""

import re
from pathlib import Path

from srkit.run import scalar_options

PAGE = Path(__file__).with_name("training.md")
EITHER = {"scale": "int > 0, or a list", "batch": "int > 0, or 'auto'"}
HEAD = "| key | type | default | what it is |\n| --- | --- | --- | --- |\n"


def table() -> str:
    rows = []
    for option in scalar_options().values():
        kind = EITHER.get(option.name) or f"{option.type} {option.bound}".strip().replace("|", "or")
        rows.append(f"| `{option.name}` | {kind} | `{option.default!r}` | {option.help} |")
    return HEAD + "\n".join(rows) + "\n"


def page() -> str:
    """The page with its table as the code has it."""
    return re.sub(re.escape(HEAD) + r"(?:\|.*\n)*", lambda _: table(), PAGE.read_text(encoding="utf-8"))


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
