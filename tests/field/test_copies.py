"""Copies among pictures, as people's complaints in public trackers have them: one test a complaint."""

from pathlib import Path

import numpy as np
from PIL import Image

from srkit import read_rgb
from srkit.data.select import Wanted, figures_of, judged, looked_at
from srkit.images import list_images

SAMPLES = Path(__file__).parents[2] / "plugins/srkit_builtin/samples"


def dropped(pictures: list[np.ndarray], sizes: list[int] | None = None) -> list[str]:
    """The numbers of those that are copies; sizes: of their files."""
    sizes = sizes or [0] * len(pictures)
    figures = [
        figures_of(str(n), looked_at(rgb), [], size) for n, (rgb, size) in enumerate(zip(pictures, sizes, strict=True))
    ]
    return [one.name for one in judged(figures, Wanted(), lambda i: pictures[i]) if one.reason]


def photographs(*names: str) -> list[np.ndarray]:
    paths = [path for path in list_images(SAMPLES) if path.stem in names]
    return [np.asarray(Image.fromarray(read_rgb(path)).resize((384, 256))) for path in paths]


def means(rgb: np.ndarray) -> np.ndarray:
    """Each of 8x8 parts as its mean."""
    parts = rgb.reshape(8, len(rgb) // 8, 8, rgb.shape[1] // 8, 3)
    return np.broadcast_to(parts.mean(axis=(1, 3), keepdims=True), parts.shape).reshape(rgb.shape)


def test_pictures_alike_in_the_large_are_no_copies():
    """qarmin/czkawka 429: hashes of 8x8 pixels put photographs that have nothing else in common into one group."""
    one, other = photographs("chelsea", "coffee")
    mixed = np.clip(means(one) + 0.5 * (other - means(other)), 0, 255).astype(np.uint8)
    small = [
        np.asarray(Image.fromarray(each).convert("L").resize((8, 8), Image.Resampling.BOX)) for each in (one, mixed)
    ]
    assert np.corrcoef(*(each.ravel().astype(float) for each in small))[0, 1] > 0.95, "by 8x8 pixels they are one"
    assert dropped([one, mixed]) == []


def test_skies_and_walls_are_no_copies_of_each_other():
    """qarmin/czkawka 429 again: pictures with next to nothing in them are alike to any hash."""
    plain = [np.full((200, 300, 3), value, np.uint8) for value in (90, 160)]
    rows = np.linspace(60, 200, 200)[:, None, None]
    skies = [np.broadcast_to(rows + shift, (200, 300, 3)).astype(np.uint8) for shift in (0, 20)]
    assert dropped([*plain, *skies]) == []


def test_a_copy_is_found_whatever_its_format_size_and_quality(tmp_path):
    """darakian/ddh 65: pictures come back resized, compressed again and in other formats; the best is to be kept."""
    (whole,) = photographs("coffee")
    image = Image.fromarray(whole)
    part = image.crop((40, 30, 330, 230))
    made = {
        "a.webp": image,
        "b.jpg": image,
        "small.png": image.resize((200, 133)),
        "part.png": part,
        "whole.png": image,
    }
    made["large.png"] = image.resize((576, 384), Image.Resampling.BILINEAR)
    for name, copy in made.items():
        copy.save(tmp_path / name, quality=85)
    found = dropped([read_rgb(tmp_path / name) for name in made], [(tmp_path / name).stat().st_size for name in made])
    assert [name for n, name in enumerate(made) if str(n) not in found] == ["whole.png"]
