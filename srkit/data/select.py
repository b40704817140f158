"""Choose the pictures of a dataset that are worth training on: sharp, hardly compressed, each once, the best first.

Three steps: `look_at_all` measures every picture and keeps what it found, `judged` decides by the figures alone, and
`write_selection` copies or links what is kept. Nothing of the source is changed.
"""

import base64
import json
import os
import shutil
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from threading import Lock
from typing import Any, Literal

import numpy as np

from srkit.components import Pair, PairSequence
from srkit.data.cores import each
from srkit.data.crops import Blobs, blobs, cut_from, small_gray
from srkit.data.journal import Journal, Known, known
from srkit.data.jpeg_blocks import jpeg_quality, jpeg_trace
from srkit.data.likeness import luma, same_pictures, thumbnail
from srkit.data.made import claim_folder, file_in
from srkit.data.pairs import check_pixels, shallow
from srkit.data.sharpness import sharpness
from srkit.errors import DataError, UsageError, naming, one_line
from srkit.files import remove_leftovers, write_atomically
from srkit.images import About, picture_from, write_picture

NOTE = ".selected.json"  # in the folder: what is selected into it
LOOKED = 1  # raise it where the same pixels give other figures: what was kept before is then measured anew
SHARPNESS = 0.4  # below it a picture is blurred
JPEG = 80  # at this quality, or less, a JPEG's blocks are in the picture
OWN = ("sharpness", "laplacian", "jpeg")  # the figures that srkit has itself: of each, more is better
BEST_JPEG = 100  # stands for a picture in which no JPEG is found
CLEARLY = 1.5  # times the energy of a copy
TRACE = 0.02  # difference of the traces of a JPEG
SAME = Literal["crops", "whole", "off"]


@dataclass(frozen=True)
class Measure:
    """A figure that a metric gives. key: another one where the metric may give another value; call: of H,W,3 uint8."""

    figure: str
    key: str
    call: Callable[[np.ndarray], float]


@dataclass(frozen=True)
class Figures:
    """What is known of one picture. values: by figure; None where a picture has too little to measure.

    energy: the sum of the squared Laplacian. size: of its file, in bytes. error: why it cannot be read.
    """

    name: str
    width: int = 0
    height: int = 0
    values: Mapping[str, float | None] = field(default_factory=dict)
    energy: float = 0.0
    size: int = 0
    thumbnail: np.ndarray | None = None
    blobs: Blobs | None = None
    error: str = ""


@dataclass(frozen=True)
class Limit:
    """The worst value of a figure that is kept; of `jpeg`, the best that is dropped."""

    figure: str
    value: float
    higher_is_better: bool = True

    def passes(self, value: float | None) -> bool:
        """A picture that has no such figure passes."""
        if value is None:
            return True
        if self.figure == "jpeg":
            return value > self.value
        return value >= self.value if self.higher_is_better else value <= self.value


@dataclass(frozen=True)
class Wanted:
    """What to select. limits: by figure. by: the figure that ranks. keep: at most so many; None: all that pass."""

    limits: Sequence[Limit] = ()
    by: str = "sharpness"
    higher_is_better: bool = True
    keep: int | None = None
    same: SAME = "crops"


@dataclass(frozen=True)
class Verdict:
    """Of one picture. reason: empty where it is kept; else unreadable, the figure it fails, duplicate or rank.

    text: the same in words. twin: of a duplicate, the picture that is kept in its place.
    """

    name: str
    reason: str = ""
    text: str = ""
    twin: str = ""


# --- measuring --------------------------------------------------------------------------------------------------------


def look_at_all(
    pairs: PairSequence,
    journal: Journal,
    measures: Sequence[Measure] = (),
    *,
    progress: Callable[[int, int, int], None] = lambda done, total, before: None,
) -> list[Figures]:
    """The figures of every picture, in order; those that the journal has are not measured again.

    measures: called for one picture at a time. progress(done, total, done before). A picture that cannot be read has an
    `error`. Raises DataError, naming the picture, where a measure fails.
    """
    pictures = known(pairs)
    before = [journal.get(picture) for picture in pictures]
    needed = {measure.key for measure in measures}
    waiting = [i for i, found in enumerate(before) if found.get("version") != LOOKED or needed - set(found)]
    start, one_at_a_time = len(pictures) - len(waiting), Lock()

    def job(index: int) -> dict[str, Any]:
        picture = pictures[index]
        stamp = picture.stamp()
        found = look_at(pairs, index, before[index], measures, one_at_a_time)
        if "error" not in found:
            with suppress(OSError):  # a cache that cannot be written costs no selection
                journal.add(picture, stamp, found)
        return found

    fresh = each(job, waiting, lambda done, _: progress(start + done, len(pictures), start))
    for index, found in zip(waiting, fresh, strict=True):
        before[index] = found
    found_of = zip(pictures, before, strict=True)
    return [figures_of(picture.name, found, measures, size_of(picture)) for picture, found in found_of]


def size_of(picture: Known) -> int:
    """Of its HR file, in bytes; 0 where there is none."""
    stamp = picture.stamp()
    return stamp[0][0] if stamp else 0


def look_at(
    pairs: PairSequence, index: int, found: Mapping[str, Any], measures: Sequence[Measure], lock: Lock
) -> dict[str, Any]:
    """What the journal keeps of one picture: what it had, and what is missing."""
    try:
        pair = pairs[index]
        if not isinstance(pair, Pair):
            raise DataError(f"the dataset gives {type(pair).__name__} where srkit.Pair is wanted")
        check_pixels(pair.name, "HR", pair.hr)
    except Exception as error:  # a plugin may raise anything; the other pictures are still looked at
        return {"error": one_line(error)}
    rgb = shallow(pair.hr)
    if found.get("version") != LOOKED:
        found = looked_at(rgb)
    values = {}
    for measure in measures:
        if measure.key not in found:
            with lock, naming(pair.name):
                values[measure.key] = measure.call(rgb)
                if not np.isfinite(values[measure.key]):
                    raise DataError(
                        f"metric '{measure.figure}' gives {values[measure.key]}; leave the picture out, or it"
                    )
    return {**found, **values}


def looked_at(rgb: np.ndarray) -> dict[str, Any]:
    """All that srkit itself measures of H,W,3 uint8, as JSON."""
    height, width = rgb.shape[:2]
    sharp = sharpness(luma(rgb))
    found = blobs(small_gray(rgb))
    return {
        "version": LOOKED,
        "size": [height, width],
        "sharpness": sharp.edges,
        "laplacian": round(sharp.laplacian, 3),
        "jpeg": jpeg_quality(rgb),
        "thumbnail": packed(thumbnail(rgb)),
        "places": packed(np.rint(10 * found.places).astype(np.uint16)),
        "around": packed(np.rint(255 * found.around).astype(np.uint8)),
    }


def packed(values: np.ndarray) -> str:
    return base64.b64encode(np.ascontiguousarray(values).tobytes()).decode()


def unpacked(text: str, kind: type[np.generic], columns: int) -> np.ndarray:
    return np.frombuffer(base64.b64decode(text), kind).reshape(-1, columns)


def figures_of(name: str, found: Mapping[str, Any], measures: Sequence[Measure], size: int = 0) -> Figures:
    """Figures from what the journal keeps. size: of the file, in bytes."""
    if "error" in found:
        return Figures(name, error=found["error"])
    height, width = found["size"]
    around = unpacked(found["around"], np.uint8, 128).astype(np.float32)
    length = np.linalg.norm(around, axis=1, keepdims=True)
    places = unpacked(found["places"], np.uint16, 3).astype(np.float32) / 10
    return Figures(
        name, width, height,
        values={**{own: found[own] for own in OWN}, **{each.figure: found[each.key] for each in measures}},
        energy=found["laplacian"] * height * width,
        size=size,
        thumbnail=unpacked(found["thumbnail"], np.uint8, 64),
        blobs=Blobs(places, around / np.maximum(length, 1)),
    )  # fmt: skip


# --- deciding ---------------------------------------------------------------------------------------------------------


def judged(figures: Sequence[Figures], wanted: Wanted, read: Callable[[int], np.ndarray]) -> list[Verdict]:
    """A verdict on each picture, in order.

    read: gives a picture, H,W,3 uint8; asked of those that may be copies of another. A picture that fails a limit is
    not kept, whatever is dropped beside it; of copies that pass all limits, the best is kept.
    """
    verdicts = [failed(one, wanted.limits) for one in figures]
    left = [i for i, verdict in enumerate(verdicts) if not verdict.reason]
    twins = twins_of([figures[i] for i in left], wanted.same, lambda k: read(left[k]))
    for k, other in twins.items():
        one, twin = figures[left[k]], figures[left[other]]
        verdicts[left[k]] = Verdict(one.name, "duplicate", f"'{twin.name}' again", twin.name)
    left = [i for i in left if not verdicts[i].reason]
    if wanted.keep is not None:
        for i in sorted(left, key=lambda i: rank(figures[i], wanted))[wanted.keep :]:
            text = f"{wanted.by} {said(figures[i].values[wanted.by])}: not among the best {wanted.keep:,}"
            verdicts[i] = Verdict(figures[i].name, "rank", text)
    return verdicts


def failed(one: Figures, limits: Sequence[Limit]) -> Verdict:
    """The first limit that a picture fails."""
    if one.error:
        return Verdict(one.name, "unreadable", one.error)
    for limit in limits:
        value = one.values[limit.figure]
        if not limit.passes(value):
            return Verdict(one.name, limit.figure, f"{limit.figure} {said(value)}")
    return Verdict(one.name)


def said(value: float | None) -> str:
    return "not measured" if value is None else f"{value:.4g}"


def rank(one: Figures, wanted: Wanted) -> tuple[float, str]:
    """The best first; a picture without a figure comes last, but for `jpeg`, where it is a good sign."""
    value = one.values[wanted.by]
    if value is None:
        return (-BEST_JPEG if wanted.by == "jpeg" else float("inf")), one.name
    return (-value if wanted.higher_is_better else value), one.name


def twins_of(figures: Sequence[Figures], same: SAME, read: Callable[[int], np.ndarray]) -> dict[int, int]:
    """Of each picture that is there again, the one that is kept in its place: both by number."""
    if same == "off":
        return {}
    shown = [one.thumbnail for one in figures if one.thumbnail is not None]
    linked: dict[int, set[int]] = {i: set() for i in range(len(figures))}
    links = [(i, j) for i, j in same_pictures(shown, shown) if i < j]
    if same == "crops":
        looked = [one.blobs for one in figures if one.blobs is not None]
        links += list(cut_from(looked, lambda i: small_gray(read(i))))
    for i, j in links:
        linked[i].add(j)
        linked[j].add(i)
    decided: set[int] = set()
    twins: dict[int, int] = {}
    for first in sorted(linked, key=lambda i: (-quality(figures[i]), -figures[i].energy, i)):
        while first not in decided:
            best = best_of(first, linked[first] - decided, figures, read)
            copies = linked[best] - decided
            twins |= dict.fromkeys(copies, best)
            decided |= {best, *copies}
    return twins


def best_of(first: int, copies: set[int], figures: Sequence[Figures], read: Callable[[int], np.ndarray]) -> int:
    """Of copies, of which `first` has the most energy, the best one.

    Where another has the same size and nearly the same energy, that may be the ringing of compression: then it is the
    one with the least trace of a JPEG, or, of those that are alike in that, the one with the largest file.
    """
    one = figures[first]
    rivals = [first]
    for i in copies:
        other = figures[i]
        same = (other.width, other.height, quality(other)) == (one.width, one.height, quality(one))
        if same and other.energy * CLEARLY > one.energy:
            rivals.append(i)
    if len(rivals) == 1:
        return first
    traces = {i: jpeg_trace(read(i)) for i in rivals}
    least = min(traces.values())
    return max((i for i in rivals if traces[i] < least + TRACE), key=lambda i: (figures[i].size, figures[i].energy, -i))


def quality(one: Figures) -> float:
    """Of the JPEG it once was."""
    value = one.values["jpeg"]
    return BEST_JPEG if value is None else value


# --- writing ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Target:
    """Where a selection goes. scale: of the LR that goes along. link: symbolic links instead of copies."""

    folder: Path
    scale: int
    link: bool = False


def write_selection(
    pairs: PairSequence,
    kept: Sequence[int],
    target: Target,
    about: Mapping[str, Any],
    progress: Callable[[int], None] = lambda done: None,
) -> int:
    """Copy or link the pictures to `folder`/HR and, where they have LR, `folder`/LR/X<scale>; how many are new.

    Files are copied byte for byte; pictures of a dataset that has none are written as PNG. about: all that decides what
    is selected; a folder of another selection is refused, one that is not complete is completed.

    Raises UsageError for such a folder or one that cannot be written, DataError for names that are no files'.
    """
    claim_folder(target.folder, NOTE, {**about, "link": target.link}, "another selection")
    pictures = known(pairs)
    wanted = {index: places(pictures[index], target) for index in kept}
    there = {path for path in target.folder.rglob("*") if not path.is_dir() and not path.name.startswith(".")}
    if others := sorted(there - {path for files in wanted.values() for path in files}):
        names = ", ".join(str(path.relative_to(target.folder)) for path in others[:3])
        more = ", ..." if len(others) > 3 else ""
        raise UsageError(
            f"'{target.folder}' holds what is not selected (any more), {len(others):,} in all: {names}{more}; "
            "remove it, or name another folder"
        )
    made = 0
    try:
        for folder in {path.parent for files in wanted.values() for path in files}:
            folder.mkdir(parents=True, exist_ok=True)
            remove_leftovers(folder)
        for number, (index, files) in enumerate(wanted.items(), 1):
            written = [put(pairs, index, source, path, target) for source, path in sources_of(pictures[index], files)]
            made += any(written)
            progress(number)
    except OSError as error:
        raise DataError(f"cannot write into '{target.folder}': {one_line(error)}") from None
    return made


def sources_of(picture: Known, files: Sequence[Path]) -> list[tuple[Path | None, Path]]:
    """Each file to write, with the one it is a copy of."""
    return list(zip(picture.files or [None] * len(files), files, strict=True))


def places(picture: Known, target: Target) -> list[Path]:
    """The files a picture gets: HR, then LR."""
    hr, lr = target.folder / "HR", target.folder / "LR" / f"X{target.scale}"
    if not picture.files:
        return [file_in(hr, picture.name), file_in(lr, picture.name)]
    return [file_in(place, picture.name, file.suffix) for place, file in zip((hr, lr), picture.files, strict=False)]


def put(pairs: PairSequence, index: int, source: Path | None, path: Path, target: Target) -> bool:
    """Write one file, whole or not at all; False where it is there already."""
    if source is None:
        pair = pairs[index]
        pixels = pair.hr if path.is_relative_to(target.folder / "HR") else pair.lr
        if pixels is None or path.exists():
            return False
        write_picture(path, picture_from(pixels, About()))
        return True
    if target.link:
        if path.is_symlink() and path.resolve() == source.resolve():
            return False
        path.unlink(missing_ok=True)
        path.symlink_to(source.resolve())
        return True
    about = source.stat()
    with suppress(OSError):
        there = path.stat()
        if (there.st_size, there.st_mtime_ns) == (about.st_size, about.st_mtime_ns):
            return False
    with source.open("rb") as file:
        write_atomically(path, lambda out: shutil.copyfileobj(file, out))
    os.utime(path, ns=(about.st_atime_ns, about.st_mtime_ns))
    return True


def write_list(path: Path, pictures: Sequence[Known], kept: Sequence[int]) -> None:
    """The HR file of each picture kept, one a line; its name, where it has no file. UsageError where it cannot be."""
    lines = [str(pictures[i].files[0]) if pictures[i].files else pictures[i].name for i in kept]
    write_text(path, "".join(f"{line}\n" for line in lines))


def write_text(path: Path, text: str) -> None:
    try:
        write_atomically(path, lambda file: file.write(text.encode("utf-8", "surrogateescape")))
    except OSError as error:
        raise UsageError(f"cannot write '{path}': {one_line(error)}") from None


def table_of(
    figures: Sequence[Figures], verdicts: Sequence[Verdict], pictures: Sequence[Known]
) -> list[dict[str, Any]]:
    """All figures and verdicts, a row for each picture."""
    return [
        {
            "name": one.name, "file": str(picture.files[0]) if picture.files else "",
            "width": one.width, "height": one.height, **one.values,
            "kept": not verdict.reason, "reason": verdict.reason, "text": verdict.text, "twin": verdict.twin,
        }
        for one, verdict, picture in zip(figures, verdicts, pictures, strict=True)
    ]  # fmt: skip


def write_figures(path: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    """As JSON or, by the suffix, as CSV. UsageError where it cannot be written."""
    if path.suffix.lower() == ".json":
        write_text(path, json.dumps(list(rows), indent=2) + "\n")
        return
    import csv
    import io

    columns = list(dict.fromkeys(key for row in rows for key in row))
    text = io.StringIO()
    writer = csv.DictWriter(text, columns, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    write_text(path, text.getvalue())
