"""Folders in BEIR's layout: what is in them, and what is wrong in them by file and line."""

from __future__ import annotations

import json

import numpy as np
import pytest
from tests.evaluate.given import Given

from sentvec.errors import InvalidInput, NonFiniteOutput
from sentvec.evaluate import beir
from sentvec.evaluate.beir import read_retrieval
from sentvec.evaluate.retrieval import evaluate_retrieval

CORPUS = ['{"_id": "d1", "title": "One", "text": "first"}', '{"_id": "d2", "text": "second"}']
QUERIES = ['{"_id": "q1", "text": "ask"}', '{"_id": "q2", "text": "ask more"}']
QRELS = ["query-id\tcorpus-id\tscore", "q1\td1\t1"]


@pytest.fixture
def read(tmp_path):
    def read(corpus=CORPUS, queries=QUERIES, qrels=QRELS):
        for name, lines in (("corpus.jsonl", corpus), ("queries.jsonl", queries), ("qrels.tsv", qrels)):
            whole = lines if isinstance(lines, bytes) else ("\n".join(lines) + "\n" * bool(lines)).encode()
            (tmp_path / name).write_bytes(whole)
        return read_retrieval(tmp_path, tmp_path / "qrels.tsv", "set")

    return read


def test_a_folder(read):
    one = read(qrels=[*QRELS, "q1\td2\t0", "q2\td2\t0"])
    assert one.ids == ("d1", "d2") and one.queries == {"q1": "ask"}
    assert one.judged == {"q1": {"d1": 1, "d2": 0}}
    assert list(one.blocks()) == [["One first", "second"]]
    assert one.notes == ("judgements of qrels.tsv", "1 query without a relevant document left out")


@pytest.mark.parametrize(
    "qrels", [["q1\td1\t2"], ["q1\t0\td1\t2"], ["q1 0 d1 2"], ["query\tdocument\tgrade", "q1\td1\t2\r", ""]]
)
def test_judgements_with_and_without_a_header_and_those_of_trec(read, qrels):
    assert read(qrels=qrels).judged == {"q1": {"d1": 2}}


def test_grades_below_zero_count_as_zero(read):
    assert read(qrels=[*QRELS, "q1\td2\t-1"]).judged == {"q1": {"d1": 1, "d2": 0}}


def test_ids_that_are_numbers_are_texts(read):
    one = read(corpus=['{"_id": 7, "text": "a"}'], queries=['{"_id": 1, "text": "b"}'], qrels=["1\t7\t1"])
    assert one.ids == ("7",) and one.judged == {"1": {"7": 1}}


BROKEN = [
    ({"qrels": [*QRELS, "q1\td9\t1"]}, r"qrels.tsv, line 3: id 'd9' is not in .*corpus.jsonl. Mend the id"),
    ({"qrels": [*QRELS, "q9\td1\t1"]}, r"qrels.tsv, line 3: id 'q9' is not in .*queries.jsonl"),
    ({"qrels": [*QRELS, "q1\td2\t1.5"]}, "qrels.tsv, line 3: grade '1.5'; accepted: whole numbers from -10 to 1000"),
    ({"qrels": [*QRELS, "q1\td2\t1001"]}, "line 3: grade '1001'; accepted"),
    ({"qrels": [*QRELS, "q1\td2\tyes"]}, "line 3: grade 'yes'; accepted"),
    ({"qrels": [*QRELS, "q1\td2\t1_0"]}, "line 3: grade '1_0'; accepted"),
    ({"qrels": [*QRELS, f"q1\td2\t{'9' * 5000}"]}, r"line 3: grade '9+\.\.\.; accepted"),
    ({"qrels": [*QRELS, f"q1\t{'d' * 200_000}\t1"]}, r"line 3: id 'd+\.\.\. is not in"),
    ({"qrels": [*QRELS, "q1\td2\r3\t1"]}, r"line 3: id 'd2\\r3' is not in"),
    ({"qrels": ["q1\td1\tyes", "q1\td2\t1"]}, "line 1: grade 'yes'; accepted"),  # no header: the query is known
    ({"qrels": [*QRELS, "q1\td1"]}, "line 3: 2 columns; accepted: query, document and grade"),
    ({"qrels": ["q1\td1"]}, "line 1: 2 columns"),
    ({"qrels": [*QRELS, "q1\td1\t2"]}, "line 3: query 'q1' and document 'd1' were graded 1 before, and 2 here"),
    ({"qrels": []}, "qrels.tsv names no relevant document for any query"),
    ({"qrels": QRELS[:1]}, "qrels.tsv names no relevant document for any query"),
    ({"qrels": ["q1\td1\t0"]}, "qrels.tsv names no relevant document for any query"),
    ({"qrels": b"q1\td1\t1\nq1\td\xe9\t1\n"}, "qrels.tsv, line 2: not UTF-8"),
    ({"corpus": []}, "corpus.jsonl holds no documents; there is nothing to search"),
    ({"corpus": [*CORPUS, CORPUS[0]]}, "corpus.jsonl, line 3: _id 'd1' is on line 1 as well; ids must differ"),
    ({"corpus": [*CORPUS, '{"_id": "d3"}']}, "corpus.jsonl, line 3: 'text' is missing, which is not a text"),
    ({"corpus": [*CORPUS, '{"_id": "d3", "text": 5}']}, "line 3: 'text' is 5, which is not a text"),
    ({"corpus": [*CORPUS, '{"_id": "d3", "title": [], "text": ""}']}, r"line 3: 'title' is \[\], which is not"),
    ({"corpus": [*CORPUS, '{"text": "a"}']}, "line 3: '_id' is missing; accepted: a text or a whole number"),
    ({"corpus": [*CORPUS, '{"_id": true, "text": "a"}']}, "line 3: '_id' is true; accepted"),
    ({"corpus": [*CORPUS, '{"_id": "a\\u0000b", "text": "a"}']}, "line 3: '_id' is .*; trec_eval cannot read"),
    ({"corpus": [*CORPUS, "", '{"_id": "d3", "text": "a']}, "corpus.jsonl, line 4: not JSON"),
    ({"corpus": [*CORPUS, "[1]"]}, r"line 3: \[1\] is no JSON object"),
    ({"corpus": b'{"_id": "d1", "text": "a"}\n{"_id": "d2", "text": "\xff"}\n'}, "corpus.jsonl, line 2: not UTF-8"),
    ({"corpus": [*CORPUS, '{"_id": "d3", "text": "\\ud800"}']}, "line 3: half of a surrogate pair"),
    ({"queries": [*QUERIES, QUERIES[1]]}, "queries.jsonl, line 3: _id 'q2' is on line 2 as well"),
    ({"queries": [*QUERIES, '{"_id": "q3"}']}, "queries.jsonl, line 3: 'text' is missing"),
    ({"queries": []}, r"qrels.tsv, line 2: id 'q1' is not in .*queries.jsonl"),
]


@pytest.mark.parametrize(("files", "told"), BROKEN, ids=[told[:60] for _, told in BROKEN])
def test_what_is_wrong_is_named_by_file_and_line(read, files, told):
    with pytest.raises(InvalidInput, match=told):
        read(**files)


def test_blocks_are_read_again_and_must_be_what_they_were(read, monkeypatch):
    monkeypatch.setattr(beir, "_BLOCK", 2)
    corpus = [json.dumps({"_id": str(i), "text": f"text {i}"}) for i in range(5)]
    one = read(corpus=corpus, qrels=["q1\t3\t1"])
    assert [len(block) for block in one.blocks()] == [2, 2, 1]
    for changed in (corpus[:4], [*corpus, '{"_id": "5", "text": "new"}'], corpus[::-1]):
        one.corpus.write_text("\n".join(changed), encoding="utf-8")
        with pytest.raises(InvalidInput, match="the file changed while it was read. Run again"):
            list(one.blocks())


@pytest.mark.parametrize(
    ("broken", "told"), [("One first", "corpus.jsonl, line 1: "), ("ask", "queries.jsonl, line 1: ")]
)
def test_a_vector_that_is_no_number_names_file_and_line_of_its_text(read, broken, told):
    vectors = {"One first": [1, 0], "second": [0, 1], "ask": [1, 1]}
    vectors[broken] = [np.nan, 0]
    with pytest.raises(NonFiniteOutput, match=f"{told}the vector of '{broken}' holds NaN or infinity"):
        evaluate_retrieval(read(), Given(vectors).vectors, progress=False)


@pytest.mark.data
@pytest.mark.parametrize(
    ("name", "documents", "queries"), [("cran", 1400, 225), ("cacm", 3204, 52), ("cisi", 1460, 76), ("adi", 82, 35)]
)
def test_real_folders(shared_data, name, documents, queries):
    folder = shared_data / "retrieval" / name
    one = read_retrieval(folder, folder / "qrels.tsv", name)
    assert (len(one.ids), len(one.queries)) == (documents, queries)
    assert sum(map(len, one.blocks())) == documents
