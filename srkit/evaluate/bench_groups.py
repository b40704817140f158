"""The part of a benchmark's page that says where models fail: a table by groups of pictures, and the worst of each."""

import math
from collections.abc import Sequence
from html import escape

from srkit.evaluate.bench_data import Page, Shown
from srkit.evaluate.groups import FEW, TEST, GroupScore, group_scores
from srkit.evaluate.markup import article, cell, row_head, smallest_kind, table
from srkit.evaluate.statistics import METHOD, info

GROUPS = """\
<p>{metric} of each set's pictures by what is in them; below it the difference to the whole set, and the interval.
*: the difference matters, that is, the group's pictures score otherwise than the others of the set. A picture may be in
several groups. A group that is hard for all models is no fault of one: compare the models of a line.</p>
<p class=soft>{notes}</p>
"""
WORST = "<p>The worst pictures of each group, where the best model is farthest from HR.</p>\n"


def groups_part(page: Page, groups: Sequence[GroupScore] | None, crops: Sequence[Shown]) -> str:
    """The table by the first metric, and the crops that were chosen for a group; nothing where there are no groups.

    groups: from `group_scores`; computed where it is None, which may take seconds.
    """
    metric = page.metrics[0] if page.metrics else ""
    found = group_scores(page.results, [metric]) if groups is None else groups
    by_cell = {(one.model, one.scale, one.dataset, one.group): one for one in found if one.metric == metric}
    models = list(dict.fromkeys(row.model for row in page.rows))
    body = []
    for one in page.results.sets:
        for group, names in one.groups.items():
            scores = [by_cell.get((model, one.scale, one.name, group)) for model in models]
            head = f"{row_head(group)}{cell(f'x{one.scale}', one.scale)}{cell(one.name, one.name, kind='text')}"
            cells = "".join(group_cell(page, score) for score in scores)
            body.append(f"<tr>{head}{cell(f'{len(names):,}', len(names))}{cells}</tr>\n")
    if not body:
        return ""
    notes = [METHOD, TEST, *[FEW] * any(one.matters is None for one in by_cell.values())]
    text = escape("; ".join(notes))
    head_ = ["group", "scale", "set", "pictures", *models]
    made = GROUPS.format(metric=escape(metric.upper()), notes=f"{text[:1].upper()}{text[1:]}.")
    return made + table("groups", head_, body, kind="sortable") + worst(crops)


def group_cell(page: Page, one: GroupScore | None) -> str:
    if one is None:
        return cell("–")
    below = "" if math.isnan(one.apart) else f"{one.apart:+.{info(page.results, one.metric).digits}f}"
    low, high = one.interval.low, one.interval.high
    span = "" if low is None or high is None else f"{page.number(one.metric, low)} – {page.number(one.metric, high)}"
    text = page.number(one.metric, one.mean) + (" *" if one.matters else "")
    return cell(text, one.mean, below="; ".join(filter(None, [below, span])))


def worst(crops: Sequence[Shown]) -> str:
    kind = smallest_kind()
    made = [article(f"group-{n}", one.title, one.pixels, one.figures, kind) for n, one in enumerate(crops, 1)]
    return WORST + "".join(made) if made else ""
