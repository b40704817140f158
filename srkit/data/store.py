"""The store: every picture of a dataset decoded once, into one packed file that training maps into memory.

Layout of a pack: the pixels of lr 0, hr 0, lr 1, hr 1, ... as raw RGB bytes; then an index as JSON
(names, and offset, height and width of each picture, in pixels); then the index's length in 8 bytes
and 8 bytes of magic. A pack appears under its final name only when complete, so two processes that
build the same one do no harm.
"""

import hashlib
import json
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from srkit.data.pairs import aligned, open_dataset
from srkit.errors import DataError, SrkitError, one_line
from srkit.plugins import Choice

MAGIC = b"srkpack1"


@dataclass(frozen=True)
class Store:
    """pixels: N,3 uint8, mapped from the pack. lr, hr: for each picture offset, height, width (n,3 int64)."""

    path: Path
    names: list[str]
    pixels: np.ndarray
    lr: np.ndarray
    hr: np.ndarray

    def __len__(self) -> int:
        return len(self.names)

    def image(self, which: str, index: int) -> np.ndarray:
        """One whole picture, `which` "lr" or "hr": H,W,3 uint8."""
        offset, height, width = getattr(self, which)[index]
        return self.pixels[offset : offset + height * width].reshape(height, width, 3)


def cache_folder() -> Path:
    """Where packs are kept: $SRKIT_CACHE, else the user's cache folder."""
    from platformdirs import user_cache_path

    return Path(os.environ.get("SRKIT_CACHE") or user_cache_path("srkit")) / "packs"


def packed(
    dataset: Choice, root: str, split: str, scale: int, progress: Callable[[int, int], None] = lambda done, total: None
) -> Store:
    """The pack of (dataset, split, scale), built now if there is none for these very files.

    progress(done, total) is called after each picture. Raises DataError or ImageError naming a bad picture.
    """
    pairs = open_dataset(dataset, root, split, scale)
    folder = cache_folder()
    stem = f"{dataset.component.name}-{split}-x{scale}"
    path = None
    if hasattr(pairs, "fingerprint"):
        about = [MAGIC.decode(), dataset.entry.qualified, dataset.entry.version, dataset.options, split, scale]
        path = folder / f"{stem}-{digest_of([*about, pairs.fingerprint()])}.pack"
        with suppress(OSError, ValueError):
            return read_pack(path)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        return read_pack(write_pack(pairs, scale, folder, stem, path, progress))
    except OSError as error:
        raise DataError(f"cannot pack '{dataset.label}' into '{folder}' (SRKIT_CACHE): {one_line(error)}") from None


def digest_of(about: Any) -> str:
    return hashlib.sha256(json.dumps(about, sort_keys=True, default=str).encode()).hexdigest()[:20]


def read_pack(path: Path) -> Store:
    """Map a pack. Raises OSError where there is none, ValueError where it is not whole."""
    with open(path, "rb") as file:
        file.seek(-16, os.SEEK_END)
        length, magic = int.from_bytes(file.read(8), "little"), file.read(8)
        if magic != MAGIC:
            raise ValueError(f"'{path}' is not a pack")
        end = file.seek(-16 - length, os.SEEK_END)
        index = json.loads(file.read(length))
    # Copy-on-write, since torch wants memory that could be written; nothing ever is.
    pixels = np.memmap(path, np.uint8, "c", shape=(end // 3, 3))
    return Store(path, index["names"], pixels, *(np.array(index[k], dtype=np.int64) for k in ("lr", "hr")))


def write_pack(
    pairs: Any, scale: int, folder: Path, stem: str, path: Path | None, progress: Callable[[int, int], None]
) -> Path:
    """Decode `pairs` on all cores, in order, and write them; named by their pixels where `path` is None."""
    index: dict[str, list[Any]] = {"names": [], "lr": [], "hr": []}
    offset = 0
    content = hashlib.sha256()
    temporary = folder / f".{stem}.{os.getpid()}.tmp"
    workers = os.cpu_count() or 1
    try:
        with open(temporary, "wb") as file, ThreadPoolExecutor(workers) as pool:
            numbers = iter(range(len(pairs)))
            # A window of a few pictures per core: neither the whole dataset in memory nor an idle core.
            waiting = [pool.submit(load, pairs, i, scale) for i in islice(numbers, 3 * workers)]
            while waiting:
                name, *images = waiting.pop(0).result()
                waiting.extend(pool.submit(load, pairs, i, scale) for i in islice(numbers, 1))
                index["names"].append(name)
                for which, image in zip(("lr", "hr"), images, strict=True):
                    data = np.ascontiguousarray(image)
                    file.write(data.data)
                    content.update(data.data)
                    index[which].append([offset, *data.shape[:2]])
                    offset += data.shape[0] * data.shape[1]
                progress(len(index["names"]), len(pairs))
            text = json.dumps(index).encode()
            file.write(text + len(text).to_bytes(8, "little") + MAGIC)
            file.flush()
            os.fsync(file.fileno())
        final = path or folder / f"{stem}-{content.hexdigest()[:20]}.pack"
        os.replace(temporary, final)
        return final
    finally:
        temporary.unlink(missing_ok=True)


def load(pairs: Any, index: int, scale: int) -> tuple[str, np.ndarray, np.ndarray]:
    try:
        pair = pairs[index]
        return (pair.name, *aligned(pair, scale))
    except SrkitError:
        raise
    except Exception as error:
        raise DataError(f"picture {index} of the dataset cannot be loaded: {one_line(error)}") from error
