r"""A benchmark as a LaTeX table: best bold, second underlined, what does not differ from the best marked.

It needs `\usepackage{booktabs}` and nothing else.
"""

from collections.abc import Mapping, Sequence

from srkit.evaluate.published import Quoted, wide
from srkit.evaluate.statistics import ALPHA, TEST, Standing, info, smallest_p, standings
from srkit.evaluate.table import Results, fingerprint

INSIGNIFICANT = r"$^{\dagger}$"
NO_SCORE = "--"
SPECIAL = {
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    **{sign: "\\" + sign for sign in "&%$#_{}"},
    **{sign: f"{{{sign}}}" for sign in "<>\"'`["},  # braces keep LaTeX from making ligatures, or options, of them
}

Columns = Sequence[tuple[str, str]]  # (set, metric)


def to_latex(results: Results, quoted: Sequence[Quoted] = ()) -> str:
    """The table as LaTeX, a block of rows for each scale and a column for each set and metric.

    Means are over all pictures of a set; a model that has no score on one of them has no mean. quoted: published
    figures, set apart in italics; they are no part of what is bold or underlined.
    """
    columns = columns_of(results)
    blocks = [block(results, scale, columns) for scale in scales_of(results)]
    quotes = [
        italics(quoted, scale, columns) for scale in scales_of(results) if any(row.scale == scale for row in quoted)
    ]
    body = "\n\\midrule\n".join(blocks + quotes)
    return "\n".join(
        [
            "% \\usepackage{booktabs}",
            "\\begin{table}",
            "\\centering",
            f"\\caption{{{caption(results, quoted)}}}",
            f"\\label{{tab:srkit-{fingerprint(results)}}}",
            f"\\begin{{tabular}}{{ll{'r' * len(columns)}}}",
            "\\toprule",
            *heads(results, columns),
            "\\midrule",
            body,
            "\\bottomrule",
            "\\end{tabular}",
            "\\end{table}",
        ]
    )


def escaped(text: str) -> str:
    """Text that LaTeX prints as it is. What is not ASCII is left to the document's encoding, line breaks are spaces."""
    return "".join(SPECIAL.get(sign, sign) for sign in " ".join(text.split())).replace("--", "-{}-")


def scales_of(results: Results) -> list[int]:
    return sorted({score.scale for score in results.scores})


def columns_of(results: Results) -> list[tuple[str, str]]:
    """(set, metric) of each column, as they come. Rows about a whole set that failed make no column."""
    datasets = dict.fromkeys(score.dataset for score in results.scores if score.dataset)
    metrics = dict.fromkeys(score.metric for score in results.scores if score.metric)
    there = {(score.dataset, score.metric) for score in results.scores}
    return [(name, metric) for name in datasets for metric in metrics if (name, metric) in there]


def heads(results: Results, columns: Columns) -> list[str]:
    """The two lines of headings: sets over their metrics, an arrow for what is better."""
    datasets = list(dict.fromkeys(name for name, _ in columns))
    spans, rules, at = [], [], 3
    for name in datasets:
        width = sum(1 for other, _ in columns if other == name)
        spans.append(f"\\multicolumn{{{width}}}{{c}}{{{escaped(name)}}}")
        rules.append(f"\\cmidrule(lr){{{at}-{at + width - 1}}}")
        at += width
    arrows = {True: r"$\uparrow$", False: r"$\downarrow$"}
    metrics = [escaped(metric.upper()) + arrows[info(results, metric).higher_is_better] for _, metric in columns]
    return [
        " & ".join(["", "", *spans]) + r" \\",
        "".join(rules),
        " & ".join(["Model", "Scale", *metrics]) + r" \\",
    ]


def block(results: Results, scale: int, columns: Columns) -> str:
    """The rows of one scale."""
    found = {
        (dataset, metric): standings(results, dataset, scale, metric, lambda value, m=metric: shown(results, m, value))  # type: ignore[misc]
        for dataset, metric in columns
    }
    models = dict.fromkeys(score.model for score in results.scores if score.scale == scale)
    lines = []
    for model in models:
        cells = [cell(results, metric, found[dataset, metric].get(model)) for dataset, metric in columns]
        lines.append(" & ".join([escaped(model), rf"$\times${scale}", *cells]) + r" \\")
    return "\n".join(lines)


def cell(results: Results, metric: str, standing: Standing | None) -> str:
    """One mean, with what it is among those of its column."""
    if standing is None or standing.rank is None:
        return NO_SCORE
    text = shown(results, metric, standing.mean)
    if standing.rank == 1:
        text = rf"\textbf{{{text}}}"
    elif standing.rank == 2:
        text = rf"\underline{{{text}}}"
    return text + (INSIGNIFICANT if standing.significant is False else "")


def shown(results: Results, metric: str, value: float) -> str:
    """A mean with the digits that papers print: two of dB, four of others."""
    about = info(results, metric)
    text = f"{value:.{2 if about.unit == 'dB' else min(4, about.digits)}f}"
    return text.replace("inf", r"$\infty$")


def italics(quoted: Sequence[Quoted], scale: int, columns: Columns) -> str:
    """The published rows of one scale."""
    lines = []
    for method, names, figures in wide([each for each in quoted if each.scale == scale]):
        label = rf"\textit{{{escaped(method)}}} ({escaped(', '.join(names))})"
        found = [figures.get((dataset.lower(), metric)) for dataset, metric in columns]
        cells = [rf"\textit{{{text}}}" if text else NO_SCORE for text in found]
        lines.append(" & ".join([label, rf"$\times${scale}", *cells]) + r" \\")
    return "\n".join(lines)


def caption(results: Results, quoted: Sequence[Quoted]) -> str:
    """What the figures are: protocol, sets, pictures, test and fingerprint."""
    images: Mapping[str, int] = {one.name: one.images for one in results.sets}
    names = dict.fromkeys(name for name, _ in columns_of(results))
    sets = ", ".join(f"{name} ({images[name]} pictures)" if name in images else name for name in names)
    version = results.about.get("srkit", "")
    few = [f"{name} ({images[name]})" for name in names if name in images and smallest_p(images[name]) >= ALPHA]
    parts = [
        f"Means over the pictures of {sets}, protocol {results.protocol or 'none'}.",
        "Best bold, second underlined; DAGGER: not significantly different from the best "
        f"({TEST} over a column, level {ALPHA:g}).",
        f"No difference can be significant on so few pictures: {', '.join(few)}." if few else "",
        "In italics: quoted from publications, not measured." if quoted else "",
        f"srkit {version}, fingerprint {fingerprint(results)}.".replace("srkit ,", "srkit,"),
    ]
    return escaped(" ".join(part for part in parts if part)).replace("DAGGER", INSIGNIFICANT)
