"""`srkit train`: train a model from a run file or from options."""

import math
from collections.abc import Sequence
from pathlib import Path
from shlex import quote
from typing import TYPE_CHECKING, Annotated, Any

import typer

from srkit.cli import display
from srkit.cli.choose import Device
from srkit.cli.display import Stop
from srkit.data.named import data_table
from srkit.errors import UsageError
from srkit.plugins import Registry

if TYPE_CHECKING:
    from srkit.recipes import Expected


def train(
    model: Annotated[str | None, typer.Option(help="Model or preset; edsr-baseline if not given.")] = None,
    data: Annotated[
        str | None, typer.Option(help="A folder of pictures, or a dataset's name; the included samples if not given.")
    ] = None,
    scale: Annotated[int | None, typer.Option(help="Upsampling factor; 2 if not given.")] = None,
    steps: Annotated[int | None, typer.Option(help="Optimizer steps in all; 300,000 if not given.")] = None,
    max_time: Annotated[
        str | None, typer.Option(help="Stop after this time: 90s, 10m, 1h30m. The run can be resumed.")
    ] = None,
    run: Annotated[str | None, typer.Option(help="A run file (TOML), or a recipe's name.")] = None,
    list_recipes: Annotated[bool, typer.Option("--list", help="List the recipes and stop.")] = False,
    assign: Annotated[
        list[str] | None, typer.Option("--set", help="Set one value of the run: lr=1e-3, model.n_feats=32.")
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="Folder for the checkpoints; runs/MODEL_xSCALE if not given.")
    ] = None,
    resume: Annotated[
        str | None,
        typer.Option(
            metavar="DIR|auto",
            help="Resume the run in this folder; it continues exactly as if it had not stopped. auto: start, or go on "
            "where --out holds the run, for what is restarted by a program.",
        ),
    ] = None,
    copy_to: Annotated[
        str | None,
        typer.Option(
            help="Keep a copy of the run at this address (s3://bucket/run) or folder, written while it trains. With "
            "--resume auto a fresh machine goes on from it.",
        ),
    ] = None,
    batch: Annotated[
        str | None, typer.Option(help="Patches per step, 16 if not given; auto: as many as fit on the GPU.")
    ] = None,
    precision: Annotated[
        str | None,
        typer.Option(help="auto (if not given: bf16 where the device multiplies it, else fp32), fp32, bf16, fp16."),
    ] = None,
    init_from: Annotated[
        str | None, typer.Option(help="Start from these weights, where names and shapes match.")
    ] = None,
    force: Annotated[
        bool, typer.Option("--force", help="Start from --init-from even where less than a tenth of the model is in it.")
    ] = False,
    device: Device = "auto",
    seed: Annotated[int | None, typer.Option(help="Seed of everything random; 0 if not given.")] = None,
    resident: Annotated[str, typer.Option(help="Keep the pixels on the GPU: auto (where they fit), yes, no.")] = "auto",
    shard: Annotated[
        bool,
        typer.Option("--shard", help="Under torchrun: each rank holds a part of the network only (FSDP2)."),
    ] = False,
    save_every: Annotated[
        str, typer.Option(help="Time between saves of the training state, the most that a crash can lose.")
    ] = "60s",
) -> None:
    """Train a model. Ctrl-C saves and prints the command that resumes."""
    from srkit.run import parse_assignment
    from srkit.train.start import AUTO, Session, planned, start, start_or_go_on
    from srkit.train.start import resume as go_on

    registry = display.load()
    if list_recipes:
        print_recipes(registry)
        return
    session = Session(
        out=out,
        device=device,
        max_seconds=display.seconds_of(max_time) or math.inf,
        save_seconds=display.seconds_of(save_every) or math.inf,
        resident=resident,
        shard=shard,
        stop=Stop(),
        force=force,
        copy_to=copy_to or "",
    )
    layers: list[dict[str, Any]] = [
        {"model": model} if model else {},
        {"data": data_table(registry, data)} if data else {},
        {
            key: value
            for key, value in {
                "scale": scale,
                "steps": steps,
                "batch": int(batch) if batch and batch.isdecimal() else batch,
                "seed": seed,
                "precision": precision,
                "init_from": init_from,
            }.items()
            if value is not None
        },
        *(parse_assignment(text) for text in assign or ()),
    ]
    if resume is None:
        trained = start(registry, planned(registry, run, *layers), session)
    elif resume == AUTO:
        trained = start_or_go_on(registry, planned(registry, run, *layers), session)
    elif any(layers[:2]) or set(layers[2]) - {"steps", "precision"} or layers[3:] or run or out:
        raise UsageError(
            "--resume takes the run as it is; only --steps, --precision, --max-time, --device, --resident, "
            "--shard, --save-every and --copy-to go with it"
        )
    else:
        trained = go_on(registry, Path(resume), session, steps, precision)
    if trained.main:
        report(trained.outcome, trained.run, trained.folder, registry, copy_to)
    if trained.outcome.reason == "stopped":
        raise typer.Exit(130)


def print_recipes(registry: Registry) -> None:
    """A table of the run files that ship with plugins."""
    from srkit.recipes import recipes
    from srkit.run import Run, read_run_file

    rows = []
    for recipe in recipes(registry):
        run = Run.from_dict(read_run_file(recipe.path))
        scales = ", ".join(f"x{scale}" for scale in run.scales)
        about = recipe.about.split(". ")[0]
        rows.append(
            [recipe.name, run.model.name, scales, f"{run.steps:,}", recipe.package, told(recipe.expected), about]
        )
    display.table(["recipe", "model", "scale", "steps", "package", "expected", "about"], rows, right=[3])
    display.result(
        "srkit train --run RECIPE trains one, --set key=value changes it; its file says where its settings are from"
    )


def told(expected: "Sequence[Expected]") -> str:
    """The figures that a recipe promises: `psnr 34.63, 30.94, 28.97 (div2k, protocol div2k)`."""
    groups: dict[tuple[str, str, str], list[str]] = {}
    for e in expected:
        groups.setdefault((e.metric, e.set, e.protocol), []).append(f"{e.value:g}")
    return "; ".join(f"{metric} {', '.join(v)} ({name}, protocol {p})" for (metric, name, p), v in groups.items())


def report(outcome: Any, run: Any, folder: Path, registry: Registry, copy_to: str | None) -> None:
    """What was reached, and the next commands."""
    from srkit.evaluate.selection import selection_of

    best = ""
    if outcome.best:
        (score, step), selection = outcome.best, selection_of(run, registry)
        where = f"protocol {selection.protocol.name}, {run.validation[0].name}"
        best = f"; best {selection.told(score, outcome.by_scale)} ({where}) at step {step:,}"
    early = f"; ended early, {run.early_stop} validations without a new best" if outcome.reason == "no better" else ""
    display.result(f"{outcome.steps:,} of {run.steps:,} steps done{best}{early}")
    if outcome.reason in ("time", "stopped"):
        copy = f" --copy-to {quote(copy_to)}" if copy_to else ""
        display.result(f"go on:    srkit train --resume {quote(str(folder))}{copy}")
    display.result(
        f"score:    srkit bench {quote(str(folder))}\nuse:      srkit upscale PHOTO --model {quote(str(folder))}"
    )
