"""What is in a picture, measured from its pixels: so that a set is scored by groups, and shows where a model fails.

Each measure is one number with one threshold, chosen on 60 pictures that were tagged by hand; docs/bench.md says how
often it agrees with them. A picture may be in several groups, or in none.
"""

from collections.abc import Iterator

import numpy as np
from scipy import ndimage
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components

from srkit.data.jpeg_blocks import jpeg_quality
from srkit.data.likeness import high_pass, luma
from srkit.evaluate.traits import CONTENT
from srkit.text_areas import text_mask

LARGEST = 4_000_000  # pixels of a picture that are looked at; a larger one is made smaller by a whole number

FLAT_SHARE, TILE, DETAIL = 0.398, 16, 4.0  # tiles of 16x16 whose detail is below 4 gray levels
DARK_SHARE, DARK = 0.475, 64
TEXT_SHARE, TEXT_PIXELS = 0.15, 1_000_000
EDGE_SHARE, EDGE_SIDE = 0.0457, 768  # longer side of the picture in which edges are looked for
STRONG, SECTORS, LONG, THICK = 8.0, 16, 16.0, 4.0  # gray levels a pixel; directions; pixels
REPEAT_SHARE, REPEAT_SIDE, REPEAT_TILE, CLEAR = 0.05, 1024, 48, 0.2
SHORTEST, ANGLES, TEXTURE = 3, 16, 4.0  # period in pixels; directions; gray levels


def groups_in(rgb: np.ndarray) -> list[str]:
    """The names, of `CONTENT`, that fit a picture: H,W,3 uint8."""
    gray = smaller(luma(rgb), pixels=LARGEST)
    text = text_mask(smaller(gray, pixels=TEXT_PIXELS))
    fits = {
        "flat": flat_share(gray) >= FLAT_SHARE,
        "edges": edge_share(smaller(gray, side=EDGE_SIDE)) >= EDGE_SHARE,
        "repeating": repeat_share(smaller(gray, side=REPEAT_SIDE), text) >= REPEAT_SHARE,
        "text": float(text.mean()) >= TEXT_SHARE,
        "dark": float((gray < DARK).mean()) >= DARK_SHARE,
        "compressed": jpeg_quality(rgb) is not None,
    }
    return [name for name in CONTENT if fits[name]]


def smaller(plane: np.ndarray, *, pixels: int = 0, side: int = 0) -> np.ndarray:
    """Means of whole blocks, so that it has no more pixels than that, or no longer side."""
    factor = 1
    while (pixels and plane.size > pixels * factor**2) or (side and max(plane.shape) > side * factor):
        factor += 1
    rows, columns = (max(1, n // factor) for n in plane.shape)
    if factor == 1 or min(plane.shape) < factor:
        return plane
    cut = plane[: rows * factor, : columns * factor]
    return np.asarray(cut.reshape(rows, factor, columns, factor).mean(axis=(1, 3)))


def tiles(plane: np.ndarray, side: int) -> np.ndarray:
    """H,W -> n,side,side: the whole tiles; none of a picture that is smaller."""
    rows, columns = plane.shape[0] // side, plane.shape[1] // side
    cut = plane[: rows * side, : columns * side]
    return cut.reshape(rows, side, columns, side).swapaxes(1, 2).reshape(-1, side, side)


def share(found: np.ndarray) -> float:
    return float(found.mean()) if found.size else 0.0


def flat_share(gray: np.ndarray) -> float:
    """The share of tiles without detail: sky, walls, what is out of focus."""
    return share(tiles(high_pass(gray, 4), TILE).std(axis=(1, 2)) < DETAIL)


def edge_share(gray: np.ndarray) -> float:
    """The share of pixels on long, thin, straight edges.

    Neighbours whose gradients are strong and point the same way are one edge. Source: Burns, Hanson and Riseman,
    Extracting Straight Lines, 1986.
    """
    smooth = ndimage.gaussian_filter(gray, 0.8)
    down, right = ndimage.sobel(smooth, 0) / 8, ndimage.sobel(smooth, 1) / 8
    strong = np.hypot(down, right) > STRONG
    turn = np.arctan2(down, right) / (2 * np.pi) * SECTORS
    y, x = np.nonzero(strong)
    found = np.zeros(len(y), bool)
    for shift in (0, 0.5):  # an edge on the border of two directions is whole in the other division
        sector = np.floor(turn[strong] + shift).astype(int) % SECTORS
        part = connected(strong, sector)
        length, thickness = extents(y, x, part)
        found |= ((length >= LONG) & (thickness < THICK) & (length > 5 * thickness))[part]
    return float(found.sum()) / gray.size


def connected(there: np.ndarray, value: np.ndarray) -> np.ndarray:
    """The number of the component each pixel of a mask is in, of neighbours that have the same value."""
    number = np.full(np.array(there.shape) + 2, -1)
    number[1:-1, 1:-1][there] = np.arange(len(value))
    here = number[1:-1, 1:-1][there]
    pairs = []
    for down, right in ((0, 1), (1, -1), (1, 0), (1, 1)):
        beside = number[1 + down :, 1 + right :][: there.shape[0], : there.shape[1]][there]
        same = (beside >= 0) & (value[beside] == value)
        pairs.append(np.stack([here[same], beside[same]]))
    one, other = np.concatenate(pairs, axis=1)
    graph = coo_matrix((np.ones(len(one), bool), (one, other)), (len(value), len(value)))
    return np.asarray(connected_components(graph, directed=False)[1])


def extents(y: np.ndarray, x: np.ndarray, part: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(length, thickness) of each component, of the bar that has the same second moments."""
    pixels = np.bincount(part)

    def mean(values: np.ndarray) -> np.ndarray:
        return np.bincount(part, values) / pixels

    y, x = y - mean(y)[part], x - mean(x)[part]
    yy, xx, xy = mean(y * y), mean(x * x), mean(x * y)
    apart = np.sqrt(((yy - xx) / 2) ** 2 + xy**2)
    middle = (yy + xx) / 2
    return np.sqrt(12 * (middle + apart)), np.sqrt(12 * np.maximum(middle - apart, 0))


def repeat_share(gray: np.ndarray, text: np.ndarray) -> float:
    """The share of tiles with a texture that repeats, less those with text, which repeats too.

    text: a mask of the same picture, of any size.
    """
    size = REPEAT_TILE
    if not len(whole := tiles(gray.astype(np.float32), size)):
        return 0.0
    rows, columns = ((np.arange(n) * m // n) for n, m in zip(gray.shape, text.shape, strict=True))
    lettered = tiles(text[rows][:, columns], size).mean(axis=(1, 2)) > 0.2
    return share(np.concatenate([periodic(part) for part in np.array_split(whole, -(-len(whole) // 256))]) & ~lettered)


def periodic(whole: np.ndarray) -> np.ndarray:
    """n,side,side -> n bool: in some direction there is a distance at which a tile is like itself, and at twice it,
    and unlike at half of it between."""
    side = whole.shape[1]
    whole = whole - whole.mean(axis=(1, 2), keepdims=True)
    size = 2 * side
    alike = correlation(whole, size) / np.maximum((whole**2).sum(axis=(1, 2)), 1e-6)[:, None, None]
    pairs = correlation(np.ones((1, side, side), np.float32), size)[0]
    alike *= side**2 / np.maximum(pairs, side**2 / 4)  # as a mean of the pixels that overlap
    found = np.zeros(len(whole), bool)
    distance = np.arange(SHORTEST, side // 3 + 1)
    for down, right in directions(ANGLES):

        def at(times: float, down: float = down, right: float = right) -> np.ndarray:
            places = (np.rint(times * distance * step).astype(int) % size for step in (down, right))
            return np.asarray(alike[(slice(None), *places)])

        between = at(0.5), at(1.5)
        clear = np.minimum(at(1) - np.maximum(*between), at(2) - between[1])
        found |= clear.max(axis=1) > CLEAR
    return np.asarray(found & (whole.std(axis=(1, 2)) > TEXTURE))


def correlation(whole: np.ndarray, size: int) -> np.ndarray:
    """The autocorrelation of each tile, not normalised."""
    return np.asarray(np.fft.irfft2(np.abs(np.fft.rfft2(whole, (size, size))) ** 2, (size, size)))


def directions(count: int) -> Iterator[tuple[float, float]]:
    for number in range(count):
        angle = np.pi * number / count
        yield float(np.sin(angle)), float(np.cos(angle))
