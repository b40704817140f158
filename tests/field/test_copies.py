"""Copies among pictures, as people's complaints in public trackers have them: one test a complaint."""

from pathlib import Path

import numpy as np
from PIL import Image
from scipy import ndimage

from srkit import read_rgb
from srkit.data.crops import small_gray
from srkit.data.select import Wanted, figures_of, judged, looked_at
from srkit.images import list_images

SAMPLES = Path(__file__).parents[2] / "plugins/srkit_builtin/samples"


def dropped(pictures: list[np.ndarray]) -> list[str]:
    figures = [figures_of(str(number), looked_at(rgb), []) for number, rgb in enumerate(pictures)]
    return [one.name for one in judged(figures, Wanted(), lambda i: small_gray(pictures[i])) if one.reason]


def photographs(*names: str) -> list[np.ndarray]:
    found = []
    for path in list_images(SAMPLES):
        if path.stem in names:
            found.append(np.asarray(Image.fromarray(read_rgb(path)).resize((384, 256))))
    return found


def test_pictures_alike_in_the_large_are_no_copies():
    """qarmin/czkawka 429: hashes of 8x8 pixels put photographs that have nothing else in common into one group."""
    one, other = photographs("chelsea", "coffee")
    coarse = [ndimage.gaussian_filter(each.astype(np.float64), (20, 20, 0)) for each in (one, other)]
    mixed = np.clip(other - coarse[1] + coarse[0], 0, 255).astype(np.uint8)
    small = [np.asarray(Image.fromarray(each).convert("L").resize((8, 8)), float).ravel() for each in (one, mixed)]
    assert np.corrcoef(*small)[0, 1] > 0.95, "by 8x8 pixels they are one"
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
    image.save(tmp_path / "a.webp", quality=80)
    image.save(tmp_path / "b.jpg", quality=85)
    copies = [read_rgb(tmp_path / name) for name in ("a.webp", "b.jpg")]
    copies.append(np.asarray(image.resize((200, 133))))
    copies.append(np.asarray(image.resize((576, 384), Image.Resampling.BILINEAR)))
    copies.append(whole[30:230, 40:330])
    assert dropped([*copies, whole]) == ["0", "1", "2", "3", "4"]
