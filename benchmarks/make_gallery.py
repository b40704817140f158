"""The pictures of docs/gallery.md: crops of the shipped photographs as bicubic, a bicubic and a photo model make them.

    python benchmarks/make_gallery.py BICUBIC_MODEL PHOTO_MODEL --out docs/images
    python benchmarks/make_gallery.py BICUBIC_MODEL PHOTO_MODEL --out docs/images --scale 4   # files end in -x4

gallery-clean: LR is MATLAB's bicubic of the photograph. gallery-jpeg: the same LR saved as JPEG (4:2:0). Under each
crop is its PSNR over RGB.
"""

import math
from collections.abc import Iterable
from importlib.resources import files
from pathlib import Path
from typing import Annotated

import numpy as np
import typer
from PIL import Image

from srkit import Upscaler, imresize, load, read_rgb
from srkit.evaluate.sheet import Strip, draw_sheet, enlarged
from srkit_builtin.photo import jpeg

SIDE, ZOOM = 96, 2  # of a crop in HR pixels; each is shown as so many squared
#: file, left, top
CLEAN = [
    ("astronaut.png", 168, 36),
    ("astronaut.png", 132, 372),
    ("canyon-wren.jpg", 336, 112),
    ("chelsea.png", 120, 84),
    ("coffee.png", 300, 240),
    ("extreme-desert-hike.jpg", 276, 480),
    ("fragrant-chamomile.jpg", 444, 300),
    ("hubble-deep-field.jpg", 444, 324),
    ("piazza-gae-aulenti.jpg", 348, 252),
    ("solaris-grapes.jpg", 468, 360),
]
#: file, left, top, quality of JPEG
COMPRESSED = [
    ("astronaut.png", 168, 36, 60),
    ("astronaut.png", 132, 372, 75),
    ("chelsea.png", 120, 84, 60),
    ("fragrant-chamomile.jpg", 444, 300, 75),
    ("piazza-gae-aulenti.jpg", 348, 252, 90),
]
app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


@app.command()
def main(
    bicubic_model: Annotated[str, typer.Argument(help="trained on clean bicubic LR")],
    photo_model: Annotated[str, typer.Argument(help="trained on LR as photographs are")],
    out: Path = Path("docs/images"),
    scale: int = 2,
) -> None:
    """Write gallery-clean and gallery-jpeg, WebP without loss; with -x4 in their names for another scale than 2."""
    out.mkdir(parents=True, exist_ok=True)
    models = {
        "bicubic": load("bicubic", scale),
        "bicubic model": load(bicubic_model, scale),
        "photo model": load(photo_model, scale),
    }
    crops: dict[str, Iterable[tuple[str, int, int, int | None]]] = {
        "gallery-clean": [(*crop, None) for crop in CLEAN],
        "gallery-jpeg": COMPRESSED,
    }
    for name, chosen in crops.items():
        strips = [strip_of(models, scale, *crop) for crop in chosen]
        sheet = draw_sheet(["small photo", *models, "original"], strips)
        path = out / (f"{name}.webp" if scale == 2 else f"{name}-x{scale}.webp")
        Image.fromarray(sheet).save(path, lossless=True, quality=100, method=6)
        print(f"{path}, {path.stat().st_size / 1e3:.0f} KB")


def strip_of(models: dict[str, Upscaler], scale: int, name: str, left: int, top: int, quality: int | None) -> Strip:
    """One crop: the small photo, each model's, the original."""
    hr = read_rgb(Path(str(files("srkit_builtin") / "samples" / name)))
    hr = hr[: hr.shape[0] // scale * scale, : hr.shape[1] // scale * scale]
    lr = imresize(hr, 1 / scale)
    lr = lr if quality is None else jpeg(lr, quality)
    original, part = crop_of(hr, left, top, SIDE), crop_of(lr, left // scale, top // scale, SIDE // scale)
    made = [crop_of(model.upscale(lr), left, top, SIDE) for model in models.values()]
    return Strip(
        [enlarged(part, ZOOM * scale), *(enlarged(each, ZOOM) for each in [*made, original])],
        ["", *(f"{psnr(each, original):.2f} dB" for each in made), ""],
        f"{name} at x={left}, y={top}" + (f", JPEG {quality}" if quality else ""),
    )


def crop_of(pixels: np.ndarray, left: int, top: int, side: int) -> np.ndarray:
    return pixels[top : top + side, left : left + side]


def psnr(sr: np.ndarray, hr: np.ndarray) -> float:
    """dB, over all channels of uint8 pictures."""
    return 10 * math.log10(255**2 / float(np.mean((sr.astype(float) - hr.astype(float)) ** 2)))


if __name__ == "__main__":
    app()
