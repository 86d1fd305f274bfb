"""What one process sees of a collection's vectors: the database's state in, the rows nearest to queries out.

That is the active generation, mapped from the disk; the vectors that came after it, in memory; without those of rows
that were removed. What either finds is scored again from the vectors, so that answers do not depend on which rows are
in which.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from sentvec.errors import CollectionCorrupt
from sentvec.index import kinds
from sentvec.index.ann import AnnIndex
from sentvec.index.rows import checked, pointing, unit
from sentvec.index.tuning import Tuning
from sentvec.search import ledger
from sentvec.search.encoding import numbers
from sentvec.search.generation import INDEX, BadGeneration, Generation, GoneGeneration
from sentvec.search.opening import Identity, identity
from sentvec.search.scan import BLOCK, Part, best, candidates
from sentvec.search.schema import changed, damaged
from sentvec.search.store import Store
from sentvec.search.types import Active

Array = NDArray[np.float32]
Ids = NDArray[np.int64]
Mask = NDArray[np.bool_]

_log = logging.getLogger("sentvec")

NARROW = 10_000  # rows that a filter leaves are compared one by one up to so many, or up to a fiftieth of all
_LOAD = 8192  # vectors read from the database at once
_TOGETHER = 64  # queries that an index is asked at once, which bounds what their candidates take
_SCANNED = 512  # queries that every vector is compared with at once: with some hundreds, faiss is six times as fast


class _Later:
    """Vectors of rows past the generation, in memory; they are appended, and marked where their rows are removed."""

    def __init__(self, dim: int) -> None:
        self._rows: Ids = np.empty(1024, np.int64)
        self._vectors: Array = np.empty((1024, dim), np.float32)
        self._alive: Mask = np.empty(1024, np.bool_)
        self._count = 0
        self.longest = 0.0
        self.living = 0

    @property
    def rows(self) -> Ids:
        return self._rows[: self._count]

    @property
    def vectors(self) -> Array:
        return self._vectors[: self._count]

    @property
    def alive(self) -> Mask:
        return self._alive[: self._count]

    def add(self, rows: Ids, vectors: Array) -> None:
        needed = self._count + len(rows)
        while needed > len(self._rows):
            self._rows = np.concatenate([self._rows, np.empty_like(self._rows)])
            self._alive = np.concatenate([self._alive, np.empty_like(self._alive)])
            self._vectors = np.concatenate([self._vectors, np.empty_like(self._vectors)])
        self._rows[self._count : needed] = rows
        self._vectors[self._count : needed] = vectors
        self._alive[self._count : needed] = True
        self._count = needed
        self.living += len(rows)
        length = np.linalg.norm(vectors.astype(np.float64), axis=1).max(initial=0)
        self.longest = max(self.longest, float(length))

    def remove(self, rows: Ids) -> None:
        places = _places(self.rows, rows)
        self._alive[places] = False
        self.living = int(self.alive.sum())

    def look(self, places: Ids) -> tuple[Ids, Array]:
        return self.rows[places], self.vectors[places]


def _places(held: Ids, rows: Ids) -> Ids:
    """Return the places of those rows that are held; both ascending or, for `rows`, in any order."""
    if not len(held):
        return np.zeros(0, np.int64)
    places: Ids = np.minimum(np.searchsorted(held, rows), len(held) - 1)
    found: Ids = places[held[places] == rows]
    return found


class View:
    """Vectors of a collection as of one commit. Not for two threads at once.

    Attributes:
        active: the generation in use.
        bad: generations that are damaged, and in what; they are not used.
    """

    def __init__(self, folder: Path, known: Identity) -> None:
        self._folder, self._known = folder, known
        self._dim, self._metric = known.dim, known.metric
        self.active: Active | None = None
        self._generation: Generation | None = None
        self._index: AnnIndex | None = None
        self.bad: dict[int, str] = {}
        self._later = _Later(known.dim)
        self._alive: Mask = np.zeros(0, np.bool_)
        self._living = 0
        self._last_row = self._removed = self._commits = self._made = 0

    # To the database's state ------------------------------------------------------------------------

    def refresh(self, store: Store, *, patient: bool = True) -> None:
        """Come to the state that the current read transaction sees.

        Args:
            store: where the transaction is.
            patient: raise where the generation is not there, and do not take it for damaged: it may just have been
                replaced, which a new transaction sees.

        Raises:
            GoneGeneration: see `patient`.
            ModelMismatch: the vectors were made anew with another model.
            CollectionCorrupt: the database is damaged.
        """
        commits = store.commits()
        if commits == self._commits:
            return
        if identity(store).fingerprint != self._known.fingerprint:
            raise changed(self._folder)
        active, made = ledger.active(store), ledger.last_generation(store)
        # By both: with one made and given up since, what was removed before it has been forgotten.
        fresh = self._commits == 0 or (active, made) != (self.active, self._made)
        if fresh:
            self._made = made
            self._begin(active, store, patient=patient)
        gone, self._removed = ledger.removed_after(store, self._removed)
        if gone:
            rows = np.array(gone, dtype=np.int64)
            if self._generation is not None:
                self._alive[self._generation.places_of(rows)] = False
                self._living = int(np.count_nonzero(self._alive))
            self._later.remove(rows)
        first = self._last_row
        while part := store.vectors_after(self._last_row, _LOAD):
            rows = np.array([row for row, _ in part], dtype=np.int64)
            self._later.add(rows, self._numbers(part))
            self._last_row = int(rows[-1])
        self._check(store, first, fresh=fresh)
        self._commits = commits

    def _begin(self, active: Active | None, store: Store, *, patient: bool) -> None:
        """Start again from a generation, or from nothing."""
        self.close()
        self._commits = 0
        if active is not None and active.generation not in self.bad:
            try:
                self._open(active)
            except (BadGeneration, GoneGeneration) as error:
                if patient and isinstance(error, GoneGeneration):
                    raise
                self._set_aside(active.generation, str(error))
        self.active, self._later = active, _Later(self._dim)
        held = self._generation is not None and active is not None
        self._last_row = active.last_row if held and active is not None else 0
        self._removed = 0 if held else ledger.last_removal(store)

    def _open(self, active: Active) -> None:
        generation = Generation(self._folder, active.generation, active.manifest)
        try:
            about = generation.manifest
            if (about.dim, about.metric, about.rows) != (self._dim, self._metric, active.rows):
                raise BadGeneration("its manifest is that of another collection")
            if INDEX in about.files:
                tuning = Tuning.from_dict(about.index["tuning"])
                shape = (about.kind, about.rows, self._dim, self._metric)
                self._index = kinds.read(generation.path / INDEX, *shape, tuning)
        except BaseException as error:
            generation.close()
            if isinstance(error, CollectionCorrupt):
                raise BadGeneration(str(error)) from error
            raise
        self._generation = generation
        self._living = len(generation.rows)
        self._alive = np.ones(self._living, np.bool_)

    def _set_aside(self, number: int, reason: str) -> None:
        self.bad[number] = reason
        self._index = self._generation = None
        _log.warning(
            "Generation %d of the collection %r is damaged (%s). Answers come from the database instead, slower and "
            "as exact; `sentvec verify --repair` builds it again.",
            *(number, str(self._folder), reason),
        )

    def _numbers(self, part: list[tuple[int, bytes]]) -> Array:
        vectors = numbers(self._folder, part, self._dim)
        return unit(vectors) if self._metric == "cosine" else vectors

    def _check(self, store: Store, first: int, *, fresh: bool) -> None:
        """Hold what is in memory against the number of passages: of all at first, and of the new ones after that."""
        new = np.count_nonzero(self._later.alive[self._later.rows > first])
        if ledger.rows_after(store, first) != new or (fresh and store.counts()[0] != len(self)):
            raise damaged(self._folder, "it has not one vector for each passage")

    def close(self) -> None:
        """Let go of the generation."""
        if self._generation is not None:
            self._generation.close()
        self._generation = self._index = None

    # Questions --------------------------------------------------------------------------------------

    def __len__(self) -> int:
        return self.indexed + self._later.living

    @property
    def indexed(self) -> int:
        """How many passages are in the generation."""
        return self._living if self._generation is not None else 0

    @property
    def tuning(self) -> Tuning | None:
        """What was measured of the index; None where every vector is compared."""
        return None if self._index is None else self._index.tuning

    def nearest(
        self, queries: Array, k: int, *, allowed: Ids | None = None, recall: float | None = None, exact: bool = False
    ) -> list[tuple[Array, Ids]]:
        """Find the k rows nearest to each query.

        Args:
            queries: (q, dim) float32.
            k: how many at most.
            allowed: the rows that may be found, ascending; None is all. Where they are few, each is compared.
            recall: how many of the true neighbours an index should find; what it was built for, if None.
            exact: compare every vector, whatever the index is.

        Returns:
            For each query its scores (m,), best first, and rows (m,): m is k, or how many there are if fewer.

        Raises:
            InvalidInput: a wrong type or shape; NonFiniteOutput: a query holds NaN or infinity.
            BadGeneration: a vector of the generation is not as it was written. It is set aside, so another
                `refresh`, in a new transaction, comes to the answer.
        """
        rows = checked(queries, self._dim)
        rows = pointing(rows) if self._metric == "cosine" else rows
        found: list[tuple[Array, Ids]] = []
        step = _SCANNED if self._index is None or exact else _TOGETHER
        held = self._generation
        for first in range(0, len(rows), step):
            part = rows[first : first + step]
            parts: list[Part] = []
            if held is not None:
                places = self._in_generation(held, part, k, allowed, recall, exact)
                parts.append((places, partial(self._look, held)))
            if self._later.living:
                keep = self._later.alive if allowed is None else _kept(self._later.rows, self._later.alive, allowed)
                places = candidates(part, self._later.vectors, k, keep, self._later.longest)
                parts.append((places, self._later.look))
            found += best(part, k, parts)
        return found

    def vectors_of(self, rows: Ids) -> tuple[Ids, Array]:
        """Return those of the rows that there are, and their vectors as they are compared."""
        there, vectors = [np.zeros(0, np.int64)], [np.zeros((0, self._dim), np.float32)]
        if self._generation is not None:
            places = self._generation.places_of(rows)
            found = self._look(self._generation, places[self._alive[places]])
            there, vectors = [*there, found[0]], [*vectors, found[1]]
        places = _places(self._later.rows, rows)
        found = self._later.look(places[self._later.alive[places]])
        return np.concatenate([*there, found[0]]), np.concatenate([*vectors, found[1]])

    def _in_generation(
        self, held: Generation, queries: Array, k: int, allowed: Ids | None, recall: float | None, exact: bool
    ) -> Sequence[Ids]:
        """Return the places of candidates in the generation, for each query."""
        keep, count, whole = self._alive, self._living, len(held.rows)
        if allowed is not None:
            places = held.places_of(allowed)
            places = places[self._alive[places]]
            if len(places) <= max(NARROW, whole // 50):
                return self._among(held, places, queries, k)
            keep = np.zeros(whole, np.bool_)
            keep[places] = True
            count = len(places)
        mask = keep if count < whole else None
        if self._index is None or exact or k >= count:
            return self._scanned(held, queries, k, mask)
        found = self._index.near(queries, k, self._index.point(recall), mask)
        if found.shape[1] >= k and np.minimum.reduce(found, axis=None) >= 0:
            return list(found)
        lines = [line[line >= 0] for line in found]
        short = [n for n, line in enumerate(lines) if len(line) < k]
        if short:  # the index came to an end before it had enough
            for n, line in zip(short, self._scanned(held, queries[short], k, mask), strict=True):
                lines[n] = line
        return lines

    def _scanned(self, held: Generation, queries: Array, k: int, keep: Mask | None) -> Sequence[Ids]:
        try:
            held.check_vectors()
        except BadGeneration as error:
            raise self._lost(held, error) from None
        return candidates(queries, held.vectors, k, keep, held.manifest.longest)

    def _among(self, held: Generation, places: Ids, queries: Array, k: int) -> Sequence[Ids]:
        """Return which of these places may be among the k nearest."""
        near: list[list[Ids]] = [[places[:0]] for _ in queries]
        for first in range(0, len(places), BLOCK):
            part = places[first : first + BLOCK]
            _, vectors = self._look(held, part)
            found = candidates(queries, vectors, k, None, held.manifest.longest)
            for mine, some in zip(near, found, strict=True):
                mine.append(part[some])
        return [np.concatenate(mine) for mine in near]

    def _look(self, held: Generation, places: Ids) -> tuple[Ids, Array]:
        try:
            return held.look(places)
        except BadGeneration as error:
            raise self._lost(held, error) from None

    def _lost(self, held: Generation, error: BadGeneration) -> BadGeneration:
        """Set a generation aside that turns out to be damaged; returns the error to raise."""
        self._set_aside(held.manifest.generation, str(error))
        held.close()
        self._commits = 0
        return error


def _kept(rows: Ids, alive: Mask, allowed: Ids) -> Mask:
    keep = np.zeros(len(rows), np.bool_)
    keep[_places(rows, allowed)] = True
    return keep & alive
