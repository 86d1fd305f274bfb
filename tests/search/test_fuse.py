"""Fusion by rank equals the formula; diversity chooses as a plain loop does."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sentvec.errors import InvalidInput
from sentvec.search.fuse import blended, diverse, fused

rankings = st.lists(st.lists(st.integers(0, 9), unique=True), max_size=4)


@given(rankings, st.data())
def test_fusion_is_the_formula(given_, data):
    weights = data.draw(st.lists(st.floats(0, 5), min_size=len(given_), max_size=len(given_)))
    found = fused(given_, weights)
    rows = {row for ranking in given_ for row in ranking}
    assert {row for row, _ in found} == rows
    for row, score in found:
        wanted = sum(w / (60 + r.index(row) + 1) for r, w in zip(given_, weights, strict=True) if row in r)
        assert score == pytest.approx(wanted)
    assert found == sorted(found, key=lambda one: (-one[1], one[0]))


def test_a_weight_of_nothing_leaves_only_ties_to_the_other():
    assert [row for row, _ in fused([[1, 2, 3], [3, 2, 1]], [1, 0])] == [1, 2, 3]
    assert [row for row, _ in fused([[1, 2, 3], [3, 2, 1]], [0, 1])] == [3, 2, 1]


@pytest.mark.parametrize("weights", [[1], [1, -1], [1, float("nan")], [1, float("inf")]])
def test_weights_that_cannot_be(weights):
    with pytest.raises(InvalidInput, match="accepted: 2 numbers of 0 or more"):
        fused([[1], [2]], weights)


def plain(relevance, vectors, k, diversity):
    rows = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    worth = (relevance - relevance.min()) / (np.ptp(relevance) or 1) if np.ptp(relevance) else np.ones(len(relevance))
    chosen = [int(np.argmax(worth))]
    while len(chosen) < min(k, len(rows)):

        def gain(n):
            return (1 - diversity) * worth[n] - diversity * max(rows[n] @ rows[c] for c in chosen)

        chosen.append(max((n for n in range(len(rows)) if n not in chosen), key=lambda n: (round(gain(n), 9), -n)))
    return chosen


@settings(max_examples=60, deadline=None)
@given(
    n=st.integers(1, 20),
    k=st.integers(1, 25),
    diversity=st.sampled_from([0.0, 0.25, 0.5, 0.9, 1.0]),
    seed=st.integers(0, 9),
)
def test_diversity_equals_a_plain_loop(n, k, diversity, seed):
    random = np.random.default_rng(seed)
    relevance, vectors = random.random(n), random.normal(size=(n, 5)).astype(np.float32)
    assert diverse(relevance, vectors, k, diversity) == plain(relevance, vectors, k, diversity)


def test_no_diversity_is_the_order_of_relevance():
    random = np.random.default_rng(0)
    relevance = random.random(30)
    order = np.argsort(-relevance).tolist()
    assert diverse(relevance, random.normal(size=(30, 4)).astype(np.float32), 30, 0.0) == order


def test_a_repeat_is_passed_over():
    vectors = np.array([[1, 0, 0], [1, 0.01, 0], [0, 1, 0], [0, 0, 0]], np.float32)
    assert diverse(np.array([1.0, 0.99, 0.5, 0.1]), vectors, 2, 0.5) == [0, 2]
    assert diverse(np.zeros(0), np.zeros((0, 3), np.float32), 2, 0.5) == []


@pytest.mark.parametrize(("diversity", "n"), [(-0.1, 2), (1.1, 2), (float("nan"), 2), (0.5, 3)])
def test_what_cannot_be(diversity, n):
    with pytest.raises(InvalidInput):
        diverse(np.zeros(n), np.zeros((2, 3), np.float32), 1, diversity)


def test_by_scores_one_that_stands_out_stays_ahead():
    near = [(row, 0.5 - 0.001 * row) for row in range(100)]  # nothing stands out
    worded = [(77, 30.0), *((row, 5.0 - 0.01 * row) for row in range(60))]
    assert fused([[row for row, _ in one] for one in (near, worded)])[0][0] != 77
    assert blended(near, worded, 0.5)[0][0] == 77
    assert blended(near, worded, 0.0)[0][0] == 0


def test_by_scores_a_row_with_none_of_the_words_is_below_those_with_some():
    near = [(row, 0.9 - 0.01 * row) for row in range(5)]
    found = dict(blended(near, [(4, 2.0)], 1.0))
    assert found.pop(4) > max(found.values())
    assert len(set(found.values())) == 1


def test_by_scores_vectors_decide_where_words_do_not():
    near = [(3, 0.9), (1, 0.8), (2, 0.7)]
    assert [row for row, _ in blended(near, [], 1.0)] == [3, 1, 2]
    assert [row for row, _ in blended(near, [], 0.5)] == [3, 1, 2]
    assert blended([], [], 0.5) == []
    same = [(3, 0.9), (1, 0.9)]
    assert [row for row, _ in blended(same, [(1, 4.0), (3, 4.0)], 0.5)] == [3, 1]
