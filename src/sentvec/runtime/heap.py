"""Memory that was freed in, the system's again out."""

from __future__ import annotations

import ctypes
import sys
from contextlib import suppress
from functools import cache

M_TRIM_THRESHOLD, M_MMAP_MAX = -1, -4  # of glibc's malloc.h


def give_back() -> None:
    """Return freed memory to the system, where the C library keeps it (glibc).

    Batches of ever other sizes leave gaps of ever other sizes. Without this, a run over a million texts grew by half.
    """
    library = _c_library()
    if library is not None:
        library.malloc_trim(0)


def keep() -> None:
    """Let this process hold on to memory that is freed, where the C library can (glibc), until `give_back`.

    A step of training frees what the next one takes again. Given to the system and taken back, a step over all-MiniLM
    came with 26,000 page faults, a tenth of its time.
    """
    library = _c_library()
    if library is not None:
        for option, value in ((M_MMAP_MAX, 0), (M_TRIM_THRESHOLD, 2**31 - 1)):
            library.mallopt(option, value)


@cache
def _c_library() -> ctypes.CDLL | None:
    if sys.platform == "linux":
        with suppress(OSError, AttributeError):
            library = ctypes.CDLL(None)
            if library.malloc_trim and library.mallopt:
                return library
    return None
