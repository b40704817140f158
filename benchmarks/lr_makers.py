"""What a model scores on LR that other programs made than the one it was trained on: the table of docs/data.md.

    python benchmarks/lr_makers.py DATA/Set5/HR [--model edsr-small] [--scale 2]

Each program that `srkit data check` knows makes LR of the folder's HR, bit for bit as it does where it is called as
most people call it; the model enlarges it, and the PSNR (protocol y) is printed as a Markdown table.
"""

import argparse
from pathlib import Path

import numpy as np

import srkit
from srkit.data.maker import MAKERS, NEAREST
from srkit.images import list_images, read_rgb


def cropped(hr: np.ndarray, scale: int) -> np.ndarray:
    return hr[: hr.shape[0] // scale * scale, : hr.shape[1] // scale * scale]


def made(name: str, hr: np.ndarray, scale: int) -> np.ndarray:
    """LR as the program of that name makes it."""
    if name == NEAREST:
        return np.ascontiguousarray(hr[::scale, ::scale])
    remake = next(maker.remake for maker in MAKERS if maker.name == name)
    return next(iter(remake(hr, (hr.shape[0] // scale, hr.shape[1] // scale))))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--model", default="edsr-small")
    parser.add_argument("--scale", type=int, default=2)
    words = parser.parse_args()
    upscaler = srkit.load(words.model, words.scale)
    pictures = [(path.name, cropped(read_rgb(path), words.scale)) for path in list_images(words.folder)]
    print("| LR made by | PSNR (y) |\n| --- | ---: |")
    for maker in (*(maker.name for maker in MAKERS), NEAREST):
        pairs = [srkit.Pair(name, made(maker, hr, words.scale), hr) for name, hr in pictures]
        print(f"| `{maker}` | {srkit.score(upscaler, pairs, metrics='psnr', progress=False)['psnr']:.2f} |", flush=True)


if __name__ == "__main__":
    main()
