"""The grid of a sweep: every combination of some values of some keys, each with a folder of its own."""

import re
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import product
from pathlib import Path
from typing import Any

import tomli_w

from srkit.errors import UsageError, one_line
from srkit.evaluate.selection import Selection, selection_of
from srkit.files import write_atomically
from srkit.plugins import Registry, check_scales
from srkit.run import Run, merge, parse_assignment

VALIDATIONS = 20  # in each cell, where validate_every is not set
LONGEST = 120  # characters of a folder's name


@dataclass(frozen=True)
class Cell:
    """One combination. words: for each varied key its value as it was written; values: as TOML means it.

    selection: the metric and protocol by which all cells are compared.
    """

    number: int
    words: dict[str, str]
    values: dict[str, Any]
    run: Run
    folder: Path
    selection: Selection

    @property
    def name(self) -> str:
        return self.folder.name

    @property
    def validated_on(self) -> str:
        """The validation set and scale, without which a score means nothing."""
        part = self.run.validation[0]
        return f"{part.root or part.name.removeprefix('srkit:')} x{'x'.join(map(str, self.run.scales))}"


def parse_vary(text: str) -> tuple[str, list[str]]:
    """`model.n_resblocks=4,8,16` as the key and its values. Commas in brackets or quotes part nothing."""
    key, equals, values = text.partition("=")
    key = key.strip()
    if not equals or not re.fullmatch(r"[\w-]+(\.[\w-]+)*", key):
        raise UsageError(f"--vary wants key=value,value, as in loss=l1,l2, not '{text}'")
    words = [word.strip() for word in split(values)]
    if not all(words):
        raise UsageError(f"--vary {text}: a value is missing")
    return key, words


def split(text: str) -> list[str]:
    """`text` at the commas outside brackets and quotes."""
    parts, depth, quote = [""], 0, ""
    for letter in text:
        if quote:
            quote = "" if letter == quote else quote
        elif letter in "\"'":
            quote = letter
        else:
            depth += (letter in "[{(") - (letter in ")}]")
        if letter == "," and not depth and not quote:
            parts.append("")
        else:
            parts[-1] += letter
    return parts


def plan(registry: Registry, base: Mapping[str, Any], varied: Mapping[str, list[str]], out: Path) -> list[Cell]:
    """All cells of the grid, the last key changing fastest, each with its run resolved.

    Raises UnknownName, OptionError or UsageError for the first value that does not fit, and UsageError
    where two cells are the same run, or are measured in two ways.
    """
    cells: list[Cell] = []
    for number, chosen in enumerate(product(*varied.values()), 1):
        words = dict(zip(varied, chosen, strict=True))
        tables = {key: parse_assignment(f"{key}={word}") for key, word in words.items()}
        values = dict(base)
        for table in tables.values():
            values = merge(values, table)
        run = Run.from_dict(values)
        if "validate_every" not in values:
            run = replace(run, validate_every=max(1, run.steps // VALIDATIONS))
        run = run.resolved(registry)
        model = registry.choose("model", run.model.name, run.model.options)
        if not model.component.trainable:
            raise UsageError(f"'{model.label}' has no parameters to train")
        check_scales(model, run.scales)
        folder = out / folder_name(words, number, [cell.name for cell in cells])
        if twin := next((cell for cell in cells if cell.run == run), None):
            raise UsageError(f"'{twin.name}' and '{folder.name}' are the same run; vary each key once, a name first")
        selection = selection_of(run, registry)
        if cells and (selection, run.metric) != (cells[0].selection, cells[0].run.metric):
            raise UsageError("cells are compared by one metric and protocol; --vary anything else than those two")
        leaves = {key: leaf(table, key) for key, table in tables.items()}
        cells.append(Cell(number, words, leaves, run, folder, selection))
    return cells


def folder_name(words: Mapping[str, str], number: int, taken: Sequence[str]) -> str:
    """`loss=l1,model.n_resblocks=4`: readable, and of characters that every file system and shell takes."""
    plain = {key: re.sub(r"[^\w.+-]+", "-", word).strip("-") for key, word in words.items()}
    name = ",".join(f"{key}={word}" for key, word in plain.items())
    return name if len(name) <= LONGEST and name not in taken else f"{name[:LONGEST]}~{number}"


def leaf(table: Any, key: str) -> Any:
    for part in key.split("."):
        table = table[part]
    return table


def claim(out: Path, base: Mapping[str, Any], varied: Mapping[str, list[str]]) -> None:
    """Make `out` the folder of this grid. UsageError where it holds another, or something else."""
    grid = {"vary": dict(varied), "run": dict(base)}
    path = out / "sweep.toml"
    if path.is_file():
        try:
            found = tomllib.loads(path.read_text(encoding="utf-8"))
        except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
            raise UsageError(f"'{path}' is not valid TOML: {error}") from None
        for section, wanted in grid.items():
            old = found.get(section, {})
            for key in {**old, **wanted}:
                if old.get(key) != wanted.get(key):
                    values = f"{key} = {old.get(key, 'nothing')}, not {wanted.get(key, 'nothing')}"
                    raise UsageError(f"'{out}' holds the sweep of another grid, with {values}; name another --out")
        return
    if out.exists() and not out.is_dir():
        raise UsageError(f"--out '{out}' is a file; name a folder")
    if out.is_dir() and any(not item.name.startswith(".") for item in out.iterdir()):
        raise UsageError(f"--out '{out}' is not empty and holds no sweep; name another folder")
    try:
        out.mkdir(parents=True, exist_ok=True)
        write_atomically(path, lambda file: tomli_w.dump(grid, file))
    except OSError as error:
        raise UsageError(f"cannot write into '{out}': {one_line(error)}") from None
