"""Sheets of paper and photo prints by name, upright, as their standards and shops give them.

ISO 216 (A, B) and ISO 269 (C) in millimetres; ANSI/ASME Y14.1, Arch and the office sizes of North America in inches;
photo prints in the nominal centimetres or inches by which shops sell them.
"""

from dataclasses import dataclass
from fractions import Fraction

UNITS = {"mm": Fraction(1), "cm": Fraction(10), "in": Fraction("25.4")}


@dataclass(frozen=True)
class Paper:
    """A sheet: its name, its width and height (width is the shorter side), the unit they are given in, its kind."""

    name: str
    width: Fraction
    height: Fraction
    unit: str
    kind: str = ""

    @property
    def sides(self) -> tuple[Fraction, Fraction]:
        """(width, height) in millimetres, exactly."""
        return self.width * UNITS[self.unit], self.height * UNITS[self.unit]


ISO = """
4A0 1682x2378  2A0 1189x1682
A0 841x1189  A1 594x841  A2 420x594  A3 297x420  A4 210x297  A5 148x210
A6 105x148  A7 74x105  A8 52x74  A9 37x52  A10 26x37  A3+ 329x483
B0 1000x1414  B1 707x1000  B2 500x707  B3 353x500  B4 250x353  B5 176x250
B6 125x176  B7 88x125  B8 62x88  B9 44x62  B10 31x44
C0 917x1297  C1 648x917  C2 458x648  C3 324x458  C4 229x324  C5 162x229
C6 114x162  C7 81x114  C8 57x81  C9 40x57  C10 28x40
"""

NORTH_AMERICA = """
letter 8.5x11  legal 8.5x14  tabloid 11x17  ledger 11x17  executive 7.25x10.5  statement 5.5x8.5  super-B 13x19
ANSI-A 8.5x11  ANSI-B 11x17  ANSI-C 17x22  ANSI-D 22x34  ANSI-E 34x44
Arch-A 9x12  Arch-B 12x18  Arch-C 18x24  Arch-D 24x36  Arch-E 36x48  Arch-E1 30x42
"""

PRINTS_IN_CM = """
9x13 10x13 10x15 13x13 13x18 15x20 15x21 18x24 20x20 20x25 20x27 20x30 24x30 25x38 30x30 30x40 30x45
40x40 40x50 40x60 50x50 50x60 50x70 50x75 60x80 60x90 70x100 75x100 80x120 100x150
"""

PRINTS_IN_INCHES = """
3.5x5 4x6 5x7 6x8 8x8 8x10 8x12 10x10 10x12 11x14 12x12 12x16 12x18 16x20 16x24 18x24 20x24 20x30 24x30 24x36
27x40 30x40 40x60
"""


def named(text: str, unit: str, kind: str) -> list[Paper]:
    """`A4 210x297  A5 148x210`, in `unit`."""
    words = text.split()
    sheets = []
    for name, size in zip(words[::2], words[1::2], strict=True):
        width, height = map(Fraction, size.split("x"))
        sheets.append(Paper(name, width, height, unit, kind))
    return sheets


def prints(text: str, unit: str, kind: str) -> list[Paper]:
    """`10x15 13x18`, in `unit`; each is called by its size."""
    return named(" ".join(f"{size} {size}" for size in text.split()), unit, kind)


#: Every sheet. A name may be there twice, once in each unit: `18x24` is sold in centimetres and in inches.
PAPERS = (
    *named(ISO, "mm", "ISO"),
    *named(NORTH_AMERICA, "in", "North America"),
    *prints(PRINTS_IN_CM, "cm", "print, cm"),
    *prints(PRINTS_IN_INCHES, "in", "print, inches"),
)
