"""A collection keeps what it is given, finds it again, and refuses what does not fit."""

from __future__ import annotations

import json
import threading

import apsw
import numpy as np
import pytest
from fake_model import FakeModel

from sentvec.errors import (
    CollectionBusy,
    CollectionError,
    CollectionNotFound,
    InvalidInput,
    ModelMismatch,
    NonFiniteOutput,
)
from sentvec.search.collection import Collection
from sentvec.search.schema import create

DEEP = json.loads("[" * 99 + "]" * 99)
PETS = ["Cats sleep all day.", "Dogs bark at night.", "Fish swim in water."]


@pytest.fixture
def pets(tmp_path, model):
    with Collection.open(tmp_path / "pets.sv", model) as collection:
        collection.add(PETS, ids=["cat", "dog", "fish"], metadata=[{"legs": 4}, {"legs": 4}, {}])
        yield collection


def test_add_search_get(pets, model):
    hits = pets.search("where do dogs bark", k=2)
    assert [hit.id for hit in hits] == ["dog", hits[1].id]
    assert (hits[0].text, hits[0].source, hits[0].line, hits[0].metadata) == (PETS[1], None, None, {"legs": 4})
    a, b = model.encode_query(["where do dogs bark"])[0], model.encode_query([PETS[1]])[0]
    assert hits[0].score == pytest.approx(a @ b / np.linalg.norm(a) / np.linalg.norm(b), abs=1e-6)
    assert [entry.id for entry in pets.get(["fish", "bird", "cat"])] == ["fish", "cat"]
    assert len(pets) == 3


def test_it_is_all_there_after_opening_again(tmp_path, pets, model):
    before = pets.search("bark", k=9)
    pets.close()
    with Collection.open(tmp_path / "pets.sv", FakeModel()) as again:
        assert again.search("bark", k=9) == before
        assert again.get(["cat"])[0].metadata == {"legs": 4}


def test_an_id_that_is_there_gets_the_new_text(pets):
    report = pets.add(["Cows eat grass.", "Hens lay eggs."], ids=["cat", "hen"])
    assert (report.added, report.updated, report.encoded, report.ids) == (1, 1, 2, ("cat", "hen"))
    assert pets.search("cows eat grass")[0].id == "cat"
    assert PETS[0] not in [hit.text for hit in pets.search("cats sleep", k=9)]
    assert len(pets) == 4


def test_new_metadata_alone_encodes_nothing(pets, model):
    model.encoded.clear()
    assert pets.add([PETS[0]], ids=["cat"], metadata=[{"legs": 3}]).encoded == 0
    assert model.encoded == []
    assert pets.search("cats sleep")[0].metadata == {"legs": 3}


def test_equal_texts_are_encoded_once(tmp_path, model):
    with Collection.open(tmp_path / "c", model) as collection:
        report = collection.add(["same"] * 5 + ["other"])
        assert (report.added, report.encoded, len(set(report.ids))) == (6, 2, 6)
        assert model.encoded == ["same", "other"]


def test_deleted_is_gone(pets):
    pets.search("cats")
    assert pets.delete(["cat", "bird"]) == 1
    assert {hit.id for hit in pets.search("cats", k=9)} == {"dog", "fish"}
    assert pets.get(["cat"]) == []


def test_without_a_model_all_but_texts_can_be_had(tmp_path, pets, model):
    vector = model.encode_query(["dogs bark"])[0]
    with Collection.open(tmp_path / "pets.sv") as plain:
        assert plain.search(vector)[0].id == "dog"
        assert plain.get(["cat"])[0].text == PETS[0]
        assert plain.model_name == "fake"
        assert plain.stats().passages == 3
        for call in (lambda: plain.search("dogs"), lambda: plain.add(["x"]), lambda: plain.add_files([tmp_path])):
            with pytest.raises(CollectionError, match=r"opened without one.*from_pretrained\('fake'\)"):
                call()
        assert plain.delete(["cat"]) == 1


def test_a_model_of_dot_products_is_ranked_by_them(tmp_path, model):
    model.similarity_name = "dot"
    model._vector = lambda text: np.eye(32)[0] * len(text) if text != "askew" else np.eye(32)[:2].sum(0) * 9
    with Collection.open(tmp_path / "c", model) as collection:
        collection.add(["a", "askew", "four"])
    with Collection.open(tmp_path / "c", model) as again:
        assert [(hit.text, hit.score) for hit in again.search("me")] == [("askew", 18.0), ("four", 8.0), ("a", 2.0)]


@pytest.mark.parametrize(("name", "warnings"), [("cosine", 0), ("dot", 0), ("euclidean", 1)])
def test_a_similarity_that_is_not_searched_by_is_named_once(tmp_path, model, caplog, name, warnings):
    model.similarity_name = name
    for _ in range(2):
        Collection.open(tmp_path / "c", model).close()
    assert len(caplog.records) == warnings
    assert all("trained for euclidean similarity" in record.message for record in caplog.records)


def test_stats(tmp_path, pets):
    stats = pets.stats()
    assert (stats.path, stats.passages, stats.files) == (str(tmp_path / "pets.sv"), 3, 0)
    assert (stats.model, stats.dim, stats.fingerprint) == ("fake", 32, FakeModel().fingerprint)
    assert stats.bytes > 1000


@pytest.mark.parametrize(("k", "many"), [(1, 1), (3, 3), (1000, 3)])
def test_as_many_hits_as_there_are(pets, k, many):
    assert len(pets.search("water", k=k)) == many


def test_an_empty_collection_finds_nothing(tmp_path, model):
    with Collection.open(tmp_path / "c", model) as collection:
        assert collection.search("anything") == []
        assert collection.add([]).ids == ()


# Refused ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"texts": "one text"}, "texts is one str"),
        ({"texts": ["a", 3]}, "text 1 is int"),
        ({"texts": ["a"], "ids": ["x", "y"]}, "1 texts and 2 ids"),
        ({"texts": ["a", "b"], "ids": ["x", "x"]}, "'x' is given twice"),
        ({"texts": ["a"], "ids": [7]}, "id 0 is int"),
        ({"texts": ["a"], "ids": "x"}, "ids is one str"),
        ({"texts": ["a"], "ids": 5}, "ids is one int"),
        ({"texts": None}, "texts is one NoneType"),
        ({"texts": ["a"], "metadata": 5}, "metadata is one int"),
        ({"texts": ["a"], "metadata": [{"x": {"y": DEEP}}]}, "metadata 0 .* nested deeper than 100 levels"),
        ({"texts": ["a"], "metadata": []}, "1 texts and 0 metadata"),
        ({"texts": ["a"], "metadata": [{"x": float("nan")}]}, "metadata 0 cannot be stored"),
        ({"texts": ["a"], "metadata": [{"x": object()}]}, "metadata 0 cannot be stored"),
        ({"texts": ["a"], "metadata": ["x"]}, "metadata 0 is str"),
        ({"texts": ["a \ud800"]}, "half a character"),
        ({"texts": ["a"], "ids": ["\udfff"]}, "half a character"),
        ({"texts": ["a"], "metadata": [{"x": "\ud800"}]}, "half a character"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_add_refuses(pets, arguments, message):
    with pytest.raises(InvalidInput, match=message):
        pets.add(**arguments)
    assert len(pets) == 3


@pytest.mark.parametrize("ids", [None, 5, "cat", ["cat", None]])
def test_delete_and_get_refuse(pets, ids):
    for call in (pets.delete, pets.get):
        with pytest.raises(InvalidInput, match="ids is one|id 1 is NoneType"):
            call(ids)
    assert len(pets) == 3


@pytest.mark.parametrize(
    ("query", "k", "message"),
    [
        ("", 1, "empty"),
        (" \n", 1, "empty"),
        ("a", 0, "k is 0"),
        ("a", True, "k is True"),
        ("a", 1.5, "k is 1.5"),
        (["a"], 1, "query is list"),
        (np.zeros(32), 1, "float64"),
        (np.zeros(31, dtype=np.float32), 1, r"\(31,\)"),
        ("\ud800", 1, "half a character"),
    ],
)
def test_search_refuses(pets, query, k, message):
    with pytest.raises(InvalidInput, match=message):
        pets.search(query, k=k)


def test_numbers_that_are_none_reach_neither_sqlite_nor_faiss(pets, model, monkeypatch):
    with pytest.raises(NonFiniteOutput):
        pets.search(np.full(32, np.nan, dtype=np.float32))
    monkeypatch.setattr(model, "_vector", lambda text: np.full(32, np.nan if "bad" in text else 1.0))
    with pytest.raises(NonFiniteOutput, match="text 1"):
        pets.add(["good", "bad"])
    assert len(pets) == 3


def test_a_model_that_returns_another_shape(pets, model, monkeypatch):
    monkeypatch.setattr(model, "_encode", lambda texts: np.zeros((len(texts), 5), dtype=np.float32))
    with pytest.raises(CollectionError, match=r"shape \(1, 5\)"):
        pets.add(["a"])


def test_another_model_is_refused_by_name(tmp_path, pets):
    with pytest.raises(ModelMismatch, match=r"(?s)'fake'.*'other'.*new folder"):
        Collection.open(tmp_path / "pets.sv", FakeModel("other"))
    with pytest.raises(ModelMismatch):
        Collection.open(tmp_path / "pets.sv", FakeModel(max_seq_length=64))
    assert len(pets) == 3


def test_a_closed_collection_says_so(pets, tmp_path):
    pets.close()
    pets.close()
    for call in (lambda: pets.search("a"), lambda: pets.add(["a"]), lambda: len(pets), pets.stats):
        with pytest.raises(CollectionError, match="is closed"):
            call()


# Folders ---------------------------------------------------------------------------------------------


def test_no_collection(tmp_path, model):
    with pytest.raises(CollectionNotFound, match="sentvec index"):
        Collection.open(tmp_path / "nowhere")
    assert not (tmp_path / "nowhere").exists()
    (tmp_path / "empty").mkdir()
    with pytest.raises(CollectionNotFound):
        Collection.open(tmp_path / "empty")
    (tmp_path / "file").write_text("x")
    with pytest.raises(CollectionNotFound, match="is a file"):
        Collection.open(tmp_path / "file", model)
    Collection.open(tmp_path / "empty", model).close()
    Collection.open(tmp_path / "deep" / "er", model).close()


def test_a_folder_with_other_things_is_left_alone(tmp_path, model):
    (tmp_path / "thesis.md").write_text("years of work")
    with pytest.raises(CollectionError, match="holds other files"):
        Collection.open(tmp_path, model)
    assert [file.name for file in tmp_path.iterdir()] == ["thesis.md"]


def test_what_a_killed_creation_leaves_is_no_obstacle(tmp_path, model):
    (tmp_path / ".db.sqlite.0123").write_bytes(b"half")
    Collection.open(tmp_path, model).close()


def test_of_two_that_create_at_once_one_wins_and_both_use_it(tmp_path, pets):
    before = (tmp_path / "pets.sv" / "db.sqlite").stat().st_ino
    create(tmp_path / "pets.sv", {"model": "late", "fingerprint": "00", "dim": 9})
    assert (tmp_path / "pets.sv" / "db.sqlite").stat().st_ino == before
    with Collection.open(tmp_path / "pets.sv") as again:
        assert (again.model_name, len(again)) == ("fake", 3)
    assert not list((tmp_path / "pets.sv").glob(".db.sqlite*"))


def test_a_newer_format_is_not_guessed_at(tmp_path, pets):
    pets.close()
    db = apsw.Connection(str(tmp_path / "pets.sv" / "db.sqlite"))
    db.execute("PRAGMA user_version = 99")
    db.close()
    with pytest.raises(CollectionError, match="format 99"):
        Collection.open(tmp_path / "pets.sv")


def test_commits_are_synced(tmp_path, pets):
    assert pets._writer._db.pragma("synchronous") == 2  # FULL
    assert pets._writer._db.pragma("journal_mode") == "wal"


# Several at once -------------------------------------------------------------------------------------


def test_what_another_has_committed_is_found_at_the_next_search(tmp_path, pets):
    with Collection.open(tmp_path / "pets.sv", FakeModel()) as other:
        assert len(other.search("eggs", k=9)) == 3
        pets.add(["Hens lay eggs."], ids=["hen"])
        assert other.search("hens lay eggs")[0].id == "hen"
        pets.delete(["hen", "cat"])
        pets.add(["Cows eat grass."], ids=["cow"])
        assert {hit.id for hit in other.search("hens lay eggs", k=9)} == {"dog", "fish", "cow"}


def test_a_second_writer_waits_and_then_says_so(tmp_path, pets):
    db = apsw.Connection(str(tmp_path / "pets.sv" / "db.sqlite"))
    db.execute("BEGIN IMMEDIATE")
    with Collection.open(tmp_path / "pets.sv", FakeModel(), busy_timeout=0.05) as second:
        with pytest.raises(CollectionBusy, match="Another process is writing"):
            second.add(["x"])
        assert second.search("cats sleep")[0].id == "cat"  # readers are never kept waiting
        db.execute("ROLLBACK")
        second.add(["x"], ids=["x"])
    db.close()
    assert len(pets) == 4


def test_many_threads(tmp_path, model):
    errors = []
    with Collection.open(tmp_path / "c", model) as collection:
        collection.add(["anchor text here"], ids=["anchor"])

        def write(n):
            for m in range(10):
                collection.add([f"thread {n} text {m}", f"gone {n} {m}"], ids=[f"{n}-{m}", "shared"])
                collection.delete([f"{n}-{m - 1}"] if m % 2 else [])

        def read():
            for _ in range(40):
                hits = collection.search("anchor text here", k=50)
                assert hits[0].id == "anchor"
                assert len({hit.id for hit in hits}) == len(hits)

        def guarded(work, *arguments):
            try:
                work(*arguments)
            except BaseException as error:
                errors.append(error)

        threads = [threading.Thread(target=guarded, args=(write, n)) for n in range(3)]
        threads += [threading.Thread(target=guarded, args=(read,)) for _ in range(3)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert errors == []
        expected = {"anchor", "shared"} | {f"{n}-{m}" for n in range(3) for m in range(1, 10, 2)}
        assert {hit.id for hit in collection.search("text", k=999)} == expected
