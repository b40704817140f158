"""What a photo model gains on compressed pictures, and what it loses on clean ones; as many checkpoints as are named.

    python benchmarks/photo_quality.py PICTURES bicubic MODEL [MODEL ...] --scale 2 --count 20

LR is MATLAB's bicubic of the first pictures by name, cropped to a multiple of the scale: as it is ("clean"), and
saved as JPEG (4:2:0) of each quality. PSNR and SSIM are means over the pictures, by the protocols named. A perceptual
metric (srkit-perceptual's `lpips`, say) is added with --metric, where its weights are there.
"""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import numpy as np
import typer

from srkit import imresize, list_files, load, load_plugins, read_rgb
from srkit.evaluate.protocol import protocol_named
from srkit.evaluate.report import digits
from srkit_builtin.photo import jpeg

CLEAN = "clean"
app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


@app.command()
def main(
    pictures: Path,
    models: Annotated[list[str], typer.Argument(help="names, checkpoints or runs")],
    scale: int = 2,
    count: Annotated[int, typer.Option(help="pictures, the first by name; 0 is all")] = 20,
    quality: Annotated[list[int], typer.Option(help="of JPEG; may be given several times")] = [60, 75, 90],  # noqa: B006
    protocol: Annotated[list[str], typer.Option(help="may be given several times")] = ["rgb", "y"],  # noqa: B006
    metric: Annotated[list[str], typer.Option(help="may be given several times")] = ["psnr", "ssim"],  # noqa: B006
    out: Annotated[Path | None, typer.Option(help="the figures as JSON")] = None,
) -> None:
    """Print a table for each protocol and metric: a row a model, a column an input."""
    files = list_files(pictures)[0][: count or None]
    inputs = [CLEAN, *(f"JPEG {q}" for q in quality)]
    scores = measured(files, models, scale, quality, protocol, metric)
    print(f"x{scale}, {len(files)} pictures of {pictures.name}, {files[0].name} to {files[-1].name}")
    for (name, way), rows in scores.items():
        print(f"\n| {name.upper()} ({way}) | {' | '.join(inputs)} |\n| --- |{' --- |' * len(inputs)}")
        for model, row in rows.items():
            print(f"| {model} | {' | '.join(digits(name, row[each]) for each in inputs)} |")
    if out:
        rows = [
            {"model": model, "scale": scale, "input": each, "metric": name, "protocol": way, "value": value}
            for (name, way), table in scores.items()
            for model, row in table.items()
            for each, value in row.items()
        ]
        out.write_text(json.dumps({"images": len(files), "rows": rows}, indent=1) + "\n")


def measured(
    files: list[Path], models: list[str], scale: int, qualities: list[int], protocols: list[str], metrics: list[str]
) -> dict[tuple[str, str], dict[str, dict[str, float]]]:
    """{(metric, protocol): {model: {input: mean}}}."""
    registry = load_plugins()
    built = {name: registry.choose("metric", name).build() for name in metrics}
    ways = {name: protocol_named(name) for name in protocols}
    loaded = {model: load(model, scale, registry=registry) for model in models}
    found: dict[tuple[str, str], dict[str, dict[str, list[float]]]] = {
        (m, p): {model: {} for model in models} for p in protocols for m in metrics
    }
    for file in files:
        hr = read_rgb(file)
        hr = hr[: hr.shape[0] // scale * scale, : hr.shape[1] // scale * scale]
        for label, lr in inputs_of(hr, scale, qualities):
            for model, upscaler in loaded.items():
                sr = upscaler.upscale(lr)
                for (name, way), table in found.items():
                    score = float(built[name](*ways[way].apply(sr, hr, scale)))
                    table[model].setdefault(label, []).append(score)
    return {
        key: {model: {label: float(np.mean(values)) for label, values in row.items()} for model, row in table.items()}
        for key, table in found.items()
    }


def inputs_of(hr: np.ndarray, scale: int, qualities: list[int]) -> Iterator[tuple[str, np.ndarray]]:
    """(name, LR): clean, then of each quality of JPEG."""
    lr = imresize(hr, 1 / scale)
    yield CLEAN, lr
    for quality in qualities:
        yield f"JPEG {quality}", jpeg(lr, quality)


if __name__ == "__main__":
    app()
