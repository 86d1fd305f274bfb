"""`sentvec mine`: hard negatives of real files, in lines that `sentvec train` reads, with what was left out told."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from tests.builders import add_modules, tiny_bert
from tests.cli.running import inside
from tests.headed import tiny
from tests.train.runs import sentences

from sentvec import Embedder, Reranker
from sentvec.train.read import read_dataset

POOL = [f"{number} {text}" for number, text in enumerate(sentences(40, seed=5))]


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return add_modules(tiny_bert(tmp_path_factory.mktemp("m") / "model"), "Pooling")


@pytest.fixture
def sentvec(monkeypatch, capsys, tmp_path, model):
    monkeypatch.chdir(tmp_path)
    rows = [{"query": f"the query {number}", "positive": POOL[number]} for number in range(6)]
    Path("pairs.jsonl").write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    Path("pool.txt").write_text("\n".join([*POOL, "", POOL[0]]), encoding="utf-8")
    run = inside(monkeypatch, capsys)
    return lambda *arguments: run("mine", *arguments, "-m", model, "--device", "cpu")


def mined(path="mined.jsonl"):
    return [json.loads(line) for line in Path(path).read_text(encoding="utf-8").splitlines()]


def ranked(model, query, best=100):
    """Documents from the nearest on, as the model's vectors say."""
    embedder = Embedder.from_pretrained(model, device="cpu")
    scores = embedder.similarity(embedder.encode([query]), embedder.encode(POOL))[0]
    return [POOL[place] for place in np.argsort(-scores)][:best], dict(zip(POOL, scores.tolist(), strict=True))


def test_negatives_are_what_the_model_ranks_high_and_below_the_positive(sentvec, model):
    ended = sentvec("pairs.jsonl", "-o", "mined.jsonl", "--documents", "pool.txt", "--negatives", 3)
    assert ended.code == 0, ended.err
    rows = mined()
    assert rows and all(row.keys() == {"query", "pos", "neg"} for row in rows)
    for row in rows:
        order, scores = ranked(model, row["query"])
        (positive,) = row["pos"]
        limit = scores[positive] - 0.05 * abs(scores[positive])
        assert row["neg"] == [text for text in order if text != positive and scores[text] < limit][: len(row["neg"])]
    assert f"{sum(len(row['neg']) for row in rows)} hard negatives for {len(rows)} of 6 pairs" in ended.err
    assert "% of pairs have a document above their positive that nobody called right" in ended.err
    assert ended.err.rstrip().endswith("written: mined.jsonl")


def test_training_reads_what_mining_writes(sentvec):
    sentvec("pairs.jsonl", "-o", "mined.jsonl", "--documents", "pool.txt", "--negatives", 2, "--relative-margin", 0)
    found = read_dataset("mined.jsonl")
    assert found.kind == "tuples"
    assert [one.texts for one in found.examples] == [(row["query"], *row["pos"], *row["neg"]) for row in mined()]


def test_where_nothing_is_said_it_looks_among_the_positives(sentvec):
    assert sentvec("pairs.jsonl", "-o", "mined.jsonl", "--relative-margin", 0).code == 0
    assert {text for row in mined() for text in row["neg"]} <= set(POOL[:6])


def test_a_cross_encoder_has_the_last_word(sentvec, tmp_path):
    tiny(tmp_path / "crossed", "bert", "ForSequenceClassification", num_labels=1)
    options = ("--documents", "pool.txt", "--negatives", 3)
    ended = sentvec("pairs.jsonl", "-o", "mined.jsonl", *options, "--reranker", tmp_path / "crossed")
    assert ended.code == 0, ended.err
    score = Reranker.from_pretrained(tmp_path / "crossed", device="cpu").score
    for row in mined():
        right, *wrong = score([(row["query"], text) for text in (*row["pos"], *row["neg"])])
        assert not wrong or max(wrong) <= right
    assert sum(len(row["neg"]) for row in mined())


def test_the_same_seed_draws_the_same(sentvec):
    options = ("--documents", "pool.txt", "--draw", "random", "--relative-margin", 0, "--negatives", 2)
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        assert sentvec("pairs.jsonl", "-o", name, *options, "--seed", seed).code == 0
    assert mined("a") == mined("b") != mined("c")


def test_bad_rows_are_named_and_left_out_on_demand(sentvec):
    with Path("pairs.jsonl").open("a", encoding="utf-8") as file:
        file.write('\n{"query": "", "positive": "a"}\n{"query": 3, "positive": "a"}')
    ended = sentvec("pairs.jsonl", "-o", "mined.jsonl", "--relative-margin", 0)
    assert ended.code == 1 and not Path("mined.jsonl").exists()
    assert "2 of 8 rows cannot be used: line 7: column 'query' is empty; line 8: column 'query' is 3" in ended.err
    ended = sentvec("pairs.jsonl", "-o", "mined.jsonl", "--relative-margin", 0, "--skip-bad")
    assert ended.code == 0 and "2 rows left out: line 7" in ended.err


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("pairs.jsonl", "-o", "."), ". is a folder; give the file to write."),
        (("none.jsonl", "-o", "m"), "none.jsonl"),
        (("pool.txt", "-o", "m"), "pool holds texts"),
        (("pairs.jsonl", "-o", "m", "--negatives", 0), "negatives is 0"),
        (("pairs.jsonl", "-o", "m", "--first", 9, "--last", 3), "ranks are 9 to 3"),
        (("pairs.jsonl", "-o", "m", "--draw", "best"), "draw is 'best'. Known: top, random."),
        (("pairs.jsonl", "-o", "m", "--documents", "none.txt"), "none.txt"),
        (("pairs.jsonl", "-o", "m", "--documents", "empty.txt"), "there are no documents"),
    ],
)
def test_what_cannot_be(sentvec, options, message):
    Path("empty.txt").write_text("\n\n", encoding="utf-8")
    ended = sentvec(*options)
    assert ended.code == 1 and message in ended.err and not Path("m").exists()


def test_a_file_that_cannot_be_written_is_known_before_the_work(sentvec, monkeypatch):
    loaded = []
    monkeypatch.setattr("sentvec.cli.mine.open_model", lambda *given: loaded.append(given))
    ended = sentvec("pairs.jsonl", "-o", "none/mined.jsonl")
    assert ended.code == 1 and "none/mined.jsonl cannot be written (No such file or directory)" in ended.err
    assert loaded == []
