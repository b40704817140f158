"""Lay the same crop of several pictures side by side, labelled; or make a small photo to start from.

python benchmarks/side_by_side.py shrink photo.png 2 small.png
python benchmarks/side_by_side.py show out.png --crop LEFT,TOP,WIDTH,HEIGHT "label=picture.png" ...
"""

from pathlib import Path
from typing import Annotated

import typer
from PIL import Image

from srkit import imresize, read_rgb
from srkit.evaluate.sheet import Strip, draw_sheet, enlarged

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


@app.command()
def shrink(photo: Path, scale: int, out: Path) -> None:
    """Make the LR picture of the benchmarks: cropped to a multiple of the scale, MATLAB's bicubic."""
    hr = read_rgb(photo)
    height, width = hr.shape[0] // scale * scale, hr.shape[1] // scale * scale
    Image.fromarray(imresize(hr[:height, :width], 1 / scale)).save(out)


@app.command()
def show(
    out: Path,
    pictures: Annotated[list[str], typer.Argument(help="label=file; a smaller one is enlarged by repeating pixels")],
    crop: Annotated[str, typer.Option(help="left,top,width,height in pixels of the largest picture")],
    zoom: int = 1,
) -> None:
    """Write the sheet."""
    labels, files = zip(*(text.split("=", 1) for text in pictures), strict=True)
    opened = [read_rgb(file) for file in files]
    largest = max(pixels.shape[1] for pixels in opened)
    left, top, width, height = (int(word) for word in crop.split(","))
    whole = [enlarged(pixels, largest // pixels.shape[1]) for pixels in opened]
    parts = [enlarged(pixels[top : top + height, left : left + width], zoom) for pixels in whole]
    Image.fromarray(draw_sheet(labels, [Strip(parts)])).save(out)
    print(out)


if __name__ == "__main__":
    app()
