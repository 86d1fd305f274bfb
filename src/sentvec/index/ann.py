"""A faiss index of any kind in; one way to search them all, with any vectors left out, out.

A place is a vector's number in the order of the blocks. What is found are candidates: their order is that of the
index's codes. Whoever holds the vectors scores them again, so that every kind gives the same, exact scores.
"""

from __future__ import annotations

import os
import re
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sentvec.errors import InvalidInput
from sentvec.extras import require
from sentvec.index.menu import FLAT, Metric
from sentvec.index.rows import Array, checked, unit
from sentvec.index.tuning import Places, Point, Tuning, unmeasured

Mask = NDArray[np.bool_]

_SPARE = 16
_BEYOND = 4  # times the effort of the curve's end, for a recall that it does not reach
_QUEUES = (16, 24, 32, 48, 64, 96, 128, 192, 256, 384, 512, 768, 1024, 2048)
_WRAPPERS = frozenset({"IndexPreTransform", "IndexRefine", "IndexRefineFlat"})
_SELECTING = frozenset({"IndexFlat", "IndexFlatIP", "IndexFlatL2", "IndexScalarQuantizer"})
_LOSSLESS = re.compile(r"(?:IVF\d+(?:_HNSW\d+)?,)?Flat|HNSW\d+(?:_Flat)?")


class AnnIndex:
    """A faiss index that does not change any more, with what was measured of it. Any number of threads may search.

    Attributes:
        factory: the faiss factory string.
        metric: cosine, inner_product or l2.
        dim: numbers of a vector.
    """

    def __init__(self, index: Any, factory: str, metric: Metric, tuning: Tuning | None = None) -> None:
        self._faiss = require("faiss", extra="search")
        self._index = index
        self.factory, self.metric = factory, metric
        self.dim = int(index.d)
        core = index
        while type(core := self._faiss.downcast_index(core)).__name__ in _WRAPPERS:
            core = core.index if hasattr(core, "index") else core.base_index
        self._lists = int(core.nlist) if hasattr(core, "nlist") else 0
        self._graph = hasattr(core, "hnsw")
        self._count = int(index.ntotal)
        self._selects = self._graph or self._lists > 0 or type(core).__name__ in _SELECTING
        self._settings: dict[int, Any] = {}  # faiss's parameters by effort, and ways of searching by recall: each costs
        self._points: dict[float | None, Point] = {}  # more than a look at a few vectors
        self.tuning = tuning or unmeasured(self.efforts[-1], lossy=self.lossy)

    def __len__(self) -> int:
        """Return the number of vectors."""
        return self._count

    @property
    def tuning(self) -> Tuning:
        """What was measured."""
        return self._tuning

    @tuning.setter
    def tuning(self, tuning: Tuning) -> None:
        self._tuning, self._points = tuning, {}

    def point(self, recall: float | None = None) -> Point:
        """Return the way of searching for a recall; for that of the tuning, if None."""
        if recall not in self._points:
            found = self.tuning.chosen if recall is None else self.tuning.reaching(recall)
            if recall is not None and found.recall < recall:  # the curve ended before, where little more was gained
                found = replace(found, effort=_BEYOND * found.effort)
            self._points[recall] = found
        return self._points[recall]

    @property
    def exact(self) -> bool:
        """Whether every vector is compared as it is."""
        return self.factory == FLAT

    @property
    def lossy(self) -> bool:
        """Whether candidates are ranked by less than their vectors."""
        return not _LOSSLESS.fullmatch(self.factory)

    @property
    def efforts(self) -> tuple[int, ...]:
        """How far a search may look, rising: lists of IVF, or lengths of HNSW's queue; (0,) if always everywhere."""
        if self._graph:
            return _QUEUES
        if not self._lists:
            return (0,)
        steps = {min(self._lists, whole) for n in range(21) for whole in (1 << n, 3 << n >> 1)}
        return tuple(sorted(steps))

    def least(self, count: int) -> int:
        """Return the least effort by which so many are looked for no further than it says: a queue holds them all."""
        return count if self._graph else 0

    def search(
        self, queries: Array, k: int, *, recall: float | None = None, allowed: Mask | None = None
    ) -> tuple[Places, Point]:
        """Find candidates for the k nearest vectors of each query.

        Args:
            queries: (q, dim) float32.
            k: neighbours that are wanted.
            recall: how many of them to find, as it was measured; that of the tuning if None.
            allowed: (n,) which vectors may be found; None is all. Where few may be, more is looked at.

        Returns:
            places (q, some) int64, -1 where there is none, and how it was searched.

        Raises:
            InvalidInput: a wrong type or shape, or k below 1; NonFiniteOutput: a query holds NaN or infinity.
        """
        rows = prepared(queries, self.dim, self.metric)
        if k < 1:
            raise InvalidInput(f"k is {k}; accepted: 1 or more.")
        if allowed is not None and (allowed.dtype != np.bool_ or allowed.shape != (len(self),)):
            raise InvalidInput(f"allowed is {allowed.dtype} {allowed.shape}; accepted: bool ({len(self)},).")
        point = self.point(recall)
        return self.near(rows, k, point, allowed), point

    def near(self, rows: Array, k: int, point: Point, allowed: Mask | None = None) -> Places:
        """Search as `search` does, with queries that `prepared` has given and a way of searching."""
        whole = self._count
        many = whole if allowed is None else int(np.count_nonzero(allowed))
        # More is asked for than was measured: the queue and the lists must hold that much too.
        effort = point.effort * -(-k // max(self._tuning.k, 1)) if self._graph else point.effort
        if 0 < many < whole:
            effort = int(np.ceil(effort * whole / many))
        effort = min(effort, self._lists or max(_QUEUES[-1], 4 * k)) if effort else 0
        count = min(k * point.factor + (0 if point.factor == 1 else _SPARE), many)
        if not count or not len(rows):
            return np.full((len(rows), 0), -1, np.int64)
        if allowed is None or many == whole:
            return self.candidates(rows, count, effort)
        if self._selects:
            return self._selected(rows, count, effort, allowed)
        return self._sifted(rows, count, allowed, many)

    def candidates(self, queries: Array, count: int, effort: int) -> Places:
        """Return what is nearest to prepared queries by the codes: places (q, count), -1 where there is none."""
        if effort not in self._settings:
            self._settings[effort] = self._params(self._index, effort, None)
        return self._places(queries, min(count, self._count), self._settings[effort])

    def _selected(self, rows: Array, count: int, effort: int, allowed: Mask) -> Places:
        bits = np.packbits(allowed, bitorder="little")
        chosen = self._faiss.IDSelectorBitmap(bits)
        return self._places(rows, count, self._params(self._index, effort, chosen))

    def _sifted(self, rows: Array, count: int, allowed: Mask, many: int) -> Places:
        """Search kinds that cannot leave vectors out: ask for more, and drop what may not be found."""
        fetch = count
        while True:
            fetch = min(len(self), max(2 * fetch, int(1.2 * count * len(self) / many)))
            found = self._places(rows, fetch, None)
            good = (found >= 0) & allowed[found]
            if fetch == len(self) or bool((good.sum(axis=1) >= count).all()):
                break
        order = np.argsort(~good, axis=1, kind="stable")[:, :count]
        kept = np.take_along_axis(np.where(good, found, -1), order, 1)
        return np.ascontiguousarray(kept)

    def _places(self, rows: Array, count: int, params: Any) -> Places:
        if not count:
            return np.full((len(rows), 0), -1, np.int64)
        found: Places = self._index.search(rows, count, params=params)[1]
        return found

    def _params(self, index: Any, effort: int, chosen: Any) -> Any:
        """Return faiss's parameters for one search: nothing is set on the index, which others search meanwhile."""
        faiss, index = self._faiss, self._faiss.downcast_index(index)
        options = {} if chosen is None else {"sel": chosen}
        name = type(index).__name__
        if name == "IndexPreTransform":
            inner = self._params(index.index, effort, chosen)
            return None if inner is None else faiss.SearchParametersPreTransform(index_params=inner)
        if name in _WRAPPERS:
            inner = self._params(index.base_index, effort, chosen)
            return faiss.IndexRefineSearchParameters(k_factor=4.0, base_index_params=inner)
        if hasattr(index, "nlist"):
            return faiss.SearchParametersIVF(nprobe=max(effort, 1), **options)
        if hasattr(index, "hnsw"):
            return faiss.SearchParametersHNSW(efSearch=max(effort, 1), **options)
        return faiss.SearchParameters(**options) if options else None

    def write(self, path: str | os.PathLike[str]) -> None:
        """Write the index to a file, which is not synced to the disk; what was measured is not in it."""
        self._faiss.write_index(self._index, os.fspath(path))


def prepared(vectors: Array, dim: int, metric: Metric) -> Array:
    """Return vectors (n, dim) as an index holds them: of length one for cosine.

    Raises:
        InvalidInput: a wrong type or shape; NonFiniteOutput: a vector holds NaN or infinity.
    """
    rows = checked(vectors, dim)
    return unit(rows) if metric == "cosine" else rows
