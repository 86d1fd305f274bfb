"""What was found by asking and giving what nobody should: each a clear error, and never another field or passage."""

from __future__ import annotations

import numpy as np
import pytest
from fake_model import FakeModel

from sentvec.errors import CollectionCorrupt, CollectionError, InvalidInput
from sentvec.search import filters
from sentvec.search.collection import Collection
from sentvec.search.reencode import reencode
from sentvec.search.schema import connect


@pytest.fixture
def pets(collection):
    collection.add(["A cat.", "A dog."], ids=["cat", "dog"], metadata=[{"n": 1}, {"n": 2}])
    return collection


@pytest.mark.parametrize("field", ["n\0", "n\0x", "\0", "a.n\0"])
def test_a_field_with_a_nul_is_no_other_field(pets, field):
    for given in ({field: 1}, {field: {"exists": True}}, {"$not": {field: 5}}, {field: {">": 0}}):
        with pytest.raises(InvalidInput, match="NUL"):
            pets.search("cat", where=given)
        with pytest.raises(InvalidInput, match="NUL"):
            pets.delete(where=given)
    assert len(pets) == 2


def test_a_number_of_answers_beyond_those_of_sqlite(pets):
    for many in (2**62, 2**63, 10**30):
        assert len(pets.search("cat", many)) == len(pets.search("cat", many, hybrid=True, diversity=0.5)) == 2
        assert [hit.id for hit in pets.search_text("cat", many)] == ["cat"]
        assert len(pets.search_like("cat", many)) == 1


def itself():
    fields = {}
    fields["again"] = [fields]
    return fields


@pytest.mark.parametrize(
    ("fields", "told"),
    [
        (itself(), "it holds itself"),
        ({"x": 10**5000}, "more than 4300 digits"),
        ({"x": [float("inf")]}, "infinite, or none"),
        ({1: "a", "1": "b"}, "one name in JSON"),
        ({"x": [{None: 1, "null": 2}]}, "one name in JSON"),
        ({True: 1, "true": 2}, "one name in JSON"),
    ],
)
def test_metadata_that_json_cannot_hold_whole(pets, fields, told):
    with pytest.raises(InvalidInput, match=told):
        pets.add(["A hen."], metadata=[fields])
    assert len(pets) == 2


def test_numbers_as_names_are_texts_in_json(pets):
    pets.add(["A hen."], ids=["hen"], metadata=[{1: {2: 3}}])
    assert pets.get(["hen"])[0].metadata == {"1": {"2": 3}}
    assert [hit.id for hit in pets.search("hen", where={"1.2": 3})] == ["hen"]


def test_whole_numbers_up_to_the_largest_float():
    assert filters.parse({"n": {"<": 15 * 10**307}}).value == 1.5e308
    with pytest.raises(InvalidInput, match="finite"):
        filters.parse({"n": {"<": 10**309}})


class Says:
    """A reranker that gives what it is told to."""

    def __init__(self, scores):
        self.scores = scores

    def score(self, pairs, *, progress=None):
        return self.scores


@pytest.mark.parametrize("rerank", [5, "model", object(), Says("abc"), Says(["a", "b"]), Says(None), Says([1, 2, 3])])
def test_a_reranker_that_is_none(pets, rerank):
    with pytest.raises(InvalidInput, match=r"rerank is|The reranker gave"):
        pets.search("cat", rerank=rerank)


def test_an_option_that_there_is_not(pets):
    with pytest.raises(TypeError, match="no option 'wher'; accepted: 'where', 'hybrid'"):
        pets.search("cat", wher={"n": 1})
    with pytest.raises(TypeError, match="no option 'wher'"):
        pets.search_many(["cat"], wher={"n": 1})


def test_a_folder_without_a_name_is_not_the_one_we_stand_in(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(CollectionError, match="empty path"):
        Collection.open("", FakeModel())
    assert list(tmp_path.iterdir()) == []


def test_a_models_name_in_place_of_the_model(tmp_path):
    with pytest.raises(InvalidInput, match=r"model is str; accepted: an Embedder.*from_pretrained"):
        Collection.open(tmp_path / "c", "all-MiniLM-L6-v2")
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(InvalidInput, match="model is str"):
        reencode(tmp_path / "c", "all-MiniLM-L6-v2")


@pytest.mark.parametrize("seconds", [-1, float("nan"), float("inf"), "10", None])
def test_seconds_that_cannot_be_waited(tmp_path, pets, seconds):
    with pytest.raises(InvalidInput, match="busy_timeout is"):
        Collection.open(tmp_path / "c", FakeModel(), busy_timeout=seconds)


@pytest.mark.parametrize(
    ("key", "value", "told"),
    [
        ("commits", "'abc'", "does not count its changes"),
        ("recall", "'x'", "recall 'x'"),
        ("recall", "9", "recall 9"),
    ],
)
def test_facts_of_its_own_that_make_no_sense(tmp_path, pets, key, value, told):
    pets.compact("hnsw")
    pets.close()
    folder = next(tmp_path.glob("*/db.sqlite")).parent
    db = connect(folder / "db.sqlite")
    db.execute(f"INSERT OR REPLACE INTO meta VALUES ('{key}', {value})").fetchall()
    db.close()
    with pytest.raises(CollectionCorrupt, match=told), Collection.open(folder, FakeModel()) as again:
        again.compact()


def test_damage_is_named_by_its_cause(tmp_path, model):
    """A page that is damaged ends SQLite's transaction: that there is none to end is not what is to be said."""
    with Collection.open(tmp_path / "c", model) as collection:
        collection.add([f"text {n} {'long ' * 200}" for n in range(300)])
        collection.compact("flat")
    file = tmp_path / "c" / "db.sqlite"
    data = bytearray(file.read_bytes())
    told = set()
    for part in range(1, 20):
        broken = data.copy()
        broken[len(data) * part // 20] ^= 255
        file.write_bytes(broken)
        try:
            with Collection.open(tmp_path / "c", FakeModel()) as again:
                again.search(np.ones(32, np.float32), 300)
                again.verify()
        except CollectionCorrupt as error:
            told.add(str(error))
    assert told
    assert not [one for one in told if "rollback" in one]
