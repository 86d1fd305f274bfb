"""Exact search gives what NumPy gives in double precision, with ties by row, whatever lies where."""

from __future__ import annotations

import numpy as np
import pytest

from sentvec.search import scan


def nearest(queries, vectors, k, keep=None):
    longest = float(np.linalg.norm(vectors.astype(np.float64), axis=1).max(initial=0))
    found = scan.candidates(queries, vectors, k, keep, longest)
    look = lambda places: (places, vectors[places])  # noqa: E731
    return scan.best(queries, k, [(found, look)])


@pytest.fixture
def random():
    return np.random.default_rng(7)


@pytest.mark.parametrize("count", [1, 5, 40, 1000])
@pytest.mark.parametrize("k", [1, 10, 2000])
def test_against_double_precision(random, monkeypatch, count, k):
    monkeypatch.setattr(scan, "BLOCK", 64)
    monkeypatch.setattr(scan, "_QUERIES", 3)
    monkeypatch.setattr(scan, "_AGAIN", 7)
    vectors = random.normal(size=(count, 24)).astype(np.float32)
    queries = random.normal(size=(5, 24)).astype(np.float32)
    for keep in (None, random.random(count) < 0.5, np.zeros(count, bool)):
        true = queries.astype(np.float64) @ vectors.astype(np.float64).T
        for line, (scores, rows) in zip(true, nearest(queries, vectors, k, keep), strict=True):
            line[~keep if keep is not None else []] = -np.inf
            wanted = np.argsort(-line, kind="stable")[: min(k, count if keep is None else keep.sum())]
            np.testing.assert_array_equal(rows, wanted)
            np.testing.assert_allclose(scores, line[wanted], rtol=1e-6, atol=1e-6)


def test_equal_vectors_score_equal_wherever_they_lie_and_go_by_row(random):
    one, other = random.normal(size=(2, 33)).astype(np.float32)
    vectors = np.stack([one if n % 3 else other for n in range(501)])
    ((scores, rows),) = nearest(one[None], vectors, 100)
    assert len(set(scores.tolist())) == 1
    assert rows.tolist() == [n for n in range(501) if n % 3][:100]


def test_of_many_queries_each_has_its_own_best_by_row_where_scores_are_equal(random, monkeypatch):
    monkeypatch.setattr(scan, "_AGAIN", 64)
    some = random.normal(size=(3, 33)).astype(np.float32)
    vectors = some[np.arange(400) % 3]
    queries = np.concatenate([some, random.normal(size=(5, 33)).astype(np.float32)])
    found = nearest(queries, vectors, 200)
    for query, (scores, rows) in zip(queries, found, strict=True):
        ((same, others),) = nearest(query[None], vectors, 200)
        assert rows.tolist() == others.tolist()
        assert scores.tolist() == same.tolist()
        assert all(np.diff(rows[scores == score]).min(initial=1) > 0 for score in set(scores.tolist()))


@pytest.mark.filterwarnings("error")
def test_numbers_too_large_for_single_precision(random):
    vectors = (random.normal(size=(50, 8)) * 1e30).astype(np.float32)
    query = (random.normal(size=(1, 8)) * 1e30).astype(np.float32)
    true = query.astype(np.float64) @ vectors.astype(np.float64).T
    ((_, rows),) = nearest(query, vectors, 50)
    assert set(rows.tolist()) == set(range(50))
    small = vectors / np.float32(1e25)
    ((_, rows),) = nearest(query, small, 3)
    assert rows.tolist() == np.argsort(-true[0], kind="stable")[:3].tolist()


@pytest.mark.parametrize("kind", ["plain", "ties", "all equal", "large"])
def test_what_faiss_screens_first_gives_the_same(random, monkeypatch, kind):
    vectors = random.normal(size=(3000, 16)).astype(np.float32)
    vectors = {"plain": vectors, "ties": np.round(vectors), "all equal": vectors[:1].repeat(3000, 0)}.get(
        kind, vectors * np.float32(1e30)
    )
    queries = random.normal(size=(20, 16)).astype(np.float32)
    screened, used = scan._screened, []
    for keep in (None, random.random(3000) < 0.99, np.arange(3000) % 2 == 0):
        monkeypatch.setattr(scan, "_screened", lambda *given: None)
        wanted = nearest(queries, vectors, 10, keep)
        monkeypatch.setattr(scan, "_screened", lambda *given: used.append(screened(*given)) or used[-1])
        for (scores, rows), (same, others) in zip(wanted, nearest(queries, vectors, 10, keep), strict=True):
            np.testing.assert_array_equal(rows, others)
            np.testing.assert_array_equal(scores, same)
    assert any(found is not None for found in used) == (kind != "all equal")
