"""Work on many pictures on all cores."""

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from srkit.data.store import Progress

T = TypeVar("T")


def silent(done: int, total: int) -> None:
    pass


def each(
    job: Callable[[int], T], indices: Sequence[int], progress: Progress = silent, done: int = 0, total: int = 0
) -> list[T]:
    """`job` of each index on all cores, in order."""
    results = []
    pool = ThreadPoolExecutor(os.cpu_count() or 1)
    try:
        for result in pool.map(job, indices):
            results.append(result)
            progress(done + len(results), total)
    finally:
        pool.shutdown(cancel_futures=True)  # at an interruption thousands may be waiting
    return results
