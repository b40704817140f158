"""A sheet of the pictures a command dropped, grouped by the reason, for a person to judge."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image

from srkit.data.likeness import high_pass, luma
from srkit.data.select import Figures, Limit, Verdict, Wanted, rank
from srkit.evaluate.sheet import Strip, draw_sheet, enlarged

WIDTH, HEIGHT = 168, 126  # of a cell
CELLS = 6  # in a row
SHOWN = 24  # pictures of one reason
LONGEST = 27  # letters of a caption


@dataclass(frozen=True)
class Judged:
    """A dropped picture. views: one or several pictures, uint8 H,W,3, each with its caption."""

    views: Sequence[tuple[np.ndarray, str]]


def dropped_sheet(title: str, groups: Mapping[str, Sequence[Judged]]) -> np.ndarray:
    """The sheet, uint8 H,W,3: for each heading its pictures, those of one beside each other."""
    strips = []
    for heading, judged in groups.items():
        for number, row in enumerate(rows(judged)):
            cells = [cell(pixels) for pixels, _ in row]
            captions = [shortened(text) for _, text in row]
            empty = CELLS - len(row)
            blank = np.full((HEIGHT, WIDTH, 3), 255, np.uint8)
            strips.append(Strip([*cells, *[blank] * empty], [*captions, *[""] * empty], "" if number else heading))
    return draw_sheet([""] * CELLS, strips, title)


def more(count: int) -> str:
    """What a heading says where not all are shown."""
    return f"; the {SHOWN} nearest to the limit" if count > SHOWN else ""


def rows(judged: Sequence[Judged]) -> list[list[tuple[np.ndarray, str]]]:
    """The views in rows of at most `CELLS`, those of one picture never torn apart."""
    found: list[list[tuple[np.ndarray, str]]] = [[]]
    for one in judged:
        if len(found[-1]) + len(one.views) > CELLS:
            found.append([])
        found[-1] += one.views[:CELLS]
    return found


def cell(pixels: np.ndarray) -> np.ndarray:
    """The whole picture, made smaller where it must be, in the middle of a white cell."""
    image = Image.fromarray(pixels)
    image.thumbnail((WIDTH, HEIGHT), Image.Resampling.LANCZOS)
    sheet = Image.new("RGB", (WIDTH, HEIGHT), "white")
    sheet.paste(image, ((WIDTH - image.width) // 2, (HEIGHT - image.height) // 2))
    return np.asarray(sheet)


def shortened(text: str) -> str:
    """The end of a long text, since that tells names apart."""
    return text if len(text) <= LONGEST else "..." + text[3 - LONGEST :]


def selection_groups(
    figures: Sequence[Figures], verdicts: Sequence[Verdict], wanted: Wanted, read: Callable[[int], np.ndarray]
) -> dict[str, list[Judged]]:
    """Heading -> pictures, of what `select` dropped. read: gives a picture by its number, uint8 H,W,3."""
    numbers = {one.name: index for index, one in enumerate(figures)}
    groups: dict[str, list[Judged]] = {}
    for reason in dict.fromkeys(verdict.reason for verdict in verdicts if verdict.reason):
        those = [index for index, verdict in enumerate(verdicts) if verdict.reason == reason]
        limit = next((each for each in wanted.limits if each.figure == reason), None)
        if limit is not None:
            those.sort(key=lambda index: nearness(figures[index], limit))
        elif reason == "rank":
            those.sort(key=lambda index: rank(figures[index], wanted))
        heading = f"{reason}: {len(those):,} {meaning(reason, limit, wanted)}{more(len(those))}"
        groups[heading] = []
        for index in those[:SHOWN]:
            verdict, caption = verdicts[index], f"{verdicts[index].name}"
            if reason == "unreadable":
                views = [(np.full((HEIGHT, WIDTH, 3), 200, np.uint8), caption)]
            elif reason == "duplicate":
                views = [(read(index), caption), (read(numbers[verdict.twin]), f"kept: {verdict.twin}")]
            else:
                rgb = read(index)
                views = [(rgb, caption), (detail_of(rgb, 2 if reason == "jpeg" else 1), verdict.text)]
            groups[heading].append(Judged(views))
    return groups


def nearness(one: Figures, limit: Limit) -> float:
    """Less for a picture that nearly passes."""
    value = one.values[limit.figure]
    assert value is not None
    return -value if limit.higher_is_better else value


def meaning(reason: str, limit: Limit | None, wanted: Wanted) -> str:
    """A reason, in words, after the number of pictures."""
    if limit is not None and reason == "jpeg":
        return f"that were a JPEG of quality {limit.value:g} or less (a part, enlarged twice)"
    if limit is not None:
        return f"{'below' if limit.higher_is_better else 'above'} {limit.value:g} (a part in its own pixels)"
    return {
        "duplicate": "that are there again, each beside the one that is kept",
        "rank": f"not among the best {wanted.keep} by {wanted.by} (a part in its own pixels)",
        "unreadable": "that cannot be read",
    }[reason]


def detail_of(rgb: np.ndarray, times: int) -> np.ndarray:
    """The part with the most detail, each pixel repeated `times` times so that it fills a cell."""
    height, width = min(HEIGHT // times, rgb.shape[0]), min(WIDTH // times, rgb.shape[1])
    energy = np.square(high_pass(luma(rgb), 1)).cumsum(axis=0).cumsum(axis=1)
    tops = range(0, rgb.shape[0] - height + 1, max(1, height // 2))
    lefts = range(0, rgb.shape[1] - width + 1, max(1, width // 2))

    def inside(top: int, left: int) -> float:
        bottom, right = top + height - 1, left + width - 1
        return float(energy[bottom, right] - energy[top, right] - energy[bottom, left] + energy[top, left])

    top, left = max(((t, x) for t in tops for x in lefts), key=lambda place: inside(*place))
    return enlarged(rgb[top : top + height, left : left + width], times)
