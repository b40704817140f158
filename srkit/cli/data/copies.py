"""`srkit data copies`: pictures to train on, beside smaller copies of themselves."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from srkit.cli import display
from srkit.cli.choose import AsJson, Root, Source, check_apart, check_split, chosen_data, some_words
from srkit.errors import UsageError

if TYPE_CHECKING:
    from srkit.data.copies import Copied


def copies(
    source: Source,
    out: Annotated[Path, typer.Option("-o", "--out", help="The folder to write HR into.")],
    factor: Annotated[
        list[str] | None, typer.Option(help="Of each side, above 0 and below 1: 0.7,0.5; these if not given.")
    ] = None,
    smallest: Annotated[
        int, typer.Option(min=1, help="Pixels that the shorter side of a copy must have, or it is left out.")
    ] = 192,
    split: Annotated[str, typer.Option(help="train, valid or test.")] = "train",
    root: Root = None,
    assign: Annotated[
        list[str] | None, typer.Option("--set", help="An option of the dataset: track=unknown, hr_dir=.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Write each picture as it is and once in each smaller size, OUT/HR/NAME.png and OUT/HR/NAMEx0.5.png, to train on.

    A smaller copy has more detail to a patch. After an interruption the same command continues.
    """
    from srkit.data.copies import copy_into
    from srkit.data.pairs import described, few, open_dataset

    check_split(split, root)
    factors = [factor_of(word) for word in some_words(factor or ["0.7,0.5"], "factor")]
    dataset, place = chosen_data(display.load(), source, root, assign)
    check_apart(dataset.entry.qualified, place, out)
    pairs = open_dataset(dataset, place, split, 2)
    display.say(f"{source}: {described(pairs)}")
    about = [dataset.entry.qualified, dataset.options, split, str(place or "")]
    with display.Progress(f"copying {source}", 0) as progress:
        found = copy_into(pairs, out, factors, smallest, json.dumps(about), progress.going_on)
    if found.too_small:
        names = few([f"{name} ({size})" for name, size in found.too_small.items()])
        display.say(f"{len(found.too_small)} copies would be smaller than {smallest} pixels and are left out: {names}")
    tell(found, out, as_json=as_json)


def factor_of(word: str) -> float:
    try:
        return float(word)
    except ValueError:
        raise UsageError(f"'{word}' is not a factor; --factor takes numbers above 0 and below 1, as 0.7,0.5") from None


def tell(found: "Copied", out: Path, *, as_json: bool) -> None:
    """The results."""
    if as_json:
        table = {
            "folder": str(out), "pictures": len(found.kept), "made": found.made, "too_small": found.too_small,
        }  # fmt: skip
        display.result(json.dumps(table, indent=2))
        return
    there = len(found.kept) - found.made
    display.result(f"{len(found.kept):,} pictures in {out}{f', {there:,} of them were there' if there else ''}")
    display.result(f"train:    srkit train --data {out}")
