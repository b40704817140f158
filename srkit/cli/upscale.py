"""`srkit upscale`: upscale pictures."""

from pathlib import Path
from typing import Annotated, Any

import typer

from srkit.cli import display
from srkit.cli.choose import AsJson, Device, SelfEnsemble, Wrappers
from srkit.cli.upscale_request import PIXELS, Request
from srkit.cli.upscale_run import again, run
from srkit.errors import UsageError

SIZE, FILES, KEEP, ENGINE, DOUBT = "Size", "Files", "What is kept", "Engine", "Doubt"


def upscale(
    context: typer.Context,
    photos: Annotated[
        list[str] | None,
        typer.Argument(help="Pictures, folders, 'globs', addresses, or - for stdin.", show_default=False),
    ] = None,
    model: Annotated[
        str,
        typer.Option(
            help="A model's name or NAME@TAG, a checkpoint, a run's folder, or a repository of the hub; if not given, "
            "the best weights that are installed.",
            show_default=False,
        ),
    ] = "",
    scale: Annotated[
        float | None,
        typer.Option(help="Factor, 2 or 2.7; that of the checkpoint, or 2, if no size is given.", rich_help_panel=SIZE),
    ] = None,
    width: Annotated[int | None, typer.Option(help="Width in pixels.", rich_help_panel=SIZE)] = None,
    height: Annotated[int | None, typer.Option(help="Height in pixels.", rich_help_panel=SIZE)] = None,
    long_edge: Annotated[int | None, typer.Option(help="Longer side in pixels.", rich_help_panel=SIZE)] = None,
    fit: Annotated[
        str | None, typer.Option(metavar="WxH", help="As large as fits: 3840x2160.", rich_help_panel=SIZE)
    ] = None,
    paper: Annotated[
        str | None,
        typer.Option("--print", help="A sheet: A2, 50x70cm, 24x36in; list names them.", rich_help_panel=SIZE),
    ] = None,
    dpi: Annotated[
        float | None,
        typer.Option(help="Pixels to the inch, 300 for --print; written down.", rich_help_panel=SIZE),
    ] = None,
    bleed: Annotated[
        str | None, typer.Option(help="Added at each side of the sheet: 3mm.", rich_help_panel=SIZE)
    ] = None,
    crop: Annotated[
        bool, typer.Option("--crop", help="Cut what a sheet of another shape has no place for.", rich_help_panel=SIZE)
    ] = False,
    pad: Annotated[
        str | None, typer.Option(metavar="COLOUR", help="Fill the rest of the sheet.", rich_help_panel=SIZE)
    ] = None,
    out: Annotated[
        str | None,
        typer.Option(
            "-o",
            "--out",
            help="The picture to write, a folder, an address, or - for stdout.",
            rich_help_panel=FILES,
            show_default=False,
        ),
    ] = None,
    name: Annotated[
        str | None,
        typer.Option(
            help="Names of results: '{stem}_{model}_x{scale}'; also {folder}, {suffix}.", rich_help_panel=FILES
        ),
    ] = None,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace results that are there, unsaid.", rich_help_panel=FILES)
    ] = False,
    skip_existing: Annotated[
        bool, typer.Option("--skip-existing", help="Keep results that are there.", rich_help_panel=FILES)
    ] = False,
    format: Annotated[  # noqa: A002 - the option's name
        str | None,
        typer.Option(help="png, jpeg, webp, tiff, bmp, avif, jp2; by -o, or png.", rich_help_panel=FILES),
    ] = None,
    quality: Annotated[int | None, typer.Option(help="1 to 100, of lossy formats.", rich_help_panel=FILES)] = None,
    depth: Annotated[int | None, typer.Option(help="8 or 16 bits; as it came.", rich_help_panel=FILES)] = None,
    background: Annotated[
        str, typer.Option(metavar="COLOUR", help="Under transparency in JPEG and BMP.", rich_help_panel=FILES)
    ] = "white",
    profile: Annotated[
        str, typer.Option(help="keep the colour profile, or convert to srgb.", rich_help_panel=KEEP)
    ] = "keep",
    strip: Annotated[bool, typer.Option("--strip", help="Drop all metadata.", rich_help_panel=KEEP)] = False,
    keep_colour: Annotated[
        bool,
        typer.Option("--keep-colour", help="The result, made small, has the colours it had.", rich_help_panel=KEEP),
    ] = False,
    protect: Annotated[
        str | None,
        typer.Option(
            metavar="MASK",
            help="Leave to Lanczos what is white in this picture; text: what looks like text.",
            rich_help_panel=KEEP,
        ),
    ] = None,
    strength: Annotated[
        float, typer.Option(min=0, max=1, help="1 is the network, 0 Lanczos.", rich_help_panel=KEEP)
    ] = 1.0,
    receipt: Annotated[
        str, typer.Option(help="xmp or sidecar: write down what made the picture.", rich_help_panel=KEEP)
    ] = "",
    repeat: Annotated[
        Path | None,
        typer.Option("--again", metavar="PICTURE", help="Make it again by its receipt.", rich_help_panel=KEEP),
    ] = None,
    self_ensemble: SelfEnsemble = False,
    wrapper: Wrappers = None,
    tile: Annotated[
        int | None,
        typer.Option(min=0, help="Side of a tile in input pixels; 0 for none; by memory.", rich_help_panel=ENGINE),
    ] = None,
    pixel_range: Annotated[
        str,
        typer.Option(
            "--range", help="Black and white of gray 16-bit, 32-bit or float pixels: 0,4095.", rich_help_panel=FILES
        ),
    ] = "",
    max_pixels: Annotated[
        int | None, typer.Option(min=1, help="Larger inputs are refused.", rich_help_panel=FILES)
    ] = None,
    device: Device = "auto",
    precision: Annotated[
        str | None,
        typer.Option(
            help="fp32, exact to the bit, if not given; bf16, fp16, or what a backend offers; auto: bf16 where the "
            "device multiplies it.",
            rich_help_panel=ENGINE,
        ),
    ] = None,
    backend: Annotated[
        str,
        typer.Option(
            help="What the network runs in, PyTorch if not given; auto: the fastest here that loses at most 0.01 dB.",
            rich_help_panel=ENGINE,
        ),
    ] = "",
    confidence: Annotated[
        Path | None,
        typer.Option(metavar="MAP.png", help="Draw how much of the result is guesswork.", rich_help_panel=DOUBT),
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Say sizes, tiles, memory and time; make nothing.", rich_help_panel=DOUBT)
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Upscale pictures: PHOTO.jpg becomes PHOTO_MODEL_xSCALE.png beside it."""
    if paper == "list":
        from srkit.upscale.sizes import papers_table

        headings, rows = papers_table(dpi or 300)
        display.table(headings, rows)
        return
    values = {key: value for key, value in context.params.items() if key not in ("photos", "repeat")}
    request = Request(photos=tuple(photos or ()), **values, said=said(context))
    if repeat is not None:
        again(request, repeat)
        return
    if not photos:
        raise UsageError("no picture is named; srkit upscale PHOTO.jpg")
    run(request)


def said(context: typer.Context) -> dict[str, Any]:
    """The options that the user gave and a receipt keeps."""
    given = {}
    for key in PIXELS:
        source = context.get_parameter_source(key)
        if source is not None and source.name not in ("DEFAULT", "DEFAULT_MAP"):
            given[key] = context.params[key]
    return given
