"""Retrieval: the scores of sentence-transformers and ir-measures on the same vectors, with ties in the order of ids."""

from __future__ import annotations

import json

import numpy as np
import pytest
from tests.evaluate.given import Given, Peer, near

from sentvec.evaluate.beir import read_retrieval
from sentvec.evaluate.retrieval import evaluate_retrieval, rank

CUTOFFS = (1, 3, 10, 100)


def write(folder, documents, queries, judged):
    """Write a folder in BEIR's layout; documents and queries are texts by id."""
    folder.mkdir(exist_ok=True)
    for name, texts in (("corpus", documents), ("queries", queries)):
        lines = [json.dumps({"_id": id_, "text": text}) for id_, text in texts.items()]
        (folder / f"{name}.jsonl").write_text("\n".join(lines), encoding="utf-8")
    rows = [f"{query}\t{document}\t{grade}" for query, all_ in judged.items() for document, grade in all_.items()]
    (folder / "qrels.tsv").write_text("\n".join(["query-id\tcorpus-id\tscore", *rows]), encoding="utf-8")
    return read_retrieval(folder, folder / "qrels.tsv", "given")


@pytest.fixture
def given(tmp_path):
    """A thousand documents of which every fifth is there twice, and sixty queries near two to nine of them."""
    random = np.random.default_rng(4)
    places = random.normal(size=(1000, 24))
    places[200:400] = places[:200]
    documents = {f"d{i}": f"document {i}" for i in random.permutation(1000)}
    queries = {f"q{i}": f"query {i}" for i in range(60)}
    vectors = {f"document {i}": row for i, row in enumerate(places)}
    judged = {}
    for i, (id_, text) in enumerate(queries.items()):
        some = random.choice(1000, 2 + i % 8, replace=False)
        judged[id_] = {f"d{place}": 1 for place in some}
        vectors[text] = near(places[some].mean(axis=0), 0.3, random)
    return write(tmp_path, documents, queries, judged), documents, vectors


@pytest.mark.oracle
@pytest.mark.parametrize("kind", ["cosine", "dot", "euclidean", "manhattan"])
def test_scores_are_those_of_sentence_transformers(given, kind):
    """Ties are broken by ascending id in both."""
    from sentence_transformers.sentence_transformer.evaluation import InformationRetrievalEvaluator

    one, documents, vectors = given
    model = Given(vectors, kind)
    ours = evaluate_retrieval(one, model.vectors, CUTOFFS, progress=False).scores
    cutoffs = {f"{name}_at_k": CUTOFFS for name in ("mrr", "ndcg", "accuracy", "precision_recall", "map")}
    theirs = InformationRetrievalEvaluator(
        one.queries, documents, {query: set(names) for query, names in one.judged.items()}, **cutoffs
    )(Peer(model))
    named = {"nDCG": "ndcg", "MRR": "mrr", "recall": "recall", "P": "precision"}
    for k in CUTOFFS:
        for name, own in named.items():
            assert ours[f"{name}@{k}"] == pytest.approx(theirs[f"{kind}_{own}@{k}"], abs=1e-6)
        if k >= 9:  # no query has more relevant documents than k
            assert ours[f"MAP@{k}"] == pytest.approx(theirs[f"{kind}_map@{k}"], abs=1e-6)
        else:  # sentence-transformers divides by k where there are more than k; trec_eval and we do not
            assert ours[f"MAP@{k}"] < theirs[f"{kind}_map@{k}"]


@pytest.mark.oracle
def test_scores_are_those_of_ir_measures_on_a_full_sort(given):
    import ir_measures
    from ir_measures import AP, RR, P, R, nDCG

    one, documents, vectors = given
    ours = evaluate_retrieval(one, Given(vectors, "dot").vectors, CUTOFFS, progress=False).scores
    run = {}
    for query, text in one.queries.items():
        scores = {
            id_: float(np.dot(vectors[text].astype(np.float32), vectors[said])) for id_, said in documents.items()
        }
        # trec_eval breaks ties by descending id and we by ascending, so it is given places instead of scores
        order = sorted(documents, key=lambda id_: (-round(scores[id_], 4), id_))
        run[query] = {id_: -place for place, id_ in enumerate(order)}
    measures = {f"{name}@{k}": measure @ k for k in CUTOFFS for name, measure in
                {"nDCG": nDCG, "MRR": RR, "MAP": AP, "recall": R, "P": P}.items()}  # fmt: skip
    theirs = ir_measures.calc_aggregate(measures.values(), one.judged, run)
    assert ours == {name: pytest.approx(theirs[measure], abs=1e-6) for name, measure in measures.items()}


def test_equal_documents_are_ranked_by_id_as_text():
    ids = ["b", "10", "9", "é", "a", "B"]
    blocks = [np.ones((4, 3), np.float32), np.ones((2, 3), np.float32)]
    found = rank(["q"], np.ones((1, 3), np.float32), ids, blocks, 10)
    assert found == {"q": ["10", "9", "B", "a", "b", "é"]}
    assert rank(["q"], np.ones((1, 3), np.float32), ids, blocks, 3) == {"q": ["10", "9", "B"]}


def test_neither_the_order_of_the_corpus_nor_a_second_reading_changes_a_score(given, tmp_path):
    one, documents, vectors = given
    first = evaluate_retrieval(one, Given(vectors).vectors, progress=False)
    turned = write(tmp_path / "turned", dict(sorted(documents.items())), one.queries, one.judged)
    again = evaluate_retrieval(turned, Given(vectors).vectors, progress=False)
    assert first.scores == again.scores
    assert first.main == "nDCG@10" and first.sample.items.shape == (60,)
    assert first.sample.score(np.arange(60)) == pytest.approx(first.value)
    assert first.sizes == {"queries": 60, "documents": 1000}


def test_stored_prompts_go_in_front_and_titles_too(tmp_path):
    (tmp_path / "corpus.jsonl").write_text(
        '{"_id": "1", "title": "Cats", "text": "purr"}\n{"_id": 2, "title": "", "text": "dogs bark"}', encoding="utf-8"
    )
    (tmp_path / "queries.jsonl").write_text('{"_id": "q", "text": "who purrs"}', encoding="utf-8")
    (tmp_path / "qrels.tsv").write_text("q\t1\t1\n", encoding="utf-8")
    one = read_retrieval(tmp_path, tmp_path / "qrels.tsv", "titles")
    table = {"ask: who purrs": [1, 0], "doc: Cats purr": [1, 0.1], "doc: dogs bark": [0, 1]}
    model = Given(table, prompts={"query": "ask: ", "passage": "doc: "})
    assert evaluate_retrieval(one, model.vectors, (1,), progress=False).value == 1
