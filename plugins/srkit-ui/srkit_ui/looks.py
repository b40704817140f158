"""A result to be looked at: before and after, whole or a window at 100 %, and a layer of what is guesswork.

What is prepared lies beside the result as plain pixels, of which only the window is read: a poster of 200 megapixels
takes as little memory to look at as a postcard.
"""

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyvips

import srkit

ABOUT = "look.json"
LAYERS = ("before", "after", "doubt")
LONGEST = 1600  # pixels: sides of what is shown whole
WINDOW = 2048  # pixels: sides of a window at 100 %
GROUNDS = {"white": (255, 255, 255), "black": (0, 0, 0)}  # what a sheet may be filled with


@dataclass(frozen=True)
class Look:
    """Where the layers lie. size: (width, height) of the result. doubt: is there such a layer?"""

    folder: Path
    size: tuple[int, int]
    doubt: bool

    def shown(self, layer: str, window: tuple[int, int, int, int] | None) -> bytes:
        """A PNG of a layer. window: left, top, width, height in pixels of the result; None for all of it, made smaller.

        A window is moved and cut to lie inside. KeyError for a layer that is not there.
        """
        if layer not in LAYERS or (layer == "doubt" and not self.doubt):
            raise KeyError(layer)
        image = self.opened(layer)
        if window is None:
            factor = min(1.0, LONGEST / max(self.size))
            image = image if factor == 1 else image.resize(factor)
        else:
            image = image.crop(*inside(window, self.size))
        data: bytes = image.pngsave_buffer(compression=1)
        return data

    def opened(self, layer: str) -> pyvips.Image:
        """All of a layer at the result's size; nothing is computed but what is asked for later."""
        about = json.loads((self.folder / ABOUT).read_text())
        pixels = np.memmap(self.folder / f"{layer}.raw", np.uint8, "r", shape=tuple(about[layer]))
        image = pyvips.Image.new_from_array(pixels, interpretation="srgb")
        if layer == "after":
            return image
        (wide, tall), (left, top) = about["whole"], about["offset"]
        kernel = "cubic" if layer == "before" else "linear"
        image = image.resize(wide / image.width, vscale=tall / image.height, kernel=kernel)
        ground = about["ground"] if layer == "before" else [0, 0, 0, 0]
        return image.embed(left, top, *self.size, extend="background", background=ground)


def inside(window: tuple[int, int, int, int], size: tuple[int, int]) -> tuple[int, int, int, int]:
    """A window of at least one pixel that lies in a picture of `size`."""
    left, top, width, height = window
    width, height = (max(1, min(side, most, WINDOW)) for side, most in zip((width, height), size, strict=True))
    left, top = (
        max(0, min(at, most - side)) for at, side, most in zip((left, top), (width, height), size, strict=True)
    )
    return left, top, width, height


def prepare(
    source: Path, result: Path, plan: srkit.FilePlan, ground: str = "white", doubt: srkit.Confidence | None = None
) -> Look:
    """Make the layers of a result, in its folder. ground: what a sheet is filled with.

    Raises SrkitError where a picture cannot be read.
    """
    folder = result.parent
    upright = folder / "before.png"
    srkit.load("bicubic", progress=False).upscale_file(source, upright, scale=1, profile="srgb", depth=8, strip=True)
    about: dict[str, object] = {"whole": plan.whole, "offset": plan.offset, "ground": GROUNDS.get(ground, (255,) * 3)}
    for layer, path in (("before", upright), ("after", result)):
        about[layer] = save(path, folder / f"{layer}.raw")
    upright.unlink()
    if doubt is not None:
        pixels = doubt.layer()
        pixels.tofile(folder / "doubt.raw")
        about["doubt"] = pixels.shape
    (folder / ABOUT).write_text(json.dumps(about))
    return Look(folder, plan.size, doubt is not None)


def plain(path: Path) -> pyvips.Image:
    """A file as screens show it: sRGB of 8 bits, on white where it is transparent."""
    image = pyvips.Image.new_from_file(str(path), access="sequential")
    if image.get_typeof("icc-profile-data"):
        image = image.icc_transform("srgb", embedded=True, depth=8)
    if image.interpretation != "srgb":
        image = image.colourspace("srgb")
    if image.hasalpha():
        image = image.flatten(background=[255, 255, 255])
    return image.cast("uchar")


def save(path: Path, target: Path) -> tuple[int, int, int]:
    """Write a picture's pixels; gives their (height, width, channels). Raises ImageError where libvips cannot."""
    try:
        image = plain(path)
        image.rawsave(str(target))
    except pyvips.Error as error:
        raise srkit.ImageError(f"'{path.name}' cannot be shown: {' '.join(str(error).split())}") from None
    return image.height, image.width, image.bands
