"""Crops of a set's pictures as every model makes them: where to look, how they score, a sheet and a page of them."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from html import escape
from itertools import combinations

import numpy as np
import torch

from srkit.components import PairSequence
from srkit.data.pairs import TooSmall, aligned
from srkit.errors import DataError
from srkit.evaluate.markup import article, filled, head_row, table_row
from srkit.evaluate.protocol import Protocol, protocol_named
from srkit.evaluate.report import Row, to_table
from srkit.evaluate.score import ImageScore, Metrics, row_of, score_image
from srkit.evaluate.sheet import Strip, draw_sheet, enlarged
from srkit.images import LOG
from srkit.nets import Loaded
from srkit.upscale.wrap import Upscale

SIDE = 192  # approximate side of a crop on the sheet in pixels
TRIES = 100  # to find a place that overlaps no other
PER_PICTURE = 2  # crops, where the models disagree
REFERENCE = ("HR", "LR")  # the columns that are not a model's


@dataclass(frozen=True)
class Place:
    """A window in HR pixels, on the LR grid. rank: what the crops are ordered by, the lowest first."""

    rank: tuple[float, ...]
    top: int
    left: int
    difference: float | None = None


@dataclass(frozen=True)
class Crop:
    """One window in all columns. pixels: uint8, LR at its own size. psnr: of the window; whole: of its picture."""

    name: str
    place: Place
    pixels: dict[str, np.ndarray]
    psnr: dict[str, float]
    whole: dict[str, float]


@dataclass(frozen=True)
class Gallery:
    """rows: the whole pictures' scores. how: in words, which crops these are."""

    set_name: str
    scale: int
    window: int
    how: str
    protocol: str
    rows: list[Row]
    crops: list[Crop]

    @property
    def labels(self) -> list[str]:
        return [*REFERENCE, *(row.model for row in self.rows)]

    @property
    def title(self) -> str:
        return f"{self.set_name} x{self.scale}: {len(self.crops)} crops of {self.window}x{self.window} pixels"


#: places in picture i, given its HR size and each model's SR, uint8 H,W,3
Chooser = Callable[[int, Mapping[str, np.ndarray]], list[Place]]


@dataclass(frozen=True)
class Windows:
    """The crops of a gallery. side: in HR pixels, a multiple of scale. border: HR pixels that are not scored."""

    side: int
    scale: int
    border: int

    def starts(self, length: int) -> range:
        """Where a window may begin along one side of a picture: on the LR grid, outside the border."""
        first = -(-self.border // self.scale) * self.scale
        return range(first, length - self.border - self.side + 1, self.scale)

    def fitting(self, sizes: Sequence[tuple[int, int]]) -> list[int]:
        """The indices of the pictures, by HR (height, width), that hold a window. DataError where none does."""
        found = [i for i, size in enumerate(sizes) if all(self.starts(length) for length in size)]
        if not found:
            side = f"{self.side}x{self.side}"
            raise DataError(f"every picture is too small for a crop of {side} pixels; choose a smaller --crop")
        return found

    def overlap(self, top: int, left: int, other: Place) -> bool:
        return abs(top - other.top) < self.side and abs(left - other.left) < self.side


def make_gallery(
    models: Mapping[str, tuple[Loaded, Upscale]],
    set_name: str,
    pairs: PairSequence,
    windows: Windows,
    choose: Chooser,
    *,
    count: int,
    how: str,
    metrics: Metrics,
    protocol: Protocol,
    device: torch.device,
    done: Callable[[str], None] = lambda text: None,
) -> Gallery:
    """Upscale every picture once with every model, score it, and cut the crops out of it.

    count: crops that are kept, those of the lowest rank. how: in words, which crops these are. metrics: `psnr`
    among them. done(text) is called after each picture of each model. Raises DataError as `score_image` does.
    """
    scale = windows.scale
    found: dict[str, list[ImageScore]] = {name: [] for name in models}
    crops: list[Crop] = []
    for i in range(len(pairs)):
        pair = pairs[i]
        images: dict[str, ImageScore] = {}
        try:
            lr, hr = aligned(pair, scale)
            for name, (_, upscaler) in models.items():
                images[name] = score_image(upscaler, lr, hr, scale, metrics, protocol, device=device, name=pair.name)
                found[name].append(replace(images[name], sr=hr[:0]))  # only the crops need pixels
                done(f"{name} {pair.name}")
        except TooSmall:  # the others have a crop, as `windows` has made sure
            LOG.warning("%s: %s", pair.name, f"left out, too small for '{protocol.name}' at x{scale}")
            continue
        places = choose(i, {name: image.sr for name, image in images.items()})
        crops += [cut(place, windows, lr, hr, images, psnr=metrics["psnr"], protocol=protocol) for place in places]
    return Gallery(
        set_name=set_name,
        scale=scale,
        window=windows.side,
        how=how,
        protocol=protocol.name,
        rows=[row_of(name, loaded, set_name, found[name], protocol) for name, (loaded, _) in models.items()],
        crops=sorted(crops, key=lambda crop: crop.place.rank)[:count],
    )


def cut(
    place: Place,
    windows: Windows,
    lr: np.ndarray,
    hr: np.ndarray,
    images: Mapping[str, ImageScore],
    *,
    psnr: Callable[[np.ndarray, np.ndarray], float],
    protocol: Protocol,
) -> Crop:
    """One window out of HR, LR and each model's SR, with copies of its pixels.

    Its PSNR is that of exactly its own pixels: the protocol is given the window with its border around, which it
    takes off.
    """
    side, scale, border = windows.side, windows.scale, windows.border
    inner = np.s_[place.top : place.top + side, place.left : place.left + side]
    outer = np.s_[
        place.top - border : place.top + side + border,
        place.left - border : place.left + side + border,
    ]
    top, left = place.top // scale, place.left // scale
    pixels = {"HR": hr[inner], "LR": lr[top : top + side // scale, left : left + side // scale]}
    pixels |= {name: image.sr[inner] for name, image in images.items()}
    return Crop(
        name=next(iter(images.values())).name,
        place=place,
        pixels={label: part.copy() for label, part in pixels.items()},
        psnr={k: float(psnr(*protocol.apply(image.sr[outer], hr[outer], scale))) for k, image in images.items()},
        whole={name: image.scores["psnr"] for name, image in images.items()},
    )


def drawn(sizes: Sequence[tuple[int, int]], windows: Windows, count: int, seed: int) -> Chooser:
    """`count` windows by a seeded draw: pictures equally often, then places in them.

    The first windows of a larger `count` are those of a smaller one. Windows overlap only where a picture has no
    more room.
    """
    usable = windows.fitting(sizes)
    rng = np.random.default_rng(seed)
    places: dict[int, list[Place]] = {i: [] for i in range(len(sizes))}
    for n in range(count):
        if n % len(usable) == 0:
            order = rng.permutation(usable)
        i = int(order[n % len(usable)])
        for _ in range(TRIES):
            top, left = (int(rng.choice(windows.starts(length))) for length in sizes[i])
            if not any(windows.overlap(top, left, other) for other in places[i]):
                break
        places[i].append(Place((n,), top, left))
    return lambda i, outputs: places[i]


def disagreeing(compared: Sequence[str], windows: Windows) -> Chooser:
    """The windows, at most two of a picture, where the mean absolute difference of the models' outputs is largest.

    In 8-bit levels over R, G and B; the mean over all pairs of models. Windows overlap by half in the search,
    and not at all in the result.
    """
    side = windows.side

    def choose(i: int, outputs: Mapping[str, np.ndarray]) -> list[Place]:
        pairs = list(combinations([outputs[name].astype(np.int32) for name in compared], 2))
        apart = np.stack([np.abs(a - b).sum(axis=2) for a, b in pairs]).sum(axis=0)  # H,W
        places: list[Place] = []
        for negative, top, left in largest(apart, windows):
            if not any(windows.overlap(top, left, other) for other in places):
                difference = -negative / (3 * side**2 * len(pairs))
                places.append(Place((-difference, i, top, left), top, left, difference))
            if len(places) == PER_PICTURE:
                break
        return places

    return choose


def largest(apart: np.ndarray, windows: Windows) -> list[tuple[int, int, int]]:
    """(minus the sum, top, left) of the windows of a picture by the sum of `apart`, int H,W, in them, largest first.

    They overlap by half. None where the picture is smaller than a window.
    """
    side = windows.side
    rows, columns = (windows.starts(length)[:: max(1, side // 2 // windows.scale)] for length in apart.shape)
    if not rows or not columns:
        return []
    sums = np.pad(apart.cumsum(axis=0).cumsum(axis=1), ((1, 0), (1, 0)))
    y, x = np.array(rows)[:, None], np.array(columns)
    total = sums[y + side, x + side] - sums[y, x + side] - sums[y + side, x] + sums[y, x]
    return sorted((-int(total[a, b]), top, left) for a, top in enumerate(rows) for b, left in enumerate(columns))


def heading(number: int, crop: Crop) -> str:
    apart = "" if crop.place.difference is None else f", models differ by {crop.place.difference:.2f} levels of 255"
    return f"{number}. {crop.name} at x={crop.place.left}, y={crop.place.top}{apart}"


def zoom_of(window: int) -> int:
    return max(1, round(SIDE / window))


def sheet_of(gallery: Gallery) -> np.ndarray:
    """All crops on one sheet, uint8 H,W,3: a column for HR, LR and each model, the PSNR of the crop under each."""
    zoom = zoom_of(gallery.window)
    strips = []
    for number, crop in enumerate(gallery.crops, 1):
        pictures = [
            enlarged(pixels, zoom * gallery.scale if label == "LR" else zoom) for label, pixels in crop.pixels.items()
        ]
        captions = [f"{crop.psnr[k]:.2f} dB ({gallery.protocol})" if k in crop.psnr else "" for k in crop.pixels]
        strips.append(Strip(pictures, captions, heading(number, crop)))
    title = f"{gallery.title}; PSNR (protocol {gallery.protocol}) of the crop alone"
    return draw_sheet(gallery.labels, strips, title)


def page_of(gallery: Gallery) -> str:
    """The same as one HTML page without external files, with the scores of the whole pictures and sliders."""
    protocol = protocol_named(gallery.protocol)
    headings, cells = to_table(gallery.rows)
    # Scale and set are in the title; without times the same input gives the same page.
    keep = [i for i, text in enumerate(headings) if text not in ("scale", "set", "s/image")]
    rows = [[line[i] for i in keep] for line in cells]
    origins = [f"<li><b>{escape(row.model)}</b>: {escape(row.origin)}</li>" for row in gallery.rows if row.origin]
    parts = {
        "title": escape(gallery.title),
        "how": escape(gallery.how),
        "window": f"{gallery.window}x{gallery.window}",
        "protocol": escape(gallery.protocol),
        "summary": escape(protocol.summary),
        "border": str(protocol.border(gallery.scale)),
        "images": f"{gallery.rows[0].images:,}",
        "head": head_row(headings[i] for i in keep),
        "body": "".join(table_row(line) for line in rows),
        "origins": f"<ul class=origins>{''.join(origins)}</ul>" if origins else "",
        "options": "".join(f"<option>{escape(label)}</option>" for label in gallery.labels),
        "crops": articles(gallery),
    }
    return filled("gallery.html", parts)


def articles(gallery: Gallery) -> str:
    found = []
    for number, crop in enumerate(gallery.crops, 1):
        figures = {"HR": "original", "LR": f"{gallery.scale} times smaller"}
        figures |= {
            label: f"<b>{psnr:.2f} dB</b> crop<br>{crop.whole[label]:.2f} dB whole" for label, psnr in crop.psnr.items()
        }
        found.append(article(f"crop-{number}", heading(number, crop), crop.pixels, figures, "png"))
    return "".join(found)
