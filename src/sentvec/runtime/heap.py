"""Memory that was freed in, the system's again out."""

from __future__ import annotations

import ctypes
import sys
from collections.abc import Callable
from contextlib import suppress
from functools import cache


def give_back() -> None:
    """Return freed memory to the system, where the C library keeps it (glibc).

    Batches of ever other sizes leave gaps of ever other sizes. Without this, a run over a million texts grew by half.
    """
    trim = _trim()
    if trim is not None:
        trim(0)


@cache
def _trim() -> Callable[[int], int] | None:
    if sys.platform == "linux":
        with suppress(OSError, AttributeError):
            found: Callable[[int], int] = ctypes.CDLL(None).malloc_trim
            return found
    return None
