"""An index, queries and their true neighbours in; how far it must look for a wanted recall, and the curve, out."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from sentvec.errors import InvalidInput
from sentvec.index.rows import Array

Places = NDArray[np.int64]

ENOUGH = 0.999  # recall from which more looking is not measured
SPARE = 64  # neighbours kept beyond k, so that of equal ones any may be found
_LIKES = 48  # beyond the k nearest, so many more may be likes of a query
_WIDE, _MANY = (
    0.2,
    1 / 3,
)  # of that fall, a gap behind repeats; elsewhere the widest is a tenth, and one in ten is wider
_FACTORS = (1, 2, 4, 8, 16, 32, 64)
_TIE = 1e-6
_GAIN = 0.001
_RESCORE_S = 1e-6  # about what it takes to fetch a candidate's vector and to compare it


@dataclass(frozen=True, slots=True)
class Point:
    """One way of searching.

    Attributes:
        effort: lists visited of IVF, or length of the queue of HNSW (efSearch); 0 where there is no choice.
        factor: candidates fetched for each neighbour that is asked for, to be scored again by their vectors.
        recall: the share of the true neighbours that are among the candidates.
        seconds: of a query, in a batch.
    """

    effort: int
    factor: int
    recall: float = 1.0
    seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class Tuning:
    """What was measured of an index.

    Attributes:
        target: the recall that was asked for.
        k: neighbours that count.
        queries: how many queries it was measured on.
        curve: the ways that were tried, in order of effort.
    """

    target: float
    k: int
    queries: int
    curve: tuple[Point, ...]

    @property
    def chosen(self) -> Point:
        """The cheapest way that reaches the target, or the best there is."""
        return self.reaching(self.target)

    def reaching(self, recall: float) -> Point:
        """Return the cheapest way of at least this recall; where there is none, the best."""
        good = [point for point in self.curve if point.recall >= recall]
        if good:
            return min(good, key=lambda point: point.seconds + self.k * point.factor * _RESCORE_S)
        return max(self.curve, key=lambda point: point.recall)

    def as_dict(self) -> dict[str, Any]:
        """Return it as JSON can hold it."""
        return asdict(self)

    @classmethod
    def from_dict(cls, given: Mapping[str, Any]) -> Tuning:
        """Read what `as_dict` gave.

        Raises:
            InvalidInput: it is something else.
        """
        try:
            curve = tuple(Point(**point) for point in given["curve"])
            if not curve:
                raise ValueError("the curve is empty")
            return cls(float(given["target"]), int(given["k"]), int(given["queries"]), curve)
        except (KeyError, TypeError, ValueError) as error:
            raise InvalidInput(f"{ascii(given)[:80]} is no curve of an index ({error}).") from None


def unmeasured(effort: int, *, lossy: bool) -> Tuning:
    """Return the way to search an index that holds too few vectors to be measured: as far as it goes."""
    return Tuning(1.0, 10, 0, (Point(effort, _FACTORS[-1] if lossy else 1),))


class Searchable(Protocol):
    """What can be tuned."""

    @property
    def efforts(self) -> tuple[int, ...]:
        """The efforts to try, rising."""

    @property
    def lossy(self) -> bool:
        """Whether candidates are ranked by less than their vectors."""

    def least(self, count: int) -> int:
        """Return the least effort by which so many candidates are looked for no further than it says."""

    def candidates(self, queries: Array, count: int, effort: int) -> Places:
        """Return the places (q, count) of what is nearest, -1 where there is none."""


class Truth:
    """The true neighbours of queries, gathered block by block; a query's own vector is no neighbour of it.

    A vector that stands for a question has likes among the others that a question has not: what was said twice, what
    stands next to it in a text. So its nearest do not count, and those after them do; see `likes`.

    Args:
        queries: (q, dim), prepared as the vectors are.
        own: (q,) the places of the queries among the vectors, -1 where they are not among them.
        k: neighbours that count.
        by_distance: rank by Euclidean distance, not by inner product.
    """

    def __init__(self, queries: Array, own: Places, k: int, *, by_distance: bool) -> None:
        self.queries, self.own, self.k = queries, own, k
        self._by_distance = by_distance
        self._scores = np.full((len(queries), k + SPARE), -np.inf, np.float32)
        self._places = np.full((len(queries), k + SPARE), -1, np.int64)
        self._seen = 0

    def add(self, block: Array) -> None:
        """Compare the queries with the next vectors (n, dim)."""
        scores = self.queries @ block.T
        if self._by_distance:
            scores = 2 * scores - np.einsum("ij,ij->i", block, block)
        places = np.arange(self._seen, self._seen + len(block))
        self._seen += len(block)
        scores[self.own[:, None] == places] = -np.inf
        scores = np.concatenate([self._scores, scores], axis=1)
        near = np.argpartition(-scores, self.k + SPARE - 1, axis=1)[:, : self.k + SPARE]
        known = np.broadcast_to(places, (len(self.queries), len(block)))
        self._places = np.take_along_axis(np.concatenate([self._places, known], axis=1), near, 1)
        self._scores = np.take_along_axis(scores, near, 1)

    def likes(self) -> int:
        """Return how many of the nearest do not count: none for real questions, for others k, or more.

        More where vectors are repeated: there, with many of them, one gap behind the repeats is a good part of all
        that scores fall by from the k-th neighbour on.
        """
        if not (self.own >= 0).any():
            return 0
        scores = -np.sort(-self._scores, axis=1)[:, self.k - 1 : self.k + _LIKES]
        with np.errstate(invalid="ignore"):  # between those that are not there
            gaps, fall = scores[:, :-1] - scores[:, 1:], scores[:, 0] - scores[:, -1]
        wide = np.isfinite(fall) & (gaps.max(axis=1) > _WIDE * fall)
        if np.mean(wide) < _MANY:
            return self.k
        return self.k + int(np.median(np.argmax(gaps[wide], axis=1)))

    def recall(self, found: Places, likes: int = 0) -> float:
        """Return the share of true neighbours among candidates (q, n); of equally near ones, any may be found.

        Args:
            found: places of candidates, -1 where there is none.
            likes: so many of the nearest do not count, where there are enough others.
        """
        kept, total = 0, 0
        for row, own in enumerate(self.own):
            order = np.argsort(-self._scores[row], kind="stable")
            scores, places = self._scores[row][order], self._places[row][order]
            there = int(np.isfinite(scores).sum())
            wanted = min(self.k, there)
            if not wanted:
                continue
            first = max(0, min(likes, there - wanted))
            near, far = scores[first] + _TIE, scores[first + wanted - 1] - _TIE
            good = places[:there][(scores[:there] <= near) & (scores[:there] >= far)]
            some = found[row][found[row] != own]
            kept += min(wanted, len(np.intersect1d(some, good)))
            total += wanted
        return kept / total if total else 1.0


def tuned(index: Searchable, truth: Truth, target: float) -> Tuning:
    """Measure recall and time over efforts and numbers of candidates, until nothing is to be gained.

    Raises:
        InvalidInput: the target is no share.
    """
    if not 0 < target <= 1:
        raise InvalidInput(f"The wanted recall is {target}; accepted: above 0, at most 1.")
    curve: list[Point] = []
    best, likes = -1.0, truth.likes()
    least = index.least(truth.k + likes + 1)
    for effort in [one for one in index.efforts if one >= least] or index.efforts[-1:]:
        before, last = best, -1.0
        for factor in _FACTORS if index.lossy else _FACTORS[:1]:
            begun = time.perf_counter()
            found = index.candidates(truth.queries, truth.k * factor + 1, effort)  # and itself
            seconds = (time.perf_counter() - begun) / max(len(truth.queries), 1)
            recall = truth.recall(found)
            if likes:  # to be found as well, and not counted
                found = index.candidates(truth.queries, truth.k * factor + likes + 1, effort)
                recall = min(recall, truth.recall(found, likes))
            curve.append(Point(effort, factor, round(recall, 5), seconds))
            best = max(best, recall)
            if recall >= ENOUGH or recall - last < _GAIN:
                break
            last = recall
        if best >= ENOUGH or (best >= target and best - before < _GAIN / 4):
            break
    return Tuning(target, truth.k, len(truth.queries), tuple(curve))
