"""Many questions at once: the same answers as one by one, whatever is asked, from one moment of the collection."""

from __future__ import annotations

import numpy as np
import pytest
from fake_model import FakeModel

from sentvec.errors import CollectionError, InvalidInput, NonFiniteOutput
from sentvec.search import scan, view
from sentvec.search.collection import Collection

WORDS = [f"word{n}" for n in range(40)]


def texts(count, seed=0):
    chosen = np.random.default_rng(seed).integers(0, len(WORDS), size=(count, 5))
    return [" ".join(WORDS[n] for n in line) for line in chosen]


@pytest.fixture(params=["no index", "flat", "hnsw", "ivf-sq8"])
def filled(tmp_path, request):
    """400 passages in an index of a kind, some of them removed or replaced, and some after it."""
    with Collection.open(tmp_path / "c", FakeModel()) as collection:
        fields = [{"n": n} for n in range(400)]
        collection.add(texts(400), [f"i{n}" for n in range(400)], fields)
        if request.param != "no index":
            collection.compact(request.param, recall=1.0)
        collection.delete([f"i{n}" for n in range(0, 400, 7)])
        collection.upsert(texts(30, seed=1), [f"i{n}" for n in range(10, 40)], fields[10:40])
        yield collection


OPTIONS = [
    {},
    {"k": 1},
    {"k": 399},
    {"where": {"n": {"<": 25}}},
    {"where": {"n": {">": 25}}},
    {"where": {"n": -1}},
    {"hybrid": True},
    {"hybrid": 0.2, "where": {"n": {">": 9}}},
    {"diversity": 0.4},
]


@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_the_same_as_one_by_one(filled, monkeypatch, options):
    monkeypatch.setattr(view, "_TOGETHER", 16)
    monkeypatch.setattr(view, "NARROW", 20)
    monkeypatch.setattr(scan, "_AGAIN", 33)
    asked = [*texts(37, seed=2), "word1", "of no word that is there", "!?"]
    found = filled.search_many(asked, **options)
    assert found == [filled.search(text, **options) for text in asked]
    assert len({tuple(hit.id for hit in hits) for hits in found}) > 20 or options.get("where") == {"n": -1}
    if "hybrid" not in options:
        assert filled.search_many(FakeModel().encode_query(asked), **options) == found


def test_a_reranker_reads_each_question_with_its_own_passages(filled):
    class Shared:
        def score(self, pairs, *, progress=None):
            return np.array([len(set(a.split()) & set(b.split())) for a, b in pairs], np.float32)

    asked = texts(5, seed=3)
    assert filled.search_many(asked, 3, rerank=Shared()) == [filled.search(text, 3, rerank=Shared()) for text in asked]


def test_none_at_all(filled, tmp_path):
    assert filled.search_many([]) == []
    assert filled.search_many(np.zeros((0, 32), np.float32)) == []
    with Collection.open(tmp_path / "empty", FakeModel()) as empty:
        assert empty.search_many(["a", "b"]) == [[], []]


@pytest.mark.parametrize(
    ("queries", "message"),
    [
        ("one text", "queries is one str"),
        (5, "queries is one int"),
        (["a", " "], "empty"),
        (["a", 3], "the query is int"),
        (np.zeros(32, np.float32), r"queries is float32 \(32,\).*\(n, 32\)"),
        (np.zeros((2, 31), np.float32), r"\(2, 31\)"),
        (np.zeros((2, 32)), "float64"),
    ],
    ids=str,
)
def test_refused(collection, queries, message):
    with pytest.raises(InvalidInput, match=message):
        collection.search_many(queries)


def test_refused_for_one_of_them(collection, tmp_path):
    with pytest.raises(NonFiniteOutput, match="vector 1 of 2"):
        collection.search_many(np.array([[1] * 32, [np.nan] * 32], np.float32))
    with pytest.raises(InvalidInput, match="a vector was given"):
        collection.search_many(np.zeros((2, 32), np.float32), hybrid=True)
    with Collection.open(tmp_path / "c.sv") as plain, pytest.raises(CollectionError, match="opened without one"):
        plain.search_many(["a"])
