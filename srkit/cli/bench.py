"""`srkit bench`: every model that has weights, on every set that is found, in one table."""

import shlex
import sys
from dataclasses import replace
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from srkit import defaults
from srkit.cli import display
from srkit.cli.bench_report import (
    checked_before_work,
    measured_costs,
    show_costs,
    show_groups,
    told_costs,
    write_page,
)
from srkit.cli.choose import AsJson, Device, Precision, Root, Wrappers, scale_of, words
from srkit.errors import SrkitError, UsageError, missing_path
from srkit.plugins import Choice, Registry

if TYPE_CHECKING:
    from srkit.evaluate.plan import Plan
    from srkit.evaluate.require import Requirement
    from srkit.evaluate.store import Store
    from srkit.evaluate.table import Results
    from srkit.nets import Precision as Format
    from srkit.weights.subjects import Search

DEFAULT_SCALES = (2, 3, 4)
TOLD = 8  # failures that are told on stderr; the table has all


def bench(
    checkpoints: Annotated[
        list[str] | None, typer.Argument(help="Checkpoint files or run folders to score as well.", show_default=False)
    ] = None,
    models: Annotated[
        list[str] | None,
        typer.Option(help="Only these, separated by commas: names, 'edsr*', checkpoints, runs, hf:owner/name."),
    ] = None,
    sets: Annotated[
        list[str] | None, typer.Option(help="Only these sets, or folders of HR pictures, separated by commas.")
    ] = None,
    scales: Annotated[list[str] | None, typer.Option(help="Only these scales: 2,3,4.")] = None,
    protocol: Annotated[str, typer.Option(help="y, y-uint8, rgb or div2k.")] = "y",
    metrics: Annotated[
        list[str] | None,
        typer.Option(
            help="Metrics, separated by commas, with their options: psnr,lpips:net=vgg. psnr,ssim if not given."
        ),
    ] = None,
    images: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME=DIR",
            help="A folder of ready SR pictures of any program, matched to the set's by name. Again for more folders.",
        ),
    ] = None,
    lr_only: Annotated[
        list[str] | None,
        typer.Option(metavar="DIR", help="A folder of LR pictures without HR, for metrics that need no reference."),
    ] = None,
    root: Root = None,
    self_ensemble: Annotated[
        bool, typer.Option("--self-ensemble", help="Each model once more as the mean over eight flips and rotations.")
    ] = False,
    wrapper: Wrappers = None,
    device: Device = "auto",
    precision: Precision = "fp32",
    backend: Annotated[
        str, typer.Option(help="What networks run in, PyTorch if not given, in a --precision that it offers.")
    ] = "",
    cost: Annotated[
        bool, typer.Option("--cost", help="Multiply-adds, latency and peak memory too, each model in a fresh process.")
    ] = False,
    cost_sizes: Annotated[
        list[str] | None,
        typer.Option(help="Sizes of the outputs that --cost measures; 640x360,1280x720 if not given."),
    ] = None,
    report: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Write a page with plots and crops, that needs no network.")
    ] = None,
    results: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Where scores are kept; a folder in the cache if not given.")
    ] = None,
    part: Annotated[
        str,
        typer.Option(
            metavar="K/N", help="Compute the Kth of N parts, keep it, print no table: for a batch system's tasks."
        ),
    ] = "",
    no_cache: Annotated[bool, typer.Option("--no-cache", help="Compute everything, and keep nothing.")] = False,
    show_all: Annotated[bool, typer.Option("--all", help="Say which models have no weights here, and why.")] = False,
    as_json: AsJson = False,
    as_csv: Annotated[bool, typer.Option("--csv", help="Print CSV.")] = False,
    as_markdown: Annotated[bool, typer.Option("--markdown", help="Print a Markdown table.")] = False,
    long: Annotated[bool, typer.Option("--long", help="Print CSV with a line for each picture and metric.")] = False,
    as_latex: Annotated[bool, typer.Option("--latex", help="Print a LaTeX table, for the package booktabs.")] = False,
    parquet: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write the numbers as Parquet as well, a line for each.")
    ] = None,
    intervals: Annotated[
        bool, typer.Option("--intervals", help="Show the 95 % interval of each mean over the pictures.")
    ] = False,
    groups: Annotated[
        bool, typer.Option("--groups", help="Scores by what is in the pictures, measured, and by the sets' folders.")
    ] = False,
    tags: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Scores by your own groups: CSV, a line a picture, image,tag[,tag...]."),
    ] = None,
    published: Annotated[
        bool, typer.Option("--published", help="Quote published figures of standard methods beside those measured.")
    ] = False,
    require: Annotated[
        list[str] | None,
        typer.Option(
            metavar="REQUIREMENT",
            help="Exit with 1 if a figure misses it: edsr-small:set5:x2:psnr>=37.2. Again for more.",
        ),
    ] = None,
    compare: Annotated[
        tuple[Path, Path] | None,
        typer.Option(metavar="OLD NEW", help="Score nothing; say what moved between two files of --json."),
    ] = None,
) -> None:
    """Score models on test sets. By default every model that has weights, those in runs/ too, on the sets found.

    What was computed once is kept: only what is new or has changed is computed.
    """
    forms = {"json": as_json, "csv": as_csv and not long, "long": long, "markdown": as_markdown, "latex": as_latex}
    asked_forms = [form for form, asked in forms.items() if asked]
    by_groups = groups or tags is not None
    form = chosen_form(asked_forms, intervals=intervals, published=published, groups=by_groups, compared=bool(compare))
    if compare is not None:
        tell_changes(*compare, form)
        return
    if root is not None and not root.expanduser().is_dir():
        raise missing_path(root, "folder")
    sizes = checked_before_work(words(cost_sizes), report)
    own_part = part_of(part, no_cache)
    required = required_of(require)
    registry = display.load()
    from srkit.cli.bench_plan import planned
    from srkit.evaluate.plan import measure_named
    from srkit.evaluate.protocol import protocol_named
    from srkit.evaluate.tags import read_tags
    from srkit.weights.subjects import Search

    tagged = read_tags(tags) if tags else None
    store = store_in(results, no_cache)
    device = device_meant(device, store)
    runs = runtime_meant(registry, backend, precision, device)
    measures = [measure_named(registry, store, word) for word in words(metrics) or defaults.METRICS]
    wanted = [scale_of(word) for word in words(scales)]
    chain = words(wrapper)
    search = Search(
        registry,
        store,
        wanted or DEFAULT_SCALES,
        scales_said=bool(wanted),
        device=device,
        precision="fp32" if runs else resolved(precision, device),
        backend=runs,
        wrappers=[chain, [defaults.ENSEMBLE, *chain]] if self_ensemble else [chain],
    )
    plan = planned(
        search,
        measures,
        protocol_named(protocol),
        models=words(models),
        checkpoints=words(checkpoints),
        sets=words(sets),
        images=images or [],
        lr_only=words(lr_only),
        root=root,
        show_all=show_all,
        groups=groups,
        tags=tagged,
    )
    if not fill(plan, registry, device, own_part):
        return
    table = plan.results(about_of(plan, search))
    if cost:
        table = replace(table, costs=measured_costs(plan, sizes))
    show(table, form, parquet, store=store, intervals=intervals, published=published)
    write_page(plan, table, report, registry, device=device, published=published)
    check(table, required)


def store_in(folder: Path | None, no_cache: bool) -> "Store":
    """What was computed before; in memory only with --no-cache."""
    from srkit.evaluate.store import Store
    from srkit.files import cache_folder

    return Store(None if no_cache else (folder or cache_folder() / "results").expanduser())


def device_meant(word: str, store: "Store") -> str:
    """What `auto` is on this machine, remembered, so that a table of which all is known needs no torch."""
    if word != "auto":
        return word
    from srkit.evaluate.machine import accelerators

    fact = ["auto device", accelerators()]
    if isinstance(known := store.recall(fact), str):
        return known
    from srkit.nets import pick_device

    store.remember(fact, found := str(pick_device()))
    return found


def required_of(texts: list[str] | None) -> "list[Requirement]":
    from srkit.evaluate.require import requirement

    return [requirement(text) for text in texts or []]


def part_of(word: str, no_cache: bool) -> tuple[int, int]:
    """(K - 1, N) of `K/N`; (0, 1) where it is empty. UsageError for what is no part."""
    if not word:
        return 0, 1
    if no_cache:
        raise UsageError("--part keeps what it computes; leave out --no-cache")
    first, _, last = word.partition("/")
    if not (first.isdecimal() and last.isdecimal() and 1 <= int(first) <= int(last)):
        raise UsageError(f"--part '{word}' is no part; write 2/8 for the second of eight")
    return int(first) - 1, int(last)


def tell_part(plan: "Plan") -> None:
    """Where a part is kept; SrkitError where something of it failed."""
    failed = len(plan.failures)
    part = f"{plan.part[0] + 1}/{plan.part[1]}"
    display.say(f"part {part} is kept in '{plan.store.folder}'; the command without --part prints the table")
    if failed:
        why = next(iter(plan.failures.values()))
        raise SrkitError(f"{failed} score{'s' if failed > 1 else ''} could not be computed: {why}")


def fill(plan: "Plan", registry: Registry, device: str, part: tuple[int, int]) -> bool:
    """Compute what the store has not, with progress; False where that was a part of it, which is told.

    What is done stays done when it is interrupted.
    """
    plan.part = part
    fill_part(plan, registry, device)
    if part[1] > 1:
        tell_part(plan)
    return part[1] == 1


def fill_part(plan: "Plan", registry: Registry, device: str) -> None:
    todo = sum(
        bool(plan.missing(cell, picture)) and plan.mine(number, index)
        for number, cell in enumerate(plan.cells)
        for index, picture in enumerate(cell.tested.pictures)
    )
    if not todo:
        return

    from srkit.evaluate.compute import compute
    from srkit.nets import pick_device

    try:
        with display.Progress("scoring", todo) as progress:
            compute(plan, registry, pick_device(device), progress.one_more)
    except KeyboardInterrupt:
        if plan.store.folder:
            display.say(f"what was computed is kept in '{plan.store.folder}'; the same command goes on from there")
        raise


def resolved(precision: str, device: str) -> "Format":
    """The precision that is meant on this machine. UsageError for a word that means none."""
    if precision == "fp32":  # then a table of which all is known needs no torch
        return "fp32"
    from srkit.nets import pick_device, precision_on

    return precision_on(pick_device(device), precision)


def runtime_meant(registry: Registry, name: str, precision: str, device: str) -> "Choice | None":
    """What networks run in; None for PyTorch, without a word. UsageError for `auto`, and a precision it has not."""
    if not name:
        return None
    from srkit.nets import pick_device
    from srkit.weights.runtimes import AUTO, chosen_backend

    if name == AUTO:
        there = ", ".join(entry.component.name for entry in registry.of("backend"))
        raise UsageError(f"each model may run fastest in another backend, and a table is of one; name it: {there}")
    return chosen_backend(registry, name, precision, pick_device(device))


def about_of(plan: "Plan", search: "Search") -> dict[str, str]:
    """What a reader must know of where the numbers come from."""
    import platform

    from srkit.evaluate.identity import versions_of

    backend = search.backend
    return {
        "srkit": version("srkit"),
        "torch": version("torch"),
        "command": shlex.join(["srkit", *sys.argv[1:]]),
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "system": platform.platform(),
        "precision": backend.options["precision"] if backend else search.precision,
        "backend": backend.label if backend else "",
        "runtime": ", ".join(versions_of(backend.entry.package)) if backend else "",
        "device": "; ".join(plan.conditions()),
    }


def chosen_form(asked: list[str], *, intervals: bool, published: bool, groups: bool, compared: bool) -> str:
    """The one form the table is printed in; empty for that of the terminal. Raises UsageError for what does not fit."""
    if len(asked) > 1:
        raise UsageError("--json, --csv, --markdown or --latex, not both")
    form = asked[0] if asked else ""
    if compared and form not in ("", "json"):
        raise UsageError("--compare prints a table, or JSON with --json")
    if intervals and form in ("long", "latex"):
        raise UsageError(f"--{form} has no intervals; the table, --csv, --markdown and --json have")
    if groups and form in ("long", "latex"):
        raise UsageError(f"--{form} has no groups; the table, --csv, --markdown and --json have")
    if published and form in ("long", "csv"):
        raise UsageError(f"--{form} has only what was measured; the table, --markdown, --latex and --json can quote")
    return form


def show(
    results: "Results", form: str, parquet: Path | None, *, store: "Store", intervals: bool, published: bool
) -> None:
    """Every form a table is given in. A new one is a line in `srkit.evaluate.views.PRINTED`, and an option."""
    from srkit.evaluate import views
    from srkit.evaluate.groups import group_scores
    from srkit.evaluate.published import beside
    from srkit.evaluate.report import numeric

    quoted, notices = beside(results) if published else ([], [])
    for notice in notices:
        display.say(notice)
    shown = [metric.name for metric in results.metrics][: None if form in ("json", "csv") else 1]
    extras = views.Beside(intervals, quoted, group_scores(results, shown, store))
    if parquet is not None:
        views.write_parquet(results, parquet)
    if form:
        text = views.PRINTED[form](results, extras)
        display.result(text, end="" if text.endswith("\n") else "\n")
        return
    headings, cells, measured = views.table_of(results, extras)
    display.table(headings, cells, right=numeric(headings), sections=[measured - 1] if quoted else [])
    display.result(views.footer(results, extras))
    if extras.groups:
        show_groups(results, extras.groups)
    if results.costs:
        show_costs(results)


def check(results: "Results", required: "list[Requirement]") -> None:
    """Say what is missed, and what failed; SrkitError for either."""
    from srkit.evaluate.require import missed

    lines = missed(required, results)
    for line in lines:
        display.say(line)
    tell(results)
    if lines:
        raise SrkitError(f"requirements are missed by {len(lines)} figure{'s' if len(lines) > 1 else ''}")


def tell_changes(old: Path, new: Path, form: str) -> None:
    """Print what moved between two tables."""
    from srkit.evaluate import history
    from srkit.evaluate.statistics import METHOD, TEST
    from srkit.evaluate.table import read_results

    before, after = read_results(old), read_results(new)
    found = history.compare(before, after, (f"'{old}'", f"'{new}'"))
    if form == "json":
        display.result(found.to_json())
        return
    headings, cells = history.to_table(after, found)
    display.table(headings, cells, right=range(4, 9))
    if found.costs:
        display.table(*history.to_cost_table(found), right=range(4, 7))
    display.result(f"{history.summary(found)}\n{METHOD}\n{TEST}")


def tell(results: "Results") -> None:
    """Say what failed and why, and what is not as claimed; SrkitError if anything failed: a gap is no success."""
    from srkit.evaluate.report import claim_of, differs
    from srkit.evaluate.views import rows_of

    rows = rows_of(results)
    for row in rows:
        for metric in row.claims:
            if differs(row, metric):
                display.say(f"{row.model} x{row.scale} on {row.dataset}: {metric} is claimed {claim_of(row, metric)}")
    failed = [row for row in rows if row.error]
    for row in failed[:TOLD]:
        display.say(f"{row.model} x{row.scale}{f' on {row.dataset}' if row.dataset else ''}: {row.error}")
    if len(failed) > TOLD:
        display.say(f"and {len(failed) - TOLD} more rows")
    gaps = [f"{len(failed)} of {len(rows)} rows have no scores"] if failed else []
    gaps += told_costs(results)
    if gaps:
        raise SrkitError("; ".join(gaps))
