"""What is in a picture, measured: against 60 pictures tagged by hand, and against text drawn into photographs."""

import json
import random
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageFont

from srkit.data.likeness import luma
from srkit.evaluate.content import groups_in, smaller
from srkit.evaluate.traits import CONTENT
from srkit.text_areas import text_mask

TAGGED = json.loads((Path(__file__).parent / "content_tags.json").read_text())
#: precision and recall that docs/bench.md states, by group
MEASURED = {
    "flat": (0.89, 0.86),
    "edges": (0.82, 0.82),
    "repeating": (0.76, 0.94),
    "text": (0.80, 0.67),
    "dark": (0.92, 1.00),
    "compressed": (0.67, 0.67),
}
TEXT = "Garden café\nOpen 9 to 18"


def picture(shared: Path, one: dict) -> np.ndarray:
    with Image.open(shared / one["file"]) as file:
        image = file.convert("RGB")
    if part := one.get("part"):
        width, height = image.size
        image = image.crop(tuple(round(p * n) for p, n in zip(part, (width, height) * 2, strict=True)))
    return np.asarray(image)


def test_groups_agree_with_sixty_pictures_tagged_by_hand_as_often_as_the_docs_say(shared):
    with ThreadPoolExecutor(2) as pool:
        found = list(pool.map(lambda one: set(groups_in(picture(shared, one))), TAGGED))
    assert len(found) == 60
    for group in CONTENT:
        tagged = [group in one["tags"] for one in TAGGED]
        given = [group in groups for groups in found]
        both = sum(a and b for a, b in zip(tagged, given, strict=True))
        figures = both / max(1, sum(given)), both / sum(tagged)
        assert figures == pytest.approx(MEASURED[group], abs=0.006), group


def test_the_docs_say_how_often_groups_agree():
    text = (Path(__file__).parents[2] / "docs" / "bench.md").read_text()
    for group, (precision, recall) in MEASURED.items():
        row = next(line for line in text.splitlines() if line.startswith(f"| `{group}` |"))
        assert f"| {precision:.2f} | {recall:.2f} |" in row, group


def lettered(photo: Image.Image, font: ImageFont.FreeTypeFont, angle: float, seed: int, value: int):
    """A photograph with two lines of text at a random place, and where their boxes are."""
    plain, boxes = Image.new("L", photo.size, 0), Image.new("L", photo.size, 0)
    _, top, right, bottom = ImageDraw.Draw(plain).multiline_textbbox((0, 0), TEXT, font=font)
    draw = random.Random(seed)
    x = draw.randrange(20, max(21, int(photo.width - right - 20)))
    y = draw.randrange(40, max(41, int(photo.height - bottom - 40)))
    ImageDraw.Draw(plain).multiline_text((x, y), TEXT, font=font, fill=255)
    for line in TEXT.splitlines():
        ImageDraw.Draw(boxes).rectangle(ImageDraw.Draw(plain).textbbox((x, y), line, font=font), fill=255)
        y += (bottom - top) / 2
    turned = [each.rotate(angle, Image.Resampling.BICUBIC, center=(x, y)) for each in (plain, boxes)]
    result = photo.copy()
    result.paste((value, value, round(value * 0.8)), mask=turned[0])
    return np.asarray(result), np.asarray(turned[1]) > 100


def fonts() -> list:
    import matplotlib

    folder = Path(matplotlib.__file__).parent / "mpl-data/fonts/ttf"
    made = [ImageFont.load_default(size=size) for size in (14, 24, 60)]
    return made + [ImageFont.truetype(str(folder / f"DejaVuSans{kind}.ttf"), 30) for kind in ("", "-Bold")]


def test_drawn_text_is_found_and_little_else_is(shared):
    found, elsewhere = [], []
    for number, font in enumerate(fonts() * 4):
        with Image.open(shared / "train" / f"{161 + 4 * number:04d}.jpg") as file:
            photo = file.convert("RGB").crop((0, 0, 640, 480))
        bright = np.asarray(photo.convert("L")).mean() < 128
        pixels, there = lettered(photo, font, angle=(-5, 0, 4)[number % 3], seed=number, value=250 if bright else 5)
        mask = text_mask(luma(pixels))
        found.append(mask[there].mean())
        elsewhere.append(mask[~there].mean())
    assert len(found) == 20
    assert np.mean(found) > 0.9
    assert np.mean(elsewhere) < 0.02


def test_dark_letters_and_bright_ones_on_a_plain_ground_are_one_area():
    for ground, ink in ((240, 20), (20, 240), (120, 160)):
        image = Image.new("L", (400, 120), ground)
        draw = ImageDraw.Draw(image)
        draw.text((30, 40), "the quick brown fox", font=ImageFont.load_default(size=30), fill=ink)
        left, top, right, bottom = draw.textbbox((30, 40), "the quick brown fox", font=ImageFont.load_default(size=30))
        mask = text_mask(np.asarray(image, np.float32))
        assert mask[int(top) + 8 : int(bottom) - 8, int(left) + 2 : int(right) - 2].mean() > 0.97
        mask[int(top) - 12 : int(bottom) + 12, int(left) - 12 : int(right) + 12] = False
        assert not mask.any()


@pytest.mark.parametrize("shape", [(1, 1), (3, 500), (24, 24), (25, 7)])
def test_tiny_pictures_are_in_the_groups_that_fit_and_raise_nothing(shape):
    assert set(groups_in(np.zeros((*shape, 3), np.uint8))) <= {"dark", "flat"}
    assert "dark" not in groups_in(np.full((*shape, 3), 200, np.uint8))


def test_plain_cases_are_told_by_each_measure():
    y, x = np.mgrid[:256, :256]
    noise = np.random.default_rng(0).normal(0, 30, (256, 256))

    def groups(gray: np.ndarray) -> list[str]:
        return groups_in(np.repeat(gray.clip(0, 255).astype(np.uint8)[..., None], 3, axis=2))

    assert groups(np.full((256, 256), 100.0)) == ["flat"]
    assert groups(128 + noise) == []
    assert "repeating" in groups(128 + 60 * np.sin((x + y) / 2) + noise / 3)
    assert "edges" in groups(np.where((x // 40 + y // 40) % 2, 200.0, 60.0))
    assert groups(20 + noise / 3) == ["dark"]


def test_a_large_picture_is_looked_at_made_smaller():
    assert smaller(np.ones((500, 400)), pixels=40_000).shape == (166, 133)
    assert smaller(np.ones((10, 4000)), side=1000).shape == (2, 1000)
    assert smaller(np.ones((2, 4000)), side=1000).shape == (2, 4000)
