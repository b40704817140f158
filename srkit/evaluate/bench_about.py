"""The parts of a benchmark's page that say what failed, on what was scored, by which models, and how it was made."""

from collections.abc import Sequence
from html import escape
from pathlib import Path

from srkit.evaluate.bench_data import Page
from srkit.evaluate.markup import cell, counted, row_head, table
from srkit.evaluate.table import fingerprint

LISTED = 12  # pictures that are named in a line
ABOUT = {"command": "command", "date": "date", "srkit": "srkit", "torch": "torch", "device": "measured on"}


def failures_part(page: Page) -> str:
    """What has no score and why, what was left out, and costs that could not be measured."""
    found: dict[tuple[str, int, str, str], list[str]] = {}
    for score in page.results.scores:
        if score.error:
            names = found.setdefault((score.model, score.scale, score.dataset, score.error), [])
            names += [score.image] if score.image and score.image not in names else []
    lines = [
        f"{model} x{scale}{f' on {dataset}' if dataset else ''}: {error}{listed(names)}"
        for (model, scale, dataset, error), names in found.items()
    ]
    lines += [
        f"{one.name} x{one.scale}: {name} was scored by no model: {why}"
        for one in page.results.sets
        for name, why in one.left_out.items()
    ]
    lines += [f"cost of {row.model} x{row.scale}: {error}" for row in page.costs.values() for error in row.errors]
    if not lines:
        return "<p>None: every model has a score on every picture.</p>\n"
    return f"<ul>{''.join(f'<li>{escape(line)}</li>' for line in lines)}</ul>\n"


def listed(names: Sequence[str]) -> str:
    if not names:
        return ""
    more = f" and {len(names) - LISTED} more" if len(names) > LISTED else ""
    return f" ({counted(len(names), 'picture')}: {', '.join(names[:LISTED])}{more})"


def sets_part(page: Page) -> str:
    """What was scored on, and what made its LR."""
    if not page.results.sets:
        return ""
    body = []
    for one in page.results.sets:
        texts = [(one.lr_maker or "not asked", "long"), (one.content[:12], "text"), (short_path(one.folder), "long")]
        cells = [row_head(one.name), cell(f"x{one.scale}", one.scale), cell(f"{one.images:,}", one.images)]
        cells += [cell(text, text, kind=kind) for text, kind in texts]
        body.append(f"<tr>{''.join(cells)}</tr>\n")
    return table("sets", ["set", "scale", "pictures", "LR made by", "content", "folder"], body, kind="sortable")


def models_part(page: Page) -> str:
    """Where the weights come from."""
    if not page.results.models:
        return ""
    head = ["model", "scale", "parameters", "weights", "trained on", "its LR", "licence", "origin"]
    body = []
    for one in page.results.models:
        count = "" if one.parameters is None else one.parameters
        cells = [
            row_head(one.name),
            cell(f"x{one.scale}", one.scale),
            cell(f"{count:,}" if count != "" else "–", count),
        ]
        texts = [
            (one.weights[:12], "text"),
            (one.trained_on, "long"),
            (one.training_lr, "text"),
            (one.licence, "text"),
            (short_path(one.origin), "long"),
        ]
        cells += [cell(text or "–", text, kind=kind) for text, kind in texts]
        body.append(f"<tr>{''.join(cells)}</tr>\n")
    return table("models", head, body, kind="sortable")


def short_path(text: str) -> str:
    """The end of an absolute path, since a page is given to others; anything else as it is."""
    path = Path(text)
    return "/".join(path.parts[-2:]) if path.is_absolute() else text


def made_part(page: Page) -> str:
    """The command, the versions, the machine, and what makes two tables comparable."""
    about = dict(page.results.about)
    first = {name: about.pop(key) for key, name in ABOUT.items() if about.get(key)}
    shown = first | about | {"protocol": page.results.protocol, "fingerprint": fingerprint(page.results)}
    hardware = {value for cost in page.results.costs if (value := cost.conditions.get("processor"))}
    if hardware:
        shown["processor"] = ", ".join(sorted(hardware))
    items = "".join(
        f"<dt>{escape(name)}</dt><dd>{f'<code>{escape(value)}</code>' if name == 'command' else escape(value)}</dd>"
        for name, value in shown.items()
        if value
    )
    return f"<dl>{items}</dl>\n<p class=soft>Two tables can be compared where their fingerprints agree.</p>\n"
