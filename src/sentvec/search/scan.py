"""Queries and vectors in, the nearest by exact comparison out: every vector looked at, and the best scored again.

Scores are sums in double precision, rounded once. They do not depend on where a vector lies or on what is compared with
it, so that equal vectors have equal scores, whether an index holds them or the rows that came after it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from sentvec.extras import require

Array = NDArray[np.float32]
Wide = NDArray[np.float64]
Ids = NDArray[np.int64]
Mask = NDArray[np.bool_]

BLOCK = 16_384  # vectors that are compared at once
_QUERIES = 16  # queries that are compared at once, which bounds what their scores take: 64 MB for a million vectors
_SPARE, _SCREENED = 32, 2048  # vectors that faiss finds beyond k, and the most in all
_AGAIN = 512  # vectors that are scored again at once: in double precision they fit into a core's cache

Part = tuple[Sequence[Ids], Callable[[Ids], tuple[Ids, Array]]]
"""Places of each query's candidates, and what gives the rows and the vectors at places."""


def candidates(queries: Array, vectors: Array, k: int, keep: Mask | None, longest: float) -> list[Ids]:
    """Find the places of all vectors that may be among the k nearest by inner product, by single precision.

    Args:
        queries: (q, dim).
        vectors: (n, dim), in memory or mapped.
        k: how many are wanted.
        keep: (n,), False where a vector does not count; None counts all.
        longest: length of the longest vector, by which the error of single precision is bounded.

    Returns:
        For each query the places, at least min(k, how many count), in order.
    """
    count = len(vectors) if keep is None else int(np.count_nonzero(keep))
    if not count:
        return [np.zeros(0, np.int64) for _ in queries]
    found = _screened(queries, vectors, k, keep, count, longest)
    if found is not None:
        return found
    found = []
    for first in range(0, len(queries), _QUERIES):
        part = queries[first : first + _QUERIES]
        scores = np.empty((len(part), len(vectors)), np.float32)
        with np.errstate(over="ignore", invalid="ignore"):
            for begin in range(0, len(vectors), BLOCK):
                np.matmul(part, vectors[begin : begin + BLOCK].T, out=scores[:, begin : begin + BLOCK])
            if keep is not None:
                scores[:, ~keep] = -np.inf
            for query, line in zip(part, scores, strict=True):
                found.append(_near(line, min(k, count), keep, _error(query, longest)))
    return found


def _screened(
    queries: Array, vectors: Array, k: int, keep: Mask | None, count: int, longest: float
) -> list[Ids] | None:
    """Let faiss, twice as fast as BLAS here, find a few more than are wanted; None where these may not be all."""
    fetch = k + _SPARE + len(vectors) - count
    if fetch > min(_SCREENED, len(vectors)):
        return None
    faiss = require("faiss", extra="search")
    scores, places = faiss.knn(queries, vectors, fetch, faiss.METRIC_INNER_PRODUCT)
    found = []
    for query, line, near in zip(queries, scores, places, strict=True):
        good = near >= 0 if keep is None else keep[near] & (near >= 0)
        error = _error(query, longest)
        if np.count_nonzero(good) < k or not np.isfinite(line).all():
            return None
        least = line[good][k - 1] - error
        if not line[-1] < least:  # one that was not fetched may be as near
            return None
        found.append(np.sort(near[good & (line >= least)]))
    return found


def _error(query: Array, longest: float) -> float:
    """Return by how much two scores of single precision may be off together: dim roundings each."""
    length = float(np.linalg.norm(query.astype(np.float64)))
    return 2 * (len(query) + 2) * 2.0**-24 * length * longest


def _near(scores: Array, k: int, keep: Mask | None, error: float) -> Ids:
    worst = np.partition(scores, len(scores) - k)[len(scores) - k]
    if not np.isfinite(worst) or not np.isfinite(error):  # numbers too large for single precision
        return np.arange(len(scores)) if keep is None else np.flatnonzero(keep)
    return np.flatnonzero(scores >= worst - error)


def best(queries: Array, k: int, parts: Sequence[Part]) -> list[tuple[Array, Ids]]:
    """Score candidates exactly and keep the k best of each query; equal scores by smaller row.

    Args:
        queries: (q, dim).
        k: how many at most.
        parts: candidates, whose vectors need not fit into memory together.

    Returns:
        For each query scores and rows, (m,) with m <= k, best first.
    """
    if not parts:
        return [(np.zeros(0, np.float32), np.zeros(0, np.int64)) for _ in queries]
    asked = queries.astype(np.float64)
    if len(queries) == 1:
        alone = [_scored(asked, places[0], None, look) for places, look in parts]
        scores, rows = alone[0] if len(alone) == 1 else map(np.concatenate, zip(*alone, strict=True))
        order = np.lexsort((rows, -scores))[:k]
        return [(scores[order], rows[order])]
    found = []
    for places, look in parts:
        of = np.repeat(np.arange(len(places)), [len(one) for one in places])
        found.append((of, *_scored(asked, np.concatenate(places), of, look)))
    of, scores, rows = found[0] if len(found) == 1 else map(np.concatenate, zip(*found, strict=True))
    order = np.lexsort((rows, -scores, of))
    ends = np.cumsum(np.bincount(of, minlength=len(queries))).tolist()
    kept = [order[first : min(first + k, end)] for first, end in zip([0, *ends], ends, strict=False)]
    return [(scores[one], rows[one]) for one in kept]


def _scored(asked: Wide, places: Ids, of: Ids | None, look: Callable[[Ids], tuple[Ids, Array]]) -> tuple[Array, Ids]:
    """Return the score and the row of each candidate; `of` says whose it is, where there are several questions."""
    parts = []
    for first in range(0, max(len(places), 1), _AGAIN):
        part = slice(first, first + _AGAIN)
        rows, vectors = look(places[part])
        # NumPy's own sum along a row, whose order is always the same: BLAS may have another for other rows.
        if of is None:
            exact = np.einsum("nd,d->n", vectors.astype(np.float64), asked[0])
        else:
            exact = np.einsum("nd,nd->n", vectors.astype(np.float64), asked[of[part]])
        with np.errstate(over="ignore"):
            parts.append((exact.astype(np.float32), rows))
    if len(parts) == 1:
        return parts[0]
    scores, rows = map(np.concatenate, zip(*parts, strict=True))
    return scores, rows
