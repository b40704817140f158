"""Recipes: run files that ship with a plugin, in the folder `recipes` of its package, and are known by name.

The comment that a recipe begins with may say which figures its training is expected to reach, one a line:
`# expected: psnr 34.61 on div2k x2, protocol div2k`.
"""

import re
from dataclasses import dataclass
from importlib.metadata import entry_points
from importlib.resources import files
from pathlib import Path

from srkit.errors import UnknownName, did_you_mean, missing_path
from srkit.hookspecs import GROUP
from srkit.plugins import BUILTIN, Registry, package_of

EXPECTED = re.compile(r"expected: (\S+) (\d+(?:\.\d+)?) on (\S+) x(\d+), protocol (\S+)")


@dataclass(frozen=True)
class Expected:
    """A published figure that a recipe's training is to reach, in the words of `srkit bench`. set: a dataset's name."""

    metric: str
    value: float
    set: str
    scale: int
    protocol: str


@dataclass(frozen=True)
class Recipe:
    """about: the comment the file begins with, as one text; expected: the figures it promises."""

    name: str
    path: Path
    package: str
    about: str
    expected: tuple[Expected, ...] = ()


def recipes(registry: Registry) -> list[Recipe]:
    """Those of every plugin that works: built-in first, then by package and name."""
    working = {entry.package for entry in registry.entries}
    found = {}
    for point in entry_points(group=GROUP):
        if (package := package_of(point)) not in working:
            continue
        folder = Path(str(files(point.module.partition(".")[0]))) / "recipes"
        for path in folder.glob("*.toml"):
            lines = comment_of(path)
            figures = tuple(figure for line in lines if (figure := expected_of(line)))
            found[package, path.stem] = Recipe(path.stem, path, package, " ".join(lines), figures)
    return sorted(found.values(), key=lambda r: (r.package != BUILTIN, r.package, r.name))


def comment_of(path: Path) -> list[str]:
    """The lines of the comment that a run file begins with, without their marks."""
    head = re.match(r"(?:#.*\n)*", path.read_text(encoding="utf-8"))
    return [line.lstrip("# ") for line in head[0].splitlines()] if head else []


def expected_of(line: str) -> Expected | None:
    """The figure that a line of a recipe's comment promises; None where it promises none in this form."""
    if not (found := EXPECTED.fullmatch(line.strip())):
        return None
    metric, value, name, scale, protocol = found.groups()
    return Expected(metric, float(value), name, int(scale), protocol)


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
