"""Vectors of queries, and documents' vectors block by block, in; the best k documents of each query, exactly, out."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from sentvec.errors import InvalidInput, NonFiniteOutput
from sentvec.evaluate.screen import Rough, asked, distances, fastest, products
from sentvec.ops.similarity import similarity

_BLOCK = 8192  # documents compared at once: with a thousand queries, the similarities fill 32 MB at most
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
        NonFiniteOutput: a query's vector holds NaN or infinity, or is too long for float32.
    """

    def __init__(self, queries: NDArray[np.float32], k: int, kind: str = "cosine") -> None:
        if k < 1:
            raise InvalidInput(f"k is {k}; accepted: 1 or more.")
        similarity(kind)  # refuses a name that is not known
        self._kind = kind
        self._dim = queries.shape[-1]
        ready = self._ready(queries, "query", 0)
        starts = range(0, len(ready), _QUERIES)
        self._groups = [_Group(ready[at : at + _QUERIES], k, kind) for at in starts]
        self._k = k
        self._seen = 0

    def add(self, vectors: NDArray[np.float32], order: NDArray[np.int64]) -> None:
        """Compare the next documents.

        Args:
            vectors: (n, dim) float32.
            order: (n,) what names a document; of equal similarities the one with the smaller number comes first.

        Raises:
            InvalidInput: the widths differ.
            NonFiniteOutput: a vector holds NaN or infinity, or is too long for float32.
        """
        for start in range(0, len(vectors), _BLOCK):
            part = self._ready(vectors[start : start + _BLOCK], "document", self._seen)
            self._seen += len(part)
            for group in self._groups:
                group.add(part, order[start : start + _BLOCK])

    def best(self) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
        """Return similarities and names, (q, min(k, documents)) each, the best first."""
        width = min(self._k, self._seen)
        if not self._groups:
            return np.empty((0, width), np.float32), np.empty((0, width), np.int64)
        found = [group.ranked(width) for group in self._groups]
        return np.concatenate([values for values, _ in found]), np.concatenate([names for _, names in found])

    def _ready(self, vectors: NDArray[np.float32], what: str, before: int) -> Tensor:
        if vectors.ndim != 2 or vectors.shape[1] != self._dim:
            wanted = f"(n, {self._dim})" if what == "document" else "(n, dim)"
            raise InvalidInput(f"vectors of {what}s have the shape {vectors.shape}; accepted: {wanted}.")
        ready = torch.from_numpy(np.ascontiguousarray(vectors, dtype=np.float32))
        lengths = ready.norm(dim=1, keepdim=True)  # where those are finite numbers, so are all similarities
        odd = torch.isfinite(lengths[:, 0]).logical_not().nonzero()[:, 0]
        if len(odd):
            why = "is too long for float32" if bool(torch.isfinite(ready[odd[0]]).all()) else "holds NaN or infinity"
            raise NonFiniteOutput(f"the vector of {what} {before + int(odd[0])} {why}; nothing can be ranked by it.")
        return ready / lengths.clamp_min(1e-12) if self._kind == "cosine" else ready


class _Group:
    """Some queries with the documents that may still be among the best k of each, in rows with room for some more."""

    def __init__(self, queries: Tensor, k: int, kind: str) -> None:
        self._asked = asked(queries, fastest())
        self._kind = kind
        self._k = k
        self._values = np.empty((len(queries), 0), np.float32)
        self._names = np.empty((len(queries), 0), np.int64)
        self._held = np.zeros(len(queries), np.int64)  # how much of each row is taken
        self._least: NDArray[np.float32] | None = None  # (queries, 1) what counts; None: fewer than k are known

    def add(self, documents: Tensor, names: NDArray[np.int64]) -> None:
        """Compare with more documents, (n, dim), whose names are (n,)."""
        rough = self._compared(documents)
        least = _lower_bound(rough, self._k) if self._least is None else self._least
        pairs = rough.reaching(torch.from_numpy(least))
        values = rough.exact(pairs)
        good = np.flatnonzero(values >= least[pairs.row, 0])
        if len(values) - len(good) > _VAIN * rough.values.numel():
            self._asked = asked(self._asked.vectors, torch.float32)
        self._put(pairs.row[good], values[good], names[pairs.column[good]])
        if self._least is None:
            self._shrink()

    def _compared(self, documents: Tensor) -> Rough:
        if self._kind in ("cosine", "dot"):  # for the cosine, vectors were scaled once instead of once a block
            return products(self._asked, documents)
        return distances(self._asked.vectors, documents, self._kind)

    def ranked(self, width: int) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
        """Return similarities and names, (queries, width) each, the best first."""
        self._shrink()
        order = np.lexsort((self._names[:, :width], -self._values[:, :width]), axis=-1)
        return np.take_along_axis(self._values, order, axis=1), np.take_along_axis(self._names, order, axis=1)

    def _put(self, row: NDArray[np.int64], values: NDArray[np.float32], names: NDArray[np.int64]) -> None:
        more = np.bincount(row, minlength=len(self._held))
        if (self._held + more).max() > self._values.shape[1]:
            self._shrink()
            self._widen(max(2 * self._k, int((self._held + more).max())))
        # pairs come row by row: the first of a row goes behind what the row holds, the next behind it
        first = np.arange(len(more)) * self._values.shape[1] + self._held + more - more.cumsum()
        place = first[row] + np.arange(len(row))
        np.put(self._values, place, values)
        np.put(self._names, place, names)
        self._held += more

    def _widen(self, width: int) -> None:
        room = ((0, 0), (0, max(0, width - self._values.shape[1])))
        self._values = np.pad(self._values, room, constant_values=-np.inf)
        self._names = np.pad(self._names, room)

    def _shrink(self) -> None:
        """Keep k of each row, if all rows hold as many."""
        k = self._k
        if self._held.min() < k:
            return
        least = np.partition(self._values, -k, axis=1)[:, -k, None]
        kept = self._values >= least
        edge = np.flatnonzero(np.count_nonzero(kept, axis=1) > k)
        if len(edge):  # of equal similarities at the edge, the smaller names stay
            order = np.lexsort((self._names[edge], -self._values[edge]), axis=-1)[:, :k]
            kept[edge] = False
            kept[edge[:, None], order] = True
        shape = (len(kept), k)
        self._values, self._names = self._values[kept].reshape(shape), self._names[kept].reshape(shape)
        self._held[:] = k
        self._least = least
        self._widen(2 * k)


def _lower_bound(rough: Rough, k: int) -> NDArray[np.float32]:
    """Return what k documents of each query are sure to reach, or all of them where they are fewer: (queries, 1)."""
    documents = rough.values.shape[1]
    k = min(k, documents)
    # the k-th largest of the largest of groups is no more than the k-th largest of all, and found much sooner
    size = max(1, documents // (4 * k))
    groups = rough.values[:, : documents // size * size].reshape(len(rough.values), -1, size).amax(dim=2)
    reached = torch.from_numpy(np.partition(groups.float().numpy(), -k, axis=1)[:, -k, None])
    # the rough value is off by its error, and by the rounding to its format, which is less
    bound: NDArray[np.float32] = (reached - 2 * rough.error).numpy()
    return bound
