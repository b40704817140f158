"""`srkit export`: write a model for other programs, and say how far the file is from the original."""

import json
import math
from pathlib import Path
from shlex import quote
from typing import Annotated, Any

import typer

from srkit import UsageError, say

READING = "An ONNX file of another program"


def export(
    model: Annotated[
        str, typer.Argument(help="A model's name, NAME@TAG, a checkpoint, a run's folder, any weight or ONNX file.")
    ],
    form: Annotated[
        str, typer.Option("--format", help="onnx, torchscript, exported (torch.export), safetensors; by -o, or onnx.")
    ] = "",
    scale: Annotated[
        int | None, typer.Option(help="Factor; all that a multi-scale model has, a file each, if not given.")
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option("-o", "--out", help="The file, with {scale} in it for several scales, or a folder."),
    ] = None,
    precision: Annotated[str, typer.Option(help="fp32; fp16 (onnx, safetensors); int8 (onnx).")] = "fp32",
    calibrate: Annotated[
        Path | None, typer.Option(help="Pictures to set the ranges of int8 by; the samples if not given.")
    ] = None,
    opset: Annotated[int | None, typer.Option(min=13, help="Of ONNX; 20 if not given.")] = None,
    tile: Annotated[
        int | None,
        typer.Option(min=16, help="Side in pixels, for one size alone; of a model whose sizes cannot vary 192."),
    ] = None,
    layout: Annotated[str, typer.Option(help="nchw, nhwc.", rich_help_panel=READING)] = "",
    channels: Annotated[str, typer.Option(help="rgb, bgr, or y.", rich_help_panel=READING)] = "",
    channels_out: Annotated[str, typer.Option(help="Of the result.", rich_help_panel=READING)] = "",
    values: Annotated[str, typer.Option("--range", help="0..1, 0..255, -1..1.", rich_help_panel=READING)] = "",
    values_out: Annotated[str, typer.Option("--range-out", help="Of the result.", rich_help_panel=READING)] = "",
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Write a model as an ONNX, TorchScript, torch.export or safetensors file; an ONNX file with what was found of it.

    The file is run at three other sizes, and how far its results are from the original is printed and written into it.
    """
    from srkit_onnx.export import Request, export_all

    said = {
        "layout": layout, "channels": channels, "channels_out": channels_out, "range": values, "range_out": values_out,
    }  # fmt: skip
    request = Request(
        model=model,
        form=form_of(form, out),
        scale=scale,
        out=out,
        precision=precision,
        calibrate=calibrate,
        opset=opset,
        tile=tile,
        said={key: value.lower() for key, value in said.items() if value},
    )
    done = export_all(request, say)
    if as_json:
        print(json.dumps([plain(each) for each in done], indent=2))
        return
    for each in done:
        print(told(each))
    first = done[0]
    if first["format"] in ("onnx", "safetensors"):
        print(f"use:  srkit upscale PHOTO --model {quote(first['file'])}")


def form_of(form: str, out: Path | None) -> str:
    """As said, else by the suffix of -o. Raises UsageError for one that there is not."""
    from srkit_onnx.forms import SUFFIXES

    by_suffix = {suffix: name for name, suffix in SUFFIXES.items()}
    found = form or (by_suffix.get(out.suffix.lower(), "") if out and out.suffix and not out.is_dir() else "onnx")
    if found not in SUFFIXES:
        what = f"--format {form}" if form else f"the suffix of '{out}'"
        raise UsageError(f"{what} is none of {', '.join(f'{name} ({end})' for name, end in SUFFIXES.items())}")
    return found


def plain(about: dict[str, Any]) -> dict[str, Any]:
    """For JSON, which has no infinity: a PSNR of equal results is null."""
    return {key: None if isinstance(value, float) and math.isinf(value) else value for key, value in about.items()}


def told(about: dict[str, Any]) -> str:
    opset = f" opset {about['opset']}" if about.get("opset") else ""
    return (
        f"{about['file']}: {about['model']} x{about['scale']} as {about['format']}{opset} in {about['precision']}, "
        f"{about['takes']}, {about['bytes']:,} bytes; {about['difference']}"
    )
