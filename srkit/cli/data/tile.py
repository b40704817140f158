"""`srkit data tile`: pictures cut to training tiles, those without detail left out."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from srkit.cli import display
from srkit.cli.choose import (
    AsJson,
    Root,
    Sheet,
    Source,
    check_apart,
    check_split,
    chosen_data,
    scale_of,
    sheet_beside,
    some_words,
)

if TYPE_CHECKING:
    from srkit.components import PairSequence
    from srkit.data.tiles import Tiled, Tiling


def tile(
    source: Source,
    out: Annotated[Path, typer.Option("-o", "--out", help="The folder to write HR and LR into.")],
    size: Annotated[int, typer.Option(min=1, help="Side of a tile in HR pixels.")] = 480,
    step: Annotated[int, typer.Option(min=1, help="From one tile to the next, in HR pixels.")] = 240,
    flat: Annotated[
        float, typer.Option(min=0, help="Detail in gray levels below which a tile is dropped; 0 keeps all.")
    ] = 1.0,
    scale: Annotated[
        list[str] | None, typer.Option(help="Of the LR that is cut along where there is one: 2,3,4; 2 if not given.")
    ] = None,
    split: Annotated[str, typer.Option(help="train, valid or test.")] = "train",
    root: Root = None,
    assign: Annotated[
        list[str] | None, typer.Option("--set", help="An option of the dataset: track=unknown, lr_dir=none.")
    ] = None,
    sheet: Sheet = None,
    as_json: AsJson = False,
) -> None:
    """Cut pictures to training tiles as PNG, OUT/HR/NAME_s001.png and OUT/LR/X<scale>/NAME_s001.png.

    Tiles without detail are dropped, and shown on a sheet. After an interruption the same command continues.
    """
    from srkit.data.pairs import described, few, open_dataset
    from srkit.data.tiles import Tiling, cut_into

    check_split(split, root)
    sheet = sheet_beside(out, sheet)
    registry = display.load()
    dataset, place = chosen_data(registry, source, root, assign)
    check_apart(dataset.entry.qualified, place, out, sheet)
    scales = [scale_of(word) for word in some_words(scale or ["2"], "scale")]
    sets = {factor: open_dataset(dataset, place, split, factor) for factor in scales}
    for factor, pairs in sets.items():
        display.say(f"{source} x{factor}: {described(pairs)}")
    cut, about = Tiling(size, step, flat), [dataset.entry.qualified, dataset.options, split, str(place or "")]
    with display.Progress(f"cutting {source}", 0) as progress:
        found = cut_into(sets, out, cut, json.dumps(about), progress.going_on)
    drawn = draw(next(iter(sets.values())), found, cut, sheet)
    if found.too_small:
        names = few([f"{name} ({size})" for name, size in found.too_small.items()])
        display.say(f"{len(found.too_small)} smaller than {size}x{size} and left out: {names}")
    tell(found, cut, out, sheet if drawn else None, as_json=as_json)


def draw(pairs: "PairSequence", found: "Tiled", cut: "Tiling", path: Path) -> bool:
    """Write the sheet of what was dropped, those nearest to the limit first; whether there is anything to show."""
    from srkit.data.journal import known
    from srkit.data.pairs import shallow
    from srkit.evaluate.dropped import SHOWN, Judged, dropped_sheet, more
    from srkit.images import Picture, write_picture

    places = {picture.name: index for index, picture in enumerate(known(pairs))}
    groups: dict[str, list[Judged]] = {}
    if found.dropped:
        nearest = sorted(found.dropped, key=lambda tile: -tile.detail)
        heading = f"flat: {len(nearest):,} tiles with a detail below {cut.flat:g} gray levels{more(len(nearest))}"
        groups[heading] = []
        for one in nearest[:SHOWN]:
            hr = pairs[places[one.picture]].hr[one.top : one.top + cut.size, one.left : one.left + cut.size]
            groups[heading].append(Judged([(shallow(hr), f"{one.name}  {one.detail:.2f}")]))
    if found.too_small:
        small = list(found.too_small.items())
        heading = f"too small: {len(small):,} pictures smaller than {cut.size}x{cut.size}{more(len(small))}"
        groups[heading] = [
            Judged([(shallow(pairs[places[name]].hr), f"{name}  {size}")]) for name, size in small[:SHOWN]
        ]
    if groups:
        write_picture(path, Picture(dropped_sheet("Left out by srkit data tile", groups)))
    return bool(groups)


def tell(found: "Tiled", cut: "Tiling", out: Path, sheet: Path | None, *, as_json: bool) -> None:
    """The results."""
    if as_json:
        dropped = [{"tile": one.name, "top": one.top, "left": one.left, "detail": one.detail} for one in found.dropped]
        table = {
            "folder": str(out), "size": cut.size, "step": cut.step, "flat": cut.flat, "tiles": len(found.kept),
            "made": found.made, "dropped": dropped, "too_small": found.too_small,
            "sheet": str(sheet) if sheet else None,
        }  # fmt: skip
        display.result(json.dumps(table, indent=2))
        return
    there = len(found.kept) - found.made
    before = f", {there:,} of them were there" if there else ""
    display.result(f"{len(found.kept):,} tiles of {cut.size}x{cut.size} in {out}{before}")
    if found.dropped:
        display.result(f"{len(found.dropped):,} dropped, with a detail below {cut.flat:g}")
    if sheet:
        display.result(f"left out: {sheet}")
    display.result(f"train:    srkit train --data {out}")
