"""Questions of users measure an index: it is built for them, keeps them, and encodes them anew for another model."""

from __future__ import annotations

import numpy as np
import pytest
from fake_model import FakeModel

from sentvec.errors import CollectionError, InvalidInput, NonFiniteOutput
from sentvec.search import questions as module
from sentvec.search.collection import Collection
from sentvec.search.reencode import reencode

# Each passage is there a dozen times, nearly the same; a question lies between several of them.
PASSAGES = [f"{topic} {topic}a {topic}b {topic}c item{n}" for n in range(12) for topic in map("t{}".format, range(120))]
QUESTIONS = [f"t{n} t{7 * n % 120} t{31 * n % 120}" for n in range(60)]


@pytest.fixture
def many(tmp_path):
    with Collection.open(tmp_path / "c", FakeModel()) as collection:
        collection.add(PASSAGES, ids=[str(n) for n in range(len(PASSAGES))])
        yield collection


def found_of_nearest(collection):
    """Return the share of the 10 nearest that questions find, by scores: many passages score the same."""
    vectors = FakeModel().encode_document(PASSAGES).astype(np.float64)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    kept = []
    for question, hits in zip(QUESTIONS, collection.search_many(QUESTIONS, 10), strict=True):
        asked = FakeModel().encode_query([question])[0].astype(np.float64)
        tenth = np.sort(vectors @ asked / np.linalg.norm(asked))[-10]
        kept.append(np.mean([hit.score >= tenth - 1e-6 for hit in hits]))
    return np.mean(kept)


def test_an_index_is_built_for_the_questions_given(many):
    many.compact("ivf-flat", recall=0.95, queries=QUESTIONS)
    stats = many.stats()
    assert stats.questions == 60
    assert stats.recall == pytest.approx(found_of_nearest(many), abs=0.01)
    assert stats.recall >= 0.95


def test_they_are_kept_until_others_are_given(many, tmp_path):
    many.compact("ivf-flat", queries=QUESTIONS)
    first = many.stats().curve
    many.compact()
    assert [point[:3] for point in many.stats().curve] == [point[:3] for point in first]
    with Collection.open(tmp_path / "c") as again:  # no model is needed for what is kept
        again.compact()
        assert again.stats().questions == 60
        again.snapshot(tmp_path / "copy")
    with Collection.open(tmp_path / "copy") as copy:
        assert copy.stats().questions == 60
    many.compact(queries=FakeModel().encode_query(QUESTIONS[:7]))
    assert many.stats().questions == 7
    many.compact(queries=[])
    assert many.stats().questions == 0
    assert many.verify().clean


def test_of_very_many_some_are_kept(many, monkeypatch):
    monkeypatch.setattr(module, "MOST", 20)
    many.compact("ivf-flat", queries=iter(QUESTIONS))
    assert many.stats().questions == 20


@pytest.mark.parametrize(
    ("queries", "error", "said"),
    [
        ("one text", InvalidInput, "queries is one str"),
        (["a", " "], InvalidInput, "empty"),
        (["a", 5], InvalidInput, "query is int"),
        (np.ones((2, 3), np.float32), InvalidInput, r"accepted: a list of str, or a float32 array \(n, 32\)"),
        (np.full((2, 32), np.nan, np.float32), NonFiniteOutput, "queries hold NaN or infinity: the vector 0"),
    ],
)
def test_what_cannot_be_asked_is_refused_before_anything_is_built(many, queries, error, said):
    with pytest.raises(error, match=said):
        many.compact("hnsw", queries=queries)
    assert many.stats().generation == 0


def test_texts_need_the_model(many, tmp_path):
    with Collection.open(tmp_path / "c") as bare, pytest.raises(CollectionError, match="encode questions"):
        bare.compact(queries=QUESTIONS)


class Other(FakeModel):
    def __init__(self):
        super().__init__("other", dim=48)


@pytest.mark.parametrize("texts", [True, False])
def test_another_model_encodes_them_anew_where_it_can(many, tmp_path, texts):
    many.compact("ivf-flat", queries=QUESTIONS if texts else FakeModel().encode_query(QUESTIONS))
    many.close()
    reencode(tmp_path / "c", Other())
    with Collection.open(tmp_path / "c", Other()) as again:
        assert again.stats().questions == (60 if texts else 0)
        again.compact()
        assert again.verify().clean
