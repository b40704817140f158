"""`srkit data preview`: a sheet of training patches, as they are cut and as the network is trained on them."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from srkit.cli import display
from srkit.cli.choose import Source, check_apart, with_options, words
from srkit.errors import SrkitError, UsageError
from srkit.plugins import Registry

if TYPE_CHECKING:
    import numpy as np
    import torch

    from srkit.components import Batch
    from srkit.run import Run

EVERY = "all"  # every degradation that is installed
SIDE = 160  # pixels that an HR patch has on the sheet, or more


def preview(
    source: Source,
    augmentation: Annotated[
        list[str] | None,
        typer.Option(help="Augmentations, separated by commas, in their order; dihedral if not given."),
    ] = None,
    assign: Annotated[
        list[str] | None,
        typer.Option("--set", help="An option of an augmentation or degradation shown: realistic.strength=0.5."),
    ] = None,
    degradation: Annotated[
        list[str] | None,
        typer.Option(
            help="Degradations instead, separated by commas: each seen alone, then all in turn; 'all' is each."
        ),
    ] = None,
    run_from: Annotated[
        str | None, typer.Option("--run", help="A run file or a recipe's name: its [[degradation]] is shown.")
    ] = None,
    scale: Annotated[int, typer.Option(min=1, help="Upsampling factor.")] = 4,
    patch: Annotated[int, typer.Option(min=1, help="Side of an LR patch in pixels.")] = 48,
    count: Annotated[int, typer.Option(min=1, max=64, help="Patches to show.")] = 8,
    seed: Annotated[int, typer.Option(min=0, help="Seed of patches and augmentations.")] = 0,
    out: Annotated[Path, typer.Option("-o", "--out", help="The picture to write.")] = Path("preview.png"),
) -> None:
    """Show what the network is trained on: LR and HR patches, plain and augmented, side by side."""
    from srkit.data.named import data_table
    from srkit.evaluate.sheet import LARGEST
    from srkit.images import Picture, check_output, write_picture
    from srkit.run import Run

    check_output(out)
    registry = display.load()
    listed = degradations(registry, words(degradation), run_from, assign or [])
    if (4 + len(listed)) * count * (patch * scale) ** 2 > LARGEST:
        raise UsageError(f"{count} patches of {patch * scale} pixels make too large a sheet; lower --count or --patch")
    shown = words(augmentation) or [part.name for part in Run().augmentation]
    chosen = [] if listed else with_options("augmentation", shown, assign or ())
    table = data_table(registry, source)
    values = {"scale": scale, "batch": count, "patch": patch, "seed": seed, "data": table, "augmentation": chosen}
    run = Run.from_dict({**values, "degradation": listed}).resolved(registry)
    check_apart(run.data[0].name, run.data[0].root, out)

    if listed:
        columns = each_alone(registry, run, source)
        write_picture(out, Picture(sheet(columns)))
        display.result(f"{count} patches of {source} x{scale}, {', '.join(list(columns)[2:])}: {out}")
        return
    plain, changed = first_batch(registry, run, source)
    label = ", ".join(part["name"] for part in chosen)
    columns = {"LR": plain.lr, "HR": plain.hr, f"LR, {label}": changed.lr, f"HR, {label}": changed.hr}
    write_picture(out, Picture(sheet(columns)))
    display.result(f"{count} patches of {source} x{scale}, plain and with {label}: {out}")


def degradations(registry: Registry, names: list[str], run: str | None, assigned: list[str]) -> list[dict[str, Any]]:
    """The degradations to show: those named, all that can be built here, or the list of a run file."""
    from srkit.recipes import run_file
    from srkit.run import Run, read_run_file

    if run:
        if names or assigned:
            raise UsageError("--run says the degradations and their options; leave --degradation and --set out")
        found = Run.from_dict(read_run_file(run_file(run, registry))).degradation
        if not found:
            raise UsageError(f"'{run}' has no [[degradation]]")
        return [part.table() for part in found]
    if names == [EVERY]:
        names = []
        for entry in registry.of("degradation"):
            try:
                registry.choose("degradation", entry.qualified).build()
                names.append(entry.component.name)
            except SrkitError as error:
                display.say(f"not shown: {error}")
    return with_options("degradation", names, assigned) if names else []


def each_alone(registry: Registry, run: "Run", source: str) -> "dict[str, torch.Tensor]":
    """LR and HR as they are cut, and LR by each degradation alone, whatever its probability; by the list at last."""
    from dataclasses import replace

    import torch

    from srkit.data.degrade import Degrader
    from srkit.train.parts import built_degrader

    plain = first_batch(registry, replace(run, degradation=()), source)[0]
    (scale,), place = run.scales, torch.device("cpu")

    def made(degrader: "Degrader | None") -> "torch.Tensor":
        assert degrader is not None
        parts = plain.hr.split(1)
        return torch.cat([degrader(hr, scale, run.seed + number) for number, hr in enumerate(parts)])

    columns = {"LR": plain.lr, "HR": plain.hr}
    for number, part in enumerate(run.degradation, 1):
        label = part.name.rpartition(":")[2]
        label = f"{number} {label}" if label in columns else label
        columns[label] = made(built_degrader(registry, [replace(part, prob=1.0)], place))
    if len(run.degradation) > 1:
        columns["all in turn"] = made(built_degrader(registry, run.degradation, place))
    return columns


def first_batch(registry: Registry, run: "Run", source: str) -> tuple["Batch", "Batch"]:
    """The first batch of `run` as it is cut, and as it is augmented; the same one with which its training begins."""
    import torch

    from srkit.data.sampler import Batches, Sampler
    from srkit.data.store import packed
    from srkit.train.parts import build_part

    place, scale = torch.device("cpu"), run.scales[0]
    augment = [
        (build_part(registry, "augmentation", part), registry.find("augmentation", part.name).component.per_rank)
        for part in run.augmentation
    ]
    data = run.data[0]
    dataset = registry.choose("dataset", data.name, data.options)
    with display.Progress(f"packing {source} x{scale}", 0) as progress:

        def packing(done: int, total: int) -> None:
            progress.total = total
            progress.at(done)

        store = packed(dataset, data.root, data.split, scale, packing)
    batch = run.patches if run.batch != "auto" else 16  # what fits is for a training to find
    sampler = Sampler([store], scale=scale, batch=batch, patch=run.patch, seed=run.seed, device=place)
    return sampler(0), Batches({scale: sampler}, augment, run.seed)(0)[1]


def sheet(columns: "dict[str, torch.Tensor]") -> "np.ndarray":
    """One row for each patch, one labelled column for each batch of them, B,3,h,w; all enlarged to one size."""
    from srkit.evaluate.sheet import Strip, draw_sheet, enlarged

    largest = max(images.shape[-1] for images in columns.values())
    side = largest * -(-SIDE // largest)
    strips = []
    for patches in zip(*columns.values(), strict=True):
        pixels = [(255 * patch).round().clamp(0, 255).byte().permute(1, 2, 0).numpy() for patch in patches]
        strips.append(Strip([enlarged(patch, side // patch.shape[0]) for patch in pixels]))
    return draw_sheet(list(columns), strips)
