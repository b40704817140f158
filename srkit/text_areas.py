"""Find where a picture has text: parts of one brightness, alike in height and stroke, that stand in a line.

No reading, and no network: letters are components of a locally thresholded picture, lines are components that follow
each other, and a logistic model of a line's measures says whether it is text. `benchmarks/fit_text.py` fits that model
on text drawn into photographs. Source of the measures: Epshtein, Ofek and Wexler, Detecting Text in Natural Scenes with
Stroke Width Transform, 2010; Neumann and Matas, Real-Time Scene Text Localization and Recognition, 2012.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from scipy import ndimage
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components
from scipy.spatial import cKDTree

LOWEST, HIGHEST = 5, 28  # height of a letter in pixels of a level of the pyramid
OCTAVES = 3  # levels: letters of up to 112 pixels are found
WINDOW = 25  # pixels of a level, over which a mean says what is bright and what is dark
SPREADS = (0.25, 0.9)  # above the mean by that much of the spread: on a plain ground, and on a busy one
LEAST = 4  # gray levels, and above the mean
FAINTEST = 12  # gray levels between a letter and what is around it
#: Of each measure of a line: mean and spread among all lines, weight of its distance to the mean, and of the square.
MODEL = {
    "count": (0.944, 0.434, 0.577, 0.077),
    "uneven": (0.061, 0.105, 0.221, -0.452),
    "slope": (0.194, 0.225, -0.530, -0.097),
    "gray spread": (0.103, 0.081, -0.848, 0.158),
    "contrast": (3.725, 0.570, 0.804, -0.442),
    "stroke": (0.289, 0.099, -0.753, 0.240),
    "stroke spread": (0.091, 0.074, -0.322, 0.089),
    "width": (1.130, 0.766, -0.107, -0.188),
    "width spread": (0.354, 0.415, -0.329, 0.161),
    "fill": (0.467, 0.118, 0.752, -0.281),
    "cover": (0.863, 0.183, -0.094, -0.289),
    "inside": (0.274, 0.115, -0.774, 0.333),
    "outside": (0.522, 0.234, -0.688, 0.351),
}
BIAS = -3.136
CERTAIN = 1.5  # log odds above which a line is text
PAD = 0.2  # of its height, that a line is marked around itself
FAR = 3.0  # spreads: what is farther from the mean counts as that far


@dataclass(frozen=True)
class Parts:
    """Components that may be letters, a value each.

    Attributes:
        box: n,4: top, left, bottom, right; the last two exclusive.
        gray: mean inside. contrast: to the mean just outside. stroke: mean width. area: pixels.
        inside, outside: standard deviations of the gray levels.
    """

    box: np.ndarray
    gray: np.ndarray
    contrast: np.ndarray
    stroke: np.ndarray
    area: np.ndarray
    inside: np.ndarray
    outside: np.ndarray

    @property
    def height(self) -> np.ndarray:
        return np.asarray(self.box[:, 2] - self.box[:, 0])

    @property
    def width(self) -> np.ndarray:
        return np.asarray(self.box[:, 3] - self.box[:, 1])

    def chosen(self, index: np.ndarray) -> "Parts":
        """Those of an index or a mask."""
        return Parts(*(values[index] for values in vars(self).values()))


def parts_of(plane: np.ndarray, mask: np.ndarray, sign: int, lowest: float) -> Parts:
    """Components of a mask of what is brighter (sign 1) or darker (-1), that have the shape of a letter or a word."""
    labels, count = ndimage.label(mask)
    slices = ndimage.find_objects(labels)
    box = np.array([(s[0].start, s[1].start, s[0].stop, s[1].stop) for s in slices], int).reshape(-1, 4)
    height, width = (box[:, 2:] - box[:, :2]).T
    area = np.bincount(labels.ravel(), minlength=count + 1)[1:]
    shaped = (height >= lowest) & (height <= HIGHEST) & (width <= 10 * height) & (area >= 0.12 * height * width)
    index = np.concatenate([[0], np.where(shaped, np.cumsum(shaped), 0)]).astype(np.int32)
    labels, box, area = index[labels], box[shaped], area[shaped]
    mask = labels > 0
    count = len(area)
    core = mask.copy()
    for axis in (0, 1):
        for step in (1, -1):
            core &= np.roll(mask, step, axis)
    border = np.bincount(labels[mask & ~core], minlength=count + 1)[1:]
    near = grown(labels)
    far = np.where(near > 0, 0, grown(near))  # a pixel apart, where no blur reaches
    gray, inside = mean_and_spread(labels, plane, count)
    around, outside = mean_and_spread(far, plane, count)
    contrast = sign * (gray - around)
    stroke = 2 * area / np.maximum(border, 1)
    found = Parts(box, gray, contrast, stroke, area, inside=inside, outside=outside)
    return found.chosen((contrast >= FAINTEST) & (stroke <= 0.75 * found.height + 1))


def grown(labels: np.ndarray) -> np.ndarray:
    """The largest of each 3x3 square."""
    for turned in (lambda plane: plane, np.transpose):
        labels = labels.copy()
        wide, narrow = turned(labels), turned(labels.copy())
        np.maximum(wide[1:], narrow[:-1], out=wide[1:])
        np.maximum(wide[:-1], narrow[1:], out=wide[:-1])
    return labels


def mean_and_spread(labels: np.ndarray, plane: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray]:
    there = labels > 0
    which, values = labels[there], plane[there].astype(np.float64)
    pixels = np.maximum(np.bincount(which, minlength=count + 1)[1:], 1)
    mean = np.bincount(which, values, count + 1)[1:] / pixels
    square = np.bincount(which, values**2, count + 1)[1:] / pixels
    return mean, np.sqrt(np.maximum(square - mean**2, 0))


def in_lines(parts: Parts) -> tuple[Parts, np.ndarray]:
    """Parts sorted by line and from left to right, and where each line begins; of lines of two at least.

    Two parts are in one line where one follows the other closely, at its height, as bright and as thick.
    """
    nothing = np.zeros(0, int)
    if len(parts.gray) < 2:
        return parts.chosen(nothing), nothing
    middle = (parts.box[:, 0] + parts.box[:, 2]) / 2
    ends, begins = (cKDTree(np.column_stack([parts.box[:, side], middle])) for side in (3, 1))
    near = ends.sparse_distance_matrix(begins, HIGHEST, output_type="coo_matrix")
    a, b = near.row, near.col
    one, two = parts.chosen(a), parts.chosen(b)
    low, high = np.minimum(one.height, two.height), np.maximum(one.height, two.height)
    gap = two.box[:, 1] - one.box[:, 3]
    shared = np.minimum(one.box[:, 2], two.box[:, 2]) - np.maximum(one.box[:, 0], two.box[:, 0])
    follows = (a != b) & (high <= 1.9 * low) & (gap <= 0.9 * high) & (gap >= -0.35 * low) & (shared >= 0.6 * low)
    follows &= np.abs(one.gray - two.gray) <= 0.5 * np.minimum(one.contrast, two.contrast) + 6
    follows &= np.maximum(one.stroke, two.stroke) <= 1.9 * np.minimum(one.stroke, two.stroke) + 0.5
    a, b = a[follows], b[follows]
    count = len(parts.gray)
    line = connected_components(coo_matrix((np.ones(len(a)), (a, b)), (count, count)), directed=False)[1]
    several = np.flatnonzero(np.bincount(line, minlength=count)[line] > 1)
    order = several[np.lexsort((parts.box[several, 1], line[several]))]
    return parts.chosen(order), np.flatnonzero(np.diff(line[order], prepend=-1))


def measures(parts: Parts, begin: np.ndarray) -> np.ndarray:
    """A row of numbers for each line, see `MODEL`."""
    count = np.diff(begin, append=len(parts.gray))
    line = np.repeat(np.arange(len(begin)), count)

    def mean(values: np.ndarray) -> np.ndarray:
        return np.asarray(np.add.reduceat(values.astype(np.float64), begin) / count)

    def spread(values: np.ndarray) -> np.ndarray:
        return np.asarray(np.sqrt(np.maximum(mean((values - mean(values)[line]) ** 2), 0)))

    height, contrast = mean(parts.height), mean(parts.contrast)
    left, right = np.minimum.reduceat(parts.box[:, 1], begin), np.maximum.reduceat(parts.box[:, 3], begin)
    x = (parts.box[:, 1] + parts.box[:, 3]) / 2
    x = x - mean(x)[line]

    def fitted(y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """(slope, mean distance) of a straight line through points."""
        y = y - mean(y)[line]
        slope = mean(x * y) / np.maximum(mean(x * x), 1e-6)
        return slope, mean(np.abs(y - slope[line] * x)) / height

    (slope, below), (_, above) = fitted(parts.box[:, 2]), fitted(parts.box[:, 0])
    fill = parts.area / (parts.height * parts.width)
    found = {
        "count": np.log(count),
        "uneven": np.maximum(below, above),
        "slope": np.abs(slope),
        "gray spread": spread(parts.gray) / contrast,
        "contrast": np.log(contrast),
        "stroke": mean(parts.stroke) / height,
        "stroke spread": spread(parts.stroke) / mean(parts.stroke),
        "width": mean(parts.width) / height,
        "width spread": spread(parts.width) / height,
        "fill": mean(fill),
        "cover": mean(parts.width) * count / (right - left),
        "inside": mean(parts.inside / parts.contrast),
        "outside": mean(parts.outside / parts.contrast),
    }
    return np.column_stack([found[name] for name in MODEL])


def levels(plane: np.ndarray) -> Iterator[tuple[int, np.ndarray]]:
    """(factor, plane): the picture, and again at half the size, as often as there are octaves."""
    for octave in range(OCTAVES):
        yield 2**octave, plane
        rows, columns = plane.shape[0] // 2, plane.shape[1] // 2
        if min(rows, columns) < 2 * WINDOW:
            return
        plane = plane[: 2 * rows, : 2 * columns].reshape(rows, 2, columns, 2).mean(axis=(1, 3))


def lines_in(plane: np.ndarray) -> Iterator[tuple[int, Parts, np.ndarray]]:
    """(factor, parts, begin) for each level, polarity and threshold: what `in_lines` gives of it."""
    for factor, level in levels(plane):
        lowest = LOWEST if factor == 1 else 0.4 * HIGHEST
        mean = ndimage.uniform_filter(level, WINDOW)
        deviation = np.sqrt(np.maximum(ndimage.uniform_filter(level * level, WINDOW) - mean**2, 0))
        for sign in (1, -1):
            for spread in SPREADS:
                apart = sign * (level - mean) > spread * deviation + LEAST
                yield factor, *in_lines(parts_of(level, apart, sign, lowest))


def scores_of(parts: Parts, begin: np.ndarray) -> np.ndarray:
    """The log odds that each line is text."""
    mean, spread, weight, square = np.array(list(MODEL.values())).T
    apart = np.clip((measures(parts, begin) - mean) / spread, -FAR, FAR)
    return np.asarray(BIAS + apart @ weight + apart**2 @ square)


def filled(parts: Parts, begin: np.ndarray) -> np.ndarray:
    """n,4: the boxes of the parts, each as high as itself and its neighbours, up to the next part of its line."""
    box = parts.box.copy()
    last = np.zeros(len(box), bool)
    last[np.append(begin[1:], len(box)) - 1] = True
    here, after = np.flatnonzero(~last), np.flatnonzero(~last) + 1
    top, bottom = box[:, 0].copy(), box[:, 2].copy()
    for one, other in ((here, after), (after, here)):
        top[one] = np.minimum(top[one], box[other, 0])
        bottom[one] = np.maximum(bottom[one], box[other, 2])
    box[:, 0], box[:, 2] = top, bottom
    box[here, 3] = np.maximum(box[here, 3], box[after, 1])
    margin = (PAD * (bottom - top)).round().astype(int)
    return np.asarray(box + np.column_stack([-margin, -margin, margin, margin]))


def text_mask(luma: np.ndarray, least: float = CERTAIN) -> np.ndarray:
    """Where a picture has text: luma H,W in 0..255 -> H,W bool; whole lines, with what is between the letters.

    least: the log odds of a line that is marked. Letters are 5 to 112 pixels high; lines run from left to right, by up
    to some ten degrees aslant. Letters that touch their ground, that stand alone, or that are fainter than twelve gray
    levels are missed.
    """
    plane = luma.astype(np.float32)
    marked = np.zeros(luma.shape, bool)
    for factor, parts, begin in lines_in(plane):
        if not len(begin):
            continue
        text = scores_of(parts, begin) > least
        boxes = filled(parts, begin)[np.repeat(text, np.diff(begin, append=len(parts.gray)))]
        for top, left, bottom, right in np.maximum(boxes, 0) * factor:
            marked[top:bottom, left:right] = True
    return marked
