"""Rankings of rows in, one ranking out; and of a ranking's rows, those that answer without repeating each other."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from sentvec.errors import InvalidInput

Array = NDArray[np.float32]

FUSIONS = ("rank", "score")
"""How rankings by vectors and by words become one: `fused`, `blended`."""

RANK = 60
"""How little the first ranks stand out, in reciprocal rank fusion: the value of the paper."""


def fused(
    rankings: Sequence[Sequence[int]], weights: Sequence[float] | None = None, rank: int = RANK
) -> list[tuple[int, float]]:
    """Fuse rankings by reciprocal rank: a row's score is the sum of weight / (60 + its rank), counted from 1.

    Only ranks count, so scores of any size can be fused (Cormack, Clarke and Büttcher 2009, SIGIR).

    Args:
        rankings: rows, the best first, each row once in a ranking.
        weights: of the rankings; 1 each if None.
        rank: the 60 of the formula.

    Returns:
        (row, score), the best first; equal scores by row.

    Raises:
        InvalidInput: numbers that differ, or a weight below 0.

    >>> fused([[7, 8], [8, 9]])
    [(8, 0.03252247488101534), (7, 0.01639344262295082), (9, 0.016129032258064516)]
    """
    shares = [1.0] * len(rankings) if weights is None else list(weights)
    if len(shares) != len(rankings) or not all(0 <= share < np.inf for share in shares):
        raise InvalidInput(f"weights are {shares}; accepted: {len(rankings)} numbers of 0 or more, one a ranking.")
    scores: dict[int, float] = {}
    for ranking, share in zip(rankings, shares, strict=True):
        for place, row in enumerate(ranking, 1):
            scores[row] = scores.get(row, 0.0) + share / (rank + place)
    return sorted(scores.items(), key=lambda found: (-found[1], found[0]))


def blended(
    near: Sequence[tuple[int, float]], worded: Sequence[tuple[int, float]], share: float
) -> list[tuple[int, float]]:
    """Fuse two rankings by their scores, each with its mean taken off and divided by its spread.

    A row that stands out in one ranking stays ahead of rows that are middling in both, which by ranks it would not
    (Montague and Aslam 2001, CIKM: zero mean, unit variance).

    Args:
        near: rows with their similarities, the best first; a row that is not there is taken for as near as the last.
        worded: rows with their BM25 scores; one that is not there is taken for the last, or, where there are fewer
            than of the near, for a row with none of the words: 0.
        share: of the words, from 0 to 1.

    Returns:
        (row, score), the best first; of equal scores the nearest.

    >>> [(row, round(score, 2)) for row, score in blended([(7, 0.5), (8, 0.3)], [(9, 12.0)], 0.75)]
    [(9, 0.5), (7, -0.5), (8, -1.0)]
    """
    found: dict[int, float] = {}
    rows = [row for row, _ in (*near, *worded)]
    for ranking, part in ((near, 1 - share), (worded, share)):
        scores = np.zeros(max(len(ranking), len(near), 1))
        scores[: len(ranking)] = [score for _, score in ranking]
        spread = float(scores.std())
        standard = (scores - scores.mean()) / (spread or 1.0)
        values = dict(zip((row for row, _ in ranking), standard.tolist(), strict=False))
        for row in dict.fromkeys(rows):
            found[row] = found.get(row, 0.0) + part * values.get(row, float(standard[-1]))
    return sorted(found.items(), key=lambda one: -one[1])


def diverse(relevance: NDArray[np.floating], vectors: Array, k: int, diversity: float) -> list[int]:
    """Choose answers that are relevant and unlike those chosen before: maximal marginal relevance.

    Each next one has the most of ``(1 - diversity) * relevance - diversity * likeness``, where likeness is its largest
    cosine with those that are chosen (Carbonell and Goldstein 1998, SIGIR). Relevance is stretched to 0 … 1 first,
    so that scores of any kind can be weighed against cosines.

    Args:
        relevance: (n,) of the candidates, greater is better.
        vectors: (n, dim) of the candidates, of any length.
        k: how many to choose; all where there are fewer.
        diversity: 0 takes the most relevant, 1 those most unlike each other.

    Returns:
        Places of the candidates, in the order in which they were chosen.

    Raises:
        InvalidInput: the diversity is no share, or numbers differ.

    >>> same = np.array([[1, 0], [1, 0], [0.6, 0.8]], np.float32)
    >>> diverse(np.array([0.9, 0.8, 0.7]), same, 2, 0.7)
    [0, 2]
    """
    if not 0 <= diversity <= 1:
        raise InvalidInput(f"diversity is {diversity}; accepted: from 0 (only relevance) to 1.")
    if relevance.shape != (len(vectors),):
        raise InvalidInput(f"{len(vectors)} vectors and relevance {relevance.shape}; give one for each vector.")
    low, high = (float(relevance.min()), float(relevance.max())) if len(relevance) else (0.0, 0.0)
    worth: NDArray[np.float64] = (
        (relevance.astype(np.float64) - low) / (high - low) if high > low else np.ones(len(relevance))
    )
    length = np.linalg.norm(vectors, axis=1, keepdims=True)
    rows = vectors / np.where(length > 0, length, 1)
    likeness = np.full(len(rows), -1.0)
    left = np.ones(len(rows), bool)
    chosen: list[int] = []
    for _ in range(min(k, len(rows))):
        # nothing is chosen yet at first, so that likeness is the same for all
        gain = (1 - diversity) * worth - diversity * likeness
        if not chosen:
            gain = worth
        best = int(np.argmax(np.where(left, gain, -np.inf)))
        chosen.append(best)
        left[best] = False
        likeness = np.maximum(likeness, rows @ rows[best])
    return chosen
