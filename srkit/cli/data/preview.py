"""`srkit data preview`: a sheet of training patches, as they are cut and as the network is trained on them."""

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from srkit.cli import display
from srkit.cli.choose import words
from srkit.errors import UnknownName, UsageError, did_you_mean
from srkit.plugins import Registry

if TYPE_CHECKING:
    import numpy as np
    import torch

    from srkit.components import Batch
    from srkit.run import Run

SIDE = 160  # pixels that an HR patch has on the sheet, or more


def preview(
    source: Annotated[str, typer.Argument(metavar="NAME|DIR", help="A dataset's name, or a folder of pictures.")],
    augmentation: Annotated[
        list[str] | None,
        typer.Option(help="Augmentations, separated by commas, in their order; dihedral if not given."),
    ] = None,
    assign: Annotated[
        list[str] | None, typer.Option("--set", help="An augmentation's option: realistic.strength=0.5.")
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
    if 4 * count * (patch * scale) ** 2 > LARGEST:
        raise UsageError(f"{count} patches of {patch * scale} pixels make too large a sheet; lower --count or --patch")
    registry = display.load()
    chosen = augmentations(words(augmentation) or [part.name for part in Run().augmentation], assign or ())
    table = data_table(registry, source)
    values = {"scale": scale, "batch": count, "patch": patch, "seed": seed, "data": table, "augmentation": chosen}
    run = Run.from_dict(values).resolved(registry)

    plain, changed = first_batch(registry, run, source)
    label = ", ".join(part["name"] for part in chosen)
    columns = {"LR": plain.lr, "HR": plain.hr, f"LR, {label}": changed.lr, f"HR, {label}": changed.hr}
    write_picture(out, Picture(sheet(columns)))
    display.result(f"{count} patches of {source} x{scale}, plain and with {label}: {out}")


def augmentations(names: list[str], assigned: Iterable[str]) -> list[dict[str, Any]]:
    """The run's [[augmentation]]: each name with the options that `NAME.option=value` sets. Raises UnknownName."""
    from srkit.run import merge, parse_assignment

    options: dict[str, Any] = {}
    for text in assigned:
        table = parse_assignment(text)
        for name, values in table.items():
            if name not in names:
                raise UnknownName(f"--set {text}: no augmentation '{name}' is shown{did_you_mean(name, names)}")
            if not isinstance(values, dict):
                raise UsageError(f"--set {text}: write {name}.OPTION=VALUE")
            options[name] = merge(options.get(name, {}), values)
    return [{"name": name, **options.get(name, {})} for name in names]


def first_batch(registry: Registry, run: "Run", source: str) -> tuple["Batch", "Batch"]:
    """The first batch of `run` as it is cut, and as it is augmented; the same one with which its training begins."""
    import torch

    from srkit.data.sampler import Batches, Sampler
    from srkit.data.store import packed
    from srkit.train.assemble import build_part

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
    sampler = Sampler([store], scale=scale, batch=run.batch, patch=run.patch, seed=run.seed, device=place)
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
