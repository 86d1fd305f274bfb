"""The checksum CRC-32C (Castagnoli; RFC 3720, appendix B.4), some hundred megabytes a second: bytes in, a number out.

A checksum follows its bytes one by one. But it is linear: those of many pieces are taken side by side, and then joined.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

_POLYNOMIAL = 0x82F63B78  # bits reversed, as the algorithm takes them
_ALL = 0xFFFFFFFF
_PIECE = 512
"""Bytes of one piece."""
_MOST = 1 << 13
"""Most pieces that are taken side by side: four megabytes, which stay in a processor's cache."""

Words = NDArray[np.uint32]


def _table() -> Words:
    values: Words = np.arange(256, dtype=np.uint32)
    for _ in range(8):
        values = np.where(values & 1, (values >> 1) ^ _POLYNOMIAL, values >> 1).astype(np.uint32)
    return values


_TABLE = _table()


def crc32c(data: bytes | bytearray | memoryview) -> int:
    """Return the checksum.

    >>> hex(crc32c(b"123456789"))
    '0xe3069283'
    """
    left = np.frombuffer(data, dtype=np.uint8)
    state = _ALL
    while len(left) >= 2 * _PIECE:
        pieces = min(1 << ((len(left) // _PIECE).bit_length() - 1), _MOST)
        state = _side_by_side(left[: pieces * _PIECE].reshape(pieces, _PIECE), state)
        left = left[pieces * _PIECE :]
    table = _TABLE.tolist()
    for byte in left.tobytes():
        state = table[(state ^ byte) & 0xFF] ^ (state >> 8)
    return state ^ _ALL


def unmasked(stored: int) -> int:
    """Return the checksum that LevelDB and TensorFlow store turned and shifted, so that none is of its own bytes.

    >>> unmasked(0xA282EAD8)
    0
    """
    turned = (stored - 0xA282EAD8) & _ALL
    return ((turned >> 17) | (turned << 15)) & _ALL


def _side_by_side(pieces: NDArray[np.uint8], state: int) -> int:
    """Take (pieces, bytes), of which there are a power of two, on from `state`."""
    states = np.zeros(len(pieces), dtype=np.uint32)
    states[0] = state
    for column in np.ascontiguousarray(pieces.T):
        states = _TABLE[(states ^ column) & 0xFF] ^ (states >> 8)
    behind = pieces.shape[1]
    while len(states) > 1:
        states = _past_zeros(states[0::2], behind) ^ states[1::2]
        behind *= 2
    return int(states[0])


def _past_zeros(states: Words, count: int) -> Words:
    """Take states on past `count` bytes of zero."""
    tables = _zeros(count)
    out: Words = tables[0][states & 0xFF]
    for place in (1, 2, 3):
        out = out ^ tables[place][(states >> (8 * place)) & 0xFF]
    return out


@lru_cache(maxsize=32)
def _zeros(count: int) -> Words:
    """Tabulate, for each byte of a state, what `count` bytes of zero make of it, (4, 256); count is a power of two."""
    states = (np.arange(256, dtype=np.uint32)[None] << (8 * np.arange(4, dtype=np.uint32))[:, None]).ravel()
    if count == 1:
        states = _TABLE[states & 0xFF] ^ (states >> 8)
    else:
        states = _past_zeros(_past_zeros(states, count // 2), count // 2)
    return states.reshape(4, 256)
