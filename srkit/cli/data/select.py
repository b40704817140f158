"""`srkit data select`: the pictures of a dataset that are worth training on."""

import json
import math
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from srkit.cli import display
from srkit.cli.choose import (
    AsJson,
    Device,
    Root,
    Sheet,
    Source,
    check_apart,
    check_split,
    chosen_data,
    sheet_beside,
    words,
)
from srkit.errors import UnknownName, UsageError, did_you_mean, missing_path
from srkit.plugins import Choice, Registry

if TYPE_CHECKING:
    from srkit.components import PairSequence
    from srkit.data.select import SAME, Figures, Limit, Measure, Verdict, Wanted

OFF = "off"


def select(
    source: Source,
    out: Annotated[
        Path | None,
        typer.Option("-o", "--out", help="The folder to copy into: HR and, where there is LR, LR/X<scale>."),
    ] = None,
    list_file: Annotated[
        Path | None, typer.Option("--list", help="A file to write the paths of the pictures kept into, one a line.")
    ] = None,
    link: Annotated[bool, typer.Option("--link", help="Symbolic links instead of copies.")] = False,
    by: Annotated[
        str, typer.Option(help="What ranks: sharpness, laplacian, jpeg, or a metric that needs no reference.")
    ] = "sharpness",
    keep: Annotated[str, typer.Option(help="The best by that alone: 80% of all pictures, or a number.")] = "",
    limit: Annotated[
        list[str] | None,
        typer.Option(help="The worst that is kept, FIGURE=VALUE or FIGURE=off; sharpness=0.4,jpeg=80 if not given."),
    ] = None,
    duplicates: Annotated[
        Literal["crops", "whole", "off"], typer.Option(help="Drop copies: parts of a picture too, whole ones, or none.")
    ] = "crops",
    scale: Annotated[int, typer.Option(min=1, help="Of the LR that goes along where there is one.")] = 2,
    split: Annotated[str, typer.Option(help="train, valid or test.")] = "train",
    root: Root = None,
    assign: Annotated[
        list[str] | None, typer.Option("--set", help="An option of the dataset: track=unknown, lr_dir=none.")
    ] = None,
    figures_file: Annotated[
        Path | None, typer.Option("--figures", help="All figures, .csv or .json; OUT.figures.csv if not given.")
    ] = None,
    sheet: Sheet = None,
    device: Device = "auto",
    as_json: AsJson = False,
) -> None:
    """Choose what is worth training on: no blurred or compressed pictures, no copies, the best by any metric.

    Figures are kept, so that after an interruption, or with other limits, no picture is measured again.
    """
    from srkit.data.journal import known
    from srkit.data.pairs import described, open_dataset
    from srkit.data.select import table_of, write_figures, write_list

    place = out or list_file
    if place is None:
        raise UsageError("say where to: -o FOLDER copies the pictures, --list FILE writes their paths")
    check_split(split, root)
    sheet = sheet_beside(place, sheet)
    figures_file = figures_file or place.with_name(f"{place.resolve().name}.figures.csv")
    if figures_file.suffix.lower() not in (".csv", ".json"):
        raise UsageError(f"--figures {figures_file}: .csv or .json")
    for path in (list_file, None if out else figures_file):
        if path and not path.absolute().parent.is_dir():
            raise missing_path(path.parent, "folder")
    registry = display.load()
    limits = limits_of(words(limit))
    metrics = {word: metric_named(registry, word) for word in (by, *limits) if is_metric(word)}
    dataset, where = chosen_data(registry, source, root, assign)
    check_apart(dataset.entry.qualified, where, out, sheet)
    pairs = open_dataset(dataset, where, split, scale)
    wanted = wanted_of(by, limits, metrics, most(keep, len(pairs)), duplicates)
    display.say(f"{source} x{scale}: {described(pairs)}")
    about = [dataset.entry.qualified, dataset.options, str(where.resolve()) if where else "", split, scale]
    figures = measured(registry, pairs, about, metrics, device, source)
    verdicts = compared(pairs, figures, wanted)
    kept = [index for index, verdict in enumerate(verdicts) if not verdict.reason]
    new = copied(pairs, kept, out, scale, link, {"of": about, **settings(wanted)}) if out else 0
    pictures = known(pairs)
    if list_file:
        write_list(list_file, pictures, kept)
    write_figures(figures_file, table_of(figures, verdicts, pictures))
    drawn = sheet if draw(pairs, figures, verdicts, wanted, sheet) else None
    tell_missing(figures, wanted)
    files = {"folder": out, "list": list_file, "figures": figures_file, "sheet": drawn}
    tell(verdicts, wanted, files, new, as_json=as_json)


def limits_of(given: Sequence[str]) -> dict[str, float | None]:
    """figure -> its limit, None for none; the defaults where nothing else is said."""
    from srkit.data.select import JPEG, SHARPNESS

    limits: dict[str, float | None] = {"sharpness": SHARPNESS, "jpeg": JPEG}
    for text in given:
        figure, _, value = text.rpartition("=")
        try:
            number = None if value == OFF else float(value)
        except ValueError:
            number = math.nan
        if not figure or (number is not None and not math.isfinite(number)):
            raise UsageError(f"--limit {text}: write FIGURE=VALUE, such as sharpness=0.35, or FIGURE={OFF}")
        limits[figure] = number
    return limits


def is_metric(word: str) -> bool:
    from srkit.data.select import OWN

    return word not in OWN


def metric_named(registry: Registry, word: str) -> Choice:
    """The metric of a figure, with its options: `niqe`, `musiq:variant=ava`. UsageError where it needs a reference."""
    from srkit.data.select import OWN
    from srkit.evaluate.identity import split_options

    name, options = split_options(word)
    try:
        choice = registry.choose("metric", name, options)
    except UnknownName:
        alone = [e.component.name for e in registry.of("metric") if not e.component.needs_reference]
        if any(e.component.name == name.rpartition(":")[2] for e in registry.of("metric")):
            raise  # of two packages, or by a wrong option
        raise UnknownName(f"no figure and no metric called '{word}'{did_you_mean(word, [*OWN, *alone])}") from None
    if choice.component.needs_reference:
        raise UsageError(f"metric '{word}' compares with a reference, and a picture to select has none")
    return choice


def most(keep: str, total: int) -> int | None:
    """`80%` or `200` as a number of pictures."""
    if not keep:
        return None
    number, percent = keep.removesuffix("%"), keep.endswith("%")
    try:
        value = float(number) if percent else int(number)
    except ValueError:
        value = 0
    if not (0 < value <= (100 if percent else math.inf)):
        raise UsageError(f"--keep {keep}: write a share of all pictures, 80%, or a number of them, 200")
    return math.ceil(total * value / 100) if percent else int(value)


def wanted_of(
    by: str, limits: dict[str, float | None], metrics: dict[str, Choice], keep: int | None, same: "SAME"
) -> "Wanted":
    from srkit.data.select import Limit, Wanted

    def higher(figure: str) -> bool:
        return metrics[figure].component.higher_is_better if figure in metrics else True

    chosen = [Limit(figure, value, higher(figure)) for figure, value in limits.items() if value is not None]
    return Wanted(chosen, by, higher(by), keep, same)


def settings(wanted: "Wanted") -> dict[str, Any]:
    """What decides a selection, as JSON."""
    limits = {limit.figure: limit.value for limit in wanted.limits}
    return {"limits": limits, "by": wanted.by, "keep": wanted.keep, "duplicates": wanted.same}


def measured(
    registry: Registry,
    pairs: "PairSequence",
    about: Sequence[Any],
    metrics: dict[str, Choice],
    device: str,
    source: str,
) -> "list[Figures]":
    """The figures of every picture, those of earlier runs from the cache."""
    from srkit.data.journal import Journal
    from srkit.data.select import look_at_all
    from srkit.data.store import digest_of
    from srkit.files import cache_folder

    journal = Journal(cache_folder() / "select" / f"{digest_of(about)}.jsonl")
    with display.Progress(f"looking at {source}", 0) as progress:
        return look_at_all(pairs, journal, measures_of(registry, metrics, device), progress=progress.going_on)


def measures_of(registry: Registry, metrics: dict[str, Choice], device: str) -> "list[Measure]":
    """The metrics as functions of a picture: its RGB as a protocol without a border gives it, 0 to 255."""
    if not metrics:
        return []
    import numpy as np
    import torch

    from srkit.data.select import Measure
    from srkit.data.store import digest_of
    from srkit.evaluate.identity import identity, split_options
    from srkit.evaluate.score import build_metric
    from srkit.evaluate.score import measured as value_of
    from srkit.nets import pick_device

    place = pick_device(device)

    def measure(word: str, choice: Choice) -> Measure:
        metric = build_metric(registry, choice.entry.qualified, split_options(word)[1], place)

        def call(rgb: np.ndarray) -> float:
            with torch.no_grad():
                return value_of(word, metric, rgb.astype(np.float64), None)

        return Measure(word, f"{word} {digest_of(identity(choice))}", call)

    return [measure(word, choice) for word, choice in metrics.items()]


def compared(pairs: "PairSequence", figures: "Sequence[Figures]", wanted: "Wanted") -> "list[Verdict]":
    """The verdicts; the few pictures that may be copies of others are read once more."""
    from srkit.data.pairs import shallow
    from srkit.data.select import judged

    with display.Progress("comparing pictures", 0) as progress:

        def read(index: int) -> Any:
            progress.one_more()
            return shallow(pairs[index].hr)

        return judged(figures, wanted, read)


def copied(pairs: "PairSequence", kept: Sequence[int], out: Path, scale: int, link: bool, about: dict[str, Any]) -> int:
    from srkit.data.select import Target, write_selection

    with display.Progress(f"{'linking' if link else 'copying'} into {out}", len(kept)) as progress:
        return write_selection(pairs, kept, Target(out, scale, link), about, progress.at)


def draw(
    pairs: "PairSequence", figures: "Sequence[Figures]", verdicts: "Sequence[Verdict]", wanted: "Wanted", path: Path
) -> bool:
    """Write the sheet of what was dropped; whether anything was."""
    from srkit.data.pairs import shallow
    from srkit.evaluate.dropped import dropped_sheet, selection_groups
    from srkit.images import Picture, write_picture

    groups = selection_groups(figures, verdicts, wanted, lambda index: shallow(pairs[index].hr))
    if groups:
        write_picture(path, Picture(dropped_sheet("Left out by srkit data select", groups)))
    return bool(groups)


def tell_missing(figures: "Sequence[Figures]", wanted: "Wanted") -> None:
    """Say which pictures passed a limit because the figure could not be measured; of `jpeg`, that is a good sign."""
    from srkit.data.pairs import few

    for figure in dict.fromkeys(limit.figure for limit in wanted.limits):
        names = [one.name for one in figures if not one.error and one.values[figure] is None]
        if names and figure != "jpeg":
            display.say(f"{len(names)} have too little in them to measure {figure}, and pass its limit: {few(names)}")


def tell(
    verdicts: "Sequence[Verdict]", wanted: "Wanted", files: dict[str, Path | None], new: int, *, as_json: bool
) -> None:
    """The results."""
    kept = [one.name for one in verdicts if not one.reason]
    dropped = [one for one in verdicts if one.reason]
    if as_json:
        named = {key: str(path) if path else None for key, path in files.items()}
        told = [{"name": one.name, "reason": one.reason, "text": one.text, "twin": one.twin} for one in dropped]
        display.result(json.dumps({**settings(wanted), **named, "kept": kept, "dropped": told}, indent=2))
        return
    where = f" in {files['folder']} ({new:,} new)" if files["folder"] else ""
    display.result(f"{len(kept):,} of {len(verdicts):,} pictures kept{where}")
    limits = {limit.figure: limit for limit in wanted.limits}
    for reason, count in Counter(one.reason for one in dropped).items():
        display.result(f"dropped:  {count:,} {in_words(reason, limits.get(reason), wanted)}")
    for what, key in (("list:", "list"), ("figures:", "figures"), ("left out:", "sheet")):
        if files[key]:
            display.result(f"{what:9} {files[key]}")
    if files["folder"]:
        display.result(f"train:    srkit train --data {files['folder']}")


def in_words(reason: str, limit: "Limit | None", wanted: "Wanted") -> str:
    if limit is not None and reason == "jpeg":
        return f"were a JPEG of quality {limit.value:g} or less"
    if limit is not None:
        return f"with a {reason} {'below' if limit.higher_is_better else 'above'} {limit.value:g}"
    return {"duplicate": "are there again", "rank": f"not among the best by {wanted.by}", "unreadable": "unreadable"}[
        reason
    ]
