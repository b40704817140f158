"""Recipes: run files that ship with a plugin, in the folder `recipes` of its package, and are known by name."""

import re
from dataclasses import dataclass
from importlib.metadata import entry_points
from importlib.resources import files
from pathlib import Path

from srkit.errors import UnknownName, did_you_mean, missing_path
from srkit.hookspecs import GROUP
from srkit.plugins import BUILTIN, Registry, package_of


@dataclass(frozen=True)
class Recipe:
    """about: the comment the file begins with, as one text."""

    name: str
    path: Path
    package: str
    about: str


def recipes(registry: Registry) -> list[Recipe]:
    """Those of every plugin that works: built-in first, then by package and name."""
    working = {entry.package for entry in registry.entries}
    found = {}
    for point in entry_points(group=GROUP):
        if (package := package_of(point)) not in working:
            continue
        folder = Path(str(files(point.module.partition(".")[0]))) / "recipes"
        for path in folder.glob("*.toml"):
            head = re.match(r"(?:#.*\n)*", path.read_text(encoding="utf-8"))
            lines = [line.lstrip("# ") for line in head[0].splitlines()] if head else []
            found[package, path.stem] = Recipe(path.stem, path, package, " ".join(lines))
    return sorted(found.values(), key=lambda r: (r.package != BUILTIN, r.package, r.name))


def run_file(word: str, registry: Registry) -> Path:
    """The file `--run WORD` means: a path, else a recipe's name. UnknownName for neither, with the nearest."""
    path = Path(word).expanduser()
    if path.exists():
        return path
    known = {recipe.name: recipe.path for recipe in reversed(recipes(registry))}  # a built-in keeps its name
    if word in known:
        return known[word]
    if path.suffix == ".toml" or len(path.parts) > 1:
        raise missing_path(path, "run file")
    raise UnknownName(f"no run file or recipe called '{word}'{did_you_mean(word, known)}")
