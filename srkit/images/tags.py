"""The tags of a TIFF file, and of EXIF, which is a TIFF without pixels: read, mended in place, written."""

import struct
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import BinaryIO

SIZES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4, 16: 8, 17: 8, 18: 8}
CODES = {1: "B", 3: "H", 4: "I", 6: "b", 8: "h", 9: "i", 11: "f", 12: "d", 13: "I", 16: "Q", 17: "q", 18: "Q"}
WORD = {3: 2, 4: 4, 5: 4, 8: 2, 9: 4, 10: 4, 11: 4, 12: 8, 13: 4, 16: 8, 17: 8, 18: 8}  # what is turned round as one

WIDTH, HEIGHT, BITS, COMPRESSION, PHOTOMETRIC, OFFSETS, ORIENTATION, SAMPLES, ROWS, COUNTS = (
    256, 257, 258, 259, 262, 273, 274, 277, 278, 279
)  # fmt: skip
X_RESOLUTION, Y_RESOLUTION, UNIT, SAMPLE_FORMAT, PLANAR = 282, 283, 296, 339, 284
XMP, IPTC, ICC, EXIF, GPS, INTEROP, PIXEL_WIDTH, PIXEL_HEIGHT = 700, 33723, 34675, 34665, 34853, 40965, 40962, 40963
SUBS = (EXIF, GPS, INTEROP)
#: What describes how the pixels are stored, or is kept elsewhere: no part of the EXIF that a TIFF holds.
STRUCTURE = {
    *range(254, 260), 262, 263, 264, 265, 266, OFFSETS, ORIENTATION, SAMPLES, ROWS, COUNTS, 280, 281, X_RESOLUTION,
    Y_RESOLUTION, PLANAR, 288, 289, 290, 291, 292, 293, UNIT, 301, 317, 318, 319, *range(320, 326), 330, 332,
    333, 334, 338, SAMPLE_FORMAT, 340, 341, 342, *range(343, 348), *range(512, 522), *range(529, 533), XMP, 32997,
    32998, IPTC, 34377, ICC, 37724,
}  # fmt: skip
MOST = 64 << 20  # bytes of values that are read of a file


@dataclass(frozen=True)
class Entry:
    """One tag: its type, its raw bytes in the byte order of the file, and where its entry and its bytes stand."""

    tag: int
    kind: int
    count: int
    data: bytes
    at: int
    value_at: int

    def numbers(self, order: str) -> tuple[float, ...]:
        """The values; rationals as quotients, 0 where the denominator is."""
        if self.kind in (5, 10):
            code = "I" if self.kind == 5 else "i"
            flat = struct.unpack(f"{order}{2 * self.count}{code}", self.data)
            return tuple(a / b if b else 0.0 for a, b in zip(flat[::2], flat[1::2], strict=True))
        code = CODES.get(self.kind, "B")
        return struct.unpack(f"{order}{len(self.data) // struct.calcsize(code)}{code}", self.data)


class Tags:
    """A TIFF file's directories of tags. Raises ValueError where it is none, or its first directory is broken.

    order: "<" or ">". big: BigTIFF. first: the tags of the first picture. following: where the next directory is, or 0.
    """

    def __init__(self, file: BinaryIO):
        self.file, self.left = file, MOST
        head = self._bytes(0, 16, exact=False)
        if head[:2] not in (b"II", b"MM") or len(head) < 8:
            raise ValueError("no TIFF header")
        self.order = "<" if head[:2] == b"II" else ">"
        version = struct.unpack(self.order + "H", head[2:4])[0]
        if version not in (42, 43):
            raise ValueError("no TIFF header")
        self.big = version == 43
        self.start = struct.unpack(self.order + ("Q" if self.big else "I"), head[8:16] if self.big else head[4:8])[0]
        self.first, self.following = self.directory(self.start)

    def _bytes(self, at: int, count: int, *, exact: bool = True) -> bytes:
        self.file.seek(at)
        data = self.file.read(count)
        if exact and len(data) < count:
            raise ValueError(f"the file ends before {count} bytes at {at}")
        return data

    def directory(self, at: int) -> tuple[dict[int, Entry], int]:
        """(tags, where the next directory is) of the directory at `at`; tags whose values cannot be are left out."""
        code, head, each = ("Q", 8, 20) if self.big else ("H", 2, 12)
        count = struct.unpack(self.order + code, self._bytes(at, head))[0]
        if not 0 < count < 4096:
            raise ValueError(f"a directory of {count} tags")
        table = self._bytes(at + head, each * count)
        found: dict[int, Entry] = {}
        for place in range(0, each * count, each):
            entry = self._entry(table[place : place + each], at + head + place)
            if entry is not None:
                found.setdefault(entry.tag, entry)
        link = self._bytes(at + head + each * count, 8 if self.big else 4, exact=False)
        if len(link) < (8 if self.big else 4):
            return found, 0
        return found, struct.unpack(self.order + ("Q" if self.big else "I"), link)[0]

    def _entry(self, raw: bytes, at: int) -> Entry | None:
        tag, kind, count = struct.unpack(self.order + ("HHQ" if self.big else "HHI"), raw[: 12 if self.big else 8])
        inline = raw[12:] if self.big else raw[8:]
        size = SIZES.get(kind, 0) * count
        if not size:
            return None
        if size <= len(inline):
            return Entry(tag, kind, count, inline[:size], at, at + (12 if self.big else 8))
        if size > self.left:
            return None
        self.left -= size
        value_at = struct.unpack(self.order + ("Q" if self.big else "I"), inline)[0]
        try:
            return Entry(tag, kind, count, self._bytes(value_at, size), at, value_at)
        except (ValueError, OSError):
            return None

    def one(self, tag: int, default: int = 0) -> int:
        """The first number of a tag of the first directory."""
        entry = self.first.get(tag)
        return int(entry.numbers(self.order)[0]) if entry is not None else default

    def all(self, tag: int) -> tuple[int, ...]:
        """All numbers of a tag of the first directory."""
        entry = self.first.get(tag)
        return tuple(int(n) for n in entry.numbers(self.order)) if entry is not None else ()

    def directories(self) -> Iterator[dict[int, Entry]]:
        """The first directory and those that follow; a circle ends where it closes."""
        yield self.first
        seen, at = {self.start}, self.following
        while at and at not in seen and len(seen) < 10_000:
            seen.add(at)
            try:
                tags, at = self.directory(at)
            except (ValueError, OSError):
                return
            yield tags

    def below(self, tags: Mapping[int, Entry]) -> dict[int, dict[int, Entry]]:
        """The directories that EXIF, GPS and interoperability tags point to; broken ones are left out."""
        found = {}
        for tag in SUBS:
            if tag in tags and tags[tag].kind in (4, 13, 18):
                try:
                    found[tag] = self.directory(int(tags[tag].numbers(self.order)[0]))[0]
                except (ValueError, OSError):
                    continue
        return found


def turned(data: bytes, kind: int) -> bytes:
    """A value's bytes in the other byte order."""
    word = WORD.get(kind, 1)
    return data if word == 1 else b"".join(data[i : i + word][::-1] for i in range(0, len(data), word))


@dataclass(frozen=True)
class Value:
    """A tag to be written: raw bytes, or the tags of a directory below."""

    kind: int
    data: bytes = b""
    below: "Mapping[int, Value] | None" = None


def values_of(tags: Tags, entries: Mapping[int, Entry], *, order: str, leave: Iterable[int] = ()) -> dict[int, Value]:
    """The tags of a directory, and those below it, to be written in byte order `order`, without those of `leave`."""
    kept = {}
    subs, left = tags.below(entries), set(leave)
    for tag, entry in entries.items():
        if tag in left:
            continue
        if tag in SUBS:
            if tag in subs:
                kept[tag] = Value(4, below=values_of(tags, subs[tag], order=order))
            continue
        kept[tag] = Value(entry.kind, entry.data if order == tags.order else turned(entry.data, entry.kind))
    return kept


def packed(
    values: Mapping[int, Value], at: int, order: str, *, big: bool = False, ready: Mapping[int, bytes] | None = None
) -> bytes:
    """A directory with all that it points to, as the bytes to be put at `at`, which is even.

    ready: entries that are packed already, by tag: their values stay where they are.
    """
    ready = ready or {}
    place, count, offset = (8, "Q", "Q") if big else (4, "H", "I")
    every = sorted({*values, *ready})
    behind = at + struct.calcsize("<" + count) + len(every) * (20 if big else 12) + place
    table, rest = struct.pack(order + count, len(every)), bytearray()
    for tag in every:
        if tag in ready:
            table += ready[tag]
            continue
        value = values[tag]
        rest += bytes(len(rest) % 2)
        if value.below is not None:
            number, held = 1, struct.pack(order + offset, behind + len(rest))
            rest += packed(value.below, behind + len(rest), order, big=big)
            kind = 18 if big else 4
        else:
            number, held, kind = len(value.data) // SIZES[value.kind], value.data, value.kind
            if len(held) > place:
                held = struct.pack(order + offset, behind + len(rest))
                rest += value.data
        table += struct.pack(order + "HH" + offset, tag, kind, number) + held.ljust(place, b"\0")
    return table + bytes(place) + bytes(rest)
