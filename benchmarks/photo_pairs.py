"""A folder of pairs to validate a photo model on: HR, and LR as it comes from the web, saved as JPEG.

    python benchmarks/photo_pairs.py PICTURES OUT --scale 2

LR is MATLAB's bicubic of HR, saved as JPEG 60, 75, 90 (4:2:0) in turn, by name: the same pictures give the same
files. A training takes it with `--set validation.name=folder --set validation.root=OUT`.
"""

from collections.abc import Sequence
from itertools import cycle
from pathlib import Path
from typing import Annotated

import typer
from PIL import Image

from srkit import imresize, list_files, read_rgb

QUALITIES = (60, 75, 90)
app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


@app.command()
def main(
    pictures: Path,
    out: Path,
    scale: Annotated[list[int], typer.Option(help="may be given several times")] = [2],  # noqa: B006 - typer copies it
    side: Annotated[int, typer.Option(help="HR pixels a side at most, from the middle; 0 is all")] = 768,
) -> None:
    """Write OUT/HR and OUT/LR/X<scale>."""
    for path, quality in zip(list_files(pictures)[0], cycle(QUALITIES), strict=False):
        write_pairs(path, out, scale, side, quality)
    print(out)


def write_pairs(path: Path, out: Path, scales: Sequence[int], side: int, quality: int) -> None:
    """One picture, cropped to a multiple of 12, so that every scale has the same HR, and its LR of each scale."""
    hr = read_rgb(path)
    height, width = (min(length, side or length) // 12 * 12 for length in hr.shape[:2])
    top, left = (hr.shape[0] - height) // 2, (hr.shape[1] - width) // 2
    hr = hr[top : top + height, left : left + width]
    (out / "HR").mkdir(parents=True, exist_ok=True)
    Image.fromarray(hr).save(out / "HR" / f"{path.stem}.png")
    for scale in scales:
        folder = out / "LR" / f"X{scale}"
        folder.mkdir(parents=True, exist_ok=True)
        small = Image.fromarray(imresize(hr, 1 / scale))
        small.save(folder / f"{path.stem}.jpg", quality=quality, subsampling="4:2:0")


if __name__ == "__main__":
    app()
