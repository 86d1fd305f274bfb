"""`sentvec dedupe`, `mine-paraphrases` and `cluster`: what they print is what the vectors say."""

from __future__ import annotations

import json

import numpy as np
import pytest
from tests.builders import add_modules, tiny_bert
from tests.cli.running import inside

from sentvec import Embedder
from sentvec.index.mining import Novelty, communities, near_pairs

TEXTS = ["the cat sat", "the cats sat", "the cat sat", "dog 12", "dogs 12", "unaffable", "the cat sat", "你好"]


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return add_modules(tiny_bert(tmp_path_factory.mktemp("m") / "model"), "Pooling")


@pytest.fixture(scope="module")
def vectors(model):
    return Embedder.from_pretrained(model, device="cpu").encode(TEXTS)


@pytest.fixture
def sentvec(monkeypatch, capsys, tmp_path, model):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "texts.txt").write_text("\n".join(TEXTS), encoding="utf-8")
    run = inside(monkeypatch, capsys)
    return lambda *arguments, **options: run(*arguments, "-m", model, "--device", "cpu", **options)


def objects(ended):
    assert ended.code == 0
    return [json.loads(line) for line in ended.out.splitlines()]


def test_dedupe_prints_what_is_new(sentvec):
    ended = sentvec("dedupe", "texts.txt", "--threshold", "0.9999")
    assert ended.out.splitlines() == ["the cat sat", "the cats sat", "dog 12", "dogs 12", "unaffable", "你好"]
    assert ended.err == "kept 6 of 8 texts\n"


def test_dedupe_says_what_is_repeated(sentvec, vectors):
    like, nearest = Novelty(32, 0.8).look(vectors)
    found = objects(sentvec("dedupe", "texts.txt", "--threshold", "0.8", "--json"))
    assert [row["text"] for row in found] == TEXTS
    assert [row["row"] for row in found] == list(range(8))
    assert [-1 if row["repeats"] is None else row["repeats"] for row in found] == like.tolist()
    np.testing.assert_allclose([row["cosine"] for row in found], nearest, atol=1e-5)


def test_dedupe_reads_standard_input(sentvec):
    ended = sentvec("dedupe", "--threshold", "0.9999", stdin=b"a\nb\na\n")
    assert (ended.code, ended.out) == (0, "a\nb\n")


def test_mined_pairs(sentvec, vectors):
    expected = near_pairs(vectors, threshold=0.5, most=5)
    found = objects(sentvec("mine-paraphrases", "texts.txt", "--most", 5, "--json"))
    assert [row["rows"] for row in found] == np.stack([expected.left, expected.right], 1).tolist()
    assert [row["texts"] for row in found] == [[TEXTS[i] for i in row["rows"]] for row in found]
    lines = sentvec("mine-paraphrases", "texts.txt", "--most", 5).out.splitlines()
    assert lines[0] == "1.0000\tthe cat sat\tthe cat sat" and len(lines) == 5


def test_groups(sentvec, vectors):
    expected = [group.tolist() for group in communities(vectors, threshold=0.9, least=2)]
    assert expected
    ended = sentvec("cluster", "texts.txt", "--threshold", "0.9", "--least", 2, "--json")
    assert [row["rows"] for row in objects(ended)] == expected
    assert f"{sum(map(len, expected))} of 8 texts in {len(expected)} group" in ended.err
    lines = sentvec("cluster", "texts.txt", "--threshold", "0.9", "--least", 2).out.splitlines()
    assert lines[:2] == [f"group 1: {len(expected[0])} texts", f"  {TEXTS[expected[0][0]]}"]


def test_one_and_none_are_said_as_such(sentvec, tmp_path):
    (tmp_path / "one.txt").write_text("the cat sat\n", encoding="utf-8")
    ended = sentvec("cluster", "one.txt", "--least", 1)
    assert ended.out == "group 1: 1 text\n  the cat sat\n" and ended.err == "1 of 1 text in 1 group\n"
    assert sentvec("dedupe", "one.txt").err == "kept 1 of 1 text\n"
    ended = sentvec("cluster", "texts.txt")
    assert ended.err.startswith("0 of 8 texts in 0 groups; --least 10 is the fewest texts of a group, --threshold 0.75")
    ended = sentvec("mine-paraphrases", "one.txt")
    assert ended.err == "0 pairs among 1 text; --threshold 0.5 is the least cosine of a pair\n"


def test_equal_texts_are_found_at_a_cosine_of_one(sentvec):
    assert sentvec("dedupe", "texts.txt", "--threshold", 1).out.splitlines().count("the cat sat") == 1
    found = objects(sentvec("mine-paraphrases", "texts.txt", "--threshold", 1, "--json"))
    assert [row["rows"] for row in found] == [[0, 2], [0, 6], [2, 6]]
    (group,) = objects(sentvec("cluster", "texts.txt", "--threshold", 1, "--least", 2, "--json"))
    assert group["rows"] == [0, 2, 6]


def test_every_text_is_one_line_and_a_file_gets_its_letters(sentvec, tmp_path):
    texts = ["the\ncat", "dog\t12", "\u200f\u4f60\u597d"]
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps({"text": text}) + "\n" for text in texts))
    assert sentvec("dedupe", "rows.jsonl", "--threshold", 1).out == "the cat\ndog\t12\n\u200f\u4f60\u597d\n"
    lines = sentvec("mine-paraphrases", "rows.jsonl", "--threshold", -1).out.splitlines()
    assert len(lines) == 3 and {line.count("\t") for line in lines} == {2} and "the\\ncat" in "".join(lines)
    assert len(sentvec("cluster", "rows.jsonl", "--least", 1, "--threshold", -1).out.splitlines()) == 4


@pytest.mark.parametrize("command", ["dedupe", "mine-paraphrases", "cluster"])
def test_bad_input_is_one_line(sentvec, command):
    ended = sentvec(command, "texts.txt", "--threshold", "95")
    assert ended.code == 1 and "threshold is 95" in ended.err and ended.err.count("\n") == 1
    ended = sentvec(command, "gone.txt", "--threshold", "nan")  # before anything is read
    assert ended.code == 1 and "threshold is nan" in ended.err
    ended = sentvec(command, "gone.txt")
    assert ended.code == 1 and "gone.txt does not exist" in ended.err
