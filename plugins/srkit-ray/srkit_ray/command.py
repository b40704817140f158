"""`srkit ray upscale` and `srkit ray bench`: their options, and what they print."""

import json
import sys
from collections.abc import Mapping
from contextlib import redirect_stdout
from functools import partial
from typing import Annotated, Any, TextIO

import typer

SIZE, KEEP, ENGINE, CLUSTER = "Size", "What is kept", "Engine", "Cluster"

app = typer.Typer(add_completion=False, no_args_is_help=True)


@app.callback()
def ray() -> None:
    """Millions of pictures, and long benchmarks, on one machine or many by Ray."""


Address = Annotated[
    str,
    typer.Option(help="Of a Ray cluster; RAY_ADDRESS, or this machine alone if not given.", rich_help_panel=CLUSTER),
]
Workers = Annotated[
    int, typer.Option(min=0, help="At most so many; as many as fit if not given.", rich_help_panel=CLUSTER)
]
Cores = Annotated[float, typer.Option(min=0, help="Processor cores of a worker.", rich_help_panel=CLUSTER)]
Gpus = Annotated[
    float, typer.Option(min=0, help="GPUs of a worker, 0.5 for two on one; then it computes on it.",
                        rich_help_panel=CLUSTER),
]  # fmt: skip
Dashboard = Annotated[
    bool, typer.Option("--dashboard", help="With Ray's page, where it is started here.", rich_help_panel=CLUSTER)
]
AsJson = Annotated[bool, typer.Option("--json", help="A line of JSON for each picture, as in the manifest.")]


@app.command()
def upscale(
    source: Annotated[
        str, typer.Argument(metavar="INPUT", help="A folder, here or at an address: s3://bucket/photos.")
    ],
    target: Annotated[str, typer.Argument(metavar="OUTPUT", help="The folder of the results, likewise.")],
    model: Annotated[str, typer.Option(help="As of srkit upscale; the best that is installed if not given.")] = "",
    scale: Annotated[float | None, typer.Option(help="Factor, 2 or 2.7.", rich_help_panel=SIZE)] = None,
    width: Annotated[int | None, typer.Option(help="Width in pixels.", rich_help_panel=SIZE)] = None,
    height: Annotated[int | None, typer.Option(help="Height in pixels.", rich_help_panel=SIZE)] = None,
    long_edge: Annotated[int | None, typer.Option(help="Longer side in pixels.", rich_help_panel=SIZE)] = None,
    fit: Annotated[str | None, typer.Option(metavar="WxH", help="As large as fits.", rich_help_panel=SIZE)] = None,
    paper: Annotated[str | None, typer.Option("--print", help="A sheet: A2, 50x70cm.", rich_help_panel=SIZE)] = None,
    dpi: Annotated[float | None, typer.Option(help="Pixels to the inch.", rich_help_panel=SIZE)] = None,
    bleed: Annotated[str | None, typer.Option(help="Added at each side: 3mm.", rich_help_panel=SIZE)] = None,
    crop: Annotated[bool, typer.Option("--crop", help="Cut what has no place.", rich_help_panel=SIZE)] = False,
    pad: Annotated[str | None, typer.Option(metavar="COLOUR", help="Fill the rest.", rich_help_panel=SIZE)] = None,
    format: Annotated[  # noqa: A002 - the option's name
        str | None, typer.Option(help="png, jpeg, webp, tiff, bmp, avif, jp2; png if not given.", rich_help_panel=KEEP)
    ] = None,
    quality: Annotated[int | None, typer.Option(help="1 to 100, of lossy formats.", rich_help_panel=KEEP)] = None,
    depth: Annotated[int | None, typer.Option(help="8 or 16 bits; as it came.", rich_help_panel=KEEP)] = None,
    background: Annotated[
        str | None, typer.Option(metavar="COLOUR", help="Under transparency in JPEG and BMP.", rich_help_panel=KEEP)
    ] = None,
    profile: Annotated[str | None, typer.Option(help="keep or srgb.", rich_help_panel=KEEP)] = None,
    strip: Annotated[bool, typer.Option("--strip", help="Drop all metadata.", rich_help_panel=KEEP)] = False,
    receipt: Annotated[str | None, typer.Option(help="xmp: what made the picture.", rich_help_panel=KEEP)] = None,
    keep_colour: Annotated[
        bool, typer.Option("--keep-colour", help="The colours that it had.", rich_help_panel=KEEP)
    ] = False,
    protect: Annotated[str | None, typer.Option(help="text: left to Lanczos.", rich_help_panel=KEEP)] = None,
    strength: Annotated[
        float | None, typer.Option(min=0, max=1, help="1 is the network, 0 Lanczos.", rich_help_panel=KEEP)
    ] = None,
    pixel_range: Annotated[
        str | None, typer.Option("--range", help="Black and white of gray 16-bit or float.", rich_help_panel=KEEP)
    ] = None,
    max_pixels: Annotated[int | None, typer.Option(min=1, help="Larger inputs are refused.")] = None,
    self_ensemble: Annotated[
        bool, typer.Option("--self-ensemble", help="The mean of eight flips and turns.", rich_help_panel=ENGINE)
    ] = False,
    tile: Annotated[int | None, typer.Option(min=0, help="Side of a tile.", rich_help_panel=ENGINE)] = None,
    precision: Annotated[str | None, typer.Option(help="fp32 if not given.", rich_help_panel=ENGINE)] = None,
    backend: Annotated[str, typer.Option(help="PyTorch if not given.", rich_help_panel=ENGINE)] = "",
    workers: Workers = 0,
    cores: Cores = 1,
    gpus: Gpus = 0,
    address: Address = "",
    dashboard: Dashboard = False,
    as_json: AsJson = False,
) -> None:
    """Upscale a folder with its subfolders; the same command goes on where one was stopped.

    Options are those of srkit upscale. OUTPUT/manifest-00001.jsonl has a line for every picture.
    """
    from srkit_ray.cluster import Cluster
    from srkit_ray.places import Place
    from srkit_ray.upscale import Wanted
    from srkit_ray.upscale import upscale as run

    check(receipt=receipt, protect=protect, profile=profile)
    load = {
        "model": model or None, "scale": int(scale) if scale and scale.is_integer() else None,
        "device": "cuda" if gpus else "cpu", "tile": tile, "ensemble": self_ensemble, "keep_colour": keep_colour,
        "precision": precision, "backend": backend,
    }  # fmt: skip
    given = {
        "scale": scale, "width": width, "height": height, "long_edge": long_edge, "fit": fit, "paper": paper,
        "dpi": dpi, "bleed": bleed, "crop": crop, "pad": pad, "format": format, "quality": quality, "depth": depth,
        "background": background, "profile": profile, "strip": strip, "receipt": receipt, "protect": protect,
        "strength": strength, "range": pixel_range, "max_pixels": max_pixels,
    }  # fmt: skip
    options = {key: value for key, value in given.items() if value is not None and value is not False}
    cluster = Cluster(address, workers, cores, gpus, dashboard)
    tell = partial(tell_json, sys.stdout) if as_json else tell_errors
    with redirect_stdout(sys.stderr):  # Ray prints what it has to say of its workers
        counts = run(Wanted(Place(source), Place(target), load, options, cluster), tell)
    tell_counts(counts)


def check(*, receipt: str | None, protect: str | None, profile: str | None) -> None:
    """UsageError for what is no such word, or what pictures of a folder cannot have each."""
    from srkit import UsageError

    if receipt not in (None, "xmp"):
        raise UsageError(f"a receipt is xmp here, within the picture, not '{receipt}'")
    if protect not in (None, "text"):
        raise UsageError(f"--protect is text here, a mask is of one picture: not '{protect}'")
    if profile not in (None, "keep", "srgb"):
        raise UsageError(f"--profile is keep or srgb, not '{profile}'")


def tell_json(out: TextIO, line: Mapping[str, Any]) -> None:
    print(json.dumps(line, ensure_ascii=False), file=out, flush=True)


def tell_errors(line: Mapping[str, Any]) -> None:
    from srkit import say

    if line["error"]:
        text = line["error"]
        say(text if line["input"] in text else f"'{line['input']}': {text}")


def tell_counts(counts: Any) -> None:
    """What a run did; SrkitError where a picture failed."""
    from srkit import SrkitError, say

    if counts.made or counts.failed:
        pace = f"; {counts.rate:.2f} pictures/s after a start of {counts.started:.1f} s" if counts.rate else ""
        say(f"{counts.made} made{pace}")
    else:
        say(f"all {counts.before} results are there")
    if counts.failed:
        total = counts.made + counts.failed
        raise SrkitError(
            f"{counts.failed} of {total} pictures could not be upscaled; the same command tries them again"
        )


@app.command(context_settings={"allow_extra_args": True, "ignore_unknown_options": True})
def bench(
    context: typer.Context,
    parts: Annotated[int, typer.Option(min=0, help="Into how many parts; one for each worker if not given.")] = 0,
    workers: Workers = 0,
    cores: Cores = 1,
    gpus: Gpus = 0,
    address: Address = "",
    dashboard: Dashboard = False,
) -> None:
    """Score models on test sets as srkit bench does, whose options these are too: pictures and models are shared out.

    The table at the end is that of srkit bench. On a cluster --root must be a folder that every node has.
    """
    from srkit_ray.bench import Wanted, results_folder
    from srkit_ray.bench import bench as run
    from srkit_ray.cluster import Cluster

    words, folder = results_folder(context.args)
    raise typer.Exit(run(Wanted(words, folder, parts, Cluster(address, workers, cores, gpus, dashboard))))
