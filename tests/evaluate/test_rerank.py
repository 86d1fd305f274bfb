"""Reranking: the scores of sentence-transformers and ir-measures, and nothing gained by equal similarities."""

from __future__ import annotations

import json

import numpy as np
import pytest
from tests.evaluate.given import Given, Peer, near

from sentvec.errors import InvalidInput
from sentvec.evaluate.rerank import Candidates, Rerank, evaluate_rerank, read_rerank


def make(kind):
    """Return thirty queries with one to five answers among up to thirty texts."""
    random = np.random.default_rng(7)
    vectors, samples = {}, []
    for i in range(30):
        query = random.normal(size=12)
        good = [f"good {i} {j}" for j in range(1 + i % 5)]
        bad = [f"bad {i} {j}" for j in range(2 + i % 29)]
        vectors[f"query {i}"] = query
        vectors |= {text: near(query, 1.2, random) for text in good} | {text: near(query, 1.8, random) for text in bad}
        samples.append(Candidates(f"query {i}", tuple(good), tuple(bad)))
    return Rerank("set", tuple(samples)), Given(vectors, kind)


@pytest.mark.oracle
@pytest.mark.parametrize("kind", ["cosine", "dot", "euclidean"])
def test_scores_are_those_of_sentence_transformers(kind):
    from sentence_transformers.sentence_transformer.evaluation import RerankingEvaluator

    one, model = make(kind)
    ours = evaluate_rerank(one, model.vectors)
    samples = [
        {"query": each.query, "positive": list(each.positive), "negative": list(each.negative)} for each in one.samples
    ]
    compare = Peer(model).similarity
    theirs = RerankingEvaluator(samples, similarity_fct=lambda a, b: compare(a[None], b))(Peer(model))
    assert ours.scores == {
        "MAP": pytest.approx(theirs["map"], abs=1e-6),
        "MRR@10": pytest.approx(theirs["mrr@10"], abs=1e-6),
        "nDCG@10": pytest.approx(theirs["ndcg@10"], abs=1e-6),
    }
    assert ours.main == "MAP" and ours.sizes == {"queries": 30, "documents": sum(map(count, one.samples))}


def count(sample):
    return len(sample.positive) + len(sample.negative)


def test_a_model_that_cannot_tell_puts_answers_last():
    """sentence-transformers shares equal places for MAP and gives the answers the first for MRR; that flatters."""
    for count in range(1, 10):
        bad = tuple(f"bad {i}" for i in range(count))
        row = np.random.default_rng(count).normal(size=50)
        model = Given(dict.fromkeys(("query", "good", *bad), row), "dot")
        found = evaluate_rerank(Rerank("set", (Candidates("query", ("good",), bad),)), model.vectors)
        assert found.scores["MAP"] == found.scores["MRR@10"] == pytest.approx(1 / (count + 1))


def test_rows_are_read_with_either_name_and_those_of_one_kind_are_left_out(tmp_path):
    rows = [
        {"query": "a", "positive": ["b"], "negative": ["c", "d"]},
        {"query": "e", "pos": "f", "neg": ["g"]},
        {"query": "h", "positive": [], "negative": ["i"]},
    ]
    path = tmp_path / "rows.jsonl"
    path.write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    one = read_rerank(path, "rows")
    assert one.samples == (Candidates("a", ("b",), ("c", "d")), Candidates("e", ("f",), ("g",)))
    assert one.notes == ("1 query without both kinds left out",)


@pytest.mark.parametrize(
    ("row", "told"),
    [
        ('{"query": 3, "positive": ["a"], "negative": ["b"]}', "line 2: 'query' is 3, which is not a text"),
        ('{"query": "a", "positive": [3], "negative": ["b"]}', r"line 2: 'positive' is \[3\]; accepted: a list"),
        ('{"query": "a", "positive": ["b"]}', "line 2: 'negative' is missing; accepted: a list of texts"),
        ('{"query": "a", ', "line 2: not JSON"),
    ],
)
def test_rows_that_are_broken_are_named(tmp_path, row, told):
    path = tmp_path / "rows.jsonl"
    path.write_text('{"query": "a", "pos": ["b"], "neg": ["c"]}\n' + row, encoding="utf-8")
    with pytest.raises(InvalidInput, match=f"rows.jsonl, {told}"):
        read_rerank(path, "rows")


def test_a_file_with_nothing_to_order_is_refused(tmp_path):
    path = tmp_path / "rows.jsonl"
    path.write_text('{"query": "a", "pos": ["b"], "neg": []}', encoding="utf-8")
    with pytest.raises(InvalidInput, match="no query with documents that answer it and documents that do not"):
        read_rerank(path, "rows")
