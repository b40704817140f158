"""Find faults of a dataset before training: damage, pairs that do not fit, duplicates, leaks, JPEG blocks."""

import hashlib
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from srkit.components import Pair, PairSequence
from srkit.data.cores import each, silent
from srkit.data.jpeg_blocks import jpeg_quality
from srkit.data.likeness import fit, likeness, luma, same_pictures, thumbnail
from srkit.data.maker import Made, SetMade, looked_at, made_by, set_made_by
from srkit.data.pairs import aligned, check_pixels, open_dataset, shallow, size
from srkit.data.store import Progress, Store
from srkit.errors import DataError, one_line
from srkit.plugins import Choice

SEVERITIES = ("error", "warning", "info")
UNLIKE, UNLIKE_THUMBNAIL = 0.3, 0.5  # LR is of another picture where both likenesses are below
LITTLE_DETAIL = 0.25  # mean difference of neighbours in gray levels; photographs have 0.4 and more
COMMON = 0.9  # of the pairs, at least COMMON_PAIRS, shifted alike: that is how this LR was made
COMMON_PAIRS = 8
QUICK_PAIRS, QUICK_THUMBNAILS, QUICK_HELD_OUT = 16, 256, 64  # pictures `quick_check` looks at
PROBES = 16  # pixels by which it finds equal pictures
NAMED = 3  # pictures named in a line about many


@dataclass(frozen=True)
class Finding:
    """One thing that is wrong.

    severity: "error" (training fails or learns what is wrong), "warning" or "info". kind: unreadable, partner,
    pixels, size, small, mismatch, shift, duplicate, leak, jpeg, gray, flat or sizes. name: the picture, empty
    where it is the whole set. text: what is wrong, and what to do.
    """

    severity: str
    kind: str
    name: str
    text: str


@dataclass(frozen=True)
class Report:
    """findings: the worst first. pictures: in the set. checked: what could be looked at.

    lr_made_by: None where there is no LR.
    """

    findings: list[Finding]
    pictures: int
    checked: dict[str, Any]
    lr_made_by: SetMade | None = None

    def count(self, severity: str) -> int:
        return sum(f.severity == severity for f in self.findings)


@dataclass(frozen=True)
class Look:
    """What is kept of one picture after its pixels are freed.

    content: digests of HR and of the LR given. thumbnail: of HR, None where it is too small to compare. lr_thumbnail:
    only of an LR that is not its HR's. shift: in HR pixels, None where no LR was compared. made: what made LR, of the
    few pictures where that is asked.
    """

    name: str
    findings: list[Finding] = field(default_factory=list)
    size: str = ""
    content: tuple[bytes, bytes] = (b"", b"")
    thumbnail: np.ndarray | None = None
    lr_thumbnail: np.ndarray | None = None
    shift: tuple[int, int] | None = None
    made: Made | None = None
    gray: bool = False
    flat: bool = False


def open_for_check(
    dataset: Choice, root: str | Path | None, split: str, scale: int
) -> tuple[PairSequence, list[Finding]]:
    """The dataset; if its LR pictures are not complete, what there is of it and a finding that says so."""
    try:
        return open_dataset(dataset, root, split, scale), []
    except DataError as error:
        if error.partial is not None:  # the LR that are there are compared
            return error.partial, [Finding("error", "partner", "", one_line(error))]
        if dataset.options.get("lr_dir", "none") == "none":
            raise
        alone = replace(dataset, options={**dataset.options, "lr_dir": "none"})
        pairs = open_dataset(alone, root, split, scale)
        text = f"{one_line(error)} (no LR was compared in this check)"
        return pairs, [Finding("error", "partner", "", text)]


def check_dataset(
    pairs: PairSequence,
    scale: int,
    *,
    patch: int = 48,
    against: Mapping[str, PairSequence] | None = None,
    progress: Progress = silent,
) -> Report:
    """Look at every picture of `pairs`, whose LR is to be `scale` times smaller.

    patch: side of a training patch in LR pixels. against: the sets, by name, in which no training picture
    should be. progress(done, total) is called after each picture. Nothing that is wrong with a picture raises.
    """
    against = against or {}
    total = len(pairs) + sum(map(len, against.values()))
    asked = looked_at(len(pairs))
    looks = each(lambda i: look(pairs, scale, patch, i, asks=i in asked), range(len(pairs)), progress, 0, total)
    made = [seen.made for seen in looks if seen.made is not None]
    lr_made_by = set_made_by(made) if made else None
    done = len(pairs)
    others: dict[str, list[Look]] = {}
    for name, other in against.items():
        others[name] = each(partial(glance, other), range(len(other)), progress, done, total)
        done += len(other)
    findings = [finding for each_look in looks for finding in each_look.findings]
    findings += all_small(looks, patch, scale) + shifts(looks, scale) + drift(lr_made_by)
    findings += strays(looks) + duplicates(looks)
    findings += leaks(looks, others) + census(looks)
    findings += [replace(f, name=f"{name}/{f.name}") for name, seen in others.items() for s in seen for f in s.findings]
    checked = {
        "scale": scale,
        "patch": patch,
        "read": sum(bool(seen.size) for seen in looks),
        "lr_given": sum(bool(seen.content[1]) for seen in looks),
        "against": {name: len(seen) for name, seen in others.items()},
    }
    ordered = sorted(findings, key=lambda f: SEVERITIES.index(f.severity))
    return Report(ordered, len(looks), checked, lr_made_by)


def read(pairs: PairSequence, index: int) -> Pair | Look:
    """One pair with HR in the right form, in 8 bits, or a Look that says why not."""
    names = getattr(pairs, "names", None)
    name = str(names[index]) if isinstance(names, list) and index < len(names) else f"picture {index}"
    try:
        pair = pairs[index]
        if not isinstance(pair, Pair):
            raise DataError(f"the dataset gives {type(pair).__name__} where srkit.Pair is wanted")
    except Exception as error:  # a plugin may raise anything; the other pictures are still checked
        return Look(name, [Finding("error", "unreadable", name, f"{one_line(error)}; get it again, or remove it")])
    try:
        check_pixels(pair.name, "HR", pair.hr)
    except DataError as error:
        return Look(pair.name, [Finding("error", "pixels", pair.name, without_name(error, pair.name))])
    return replace(pair, hr=shallow(pair.hr))


def without_name(error: DataError, name: str) -> str:
    return one_line(error).removeprefix(f"'{name}': ")


def glance(pairs: PairSequence, index: int) -> Look:
    """Of a picture to compare with: its thumbnail alone."""
    pair = read(pairs, index)
    if isinstance(pair, Look):
        return replace(pair, findings=[replace(f, severity="warning") for f in pair.findings])
    return Look(pair.name, thumbnail=thumbnail(pair.hr))


def look(pairs: PairSequence, scale: int, patch: int, index: int, *, asks: bool = False) -> Look:
    """All checks that need only this picture. asks: what made its LR, too."""
    pair = read(pairs, index)
    if isinstance(pair, Look):
        return pair
    name, hr, lr = pair.name, pair.hr, pair.lr
    findings: list[Finding] = []
    seen = Look(name, findings, size(hr), (digest(hr), b"" if lr is None else digest(lr)))
    if min(hr.shape[:2]) < scale:
        findings.append(Finding("warning", "small", name, f"HR is {size(hr)}, too small for x{scale}: it is left out"))
        return seen
    if lr is not None:
        try:
            lr, hr = aligned(pair, scale)
        except DataError as error:
            findings.append(Finding("error", "size", name, without_name(error, name)))
            lr = None
    if min(hr.shape[:2]) // scale < patch:
        side = patch * scale
        text = f"HR is {size(hr)}, smaller than a patch of {side}x{side}: training leaves it out; remove it or lower "
        findings.append(Finding("warning", "small", name, f"{text}'patch' ({patch})"))
        return seen
    if quality := jpeg_quality(hr):
        text = f"HR has the 8x8 blocks of a JPEG of quality {quality} or so, and a network learns to draw them"
        findings.append(Finding("warning", "jpeg", name, f"{text}; take the original, or shrink it to half its size"))
    seen = replace(
        seen,
        thumbnail=thumbnail(hr),
        gray=bool((hr == hr[..., :1]).all()),
        flat=float(np.abs(np.diff(luma(hr[::4]), axis=1)).mean()) < LITTLE_DETAIL,
    )
    if lr is None:
        return seen
    shift, stray = correspondence(lr, hr, scale)
    made = made_by(lr, pair.hr, scale) if asks and not stray else None
    return replace(seen, shift=shift, made=made, lr_thumbnail=thumbnail(lr) if stray else None)


def digest(pixels: np.ndarray) -> bytes:
    shape = str(getattr(pixels, "shape", "")).encode()
    return hashlib.blake2b(np.ascontiguousarray(pixels).data, key=shape, digest_size=16).digest()


def correspondence(lr: np.ndarray, hr: np.ndarray, scale: int) -> tuple[tuple[int, int] | None, bool]:
    """(shift in HR pixels, is it another picture's LR); None where there is not enough to see."""
    found = fit(lr, hr, scale)
    if found is None:
        return None, False
    # Much noise hides detail in a window, not in a thumbnail; a shift hides it in a thumbnail, not in a window.
    if found[0] < UNLIKE and likeness(thumbnail(lr), thumbnail(hr)) < UNLIKE_THUMBNAIL:
        return None, True
    return found[1], False


def all_small(looks: Sequence[Look], patch: int, scale: int) -> list[Finding]:
    if any(seen.thumbnail is not None for seen in looks) or not any(seen.size for seen in looks):
        return []
    side = patch * scale
    return [Finding("error", "small", "", f"every picture is smaller than a patch of {side}x{side}; lower 'patch'")]


def shifts(looks: Sequence[Look], scale: int) -> list[Finding]:
    """A finding for each shifted pair, or one for all where all are shifted alike."""
    compared = [seen for seen in looks if seen.shift is not None]
    (common, times), *_ = Counter(seen.shift for seen in compared).most_common(1) or [(None, 0)]
    move = "cut both from the same corner: HR begins at scale times LR's, LR is made from that very HR"
    if common and any(common) and times >= max(COMMON_PAIRS, COMMON * len(compared)):
        # An off-centre kernel, as unknown degradations have, moves all by less than an LR pixel.
        severity = "warning" if max(map(abs, common)) < scale else "error"
        text = f"the LR of {times} of {len(compared)} pairs fits HR {where(common)}: a network learns to move pictures"
        found = [Finding(severity, "shift", "", f"{text} by that; {move}, unless the kernel is meant to be off centre")]
    else:
        common, found = (0, 0), []
    for seen in compared:
        if seen.shift and any(seen.shift) and seen.shift != common:
            found.append(Finding("error", "shift", seen.name, f"LR fits its HR {where(seen.shift)}; {move}"))
    return found


def drift(made: SetMade | None) -> list[Finding]:
    """A finding where the LR of a set drifts away from its HR."""
    if made is None or not made.made.drifts:
        return []
    text = f"LR was made by {made.text}, so it lies beside its HR by up to half an LR pixel"
    return [Finding("warning", "shift", "", f"{text}; crop HR to a multiple of the scale, and make LR from that")]


def where(shift: tuple[int, int]) -> str:
    """(1, -2) as words: `1 pixel further down and 2 further left`."""
    down, right = shift
    parts = [(abs(down), "down" if down > 0 else "up"), (abs(right), "right" if right > 0 else "left")]
    (first, way), *more = [part for part in parts if part[0]]
    return f"{first} HR pixel{'s' if first > 1 else ''} further {way}" + "".join(f" and {n} {w}" for n, w in more)


def strays(looks: Sequence[Look]) -> list[Finding]:
    """Each LR that does not belong to its HR, with the HR it belongs to if that is in the set."""
    lost = [seen for seen in looks if seen.lr_thumbnail is not None]
    known = [seen for seen in looks if seen.thumbnail is not None]
    pairs = same_pictures(thumbnails(lost, "lr_thumbnail"), thumbnails(known))
    owner = {i: known[j].name for i, j in pairs}
    return [
        Finding(
            "error",
            "mismatch",
            seen.name,
            "LR does not look like its HR; "
            + (f"it is that of '{owner[i]}'" if i in owner else "make it again from this HR, or remove both"),
        )
        for i, seen in enumerate(lost)
    ]


def thumbnails(looks: Iterable[Look], which: str = "thumbnail") -> list[np.ndarray]:
    return [getattr(seen, which) for seen in looks]


def duplicates(looks: Sequence[Look]) -> list[Finding]:
    """Each picture that came before, in the same pixels or re-encoded or resized; it names the first."""
    readable = [seen for seen in looks if seen.size]
    first: dict[tuple[bytes, bytes], str] = {}
    found: dict[str, str] = {}
    for seen in readable:
        if (original := first.setdefault(seen.content, seen.name)) != seen.name:
            found[seen.name] = f"the same pixels as '{original}'; remove one"
    known = [seen for seen in readable if seen.thumbnail is not None]
    shown = thumbnails(known)
    for j, i in sorted(same_pictures(shown, shown)):
        one, other = known[i], known[j]
        # One HR with several LR, as a dataset of many degradations has it, is meant.
        if i < j and other.name not in found and one.content[0] != other.content[0]:
            found[other.name] = f"'{one.name}' again, re-encoded or resized; remove one"
    return [Finding("warning", "duplicate", name, text) for name, text in found.items()]


def leaks(looks: Sequence[Look], others: Mapping[str, Sequence[Look]]) -> list[Finding]:
    """Each picture that is also in one of the sets that are for testing."""
    known = [seen for seen in looks if seen.thumbnail is not None]
    found = []
    for name, other in others.items():
        shown = [seen for seen in other if seen.thumbnail is not None]
        for i, j in same_pictures(thumbnails(known), thumbnails(shown)):
            text = f"it is '{shown[j].name}' of {name}; remove it, or scores on {name} are invalid"
            found.append(Finding("warning", "leak", known[i].name, text))
    return found


def census(looks: Sequence[Look]) -> list[Finding]:
    """Facts about a set that are not faults."""
    found = []
    for kind, what in (
        ("gray", "gray, stored as RGB"),
        ("flat", "almost without detail, so a network learns little from them"),
    ):
        if those := [seen.name for seen in looks if getattr(seen, kind)]:
            found.append(Finding("info", kind, "", f"{len(those)} of {len(looks)} are {what}: {few(those)}"))
    sizes = Counter(seen.size for seen in looks if seen.size)
    if len(sizes) > 1:
        ordered = sorted(sizes, key=lambda text: np.prod([int(n) for n in text.split("x")]))
        text = f"{len(sizes)} sizes, from {ordered[0]} to {ordered[-1]}: each picture is drawn equally often"
        found.append(Finding("info", "sizes", "", text))
    return found


def few(names: Sequence[str]) -> str:
    return ", ".join(names[:NAMED]) + (" ..." if len(names) > NAMED else "")


def quick_check(train: Store, validation: Store, scale: int) -> list[Finding]:
    """The quick part, before the first step of a training: do LR and HR fit, is a training picture used for validation.

    Looks at a few pairs of each store, and for leaks at all pictures by some of their pixels (equal ones) and at
    a sample by thumbnails (re-encoded or resized ones). Several findings of one kind become one.
    """
    found = []
    for store in (train, validation):
        looks = each(partial(quick_look, store, scale), evenly(len(store), QUICK_PAIRS))
        found += shifts(looks, scale) + strays(looks)

    leaked = dict(equal_pictures(train, validation))
    some, held_out = evenly(len(train), QUICK_THUMBNAILS), evenly(len(validation), QUICK_HELD_OUT)
    small = each(partial(lr_thumbnail, train), some), each(partial(lr_thumbnail, validation), held_out)
    for i, j in same_pictures(*small):
        leaked.setdefault(some[i], held_out[j])
    for i, j in sorted(leaked.items()):
        text = f"it is '{validation.names[j]}' of the validation pictures too; remove it, or their scores are invalid"
        found.append(Finding("warning", "leak", train.names[i], text))
    return [
        one for kind in dict.fromkeys(f.kind for f in found) for one in folded([f for f in found if f.kind == kind])
    ]


def quick_look(store: Store, scale: int, index: int) -> Look:
    lr, hr = shallow(store.image("lr", index)), shallow(store.image("hr", index))
    shift, stray = correspondence(lr, hr, scale)
    return Look(store.names[index], thumbnail=thumbnail(hr), lr_thumbnail=thumbnail(lr) if stray else None, shift=shift)


def lr_thumbnail(store: Store, index: int) -> np.ndarray:
    return thumbnail(shallow(store.image("lr", index)))


def evenly(length: int, most: int) -> list[int]:
    """At most `most` indices, from the first to the last."""
    return sorted({int(i) for i in np.linspace(0, length - 1, min(length, most))}) if length else []


def equal_pictures(train: Store, validation: Store) -> Iterable[tuple[int, int]]:
    """(i, j) where picture i of `train` and j of `validation` have the same pixels. Reads a few pixels of each."""
    sizes = {tuple(row) for row in validation.hr[:, 1:].tolist()}
    candidates = [i for i, row in enumerate(train.hr[:, 1:].tolist()) if tuple(row) in sizes]
    marks = {
        mark: j for j, mark in zip(range(len(validation)), probes(validation, range(len(validation))), strict=True)
    }
    for i, mark in zip(candidates, probes(train, candidates), strict=True):
        if (j := marks.get(mark)) is not None and np.array_equal(train.image("hr", i), validation.image("hr", j)):
            yield i, j


def probes(store: Store, indices: Sequence[int]) -> list[tuple[int, int, bytes]]:
    """Height, width and a few pixels of each picture."""
    offset, height, width, value = store.hr[np.asarray(indices, dtype=np.int64)].T
    places = offset[:, None] + (height * width * value)[:, None] * (2 * np.arange(PROBES) + 1) // (2 * PROBES)
    pixels = store.pixels[places]  # n,PROBES,3
    return [(int(h), int(w), p.tobytes()) for h, w, p in zip(height, width, pixels, strict=True)]


def folded(findings: list[Finding]) -> list[Finding]:
    """Findings of one kind as they are, or one for all where they are many."""
    if len(findings) <= NAMED:
        return findings
    first = findings[0]
    text = f"{len(findings)} pictures ({few([f.name for f in findings])}); of '{first.name}': {first.text}"
    return [replace(first, name="", text=text)]
