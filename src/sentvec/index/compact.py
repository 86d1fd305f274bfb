"""Vectors in, codes of a byte or of a bit for each feature out; and a search in codes that finds nearly the same.

Made for vectors of length one that a model with a fitted rotation gives (`sentvec.ops.affine.rotation`): their
features are of one size, so that one scale fits all features, models and texts, and nothing needs to be stored with
the codes. Codes of other vectors are good as well, as long as no feature is much larger than the others.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from sentvec.errors import InvalidInput
from sentvec.extras import require
from sentvec.index.rows import Array, checked, unit

Keep = Literal["int8", "bits"]

_WIDEST = 4.0
"""Features of a rotated vector are nearly normal, with deviation 1 / sqrt(dim); beyond four of these lies one in ten
thousand, and int8 ends there."""


_HALF = 65520.0  # from here on, rounding to float16 gives infinity

_UNEVEN = 1e-2
"""Lengths may be off by so much: that of vectors kept as float16 is."""


def as_int8(vectors: Array) -> NDArray[np.int8]:
    """Round vectors of length one to a byte for each feature.

    Inner products of codes are those of vectors, but for one factor: any index for int8 ranks by them.

    Args:
        vectors: (n, dim) float32 of length one.

    Returns:
        (n, dim), from -127 to 127.

    Raises:
        InvalidInput: a wrong type or shape; or a vector is not of length one (or zero), so that the scale does not
            fit it.
        NonFiniteOutput: a vector holds NaN or infinity.

    >>> as_int8(np.array([[0.5, -0.5, 0.5, 0.5]], np.float32)).tolist()
    [[32, -32, 32, 32]]
    """
    length = np.linalg.norm(checked(vectors), axis=1)
    odd = (np.abs(length - 1) > _UNEVEN) & (length != 0)
    if odd.any():
        at = int(np.argmax(odd))
        raise InvalidInput(
            f"vector {at} has length {length[at]:.3f}, but one scale for all needs length 1. "
            "Encode with normalize=True, or divide by the length."
        )
    codes: NDArray[np.int8] = np.rint(vectors / np.float32(_step(vectors.shape[1]))).clip(-127, 127).astype(np.int8)
    return codes


def from_int8(codes: NDArray[np.int8]) -> Array:
    """Return the vectors (n, dim) that codes stand for."""
    return codes.astype(np.float32) * np.float32(_step(codes.shape[1]))


def as_bits(vectors: Array) -> NDArray[np.uint8]:
    """Keep the sign of each feature, eight to a byte: what faiss, and sentence-transformers as ``ubinary``, read.

    Args:
        vectors: (n, dim) float32.

    Returns:
        (n, dim / 8, rounded up).

    Raises:
        InvalidInput: a wrong type or shape; NonFiniteOutput: a vector holds NaN or infinity.

    >>> as_bits(np.array([[0.1, -0.1, 0.3, 0.2, -1, -1, -1, 5]], np.float32)).tolist()
    [[177]]
    """
    return np.packbits(checked(vectors) > 0, axis=1)


def as_float16(vectors: Array) -> NDArray[np.float16]:
    """Round vectors (n, dim) float32 to two bytes for each feature.

    Raises:
        InvalidInput: a wrong type or shape, or a number beyond 65504, which float16 cannot hold; NonFiniteOutput: a
            vector holds NaN or infinity.
    """
    most = np.abs(checked(vectors)).max(axis=1, initial=0)
    if (most >= _HALF).any():
        at = int(np.argmax(most >= _HALF))
        raise InvalidInput(f"vector {at} holds {most[at]:g}, but float16 ends at 65504. Encode with normalize=True.")
    return vectors.astype(np.float16)


CODES: dict[str, Callable[[Array], NDArray[Any]]] = {
    "float32": np.asarray,
    "float16": as_float16,
    "int8": as_int8,
    "bits": as_bits,
}
"""How vectors (n, dim) float32 can be kept, largest first: 4 * dim bytes each, 2 * dim, dim, dim / 8."""


class CompactIndex:
    """Finds candidates by their signs, and scores these with the query as it is: floats against codes.

    Vectors take ``dim / 8`` bytes, and ``dim`` more where `keep` is int8, in place of ``4 * dim``.

    Args:
        dim: features of a vector, a multiple of 8.
        keep: what candidates are scored by: "int8", or "bits" for nothing but their signs.
        candidates: how many to score for each vector that is asked for.

    Raises:
        InvalidInput: one of these cannot be.
    """

    def __init__(self, dim: int, *, keep: Keep = "int8", candidates: int = 4) -> None:
        if dim < 8 or dim % 8:
            raise InvalidInput(f"dim is {dim}; accepted: multiples of 8, as eight signs make a byte.")
        if keep not in ("int8", "bits"):
            raise InvalidInput(f"keep is {keep!r}; accepted: 'int8', 'bits'.")
        if candidates < 1:
            raise InvalidInput(f"candidates is {candidates}; accepted: 1 or more.")
        self.dim = dim
        self._candidates = candidates
        self._index: Any = require("faiss", extra="search").IndexBinaryFlat(dim)
        self._parts: list[NDArray[Any]] = []
        self._keep = keep

    def __len__(self) -> int:
        """Return the number of vectors."""
        return int(self._index.ntotal)

    def add(self, vectors: Array) -> None:
        """Add vectors (n, dim) float32; their places go on from those that are there.

        Raises:
            InvalidInput: a wrong type or shape; NonFiniteOutput: a vector holds NaN or infinity.
        """
        rows = unit(checked(vectors, self.dim))
        bits = as_bits(rows)
        self._index.add(bits)
        self._parts.append(as_int8(rows) if self._keep == "int8" else bits)

    def search(self, queries: Array, k: int) -> tuple[Array, NDArray[np.int64]]:
        """Find vectors near each query.

        Args:
            queries: (q, dim) float32.
            k: how many; all where there are fewer.

        Returns:
            scores (q, min(k, n)) float32, best first, and places (q, min(k, n)) int64. Scores are cosines, but for
            rounding; with "bits" they are in proportion to them.

        Raises:
            InvalidInput, NonFiniteOutput: as for `add`; or k is below 1.
        """
        rows = unit(checked(queries, self.dim))
        if k < 1:
            raise InvalidInput(f"k is {k}; accepted: 1 or more.")
        k = min(k, len(self))
        scores, places = np.zeros((len(rows), k), np.float32), np.zeros((len(rows), k), np.int64)
        if not k or not len(rows):
            return scores, places
        if len(self._parts) > 1:
            self._parts = [np.concatenate(self._parts)]
        _, near = self._index.search(as_bits(rows), min(k * self._candidates, len(self)))
        for row, found in enumerate(np.sort(near, axis=1)):
            scored = self._decoded(found) @ rows[row]
            best = np.argsort(-scored, kind="stable")[:k]  # equal scores by place
            scores[row], places[row] = scored[best], found[best]
        return scores, places

    def _decoded(self, places: NDArray[np.int64]) -> Array:
        codes = self._parts[0][places]
        if self._keep == "int8":
            return from_int8(codes)
        signs = np.unpackbits(codes, axis=1).astype(np.float32)
        return (2 * signs - 1) / np.float32(np.sqrt(self.dim))


def _step(dim: int) -> float:
    return float(_WIDEST / np.sqrt(dim) / 127)
