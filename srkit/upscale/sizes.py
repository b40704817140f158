"""How large the result is to be, in the words people have for it: a factor, pixels, a box, a sheet of paper.

Imports no torch, so that a wrong word is told at once. Sizes are (width, height), as people say them. All is computed
in fractions and rounded once, halves up.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from fractions import Fraction
from math import floor, isfinite, pi, prod, tan

from srkit.errors import UsageError, did_you_mean
from srkit.upscale.papers import PAPERS, UNITS, Paper

PRINT_DPI = 300.0  # of a print, where none is said: what print shops ask for
DPI_RANGE = (1.0, 10_000.0)
MOST_SIDE = 1_000_000  # pixels
MOST_PIXELS = 10_000_000_000
LARGEST_FACTOR = 64  # of a chain of scales
ARCMINUTE = tan(pi / 180 / 60)  # what normal sight tells apart, as length over distance
WAYS = ("scale", "width", "height", "long_edge", "fit", "paper")
WORDS = {
    "scale": "--scale", "width": "--width", "height": "--height", "long_edge": "--long-edge", "fit": "--fit",
    "paper": "--print", "bleed": "--bleed", "crop": "--crop", "pad": "--pad",
}  # fmt: skip
NUMBER = r"(\d{1,9}(?:[.,]\d{1,9})?|[.,]\d{1,9})"
UNIT = r"(mm|cm|in|inch|inches|\")"
TURNED = {"portrait": False, "landscape": True}
SAME_AS = {"us letter": "letter", "us legal": "legal", "half letter": "statement", "13x19": "super-B"}

Pixels = tuple[int, int]
Sides = tuple[Fraction, Fraction]


@dataclass(frozen=True)
class Wanted:
    """What the user said of the size. UsageError where it is absurd, or says the size twice.

    scale: a factor, also 2.7. width, height, long_edge: pixels. fit: "1920x1080", a box it fits into.
    paper: a sheet, "A2", "10x15", "50x70cm", "24x36in", "A2 landscape"; dpi: its pixels to the inch, 300 if None.
    bleed: "3mm", added at each side of the sheet and cut off after printing.
    crop: what a sheet of another shape has no place for is cut off. pad: a colour to fill the rest of the sheet with.
    """

    scale: float | None = None
    width: int | None = None
    height: int | None = None
    long_edge: int | None = None
    fit: str | None = None
    paper: str | None = None
    dpi: float | None = None
    bleed: str | None = None
    crop: bool = False
    pad: str | None = None

    def __post_init__(self) -> None:
        ways = [way for way in WAYS if getattr(self, way) is not None]
        if len(ways) > 1:
            hint = "; both: --fit WIDTHxHEIGHT" if set(ways) == {"width", "height"} else ""
            raise UsageError(f"{' and '.join(WORDS[way] for way in ways)} each say how large; give one of them{hint}")
        for extra in ("bleed", "crop", "pad"):
            if getattr(self, extra) not in (None, False) and self.paper is None:
                raise UsageError(f"{WORDS[extra]} is for a sheet of paper; name it with --print")
        if self.crop and self.pad is not None:
            raise UsageError("--crop and --pad exclude each other: one cuts the picture, the other shows all of it")
        self.check_values()

    def check_values(self) -> None:
        """UsageError for the first value that cannot be meant."""
        if self.scale is not None and not (isfinite(self.scale) and 0 < self.scale <= MOST_SIDE):
            raise UsageError(f"--scale {self.scale:g} is not a factor; write 2, 4 or 2.7")
        if self.scale is not None and self.scale > LARGEST_FACTOR:
            raise UsageError(beyond(self.scale))
        for way in ("width", "height", "long_edge"):
            if (pixels := getattr(self, way)) is not None and not 1 <= pixels <= MOST_SIDE:
                raise UsageError(f"{WORDS[way]} {pixels} is not a number of pixels, from 1 to {MOST_SIDE:,}")
        if self.dpi is not None and not DPI_RANGE[0] <= self.dpi <= DPI_RANGE[1]:  # nan is in no range
            least, most = DPI_RANGE
            raise UsageError(f"--dpi {self.dpi:g} is not a number of pixels to the inch, from {least:g} to {most:,.0f}")
        if self.fit is not None:
            box_of(self.fit)
        if self.paper is not None:
            sheet_pixels(self, sheet_of(self.paper)[1])
        if self.pad is not None:
            colour_of(self.pad)

    @property
    def way(self) -> str:
        """The option that says how large, `--scale`; empty where none does."""
        return next((WORDS[way] for way in WAYS if getattr(self, way) is not None), "")

    @property
    def word(self) -> str:
        """What names of results have for the size: 2, 2.7, 3000px, A2."""
        if self.scale is not None:
            return f"{self.scale:g}"
        pixels = self.width or self.height or self.long_edge
        return f"{pixels}px" if pixels else str(self.fit or self.paper).replace(" ", "-")


@dataclass(frozen=True)
class Size:
    """How large the result is; all in pixels.

    virtual: (width, height) the whole picture is resized to. canvas: (width, height) of the file.
    offset: (x, y) of the virtual picture's corner in the canvas: negative where it is cropped, positive where padded.
    dpi: what the file says, None for nothing. lines: what to tell the user. factor: the larger of virtual over source,
    for `chain`. colour: RGB of the padding, None where there is none.
    """

    virtual: Pixels
    canvas: Pixels
    offset: Pixels = (0, 0)
    dpi: float | None = None
    lines: tuple[str, ...] = ()
    factor: float = 1.0
    colour: tuple[int, int, int] | None = None


def size_of(wanted: Wanted, width: int, height: int) -> Size:
    """The size of the result of a picture of `width` x `height` pixels, upright.

    A sheet of paper is turned as the picture is, unless it says `portrait` or `landscape`. UsageError where nothing
    says how large, where the result has absurdly many pixels, and where a sheet has another shape than the picture
    and neither `crop` nor `pad` says what to do.
    """
    if wanted.paper is not None:
        return printed(wanted, width, height)
    if not wanted.way:
        raise UsageError(f"nothing says how large; give one of {', '.join(WORDS[way] for way in WAYS)}")
    factor = ratio(wanted, width, height)
    virtual = checked((at_least_one(width * factor), at_least_one(height * factor)), wanted.way)
    lines: tuple[str, ...] = ()
    if wanted.dpi is not None:
        sides = " x ".join(f"{side / wanted.dpi * 2.54:.1f}" for side in virtual)
        lines = (f"at {wanted.dpi:g} dpi a print of {sides} cm", sharpness(width / virtual[0] * wanted.dpi))
    return Size(virtual, virtual, dpi=wanted.dpi, lines=lines, factor=larger(virtual, width, height))


def ratio(wanted: Wanted, width: int, height: int) -> Fraction:
    """Result over source, exactly, of all ways but paper."""
    if wanted.scale is not None:
        return Fraction(repr(float(wanted.scale)))  # 2.7 is 27/10, not the nearest binary number
    if wanted.width is not None:
        return Fraction(wanted.width, width)
    if wanted.height is not None:
        return Fraction(wanted.height, height)
    if wanted.long_edge is not None:
        return Fraction(wanted.long_edge, max(width, height))
    wide, tall = box_of(str(wanted.fit))
    return min(Fraction(wide, width), Fraction(tall, height))


def printed(wanted: Wanted, width: int, height: int) -> Size:
    """The size on a sheet of paper. With a bleed the picture covers it; padded, it stays inside the cut sheet."""
    dpi = wanted.dpi or PRINT_DPI
    paper, sides = sheet_of(str(wanted.paper), (width, height))
    canvas = sheet_pixels(wanted, sides)
    bleed = "" if canvas == pixels_of(sides, dpi) else f" with {said(wanted.bleed)} bleed"
    title = f"{paper}{bleed} at {dpi:g} dpi"
    lines = [f"{title}: {canvas[0]}x{canvas[1]} pixels"]
    virtual, offset = canvas, (0, 0)
    if wanted.pad is not None:
        virtual = scaled_to(pixels_of(sides, dpi), (width, height), cover=False)
        offset = ((canvas[0] - virtual[0]) // 2, (canvas[1] - virtual[1]) // 2)
        lines += bars(canvas, virtual, wanted.pad)
    elif not same_shape(canvas, (width, height)):
        virtual = scaled_to(canvas, (width, height), cover=True)
        if not wanted.crop:
            raise UsageError(
                f"the picture has {width}x{height} pixels and {title} {canvas[0]}x{canvas[1]}, another shape: "
                f"--crop cuts off {cut(canvas, virtual)}, --pad COLOUR fills the rest of the sheet"
            )
        offset = (-((virtual[0] - canvas[0]) // 2), -((virtual[1] - canvas[1]) // 2))
        lines.append(f"cut off: {cut(canvas, virtual)}")
    checked(virtual, "--print")
    factor = larger(virtual, width, height)
    if factor < 1:
        lines.append("the picture has more pixels than the sheet needs, and is made smaller")
    lines.append(sharpness(dpi / factor))
    colour = None if wanted.pad is None else colour_of(wanted.pad)
    return Size(virtual, canvas, offset, dpi, tuple(lines), factor, colour=colour)


def scaled_to(box: Pixels, source: Pixels, *, cover: bool) -> Pixels:
    """`source` in its own shape, as large as fits into `box`, or as small as covers it."""
    choose = max if cover else min
    factor = choose(Fraction(box[0], source[0]), Fraction(box[1], source[1]))
    return at_least_one(source[0] * factor), at_least_one(source[1] * factor)


def same_shape(box: Pixels, source: Pixels) -> bool:
    """Does `source` fill `box` but for rounding: one pixel, or the half pixel that `source` itself is rounded by?"""
    covering = scaled_to(box, source, cover=True)
    allowed = max(1.0, larger(box, *source) / 2)
    return all(abs(a - b) <= allowed for a, b in zip(box, covering, strict=True))


def cut(canvas: Pixels, virtual: Pixels) -> str:
    """What is cut off, in words: `11.1 % of the picture at the left and right`."""
    share = 1 - Fraction(canvas[0] * canvas[1], virtual[0] * virtual[1])
    where = "left and right" if virtual[0] > canvas[0] else "top and bottom"
    return f"{float(share) * 100:.1f} % of the picture at the {where}"


def bars(canvas: Pixels, virtual: Pixels, colour: str) -> list[str]:
    """Where the sheet shows the padding's colour, in words."""
    across, down = ((canvas[at] - virtual[at]) / 2 for at in (0, 1))
    sizes = {"left and right": across, "top and bottom": down}
    shown = [f"{size:.0f} pixels at the {where}" for where, size in sizes.items() if size]
    return [f"filled with {colour}: {', '.join(shown)}"] if shown else []


def sharpness(per_inch: float) -> str:
    """`212 source pixels to the printed inch: sharp from 41 cm`.

    The distance is that at which one source pixel is seen under one arcminute, which is what normal sight (20/20, or
    1.0) tells apart: 2.54 cm / per_inch / tan(1'). Nearer, the pixels are larger than the eye's own limit, and only
    what the network adds is sharp.
    """
    distance = 2.54 / per_inch / ARCMINUTE
    words = f"{distance:.0f} cm" if distance < 100 else f"{distance / 100:.1f} m"
    count = f"{per_inch:.0f}" if per_inch >= 10 else f"{per_inch:.2g}"
    return f"{count} source pixels to the printed inch: sharp from {words}"


def sheet_of(word: str, picture: Pixels = (1, 1)) -> tuple[str, Sides]:
    """("A2 landscape", (width, height) in mm): a sheet turned as the picture is, or as its last word says.

    UsageError for a sheet that is not known, that has no size, or whose unit is not certain.
    """
    words = re.sub(r"[\s_]+", " ", word.strip()).replace("×", "x")
    name, _, turn = words.replace("-", " ").rpartition(" ")
    landscape: bool | None = TURNED.get(turn.lower())
    name = words[: len(name)] if landscape is not None else words
    title, sides = measured(name) or listed(name, word)
    if min(sides) <= 0:
        raise UsageError(f"--print '{word}': a sheet has two sides longer than 0")
    if sides[0] == sides[1]:
        return title, sides
    lies = sides[0] > sides[1]
    if landscape is None:
        landscape = lies if picture[0] == picture[1] else picture[0] > picture[1]
    numbers, _, unit = title.partition(" ")
    if unit:  # a sheet called by its size is told as it lies
        title = title if landscape == lies else f"{'x'.join(reversed(numbers.split('x')))} {unit}"
    elif landscape:
        title += " landscape"
    return title, (sides if landscape == lies else (sides[1], sides[0]))


def measured(word: str) -> tuple[str, Sides] | None:
    """`50x70cm`, `24x36in`, `24"x36"`: its own size; None for another kind of word."""
    match = re.fullmatch(rf"{NUMBER} ?{UNIT}? ?x ?{NUMBER} ?{UNIT}", word, re.IGNORECASE)
    if not match or (match[2] and unit_of(match[2]) != unit_of(match[4])):
        return None
    unit = unit_of(match[4])
    numbers = match[1].replace(",", "."), match[3].replace(",", ".")
    return f"{numbers[0]}x{numbers[1]} {unit}", (Fraction(numbers[0]) * UNITS[unit], Fraction(numbers[1]) * UNITS[unit])


def listed(name: str, word: str) -> tuple[str, Sides]:
    """A sheet of `PAPERS`; a print called by its size is known turned, too. UsageError where it is none or two."""
    key = plain(SAME_AS.get(plain(name), name))
    found = [paper for paper in PAPERS if plain(paper.name) == key]
    if not found and re.fullmatch(rf"{NUMBER}x{NUMBER}", key):
        turned = "x".join(reversed(key.split("x")))
        found = [paper for paper in PAPERS if plain(paper.name) == turned]
        if not found:
            raise UsageError(f"--print '{word}' does not say its unit; write {key}cm or {key}in")
        found = [Paper(key, paper.height, paper.width, paper.unit) for paper in found]
    if len(found) > 1:
        units = " or ".join(f"{key}{paper.unit}" for paper in found)
        raise UsageError(f"--print '{word}' is sold in centimetres and in inches; write {units}")
    if not found:
        hint = did_you_mean(name, [paper.name for paper in PAPERS if "x" not in paper.name])
        near = hint if hint.startswith("; did you mean") else ""
        raise UsageError(f"no paper is called '{word}'{near or '; write 50x70cm or 24x36in'} (--print list names all)")
    paper = found[0]
    return (f"{paper.name} {paper.unit}" if "x" in paper.name else paper.name), paper.sides


def plain(name: str) -> str:
    """A name as it is compared: letter case, spaces and hyphens do not count."""
    return re.sub(r"[\s_-]+", " ", name.strip().lower())


def unit_of(word: str) -> str:
    return "in" if word.lower() in ("inch", "inches", '"') else word.lower()


def length_of(word: str) -> Fraction:
    """`3mm`, `0.125in` in millimetres; `0` needs no unit. UsageError for anything else."""
    match = re.fullmatch(rf"{NUMBER}\s*{UNIT}?", word.strip(), re.IGNORECASE)
    number = Fraction(match[1].replace(",", ".")) if match else Fraction(0)
    if not match or (number and not match[2]):
        raise UsageError(f"--bleed '{word}' is not a length; write 3mm or 0.125in")
    return number * UNITS[unit_of(match[2] or "mm")]


def said(word: str | None) -> str:
    """`3mm` as `3 mm`."""
    return re.sub(r"^([\d.,]+)\s*", r"\1 ", (word or "").strip())


def box_of(word: str) -> Pixels:
    """`1920x1080` as two numbers. UsageError for anything else."""
    match = re.fullmatch(r"(\d{1,7})\s*[x×]\s*(\d{1,7})", word.strip(), re.IGNORECASE)
    box = (int(match[1]), int(match[2])) if match else (0, 0)
    if not 1 <= min(box) <= max(box) <= MOST_SIDE:
        raise UsageError(f"--fit '{word}' is not a box of pixels; write 1920x1080")
    return box


def colour_of(word: str) -> tuple[int, int, int]:
    """RGB, 0 to 255, of a name or `#rrggbb`. UsageError for anything else."""
    from PIL import ImageColor

    try:
        red, green, blue = ImageColor.getrgb(word.strip())[:3]
    except (ValueError, IndexError):
        near = did_you_mean(word.strip().lower(), ImageColor.colormap)
        hint = near if near.startswith("; did you mean") else "; write white, black or #f5f0e6"
        raise UsageError(f"--pad '{word}' is not a colour{hint}") from None
    return red, green, blue


def sheet_pixels(wanted: Wanted, sides: Sides) -> Pixels:
    """The pixels of a sheet with its bleed at every side."""
    bleed = 2 * length_of(wanted.bleed) if wanted.bleed is not None else 0
    return checked(pixels_of((sides[0] + bleed, sides[1] + bleed), wanted.dpi or PRINT_DPI), "--print")


def pixels_of(sides: Sides, dpi: float) -> Pixels:
    """Millimetres as pixels, each side rounded for itself, as print shops do."""
    density = Fraction(repr(float(dpi))) / UNITS["in"]
    return at_least_one(sides[0] * density), at_least_one(sides[1] * density)


def at_least_one(length: Fraction) -> int:
    """Rounded, halves up, to a whole number of pixels."""
    return max(1, floor(length + Fraction(1, 2)))


def larger(virtual: Pixels, width: int, height: int) -> float:
    return float(max(Fraction(virtual[0], width), Fraction(virtual[1], height)))


def checked(size: Pixels, word: str) -> Pixels:
    """`size`; UsageError where it has absurdly many pixels."""
    if max(size) > MOST_SIDE or size[0] * size[1] > MOST_PIXELS:
        limits = f"{MOST_SIDE:,} a side and {MOST_PIXELS:,} in all"
        raise UsageError(f"{word} asks for {size[0]:,} x {size[1]:,} pixels; at most {limits} can be made")
    return size


def chain(scales: Iterable[int], factor: float) -> tuple[int, ...]:
    """The scales to use one after another, so that their product is at least `factor`: `chain((2, 3, 4), 5)` is (2, 3).

    The least product, of those the fewest stages, the small scales first, since they cost least there. UsageError
    where `factor` is beyond 64, or the scales do not reach it.
    """
    offered = sorted(set(scales))
    if factor > LARGEST_FACTOR:
        raise UsageError(beyond(factor))
    needed = factor * (1 - 1e-9)  # of a division's last bit
    if offered[0] >= needed:
        return (offered[0],)
    steps = [scale for scale in offered if scale > 1]
    if not steps:
        raise UsageError(f"a model for x1 only cannot make a picture {factor:.4g} times larger")
    chains: list[tuple[int, ...]] = [(scale,) for scale in steps if scale < needed]
    best: list[tuple[int, ...]] = [(scale,) for scale in steps if scale >= needed]
    while chains:
        grown = [(*each, scale) for each in chains for scale in steps if scale >= each[-1]]
        sized = [(each, prod(each)) for each in grown]
        best += [each for each, size in sized if size >= needed]
        chains = [each for each, size in sized if size < needed]
    return min(best, key=lambda each: (prod(each), len(each), each))


def beyond(factor: float) -> str:
    return f"{factor:.4g} times larger is beyond the limit of {LARGEST_FACTOR}; name a smaller size"


def papers_table(dpi: float = PRINT_DPI) -> tuple[list[str], list[list[str]]]:
    """(headings, rows) of all sheets, for `--print list`: name, millimetres, inches, pixels at `dpi`, kind."""
    rows = []
    for paper in PAPERS:
        sides = paper.sides
        millimetres = " x ".join(f"{float(side):g}" for side in sides)
        inches = " x ".join(f"{float(side / UNITS['in']):.4g}" for side in sides)
        pixels = " x ".join(f"{side}" for side in pixels_of(sides, dpi))
        twice = sum(each.name == paper.name for each in PAPERS) > 1
        rows.append([paper.name + (paper.unit if twice else ""), millimetres, inches, pixels, paper.kind])
    return ["paper", "mm", "inches", f"pixels at {dpi:g} dpi", "kind"], rows
