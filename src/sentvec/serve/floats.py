"""Float32 vectors in, their numbers as JSON text out; compiled where there is a compiler, for it is a server's
second-largest cost after encoding."""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from functools import cache

import numpy as np

from sentvec.nn.library import COUNT, POINTER, Code, library
from sentvec.runtime.engine import Array

ROOM = 25
"""Bytes that a number and its comma may take."""


def numbers(vector: Array) -> bytes:
    """Return the numbers of a finite vector (dim,) with commas between them; each reads back as the same float32.

    >>> numbers(np.array([0.5, -2.0], np.float32)).split(b",")[0]
    b'0.5'
    """
    return _writer()(vector)


@cache
def _writer() -> Callable[[Array], bytes]:
    found = library(
        Code(
            "numbers",
            ("numbers.cpp",),
            {"sentvec_numbers": [POINTER, COUNT, POINTER]},
            lambda made: _right(_compiled(made)),
            gives={"sentvec_numbers": COUNT},
            without="Serving",
        )
    )
    return _plain if found is None else _compiled(found)


def _plain(vector: Array) -> bytes:
    return ",".join(map(repr, vector.astype(np.float32, copy=False).tolist())).encode()


def _compiled(made: ctypes.CDLL) -> Callable[[Array], bytes]:
    def write(vector: Array) -> bytes:
        values = np.ascontiguousarray(vector, np.float32)
        room = ctypes.create_string_buffer(ROOM * max(1, len(values)))
        size = made.sentvec_numbers(values.ctypes.data, len(values), room)
        return room.raw[:size]

    return write


def _right(write: Callable[[Array], bytes]) -> bool:
    bits = np.random.default_rng(0).integers(0, 1 << 32, 5000, dtype=np.uint32)
    values = bits.view(np.float32)
    values = np.concatenate([values[np.isfinite(values)], np.array([0, -0.0, 1, -1, 0.1, 1e-45, 3.4e38], np.float32)])
    read = np.array([float(part) for part in write(values).split(b",")]).astype(np.float32)
    return bool((read.view(np.uint32) == values.view(np.uint32)).all())
