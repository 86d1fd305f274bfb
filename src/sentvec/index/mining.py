"""All vectors of a set in, what lies near each other in it out: pairs, communities, and which are new to the set.

Every vector is compared with every other, block by block: nothing is missed, and memory holds the vectors and one
block of scores, however many are near. Scores are cosines; a zero vector has 0 with everything.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sentvec.errors import InvalidInput
from sentvec.extras import require
from sentvec.index.rows import Array, checked, unit

Ids = NDArray[np.int64]

BLOCK = 1024
"""Rows that are compared with as many others at a time: 4 MiB of scores."""

_ROUNDING = 1e-6
"""Equal vectors may have a cosine that is so much below 1, and then a threshold of 1 has to find them."""


@dataclass(frozen=True)
class Pairs:
    """Rows that are near each other, nearest first.

    Attributes:
        scores: (n,) float32 cosines.
        left: (n,) rows.
        right: (n,) rows, greater than those in `left`.
    """

    scores: Array
    left: Ids
    right: Ids

    def __len__(self) -> int:
        """Return how many pairs there are."""
        return len(self.scores)


def near_pairs(vectors: Array, *, threshold: float = -1.0, most: int = 500_000) -> Pairs:
    """Find the nearest pairs of all, equal scores by smaller rows.

    Args:
        vectors: (n, dim) float32.
        threshold: least cosine of a pair.
        most: how many pairs to return, and about three times as many to hold.

    Raises:
        InvalidInput: a wrong type or shape, or a number that cannot be; NonFiniteOutput: a vector holds NaN.
    """
    least = reached_from(threshold)
    check_count("most", most)
    rows = unit(checked(vectors))
    found: list[Pairs] = []
    held = 0
    for first, second, scores in _blocks(rows):
        near = scores >= least
        if first == second:
            near = np.triu(near, 1)
        left, right = np.nonzero(near)
        found.append(Pairs(scores[left, right], left + first, right + second))
        held += len(left)
        if held > 2 * most:  # none of those that fall out here can come back
            found = [_best(found, most)]
            held = most
            least = max(least, float(found[0].scores[-1]))
    return _best(found, most)


def communities(vectors: Array, *, threshold: float = 0.75, least: int = 10) -> list[Ids]:
    """Find groups of rows near a common centre; a row is in one of them at most.

    Every row with enough neighbours offers these as a group. The largest offer is taken first, and what is left of
    the next where rows were taken before, as long as it is large enough (the way of sentence-transformers'
    `community_detection`). Neighbours are found twice, first to be counted, so that none need to be held.

    Args:
        vectors: (n, dim) float32.
        threshold: least cosine to the centre.
        least: fewest rows of a group.

    Returns:
        Rows of each group, the largest group first; in a group, by nearness to the centre, which comes first unless
        a larger group has it.

    Raises:
        InvalidInput, NonFiniteOutput: as for `near_pairs`.
    """
    reached = reached_from(threshold)
    check_count("least", least)
    rows = unit(checked(vectors))
    counts = np.zeros(len(rows), np.int64)
    for first, second, scores in _blocks(rows):
        near = scores >= reached
        counts[first : first + len(near)] += near.sum(axis=1)
        if first != second:
            counts[second : second + near.shape[1]] += near.sum(axis=0)
    centres = np.argsort(-counts, kind="stable")
    centres = centres[counts[centres] >= least]
    taken = np.zeros(len(rows), bool)
    groups = []
    for begin in range(0, len(centres), 64):
        for scores in rows[centres[begin : begin + 64]] @ rows.T:
            free = np.flatnonzero((scores >= reached) & ~taken)
            if len(free) >= least:
                taken[free] = True
                groups.append(free[np.argsort(-scores[free], kind="stable")])
    return sorted(groups, key=len, reverse=True)


class Novelty:
    """Tells which vectors of a stream are new: farther than a threshold from all that were new before them.

    What it holds are the new ones, in faiss.

    Args:
        dim: features of a vector.
        threshold: a vector with this cosine or more to one before it is not new.
    """

    def __init__(self, dim: int, threshold: float) -> None:
        self._reached = reached_from(threshold)
        self._index: Any = require("faiss", extra="search").IndexFlatIP(dim)
        self._places: list[int] = []  # in the stream, of what the index holds
        self._count = 0

    def look(self, vectors: Array) -> tuple[Ids, Array]:
        """Look at the next vectors of the stream.

        Args:
            vectors: (n, dim) float32.

        Returns:
            For each vector, the place in the stream of a new one that it repeats, or -1 where it is new itself: (n,);
            and the cosine to that one, or to the nearest new one before it: (n,) float32, -1 where there is none.

        Raises:
            InvalidInput, NonFiniteOutput: as for `near_pairs`; or the vectors are of another width.
        """
        checked(vectors, self._index.d)
        like = np.full(len(vectors), -1, np.int64)
        nearest = np.full(len(vectors), -1, np.float32)
        for begin in range(0, len(vectors), BLOCK):
            part = slice(begin, begin + BLOCK)
            like[part], nearest[part] = self._block(vectors[part])
        return like, nearest

    def _block(self, vectors: Array) -> tuple[Ids, Array]:
        rows = unit(vectors)
        like, nearest = np.full(len(rows), -1, np.int64), np.full(len(rows), -1, np.float32)
        if self._places:
            scores, found = self._index.search(rows, 1)
            nearest = scores[:, 0]
            like = np.where(nearest >= self._reached, np.array(self._places)[found[:, 0]], -1)
        among = rows @ rows.T
        fresh = like < 0
        for row in range(len(rows)):
            before = np.flatnonzero(fresh[:row])
            if not fresh[row] or not len(before):
                continue
            best = before[np.argmax(among[row, before])]
            nearest[row] = max(nearest[row], among[row, best])
            if among[row, best] >= self._reached:
                like[row], fresh[row] = self._count + best, False
        self._index.add(rows[fresh])
        self._places += (self._count + np.flatnonzero(fresh)).tolist()
        self._count += len(rows)
        return like, nearest


def _blocks(rows: Array) -> Iterator[tuple[int, int, Array]]:
    """Compare rows with themselves and those below them: where both blocks begin, and scores (block, block)."""
    for first in range(0, len(rows), BLOCK):
        for second in range(first, len(rows), BLOCK):
            yield first, second, rows[first : first + BLOCK] @ rows[second : second + BLOCK].T


def _best(found: list[Pairs], most: int) -> Pairs:
    none: Ids = np.zeros(0, np.int64)
    scores = np.concatenate([np.zeros(0, np.float32), *(pairs.scores for pairs in found)])
    left = np.concatenate([none, *(pairs.left for pairs in found)])
    right = np.concatenate([none, *(pairs.right for pairs in found)])
    order = np.lexsort((right, left, -scores))[:most]
    return Pairs(scores[order], left[order], right[order])


def reached_from(threshold: float) -> float:
    """Return from which computed cosine on a threshold is reached.

    Raises:
        InvalidInput: it is no cosine.
    """
    if not -1 <= threshold <= 1:
        raise InvalidInput(f"threshold is {threshold}, which should be a cosine, from -1 to 1.")
    return threshold - _ROUNDING


def check_count(name: str, count: int) -> None:
    """Refuse a number of rows or pairs that is below 1.

    Raises:
        InvalidInput: it is; the message calls it `name`.
    """
    if count < 1:
        raise InvalidInput(f"{name} is {count}, which should be 1 or more.")
