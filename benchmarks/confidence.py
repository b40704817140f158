"""How well the map of `srkit upscale --confidence` ranks true errors, against the gradient; and its calibration.

    python benchmarks/confidence.py DATA/bench/B100/HR --scale 4
    python benchmarks/confidence.py DATA/bench/B100/HR --scale 4 --chain 2,2    # weights for x2, run twice
    python benchmarks/confidence.py DATA/train --side 288 --every 10 --fit      # the constants in confidence.py

LR is MATLAB's bicubic of the pictures. The true error is the mean absolute difference to HR over the block of an LR
pixel and R, G and B. Spearman's rank correlation is of one picture's LR pixels; printed is its mean over pictures.
Nothing is fitted on the pictures that are scored unless --fit is given.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import numpy as np
import typer
from scipy.stats import spearmanr
from torch import Tensor
from torch.nn import functional as F

from srkit import imresize, list_files, load_plugins, read_rgb
from srkit.upscale.confidence import LEVELS, NAMES, POWER, combined, ensemble_of, expected, gradient, measure
from srkit.upscale.guesswork import GUESSWORK
from srkit.upscale.wrap import make_upscaler, to_tensor
from srkit.weights.loading import load_model

MAP, RAW, GRADIENT = "map", "not calibrated", "gradient of LR"
BINS = (0, 1, 2, 4, 6, 8, 10, 15, 20, 40)
app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


@app.command()
def main(
    pictures: Path,
    model: str = "edsr-small",
    scale: int = 4,
    chain: Annotated[str, typer.Option(help="scales whose product is --scale: 2,2")] = "",
    every: Annotated[int, typer.Option(help="of the pictures, by name")] = 1,
    side: Annotated[int, typer.Option(help="HR pixels of the middle that is used; 0 is all")] = 0,
    fit: Annotated[bool, typer.Option(help="print the calibration that fits these pictures")] = False,
) -> None:
    """Print the mean rank correlations, what the expected error is worth, and with --fit the constants."""
    files = list_files(pictures)[0][::every]
    call = chained(model, [int(word) for word in chain.split(",")] if chain else [scale])
    maps, errors = [], []
    for file in files:
        hr = middle(read_rgb(file), side, scale)
        of_picture, error = measured(call, hr, scale)
        maps.append(of_picture)
        errors.append(error)
    print(f"{model} x{scale}{f' as {chain}' if chain else ''}, {len(files)} pictures of {pictures}")
    print_ranks(maps, errors)
    print_calibration(np.concatenate([each[MAP] for each in maps]), np.concatenate(errors))
    if fit:
        print_fit(np.concatenate([each[RAW] for each in maps]), np.concatenate(errors))


def chained(model: str, scales: list[int]) -> Callable[[Tensor], Tensor]:
    registry = load_plugins()
    parts = []
    for scale in scales:
        loaded = load_model(registry, model, scale)
        parts.append(make_upscaler(loaded.net, loaded.model, scale))

    def call(lr: Tensor) -> Tensor:
        for part in parts:
            lr = part(lr.clamp(0, 1))
        return lr

    return call


def middle(hr: np.ndarray, side: int, scale: int) -> np.ndarray:
    """The middle of a picture, its sides multiples of the scale."""
    height, width = hr.shape[:2]
    top, left = (max(0, (length - side) // 2) if side else 0 for length in (height, width))
    hr = hr[top : top + (side or height), left : left + (side or width)]
    return hr[: hr.shape[0] // scale * scale, : hr.shape[1] // scale * scale]


def measured(
    call: Callable[[Tensor], Tensor], pixels: np.ndarray, scale: int
) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """({name: a value for each LR pixel}, the true error of each in levels)."""
    lr, hr = to_tensor(imresize(pixels, 1 / scale)), to_tensor(pixels)
    first, _, spread = ensemble_of(call, lr)
    sr = first.clamp(0, 1)
    measures = measure(lr, sr, spread, scale)
    found = {MAP: expected(measures, scale)[0, 0], RAW: combined(measures)[0, 0]}
    found |= dict(zip(NAMES, measures[0], strict=True)) | {GRADIENT: gradient(lr)[0, 0]}
    error = LEVELS * F.avg_pool2d((sr - hr).abs().mean(1, keepdim=True), scale)
    return {name: each.numpy().ravel() for name, each in found.items()}, error.numpy().ravel()


def print_ranks(maps: list[dict[str, np.ndarray]], errors: list[np.ndarray]) -> None:
    ranks = {
        name: np.array([spearmanr(each[name], error)[0] for each, error in zip(maps, errors, strict=True)])
        for name in maps[0]
        if name != RAW
    }
    print("\n| Spearman with the true error | mean | lowest | the map is better on |\n| --- | --- | --- | --- |")
    for name, values in ranks.items():
        better = "" if name == MAP else f"{(ranks[MAP] > values).sum()} of {len(values)}"
        print(f"| {name} | {values.mean():.4f} | {values.min():.4f} | {better} |")


def print_calibration(said: np.ndarray, true: np.ndarray) -> None:
    print("\n| expected error | share of pixels | mean true error | above the threshold |\n| --- | --- | --- | --- |")
    for low, high in zip(BINS, (*BINS[1:], np.inf), strict=True):
        inside = (said >= low) & (said < high)
        if inside.any():
            above = (true[inside] > GUESSWORK).mean()
            print(f"| {low} to {high} | {inside.mean():.2%} | {true[inside].mean():.2f} | {above:.1%} |")


def print_fit(raw: np.ndarray, true: np.ndarray) -> None:
    """The factors that give the least squared error over all pixels, by power."""
    print(f"\npower in use {POWER:g}\n\n| power | factor | root of the mean squared error |\n| --- | --- | --- |")
    for power in (0.5, 0.6, 0.7, 0.8, 0.9, 1.0):
        base = raw**power
        factor = float((base * true).sum() / (base * base).sum())
        print(f"| {power} | {factor:.2f} | {((factor * base - true) ** 2).mean() ** 0.5:.2f} |")


if __name__ == "__main__":
    app()
