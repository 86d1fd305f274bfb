"""A set made in code that is none is refused by its name; so are rankings and vectors that do not fit."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from tests.evaluate.given import Given

from sentvec.errors import InvalidInput, NonFiniteOutput
from sentvec.evaluate.beir import Retrieval
from sentvec.evaluate.bitext import Bitext
from sentvec.evaluate.classify import Classification, Clustering, Labelled
from sentvec.evaluate.pairs import LabelledPairs
from sentvec.evaluate.ranking import rank_scores
from sentvec.evaluate.report import beside, columns, to_json
from sentvec.evaluate.rerank import Candidates, Rerank
from sentvec.evaluate.retrieval import rank
from sentvec.evaluate.run import Settings, evaluate
from sentvec.evaluate.sts import Sts

TWO = ("a", "b")
PLACES = np.zeros(2, np.int64)
NONE = np.zeros(0)
CLASSES = Labelled(TWO, ("x", "y"))


@pytest.mark.parametrize(
    ("make", "told"),
    [
        (
            lambda: Sts("s", (), (), NONE, NONE.astype(np.int64)),
            "the set 's' has 0 left, 0 right",
        ),
        (lambda: Sts("s", TWO, ("a",), np.ones(2), PLACES), "2 left, 1 right; accepted: as many of each"),
        (lambda: Sts("s", TWO, TWO, np.ones(3), PLACES), "2 texts, 3 scores, 2 subsets"),
        (lambda: Sts("s", TWO, TWO, np.array([1, np.nan]), PLACES), "the set 's': score 1 is nan; accepted: finite"),
        (lambda: LabelledPairs("p", TWO, TWO, np.array([1, 1])), "the set 'p' has 1 different labels; accepted: two"),
        (lambda: LabelledPairs("p", TWO, TWO, np.array([1, 2])), "the set 'p' has the label 2; accepted: 0 and 1"),
        (lambda: LabelledPairs("p", TWO, TWO, np.array([1])), "2 texts, 1 labels"),
        (lambda: Classification("c", CLASSES, Labelled((), ())), "the set 'c' has 0 texts, 0 labels"),
        (lambda: Classification("c", Labelled(TWO, ("x", "x")), CLASSES), "1 different labels to learn from"),
        (lambda: Clustering("k", ()), "the set 'k' has 0 parts; accepted: 1 or more"),
        (lambda: Clustering("k", (CLASSES, Labelled(TWO, ("x",)))), "2 texts, 1 labels"),
        (lambda: Clustering("k", (Labelled(TWO, ("x", "x")),)), "1 different labels in a part"),
        (lambda: Bitext("b", ("a",), ("b",)), "1 sentences, 1 translations; accepted: as many of each, 2 or more"),
        (lambda: Rerank("r", ()), "the set 'r' has 0 queries"),
        (lambda: Rerank("r", (Candidates("q", TWO, ()),)), "the set \"r: 'q'\" has 0 negatives"),
    ],
)
def test_what_is_no_set_is_refused(make, told):
    with pytest.raises(InvalidInput, match=told):
        make()


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"ids": ()}, "the set 'r' has 0 documents"),
        ({"queries": {}, "judged": {}}, "the set 'r' has 0 queries"),
        ({"ids": ("a", "b", "a")}, "the set 'r': an id of corpus.jsonl is doubled"),
        ({"judged": {"q": {"c": 1}}}, "query 'q' is judged with the document 'c', which is not there"),
        ({"judged": {"q": {"a": 0}}}, "query 'q' has no relevant document"),
        ({"judged": {}}, "query 'q' has no relevant document"),
        ({"queries": {"p": "text"}}, "query 'p' has no relevant document"),
        ({"judged": {"q": {"a": 1}, "p": {"a": 1}}}, "query 'p' has no text"),
    ],
)
def test_what_cannot_be_searched_is_refused(change, told):
    good = {"ids": TWO, "queries": {"q": "text"}, "judged": {"q": {"a": 1}}}
    Retrieval("r", Path("corpus.jsonl"), **good)
    with pytest.raises(InvalidInput, match=told):
        Retrieval("r", Path("corpus.jsonl"), **(good | change))


def test_what_is_no_set_at_all_is_refused_before_anything_is_encoded():
    model = Given({"a": [1.0, 2.0]})
    with pytest.raises(InvalidInput, match="a str is no set. Accepted: Sts, Retrieval, .*find_sets"):
        evaluate(model, ["sets/"])
    assert model.encoded == 0


@pytest.mark.parametrize("k", [0, 10**6 + 1, 10**30])
def test_cutoffs_that_cannot_be_counted_to_are_refused(k):
    for call in (lambda: Settings(cutoffs=(10, k)), lambda: rank_scores({"q": {"a": 1}}, {"q": ["a"]}, (k,))):
        with pytest.raises(InvalidInput, match="accepted: one or more numbers from 1 to 1000000"):
            call()


def test_a_cutoff_beyond_all_documents_takes_no_memory():
    documents = np.eye(4, dtype=np.float32)
    ranked = rank(["q"], documents[:1], ["a", "b", "c", "d"], [documents], k=10**6)
    assert ranked == {"q": ["a", "b", "c", "d"]}
    found = rank_scores({"q": {"c": 1}}, ranked, (10**6,))
    assert found["MRR@1000000"].tolist() == pytest.approx([1 / 3])


def test_a_document_counts_once():
    with pytest.raises(InvalidInput, match="query 'q': document 'a' is ranked more than once"):
        rank_scores({"q": {"a": 1}}, {"q": ["a", "b", "a"]})


@pytest.mark.parametrize(
    ("judged", "ranked"),
    [
        ({"q": {"a\0b": 1}}, {"q": ["a\0c", "a\0b"]}),
        ({"q\0": {"a": 1}}, {"q": ["a"]}),
        ({"q": {"a": 1}}, {"q": ["a", "\0"]}),
    ],
)
def test_ids_that_would_be_cut_are_refused(judged, ranked):
    with pytest.raises(InvalidInput, match="an id holds the character NUL"):
        rank_scores(judged, ranked)


def test_a_model_without_a_score_has_no_p():
    names = tuple("abcdef")
    one = Sts("s", names, names[1:] + names[:1], np.arange(6.0), np.zeros(6, np.int64))
    random = np.random.default_rng(0)
    good, none = ({name: make() for name in names} for make in (lambda: random.normal(size=4), lambda: np.ones(4)))
    reports = [evaluate(Given(table), [one], settings=Settings(resamples=50), progress=False) for table in (good, none)]
    shown = beside(*reports, progress=False)
    assert np.isnan(shown.tests[0].p) and np.isnan(shown.tests[0].difference)
    assert {column.name: column.cells[0] for column in columns(shown)}["p"] == "none"
    (test,) = json.loads(to_json(shown))["tests"]
    assert test["p"] is None and test["difference"] is None


@pytest.mark.parametrize(
    ("queries", "documents", "rows", "told"),
    [
        (["q", "q"], ["a", "b"], 2, "an id of a query is doubled"),
        (["q", "p"], ["a", "a"], 2, "an id of a document is doubled"),
        (["q"], ["a", "b"], 2, "1 ids of queries came with 2 vectors"),
        (["q", "p"], ["a", "b"], 1, "2 ids of documents came with 1 vectors"),
        (["q", "p"], ["a", "b"], 3, "2 ids of documents came with 3 vectors"),
    ],
)
def test_ids_and_vectors_must_agree(queries, documents, rows, told):
    vectors = np.eye(3, dtype=np.float32)
    with pytest.raises(InvalidInput, match=told):
        rank(queries, vectors[:2], documents, [vectors[:rows]], k=2)


@pytest.mark.parametrize("number", [np.nan, np.inf, 1e25])
def test_vectors_that_cannot_be_compared_are_refused(number):
    model = Given({"a": [1.0, 0.0], "b": [0.0, number]})
    with pytest.raises(NonFiniteOutput, match="the vector of 'b' holds NaN or infinity, or numbers too large"):
        model.vectors.encode(TWO)


def test_a_model_that_gives_other_shapes_is_told():
    model = Given({"a": [1.0, 0.0], "b": [0.0, 1.0]})
    model.dim = 3
    model.encode = lambda texts, **_: np.zeros((len(texts), 2), np.float32)
    with pytest.raises(InvalidInput, match=r"the model given gave vectors of the shape \(2, 2\) for 2 texts"):
        model.vectors.encode(TWO)
