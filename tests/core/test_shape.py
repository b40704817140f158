"""The shape of the code: short functions, few positional arguments, one meaning for each name in a folder."""

import ast
from collections import defaultdict
from pathlib import Path
from runpy import run_path

import pytest

ROOT = Path(__file__).parents[2]
FOLDERS = (ROOT / "srkit", ROOT / "plugins" / "srkit_builtin")
LONGEST = 60  # lines of a body, not reached
MOST_POSITIONAL = 6
FILES = sorted(file for folder in FOLDERS for file in folder.rglob("*.py"))


def nodes(file: Path, *kinds: type[ast.AST]) -> list:
    return [node for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))) if isinstance(node, kinds)]


def test_no_function_body_of_the_core_has_sixty_lines():
    bodies = run_path(str(ROOT / "benchmarks" / "longest_functions.py"))["bodies"]
    core = [file for file in FILES if file.is_relative_to(ROOT / "srkit")]
    assert max(lines for file in core for lines, _ in bodies(file)) > 10, "functions are found"
    assert not [where for file in core for lines, where in bodies(file) if lines >= LONGEST]


def test_no_call_has_more_than_six_positional_arguments():
    crowded = [
        f"{file.relative_to(ROOT)}:{call.lineno} {ast.unparse(call.func)}: {len(call.args)} positional arguments"
        for file in FILES
        for call in nodes(file, ast.Call)
        if len(call.args) > MOST_POSITIONAL
    ]
    assert not crowded, "\n".join(crowded)


def definitions(folder: Path) -> dict[str, list[str]]:
    """The classes and type aliases of a folder, each with the modules that define it."""
    found: dict[str, list[str]] = defaultdict(list)
    for file in sorted(folder.glob("*.py")):
        for node in ast.parse(file.read_text(encoding="utf-8")).body:
            if isinstance(node, ast.ClassDef):
                found[node.name].append(file.name)
            elif isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
                found[node.targets[0].id].append(file.name)
    return {name: modules for name, modules in found.items() if name[0].isupper() and not name.isupper()}


@pytest.mark.parametrize("folder", sorted({file.parent for file in FILES}), ids=lambda f: str(f.relative_to(ROOT)))
def test_a_class_or_type_has_one_meaning_in_its_folder(folder):
    twice = {name: modules for name, modules in definitions(folder).items() if len(modules) > 1}
    assert not twice
