"""Which program made an LR picture from its HR? It is made again by each of them, and the pixels are compared.

The kernels whose result, before any rounding, is near the LR in a part with much detail are found first. Then the
programs with these kernels make a larger part again, bit for bit as they do it: they differ in the order of the
passes, in the rounding between them and at the edges. An LR that was compressed, blurred, or made from another HR is
like none: its maker is unknown.
"""

import math
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from PIL import Image

from srkit.data.likeness import PAD, luma, most_detail
from srkit.data.pairs import shallow
from srkit.imresize import cubic, imresize, lanczos3

WINDOW = 64  # side in LR pixels of the part in which the kernel is found
SMALLEST = 16  # smallest side of that part
EDGE = 4  # LR pixels at the edge, where programs with one kernel differ
REMADE = 256  # side in LR pixels of the part, at the top left, that the programs make again
POSSIBLE = 1.0  # standard deviation in gray levels between LR and a kernel's values, above which it is not that kernel
ROUNDED = 0.5  # what roundings alone do: 0.29 for one, 0.45 for two at most
FAR, ALMOST_ALL = 1.6, 0.999  # so large a part of the values is nearer than FAR, if only roundings lie between
DETAIL = 1.0  # by which two kernels' values must differ for it to be clear which one it is
SAME = 1e-6  # two kernels that differ less are one at this scale
ALMOST_EQUAL = 0.9995  # of the values: the program, on another processor or in another release
TIMES, FEW = 10, 2e-4  # as many unequal values as the best program has, and such a share of them: another program
PICTURES = 8  # of a set are looked at

Remake = Callable[[np.ndarray, tuple[int, int]], Iterable[np.ndarray]]
Taps = tuple[np.ndarray, np.ndarray]

__all__ = ["KERNELS", "MAKERS", "UNKNOWN", "Made", "SetMade", "made_by", "set_made_by"]


def triangle(x: np.ndarray) -> np.ndarray:
    return np.asarray(np.maximum(1 - np.abs(x), 0))


def box(x: np.ndarray) -> np.ndarray:
    return np.asarray(np.abs(x) <= 0.5, np.float64)


def cubic_sharp(x: np.ndarray) -> np.ndarray:
    """Keys' cubic with a = -0.75, which OpenCV has, and torch where it does not antialias."""
    x = np.abs(x)
    near = (1.25 * x**3 - 2.25 * x**2 + 1) * (x <= 1)
    return np.asarray(near + (-0.75 * x**3 + 3.75 * x**2 - 6 * x + 3) * ((x > 1) & (x <= 2)))


def lanczos4(x: np.ndarray) -> np.ndarray:
    return np.asarray(np.sinc(x) * np.sinc(x / 4) * (np.abs(x) < 4))


@dataclass(frozen=True)
class Kernel:
    """radius: of `weight`, in pixels. antialiased: stretched by the scale."""

    summary: str
    weight: Callable[[np.ndarray], np.ndarray]
    radius: float
    antialiased: bool

    def taps(self, length: int, out: int, part: slice) -> Taps:
        """Weights and HR indices (n,taps) of those LR pixels in a line of `length` that becomes one of `out`."""
        ratio = length / out
        stretch = ratio if self.antialiased else 1
        centre = (np.arange(out)[part, None] + 0.5) * ratio - 0.5
        reach = math.ceil(self.radius * stretch)
        places = np.floor(centre) + np.arange(-reach, reach + 2)
        weights = self.weight((centre - places) / stretch)
        used = np.any(weights != 0, axis=0)
        weights = weights[:, used] / weights.sum(axis=1, keepdims=True)
        return weights, np.clip(places[:, used], 0, length - 1).astype(np.int64)

    def values(self, hr: np.ndarray, size: tuple[int, int], rows: slice, columns: slice) -> np.ndarray:
        """That part of an LR of `size` (height, width), in float64, neither rounded nor clipped."""
        return resized(hr, self.taps(hr.shape[0], size[0], rows), self.taps(hr.shape[1], size[1], columns))


ALL = slice(None)
KERNELS = {
    "bicubic": Kernel("bicubic, a = -0.5, antialiased", cubic, 2, True),
    "lanczos": Kernel("Lanczos over 3 lobes, antialiased", lanczos3, 3, True),
    "bilinear": Kernel("bilinear, antialiased", triangle, 1, True),
    "area": Kernel("the mean of a block", box, 0.5, True),
    "bicubic-aliased": Kernel("bicubic, a = -0.75, not antialiased", cubic_sharp, 2, False),
    "keys-aliased": Kernel("bicubic, a = -0.5, not antialiased", cubic, 2, False),
    "bilinear-aliased": Kernel("bilinear, not antialiased", triangle, 1, False),
    "lanczos-aliased": Kernel("Lanczos over 4 lobes, not antialiased", lanczos4, 4, False),
}
NEAREST = "nearest"


def resized(hr: np.ndarray, rows: Taps, columns: Taps) -> np.ndarray:
    first = columns[1].min()
    hr = hr[:, first : columns[1].max() + 1]
    between = np.zeros((len(rows[0]), *hr.shape[1:]))
    for w, i in zip(rows[0].T, rows[1].T, strict=True):
        between += w[:, None, None] * hr[i]
    total = np.zeros((len(rows[0]), len(columns[0]), hr.shape[2]))
    for w, i in zip(columns[0].T, columns[1].T - first, strict=True):
        total += w[:, None] * between[:, i]
    return total


def cut(values: np.ndarray) -> np.ndarray:
    return np.asarray(np.clip(values, 0, 255), np.uint8)


def half_up(values: np.ndarray) -> np.ndarray:
    return cut(np.floor(values + 0.5))


def half_even(values: np.ndarray) -> np.ndarray:
    return cut(np.rint(values))


def matlab(method: str) -> Remake:
    return lambda hr, size: [imresize(hr, size=size, method=method)]


def matlab_ported(hr: np.ndarray, size: tuple[int, int]) -> Iterable[np.ndarray]:
    """`imresize` in floating point, as most of its ports to Python have it: not rounded between the passes."""
    values = imresize(hr.astype(np.float64), size=size)
    return [half_up(values), cut(values)]


def pillow(resampling: Image.Resampling) -> Remake:
    return lambda hr, size: [np.asarray(Image.fromarray(hr).resize(size[::-1], resampling))]


def opencv(kernel: str) -> Remake:
    """OpenCV's, exact where the scale is whole: its weights are fixed-point numbers, which then changes none."""

    def remake(hr: np.ndarray, size: tuple[int, int]) -> Iterable[np.ndarray]:
        taps = [KERNELS[kernel].taps(length, out, ALL) for length, out in zip(hr.shape, size, strict=False)]
        values = resized(hr, *taps)
        return [half_up(values) if kernel == "bilinear-aliased" else half_even(values)]

    return remake


def opencv_area(hr: np.ndarray, size: tuple[int, int]) -> Iterable[np.ndarray]:
    """A mean of four is rounded half up, any other half to even."""
    values = KERNELS["area"].values(hr, size, ALL, ALL)
    return [half_up(values) if hr.shape[0] == 2 * size[0] else half_even(values)]


def torch_resize(mode: str, *, antialias: bool = False) -> Remake:
    """Of float in 0..1, rounded or cut to uint8 as people write it, and antialiased of float in 0..255 too.

    Float in 0..255 that is not antialiased gives OpenCV's pixels, and uint8 that is antialiased Pillow's: they go by
    those names.
    """

    def remake(hr: np.ndarray, size: tuple[int, int]) -> Iterable[np.ndarray]:
        import torch
        from torch.nn.functional import interpolate

        pixels = torch.tensor(hr).permute(2, 0, 1)[None]
        options = {"antialias": True} if antialias else {}

        def made(given: "torch.Tensor") -> np.ndarray:
            return np.asarray(interpolate(given, size=size, mode=mode, **options)[0].permute(1, 2, 0))

        unit = np.clip(made(pixels.float() / 255), 0, 1) * 255
        yield from (half_even(unit), cut(unit))
        if antialias:
            yield half_even(made(pixels.float()))

    return remake


@dataclass(frozen=True)
class Maker:
    """remake(hr, (height, width)) gives its LR, uint8, in each of the ways it is called."""

    name: str
    kernel: str
    remake: Remake


MAKERS = (
    Maker("matlab", "bicubic", matlab("bicubic")),
    Maker("matlab-ported", "bicubic", matlab_ported),
    Maker("pillow-bicubic", "bicubic", pillow(Image.Resampling.BICUBIC)),
    Maker("torch-bicubic-antialias", "bicubic", torch_resize("bicubic", antialias=True)),
    Maker("pillow-lanczos", "lanczos", pillow(Image.Resampling.LANCZOS)),
    Maker("matlab-lanczos3", "lanczos", matlab("lanczos3")),
    Maker("pillow-bilinear", "bilinear", pillow(Image.Resampling.BILINEAR)),
    Maker("torch-bilinear-antialias", "bilinear", torch_resize("bilinear", antialias=True)),
    Maker("opencv-area", "area", opencv_area),
    Maker("pillow-box", "area", pillow(Image.Resampling.BOX)),
    Maker("torch-area", "area", torch_resize("area")),
    Maker("opencv-cubic", "bicubic-aliased", opencv("bicubic-aliased")),
    Maker("torch-bicubic", "bicubic-aliased", torch_resize("bicubic")),
    Maker("opencv-linear", "bilinear-aliased", opencv("bilinear-aliased")),
    Maker("torch-bilinear", "bilinear-aliased", torch_resize("bilinear")),
)


@dataclass(frozen=True)
class Made:
    """What made an LR. kernel: of KERNELS, "nearest", or empty where it is unknown.

    makers: the programs that give these very pixels; none where only the kernel is certain. drifts: it was made from
    the whole HR, whose sides are no multiples of the scale, so that it and the cropped HR drift apart.
    """

    kernel: str = ""
    makers: tuple[str, ...] = ()
    drifts: bool = False

    @property
    def name(self) -> str:
        if not self.kernel:
            return "unknown"
        named = " or ".join(self.makers) or f"{self.kernel} by a program not known"
        return f"{named}, from HR not cropped" if self.drifts else named


UNKNOWN = Made()


def made_by(lr: np.ndarray, hr: np.ndarray, scale: int) -> Made:
    """What made `lr`, h,w,3, of `hr`, whose sides are scale*h and scale*w or up to scale-1 larger. Of 8 bits each.

    UNKNOWN rather than a guess, and for what is too small or too flat. Several makers where they give the same
    pixels: at an odd scale each that does not antialias takes the middle pixel as it is. Raises ValueError where
    the sizes do not fit.
    """
    lr, hr = shallow(lr), shallow(hr)
    height, width = lr.shape[:2]
    if (height, width) != (hr.shape[0] // scale, hr.shape[1] // scale):
        raise ValueError(f"LR {lr.shape[:2]} is not HR {hr.shape[:2]} divided by {scale}")
    if scale < 2 or min(height, width) < SMALLEST + 2 * PAD + 1:
        return UNKNOWN
    cropped = hr[: scale * height, : scale * width]
    rows, columns = min(height, REMADE), min(width, REMADE)
    part = cropped[: scale * (rows + EDGE), : scale * (columns + EDGE)]
    fits = fitting(lr, cropped, scale)
    if max(fits[0].apart(fit) for fit in fits) < DETAIL:  # so little detail that all do the same
        return UNKNOWN
    found = identified(lr[:rows, :columns], part, (part.shape[0] // scale, part.shape[1] // scale), fits)
    if is_taken(lr, cropped, scale):
        return Made(NEAREST, (NEAREST, *found.makers))
    if found.kernel or cropped.shape == hr.shape:
        return found
    return replace(identified(lr, hr, (height, width), fitting(lr, hr, scale)), drifts=True)


def is_taken(lr: np.ndarray, hr: np.ndarray, scale: int) -> bool:
    """Is each LR pixel one of its block, always from the same place?"""
    return any(np.array_equal(lr, hr[y::scale, x::scale]) for y in range(scale) for x in range(scale))


def fitting(lr: np.ndarray, hr: np.ndarray, scale: int) -> list["Fit"]:
    """Each kernel beside `lr` where there is most detail, the nearest first; of green alone, which is enough."""
    height, width = lr.shape[:2]
    side = min(WINDOW, min(height, width) - 2 * PAD - 1)
    top, left = most_detail(luma(hr[::scale, ::scale][:height, :width]), side)
    rows, columns = slice(top, top + side), slice(left, left + side)
    fits = [
        Fit(name, lr[rows, columns, 1:2], np.clip(kernel.values(hr[..., 1:2], (height, width), rows, columns), 0, 255))
        for name, kernel in KERNELS.items()
    ]
    return sorted(fits, key=lambda fit: fit.deviation)


class Fit:
    """deviation: the standard deviation in gray levels of `lr` from the kernel's values before rounding."""

    def __init__(self, kernel: str, lr: np.ndarray, values: np.ndarray):
        self.kernel, self.values = kernel, values
        difference = lr - values
        self.deviation = float(difference.std())
        self.far = float((np.abs(difference - np.median(difference)) > FAR).mean())

    def apart(self, other: "Fit") -> float:
        return float((self.values - other.values).std())


def identified(lr: np.ndarray, hr: np.ndarray, size: tuple[int, int], fits: Sequence[Fit]) -> Made:
    """The program, of those with a kernel that fits, whose LR of `size` begins with `lr`, and its kernel."""
    fit_of = {fit.kernel: fit for fit in fits}
    tried = {maker.name: fit_of[maker.kernel] for maker in MAKERS if fit_of[maker.kernel].deviation < POSSIBLE}
    equal: dict[str, float] = {}
    inside: dict[str, float] = {}
    for maker in MAKERS:
        if maker.name in tried:
            same = [made[: lr.shape[0], : lr.shape[1]] == lr for made in maker.remake(hr, size)]
            equal[maker.name] = max(float(each.mean()) for each in same)
            inside[maker.name] = max(float(each[EDGE:-EDGE, EDGE:-EDGE].mean()) for each in same)
    unequal = {name: 1 - share for name, share in equal.items() if share > ALMOST_EQUAL}
    near = [name for name, share in unequal.items() if share < max(FEW, TIMES * min(unequal.values()))]
    exact = [[name for name, share in shares.items() if share == 1] for shares in (equal, inside)]
    # Where the scale is not whole, OpenCV's and torch's weights are not exact, and what is made here is only near.
    whole = hr.shape[0] % size[0] == hr.shape[1] % size[1] == 0
    # The whole first, then without the edge, where releases of MATLAB differ.
    if named := next(filter(None, [*exact, near] if whole else [near]), None):
        first = tried[named[0]]
        alike = all(first.apart(tried[name]) < SAME for name in named)
        return Made(first.kernel, tuple(named)) if alike else UNKNOWN
    best, *others = fits
    clear = all(best.apart(fit) > DETAIL or best.apart(fit) < SAME for fit in others)
    return Made(best.kernel) if clear and best.deviation < ROUNDED and best.far < 1 - ALMOST_ALL else UNKNOWN


@dataclass(frozen=True)
class SetMade:
    """What made the LR of a set. made: of all of it, or UNKNOWN. votes: how many of `pictures` each answer has."""

    made: Made
    pictures: int
    votes: dict[str, int]

    @property
    def mixed(self) -> bool:
        """Are there pictures of different kernels or programs?"""
        return not self.made.kernel and len(self.votes.keys() - {UNKNOWN.name}) > 1

    @property
    def text(self) -> str:
        """In words: `matlab (8 of 8 pictures)`."""
        counted = ", ".join(f"{name} ({count} of {self.pictures} pictures)" for name, count in self.votes.items())
        if self.made.kernel:
            certain = sum(count for name, count in self.votes.items() if name != UNKNOWN.name)
            return f"{self.made.name} ({certain} of {self.pictures} pictures)"
        return f"several programs: {counted}" if self.mixed else counted

    def flat(self) -> dict[str, Any]:
        """As JSON gives it."""
        made = self.made
        return {
            "name": made.name,
            "kernel": made.kernel or None,
            "makers": list(made.makers),
            "drifts": made.drifts,
            "pictures": self.pictures,
            "votes": self.votes,
        }


def set_made_by(found: Sequence[Made]) -> SetMade:
    """What made the LR of a set whose pictures gave these answers: what all agree on that are certain.

    UNKNOWN where these are less than half, or disagree.
    """
    votes = dict(Counter(made.name for made in found).most_common())
    certain = [made for made in found if made.kernel]
    kernels = {made.kernel for made in certain}
    if len(kernels) != 1 or 2 * len(certain) < len(found):
        return SetMade(UNKNOWN, len(found), votes)
    named = [made.makers for made in certain]
    common = tuple(name for name in named[0] if all(name in makers for makers in named))
    if not common and all(named):
        return SetMade(UNKNOWN, len(found), votes)
    drifts = any(made.drifts for made in certain)  # those whose sides are multiples of the scale do not
    return SetMade(Made(kernels.pop(), common, drifts), len(found), votes)


def looked_at(pictures: int) -> list[int]:
    """The indices of the pictures of a set by which its maker is found."""
    return sorted({round(i) for i in np.linspace(0, pictures - 1, min(pictures, PICTURES))}) if pictures else []


def unlike_training(trained: str, made: Made) -> str:
    """Why scores on LR that is `made` so are not those of a network trained on LR of the maker `trained`.

    Empty where they are, or where either is unknown.
    """
    kernel = next((maker.kernel for maker in MAKERS if maker.name == trained), "")
    if not kernel or not made.kernel:
        return ""
    if made.drifts:
        return "this LR was made from HR that was not cropped, so it lies beside HR by up to half an LR pixel"
    if made.kernel == kernel:
        return ""
    what = NEAREST if made.kernel == NEAREST else KERNELS[made.kernel].summary
    return (
        f"this LR was made by {made.name} ({what}), and it was trained on LR of {trained} ({KERNELS[kernel].summary})"
    )
