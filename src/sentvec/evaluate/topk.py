"""Vectors of queries, and documents' vectors block by block, in; the best k documents of each query, exactly, out."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from sentvec.errors import InvalidInput, NonFiniteOutput
from sentvec.ops.similarity import similarity

_BLOCK = 4096  # documents compared at once: with a thousand queries, the scores fill 16 MB
_QUERIES = 1024


class TopK:
    """The best documents so far. What is held does not grow with the number of documents.

    Equal scores are ordered by `order`, so that neither the order of the file nor the size of a block has a say.

    Args:
        queries: (q, dim) float32.
        k: how many documents to keep for each.
        kind: a similarity of `sentvec.ops.similarity`.

    Raises:
        InvalidInput: k is below 1, or the similarity is not known.
        NonFiniteOutput: a query's vector holds NaN or infinity.
    """

    def __init__(self, queries: NDArray[np.float32], k: int, kind: str = "cosine") -> None:
        if k < 1:
            raise InvalidInput(f"k is {k}; accepted: 1 or more.")
        self._unit = kind == "cosine"  # scaled once instead of once a block
        self._score = similarity("dot" if self._unit else kind)
        self._queries = self._ready(queries, "query", 0)
        self._k = k
        self._groups = [
            _Group(self._queries[start : start + _QUERIES], k) for start in range(0, len(queries), _QUERIES)
        ]
        self._seen = 0

    def add(self, vectors: NDArray[np.float32], order: NDArray[np.int64]) -> None:
        """Compare the next documents.

        Args:
            vectors: (n, dim) float32.
            order: (n,) what names a document; of equal scores the one with the smaller number comes first.

        Raises:
            InvalidInput: the widths differ.
            NonFiniteOutput: a vector holds NaN or infinity.
        """
        documents = self._ready(vectors, "document", self._seen)
        for start in range(0, len(documents), _BLOCK):
            part = documents[start : start + _BLOCK]
            names = torch.from_numpy(np.ascontiguousarray(order[start : start + _BLOCK]))
            for group in self._groups:
                group.add(self._score(group.queries, part), names)
        self._seen += len(documents)

    def best(self) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
        """Return scores and names, (q, min(k, documents)) each, the best first."""
        width = min(self._k, self._seen)
        if not self._groups:
            return np.empty((0, width), np.float32), np.empty((0, width), np.int64)
        found = [group.best() for group in self._groups]
        return np.concatenate([scores for scores, _ in found]), np.concatenate([names for _, names in found])

    def _ready(self, vectors: NDArray[np.float32], what: str, before: int) -> Tensor:
        if vectors.ndim != 2 or (what == "document" and vectors.shape[1] != self._queries.shape[1]):
            wanted = f"(n, {self._queries.shape[1]})" if what == "document" else "(n, dim)"
            raise InvalidInput(f"vectors of {what}s have the shape {vectors.shape}; accepted: {wanted}.")
        ready = torch.from_numpy(np.ascontiguousarray(vectors, dtype=np.float32))
        if not bool(torch.isfinite(ready.sum())):  # one number tells, unless the sum itself is too large
            whole = torch.isfinite(ready).all(dim=1)
            if not bool(whole.all()):
                place = before + int((~whole).nonzero()[0])
                raise NonFiniteOutput(
                    f"the vector of {what} {place} holds NaN or infinity; nothing can be ranked by it."
                )
        return functional.normalize(ready, dim=1) if self._unit else ready


class _Group:
    """Queries that are compared together, and the best documents of each so far."""

    def __init__(self, queries: Tensor, k: int) -> None:
        self.queries = queries
        self._k = k
        self._scores = torch.empty(len(queries), 0)
        self._names = torch.empty(len(queries), 0, dtype=torch.int64)

    def add(self, scores: Tensor, names: Tensor) -> None:
        """Take the scores of more documents, (queries, n), with their names, (n,)."""
        k, count = self._k, len(self.queries)
        if self._scores.shape[1] < k:
            everything = torch.cat([self._scores, scores], dim=1)
            least = everything.topk(min(k, everything.shape[1]), dim=1, sorted=False).values.amin(dim=1, keepdim=True)
        else:
            least = self._scores[:, -1:]
        row, column = (scores >= least).nonzero(as_tuple=True)
        kept = torch.arange(count).repeat_interleave(self._scores.shape[1])
        of = torch.cat([kept, row]).numpy()
        values = torch.cat([self._scores.flatten(), scores[row, column]]).numpy()
        called = torch.cat([self._names.flatten(), names[column]]).numpy()
        order = np.lexsort((called, -values, of))
        sizes = np.bincount(of, minlength=count)
        width = min(k, int(sizes.min(initial=k)))
        places = (np.cumsum(sizes) - sizes)[:, None] + np.arange(width)  # (queries, width)
        best = order[places]
        self._scores, self._names = torch.from_numpy(values[best]), torch.from_numpy(called[best])

    def best(self) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
        """Return scores and names, the best first."""
        return self._scores.numpy(), self._names.numpy()
