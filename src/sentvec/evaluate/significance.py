"""Results in; how sure a score is, and whether two models differ by more than chance, out."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from sentvec.errors import InvalidInput
from sentvec.evaluate.result import Floats, Interval, Places, Result
from sentvec.extras import require

RESAMPLES = 1000
PERMUTATIONS = 9999
LEVEL = 0.95
SEED = 0
_HELD = 2_000_000  # numbers held at once while signs are flipped


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """Two models on one set.

    Attributes:
        difference: the first model's main score minus the second's.
        interval: of the difference, by paired bootstrap: both models are scored on the same draws.
        p: how often chance alone would give a difference at least as large, two-sided; NaN where a model has no score.
        method: how `p` was found.
    """

    difference: float
    interval: Interval
    p: float
    method: str


def with_interval(result: Result, resamples: int = RESAMPLES, seed: int = SEED) -> Result:
    """Return the result with the interval of its main score; as it is where nothing can be drawn again."""
    if result.sample is None or resamples == 0 or not np.isfinite(result.value):
        return result
    draws = _draws(result.sample.size, result.sample.score, resamples, seed)
    return replace(result, interval=_between(draws))


def compare(first: Result, second: Result, resamples: int = RESAMPLES, seed: int = SEED) -> Comparison:
    """Test whether two models differ on one set.

    Where the main score is a mean over items (queries, texts), signs of the items' differences are flipped: a paired
    permutation test (Fisher 1935; Smucker, Allan and Carterette 2007 for retrieval). Elsewhere, as for a rank
    correlation, items are drawn again in pairs and the share of draws on the other side of zero counts (Efron and
    Tibshirani 1993, ch. 16; Koehn 2004).

    Raises:
        InvalidInput: they are not results of the same set and score, or its items cannot be drawn again.
    """
    one, other = first.sample, second.sample
    if (first.name, first.kind, first.main) != (second.name, second.kind, second.main):
        raise InvalidInput(
            f"{first.name} ({first.main}) and {second.name} ({second.main}) are different sets or scores; compare "
            "two models on the same one."
        )
    if one is None or other is None or one.size != other.size:
        raise InvalidInput(f"{first.name}: {first.main} cannot be tested, as it is no score of single items.")
    draws = _draws(one.size, lambda places: one.score(places) - other.score(places), resamples, seed)
    if one.items is not None and other.items is not None:
        p, method = _flipped(one.items, other.items, seed), "paired permutation test"
    else:
        p, method = _beyond(draws), "paired bootstrap"
    if not np.isfinite(first.value - second.value):
        p = float("nan")  # a model without a score differs from none
    return Comparison(difference=first.value - second.value, interval=_between(draws), p=p, method=method)


def _draws(size: int, score: Callable[[Places], float], resamples: int, seed: int) -> Floats:
    """Score `resamples` draws of `size` places, each with replacement."""
    random = np.random.default_rng(seed)
    return np.array([score(random.integers(size, size=size)) for _ in range(resamples)])


def _between(draws: Floats) -> Interval:
    # a draw may have no order at all, as one pair many times over; such draws say nothing
    low, high = np.nanquantile(draws, [(1 - LEVEL) / 2, (1 + LEVEL) / 2]) if np.isfinite(draws).any() else (np.nan,) * 2
    return Interval(float(low), float(high), LEVEL)


def _beyond(draws: Floats) -> float:
    known = draws[np.isfinite(draws)]
    least = min(int((known <= 0).sum()), int((known >= 0).sum()))
    return float(min(1.0, 2 * (least + 1) / (len(known) + 1)))


def _flipped(one: Floats, other: Floats, seed: int) -> float:
    stats = require("scipy.stats", extra="evaluate")
    if len(one) < 2 or np.array_equal(one, other):
        return 1.0

    def statistic(a: Floats, b: Floats, axis: int) -> Floats:
        means: Floats = np.mean(a - b, axis=axis)
        return means

    done = stats.permutation_test(
        (one, other),
        statistic,
        permutation_type="samples",
        vectorized=True,
        n_resamples=PERMUTATIONS,
        batch=max(1, _HELD // len(one)),
        rng=np.random.default_rng(seed),
    )
    return float(done.pvalue)
