"""Vectors of queries, and documents' vectors block by block, in; the best k documents of each query, exactly, out."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from sentvec.errors import InvalidInput, NonFiniteOutput
from sentvec.evaluate.screen import Rough, distances, fastest, products
from sentvec.ops.similarity import similarity

_BLOCK = 4096  # documents compared at once: with a thousand queries, the similarities fill 16 MB at most
_QUERIES = 1024
_VAIN = 1 / 16
"""Share of pairs that may pass the rough comparison and fail the exact one; beyond it, rough is too rough."""


class TopK:
    """The best documents so far. What is held does not grow with the number of documents.

    Equal similarities are ordered by `order`, and equal vectors have equal similarities wherever they stand, so that
    neither the order of the file nor the size of a block has a say. Pairs are compared roughly first, and those that
    may be among the best exactly.

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
        similarity(kind)  # refuses a name that is not known
        self._kind = kind
        self._low = fastest()
        self._dim = queries.shape[-1]
        ready = self._ready(queries, "query", 0)
        starts = range(0, len(ready), _QUERIES)
        self._groups = [(part, _Best(len(part), k)) for part in (ready[at : at + _QUERIES] for at in starts)]
        self._k = k
        self._seen = 0

    def add(self, vectors: NDArray[np.float32], order: NDArray[np.int64]) -> None:
        """Compare the next documents.

        Args:
            vectors: (n, dim) float32.
            order: (n,) what names a document; of equal similarities the one with the smaller number comes first.

        Raises:
            InvalidInput: the widths differ.
            NonFiniteOutput: a vector holds NaN or infinity, or is so long that a similarity may.
        """
        names = torch.from_numpy(np.ascontiguousarray(order))
        for start in range(0, len(vectors), _BLOCK):
            part = self._ready(vectors[start : start + _BLOCK], "document", self._seen)
            self._seen += len(part)
            for queries, best in self._groups:
                best.add(self._compared(queries, part), names[start : start + _BLOCK])
                if best.in_vain > _VAIN * len(queries) * len(part):
                    self._low = torch.float32

    def best(self) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
        """Return similarities and names, (q, min(k, documents)) each, the best first."""
        width = min(self._k, self._seen)
        if not self._groups:
            return np.empty((0, width), np.float32), np.empty((0, width), np.int64)
        found = [best.ranked(width) for _, best in self._groups]
        values, names = (torch.cat(parts).numpy() for parts in zip(*found, strict=True))
        return values, names

    def _compared(self, queries: Tensor, documents: Tensor) -> Rough:
        if self._kind in ("cosine", "dot"):  # for the cosine, vectors are scaled once instead of once a block
            return products(queries, documents, self._low)
        return distances(queries, documents, self._kind)

    def _ready(self, vectors: NDArray[np.float32], what: str, before: int) -> Tensor:
        if vectors.ndim != 2 or vectors.shape[1] != self._dim:
            wanted = f"(n, {self._dim})" if what == "document" else "(n, dim)"
            raise InvalidInput(f"vectors of {what}s have the shape {vectors.shape}; accepted: {wanted}.")
        ready = torch.from_numpy(np.ascontiguousarray(vectors, dtype=np.float32))
        if not bool(torch.isfinite(ready.sum())):  # one number tells, unless the sum itself is too large
            whole = torch.isfinite(ready).all(dim=1)
            if not bool(whole.all()):
                place = before + int((~whole).nonzero()[0])
                raise NonFiniteOutput(
                    f"the vector of {what} {place} holds NaN or infinity; nothing can be ranked by it."
                )
        return functional.normalize(ready, dim=1) if self._kind == "cosine" else ready


class _Best:
    """For each query the documents that may still be among its best k, in rows with room for some more."""

    def __init__(self, queries: int, k: int) -> None:
        self.in_vain = 0
        self._k = k
        self._values = torch.empty(queries, 0)
        self._names = torch.empty(queries, 0, dtype=torch.int64)
        self._held = torch.zeros(queries, dtype=torch.int64)  # how much of each row is taken
        self._least: Tensor | None = None  # (queries, 1) what a similarity must reach; None: fewer than k are known

    def add(self, rough: Rough, names: Tensor) -> None:
        """Take the similarities to more documents, whose names are (n,)."""
        if not bool(torch.isfinite(rough.error).all()):
            raise NonFiniteOutput("vectors are so long that their products are too large for float32; scale them.")
        least = self._least
        if least is None:
            # whatever came before, less than the k-th of these cannot be among the best; the rough one is off by its
            # error, and by the rounding to its format, which is less
            values = rough.values.float().topk(min(self._k, len(names)), dim=1, sorted=False).values
            least = values.amin(dim=1, keepdim=True) - 2 * rough.error
        row, column = rough.reaching(least)
        values = rough.exact(row, column)
        good = values >= least[row, 0]
        self.in_vain = len(row) - int(good.sum())
        self._put(row[good], values[good], names[column[good]])
        if self._least is None:
            self._shrink()

    def ranked(self, width: int) -> tuple[Tensor, Tensor]:
        """Return similarities and names, (queries, width) each, the best first."""
        self._shrink()
        names, order = self._names[:, :width].sort(dim=1)
        values, again = self._values.gather(1, order).sort(dim=1, descending=True, stable=True)
        return values, names.gather(1, again)

    def _put(self, row: Tensor, values: Tensor, names: Tensor) -> None:
        more = torch.bincount(row, minlength=len(self._held))
        if int((self._held + more).max()) > self._values.shape[1]:
            self._shrink()
            self._widen(max(2 * self._k, int((self._held + more).max())))
        # pairs come row by row: the first of a row goes behind what the row holds, the next behind it
        place = (self._held + more - more.cumsum(0))[row] + torch.arange(len(row))
        self._values[row, place] = values
        self._names[row, place] = names
        self._held += more

    def _widen(self, width: int) -> None:
        extra = max(0, width - self._values.shape[1])
        self._values = functional.pad(self._values, (0, extra), value=-torch.inf)
        self._names = functional.pad(self._names, (0, extra))

    def _shrink(self) -> None:
        """Keep k of each row, if all rows hold as many."""
        k = self._k
        if int(self._held.min()) < k:
            return
        values, places = self._values.topk(k, dim=1, sorted=False)
        names = self._names.gather(1, places)
        least = values.amin(dim=1, keepdim=True)
        edge = ((self._values >= least).sum(dim=1) > k).nonzero()[:, 0]
        if len(edge):  # of equal similarities at the edge, the smaller names stay
            all_names, order = self._names[edge].sort(dim=1)
            all_values, again = self._values[edge].gather(1, order).sort(dim=1, descending=True, stable=True)
            values[edge], names[edge] = all_values[:, :k], all_names.gather(1, again)[:, :k]
        self._values, self._names = values, names
        self._held.fill_(k)
        self._least = least
        self._widen(2 * k)
