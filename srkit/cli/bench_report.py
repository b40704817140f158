"""What `srkit bench` does for --cost, --groups and --report."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from srkit.cli import display
from srkit.cli.choose import check_folder
from srkit.plugins import Registry

if TYPE_CHECKING:
    from srkit.evaluate.cost_table import Size
    from srkit.evaluate.groups import GroupScore
    from srkit.evaluate.plan import Plan
    from srkit.evaluate.table import Cost, Results


def checked_before_work(sizes: list[str], report: Path | None) -> "Sequence[Size]":
    """The sizes of outputs to measure; UsageError for what is none, and for a folder that cannot be written."""
    from srkit.evaluate.cost_table import SIZES, size_named

    if report is not None:
        check_folder(report)
    return [size_named(word) for word in sizes] or SIZES


def measured_costs(plan: "Plan", sizes: "Sequence[Size]") -> "list[Cost]":
    """What each model of the plan costs, each in a process of its own; what is known is not measured again."""
    from srkit.weights.alone import costs_of

    subjects = list({(cell.subject.info.name, cell.subject.info.scale): cell.subject for cell in plan.cells}.values())
    subjects = [subject for subject in subjects if subject.again and not subject.error]
    with display.Progress("measuring costs", len(subjects)) as progress:
        return costs_of(plan.store, subjects, sizes, progress.one_more)


def show_costs(results: "Results") -> None:
    """The second table, below the scores."""
    from srkit.evaluate.cost_table import cost_table, notes

    headings, cells = cost_table(results)
    right = [i for i, heading in enumerate(headings) if i >= 2 and heading != "error"]
    display.table(headings, cells, right=right)
    display.result("\n".join(filter(None, notes(results))))


def show_groups(results: "Results", found: "Sequence[GroupScore]") -> None:
    """The table by groups of pictures, below the scores."""
    from srkit.evaluate.groups import group_notes, group_table

    display.table(*group_table(found, results), right=range(4, 8))
    display.result("\n".join(group_notes(results, found)))


def told_costs(results: "Results") -> list[str]:
    """Say which costs could not be measured, and why; returns how many, in words."""
    failed = [cost for cost in results.costs if cost.error]
    for model, scale, size, error in dict.fromkeys((c.model, c.scale, c.size, c.error) for c in failed):
        display.say(f"cost of {model} x{scale}{f' at {size}' if size else ''}: {error}")
    return [f"{len(failed)} of {len(results.costs)} costs could not be measured"] if failed else []


def write_page(
    plan: "Plan", results: "Results", folder: Path | None, registry: Registry, *, device: str, published: bool
) -> None:
    """The report, with crops of a few pictures that are upscaled once more; nothing without a folder."""
    if folder is None:
        return
    from srkit.evaluate.bench_crops import choose, crops_of
    from srkit.evaluate.bench_plots import can_draw
    from srkit.evaluate.bench_report import CARD, PAGE, PLOTS, write_report
    from srkit.evaluate.groups import group_scores
    from srkit.evaluate.published import beside
    from srkit.nets import pick_device

    groups = group_scores(results, [metric.name for metric in results.metrics][:1], plan.store)
    chosen = choose(results)
    psnr = registry.choose("metric", "psnr").build()
    with display.Progress("crops", len(chosen)) as progress:
        crops = crops_of(plan, chosen, pick_device(device), psnr, progress.one_more)
    quoted = beside(results)[0] if published else ()
    written = write_report(results, folder, crops, quoted, groups)
    if not can_draw():
        display.say("no plots as files: they need matplotlib; the page has its own")
    plots = sum(path.parent.name == PLOTS for path in written)
    card = f"; {folder / CARD} for a model card" if folder / CARD in written else ""
    display.say(f"report: {folder / PAGE}; {plots} plots in {folder / PLOTS}{card}")
