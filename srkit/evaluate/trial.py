"""Several models on one photo: where to look, crops where they disagree, a sheet and a page of them. There is no HR."""

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from html import escape
from itertools import combinations

import numpy as np
import torch
from PIL import Image, ImageDraw, ImageFont

from srkit.errors import SrkitError, one_line
from srkit.evaluate.gallery import Windows, largest
from srkit.evaluate.markup import article, filled, head_row, table_row
from srkit.evaluate.plan import Subject
from srkit.evaluate.sheet import Strip, draw_sheet, enlarged
from srkit.evaluate.tried import Attempt, Trial, TrialCrop
from srkit.upscale.wrap import to_pixels, to_tensor

INPUT = "input"  # the column that is no model's
WHOLE = 2**20  # LR pixels: of a larger photo only parts are upscaled
PARTS = 16  # of a larger photo
AROUND = 32  # LR pixels around a part, which models may look at
COLUMN = 320  # pixels: how wide a crop is on the sheet, about


@dataclass(frozen=True)
class TrialPart:
    """A part of the photo in LR pixels, and what is upscaled with it: the part and some pixels around."""

    top: int
    left: int
    height: int
    width: int
    outer: tuple[slice, slice]


HEADINGS = ["model", "seconds", "licence"]


def try_models(
    subjects: Sequence[Subject],
    name: str,
    rgb: np.ndarray,
    scale: int,
    *,
    side: int,
    count: int,
    device: torch.device,
    done: Callable[[str], None] = lambda text: None,
) -> Trial:
    """Upscale a photo, uint8 H,W,3, by every model, and cut `count` crops out of it where the results differ most.

    side: of a crop in pixels of the result. A model that fails is a row that says why. done(text) is called after each
    model. Raises SrkitError where none works.
    """
    height, width = rgb.shape[:2]
    side = max(1, min(side // scale, height, width))
    parts = parts_of(rgb, 2 * side)
    attempts = []
    for subject in subjects:
        attempts.append(attempt(subject, rgb, parts, scale, device))
        done(subject.info.name)
    worked = [each for each in attempts if not each.error]
    if not worked:
        raise SrkitError(f"no model works on '{name}': {attempts[0].name}: {attempts[0].error}")
    crops = []
    for difference, number, top, left in places(worked, parts, Windows(side * scale, scale, 0), count):
        part, a, b = parts[number], top // scale, left // scale
        pixels = {INPUT: rgb[part.top + a : part.top + a + side, part.left + b : part.left + b + side]}
        inside = np.s_[top : top + side * scale, left : left + side * scale]
        pixels |= {each.name: each.made[number][inside] for each in worked}
        copies = {label: each.copy() for label, each in pixels.items()}
        crops.append(TrialCrop(part.top + a, part.left + b, difference if len(worked) > 1 else None, copies))
    return Trial(name, scale, attempts, crops, len(parts) == 1 and parts[0].height == height)


def parts_of(rgb: np.ndarray, side: int) -> list[TrialPart]:
    """The whole of a photo of a megapixel at most; of a larger one the squares with most detail, none overlapping."""
    height, width = rgb.shape[:2]
    if height * width <= WHOLE:
        return [TrialPart(0, 0, height, width, np.s_[0:height, 0:width])]
    gray = rgb.sum(axis=2, dtype=np.int32)
    detail = np.zeros((height, width), np.int64)
    detail[:, 1:] += np.abs(np.diff(gray, axis=1))
    detail[1:] += np.abs(np.diff(gray, axis=0))
    found: list[TrialPart] = []
    for _, top, left in largest(detail, Windows(side, 1, 0)):
        if all(abs(top - other.top) >= side or abs(left - other.left) >= side for other in found):
            rows = slice(max(0, top - AROUND), min(height, top + side + AROUND))
            columns = slice(max(0, left - AROUND), min(width, left + side + AROUND))
            found.append(TrialPart(top, left, side, side, (rows, columns)))
        if len(found) == PARTS:
            break
    return found


def attempt(subject: Subject, rgb: np.ndarray, parts: Sequence[TrialPart], scale: int, device: torch.device) -> Attempt:
    """All parts by one model, whatever its plugin raises."""
    row = Attempt(subject.info.name, licence=subject.info.licence)
    if subject.error or subject.open is None:
        row.error = subject.error
        return row
    try:
        opened = subject.open(device)
        begin = time.perf_counter()
        for part in parts:
            sr = to_pixels(opened.upscale(to_tensor(rgb[part.outer], device)))
            top, left = (inner - outer.start for inner, outer in zip((part.top, part.left), part.outer, strict=True))
            rows = slice(top * scale, (top + part.height) * scale)
            row.made.append(sr[rows, left * scale : (left + part.width) * scale])
        row.seconds = time.perf_counter() - begin
    except Exception as error:
        row.error = one_line(error)
    return row


def places(
    worked: Sequence[Attempt], parts: Sequence[TrialPart], windows: Windows, count: int
) -> Iterator[tuple[float, int, int, int]]:
    """(difference in levels, number of the part, top, left in its result) of the windows, the largest first.

    The mean absolute difference over R, G and B and over all pairs of models; of one model alone, the most detail.
    """
    found = []
    for number in range(len(parts)):
        outputs = [each.made[number].astype(np.int32) for each in worked]
        pairs = list(combinations(outputs, 2)) or [(outputs[0], np.roll(outputs[0], 1, axis=1))]
        apart = sum(np.abs(a - b).sum(axis=2) for a, b in pairs)
        area = 3 * windows.side**2 * len(pairs)
        found += [(total / area, number, top, left) for total, top, left in largest(np.asarray(apart), windows)]
    taken: list[tuple[int, int, int]] = []
    for negative, number, top, left in sorted(found):
        if len(taken) == count:
            return
        near = [n == number and abs(t - top) < windows.side and abs(u - left) < windows.side for n, t, u in taken]
        if not any(near):
            taken.append((number, top, left))
            yield -negative, number, top, left


def heading(number: int, crop: TrialCrop) -> str:
    apart = "" if crop.difference is None else f": the results differ by {crop.difference:.2f} levels of 255"
    return f"{number}. x={crop.left}, y={crop.top} of the photo{apart}"


def sheet_of(trial: Trial) -> np.ndarray:
    """uint8 H,W,3: a row for each crop, a column for the input and each model that works, and why others do not."""
    strips = []
    for number, crop in enumerate(trial.crops, 1):
        side = crop.pixels[INPUT].shape[0] * trial.scale
        zoom = max(1, round(COLUMN / side))
        pictures = [
            enlarged(pixels, zoom * trial.scale if label == INPUT else zoom) for label, pixels in crop.pixels.items()
        ]
        strips.append(Strip(pictures, heading=heading(number, crop)))
    failed = [f"{each.name} failed: {each.error}" for each in trial.attempts if each.error]
    sheet = draw_sheet(list(trial.crops[0].pixels), strips, trial.title)
    return np.concatenate([sheet, lines_below(failed, sheet.shape[1])]) if failed else sheet


def lines_below(lines: Sequence[str], width: int) -> np.ndarray:
    strip = Image.new("RGB", (width, 18 * len(lines) + 8), "white")
    draw, font = ImageDraw.Draw(strip), ImageFont.load_default(12)
    for number, line in enumerate(lines):
        draw.text((8, 18 * number), line, fill="#a33a00", font=font)
    return np.asarray(strip)


def page_of(trial: Trial) -> str:
    """One HTML page without external files: the table, and each crop with a slider between any two columns."""
    looked = "the photo" if trial.whole else f"the {PARTS} parts of the photo with most detail"
    parts = {
        "title": escape(trial.title),
        "how": f"The {len(trial.crops)} places of {looked} where the results differ most.",
        "head": head_row(HEADINGS, HEADINGS[2:]),
        "body": "".join(table_row(row) for row in trial.rows),
        "options": "".join(f"<option>{escape(label)}</option>" for label in trial.crops[0].pixels),
        "crops": "".join(
            article(
                f"crop-{number}",
                heading(number, crop),
                crop.pixels,
                {k: f"{trial.scale} times smaller" if k == INPUT else "" for k in crop.pixels},
                "png",  # WebP without loss takes seconds for each
            )
            for number, crop in enumerate(trial.crops, 1)
        ),
    }
    return filled("trial.html", parts)
