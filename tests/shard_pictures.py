"""Eight pictures, and what the cache of shards holds of them: for the tests of shards at an address."""

from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from srkit import load_plugins
from srkit.data.shards import Shards, write_shards


def eight_pairs(folder: Path, photo: np.ndarray) -> Any:
    """Crops of a photograph, each of another size, as a dataset for x2."""
    folder.mkdir()
    for i in range(8):
        pixels = photo[i * 10 : i * 10 + 101 + i, i * 20 : i * 20 + 90]
        Image.fromarray(pixels).save(folder / f"{i}.png")
    return load_plugins().choose("dataset", "folder").build(folder, "train", 2)


def packed(pairs: Any, root: str, count: int) -> int:
    """Write `count` shards; bytes of the largest."""
    write_shards(pairs, 2, count, root, "test", lambda done, total: None)
    return max(each["bytes"] for each in Shards(root, "train", 2).index["shards"])


def copies(tmp_path: Path) -> list[str]:
    """The shards that are in the cache, by the begin of their names."""
    return sorted(path.name[:11] for path in (tmp_path / "own-cache/packs").glob("shard-*"))
