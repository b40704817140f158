"""A packed dataset in several files, for what is larger than one machine: each rank opens only its own.

`srkit data pack` writes them with `shards.json`, which says what they hold, into a folder or to any
address fsspec knows (s3://, gs://, hf://, ...). From such an address a rank copies its own shards into
the cache, once, as far as there is room (`shard_copies`).
"""

import json
import os
import tempfile
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

from srkit.components import Pair, PairSequence
from srkit.data.shard_copies import Shard, opened, told
from srkit.data.store import LAYOUT, Progress, Store, digest_of, forget, read_pack, write_pack
from srkit.errors import DataError, UsageError, one_line

INDEX = "shards.json"
FORMAT = 1


class Shards:
    """The dataset `shards`: `root` is the folder or address that holds shards.json.

    `stores(rank, size)` are the packs of one rank. Read as a sequence of pairs it opens them all.
    Raises UsageError without a root or for another scale, DataError where what is there is not whole.
    """

    def __init__(self, root: Path | str | None, split: str, scale: int):
        if root is None:
            raise UsageError("dataset 'shards' needs a root: the folder or address that holds shards.json")
        where = address(root)
        self.files, self.folder = file_system(where)
        try:
            self.index = json.loads(self.files.cat_file(f"{self.folder}/{INDEX}"))
        except FileNotFoundError:
            raise UsageError(f"no {INDEX} in '{where}'; srkit data pack makes it") from None
        except Exception as error:
            raise DataError(f"'{where}' cannot be read: {one_line(error)}") from None
        if self.index.get("format") != FORMAT:
            raise DataError(f"'{where}' is of a format this srkit does not read ({FORMAT})")
        if self.index["scale"] != scale:
            raise UsageError(f"'{where}' is packed for x{self.index['scale']}, not x{scale}")
        self.opened: list[Store] = []
        self.told: list[str] = []

    def __len__(self) -> int:
        return sum(shard["pictures"] for shard in self.index["shards"])

    def __getitem__(self, index: int) -> Pair:
        self.opened = self.opened or self.stores(0, 1)
        for store in self.opened:
            if index < len(store):
                lr = store.image("lr", index) if store.has_lr else None
                return Pair(store.names[index], lr, store.image("hr", index))
            index -= len(store)
        raise IndexError(index)

    def fingerprint(self) -> str:
        return digest_of(self.index)

    def stores(self, rank: int, size: int, progress: Progress = lambda done, total: None) -> list[Store]:
        """The packs of rank `rank` of `size`. UsageError where there are fewer shards than ranks.

        progress(done, total) is called with the bytes that are copied. `told` then says what did not fit, and what was
        removed for it.
        """
        shards = self.index["shards"]
        if len(shards) < size:
            raise UsageError(f"{len(shards)} shards cannot be shared by {size} ranks; pack with --shards {size}")
        wanted = [Shard(self.files, f"{self.folder}/{each['file']}", each["bytes"]) for each in shards[rank::size]]
        if is_local(self.files):
            return [mapped(shard) for shard in wanted]
        stores, removed = opened(wanted, progress)
        self.told = told(stores, removed)
        return stores


def mapped(shard: Shard) -> Store:
    """The pack of a shard that is a file here. DataError where it is not whole."""
    path = Path(shard.source)
    try:
        if path.stat().st_size != shard.bytes:
            raise DataError(f"'{path}' has {path.stat().st_size:,} bytes, not {shard.bytes:,}; pack it again")
        return read_pack(path)
    except (OSError, ValueError) as error:
        raise DataError(f"'{path}' is not a whole shard: {one_line(error)}") from None


def write_shards(pairs: PairSequence, scale: int, count: int, to: Path | str, about: str, progress: Progress) -> str:
    """Pack `pairs` into `count` shards and shards.json below `to`; the folder as it was written.

    about: what they come from, kept in the index. Shards that are there already, of the same pixels'
    fingerprint, are kept. Raises UsageError for more shards than pictures, DataError where it cannot write.
    """
    if not 0 < count <= len(pairs):
        raise UsageError(f"{len(pairs)} pictures cannot be packed into {count} shards")
    files, folder = file_system(address(to))
    pixels = pairs.fingerprint() if hasattr(pairs, "fingerprint") else os.urandom(8).hex()
    key = digest_of([LAYOUT, about, scale, count, pixels])
    shards, done = [], 0
    counts: dict[int, int] = {}  # of those written now, without the pictures that are too small
    try:
        make_folder(files, folder)
        for number in range(count):
            part = Subset(pairs, range(number, len(pairs), count))
            name = f"shard-{number:05d}-of-{count:05d}-{key}.pack"  # as `shard_copies` knows it
            if not files.exists(f"{folder}/{name}"):
                with tempfile.TemporaryDirectory(dir=folder if is_local(files) else None) as place:
                    pack = Path(place) / name
                    write_pack(part, scale, pack, partial(further, progress, done, len(pairs)))
                    counts[number] = len(read_pack(pack))
                    put(files, pack, f"{folder}/{name}")
                    forget(pack)
            done += len(part)
            pictures = counts.get(number) or len(part)
            shards.append({"file": name, "pictures": pictures, "bytes": files.size(f"{folder}/{name}")})
        index = {"format": FORMAT, "scale": scale, "about": about, "shards": shards}
        with tempfile.TemporaryDirectory(dir=folder if is_local(files) else None) as place:
            (Path(place) / INDEX).write_text(json.dumps(index, indent=1))
            put(files, Path(place) / INDEX, f"{folder}/{INDEX}")
    except OSError as error:
        raise DataError(f"cannot write shards into '{to}': {one_line(error)}") from None
    return folder


def further(progress: Progress, before: int, total: int, done: int, of_part: int) -> None:
    """Progress of a part, reported as that of the whole."""
    progress(before + done, total)


class Subset:
    """Some of the pairs of a dataset, by number."""

    def __init__(self, pairs: PairSequence, numbers: Sequence[int]):
        self.pairs, self.numbers = pairs, numbers

    def __len__(self) -> int:
        return len(self.numbers)

    def __getitem__(self, index: int) -> Pair:
        return self.pairs[self.numbers[index]]


def make_folder(files: Any, folder: str) -> None:
    """Where a file system has folders. An object store has none: s3fs asks to make the bucket, and may be refused."""
    try:
        files.makedirs(folder, exist_ok=True)
    except Exception:  # every file system raises its own; what is wrong is told by the first file that is written
        if is_local(files):
            raise


def put(files: Any, source: Path, target: str) -> None:
    if is_local(files):
        os.replace(source, target)
    else:
        files.put_file(str(source), target)


def file_system(where: str) -> tuple[Any, str]:
    """fsspec's file system for an address or folder, and the path within it."""
    import fsspec

    try:
        files, path = fsspec.core.url_to_fs(where)
    except (ImportError, ValueError) as error:  # a protocol whose package is not installed, or unknown
        raise UsageError(f"'{where}' cannot be opened: {one_line(error)}") from None
    return files, path


def is_local(files: Any) -> bool:
    return "file" in (files.protocol if isinstance(files.protocol, tuple | list) else [files.protocol])


def address(root: Path | str) -> str:
    """A root as the user wrote it: as a Path, `s3://bucket` has lost a slash."""
    text = str(root)
    head, colon, rest = text.partition(":/")
    return f"{head}://{rest.lstrip('/')}" if colon and len(head) > 1 else text
