"""`srkit data check`: find faults of a dataset before it is trained on."""

import json
from collections import Counter
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from srkit import defaults
from srkit.cli import display
from srkit.cli.choose import AsJson, Root, Source, check_split, chosen_data, words
from srkit.components import PairSequence
from srkit.errors import SrkitError, UnknownName, one_line
from srkit.plugins import Choice, Registry

if TYPE_CHECKING:
    from srkit.data.check import Report

ROWS = 20  # of one kind in the table


def check(
    source: Source,
    scale: Annotated[int, typer.Option(min=1, help="Upsampling factor of the training.")] = 2,
    split: Annotated[str, typer.Option(help="train, valid or test.")] = "train",
    patch: Annotated[int, typer.Option(min=1, help="Side of a training patch in LR pixels.")] = 48,
    root: Root = None,
    against: Annotated[
        list[str] | None,
        typer.Option(
            help="More datasets or folders in which its pictures must not be; the test sets found are always compared."
        ),
    ] = None,
    assign: Annotated[
        list[str] | None, typer.Option("--set", help="An option of the dataset: track=unknown, lr_dir=none.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Check a dataset before training: damaged pictures, pairs that do not fit, duplicates, leaks, JPEG blocks.

    Exit code 1 when there is an error, 0 with warnings only.
    """
    from srkit.data.check import check_dataset, open_for_check
    from srkit.data.pairs import described, open_dataset

    check_split(split, root)
    registry = display.load()
    dataset, place = chosen_data(registry, source, root, assign)
    pairs, findings = open_for_check(dataset, place, split, scale)
    others = test_sets(registry, root, dataset, scale) if split == "train" else {}
    for word in words(against):
        other, its_place = chosen_data(registry, word, root)
        others[word] = open_dataset(other, its_place, "test", scale)
    with display.Progress("checking", len(pairs) + sum(map(len, others.values()))) as progress:
        report = check_dataset(
            pairs, scale, patch=patch, against=others, progress=lambda done, total: progress.at(done)
        )
    report = replace(report, findings=[*findings, *report.findings])
    if as_json:
        display.say(f"{source} x{scale}: {described(pairs)}")
        made = report.lr_made_by.flat() if report.lr_made_by else None
        display.result(json.dumps({**asdict(report), "lr_made_by": made}, indent=2))
    else:
        display.result(f"data: {described(pairs)}")
        show(report, f"'{source}' x{scale}, split {split}")
    if report.count("error"):
        raise typer.Exit(1)


def test_sets(registry: Registry, root: Path | None, dataset: Choice, scale: int) -> dict[str, PairSequence]:
    """The published test sets that are on this machine and the held-out samples, but not `dataset` itself."""
    from srkit.data.pairs import open_dataset

    found = {}
    for entry in registry.of("dataset"):
        name = entry.component.name
        if name == defaults.DATASET or (entry.component.benchmark and entry.qualified != dataset.entry.qualified):
            try:
                found[name] = open_dataset(registry.choose("dataset", entry.qualified), root, "test", scale)
            except UnknownName:
                continue
            except SrkitError as error:
                display.say(f"not compared with {name}: {one_line(error)}")
    return found


def show(report: "Report", what: str) -> None:
    """The table, what was looked at, and how many findings there are."""
    kinds = Counter(f.kind for f in report.findings)
    shown: Counter[str] = Counter()
    rows = []
    for f in report.findings:
        shown[f.kind] += 1
        if shown[f.kind] <= ROWS:
            rows.append([f.severity, f.kind, f.name, f.text])
        elif shown[f.kind] == ROWS + 1:
            rows.append(
                [f.severity, f.kind, "...", f"and {kinds[f.kind] - ROWS:,} more of this kind; --json lists all"]
            )
    if rows:
        display.table(["severity", "kind", "picture", "what is wrong, and what to do"], rows)
    checked = report.checked
    given = f"LR against HR ({checked['lr_given']:,} given)" if checked["lr_given"] else "no LR to compare"
    sets = ", ".join(f"{name} ({count})" for name, count in checked["against"].items())
    leaks = f"leaks into {sets}" if sets else "no leaks, because there is no test set"
    display.result(
        f"checked: {checked['read']:,} of {report.pictures:,} pictures of {what}, by their pixels: sizes, {given},"
        f" duplicates, JPEG blocks, {leaks}"
    )
    if report.lr_made_by:
        display.result(f"LR made by: {report.lr_made_by.text}")
    words = {"error": "error", "warning": "warning", "info": "note"}
    counts = [f"{n:,} {word}{'s' * (n > 1)}" for severity, word in words.items() if (n := report.count(severity))]
    display.result(f"found: {', '.join(counts) or 'nothing wrong'}")
