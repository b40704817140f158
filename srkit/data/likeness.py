"""How alike two pictures are: thumbnails that find a photograph again, and where an LR fits its HR best."""

from collections.abc import Iterator, Sequence
from itertools import product

import numpy as np
from PIL import Image

from srkit.imresize import imresize

THUMB = 64  # side of a thumbnail
COARSE = 16  # side of the thumbnails that are compared first, every one with every one
COARSELY_ALIKE, ALIKE = 0.75, 0.8  # correlation of the coarse thumbnails, then of the whole ones
FLAT = 1.0  # gray levels of detail below which pictures are not compared
ROWS = 1024  # thumbnails compared at a time

WINDOW = 96  # side of the LR part whose position is searched
REACH = 2  # LR pixels in either direction
RADIUS = 4  # of the mean that is subtracted, so that detail is compared and not brightness
PAD = REACH + 1 + RADIUS
SMALLEST = 16  # smallest side of a part that is compared
EXACT = 0.998  # a likeness above which no shift is searched
CLEARLY = 0.95  # of the unshifted difference may remain at a shift that is accepted
PART_OF_A_PIXEL = 0.75  # HR pixels: a smaller shift is that of a kernel


def luma(rgb: np.ndarray) -> np.ndarray:
    """H,W,3 uint8 -> H,W float32 in 0..255 (BT.601, as JPEG has it)."""
    return rgb.astype(np.float32) @ np.array([0.299, 0.587, 0.114], np.float32)


def high_pass(planes: np.ndarray, radius: int) -> np.ndarray:
    """...,H,W minus the mean of the square around each value."""
    edges = [(0, 0)] * (planes.ndim - 2) + [(radius + 1, radius)] * 2
    total = np.pad(planes, edges, mode="edge").astype(np.float64).cumsum(axis=-1).cumsum(axis=-2)
    side = 2 * radius + 1
    near = total[..., side:, side:] - total[..., :-side, side:] - total[..., side:, :-side]
    return np.asarray(planes - (near + total[..., :-side, :-side]) / side**2)


def thumbnail(rgb: np.ndarray) -> np.ndarray:
    """H,W,3 uint8 -> 64,64 uint8 gray, its proportions not kept."""
    return np.asarray(Image.fromarray(rgb).convert("L").resize((THUMB, THUMB), Image.Resampling.BOX))


def signatures(thumbnails: Sequence[np.ndarray], side: int = THUMB) -> np.ndarray:
    """n,side*side float32 whose inner products are correlations of detail; zeros for what is flat."""
    step = THUMB // side
    stack = np.asarray(thumbnails).reshape(-1, side, step, side, step).mean(axis=(2, 4), dtype=np.float32)
    detail = high_pass(stack, 2).reshape(len(stack), -1)
    detail -= detail.mean(axis=1, keepdims=True)
    length = np.linalg.norm(detail, axis=1, keepdims=True)
    return np.where(length < FLAT * side, 0, detail / np.maximum(length, 1e-9)).astype(np.float32)


def likeness(one: np.ndarray, other: np.ndarray) -> float:
    """Correlation of two thumbnails' detail: above 0.8 the same photograph, below 0.4 another; 0 if one is flat."""
    first, second = signatures([one, other])
    return float(first @ second)


def same_pictures(one: Sequence[np.ndarray], other: Sequence[np.ndarray]) -> Iterator[tuple[int, int]]:
    """Every (i, j) whose thumbnails one[i] and other[j] show the same photograph, possibly re-encoded or resized."""
    if not len(one) or not len(other):
        return
    coarse = signatures(other, COARSE).T
    for start in range(0, len(one), ROWS):
        close = signatures(one[start : start + ROWS], COARSE) @ coarse > COARSELY_ALIKE
        for i, j in np.argwhere(close):
            if likeness(one[start + i], other[j]) > ALIKE:
                yield start + int(i), int(j)


def fit(lr: np.ndarray, hr: np.ndarray, scale: int) -> tuple[float, tuple[int, int]] | None:
    """(likeness, (down, right)): how well LR fits its HR where it fits best, and how many HR pixels off that is.

    lr: h,w,3 and hr: scale*h,scale*w,3, uint8. The part with the most detail is compared with the HR resized
    by `imresize`, shifted by up to two LR pixels in steps of an HR pixel. (0, 0) unless another place fits
    clearly better, by a whole HR pixel. None where the pictures are too small or too flat.
    """
    height, width = lr.shape[:2]
    side = min(WINDOW, min(height, width) - 2 * PAD - 1)
    if side < SMALLEST:
        return None
    top, left = most_detail(luma(hr[::scale, ::scale]), side)
    inside = np.s_[top : top + side, left : left + side]
    part = unit(high_pass(luma(lr), RADIUS)[inside])
    row, column, span = (top - PAD) * scale, (left - PAD) * scale, (side + 2 * PAD) * scale
    around = luma(hr[row : row + span + scale, column : column + span + scale])

    def resized(down: int, right: int) -> np.ndarray:
        return high_pass(imresize(around[down : down + span, right : right + span], 1 / scale), RADIUS)

    def alike(plane: np.ndarray, down: int = 0, right: int = 0) -> float:
        return float((unit(plane[PAD + down : PAD + down + side, PAD + right : PAD + right + side]) * part).sum())

    unshifted = resized(0, 0)
    if unshifted[PAD:-PAD, PAD:-PAD].std() < FLAT:
        return None
    # A pixel picked as it is, as nearest does, lies half a pixel off at an even scale: that is not a shift.
    middle = {(scale - 1) // 2, scale // 2}
    picked = [high_pass(around[y:span:scale, x:span:scale], RADIUS) for y, x in product(middle, repeat=2)]
    if (found := max(map(alike, [unshifted, *picked]))) > EXACT:
        return found, (0, 0)
    unlike = {}
    steps = range(-REACH - 1, REACH + 2)
    for y, x in product(range(scale), repeat=2):
        plane = resized(y, x)
        for down, right in product(steps, repeat=2):
            unlike[down * scale + y, right * scale + x] = 1 - alike(plane, down, right)
    best = min((place for place in unlike if max(map(abs, place)) <= REACH * scale), key=lambda place: unlike[place])
    clear = unlike[best] < CLEARLY * unlike[0, 0] and max(map(abs, lowest(unlike, *best))) >= PART_OF_A_PIXEL
    return 1 - unlike[best], best if clear else (0, 0)


def most_detail(gray: np.ndarray, side: int) -> tuple[int, int]:
    """Top and left, of a few places, of the square of `side` with the most detail."""
    detail = high_pass(gray, RADIUS)
    tops, lefts = (sorted(set(np.linspace(PAD, n - side - PAD - 1, 4).astype(int))) for n in gray.shape)
    top, left = max(product(tops, lefts), key=lambda p: detail[p[0] : p[0] + side, p[1] : p[1] + side].std())
    return int(top), int(left)


def unit(plane: np.ndarray) -> np.ndarray:
    plane = plane - plane.mean()
    return plane / max(float(np.linalg.norm(plane)), 1e-9)


def lowest(unlike: dict[tuple[int, int], float], y: int, x: int) -> tuple[float, float]:
    """The lowest point, in parts of an HR pixel, of the parabolas through (y, x) and its neighbours."""

    def vertex(before: float, here: float, after: float) -> float:
        return (before - after) / (2 * max(before - 2 * here + after, 1e-9))

    here = unlike[y, x]
    return (
        y + vertex(unlike[y - 1, x], here, unlike[y + 1, x]),
        x + vertex(unlike[y, x - 1], here, unlike[y, x + 1]),
    )
