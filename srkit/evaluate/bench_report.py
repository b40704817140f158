"""Write a benchmark's page, its table and its plots into a folder."""

from collections.abc import Sequence
from pathlib import Path

from srkit.errors import SrkitError, one_line
from srkit.evaluate.bench_data import Shown, page_parts
from srkit.evaluate.bench_page import page_of
from srkit.evaluate.bench_plots import can_draw, plots_of
from srkit.evaluate.groups import GroupScore, group_scores
from srkit.evaluate.limits import limits_of
from srkit.evaluate.published import Quoted
from srkit.evaluate.table import Results
from srkit.files import write_atomically

PAGE, TABLE, CARD, PLOTS = "index.html", "table.json", "MODEL.md", "plots"


def write_report(
    results: Results,
    folder: Path,
    crops: Sequence[Shown] = (),
    quoted: Sequence[Quoted] = (),
    groups: Sequence[GroupScore] | None = None,
) -> list[Path]:
    """`index.html`, which needs no other file; `table.json`, which `read_results` reads; `plots/` as SVG and PDF;
    `MODEL.md`, of the models with weights, for a model card.

    crops, quoted, groups: see `page_of`. Plots need matplotlib, and are left out without it. Returns what was written.
    Raises SrkitError where the folder cannot be written, UsageError for scores of two protocols.
    """
    if groups is None:
        groups = group_scores(results, [metric.name for metric in results.metrics[:1]])
    page = page_of(results, crops, quoted, groups)
    contents = {folder / PAGE: page.encode(), folder / TABLE: results.to_json().encode()}
    if any(model.weights for model in results.models):
        contents[folder / CARD] = limits_of(results, groups).encode()
    if can_draw():
        contents |= {folder / PLOTS / name: content for name, content in plots_of(page_parts(results))}
    try:
        for path, content in contents.items():
            path.parent.mkdir(parents=True, exist_ok=True)
            write_atomically(path, lambda file, content=content: file.write(content))  # type: ignore[misc]
    except OSError as error:
        raise SrkitError(f"cannot write into '{folder}': {one_line(error)}") from None
    return list(contents)
