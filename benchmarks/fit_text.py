"""Fit `MODEL` of srkit/text_areas.py: draw text into photographs, and learn which lines of components are text.

python benchmarks/fit_text.py PHOTOS

PHOTOS is a folder of photographs without much text. The fonts are matplotlib's. Every second photograph and some of the
fonts are kept for the check, which prints how much of the text's area is found and how much else is marked. The table
that ships was fitted so to another draw of words, sizes and places on 160 photographs.
"""

import random
from pathlib import Path
from typing import Annotated

import matplotlib
import numpy as np
import typer
from PIL import Image, ImageDraw, ImageFont
from scipy.optimize import minimize

from srkit import text_areas
from srkit.data.likeness import luma

FONTS = Path(matplotlib.__file__).parent / "mpl-data/fonts/ttf"
LEARNT = ("cmss10", "cmr10", "cmtt10", "STIXGeneral", "STIXGeneralBol", "DejaVuSerif", "DejaVuSansMono")
KEPT = ("DejaVuSans", "DejaVuSans-Bold", "DejaVuSerif-Bold", "default")
WORDS = ("The", "quick", "brown", "fox", "OPEN", "Coffee", "1928", "Sale", "50%", "Street", "exit", "Please", "HOTEL")
SIDE = 640  # of the part of a photograph that is used
CONTRASTS = (60, 90, 140, 200)  # gray levels
SIZES = (10.0, 60.0)  # of letters, in pixels
ASLANT = 6.0  # degrees
SHRINK = 1e-3  # of the coefficients

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


def with_text(photo: Image.Image, rng: random.Random, fonts: tuple[str, ...]) -> tuple[np.ndarray, np.ndarray]:
    """(pixels, area): one to three lines drawn into a photograph, half of them on a plain ground."""
    size = round(SIZES[0] * (SIZES[1] / SIZES[0]) ** rng.random())
    name = rng.choice(fonts)
    font = ImageFont.load_default(size) if name == "default" else ImageFont.truetype(str(FONTS / f"{name}.ttf"), size)
    lines = [" ".join(rng.choice(WORDS) for _ in range(rng.randint(2, 4))) for _ in range(rng.randint(1, 3))]
    ink, area, ground = (Image.new("L", photo.size, 0) for _ in range(3))
    x, y = rng.randrange(photo.width // 3), rng.randrange(photo.height * 2 // 3)
    angle = rng.uniform(-ASLANT, ASLANT)
    for line in lines:
        box = ImageDraw.Draw(ink).textbbox((x, y), line, font=font)
        ImageDraw.Draw(ink).text((x, y), line, font=font, fill=255)
        ImageDraw.Draw(area).rectangle(box, fill=255)
        ImageDraw.Draw(ground).rectangle([box[0] - size, box[1] - size, box[2] + size, box[3] + size], fill=255)
        y += round(1.4 * size)
    turned = [each.rotate(angle, Image.Resampling.BICUBIC, center=(x, y)) for each in (ink, area, ground)]
    there = np.asarray(turned[1]) > 100
    contrast, plain = rng.choice(CONTRASTS), rng.random() < 0.5
    gray = np.asarray(photo.convert("L"))
    under = rng.uniform(0, 255) if plain or not there.any() else float(np.median(gray[there]))
    darker = under + contrast > 255 or (under >= contrast and rng.random() < 0.5)
    value = under - contrast if darker else under + contrast
    made = photo.copy()
    if plain:
        made.paste(tinted(under, rng), mask=turned[2])
    made.paste(tinted(value, rng), mask=turned[0])
    return np.asarray(made), there


def tinted(gray: float, rng: random.Random) -> tuple[int, ...]:
    weights = np.array([0.299, 0.587, 0.114])
    apart = np.array([rng.uniform(-25, 25) for _ in range(3)])
    return tuple(int(v) for v in (gray + apart - apart @ weights).clip(0, 255).round())


def opened(path: Path, rng: random.Random) -> Image.Image:
    with Image.open(path) as file:
        image = file.convert("RGB")
    left, top = (rng.randrange(max(1, n - SIDE + 1)) for n in image.size)
    return image.crop((left, top, min(image.width, left + SIDE), min(image.height, top + SIDE)))


def examples(paths: list[Path], rng: random.Random) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(measures, text, weight): a row for each line that is text for four fifths, or hardly at all."""
    rows, text = [], []
    for path in paths:
        pixels, there = with_text(opened(path, rng), rng, LEARNT)
        total = np.pad(there.cumsum(0).cumsum(1), ((1, 0), (1, 0)))
        for factor, parts, begin in text_areas.lines_in(luma(pixels)):
            if not len(begin):
                continue
            top, left, bottom, right = np.minimum(parts.box * factor, there.shape * 2).T
            inside = total[bottom, right] - total[top, right] - total[bottom, left] + total[top, left]
            share = np.add.reduceat(inside, begin) / np.add.reduceat((bottom - top) * (right - left), begin).clip(1)
            sure = (share > 0.8) | (share < 0.05)
            rows.append(text_areas.measures(parts, begin)[sure])
            text.append(share[sure] > 0.5)
    found, is_text = np.concatenate(rows), np.concatenate(text)
    balance = 0.3 * (~is_text).sum() / max(1, is_text.sum())
    letters = np.exp(found[:, list(text_areas.MODEL).index("count")])
    return found, is_text, np.where(is_text, balance, 1) * letters.clip(1, 20)


def fitted(found: np.ndarray, text: np.ndarray, weight: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(coefficients, mean, spread) of a logistic regression on each measure and its square."""
    mean, spread = found.mean(axis=0), found.std(axis=0)
    apart = np.clip((found - mean) / spread, -text_areas.FAR, text_areas.FAR)
    terms = np.column_stack([np.ones(len(apart)), apart, apart**2])

    def loss(coefficients: np.ndarray) -> tuple[float, np.ndarray]:
        odds = terms @ coefficients
        free = np.concatenate([[0], coefficients[1:]])
        value = weight @ (np.logaddexp(0, odds) - text * odds) / weight.sum() + SHRINK * (free @ free)
        return value, terms.T @ (weight * (1 / (1 + np.exp(-odds)) - text)) / weight.sum() + 2 * SHRINK * free

    return minimize(loss, np.zeros(terms.shape[1]), jac=True, method="L-BFGS-B").x, mean, spread


@app.command()
def fit(photos: Path, seed: Annotated[int, typer.Option(help="Of places, words and colours.")] = 1) -> None:
    """Print the table for srkit/text_areas.py, and what the one that is there finds on the photographs kept apart."""
    paths = sorted(path for path in photos.iterdir() if path.suffix.lower() in (".jpg", ".png"))
    (first, *slopes), mean, spread = fitted(*examples(paths[::2], random.Random(seed)))
    half = len(slopes) // 2
    print("MODEL = {")
    for name, *numbers in zip(text_areas.MODEL, mean, spread, slopes[:half], slopes[half:], strict=True):
        print(f'    "{name}": ({", ".join(f"{number:.3f}" for number in numbers)}),')
    print(f"}}\nBIAS = {first:.3f}")
    rng = random.Random(seed + 1)
    found, elsewhere, clean = [], [], []
    for path in paths[1::2]:
        photo = opened(path, rng)
        clean.append(text_areas.text_mask(luma(np.asarray(photo))).mean())
        pixels, there = with_text(photo, rng, KEPT)
        mask = text_areas.text_mask(luma(pixels))
        found += [mask[there].mean()] if there.any() else []
        elsewhere.append(mask[~there].mean())
    print(f"of {len(found)} photographs kept apart: {np.mean(found):.1%} of the text's area found,")
    print(f"{np.mean(elsewhere):.1%} marked elsewhere, {np.mean(clean):.1%} of the same photographs without text")


if __name__ == "__main__":
    app()
