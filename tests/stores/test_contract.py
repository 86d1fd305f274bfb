"""The contract of all stores: what is written is found, exactly and by every filter, and what cannot be is refused."""

from __future__ import annotations

import threading
from dataclasses import replace

import numpy as np
import pytest
import stores_oracle as oracle

from sentvec.errors import CollectionNotFound, InvalidInput, ModelMismatch, NonFiniteOutput
from sentvec.search.types import Entry
from sentvec.stores.border import batch_of
from sentvec.stores.protocol import Batch

DIM = 16
ROWS = [
    {"year": 2021, "lang": "zh", "author": {"name": "Wu", "born": 1970}, "tags": ["a", "b"]},
    {"year": 2020.0, "lang": "en", "tags": []},
    {"year": "2021", "lang": None, "tags": "a", "a.b": 1},
    {"year": True, "a": {"b": 2}},
    {"$odd": 1, 'qu"ote': {"": 3}, "back\\slash": 4, "year": None},
    {},
    {"year": [2019, 2022, "x"], "lang": "日本", "list": [[1], {"b": 1}, None]},
    {"year": -1.5e-7, "lang": "Z", "0": {"0": "zero"}, "tags": ["0"]},
    {"year": {"of": 1}, "lang": "\U0001f600", "colon:s": ":f0", "tags": ["'; --", "\\"]},
    {"lang": "\uffee", "year": 9007199254740991},
]
FILTERS = [
    {},
    {"year": 2021},
    {"year": 2020},
    {"year": "2021"},
    {"year": True},
    {"year": None},
    {"year": {"!=": None}},
    {"year": {">": 2019}},
    {"year": {">=": 2020, "<": 2021}},
    {"year": {"<": 0}},
    {"$not": {"year": {"<=": 2020}}},
    {"$not": {"year": {">": 2020}}},
    {"tags": "a"},
    {"tags": {"in": ["b", "0", "\\"]}},
    {"tags": {"in": []}},
    {"tags": {"exists": True}},
    {"tags": {"exists": False}},
    {"tags.0": "a"},
    {"0.0": "zero"},
    {"author.name": "Wu"},
    {"author": {"exists": True}},
    {"author": {"==": "Wu"}},
    {"author.born": {"<": 1971}},
    {"a\\.b": 1},
    {"a.b": 2},
    {"list": 1},
    {"list": None},
    {"list.b": 1},
    {"\\$odd": 1},
    {'qu"ote.': 3},
    {"back\\\\slash": 4},
    {"colon:s": ":f0"},
    {"tags": "'; --"},
    {"lang": {"in": ["zh", "日本", None]}},
    {"lang": {"!=": "zh"}},
    {"year": {"==": 9007199254740991}},
    {"$or": [{"lang": "en"}, {"year": {">": 2020}, "tags": "b"}, {"$not": {"lang": {"exists": True}}}]},
    {"$not": {"$and": [{"year": {"exists": True}}, {"$or": [{"lang": "zh"}, {"lang": {"exists": False}}]}]}},
]
TEXT_FILTERS = [
    {"lang": {"<": "a"}},
    {"lang": {">": "\uffed"}},
    {"lang": {">=": "zh"}},
    {"year": {"<": "y"}},
    {"$not": {"lang": {">": "Z"}}},
]


def made(count=60, seed=0, prefix="p"):
    rng = np.random.default_rng(seed)
    vectors = rng.normal(size=(count, DIM)).astype(np.float32)
    ids = [f"{prefix}{n:03d}" for n in range(count)]
    return batch_of(
        ids, [f"text number {n}" for n in range(count)], vectors, [ROWS[n % len(ROWS)] for n in range(count)]
    )


def one(id_="one", text="a text", metadata=None, vector=None):
    vectors = np.ones((1, DIM), np.float32) if vector is None else vector[None, :]
    return batch_of([id_], [text], vectors, [metadata or {}])


def question(seed=1):
    return np.random.default_rng(seed).normal(size=DIM).astype(np.float32)


def same(found, expected):
    ids, scores = expected
    assert [hit.id for hit in found] == ids
    np.testing.assert_allclose([hit.score for hit in found], scores, rtol=1e-5, atol=1e-5)


def unit(vectors):
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def test_what_is_stored_is_there(store):
    batch = made()
    assert (store.upsert(batch), store.count()) == (60, 60)
    found = store.get(["p007", "absent", "p003", "p007"])
    assert found.entries == (batch.entries[7], batch.entries[3])
    np.testing.assert_allclose(unit(found.vectors), unit(batch.vectors[[7, 3]]), rtol=1e-5, atol=1e-6)
    assert found.vectors.dtype == np.float32


def test_an_empty_store_answers(store):
    assert (store.count(), store.search(question()), store.delete(["x"]), list(store.scan())) == (0, [], 0, [])
    found = store.get(["x"])
    assert (found.entries, found.vectors.shape) == ((), (0, DIM))
    assert store.upsert(Batch((), np.empty((0, DIM), np.float32))) == 0


def test_search_is_numpys(store):
    batch = made()
    store.upsert(batch)
    for seed in range(3):
        for exact in {False, store.caps.exact}:
            same(store.search(question(seed), 10, exact=exact), oracle.nearest(batch, question(seed), 10))
    assert len(store.search(question(), 1000)) == 60


def test_every_filter_is_exact(store):
    batch = made()
    store.upsert(batch)
    for where in FILTERS + TEXT_FILTERS * store.caps.text_order:
        expected = oracle.nearest(batch, question(), 60, where)
        assert [hit.id for hit in store.search(question(), 60, where=where)] == expected[0], where
    same(store.search(question(), 5, where={"tags": "a"}), oracle.nearest(batch, question(), 5, {"tags": "a"}))


def test_comparing_every_vector_is_refused_where_it_cannot_be_asked_for(store):
    if store.caps.exact:
        pytest.skip("this store can be told to")
    with pytest.raises(InvalidInput, match="exact"):
        store.search(question(), 5, exact=True)


def test_an_order_of_texts_is_refused_where_there_is_none(store):
    if store.caps.text_order:
        pytest.skip("this store orders texts")
    with pytest.raises(InvalidInput, match="no order of texts"):
        store.search(question(), 5, where={"$not": {"lang": {"<": "a"}}})


def test_upsert_replaces_all_of_a_passage(store):
    store.upsert(made(5))
    new = one("p002", "another text", {"new": 1}, question())
    store.upsert(new)
    assert store.count() == 5
    assert store.get(["p002"]).entries == new.entries
    assert store.search(question(), 1)[0].id == "p002"
    assert store.search(question(), 9, where={"new": 1})[0].text == "another text"
    assert store.search(question(), 9, where={"a.b": 2, "lang": "zh"}) == []


def test_a_new_vector_for_the_same_text_is_taken(store):
    store.upsert(one("a", "same", vector=question(1)))
    store.upsert(one("a", "same", vector=question(2)))
    assert store.search(question(2), 1)[0].score == pytest.approx(1.0, abs=1e-5)


def test_deleting_by_ids_and_by_filter(store):
    batch = made(30)
    store.upsert(batch)
    assert store.delete(["p000", "p001", "absent"]) == 2
    assert store.delete(where={"year": {">": 2020}}) == 8  # three of the rows at 0, 6 and 9, of which p000 is gone
    assert store.count() == 20
    left = {hit.id for hit in store.search(question(), 100)}
    assert left == {
        entry.id for entry in batch.entries[2:] if not oracle.meets(oracle.parse({"year": {">": 2020}}), entry.metadata)
    }
    assert store.delete(where={}) == 20
    with pytest.raises(InvalidInput, match="one of them"):
        store.delete()


def test_scanning_gives_each_once(store):
    batch = made(25)
    store.upsert(batch)
    parts = list(store.scan(10))
    assert sorted(len(part.entries) for part in parts) == [5, 10, 10]
    found = {
        entry.id: (entry, vector) for part in parts for entry, vector in zip(part.entries, part.vectors, strict=True)
    }
    assert {id_: entry for id_, (entry, _) in found.items()} == {entry.id: entry for entry in batch.entries}
    vectors = np.stack([found[entry.id][1] for entry in batch.entries])
    np.testing.assert_allclose(unit(vectors), unit(batch.vectors), rtol=1e-5, atol=1e-6)


def test_where_a_passage_stands_in_a_file_is_kept(store):
    entries = tuple(Entry(f"{n}", "t", f"/files/ä{n // 2}.md", n + 1, n + 2, {}) for n in range(4))
    store.upsert(Batch(entries, made(4).vectors))
    assert store.get(["2"]).entries == (entries[2],)
    assert sorted(store.ids_of_source("/files/ä1.md")) == ["2", "3"]
    assert store.ids_of_source("/files/none") == []
    hit = store.search(question(), 1)[0]
    assert (hit.source, hit.line) == (entries[int(hit.id)].source, int(hit.id) + 1)


def test_words_find_texts(store):
    if not store.caps.words:
        with pytest.raises(InvalidInput, match="cannot search by words"):
            store.search_text("cat")
        return
    texts = ["The Cat sat.", "A dog barked, and a cat", "黑猫警长来了", "élan \\ vital's : & | !", "nothing"]
    store.upsert(batch_of(list("abcde"), texts, made(5).vectors, [{"n": n} for n in range(5)]))
    assert {hit.id for hit in store.search_text("CAT !?")} == {"a", "b"}
    assert store.search_text("cat dog")[0].id == "b"
    assert [hit.id for hit in store.search_text("警长")] == ["c"]
    assert [hit.id for hit in store.search_text("ÉLAN' & | :* \\")] == ["d"]
    assert [hit.id for hit in store.search_text("cat", where={"n": {"<": 1}})] == ["a"]
    assert (store.search_text("absent"), store.search_text("...")) == ([], [])
    assert len(store.search_text("cat", 1)) == 1
    with pytest.raises(InvalidInput, match="empty"):
        store.search_text("  ")


HARD = [
    "é\u0301 naïve ﬁ \u202e\u200d\ufeff",
    "\U0001f469\u200d\U0001f680",
    "'; DROP TABLE x; --",
    '\\"{}[],:;%$?*/#',
    "line\nline\r\n\ttab",
    ":f0 $1 %s {0}",
    "\x01\x1f\x7f\x85",
    "NULL",
    " ",
]


def test_all_letters_survive(store):
    metadata = [{text: [text, {text: text}]} for text in HARD]
    batch = batch_of([f"{n}{text}" for n, text in enumerate(HARD)], HARD, made(len(HARD)).vectors, metadata)
    store.upsert(batch)
    ids = [entry.id for entry in batch.entries]
    assert store.get(ids).entries == batch.entries
    for n, text in enumerate(HARD):
        name = text.replace("\\", "\\\\").replace(".", "\\.")
        assert [hit.id for hit in store.search(question(), 99, where={f"\\{name}"[name[0] not in "$" :]: text})] == [
            ids[n]
        ]
    assert store.delete(ids) == len(ids)


def test_a_long_text_is_stored_or_refused(store):
    long = "word " * 2_000_000
    if store.caps.max_text:
        with pytest.raises(InvalidInput, match=f"10000000 bytes; this store takes {store.caps.max_text}"):
            store.upsert(one(text=long))
        assert store.count() == 0
        return
    store.upsert(one(text=long))
    assert store.get(["one"]).entries[0].text == long


@pytest.mark.parametrize(
    ("batch", "error", "said"),
    [
        (one("a\0b"), InvalidInput, "NUL"),
        (one(text="a\0b"), InvalidInput, "NUL"),
        (one(text="a\ud800"), InvalidInput, "half a character"),
        (one(metadata={"a": "b\0"}), InvalidInput, "NUL"),
        (one(metadata={"a\0": "b"}), InvalidInput, "NUL"),
        (one(metadata={"a": float("nan")}), InvalidInput, "JSON"),
        (one(metadata={"a": {1, 2}}), InvalidInput, "JSON"),
        (one(""), InvalidInput, "id 0 has 0 bytes"),
        (one("é" * 257), InvalidInput, "id 0 has 514 bytes"),
        (one(vector=np.full(DIM, np.nan, np.float32)), NonFiniteOutput, "'one' holds NaN"),
        (one(vector=np.zeros(DIM, np.float32)), InvalidInput, "all zeros"),
        (one(vector=np.ones(DIM + 1, np.float32)), InvalidInput, r"float32 \(1, 17\); accepted: float32 \(1, 16\)"),
        (one(vector=np.ones(DIM)), InvalidInput, "float64"),
        (batch_of(["x", "x"], ["a", "b"], np.ones((2, DIM), np.float32)), InvalidInput, "'x' is given twice"),
    ],
)
def test_what_cannot_be_stored_is_refused_and_nothing_written(store, batch, error, said):
    good = made(2)
    mixed = Batch(good.entries + batch.entries, batch.vectors)
    if batch.vectors.shape[1] == DIM and batch.vectors.dtype == np.float32:
        mixed = Batch(mixed.entries, np.concatenate([good.vectors, batch.vectors]))
        said = said.replace("id 0", "id 2")
    else:
        mixed = batch
    with pytest.raises(error, match=said):
        store.upsert(mixed)
    assert store.count() == 0


@pytest.mark.parametrize(
    "vector", [np.ones(DIM + 1, np.float32), np.ones(DIM), np.full(DIM, np.inf, np.float32), [1.0]]
)
def test_a_question_that_cannot_be_is_refused(store, vector):
    with pytest.raises((InvalidInput, NonFiniteOutput), match="question's vector"):
        store.search(vector)


@pytest.mark.parametrize(("k", "where"), [(0, None), (True, None), (5, {"year": {"~": 1}}), (5, {"$nor": []})])
def test_options_that_cannot_be_are_refused(store, k, where):
    with pytest.raises(InvalidInput):
        store.search(question(), k, where=where)


def test_a_store_is_found_again_and_knows_its_model(kind, spec):
    with kind.open(spec) as first:
        first.upsert(made(5))
    with kind.open() as again:
        assert (again.spec, again.count()) == (spec, 5)
        same(again.search(question(), 3), oracle.nearest(made(5), question(), 3))
    with kind.open(replace(spec, model="its other name")) as named:
        assert named.spec == spec


@pytest.mark.parametrize("change", [{"fingerprint": "e" * 32}, {"dim": 17}, {"metric": "inner_product"}])
def test_another_models_vectors_are_refused(kind, spec, change):
    kind.open(spec).close()
    with pytest.raises(ModelMismatch, match="some/model"):
        kind.open(replace(spec, **change))


def test_a_store_that_is_not_there_is_not_made_without_a_model(kind):
    with pytest.raises(CollectionNotFound, match="sentvec index"):
        kind.open()


def test_inner_products(kind, spec):
    batch = made(20)
    with kind.open(replace(spec, metric="inner_product")) as store:
        store.upsert(batch)
        same(store.search(question(), 20), oracle.nearest(batch, question(), 20, metric="inner_product"))
        np.testing.assert_allclose(store.get(["p003"]).vectors[0], batch.vectors[3], rtol=1e-6)


def test_writing_again_changes_nothing(store):
    for _ in range(2):
        for part in range(3):
            store.upsert(made(20, part, f"part{part}-"))
    assert store.count() == 60
    assert sum(len(part.entries) for part in store.scan(7)) == 60


def test_several_threads_use_one_store(store):
    batch = made(40)
    store.upsert(batch)
    expected = oracle.nearest(batch, question(), 5)[0]
    wrong = []

    def work(n):
        try:
            for m in range(5):
                if [hit.id for hit in store.search(question(), 5, where={"lang": {"!=": "new"}})] != expected:
                    wrong.append(n)
                store.upsert(one(f"new{n}-{m}", metadata={"lang": "new"}))
        except Exception as error:
            wrong.append(error)

    threads = [threading.Thread(target=work, args=(n,)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (wrong, store.count()) == ([], 60)


def test_optimizing_changes_no_answer(store):
    batch = made()
    store.upsert(batch)
    store.optimize()
    same(store.search(question(), 10), oracle.nearest(batch, question(), 10))
