"""nDCG, MRR, MAP, recall and precision of each query are those of ir-measures."""

from __future__ import annotations

import numpy as np
import pytest

from sentvec.errors import InvalidInput
from sentvec.evaluate.ranking import rank_scores

CUTOFFS = (1, 3, 10, 25)


@pytest.fixture
def rankings():
    """Forty queries with graded judgements, one to thirty relevant documents each, and rankings of thirty."""
    random = np.random.default_rng(3)
    names = [f"d{i}" for i in range(60)]
    judged, ranked = {}, {}
    for i in range(40):
        some = random.choice(names, 1 + i % 30 + 5, replace=False).tolist()
        judged[f"q{i}"] = {name: int(grade) for name, grade in zip(some, random.integers(0, 4, len(some)), strict=True)}
        judged[f"q{i}"][some[0]] = 1 + i % 3
        ranked[f"q{i}"] = random.choice(names, 30, replace=False).tolist()
    return judged, ranked


@pytest.mark.oracle
def test_each_query_has_the_scores_of_ir_measures(rankings):
    import ir_measures

    judged, ranked = rankings
    ours = rank_scores(judged, ranked, CUTOFFS)
    named = {"nDCG": "nDCG", "MRR": "RR", "MAP": "AP", "recall": "R", "P": "P"}
    theirs = {f"{name}@{k}": ir_measures.parse_measure(f"{own}@{k}") for name, own in named.items() for k in CUTOFFS}
    run = {query: {name: -place for place, name in enumerate(names)} for query, names in ranked.items()}
    assert set(ours) == set(theirs)
    found = {name: {} for name in theirs}
    for one in ir_measures.iter_calc(theirs.values(), judged, run):
        found[next(name for name, measure in theirs.items() if measure == one.measure)][one.query_id] = one.value
    for name, values in ours.items():
        np.testing.assert_allclose(values, [found[name][query] for query in judged], atol=1e-6)


def test_by_hand():
    """Relevant at places 2 and 4, and one that was not found; grades are gains."""
    scores = rank_scores({"q": {"b": 3, "d": 1, "x": 2, "a": 0}}, {"q": ["a", "b", "c", "d"]}, (2, 4))
    gain = 1 / np.log2([2, 3, 4, 5])
    best = 3 * gain[0] + 2 * gain[1] + gain[2]
    assert scores["nDCG@4"] == pytest.approx((3 * gain[1] + gain[3]) / best)
    assert scores["nDCG@2"] == pytest.approx(3 * gain[1] / (3 * gain[0] + 2 * gain[1]))
    assert scores["MRR@2"] == scores["MRR@4"] == pytest.approx(1 / 2)
    assert scores["MAP@4"] == pytest.approx((1 / 2 + 2 / 4) / 3)
    assert scores["MAP@2"] == pytest.approx((1 / 2) / 3)  # of all three, though only two fit in
    assert scores["recall@4"] == pytest.approx(2 / 3) and scores["P@4"] == 0.5


def test_a_query_that_is_not_in_the_run_scores_nothing():
    scores = rank_scores({"a": {"x": 1}, "b": {"y": 1}}, {"b": ["y"]}, (1,))
    assert {name: values.tolist() for name, values in scores.items()} == {
        name: [0, 1] for name in ("nDCG@1", "MRR@1", "MAP@1", "recall@1", "P@1")
    }


def test_a_rank_beyond_the_cutoff_counts_nothing():
    ranked = {"q": [f"d{i}" for i in range(50)]}
    for place in range(50):
        scores = rank_scores({"q": {f"d{place}": 1}}, ranked, (7, 49))
        assert scores["MRR@7"] == (1 / (place + 1) if place < 7 else 0)
        assert scores["MRR@49"] == pytest.approx(1 / (place + 1) if place < 49 else 0)


@pytest.mark.parametrize("cutoffs", [(), (0,), (10, -1)])
def test_cutoffs_below_one_are_refused(cutoffs):
    with pytest.raises(InvalidInput, match="accepted: one or more numbers from 1 to 1000000"):
        rank_scores({"q": {"a": 1}}, {"q": ["a"]}, cutoffs)
