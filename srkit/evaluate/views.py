"""Views of the long table: rows with means, as text, CSV, Markdown or JSON; one number a line; Parquet."""

import csv
import io
import json
import math
from collections.abc import Callable, Container, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from srkit.errors import SrkitError, UsageError, one_line
from srkit.evaluate import published
from srkit.evaluate.groups import GroupScore, flat_rows, group_notes, group_table
from srkit.evaluate.latex import to_latex
from srkit.evaluate.published import Quoted
from srkit.evaluate.report import Row, numeric, quoted_cells, to_csv, to_table
from srkit.evaluate.statistics import METHOD, interval, mean
from srkit.evaluate.table import Results, Score, fingerprint

LONG = ("model", "weights", "origin", "dataset", "content", "image", "scale", "metric", "protocol", "value", "seconds",
        "error", "fingerprint")  # fmt: skip


@dataclass(frozen=True)
class Beside:
    """What is shown beside the means. intervals: the 95 % interval of each. quoted: published figures.

    groups: what each model scores on groups of a set's pictures.
    """

    intervals: bool = False
    quoted: Sequence[Quoted] = ()
    groups: Sequence[GroupScore] = ()


PLAIN = Beside()


def table_of(results: Results, beside: Beside = PLAIN) -> tuple[list[str], list[list[str]], int]:
    """(headings, cells, measured): the rows of the table, those that were measured first, and how many these are."""
    rows = rows_of(results, beside)
    headings, cells = to_table(rows)
    return headings, cells + quoted_cells(headings, list(rows[0].scores), beside.quoted), len(cells)


def rows_of(results: Results, beside: Beside = PLAIN) -> list[Row]:
    """A row for each model on each set, in the table's order. A mean is of all pictures, or there is none."""
    metrics, protocol = [metric.name for metric in results.metrics], results.protocol
    models = {(model.name, model.scale): model for model in results.models}
    cells: dict[tuple[int, str, str], list[Score]] = {}
    for score in results.scores:
        cells.setdefault((score.scale, score.dataset, score.model), []).append(score)
    rows = []
    for (scale, dataset, model), scores in cells.items():
        by_metric = {metric: [score for score in scores if score.metric == metric] for metric in metrics}
        means = {metric: mean_of([s.value for s in mine]) for metric, mine in by_metric.items()}
        info = models.get((model, scale))
        claims = claims_of(info.claims if info else {}, dataset, protocol)
        rows.append(
            Row(
                model=model,
                scale=scale,
                dataset=dataset,
                images=len({s.image for s in scores if s.value is not None}),
                protocol=protocol,
                scores=means,
                parameters=info.parameters if info else None,
                seconds=mean_of([s.seconds for s in next(iter(by_metric.values()), [])]),
                origin=scores[0].origin,
                error=error_of(scores),
                claims={metric: claims[metric] for metric in metrics if metric in claims},
                digits={metric.name: metric.digits for metric in results.metrics},
            )
        )
        if beside.intervals:
            numbers = {metric: [s.value for s in mine if s.value is not None] for metric, mine in by_metric.items()}
            whole = {metric: values if not math.isnan(means[metric]) else [] for metric, values in numbers.items()}
            rows[-1] = replace(rows[-1], intervals={metric: interval(values) for metric, values in whole.items()})
    return rows


def mean_of(values: Sequence[float | None]) -> float:
    """NaN where one is missing: the mean over the others would be that of another set."""
    known = [value for value in values if value is not None]
    return mean(known) if known and len(known) == len(values) else math.nan


def error_of(scores: Sequence[Score]) -> str:
    """The first error, and on how many pictures there is one, if it is not all."""
    failed = [score for score in scores if score.error]
    if not failed:
        return ""
    pictures, faulty = {score.image for score in scores}, {score.image for score in failed}
    return failed[0].error + (f" ({len(faulty)} of {len(pictures)} pictures)" if faulty != pictures else "")


def claims_of(claims: Mapping[str, float], dataset: str, protocol: str) -> dict[str, float]:
    """By metric, those of this set and protocol: `set5 y psnr` is `psnr`."""
    prefix = f"{dataset} {protocol} "
    return {key.removeprefix(prefix): value for key, value in claims.items() if key.startswith(prefix)}


def as_csv(results: Results, beside: Beside = PLAIN) -> str:
    """A line a model and set; then a line a model and group, if there are groups."""
    return to_csv(rows_of(results, beside), flat_rows(beside.groups, results), fingerprint=fingerprint(results))


def as_long_csv(results: Results, beside: Beside = PLAIN) -> str:
    """A line a number, as the long table has them."""
    text = io.StringIO()
    writer = csv.DictWriter(text, LONG, lineterminator="\n")
    writer.writeheader()
    writer.writerows(long_rows(results))
    return text.getvalue()


def long_rows(results: Results) -> list[dict[str, Any]]:
    """The scores as dictionaries, with the fingerprint of the whole."""
    same = {"fingerprint": fingerprint(results)}
    return [{name: (vars(score) | same)[name] for name in LONG} for score in results.scores]


def as_json(results: Results, beside: Beside = PLAIN) -> str:
    """The long table, which `read_results` reads, with its means (`protocol`, `rows`) and what is quoted beside it."""
    means = {"protocol": results.protocol, "rows": [row.flat() for row in rows_of(results, beside)]}
    extra: dict[str, Any] = {"interval": METHOD} if beside.intervals else {}
    if beside.groups:
        extra["groups"] = {"rows": flat_rows(beside.groups, results), "notes": group_notes(results, beside.groups)}
    if beside.quoted:
        extra["published"] = [asdict(each) for each in beside.quoted]
        extra["documents"] = published.sources(beside.quoted)
    return json.dumps(means | results.to_dict() | extra, indent=1, allow_nan=False)


def as_markdown(results: Results, beside: Beside = PLAIN) -> str:
    """A pipe table, with protocol and fingerprint below."""
    headings, cells, _ = table_of(results, beside)
    lines = [*pipes(headings, cells, numeric(headings)), *apart(footer(results, beside).splitlines())]
    if beside.groups:
        lines += ["", *pipes(*group_table(beside.groups, results), range(4, 8))]
        lines += apart(group_notes(results, beside.groups))
    return "\n".join(lines) + "\n"


def pipes(headings: Sequence[str], cells: Sequence[Sequence[str]], right: Container[int]) -> list[str]:
    """The lines of a pipe table."""
    rule = ["---:" if i in right else "---" for i in range(len(headings))]
    lines = [headings, rule, *([cell.replace("|", "\\|") for cell in row] for row in cells)]
    return [f"| {' | '.join(line)} |" for line in lines]


def apart(lines: Sequence[str]) -> list[str]:
    """Each as a paragraph."""
    return [line for each in lines for line in ("", each)]


def as_latex(results: Results, beside: Beside = PLAIN) -> str:
    """A table for a paper."""
    return to_latex(results, beside.quoted)


def footer(results: Results, beside: Beside = PLAIN) -> str:
    """What must agree for two tables to be compared, and what was left out, in words; what stands beside the means."""
    gone = {name: len(one.left_out) for one in results.sets if one.left_out for name in [f"{one.name} x{one.scale}"]}
    small = "; ".join(f"{count} too small left out of {name}" for name, count in gone.items())
    precision = results.about.get("precision", "fp32")
    backend = results.about.get("backend", "")
    told = f", networks computed in {precision}" if precision != "fp32" or backend else ""
    told += f" by {backend}" if backend else ""
    lines = [f"protocol {results.protocol}, fingerprint {fingerprint(results)}{told}" + (f"; {small}" if small else "")]
    lines += [f"in brackets: {METHOD}"] if beside.intervals else []
    lines += ["quoted, not measured:", *published.sources(beside.quoted)] if beside.quoted else []
    return "\n".join(lines)


def write_parquet(results: Results, path: Path) -> None:
    """The long table as a Parquet file, by pandas or polars. Raises UsageError where neither can."""
    rows = long_rows(results)
    columns: dict[str, list[Any]] = {name: [row[name] for row in rows] for name in LONG}
    reasons = []
    for write in (by_pandas, by_polars):
        try:
            write(columns, path)
        except ImportError as error:
            reasons.append(one_line(error))
        except OSError as error:
            raise SrkitError(f"cannot write '{path}': {one_line(error)}") from None
        else:
            return
    raise UsageError(f"--parquet needs pandas with pyarrow, or polars: pip install polars ({'; '.join(reasons)})")


def by_pandas(columns: Mapping[str, list[Any]], path: Path) -> None:
    import pandas

    frame = pandas.DataFrame(columns)
    frame.astype({"value": float, "seconds": float}).to_parquet(path, index=False)


def by_polars(columns: Mapping[str, list[Any]], path: Path) -> None:
    import polars

    polars.DataFrame(columns, schema_overrides={"value": polars.Float64, "seconds": polars.Float64}).write_parquet(path)


#: Forms that are printed as they are: option name -> function of the results and what is shown beside them.
PRINTED: dict[str, Callable[[Results, Beside], str]] = {
    "json": as_json,
    "csv": as_csv,
    "long": as_long_csv,
    "markdown": as_markdown,
    "latex": as_latex,
}
