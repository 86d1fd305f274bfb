"""What an evaluation returns: scores of one model on one set, and what is needed to say how sure they are."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Places = NDArray[np.int64]


@dataclass(frozen=True)
class Sample:
    """The items that a set's main score was computed from, so that they can be drawn again.

    Attributes:
        size: how many items there are: pairs, queries or texts.
        score: the main score of the items at these places, which may occur more than once.
        items: (size,) the score of each item by itself, where the main score is their mean; else None.
    """

    size: int
    score: Callable[[Places], float]
    items: Floats | None = None


def mean_of(items: Floats) -> Sample:
    """Return the sample of a score that is the mean of its items' scores."""
    return Sample(len(items), lambda places: float(items[places].mean()), items)


@dataclass(frozen=True)
class Interval:
    """Where a score would lie if the set's items were drawn anew: a percentile bootstrap (Efron 1979).

    Attributes:
        low: lower end.
        high: upper end.
        level: share of the draws that lie between them.
    """

    low: float
    high: float
    level: float = 0.95


@dataclass(frozen=True, kw_only=True)
class Result:
    """One model on one set.

    Attributes:
        name: the set's name: its path below the folder that was evaluated.
        kind: sts, retrieval, rerank, pairs, classification, clustering or bitext.
        main: the name of the score that stands for the set.
        scores: all scores by name. Those that are shares or correlations are fractions, not percent.
        sizes: how many pairs, queries, documents … it was measured on.
        notes: what a reader must know, such as which files were taken and what was left out.
        sample: the items behind the main score; None where they cannot be drawn again.
        interval: of the main score; None where there is no sample.
    """

    name: str
    kind: str
    main: str
    scores: Mapping[str, float]
    sizes: Mapping[str, int]
    notes: tuple[str, ...] = ()
    sample: Sample | None = field(default=None, repr=False)
    interval: Interval | None = None

    @property
    def value(self) -> float:
        """The main score."""
        return self.scores[self.main]
