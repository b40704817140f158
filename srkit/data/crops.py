"""Find a part of a photograph again, cut out, resized or re-encoded: which thumbnails of whole pictures cannot.

Blobs of a small gray picture are described by the gradients around them, upright and at their own scale; of two
pictures whose blobs match, the one placement that most matches agree on is compared by pixels. Source: Lowe,
Distinctive image features from scale-invariant keypoints, 2004.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from PIL import Image
from scipy import ndimage

from srkit.data.likeness import ALIKE, likeness, thumbnail

SIDE = 256  # longer side of the gray picture
SIGMAS = tuple(1.2 * 2 ** (k / 2) for k in range(8))
BLOBS = 80  # the clearest of a picture
CONTRAST = 1.0  # gray levels a blob has, or more
CELLS, SAMPLES, ANGLES = 4, 16, 8  # a descriptor: 4x4 cells of 4x4 samples each, 8 directions
SPACING = 0.75  # from sample to sample, in sigmas
MATCH = 0.88  # inner product of two descriptors
AGREEING = 5  # matches that agree on a placement
NEAR, NEAR_SCALE = 6.0, 0.6  # pixels of the gray picture, and of the logarithm of the scale, within which they agree
CLOSER = (6.0, 4.0, 2.5, 1.5)  # pixels: the placement is fitted again to those that it fits better and better
INSIDE = 0.75  # of the smaller picture lies within the other
SHIFTS = (-1, 0, 1)  # pixels, tried around the placement
TOGETHER = 20_000_000  # pairs of blobs compared at once


@dataclass(frozen=True)
class Blobs:
    """places: n,3 float32, x, y and sigma in pixels of the gray picture. around: n,128 float32 of length 1."""

    places: np.ndarray
    around: np.ndarray


@dataclass(frozen=True)
class Placement:
    """A pixel x, y of the smaller gray picture lies at scale * (x, y) + (right, down) of the other one."""

    scale: float
    right: float
    down: float


def small_gray(rgb: np.ndarray) -> np.ndarray:
    """H,W,3 uint8 -> h,w uint8, its longer side 256 pixels or what it has."""
    image = Image.fromarray(rgb).convert("L")
    image.thumbnail((SIDE, SIDE), Image.Resampling.BOX)
    return np.asarray(image)


def blobs(gray: np.ndarray) -> Blobs:
    """The clearest blobs of a small gray picture, h,w uint8."""
    plane = gray.astype(np.float32)
    smooth = np.stack([ndimage.gaussian_filter(plane, sigma, mode="nearest") for sigma in SIGMAS])
    differences = np.abs(np.diff(smooth, axis=0))
    peak = (differences == ndimage.maximum_filter(differences, 3)) & (differences > CONTRAST)
    peak[[0, -1]] = False
    level, y, x = np.nonzero(peak)
    clearest = np.argsort(-differences[level, y, x], kind="stable")[:BLOBS]
    level, y, x = level[clearest], y[clearest], x[clearest]
    around = np.zeros((len(level), CELLS * CELLS * ANGLES), np.float32)
    for one in np.unique(level):
        those = level == one
        around[those] = described(smooth[one], y[those], x[those], SIGMAS[one])
    sigma = np.asarray(SIGMAS, np.float32)[level]
    return Blobs(np.stack([x, y, sigma], axis=1).astype(np.float32), around)


def described(smooth: np.ndarray, y: np.ndarray, x: np.ndarray, sigma: float) -> np.ndarray:
    """n,128 of length 1: how strong the gradient is in each direction, in each cell around each place."""
    down, right = np.gradient(smooth)
    grid = (np.arange(SAMPLES) - (SAMPLES - 1) / 2) * SPACING * sigma
    rows = np.clip(np.rint(y[:, None] + grid), 0, len(smooth) - 1).astype(int)[:, :, None]
    columns = np.clip(np.rint(x[:, None] + grid), 0, smooth.shape[1] - 1).astype(int)[:, None, :]
    dy, dx = down[rows, columns], right[rows, columns]  # n,16,16
    angles = 2 * np.pi * np.arange(ANGLES) / ANGLES
    along = dx[..., None] * np.cos(angles) + dy[..., None] * np.sin(angles)
    strength = np.hypot(dx, dy)[..., None]
    parts = np.maximum(along, 0) ** 2 / np.maximum(strength, 1e-6)  # soft bins: the square of the cosine
    per = SAMPLES // CELLS
    cells = parts.reshape(-1, CELLS, per, CELLS, per, ANGLES).sum(axis=(2, 4)).reshape(len(y), -1)
    found = np.minimum(unit(cells), 0.2)  # one strong edge is not all
    return unit(found)


def unit(rows: np.ndarray) -> np.ndarray:
    return np.asarray(rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-9), np.float32)


def cut_from(found: Sequence[Blobs], gray: Callable[[int], np.ndarray]) -> Iterator[tuple[int, int]]:
    """Every (i, j) where picture i is a part of picture j, or both show the same.

    gray: gives `small_gray` of a picture; it is asked of those whose blobs match.
    """
    kept = lru_cache(maxsize=64)(gray)
    owner = np.repeat(np.arange(len(found)), [len(one.places) for one in found])
    if not len(owner):
        return
    around = np.concatenate([one.around for one in found])
    pictures = max(1, TOGETHER // BLOBS // len(owner))
    for first in range(0, len(found), pictures):
        start, end = np.searchsorted(owner, (first, first + pictures))
        one, other = np.nonzero(around[start:end] @ around[start:].T > MATCH)
        i, j = owner[one + start], owner[other + start]
        for pair in frequent((i * len(found) + j)[i < j]):
            part, whole = divmod(int(pair), len(found))
            yield from placed(part, whole, found, kept)


def frequent(pairs: np.ndarray) -> np.ndarray:
    """The values that are there often enough."""
    values, counts = np.unique(pairs, return_counts=True)
    return np.asarray(values[counts >= AGREEING])


def placed(i: int, j: int, found: Sequence[Blobs], gray: Callable[[int], np.ndarray]) -> Iterator[tuple[int, int]]:
    """(i, j) or (j, i), the part before the picture that it is cut from, if one is."""
    one, other = matches(found[i], found[j])
    for part, whole, from_part, from_whole in ((i, j, one, other), (j, i, other, one)):
        placement = agreed(from_part, from_whole)
        if placement is not None and looks_alike(gray(part), gray(whole), placement):
            yield part, whole
            return


def matches(one: Blobs, other: Blobs) -> tuple[np.ndarray, np.ndarray]:
    """The places, n,3 each, of the blobs that are each other's best match: of what repeats, that is not any of them."""
    alike = one.around @ other.around.T
    best = alike.argmax(axis=1)
    mutual = (alike.argmax(axis=0)[best] == np.arange(len(best))) & (alike.max(axis=1) > MATCH)
    return one.places[mutual], other.places[best[mutual]]


def agreed(part: np.ndarray, whole: np.ndarray) -> Placement | None:
    """The placement that most matches agree on, fitted to these; None where too few do."""
    if len(part) < AGREEING:
        return None
    scales = whole[:, 2] / part[:, 2]
    shifts = whole[:, :2] - scales[:, None] * part[:, :2]
    expected = scales[:, None, None] * part[None, :, :2] + shifts[:, None]  # by each match, where each blob should be
    close = np.hypot(*np.moveaxis(expected - whole[None, :, :2], 2, 0)) < NEAR
    close &= np.abs(np.log(scales[:, None] / scales[None])) < NEAR_SCALE
    best = close[close.sum(axis=1).argmax()]
    found = None
    for near in CLOSER:
        if found is not None:
            best = np.hypot(*(found.scale * part[:, :2] + (found.right, found.down) - whole[:, :2]).T) < near
        if min(len(np.unique(np.rint(places[best, :2]), axis=0)) for places in (part, whole)) < AGREEING:
            return None
        found = fitted(part[best, :2].astype(np.float64), whole[best, :2].astype(np.float64))
        if found is None:
            return None
    return found


def fitted(part: np.ndarray, whole: np.ndarray) -> Placement | None:
    """The placement with the least squared distances; None where it turns the picture around."""
    middle, there = part.mean(axis=0), whole.mean(axis=0)
    spread = float(np.square(part - middle).sum())
    scale = float(((part - middle) * (whole - there)).sum()) / max(spread, 1e-9)
    if scale <= 0:
        return None
    right, down = there - scale * middle
    return Placement(scale, float(right), float(down))


def looks_alike(part: np.ndarray, whole: np.ndarray, placement: Placement) -> bool:
    """Whether the pixels of `part` are those of `whole` where it was placed, and it lies within."""
    for down in SHIFTS:
        for right in SHIFTS:
            pair = overlap(part, whole, Placement(placement.scale, placement.right + right, placement.down + down))
            if pair is not None and likeness(*(thumbnail(np.repeat(p[..., None], 3, 2)) for p in pair)) > ALIKE:
                return True
    return False


def overlap(part: np.ndarray, whole: np.ndarray, at: Placement) -> tuple[np.ndarray, np.ndarray] | None:
    """What both show, cut from each; None where too little of the part lies within the whole, or it is too small."""
    (height, width), (whole_height, whole_width) = part.shape, whole.shape
    left, top = max(0.0, at.right), max(0.0, at.down)
    right = min(float(whole_width), at.right + at.scale * width)
    bottom = min(float(whole_height), at.down + at.scale * height)
    if min(right - left, bottom - top) < 32 or (right - left) * (bottom - top) < INSIDE * at.scale**2 * width * height:
        return None
    box = [round(v) for v in (left, top, right, bottom)]
    mine = [round(v) for v in ((left - at.right) / at.scale, (top - at.down) / at.scale,
                                    (right - at.right) / at.scale, (bottom - at.down) / at.scale)]  # fmt: skip
    return part[mine[1] : mine[3], mine[0] : mine[2]], whole[box[1] : box[3], box[0] : box[2]]
