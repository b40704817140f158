"""Crops of a set's pictures as every model makes them: where to look, how they score, a sheet and a page of them."""

import base64
import io
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from html import escape
from importlib.resources import files
from itertools import combinations

import numpy as np
import torch
from PIL import Image

from srkit.components import PairSequence
from srkit.data.pairs import aligned
from srkit.errors import DataError
from srkit.evaluate.protocol import Protocol, protocol_named
from srkit.evaluate.report import Row, to_table
from srkit.evaluate.score import ImageScore, Metrics, row_of, score_image
from srkit.evaluate.sheet import Strip, draw_sheet, enlarged
from srkit.nets import Loaded
from srkit.upscale.wrap import Upscale

SIDE = 192  # pixels that a crop has on the sheet, about
TRIES = 100  # at a place that overlaps no other
PER_PICTURE = 2  # crops, where the models disagree
REFERENCE = ("HR", "LR")  # the columns that no model made


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


def make_gallery(
    models: Mapping[str, tuple[Loaded, Upscale]], set_name: str, pairs: PairSequence, scale: int, window: int,
    choose: Chooser, count: int, how: str, metrics: Metrics, protocol: Protocol, device: torch.device,
    done: Callable[[str], None] = lambda text: None,
) -> Gallery:  # fmt: skip
    """Upscale every picture once with every model, score it, and cut the crops out of it.

    metrics: `psnr` among them. A window's PSNR is that of exactly its own pixels: the protocol is given the
    window with its border around, which it takes off. Raises DataError as `score_image` does.
    """
    found: dict[str, list[ImageScore]] = {name: [] for name in models}
    crops: list[Crop] = []
    border = protocol.border(scale)
    for i in range(len(pairs)):
        pair = pairs[i]
        lr, hr = aligned(pair, scale)
        images: dict[str, ImageScore] = {}
        for name, (_, upscaler) in models.items():
            images[name] = score_image(upscaler, lr, hr, scale, metrics, protocol, device, pair.name)
            found[name].append(replace(images[name], sr=hr[:0]))  # the crops are all that is needed of the pixels
            done(f"{name} {pair.name}")
        for place in choose(i, {name: image.sr for name, image in images.items()}):
            inner = np.s_[place.top : place.top + window, place.left : place.left + window]
            outer = np.s_[
                inner[0].start - border : inner[0].stop + border, inner[1].start - border : inner[1].stop + border
            ]
            small = np.s_[place.top // scale :, place.left // scale :]
            pixels = {"HR": hr[inner], "LR": lr[small][: window // scale, : window // scale]}
            pixels |= {name: image.sr[inner] for name, image in images.items()}
            psnr = {
                name: float(metrics["psnr"](*protocol.apply(image.sr[outer], hr[outer], scale)))
                for name, image in images.items()
            }
            whole = {name: image.scores["psnr"] for name, image in images.items()}
            crops.append(Crop(pair.name, place, {k: v.copy() for k, v in pixels.items()}, psnr, whole))
    rows = [row_of(name, loaded, set_name, found[name], protocol) for name, (loaded, _) in models.items()]
    kept = sorted(crops, key=lambda crop: crop.place.rank)[:count]
    return Gallery(set_name, scale, window, how, protocol.name, rows, kept)


def grid(length: int, window: int, border: int, scale: int) -> range:
    """Where a window may begin along one side of a picture: on the LR grid, off the border that is not scored."""
    return range(-(-border // scale) * scale, length - border - window + 1, scale)


def roomy(sizes: Sequence[tuple[int, int]], window: int, border: int, scale: int) -> list[int]:
    """The pictures, by their HR (height, width), that hold a window. Raises DataError where none does."""
    found = [i for i, size in enumerate(sizes) if all(grid(length, window, border, scale) for length in size)]
    if not found:
        raise DataError(f"every picture is too small for a crop of {window}x{window} pixels; take a smaller --crop")
    return found


def drawn(sizes: Sequence[tuple[int, int]], count: int, seed: int, window: int, border: int, scale: int) -> Chooser:
    """`count` windows by a seeded draw over pictures, each as often as the others, and places in them.

    The first of many are those of a draw of few, and they overlap only where a picture has no more room.
    """
    usable = roomy(sizes, window, border, scale)
    rng = np.random.default_rng(seed)
    places: dict[int, list[Place]] = {i: [] for i in range(len(sizes))}
    for n in range(count):
        if n % len(usable) == 0:
            order = rng.permutation(usable)
        i = int(order[n % len(usable)])
        for _ in range(TRIES):
            top, left = (int(rng.choice(grid(length, window, border, scale))) for length in sizes[i])
            if not any(overlap(top, left, other, window) for other in places[i]):
                break
        places[i].append(Place((n,), top, left))
    return lambda i, outputs: places[i]


def disagreeing(compared: Sequence[str], window: int, border: int, scale: int) -> Chooser:
    """The windows, at most two of a picture, where the mean absolute difference of the models' outputs is largest.

    In 8-bit levels over R, G and B; the mean over all pairs of models. Windows overlap by half in the search,
    and not at all in what is found.
    """

    def choose(i: int, outputs: Mapping[str, np.ndarray]) -> list[Place]:
        pairs = list(combinations([outputs[name].astype(np.int32) for name in compared], 2))
        apart = np.stack([np.abs(a - b).sum(axis=2) for a, b in pairs]).sum(axis=0)  # H,W
        sums = np.pad(apart.cumsum(axis=0).cumsum(axis=1), ((1, 0), (1, 0)))
        rows, columns = (grid(length, window, border, scale)[:: max(1, window // 2 // scale)] for length in apart.shape)
        if not rows or not columns:
            return []
        y, x = np.array(rows)[:, None], np.array(columns)
        total = sums[y + window, x + window] - sums[y, x + window] - sums[y + window, x] + sums[y, x]
        order = sorted(((-int(total[a, b]), top, left) for a, top in enumerate(rows) for b, left in enumerate(columns)))
        places: list[Place] = []
        for negative, top, left in order:
            if not any(overlap(top, left, other, window) for other in places):
                difference = -negative / (3 * window**2 * len(pairs))
                places.append(Place((-difference, i, top, left), top, left, difference))
            if len(places) == PER_PICTURE:
                break
        return places

    return choose


def overlap(top: int, left: int, other: Place, window: int) -> bool:
    return abs(top - other.top) < window and abs(left - other.left) < window


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
    """The same as one HTML page that needs nothing from elsewhere, with the whole pictures' scores and sliders."""
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
        "head": "".join(f'<th scope="col">{escape(headings[i])}</th>' for i in keep),
        "body": "".join(table_row(line) for line in rows),
        "origins": f"<ul class=origins>{''.join(origins)}</ul>" if origins else "",
        "options": "".join(f"<option>{escape(label)}</option>" for label in gallery.labels),
        "crops": "".join(article(number, crop, gallery) for number, crop in enumerate(gallery.crops, 1)),
    }
    template = files("srkit.evaluate").joinpath("gallery.html").read_text(encoding="utf-8")
    return re.sub(r"\{\{(\w+)\}\}", lambda found: parts[found[1]], template)


def table_row(cells: Iterable[str]) -> str:
    first, *others = map(escape, cells)
    return f'<tr><th scope="row">{first}</th>{"".join(f"<td>{text}</td>" for text in others)}</tr>\n'


def article(number: int, crop: Crop, gallery: Gallery) -> str:
    title = heading(number, crop)
    items = []
    for label, pixels in crop.pixels.items():
        figures = "original" if label == "HR" else f"{gallery.scale} times smaller"
        if label in crop.psnr:
            figures = f"<b>{crop.psnr[label]:.2f} dB</b> crop<br>{crop.whole[label]:.2f} dB whole"
        items.append(
            f'<li><button type=button><img alt="{escape(f"{title}: {label}")}" src="{data_uri(pixels)}">'
            f"<span class=name>{escape(label)}</span><span>{figures}</span></button></li>"
        )
    return (
        f"<article id=crop-{number}><h3>{escape(title)}</h3>\n<div class=compare hidden></div>\n"
        f"<ul class=strip>\n{chr(10).join(items)}\n</ul></article>\n"
    )


def data_uri(pixels: np.ndarray) -> str:
    return f"data:image/png;base64,{base64.b64encode(png(pixels)).decode()}"


def png(pixels: np.ndarray) -> bytes:
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, format="png", optimize=True)
    return file.getvalue()
