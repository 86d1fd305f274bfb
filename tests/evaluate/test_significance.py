"""Intervals hold the truth as often as they say, and the test of two models tells differences from chance."""

from __future__ import annotations

import numpy as np
import pytest
from tests.evaluate.test_sts import make

from sentvec.errors import InvalidInput
from sentvec.evaluate.result import Result, Sample, mean_of
from sentvec.evaluate.significance import compare, with_interval
from sentvec.evaluate.sts import evaluate_sts


def result(items, name="set", sample=None):
    sample = sample or mean_of(np.asarray(items, np.float64))
    return Result(
        name=name, kind="retrieval", main="nDCG@10", scores={"nDCG@10": float(np.mean(items))}, sizes={}, sample=sample
    )


def correlated(items, other):
    """Return the result of a score that is no mean of items: a correlation."""
    pairs = np.stack([items, other])
    return result(items, sample=Sample(len(items), lambda places: float(np.corrcoef(pairs[:, places])[0, 1])))


def test_intervals_hold_the_truth_nineteen_times_of_twenty():
    random = np.random.default_rng(0)
    held = 0
    for _ in range(400):
        found = with_interval(result(random.beta(2, 1, 80)), 300, seed=int(random.integers(1 << 30))).interval
        held += found.low <= 2 / 3 <= found.high
    assert 0.92 <= held / 400 <= 0.97  # 95 % within three deviations of 400 trials, less what 80 items fall short


def test_intervals_are_those_of_theory_and_narrow_with_the_root_of_the_number():
    from scipy.stats import norm

    random = np.random.default_rng(1)
    widths = []
    for count in (100, 2500):
        items = random.normal(0.5, 0.1, count)
        found = with_interval(result(items), 2000)
        deviation = items.std() / np.sqrt(count)
        assert found.interval.low == pytest.approx(items.mean() + norm.ppf(0.025) * deviation, abs=0.2 * deviation)
        assert found.interval.high == pytest.approx(items.mean() + norm.ppf(0.975) * deviation, abs=0.2 * deviation)
        assert found.interval.level == 0.95
        widths.append(found.interval.high - found.interval.low)
    assert widths[0] / widths[1] == pytest.approx(5, rel=0.2)


def test_intervals_are_the_same_in_every_run_and_others_with_another_seed():
    one = result(np.random.default_rng(2).random(50))
    assert with_interval(one).interval == with_interval(one).interval
    assert with_interval(one).interval != with_interval(one, seed=1).interval


def test_there_is_no_interval_where_nothing_can_be_drawn():
    one = result([0.1, 0.9])
    assert with_interval(one, resamples=0).interval is None
    assert with_interval(Result(name="set", kind="clustering", main="v", scores={"v": 1.0}, sizes={})).interval is None
    assert with_interval(result([np.nan, 1.0])).interval is None
    alone = with_interval(result([0.4])).interval
    assert (alone.low, alone.high) == (0.4, 0.4)


@pytest.mark.parametrize("items", [2, 60, 500])
def test_a_model_does_not_differ_from_itself(items):
    random = np.random.default_rng(3)
    values, other = random.random(items), random.random(items)
    for one in (result(values), correlated(values, other)) if items > 2 else (result(values),):
        found = compare(one, one)
        assert (found.difference, found.p) == (0, 1)
        assert (found.interval.low, found.interval.high) == (0, 0)


def test_models_that_clearly_differ_are_told_apart():
    random = np.random.default_rng(4)
    items = random.random(100) * 0.5
    found = compare(result(items + 0.2 + 0.1 * random.normal(size=100)), result(items))
    assert found.method == "paired permutation test"
    assert found.p < 0.001 and 0.15 < found.interval.low <= found.difference <= found.interval.high < 0.25
    other = compare(result(items), result(items + 0.2 + 0.1 * random.normal(size=100)))
    assert other.p < 0.001 and other.difference < 0 and other.interval.high < 0


def test_rank_correlations_are_compared_by_draws():
    one, vectors = make([400])
    from tests.evaluate.given import Given

    random = np.random.default_rng(5)
    noisy = {text: row + 5 * random.normal(size=16) for text, row in vectors.items()}
    alike = {text: row + 0.01 * random.normal(size=16) for text, row in vectors.items()}
    good, bad, same = (evaluate_sts(one, Given(table).vectors) for table in (vectors, noisy, alike))
    told = compare(good, bad)
    assert told.method == "paired bootstrap" and told.p < 0.01 and told.interval.low > 0
    assert compare(bad, good).p == told.p
    nearly = compare(good, same)
    assert nearly.p > 0.05 and nearly.interval.low < 0 < nearly.interval.high


def test_chance_alone_is_called_a_difference_as_often_as_p_says():
    random = np.random.default_rng(6)
    values = []
    for seed in range(80):
        base = random.random(30)
        one, other = (result(base + 0.1 * random.normal(size=30)) for _ in range(2))
        values.append(compare(one, other, resamples=1, seed=seed).p)
    assert np.mean(np.array(values) < 0.05) <= 0.12
    assert 0.4 < np.mean(values) < 0.6


def test_p_is_exact_for_few_items():
    """Of the 2^4 ways to set the signs of four equal differences, two are as extreme."""
    assert compare(result([1.0, 1, 1, 1]), result([0.0, 0, 0, 0])).p == pytest.approx(2 / 16)


def test_what_cannot_be_compared_is_refused():
    one = result([0.1, 0.2])
    with pytest.raises(InvalidInput, match="are different sets or scores"):
        compare(one, result([0.1, 0.2], name="other"))
    with pytest.raises(InvalidInput, match="cannot be tested"):
        compare(one, result([0.1, 0.2, 0.3]))
