"""`sentvec similarity`: texts in, a table or JSON out, with every letter as it was given."""

from __future__ import annotations

import json

import numpy as np
import pytest
from tests.builders import add_modules, tiny_bert, write_json
from tests.cli.running import inside

from sentvec import Embedder


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    folder = add_modules(tiny_bert(tmp_path_factory.mktemp("m") / "model"), "Pooling")
    write_json(folder / "config_sentence_transformers.json", {"similarity_fn_name": "dot"})
    return folder


@pytest.fixture
def sentvec(monkeypatch, capsys, tmp_path, model):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "120")
    run = inside(monkeypatch, capsys)
    return lambda *arguments, **options: run("similarity", *arguments, "-m", model, "--device", "cpu", **options)


def test_json(sentvec, model):
    ended = sentvec("the cat", "你好", "--json")
    found = json.loads(ended.out)
    embedder = Embedder.from_pretrained(model, device="cpu")
    vectors = embedder.encode(["the cat", "你好"])
    assert found["texts"] == ["the cat", "你好"]
    assert found["kind"] == "dot"
    assert np.abs(np.array(found["similarity"]) - vectors @ vectors.T).max() < 1e-4
    assert "你好" in ended.out
    assert ended.err == ""


def test_a_table(sentvec):
    ended = sentvec("the cat", "dog")
    assert ended.code == 0
    lines = ended.out.splitlines()
    assert lines[0].startswith("dot similarity")
    assert "the cat" in lines[2]
    assert len(lines) == 4


@pytest.mark.parametrize("text", ["[bold]loud[/bold]", "[/x]", "[link=http://x]y", ":smile:", "back\\[slash"])
def test_markup_is_shown_as_it_is(sentvec, text):
    ended = sentvec(text, "[red]dog")
    assert ended.code == 0
    assert text in ended.out
    assert "[red]dog" in ended.out


def test_texts_do_not_steer_the_terminal(sentvec, tmp_path):
    (tmp_path / "t.txt").write_text("\x1b[2Jthe cat\ndog\x07\n")
    ended = sentvec("-f", "t.txt")
    assert "\\x1b[2Jthe cat" in ended.out
    assert not {"\x1b", "\x07"} & set(ended.out)


def test_a_file_and_standard_input(sentvec, tmp_path):
    (tmp_path / "t.txt").write_text("the cat\ndog\n")
    assert json.loads(sentvec("-f", "t.txt", "--json").out)["texts"] == ["the cat", "dog"]
    assert json.loads(sentvec("mat", "-f", "t.txt", "--json").out)["texts"] == ["mat", "the cat", "dog"]
    assert json.loads(sentvec("-f", "-", "--json", stdin=b"a\nb\n").out)["texts"] == ["a", "b"]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "compares at least two texts, but 0 came"),
        (["one"], "compares at least two texts, but 1 came"),
        (["-f", "gone.txt"], "gone.txt does not exist"),
        (["-f", "."], ". is a folder"),
        (["a", "\udcff"], "text 1 is not valid Unicode"),
        (list("abc") * 20, "a table of 60 texts is too large to read; use --json"),
    ],
)
def test_arguments_that_cannot_be(sentvec, arguments, said):
    ended = sentvec(*arguments)
    assert (ended.code, ended.out) == (1, "")
    assert ended.err.startswith("error: ")
    assert said in ended.err


def test_many_texts_as_json(sentvec):
    assert np.shape(json.loads(sentvec(*"abc" * 20, "--json").out)["similarity"]) == (60, 60)


def test_one_text_is_noticed_before_the_model_is_loaded(sentvec, monkeypatch):
    monkeypatch.setattr("sentvec.cli.similarity.open_model", lambda *_, **__: pytest.fail("loaded"))
    assert sentvec("one").code == 1
    assert sentvec(*"abc" * 20).code == 1
