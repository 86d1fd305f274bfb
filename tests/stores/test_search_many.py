"""Many questions at once, and everything in parts: the same answers as one by one, from every kind of store."""

from __future__ import annotations

import sys
from dataclasses import replace

import numpy as np
import pytest
import stores_oracle as oracle

from sentvec.errors import CollectionError, InvalidInput, NonFiniteOutput
from sentvec.stores.border import batch_of
from sentvec.stores.opening import open_store

DIM = 16


@pytest.fixture
def batch():
    fields = [{"lang": ("zh", "en", "de")[n % 3]} for n in range(40)]
    names = [f"p{n}" for n in range(40)]
    vectors = np.random.default_rng(0).normal(size=(40, DIM)).astype(np.float32)
    return batch_of(names, [f"passage {n}" for n in range(40)], vectors, fields)


def test_the_same_as_one_by_one(store, batch, monkeypatch):
    store.upsert(batch)
    module = sys.modules[type(store).__module__]
    for name, few in {"_ASKED": 3, "_ROWS": 12}.items():
        if hasattr(module, name):
            monkeypatch.setattr(module, name, few)
    vectors = np.random.default_rng(1).normal(size=(7, DIM)).astype(np.float32)
    for where in (None, {"lang": "zh"}, {"lang": "none of this"}):
        for exact in {False, store.caps.exact}:
            found = store.search_many(vectors, 4, where=where, exact=exact)
            assert len(found) == 7
            for vector, hits in zip(vectors, found, strict=True):
                ids, scores = oracle.nearest(batch, vector, 4, where)
                assert [hit.id for hit in hits] == ids
                np.testing.assert_allclose([hit.score for hit in hits], scores, rtol=1e-5, atol=1e-5)
                alone = store.search(vector, 4, where=where, exact=exact)
                assert [replace(hit, score=0) for hit in hits] == [replace(hit, score=0) for hit in alone]
    assert store.search_many(vectors[:0]) == []


@pytest.mark.parametrize(
    ("vectors", "error", "said"),
    [
        (np.ones(DIM, np.float32), InvalidInput, r"float32 \(16,\); accepted: float32 \(n, 16\)"),
        (np.ones((2, DIM)), InvalidInput, "float64"),
        ([[1.0] * DIM], InvalidInput, "list"),
        (np.array([[1.0] * DIM, [np.nan] * DIM], np.float32), NonFiniteOutput, "vector 1 of 2 holds NaN"),
        (np.array([[1.0] * DIM, [0.0] * DIM], np.float32), InvalidInput, "vector 1 of 2 is all zeros"),
    ],
)
def test_one_that_cannot_be_is_refused(store, vectors, error, said):
    with pytest.raises(error, match=said):
        store.search_many(vectors)


@pytest.mark.parametrize("many", [0, -1, True, "10", None])
def test_scanning_by_no_number_gives_nothing_up(store, batch, many):
    store.upsert(batch)
    with pytest.raises(InvalidInput, match="many is"):
        list(store.scan(many))


def test_a_collection_that_was_closed_says_so(tmp_path, spec):
    closed = open_store(str(tmp_path / "c.sv"), spec)
    closed.close()
    for ask in (
        closed.count,
        lambda: closed.get(["p1"]),
        lambda: list(closed.scan()),
        lambda: closed.ids_of_source("a"),
    ):
        with pytest.raises(CollectionError, match="is closed; open it again"):
            ask()


@pytest.mark.parametrize("url", [5, None, b"c.sv"])
def test_an_address_that_is_no_text(url):
    with pytest.raises(InvalidInput, match="address of the store is"):
        open_store(url)
