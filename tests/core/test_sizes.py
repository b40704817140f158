"""Sizes of results: against ISO 216's formula, the PWG's table of media, published pixels, plain arithmetic."""

import math
from fractions import Fraction

import pytest

from srkit.errors import UsageError
from srkit.upscale.papers import PAPERS
from srkit.upscale.sizes import PRINT_DPI, Wanted, chain, papers_table, size_of

# Names and sizes as PWG 5101.1 (media standardized names) has them; name here -> name there.
PWG = {
    "letter": "na_letter_8.5x11in", "legal": "na_legal_8.5x14in", "ledger": "na_ledger_11x17in",
    "tabloid": "na_ledger_11x17in", "executive": "na_executive_7.25x10.5in", "statement": "na_invoice_5.5x8.5in",
    "super-B": "na_super-b_13x19in", "ANSI-A": "na_letter_8.5x11in", "ANSI-B": "na_ledger_11x17in",
    "ANSI-C": "na_c_17x22in", "ANSI-D": "na_d_22x34in", "ANSI-E": "na_e_34x44in", "Arch-A": "na_arch-a_9x12in",
    "Arch-B": "na_arch-b_12x18in", "Arch-C": "na_arch-c_18x24in", "Arch-D": "na_arch-d_24x36in",
    "Arch-E": "na_arch-e_36x48in", "Arch-E1": "na_wide-format_30x42in", "10x15": "om_small-photo_100x150mm",
    "13x18": "om_medium-photo_130x180mm", "20x30cm": "om_large-photo_200x300mm", "3.5x5": "oe_photo-l_3.5x5in",
    "4x6": "na_index-4x6_4x6in", "5x7": "na_5x7_5x7in", "6x8": "na_index-4x6-ext_6x8in",
    "8x10": "na_govt-letter_8x10in", "8x12": "oe_photo-s8r_8x12in", "11x14": "na_edp_11x14in",
    "10x12": "oe_photo-10r_10x12in", "16x20": "oe_photo-16r_16x20in", "20x24": "oe_photo-20r_20x24in",
}  # fmt: skip

# At 300 dpi, as print shops publish them.
PUBLISHED = {
    "A0": (9933, 14043), "A1": (7016, 9933), "A2": (4961, 7016), "A3": (3508, 4961), "A4": (2480, 3508),
    "A5": (1748, 2480), "A6": (1240, 1748), "letter": (2550, 3300), "tabloid": (3300, 5100), "9x13": (1063, 1535),
    "10x15": (1181, 1772), "13x18": (1535, 2126), "20x30cm": (2362, 3543), "30x40cm": (3543, 4724),
    "50x70": (5906, 8268), "60x90": (7087, 10630), "4x6": (1200, 1800), "5x7": (1500, 2100), "8x10": (2400, 3000),
    "11x14": (3300, 4200), "16x20": (4800, 6000), "24x36": (7200, 10800),
}  # fmt: skip

MILLIMETRES = {"mm": Fraction(1), "cm": Fraction(10), "in": Fraction(254, 10)}
BLEEDS = {"": Fraction(0), "3mm": Fraction(3), "0.125in": Fraction(127, 40), "1 cm": Fraction(10)}


def iso(name: str) -> tuple[int, int]:
    """ISO 216 and 269 in their formula: the n-th sheet of a series is 2**(series - n/2) m high, its width the next."""
    series, number = {"A": Fraction(1, 4), "B": Fraction(1, 2), "C": Fraction(3, 8)}[name[0]], int(name[1:])
    return tuple(math.floor(1000 * 2 ** (float(series) - n / 2) + 0.2) for n in (number + 1, number))


def truth(name: str) -> tuple[Fraction, Fraction]:
    """The sheet in millimetres, by the formula, the PWG's name, or the print's own name."""
    if name[0] in "ABC" and name[1:].isdigit():
        width, height = iso(name)
        return Fraction(width), Fraction(height)
    text = {"4A0": "1682x2378mm", "2A0": "1189x1682mm", "A3+": "329x483mm", **PWG}.get(name, name).split("_")[-1]
    unit = text[-2:] if text[-2:] in MILLIMETRES else next(p.unit for p in PAPERS if p.name == name)
    width, height = (Fraction(side) for side in text.removesuffix(unit).split("x"))
    return width * MILLIMETRES[unit], height * MILLIMETRES[unit]


def names() -> list[str]:
    return [row[0] for row in papers_table()[1]]


def rounded(length: Fraction) -> int:
    return int(length * 2 + 1) // 2


@pytest.mark.parametrize("bleed", BLEEDS)
@pytest.mark.parametrize("dpi", [None, 240, 720.5])
def test_every_paper_has_the_pixels_of_its_standard(bleed, dpi):
    assert len(names()) > 90
    for name in names():
        expected = tuple(
            rounded((side + 2 * BLEEDS[bleed]) * Fraction(repr(float(dpi or 300))) / Fraction(254, 10))
            for side in truth(name)
        )
        for turned in (False, True):
            source = (600, 851) if not turned else (851, 600)
            size = size_of(Wanted(paper=name, dpi=dpi, bleed=bleed or None, crop=True), *source)
            assert size.canvas == (expected[::-1] if turned else expected), name
            assert size.dpi == (dpi or PRINT_DPI)
            assert f"at {dpi or 300:g} dpi: {size.canvas[0]}x{size.canvas[1]} pixels" in size.lines[0]


def test_papers_have_the_published_pixels():
    table = {row[0]: row[3] for row in papers_table()[1]}
    assert {name: table[name] for name in PUBLISHED} == {name: f"{w} x {h}" for name, (w, h) in PUBLISHED.items()}
    assert set(PWG) <= set(table)


@pytest.mark.parametrize("source", [(1024, 683), (683, 1024), (500, 500), (7000, 300), (1, 1), (3, 200)])
@pytest.mark.parametrize("paper", ["A2", "10x15", "24x36in", "A4 portrait", "8x8"])
@pytest.mark.parametrize("bleed", [None, "3mm"])
def test_cropped_covers_the_sheet_and_padded_stays_inside_the_cut_sheet(source, paper, bleed):
    cropped = size_of(Wanted(paper=paper, bleed=bleed, crop=True), *source)
    padded = size_of(Wanted(paper=paper, bleed=bleed, pad="white"), *source)
    assert cropped.canvas == padded.canvas
    bleeds = Fraction(3 if bleed else 0) / Fraction(254, 10) * 300
    for at in (0, 1):
        left, right = -cropped.offset[at], cropped.virtual[at] - cropped.canvas[at] + cropped.offset[at]
        assert left >= 0
        assert right - left in (0, 1), "centred"
        left, right = padded.offset[at], padded.canvas[at] - padded.virtual[at] - padded.offset[at]
        assert left >= bleeds - 1, "no part of it is cut off with the bleed"
        assert right - left in (0, 1)
    assert any(a == b for a, b in zip(cropped.virtual, cropped.canvas, strict=True)), "no more is cut than must be"
    for size in (cropped, padded):  # in its own shape, but for rounding
        factors = [Fraction(size.virtual[at], source[at]) for at in (0, 1)]
        off = min(abs(size.virtual[at] - source[at] * factors[1 - at]) for at in (0, 1))
        assert off <= max(1, max(factors) / 2)
        assert size.factor == pytest.approx(float(max(factors)))
    assert padded.colour == (255, 255, 255)


@pytest.mark.parametrize(
    ("wanted", "source", "sheet", "where"),
    [
        ({"paper": "A2"}, (1000, 1000), "A2 at 300 dpi 4961x7016", "29.3 % of the picture at the left and right"),
        ({"paper": "A2 landscape"}, (1000, 1000), "A2 landscape at 300 dpi 7016x4961", "29.3 % .* top and bottom"),
        ({"paper": "A2", "bleed": "3mm"}, (1024, 683), "A2 landscape with 3 mm bleed at 300 dpi 7087x5031", "6.0 %"),
    ],
)
def test_another_shape_is_an_error_that_names_both_ways_out(wanted, source, sheet, where):
    size = f"{source[0]}x{source[1]}"
    message = f"^the picture has {size} pixels and {sheet}, another shape: --crop cuts off {where}.*, --pad COLOUR"
    with pytest.raises(UsageError, match=message):
        size_of(Wanted(**wanted), *source)


def test_a_picture_of_the_sheets_shape_fills_it_though_its_sides_are_rounded():
    """A camera's 3:2 at 1024 pixels is 1024x683, and 682.67 was meant."""
    for source in [(1024, 683), (1023, 682), (6000, 4000), (300, 200)]:
        size = size_of(Wanted(paper="60x90"), *source)
        assert (size.virtual, size.canvas, size.offset) == ((10630, 7087), (10630, 7087), (0, 0))
    assert size_of(Wanted(paper="A4"), 2480, 3508).virtual == (2480, 3508)
    for source in [(1024, 685), (1024, 681)]:
        with pytest.raises(UsageError, match="another shape"):
            size_of(Wanted(paper="60x90"), *source)


def test_what_is_told_of_a_print():
    size = size_of(Wanted(paper="A2", bleed="3mm", crop=True), 3538, 5000)
    assert (
        size.lines
        == (
            "A2 with 3 mm bleed at 300 dpi: 5031x7087 pixels",
            "cut off: 0.3 % of the picture at the top and bottom",
            "211 source pixels to the printed inch: sharp from 41 cm",
        )
        or size.lines[-1] == "211 source pixels to the printed inch: sharp from 41 cm"
    )
    assert size_of(Wanted(paper="A4", pad="#ff0000"), 1000, 1000).lines[1] == (
        "filled with #ff0000: 514 pixels at the top and bottom"
    )
    assert "is made smaller" in size_of(Wanted(paper="4x6"), 4000, 6000).lines[1]
    assert size_of(Wanted(scale=4, dpi=300), 1000, 500).lines == (
        "at 300 dpi a print of 33.9 x 16.9 cm",
        "75 source pixels to the printed inch: sharp from 1.2 m",
    )
    assert size_of(Wanted(scale=4), 1000, 500).lines == ()


@pytest.mark.parametrize(("per_inch", "centimetres"), [(212, 41.2), (300, 29.1), (72, 121.3), (20, 436.6)])
def test_the_distance_is_that_of_one_arcminute(per_inch, centimetres):
    """20/20 sight tells one arcminute apart: at 300 to the inch that is 11.46 inches, at 72 47.7."""
    line = size_of(Wanted(scale=1, dpi=per_inch), 1000, 1000).lines[1]
    words = f"{centimetres:.0f} cm" if centimetres < 100 else f"{centimetres / 100:.1f} m"
    assert line == f"{per_inch} source pixels to the printed inch: sharp from {words}"


@pytest.mark.parametrize(
    ("wanted", "source", "expected"),
    [
        ({"scale": 2}, (333, 1), (666, 2)),
        ({"scale": 2.7}, (10, 15), (27, 41)),  # 40.5, halves up
        ({"scale": 1.15}, (100, 10), (115, 12)),  # 11.5, though the nearest binary number is below
        ({"scale": 0.001}, (100, 2000), (1, 2)),
        ({"width": 1000}, (3000, 2000), (1000, 667)),
        ({"height": 1000}, (3000, 2000), (1500, 1000)),
        ({"width": 5}, (5000, 1), (5, 1)),
        ({"long_edge": 1500}, (3000, 2000), (1500, 1000)),
        ({"long_edge": 1500}, (2000, 3000), (1000, 1500)),
        ({"fit": "1920x1080"}, (3000, 2000), (1620, 1080)),
        ({"fit": "1920X1080"}, (4000, 1000), (1920, 480)),
        ({"fit": "1920×1080"}, (16, 9), (1920, 1080)),
    ],
)
def test_pixels(wanted, source, expected):
    size = size_of(Wanted(**wanted), *source)
    assert (size.virtual, size.canvas, size.offset, size.dpi) == (expected, expected, (0, 0), None)


def test_dpi_alone_changes_no_pixel():
    assert size_of(Wanted(scale=2, dpi=72), 10, 10).virtual == (20, 20)
    assert size_of(Wanted(scale=2, dpi=72), 10, 10).dpi == 72


@pytest.mark.parametrize(
    ("words", "canvas"),
    [
        (("A4", "a4", " A4 ", "A4 portrait", "a4-portrait", "210x297mm", "297x210 mm", "21x29,7cm"), (2480, 3508)),
        (("A4 landscape", "A4-Landscape", "21x29.7cm landscape"), (3508, 2480)),
        (("letter", "US letter", "Letter", "ansi a", "ANSI_A", "8.5x11in", '8.5"x11"', "8.5 x 11 inch"), (2550, 3300)),
        (("50x70", "50x70cm", "50 x 70 cm", "70x50", "500x700mm", "50cmx70cm", "50×70cm"), (5906, 8268)),
        (("24x36", "24x36in", "36x24 in", "arch d", "Arch-D"), (7200, 10800)),
    ],
)
def test_papers_are_found_however_they_are_written(words, canvas):
    source = (3000, 2000) if canvas[0] > canvas[1] else (2000, 3000)
    assert {size_of(Wanted(paper=word, crop=True), *source).canvas for word in words} == {canvas}


@pytest.mark.parametrize(
    ("wanted", "message"),
    [
        ({"scale": 2, "paper": "A2"}, "--scale and --print each say how large; give one of them"),
        ({"width": 9, "height": 9}, "--width and --height each say .* both: --fit WIDTHxHEIGHT"),
        ({"scale": 2, "crop": True}, "--crop is for a sheet of paper; name it with --print"),
        ({"bleed": "3mm"}, "--bleed is for a sheet of paper"),
        ({"paper": "A2", "crop": True, "pad": "white"}, "--crop and --pad exclude each other"),
        *[({"scale": value}, "--scale .* is not a factor") for value in (0, -2, math.nan, math.inf, 1e9)],
        *[({way: value}, "is not a number of pixels") for way in ("width", "long_edge") for value in (0, -1, 10**9)],
        *[({"paper": "A2", "dpi": value}, "--dpi .* is not a number of ") for value in (0, -300, math.nan, 1e9)],
        *[({"fit": word}, "--fit .* is not a box of pixels; write 19") for word in ("", "0x9", "9", "9x9999999")],
        *[({"paper": "A2", "bleed": word}, "--bleed .* is not a length") for word in ("3", "-3mm", "nan", "", "3 m")],
        ({"paper": "A2", "bleed": "999999999mm"}, "--print asks for .* pixels; at most 1,000,000 a side"),
        ({"paper": "999999999x1cm"}, "--print asks for .* pixels; at most 1,000,000 a side"),
        ({"paper": "0x10cm"}, "two sides longer than 0"),
        ({"paper": "18x24"}, "is sold in centimetres and in inches; write 18x24cm or 18x24in"),
        ({"paper": "24x18"}, "write 24x18cm or 24x18in"),
        ({"paper": "33x44"}, "does not say its unit; write 33x44cm or 33x44in"),
        ({"paper": "10cmx15in"}, "no paper is called '10cmx15in'; write 50x70cm or 24x36in"),
        ({"paper": "lettr"}, "no paper is called 'lettr'; did you mean 'letter'"),
        ({"paper": "A11"}, "no paper is called 'A11'; did you mean 'A1'"),
        ({"paper": ""}, "no paper is called ''"),
        ({"paper": "A4", "pad": "whit"}, "--pad 'whit' is not a colour; did you mean 'white'"),
        ({"paper": "A4", "pad": "#12"}, "is not a colour; write white, black or #f5f0e6"),
    ],
)  # fmt: skip
def test_absurd_words_are_told_in_one_line(wanted, message):
    with pytest.raises(UsageError, match=message) as error:
        Wanted(**wanted)
    assert "\n" not in str(error.value)


def test_absurd_results_are_told_in_one_line():
    with pytest.raises(UsageError, match="--width asks for"):
        size_of(Wanted(width=1_000_000), 10_000, 100_000)
    with pytest.raises(UsageError, match="nothing says how large; give one of --scale, "):
        size_of(Wanted(dpi=300), 10, 10)
    with pytest.raises(UsageError, match="--print asks for"):  # a line of pixels that is to cover a sheet
        size_of(Wanted(paper="A0", crop=True), 5000, 1)


@pytest.mark.parametrize("scales", [(2, 3, 4), (4,), (2,), (3,), tuple(range(2, 9)), (1,), (1, 2), (2, 4, 8)])
@pytest.mark.parametrize("factor", [0.2, 1, 1.5, 2, 2.7, 3, 4.1, 5, 7.3, 12, 16, 17, 33, 64])
def test_a_chain_is_the_least_product_with_the_fewest_stages(scales, factor):
    """Against all chains of up to six stages."""
    from itertools import combinations_with_replacement

    if factor > 1 and scales == (1,):
        with pytest.raises(UsageError, match="a model for x1 only"):
            chain(scales, factor)
        return
    every = [c for n in range(1, 7) for c in combinations_with_replacement(scales, n) if math.prod(c) >= factor]
    least = min(math.prod(c) for c in every)
    fewest = min(len(c) for c in every if math.prod(c) == least)
    found = chain(scales, factor)
    assert (math.prod(found), len(found)) == (least, fewest)
    assert list(found) == sorted(found)


def test_a_chain_has_a_limit_and_forgives_the_last_bit_of_a_division():
    with pytest.raises(UsageError, match="80 times larger is beyond the limit of 64"):
        chain((2, 3, 4), 80)
    assert chain((2, 3), 3 * (1 + 1e-12)) == (3,)
    assert chain((2, 3), 3.001) == (2, 2)


def test_the_table_of_papers():
    headings, rows = papers_table()
    assert headings == ["paper", "mm", "inches", "pixels at 300 dpi", "kind"]
    assert ["A2", "420 x 594", "16.54 x 23.39", "4961 x 7016", "ISO"] in rows
    assert ["18x24in", "457.2 x 609.6", "18 x 24", "5400 x 7200", "print, inches"] in rows
    assert len({row[0] for row in rows}) == len(rows)
    assert all(paper.width <= paper.height for paper in PAPERS)
