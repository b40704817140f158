"""`srkit data pack`: a dataset as shards, for training on what is larger than one machine."""

from pathlib import Path
from typing import Annotated

import typer

from srkit.cli import display
from srkit.cli.choose import Source


def pack(
    source: Source,
    out: Annotated[str, typer.Option("-o", "--out", help="A folder, or an address fsspec knows: s3://bucket/name.")],
    scale: Annotated[int, typer.Option(help="Upsampling factor the LR is packed for.")] = 2,
    shards: Annotated[int, typer.Option(min=1, help="Number of files, at least the number of ranks in training.")] = 8,
    split: Annotated[str, typer.Option(help="train, valid or test.")] = "train",
) -> None:
    """Pack a dataset into shards, each opened by one rank of a distributed training."""
    from srkit.data.named import data_table
    from srkit.data.pairs import open_dataset
    from srkit.data.shards import write_shards

    registry = display.load()
    table = data_table(registry, source)
    choice = registry.choose("dataset", table["name"])
    pairs = open_dataset(choice, table.get("root", ""), split, scale)
    about = f"{choice.entry.qualified} {Path(source).name} {split}"
    with display.Progress(f"packing {source} x{scale}", len(pairs)) as progress:
        write_shards(pairs, scale, shards, out, about, lambda done, total: progress.at(done))
    display.result(f"{len(pairs):,} pictures in {shards} shards in {out}")
    display.result(f"train:    torchrun --nproc-per-node N -m srkit train --set data.name=shards --set data.root={out}")
