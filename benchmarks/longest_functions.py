"""Print the longest function bodies of a folder: python benchmarks/longest_functions.py [FOLDER] [--limit LINES]

A body is counted from its first statement after the docstring to its last line, comments and nested functions included.
With --limit the exit code is 1 if a body has that many lines or more.
"""

import argparse
import ast
from pathlib import Path

SHOWN = 5


def bodies(file: Path) -> list[tuple[int, str]]:
    """(lines of the body, "file:line name") of each function in `file`, methods and nested functions included."""
    found = []
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            body = node.body[1:] if ast.get_docstring(node) is not None else node.body
            lines = (body[-1].end_lineno or 0) - body[0].lineno + 1 if body else 0
            found.append((lines, f"{file}:{node.lineno} {node.name}"))
    return found


def main() -> int:
    parser = argparse.ArgumentParser(description="Print the longest function bodies of a folder.")
    parser.add_argument("folder", nargs="?", type=Path, default=Path("srkit"))
    parser.add_argument("--limit", type=int, metavar="LINES", help="fail if a body has this many lines or more")
    words = parser.parse_args()
    longest = sorted((body for file in words.folder.rglob("*.py") for body in bodies(file)), reverse=True)
    for lines, where in longest[:SHOWN]:
        print(f"{lines:4} {where}")
    return int(words.limit is not None and any(lines >= words.limit for lines, _ in longest))


if __name__ == "__main__":
    raise SystemExit(main())
