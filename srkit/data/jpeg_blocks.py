"""Was a picture once a JPEG of low quality? Decided from its pixels, so that a PNG saved from one is found too.

A JPEG's 8x8 blocks, transformed again, have coefficients near multiples of the quantisation steps; a picture
that was resized afterwards, or never was a JPEG, has them anywhere. Source: Fan and de Queiroz, Identification of
Bitmap Compression History, 2003; the grid's place is searched too, since a crop moves it.
"""

import numpy as np

from srkit.data.likeness import luma

SIDE = 768  # of the part in the middle that is looked at
SMALLEST = 64
GRID = ((0, 3), (3, 0), (2, 2), (4, 4))  # (row, column) frequencies whose zeros show where the blocks begin
STEPS = {(0, 1): 11, (1, 0): 12, (1, 1): 12, (0, 2): 10, (2, 0): 14}  # luma steps of the JPEG standard at quality 50
SEARCHED = range(3, 65)
TRACED = range(2, 6)
VALUES = 25  # coefficients that are not zero, below which a frequency is not used
COMBED = 0.5  # mean cosine above which they lie on multiples; below 0.2 where there was no JPEG
VISIBLE = 5  # the smallest median step that is reported: quality 80

_n = np.arange(8)
DCT = np.array([np.sqrt((2 if u else 1) / 8) * np.cos((2 * _n + 1) * u * np.pi / 16) for u in range(8)], np.float32)


def jpeg_quality(rgb: np.ndarray) -> int | None:
    """The quality, on libjpeg's scale, of the JPEG that `rgb` (H,W,3 uint8) once was, if that is 80 or less.

    None for a picture that was no JPEG, was one of better quality, was resized since, or is too small or too flat.
    """
    if min(rgb.shape[:2]) < SMALLEST:
        return None
    found = [step_of(values) for values in coefficients(rgb)]
    if np.median([score for _, score in found]) < COMBED or np.median([step for step, _ in found]) < VISIBLE:
        return None
    percent = 100 * float(np.median([step / base for (step, _), base in zip(found, STEPS.values(), strict=True)]))
    return round(5000 / percent if percent > 100 else (200 - percent) / 2)


def jpeg_trace(rgb: np.ndarray) -> float:
    """How clearly coefficients lie on multiples of any step from 2: of two copies, more in the one saved once more.

    The mean cosine, 0 where nothing shows, to 1; of H,W,3 uint8. By itself it says nothing of a picture.
    """
    if min(rgb.shape[:2]) < SMALLEST:
        return 0.0
    found = coefficients(rgb)
    combs = [[cosine(values[values > step / 2], step) for values in found] for step in TRACED]
    return float(max(np.median(comb) for comb in combs))


def cosine(values: np.ndarray, step: int) -> float:
    """1 where all values are multiples of the step; 0 for too few."""
    return float(np.cos(2 * np.pi * values / step).mean()) if len(values) >= VALUES else 0.0


def coefficients(rgb: np.ndarray) -> list[np.ndarray]:
    """Of the part in the middle, the absolute coefficients of each frequency of `STEPS`, on the blocks' own grid."""
    height, width = rgb.shape[:2]
    top, left = max(0, (height - SIDE) // 2), max(0, (width - SIDE) // 2)
    rgb = rgb[top : top + SIDE, left : left + SIDE]
    gray = luma(rgb)
    y, x = grid_corner(gray)
    whole = blocks(gray, y, x)
    # Where decoding clipped a value, the coefficients are no longer the file's.
    kept = ~blocks(((rgb == 0) | (rgb == 255)).any(axis=2), y, x).any(axis=(1, 2))
    if kept.sum() > VALUES:
        whole = whole[kept]
    return [np.abs(np.einsum("nij,i,j->n", whole, DCT[u], DCT[v], optimize=True)) for u, v in STEPS]


def grid_corner(gray: np.ndarray) -> tuple[int, int]:
    """Where the first whole block begins: of the 64 places that where the most coefficients are zero."""
    zeros = np.zeros((8, 8))
    for u, v in GRID:
        zero = np.abs(filtered(filtered(gray, DCT[u], 0), DCT[v], 1)) < 1
        zeros += [[zero[y::8, x::8].mean() for x in range(8)] for y in range(8)]
    y, x = np.unravel_index(zeros.argmax(), zeros.shape)
    return int(y), int(x)


def filtered(plane: np.ndarray, taps: np.ndarray, axis: int) -> np.ndarray:
    """The inner product of `taps` with the eight values from each place on."""
    count = plane.shape[axis] - 7
    shifted = (plane[i : i + count] if axis == 0 else plane[:, i : i + count] for i in range(8))
    return sum((tap * part for tap, part in zip(taps, shifted, strict=True)), np.zeros((), np.float32))


def blocks(plane: np.ndarray, y: int, x: int) -> np.ndarray:
    """H,W -> n,8,8: the whole blocks of a grid that begins at y, x."""
    rows, columns = (plane.shape[0] - y) // 8, (plane.shape[1] - x) // 8
    cut = plane[y : y + 8 * rows, x : x + 8 * columns]
    return cut.reshape(rows, 8, columns, 8).swapaxes(1, 2).reshape(-1, 8, 8)


def step_of(values: np.ndarray) -> tuple[int, float]:
    """(step, score): the step whose multiples `values` lie nearest to, and the mean cosine there, 1 if exactly."""
    best = (0, 0.0)
    for step in SEARCHED:
        larger = values[values > step / 2]
        if len(larger) < VALUES:
            break
        score = float(np.cos(2 * np.pi * larger / step).mean())
        best = max(best, (step, score), key=lambda found: found[1])
    return best
