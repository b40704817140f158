"""Lay the same crop of several pictures side by side, labelled; or make a small photo to start from.

python benchmarks/side_by_side.py shrink photo.png 2 small.png
python benchmarks/side_by_side.py show out.png --crop LEFT,TOP,WIDTH,HEIGHT "label=picture.png" ...
"""

from pathlib import Path
from typing import Annotated

import typer
from PIL import Image, ImageDraw, ImageFont

from srkit import imresize, read_rgb

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
MARGIN, LABEL = 8, 26


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
    opened = [Image.open(file).convert("RGB") for file in files]
    largest = max(image.width for image in opened)
    left, top, width, height = (int(word) for word in crop.split(","))
    sheet = Image.new("RGB", (len(opened) * (width * zoom + MARGIN) + MARGIN, height * zoom + LABEL + MARGIN), "white")
    draw = ImageDraw.Draw(sheet)
    for i, (label, image) in enumerate(zip(labels, opened, strict=True)):
        factor = largest // image.width
        image = image.resize((image.width * factor, image.height * factor), Image.Resampling.NEAREST)
        part = image.crop((left, top, left + width, top + height))
        part = part.resize((width * zoom, height * zoom), Image.Resampling.NEAREST)
        x = MARGIN + i * (width * zoom + MARGIN)
        draw.text((x, 5), label, fill="black", font=ImageFont.load_default(15))
        sheet.paste(part, (x, LABEL))
    sheet.save(out)
    print(out)


if __name__ == "__main__":
    app()
