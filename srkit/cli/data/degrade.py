"""`srkit data degrade`: pairs of HR and LR as files, LR made by a list of degradations."""

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from srkit.cli import display
from srkit.cli.choose import AsJson, Source, check_apart, with_options, words
from srkit.errors import UsageError
from srkit.plugins import Registry


def degrade(
    source: Source,
    out: Annotated[Path, typer.Option("-o", "--out", help="The folder to write HR and LR into.")],
    run: Annotated[
        str | None, typer.Option(help="A run file or a recipe's name, whose [[degradation]] is used.")
    ] = None,
    degradation: Annotated[
        list[str] | None, typer.Option(help="Degradations instead, separated by commas, in their order.")
    ] = None,
    assign: Annotated[
        list[str] | None, typer.Option("--set", help="A degradation's option: jpeg.quality=[40,90].")
    ] = None,
    scale: Annotated[int, typer.Option(min=1, help="How many times smaller LR is; 1 keeps the size.")] = 2,
    split: Annotated[str, typer.Option(help="train, valid or test.")] = "train",
    seed: Annotated[int, typer.Option(min=0, help="Decides, with a picture's name, how it is degraded.")] = 0,
    as_json: AsJson = False,
) -> None:
    """Make pairs to validate, compare or train on: HR and degraded LR as PNG, in OUT/HR and OUT/LR/X<scale>.

    The same command gives the same pixels, and completes a folder that is not complete.
    """
    from srkit.data.degrade import Degraded, write_degraded
    from srkit.data.named import data_table
    from srkit.data.pairs import described, few, open_dataset
    from srkit.run import Run

    registry = display.load()
    chosen = listed(registry, run, words(degradation), assign or [])
    parts = Run.from_dict({"degradation": chosen, "data": data_table(registry, source)})
    parts = parts.resolved(registry)
    data = parts.data[0]
    check_apart(data.name, data.root, out)
    pairs = open_dataset(registry.choose("dataset", data.name, data.options), data.root, split, scale)

    import torch

    from srkit.train.parts import built_degrader, told_degradation

    degrader = built_degrader(registry, parts.degradation, torch.device("cpu"))
    assert degrader is not None
    degraded = Degraded(pairs, degrader, scale, seed, told_degradation(registry, parts.degradation))
    display.say(f"{source} x{scale}: {described(degraded)}")
    with display.Progress(f"degrading {source} x{scale}", len(pairs)) as progress:
        found = write_degraded(degraded, out, progress.at)
    if degrader.resized:
        display.say("the list does not end at LR's size: MATLAB's bicubic brought it there")
    if found.left_out:
        display.say(f"{len(found.left_out)} too small for x{scale} and left out: {few(found.left_out)}")
    if as_json:
        about = {"folder": str(out), "scale": scale, "seed": seed, "degradation": degrader.names}
        display.result(json.dumps({**about, "made": found.made, "kept": found.kept, "left_out": found.left_out}))
        return
    there = f", {len(found.kept):,} were there" if found.kept else ""
    display.result(f"{len(found.made):,} pairs made in {out} by {', '.join(degrader.names)}{there}")
    display.result(f"use:      srkit bench MODEL --sets {out} --scales {scale}")


def listed(registry: Registry, run: str | None, names: list[str], assigned: list[str]) -> list[dict[str, Any]]:
    """The [[degradation]] of a run file or recipe, or that of names and their options."""
    from srkit.recipes import run_file
    from srkit.run import Run, read_run_file

    if bool(run) == bool(names):
        raise UsageError("say what degrades: --run FILE|RECIPE, or --degradation NAME,NAME")
    if not run:
        return with_options("degradation", names, assigned)
    if assigned:
        raise UsageError("--set goes with --degradation; a run file says its own options")
    found = Run.from_dict(read_run_file(run_file(run, registry))).degradation
    if not found:
        raise UsageError(f"'{run}' has no [[degradation]]")
    return [part.table() for part in found]
