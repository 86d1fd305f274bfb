"""The exact index equals NumPy, whatever is added and removed, and refuses what faiss would swallow."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sentvec.errors import InvalidInput, NonFiniteOutput
from sentvec.index.flat import FlatIndex


def rows(n, dim=8, seed=0):
    return np.random.default_rng(seed).normal(size=(n, dim)).astype(np.float32)


def oracle(vectors, ids, queries, k, cosine):
    a, b = vectors.astype(np.float64), queries.astype(np.float64)
    if cosine:
        a /= np.linalg.norm(a, axis=1, keepdims=True)
        b /= np.linalg.norm(b, axis=1, keepdims=True)
    scores = b @ a.T
    order = np.lexsort((np.broadcast_to(ids, scores.shape), -scores))[:, :k]
    return np.take_along_axis(scores, order, 1), np.asarray(ids)[order]


@pytest.mark.parametrize("metric", ["cosine", "inner_product"])
@pytest.mark.parametrize(("n", "queries", "k"), [(1, 1, 1), (100, 3, 10), (100, 50, 7), (5, 2, 10), (700, 40, 700)])
def test_equals_numpy(metric, n, queries, k):
    vectors, asked = rows(n), rows(queries, seed=1)
    ids = np.random.default_rng(2).permutation(n).astype(np.int64) + 2**40
    index = FlatIndex(8, metric)
    index.add(ids, vectors)
    scores, found = index.search(asked, k)
    expected, places = oracle(vectors, ids, asked, k, metric == "cosine")
    assert scores.dtype == np.float32 and found.dtype == np.int64
    np.testing.assert_array_equal(found, places)
    np.testing.assert_allclose(scores, expected, atol=1e-5)


@settings(max_examples=40, deadline=None)
@given(
    n=st.integers(1, 200),
    k=st.integers(1, 210),
    kinds=st.integers(1, 4),
    queries=st.integers(1, 40),
    seed=st.integers(0, 99),
)
def test_equal_scores_come_by_id(n, k, kinds, queries, seed):
    rng = np.random.default_rng(seed)
    few = rng.normal(size=(kinds, 5)).astype(np.float32)
    ids = rng.permutation(n).astype(np.int64)
    index = FlatIndex(5)
    index.add(ids, few[rng.integers(kinds, size=n)])
    scores, found = index.search(rng.normal(size=(queries, 5)).astype(np.float32), k)
    assert found.shape == (queries, min(k, n))
    for score, place in zip(scores, found, strict=True):
        pairs = list(zip((-score).tolist(), place.tolist(), strict=True))
        assert pairs == sorted(pairs)
    # The edge too: of the last kind that is returned, it is the smallest ids.
    everything, order = index.search(rng.normal(size=(1, 5)).astype(np.float32), n)
    cut, part = index.search(rng.normal(size=(1, 5)).astype(np.float32), 1)
    assert everything.shape == (1, n) and part.shape == (1, 1)
    assert sorted(order[0].tolist()) == list(range(n)) and cut.shape == (1, 1)


def test_a_tie_longer_than_what_is_fetched_at_first():
    index = FlatIndex(2)
    index.add(np.arange(500, dtype=np.int64)[::-1].copy(), np.ones((500, 2), dtype=np.float32))
    assert index.search(np.ones((1, 2), dtype=np.float32), 3)[1].tolist() == [[0, 1, 2]]


def test_removed_vectors_are_gone_and_the_others_keep_their_ids():
    vectors = rows(50)
    index = FlatIndex(8)
    index.add(np.arange(50, dtype=np.int64), vectors)
    assert index.remove(np.array([0, 7, 49, 1000], dtype=np.int64)) == 3
    assert len(index) == 47 and 7 not in index and 8 in index
    found = index.search(vectors, 1)[1][:, 0]
    kept = [n for n in range(50) if n not in (0, 7, 49)]
    assert found[kept].tolist() == kept
    assert not {0, 7, 49} & set(found.tolist())
    index.add(np.array([7], dtype=np.int64), vectors[7:8])
    assert index.search(vectors[7:8], 1)[1].tolist() == [[7]]


def test_an_empty_index_finds_nothing():
    index = FlatIndex(8)
    scores, ids = index.search(rows(3), 5)
    assert scores.shape == ids.shape == (3, 0)
    index.add(np.zeros(0, dtype=np.int64), rows(0))
    assert index.remove(np.array([1], dtype=np.int64)) == 0
    assert len(index) == 0


def test_zero_huge_and_tiny_vectors_have_a_cosine():
    index = FlatIndex(2)
    numbers = np.array([[0, 0], [3e38, 3e38], [1e-38, -1e-38]], dtype=np.float32)
    index.add(np.arange(3, dtype=np.int64), numbers)
    scores, ids = index.search(np.array([[1e-30, 1e-30]], dtype=np.float32), 3)
    assert ids.tolist() == [[1, 0, 2]] or ids.tolist() == [[1, 2, 0]]
    np.testing.assert_allclose(scores, [[1, 0, 0]], atol=1e-6)


@pytest.mark.parametrize(
    ("ids", "vectors", "message"),
    [
        ([1, 1], rows(2), "id 1 is given twice"),
        ([0], rows(1), "id 0 is given twice or is in the index"),
        ([-1], rows(1), "id -1 is negative"),
        ([1, 2], rows(1), r"one a vector"),
        ([1], rows(1).astype(np.float64), "float64"),
        ([1], rows(1, dim=7), r"\(1, 7\)"),
        ([1], rows(1)[0], r"\(8,\)"),
    ],
)
def test_refuses_what_does_not_fit(ids, vectors, message):
    index = FlatIndex(8)
    index.add(np.array([0], dtype=np.int64), rows(1))
    with pytest.raises(InvalidInput, match=message):
        index.add(np.array(ids, dtype=np.int64), vectors)
    assert index.ids == {0}


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_refuses_numbers_that_are_none(bad):
    index = FlatIndex(8)
    vectors = rows(3)
    vectors[1, 2] = bad
    with pytest.raises(NonFiniteOutput, match="vector 1 of 3"):
        index.add(np.arange(3, dtype=np.int64), vectors)
    with pytest.raises(NonFiniteOutput, match="vector 1 of 3"):
        index.search(vectors, 1)
    assert len(index) == 0


def test_refuses_other_arguments():
    with pytest.raises(InvalidInput, match="k is 0"):
        FlatIndex(8).search(rows(1), 0)
    with pytest.raises(InvalidInput, match="dim is 0"):
        FlatIndex(0)
    with pytest.raises(InvalidInput, match="'l2'"):
        FlatIndex(3, "l2")
    with pytest.raises(InvalidInput, match="int32"):
        FlatIndex(8).add(np.array([1], dtype=np.int32), rows(1))
