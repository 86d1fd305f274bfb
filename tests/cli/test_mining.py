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
    assert ended.err == "6 of 8 texts are kept\n"


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
    assert f"{sum(map(len, expected))} of 8 texts are in {len(expected)} groups" in ended.err
    lines = sentvec("cluster", "texts.txt", "--threshold", "0.9", "--least", 2).out.splitlines()
    assert lines[:2] == [f"group 1: {len(expected[0])} texts", f"  {TEXTS[expected[0][0]]}"]


@pytest.mark.parametrize("command", ["dedupe", "mine-paraphrases", "cluster"])
def test_bad_input_is_one_line(sentvec, command):
    ended = sentvec(command, "texts.txt", "--threshold", "95")
    assert ended.code == 1 and "threshold is 95" in ended.err and ended.err.count("\n") == 1
    ended = sentvec(command, "gone.txt")
    assert ended.code == 1 and "gone.txt does not exist" in ended.err
