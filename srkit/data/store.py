"""The store: every picture of a dataset decoded once, into one packed file that training maps into memory.

Layout of a pack: the pixels of lr 0, hr 0, lr 1, hr 1, ... as raw RGB, one byte a value or, of deep pictures, two
(little-endian); then an index as JSON (names, whether LR is there, and of each picture offset in units of three bytes,
height, width and bytes of a value); then the index's length in 8 bytes and 8 bytes of magic. A pack appears under its
final name only when complete. One process builds it while others wait; one that is interrupted leaves what it has
decoded, with a journal, and the next one continues from there.
"""

import hashlib
import json
import os
from collections.abc import Callable, Collection, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from srkit.components import PairSequence
from srkit.data.pairs import TooSmall, aligned, few, open_dataset
from srkit.errors import DataError, SrkitError, one_line
from srkit.files import locked, packs_folder
from srkit.plugins import Choice

MAGIC = b"srkpack2"
LAYOUT = f"{MAGIC.decode()}, 16 bits"  # what is packed of a file; packs of another one are made anew
Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class Store:
    """pixels: N,3 uint8, mapped from the pack. lr, hr: for each picture offset, height, width, bytes of a value (n,4).

    Pixels that stay at an address (`FarPixels`) are read by slices alone; `here` is then False.
    given: the dataset brought its own LR. has_lr: False where only HR was packed; `lr` then has sizes alone.
    left_out: the names of pictures too small for the scale.
    """

    path: Path
    names: list[str]
    pixels: Any
    lr: np.ndarray
    hr: np.ndarray
    given: bool = False
    has_lr: bool = True
    left_out: Sequence[str] = ()

    def __len__(self) -> int:
        return len(self.names)

    @property
    def here(self) -> bool:
        return isinstance(self.pixels, np.ndarray)

    def without(self, indices: Collection[int]) -> "Store":
        """The same pack without some pictures, which are then left out."""
        kept = [i for i in range(len(self)) if i not in indices]
        gone = [self.names[i] for i in sorted(indices)]
        names = [self.names[i] for i in kept]
        return replace(self, names=names, lr=self.lr[kept], hr=self.hr[kept], left_out=[*self.left_out, *gone])

    def image(self, which: str, index: int) -> np.ndarray:
        """One whole picture, `which` "lr" or "hr": H,W,3 uint8 or uint16."""
        return picture_at(self.pixels, getattr(self, which)[index])


def picture_at(pixels: Any, place: Sequence[int] | np.ndarray) -> np.ndarray:
    """H,W,3 uint8 or uint16 of a pack's pixels. place: offset, height, width, bytes of a value."""
    offset, height, width, size = (int(number) for number in place)
    values: np.ndarray = pixels[offset : offset + height * width * size].reshape(-1)
    return (values if size == 1 else values.view("<u2")).reshape(height, width, 3)


def packed(
    dataset: Choice,
    root: str,
    split: str,
    scale: int,
    progress: Progress = lambda done, total: None,
    *,
    lr: bool = True,
    pairs: PairSequence | None = None,
) -> Store:
    """The pack of (dataset, split, scale), built now if there is none for exactly these files.

    progress(done, total) is called after each picture. lr: False packs HR alone, for an LR made on the
    device; `given` then says whether the dataset brings its own. pairs: the dataset, where it is open
    already. Raises DataError or ImageError naming a bad picture.
    """
    pairs = open_dataset(dataset, root, split, scale) if pairs is None else pairs
    folder = packs_folder()
    stem = f"{dataset.component.name}-{split}-x{scale}{'' if lr else '-hr'}"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if not hasattr(pairs, "fingerprint"):
            temporary = folder / f".{stem}.{os.getpid()}.tmp"
            try:
                content = write_pack(pairs, scale, temporary, progress, lr=lr)
                return finished(temporary, folder / f"{stem}-{content}.pack")
            finally:
                forget(temporary)
        about = [LAYOUT, dataset.entry.qualified, dataset.entry.version, dataset.options, split, scale, lr]
        path = folder / f"{stem}-{digest_of([*about, pairs.fingerprint()])}.pack"
        with suppress(OSError, ValueError):
            return read_pack(path)
        temporary = path.with_name(f".{path.name}.tmp")
        with locked(Path(f"{temporary}.lock")):
            with suppress(OSError, ValueError):  # another process may have built it while this one waited
                return read_pack(path)
            write_pack(pairs, scale, temporary, progress, lr=lr)
            return finished(temporary, path)
    except OSError as error:
        raise DataError(f"cannot pack '{dataset.label}' into '{folder}' (SRKIT_CACHE): {one_line(error)}") from None


def finished(temporary: Path, path: Path) -> Store:
    os.replace(temporary, path)
    forget(temporary)
    return read_pack(path)


def journal_of(temporary: Path) -> Path:
    return temporary.with_suffix(".journal")


def forget(temporary: Path) -> None:
    for path in (temporary, journal_of(temporary)):
        path.unlink(missing_ok=True)


def digest_of(about: Any) -> str:
    return hashlib.sha256(json.dumps(about, sort_keys=True, default=str).encode()).hexdigest()[:20]


def read_pack(path: Path) -> Store:
    """Map a pack. Raises OSError if it does not exist, ValueError if it is incomplete."""

    def read(start: int, end: int) -> bytes:
        file.seek(start)
        return file.read(end - start)

    with open(path, "rb") as file:
        index, end = read_index(read, os.fstat(file.fileno()).st_size)
    # Copy-on-write, because torch requires writable memory; nothing is written.
    return store_of(path, np.memmap(path, np.uint8, "c", shape=(end // 3, 3)), index)


def read_index(read: Callable[[int, int], bytes], size: int) -> tuple[dict[str, Any], int]:
    """The index of a pack of `size` bytes, and where its pixels end. read(start, end) gives bytes of it.

    ValueError if it is incomplete.
    """
    tail = read(max(size - 16, 0), size)
    if tail[8:] != MAGIC:
        raise ValueError("it is not a pack")
    end = size - 16 - int.from_bytes(tail[:8], "little")
    if end < 0:
        raise ValueError("its index is longer than it is")
    return json.loads(read(end, size - 16)), end


def store_of(path: Path, pixels: Any, index: dict[str, Any]) -> Store:
    lr, hr = (np.array(with_size(index[which]), dtype=np.int64).reshape(-1, 4) for which in ("lr", "hr"))
    given, has_lr, left_out = index["given"], index["has_lr"], index.get("left_out", [])
    return Store(path, index["names"], pixels, lr, hr, given=given, has_lr=has_lr, left_out=left_out)


def with_size(places: Sequence[Sequence[int]]) -> list[list[int]]:
    """The places of a pack with the bytes of a value, which packs of srkit 0.2 do not say."""
    return [[*place, 1][:4] for place in places]


def write_pack(pairs: Any, scale: int, path: Path, progress: Progress, *, lr: bool = True) -> str:
    """Decode `pairs` on all cores, in order, into a pack at `path`; a digest of its pixels.

    Pictures too small for the scale are left out, and named in the index; DataError where none is left. What an
    interrupted writing left there, with its journal, is kept and continued.
    """
    workers = os.cpu_count() or 1
    content = hashlib.sha256()
    with open(path, "a+b") as file, open(journal_of(path), "a+", encoding="utf-8") as journal:
        entries, end = whole_entries(file, journal)
        file.truncate(end * 3)
        journal.truncate(0)
        journal.writelines(json.dumps(entry) + "\n" for entry in entries)
        with ThreadPoolExecutor(workers) as pool:
            numbers = iter(range(len(entries), len(pairs)))
            # A window of a few pictures per core: neither the whole dataset in memory nor an idle core.
            waiting = [pool.submit(load, pairs, i, scale, lr) for i in islice(numbers, 3 * workers)]
            try:
                while waiting:
                    name, given, small, hr = waiting.pop(0).result()
                    waiting.extend(pool.submit(load, pairs, i, scale, lr) for i in islice(numbers, 1))
                    entry = {"name": name, "given": given, "lr": [-1, *small.shape[:2], 1]}  # -1: its size alone
                    for which, image in (("lr", small), ("hr", hr)) if lr else (("hr", hr),):
                        data = np.ascontiguousarray(image, "<u2" if image.dtype == np.uint16 else None)
                        file.write(data.data)
                        content.update(data.data)
                        entry[which] = [end, *data.shape[:2], data.itemsize]
                        end += data.nbytes // 3
                    entry["end"] = end
                    file.flush()  # before the journal says it is there
                    journal.write(json.dumps(entry) + "\n")
                    journal.flush()
                    entries.append(entry)
                    progress(len(entries), len(pairs))
            except BaseException:
                pool.shutdown(cancel_futures=True)
                raise
        left_out = [e["name"] for e in entries if not e["hr"][1]]
        entries = [e for e in entries if e["hr"][1]]
        if not entries:
            raise DataError(f"every picture is too small for x{scale}: {few(left_out)}")
        index = {
            "names": [e["name"] for e in entries],
            "lr": [e["lr"] for e in entries],
            "hr": [e["hr"] for e in entries],
            "given": any(e["given"] for e in entries),
            "has_lr": lr,
            "left_out": left_out,
        }
        text = json.dumps(index).encode()
        file.write(text + len(text).to_bytes(8, "little") + MAGIC)
        file.flush()
        os.fsync(file.fileno())
    return content.hexdigest()[:20]


def whole_entries(file: BinaryIO, journal: Any) -> tuple[list[dict[str, Any]], int]:
    """The entries of a journal whose pixels are all in the file, and where those end, in pixels."""
    size = file.seek(0, os.SEEK_END) // 3
    journal.seek(0)
    entries: list[dict[str, Any]] = []
    for line in journal:
        try:
            entry = json.loads(line)
        except ValueError:  # half a line
            break
        if entry["end"] > size:
            break
        entries.append(entry)
    return entries, entries[-1]["end"] if entries else 0


def load(pairs: Any, index: int, scale: int, lr: bool) -> tuple[str, bool, np.ndarray, np.ndarray]:
    """Name, whether its LR was given, LR (an empty picture of the right size if not wanted), HR.

    LR and HR without any pixel where they are too small.
    """
    try:
        pair = pairs[index]
        given = pair.lr is not None
        if lr or given:
            return (pair.name, given, *aligned(pair, scale, deep=True))
        height, width = (side // scale for side in pair.hr.shape[:2])
        blank = np.empty((height, width, 3), np.uint8)
        return (pair.name, given, *aligned(replace(pair, lr=blank), scale, deep=True))
    except TooSmall:
        nothing = np.empty((0, 0, 3), np.uint8)
        return pair.name, False, nothing, nothing
    except SrkitError:
        raise
    except Exception as error:
        raise DataError(f"picture {index} of the dataset cannot be loaded: {one_line(error)}") from error
