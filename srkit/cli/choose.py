"""What commands let a user choose from: sets, scales, wrappers, data; the options several commands share."""

import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from tempfile import TemporaryFile
from typing import Annotated, Any

import typer
import typer.core

from srkit import defaults
from srkit.cli import display
from srkit.errors import UnknownName, UsageError, did_you_mean, missing_path, one_line
from srkit.plugins import Choice, Entry, Registry

SPLITS = ("train", "valid", "test")

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]
Device = Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:1, mps.")]
Precision = Annotated[
    str, typer.Option(help="Number format of the network: fp32, bf16, fp16; auto: bf16 where the device multiplies it.")
]
Root = Annotated[
    Path | None, typer.Option(help="Folder that holds the datasets; else $SRKIT_DATA, else the user's data folder.")
]
SelfEnsemble = Annotated[
    bool, typer.Option("--self-ensemble", help="Average over eight flips and rotations: finer, eight times slower.")
]
Sheet = Annotated[
    Path | None, typer.Option(help="The picture that shows what was dropped; OUT.dropped.png if not given.")
]
Source = Annotated[str, typer.Argument(metavar="NAME|DIR", help="A dataset's name, or a folder of pictures.")]
Wrappers = Annotated[
    list[str] | None, typer.Option(help="Wrappers around every model, separated by commas, the last outermost.")
]


def words(values: list[str] | None) -> list[str]:
    """A list as every command takes it: repeated, separated by commas, or both.

    A value that is the path of a file or folder stays whole: a sweep names its folders `loss=l1,lr=1e-3`.
    """
    found: list[str] = []
    for value in values or ():
        if value.strip() and os.path.exists(os.path.expanduser(value)):
            found.append(value)
        else:
            found += [word.strip() for word in value.split(",") if word.strip()]
    return found


def some_words(values: list[str], what: str) -> list[str]:
    """`words` of a list that must not be empty; UsageError for `,`, which names nothing."""
    found = words(values)
    if not found:
        raise UsageError(f"no {what} is named in '{' '.join(values)}'")
    return found


def with_options(kind: str, names: Sequence[str], assigned: Iterable[str]) -> list[dict[str, Any]]:
    """A list of a run file: each name with the options that `NAME.option=value` sets. Raises UnknownName."""
    from srkit.run import merge, parse_assignment

    options: dict[str, Any] = {}
    for text in assigned:
        table = parse_assignment(text)
        for name, values in table.items():
            if name not in names:
                raise UnknownName(f"--set {text}: no {kind} '{name}' is shown{did_you_mean(name, names)}")
            if not isinstance(values, dict):
                raise UsageError(f"--set {text}: write {name}.OPTION=VALUE")
            options[name] = merge(options.get(name, {}), values)
    return [{"name": name, **options.get(name, {})} for name in names]


def scale_of(word: str) -> int:
    if not word.removeprefix("x").isdecimal() or int(word.removeprefix("x")) < 1:
        raise UsageError(f"'{word}' is not a scale; write 2,3,4")
    return int(word.removeprefix("x"))


def found_sets(registry: Registry, root: Path | None) -> list[tuple[str, Choice, Path | None]]:
    """The published test sets on this machine; if there are none, the held-out samples, with a notice."""
    found: list[tuple[str, Choice, Path | None]] = [
        (entry.component.name, registry.choose("dataset", entry.component.name), root)
        for entry in registry.of("dataset")
        if getattr(entry.component, "benchmark", False) and is_installed(registry, entry, root)
    ]
    if not found:
        display.say(
            "no test set found (--root or SRKIT_DATA names the folder that holds Set5/HR); scoring the held-out samples"
        )
        found.append((defaults.DATASET, registry.choose("dataset", defaults.DATASET), None))
    return found


def is_installed(registry: Registry, entry: Entry, root: Path | None) -> bool:
    """Are the pictures of a dataset on this machine?"""
    try:
        registry.choose("dataset", entry.component.name).build(root, "test", 2)
    except UnknownName:
        return False
    return True


def chosen_wrappers(registry: Registry, self_ensemble: bool, names: list[str] | None) -> list[Choice]:
    """The wrappers asked for, innermost first."""
    ensemble = [defaults.ENSEMBLE] if self_ensemble else []
    return [registry.choose("wrapper", name) for name in ensemble + words(names)]


def chosen_data(
    registry: Registry, word: str, root: Path | None, assigned: Iterable[str] | None = None
) -> tuple[Choice, Path | None]:
    """(dataset, root) of a folder or a dataset's name, with the options of `--set option=value`."""
    from srkit.data.named import data_table
    from srkit.run import merge, parse_assignment

    options: dict[str, Any] = {}
    for text in assigned or ():
        options = merge(options, parse_assignment(text))
    table = data_table(registry, word)
    return registry.choose("dataset", table["name"], options), Path(table["root"]) if "root" in table else root


def check_split(split: str, root: Path | None) -> None:
    """UnknownName for a split that is none, or a root that is not there."""
    if root is not None and not root.expanduser().is_dir():
        raise missing_path(root, "folder")
    if split not in SPLITS:
        raise UnknownName(f"no split called '{split}'{did_you_mean(split, SPLITS)}")


def check_apart(dataset: str, root: str | Path | None, *written: Path | None) -> None:
    """UsageError where what is written would be among the pictures that are read, from the next time on.

    dataset: its name; all that lies below the root is a picture of a folder, and of no other dataset.
    """
    from srkit import defaults

    if root is None or dataset.rpartition(":")[2] != defaults.FOLDER:
        return
    for path in filter(None, written):
        if path.resolve().is_relative_to(Path(root).expanduser().resolve()):
            raise UsageError(
                f"'{path}' lies in '{root}', whose pictures are read, and would be read with them the next time; "
                "name a place outside it"
            )


def sheet_beside(out: Path, sheet: Path | None) -> Path:
    """Where the sheet of what was dropped goes, if the user does not say; UsageError where it cannot be written."""
    from srkit.images import check_output

    if sheet is not None:
        check_output(sheet)
    return sheet or out.with_name(f"{out.resolve().name}.dropped.png")


def check_folder(out: Path) -> None:
    """Before any work: make the folder, and see that it can be written."""
    try:
        out.mkdir(parents=True, exist_ok=True)
        with TemporaryFile(dir=out):
            pass
    except OSError as error:
        raise UsageError(f"cannot write into '{out}': {one_line(error)}") from None
