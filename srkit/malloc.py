"""Freed memory kept for the next tensor: the C library otherwise gives large blocks back to the system each time.

The system then has to clear them again, page by page, which took a third of an upscaling's processor time.
"""

import sys
from contextlib import suppress

M_TRIM_THRESHOLD, M_MMAP_MAX = -1, -4  # of glibc's malloc.h
LARGEST = 2**31 - 1


def keep_freed_memory() -> None:
    """For the rest of the process, on Linux with glibc; elsewhere nothing is done.

    Meant for a program, not a library; `fit` does it too, since a training is what its process is there for.

    Source: mallopt(3).
    """
    if not sys.platform.startswith("linux"):
        return
    with suppress(Exception):  # another C library
        import ctypes

        library = ctypes.CDLL(None)
        library.gnu_get_libc_version  # noqa: B018 - glibc has it
        library.mallopt(M_MMAP_MAX, 0)
        library.mallopt(M_TRIM_THRESHOLD, LARGEST)
