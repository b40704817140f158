"""How sharp is a picture where it is sharpest? By the width of edges, so that a plain subject is not called blurred.

The share that the steepest pixel of an edge has of what the gray values around it span: more than a half where a lens
and a sensor or a good kernel made it, a seventh on a ramp. It is taken at the sharpest edges of the sharpest tile,
since a photograph may be blurred on purpose around its subject, and in that of four directions in which these are least
sharp, since motion blurs one. Source: Marziliano, Dufaux, Winkler and Ebrahimi, A no-reference perceptual blur metric,
2002 (widths of edges); Narvekar and Karam, CPBD, 2011 (the sharpest part decides). The variance of the Laplacian comes
with it: Pech-Pacheco et al., Diatom autofocusing in brightfield microscopy, 2000.
"""

from dataclasses import dataclass

import numpy as np

DIRECTIONS = ((0, 1), (1, 0), (1, 1), (1, -1))  # each pair of them is perpendicular
BEFORE, AFTER = 3, 4  # pixels to both sides of a place: a rise over seven
REACH = max(BEFORE, AFTER)
STRONG = 24  # gray levels of a rise
TILE = 128  # side of a part that may be the sharp one
SHARPEST = 95  # per cent of a tile's strong edges are less sharp
ENOUGH = 100  # edges of one direction in a tile


@dataclass(frozen=True)
class Sharpness:
    """edges: the share described above, 0.14 to 1; None where a picture has too few edges. laplacian: its variance."""

    edges: float | None
    laplacian: float


def sharpness(gray: np.ndarray) -> Sharpness:
    """gray: H,W float32 in 0..255."""
    height, width = gray.shape
    if min(height, width) < 2 * REACH + 2:
        return Sharpness(None, 0.0)
    moments = np.zeros(3)
    best = np.zeros(len(DIRECTIONS))
    for top in range(0, height - 2 * REACH, TILE):  # a few rows at a time, so that they stay in the cache
        band = gray[top : top + TILE + 2 * REACH]
        moments += laplacian_moments(band)
        best = np.maximum(best, sharpest(band))
    count, total, squares = moments
    found = [float(each) for each in best if each]
    edges = round(min(found), 4) if found else None
    return Sharpness(edges, float(squares / count - (total / count) ** 2))


def sharpest(band: np.ndarray) -> np.ndarray:
    """The share at the sharpest edges of the sharpest tile of a row of tiles, by direction; 0 where there is none."""
    best = np.zeros(len(DIRECTIONS))
    rises = [rise(band, *direction) for direction in DIRECTIONS]
    for number, direction in enumerate(DIRECTIONS):
        edge = (rises[number] > STRONG) & (rises[number] >= rises[number ^ 1])
        if np.count_nonzero(edge) < ENOUGH:
            continue
        y, x = np.nonzero(edge)
        shares = shares_at(band, y + REACH, x + REACH, direction)
        tile = x // TILE
        for each in np.flatnonzero(np.bincount(tile) >= ENOUGH):
            best[number] = max(best[number], np.percentile(shares[tile == each], SHARPEST))
    return best


def rise(band: np.ndarray, down: int, right: int) -> np.ndarray:
    """The difference over seven pixels in a direction, at each pixel but the outer ones."""
    height, width = band.shape

    def at(steps: int) -> np.ndarray:
        y, x = REACH + steps * down, REACH + steps * right
        return band[y : y + height - 2 * REACH, x : x + width - 2 * REACH]

    found: np.ndarray = np.abs(at(AFTER) - at(-BEFORE))
    return found


def shares_at(band: np.ndarray, y: np.ndarray, x: np.ndarray, direction: tuple[int, int]) -> np.ndarray:
    """The step from each place to the next pixel, as a share of what the eight pixels around it span."""
    down, right = direction
    line = np.stack([band[y + step * down, x + step * right] for step in range(-BEFORE, AFTER + 1)])
    found: np.ndarray = np.abs(line[BEFORE + 1] - line[BEFORE]) / np.ptp(line, axis=0)
    return found


def laplacian_moments(band: np.ndarray) -> np.ndarray:
    """How many values there are, their sum and the sum of their squares."""
    edge = REACH - 1
    inner = band[edge : len(band) - edge, edge:-edge]
    centre = inner[1:-1, 1:-1]
    around = inner[:-2, 1:-1] + inner[2:, 1:-1] + inner[1:-1, :-2] + inner[1:-1, 2:]
    values = (around - 4 * centre).astype(np.float64)
    return np.array([values.size, values.sum(), np.square(values).sum()])
