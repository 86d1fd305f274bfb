"""Exact nearest neighbours by cosine or inner product: vectors with int64 ids in, (scores, ids) out."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from sentvec.errors import InvalidInput
from sentvec.extras import require
from sentvec.index.rows import checked, unit

Metric = Literal["cosine", "inner_product"]

_MARGIN = 16  # neighbours fetched beyond k, so that a tie at the edge is usually seen at once
_GROUP = 16  # faiss sums rows in another order from 20 queries on; below that, equal vectors score equal


class FlatIndex:
    """All vectors in memory, every one compared: recall is 1.

    Not synchronised: searches may run at once, but nothing else may run while vectors are added or removed.
    """

    def __init__(self, dim: int, metric: Metric = "cosine") -> None:
        if dim < 1:
            raise InvalidInput(f"dim is {dim}; accepted: 1 or more.")
        if metric not in ("cosine", "inner_product"):
            raise InvalidInput(f"metric is {metric!r}; accepted: 'cosine', 'inner_product'.")
        self.dim = dim
        self.metric: Metric = metric
        self._faiss = require("faiss", extra="search")
        # faiss checks neither ids nor numbers: equal ids and NaN rows are taken in silence, so we check.
        self._index: Any = self._faiss.IndexIDMap(self._faiss.IndexFlatIP(dim))
        self._ids: set[int] = set()

    def __len__(self) -> int:
        """Return the number of vectors."""
        return len(self._ids)

    def __contains__(self, id_: int) -> bool:
        return id_ in self._ids

    @property
    def ids(self) -> frozenset[int]:
        """All ids."""
        return frozenset(self._ids)

    def add(self, ids: NDArray[np.int64], vectors: NDArray[np.float32]) -> None:
        """Add vectors.

        Args:
            ids: (n,) int64, not negative, none of them in the index yet.
            vectors: (n, dim) float32.

        Raises:
            InvalidInput: a wrong type or shape, or an id that occurs twice.
            NonFiniteOutput: a vector holds NaN or infinity.
        """
        rows = checked(vectors, self.dim)
        if ids.dtype != np.int64 or ids.shape != (len(rows),):
            raise InvalidInput(f"ids are {ids.dtype} {ids.shape}; accepted: int64 ({len(rows)},), one a vector.")
        new = set(ids.tolist())
        if len(new) < len(ids) or new & self._ids:
            values, counts = np.unique(ids, return_counts=True)
            twice = min({*values[counts > 1].tolist(), *(new & self._ids)})
            raise InvalidInput(f"id {twice} is given twice or is in the index already; remove it first.")
        if new and min(new) < 0:
            raise InvalidInput(f"id {min(new)} is negative; accepted: 0 or more.")
        if len(rows):
            self._index.add_with_ids(self._normal(rows), np.ascontiguousarray(ids))
            self._ids |= new

    def remove(self, ids: NDArray[np.int64]) -> int:
        """Remove vectors; ids that are not there are passed over. Returns how many were removed."""
        there = self._ids & set(ids.tolist())
        if there:
            gone = np.fromiter(there, dtype=np.int64, count=len(there))
            self._index.remove_ids(self._faiss.IDSelectorBatch(gone))
            self._ids -= there
        return len(there)

    def search(self, queries: NDArray[np.float32], k: int) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
        """Find the k nearest vectors of each query: best first, equal scores by smaller id.

        Args:
            queries: (q, dim) float32.
            k: how many; where the index holds fewer, all of them are returned.

        Returns:
            scores (q, min(k, n)) float32 and ids (q, min(k, n)) int64.

        Raises:
            InvalidInput: a wrong type or shape, or k below 1.
            NonFiniteOutput: a query holds NaN or infinity.
        """
        rows = self._normal(checked(queries, self.dim))
        if k < 1:
            raise InvalidInput(f"k is {k}; accepted: 1 or more.")
        k = min(k, len(self))
        scores = np.empty((len(rows), k), dtype=np.float32)
        ids = np.empty((len(rows), k), dtype=np.int64)
        if k:
            for first in range(0, len(rows), _GROUP):
                part = slice(first, first + _GROUP)
                scores[part], ids[part] = self._nearest(rows[part], k)
        return scores, ids

    def _nearest(self, rows: NDArray[np.float32], k: int) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
        fetch = min(k + _MARGIN, len(self))
        while True:
            scores, ids = self._index.search(rows, fetch)
            if fetch == len(self) or bool(np.all(scores[:, -1] < scores[:, k - 1])):
                break
            fetch = min(2 * fetch, len(self))  # a tie reaches past what was fetched
        order = np.lexsort((ids, -scores))[:, :k]
        return np.take_along_axis(scores, order, 1), np.take_along_axis(ids, order, 1)

    def _normal(self, rows: NDArray[np.float32]) -> NDArray[np.float32]:
        """Scale to length 1 for cosine; a zero vector stays zero and scores 0 with everything."""
        return rows if self.metric == "inner_product" else unit(rows)
