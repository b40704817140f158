"""Freed memory kept for the next tensor: the C library otherwise gives large blocks back to the system each time.

The system then has to clear them again, page by page, which took a third of an upscaling's processor time.
"""

import sys
from contextlib import suppress
from typing import Any

M_TRIM_THRESHOLD, M_MMAP_MAX = -1, -4  # of glibc's malloc.h
LARGEST = 2**31 - 1


def keep_freed_memory() -> None:
    """For the rest of the process, on Linux with glibc; elsewhere nothing is done.

    Meant for a program, not a library; `fit` does it too, since a training is what its process is there for.

    Source: mallopt(3).
    """
    with suppress(OSError, AttributeError):
        library = glibc()
        library.mallopt(M_MMAP_MAX, 0)
        library.mallopt(M_TRIM_THRESHOLD, LARGEST)


def return_freed_memory() -> None:
    """Give the system what was kept, once, so that what the next run takes can be measured.

    Source: malloc_trim(3).
    """
    with suppress(OSError, AttributeError):
        glibc().malloc_trim(0)


def glibc() -> Any:
    """The C library of the process. OSError or AttributeError where it is another one."""
    if not sys.platform.startswith("linux"):
        raise OSError("glibc is found on Linux alone")
    import ctypes

    library = ctypes.CDLL(None)
    library.gnu_get_libc_version  # noqa: B018 - glibc has it
    return library
