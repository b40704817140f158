"""Checks of a dataset: what a pair is, alignment with the resized HR, laziness, determinism."""

import tracemalloc
from collections.abc import Callable, Iterator
from functools import partial
from itertools import product
from pathlib import Path

import numpy as np
from rich.filesize import decimal

from srkit.components import Pair, PairSequence
from srkit.data.pairs import aligned, open_dataset
from srkit.errors import SrkitError, UnknownName, UsageError
from srkit.imresize import imresize
from srkit.plugins import Entry, Registry
from srkit.testing.kit import Check, Fault, Note

LOOKED_AT = 5  # pairs
WINDOW = 160  # side of the HR part that is compared, in pixels


def checks(registry: Registry, entry: Entry, root: Path | None) -> Iterator[Check]:
    scales = list(entry.component.scales)  # those it declares; otherwise those that open

    def opened(split: str = "test" if entry.component.benchmark else "train", scale: int = 0) -> PairSequence:
        scale = scale or scales[0]
        try:
            return open_dataset(registry.choose("dataset", entry.qualified), root, split, scale)
        except (UsageError, UnknownName) as error:
            if root is None:
                raise Note(f"no pictures to check it with ({error}); give --root") from None
            raise

    absent: list[int] = []
    yield Check("it opens", lambda: opens(opened, scales, absent), essential=True)
    if absent:
        yield Check("every scale was tried", partial(undeclared, scales, absent))
    yield Check("it opens lazily", lambda: lazy_open(opened))
    sizes = "pairs are uint8 RGB of fitting sizes, their names unique"
    yield Check(sizes, lambda: shapes(opened, scales), essential=True)
    yield Check("LR and HR show the same place", lambda: alignment(opened, scales))
    yield Check("reading twice gives the same pixels", lambda: deterministic(opened))


def opens(opened: Callable[..., PairSequence], scales: list[int], absent: list[int]) -> None:
    """Every scale that is declared. Where none is, those of 2, 3 and 4 that open are put into `scales`."""
    if scales:
        for scale in scales:
            opened(scale=scale)
        return
    errors: list[Exception] = []
    for scale in (2, 3, 4):
        try:
            opened(scale=scale)
            scales.append(scale)
        except Exception as error:  # Note, where there are no pictures at all
            errors.append(error)
            absent.append(scale)
    if not scales:
        raise errors[0]


def undeclared(scales: list[int], absent: list[int]) -> None:
    missing = ", ".join(f"x{scale}" for scale in absent)
    raise Note(f"it does not open for {missing}; the record may say so: scales={tuple(scales)}")


def lazy_open(opened: Callable[..., PairSequence]) -> None:
    opened()  # imports and caches are not the dataset's
    tracemalloc.start()
    pairs = opened()
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    one = pairs[0].hr.nbytes
    if peak > max(4 * one, 4_000_000) and len(pairs) > 4:
        raise Fault(
            f"opening it took {decimal(peak)}, {peak / one:.0f} pictures' worth",
            "keep file names in __init__ and read a picture in __getitem__",
        )


def shapes(opened: Callable[..., PairSequence], scales: list[int]) -> None:
    for scale in scales:
        pairs = opened(scale=scale)
        names = []
        for i in spread(len(pairs)):
            pair = pairs[i]
            if not isinstance(pair, Pair):
                raise Fault(f"item {i} is a {type(pair).__name__}", "return srkit.Pair(name, lr, hr)")
            try:
                aligned(pair, scale)
            except SrkitError as error:
                raise Fault(
                    f"x{scale}: {error}",
                    "give H,W,3 uint8 arrays, LR exactly HR's size divided by the scale, or lr=None",
                ) from error
            names.append(pair.name)
        if len(set(names)) != len(names):
            raise Fault(
                f"two pairs have one name: {sorted(names)}", "names must be unique: use the path below the root"
            )


def alignment(opened: Callable[..., PairSequence], scales: list[int]) -> None:
    """Shift HR by up to two LR pixels in either direction, resize, and see which correlates best with LR."""
    given = 0
    for scale in scales:
        pairs = opened(scale=scale)
        for i in spread(len(pairs)):
            pair = pairs[i]
            if pair.lr is None:
                continue
            given += 1
            dy, dx, best, unshifted = best_shift(pair, scale)
            if best < 0.5:
                raise Fault(
                    f"x{scale}: LR of '{pair.name}' does not look like its HR (correlation {best:.2f})",
                    "check that both come from the same picture",
                )
            if (dy, dx) != (0, 0) and best > unshifted + 1e-4:
                raise Fault(
                    f"x{scale}: LR of '{pair.name}' fits HR shifted by {dx} pixels right and {dy} down "
                    f"(correlation {best:.4f}, {unshifted:.4f} as it is)",
                    "cut both from the same place: HR begins at scale times LR's corner, LR is srkit.imresize of it",
                )
    if not given:
        raise Note("it gives no LR; srkit makes it from HR, aligned by construction")


def best_shift(pair: Pair, scale: int) -> tuple[int, int, float, float]:
    """(down, right, correlation there, correlation unshifted) of the HR shift whose LR is most like the given one."""
    lr, hr = aligned(pair, scale)
    gray = hr.mean(axis=2)
    margin = 2 * scale
    window = min(WINDOW, gray.shape[0] - 2 * margin, gray.shape[1] - 2 * margin) // scale * scale
    if window < 8 * scale:
        return 0, 0, 1.0, 1.0
    # where there is most to see: the window with the largest variance among a few
    tops = {margin, (gray.shape[0] - window) // 2 // scale * scale, (gray.shape[0] - window - margin) // scale * scale}
    lefts = {margin, (gray.shape[1] - window) // 2 // scale * scale, (gray.shape[1] - window - margin) // scale * scale}
    top, left = max(
        product(sorted(tops), sorted(lefts)), key=lambda p: gray[p[0] : p[0] + window, p[1] : p[1] + window].std()
    )
    part = lr.mean(axis=2)[top // scale : (top + window) // scale, left // scale : (left + window) // scale]
    found = {}
    for dy, dx in product(range(-margin, margin + 1), repeat=2):
        y, x = top + dy, left + dx
        if y < 0 or x < 0 or y + window > gray.shape[0] or x + window > gray.shape[1]:
            continue
        small = imresize(gray[y : y + window, x : x + window], 1 / scale)
        found[dy, dx] = correlation(small[2:-2, 2:-2], part[2:-2, 2:-2])
    (dy, dx), best = max(found.items(), key=lambda item: item[1])
    return dy, dx, best, found[0, 0]


def correlation(one: np.ndarray, other: np.ndarray) -> float:
    one, other = one - one.mean(), other - other.mean()
    size = float(np.sqrt((one**2).sum() * (other**2).sum()))
    return float((one * other).sum() / size) if size else 1.0


def equal(one: np.ndarray | None, other: np.ndarray | None) -> bool:
    return one is other if one is None or other is None else np.array_equal(one, other)


def deterministic(opened: Callable[..., PairSequence]) -> None:
    first, second = opened(), opened()
    for i in spread(len(first)):
        a, b, c = first[i], first[i], second[i]
        for other in (b, c):
            if a.name != other.name or not equal(a.hr, other.hr) or not equal(a.lr, other.lr):
                raise Fault(
                    f"pair {i} ('{a.name}') changes from one reading to the next",
                    "no randomness in a dataset: that is the sampler's",
                )
    prints = [getattr(pairs, "fingerprint", lambda: "")() for pairs in (first, second)]
    if prints[0] != prints[1]:
        raise Fault(
            "fingerprint() changes without the files changing", "derive it from names, sizes and times of the files"
        )


def spread(length: int) -> list[int]:
    """A few indices from the first to the last."""
    return sorted({round(i * (length - 1) / max(LOOKED_AT - 1, 1)) for i in range(LOOKED_AT)}) if length else []
