"""The options of `sentvec search`: filters, words, both, reranking, what is like a passage; what cannot go together."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from tests.cli.running import inside

from sentvec.cli import index, search

ROWS = [
    {"text": "Cats sleep all day.", "year": 2019, "lang": "en"},
    {"text": "Dogs bark at night.", "year": 2021, "lang": "en"},
    {"text": "Owls hunt at night.", "year": 2024, "lang": "en"},
    {"text": "黑猫警长抓老鼠。", "year": 2024, "lang": "zh"},
]


class Longest:
    def score(self, pairs, *, progress=None):
        return np.array([len(document) for _, document in pairs], np.float32)


@pytest.fixture
def loaded(monkeypatch, fakes):
    names = []

    def open_model(name, device="auto", precision="float32", offline=False):
        names.append(name)
        return fakes.FakeModel(name)

    def open_reranker(name, device, *, offline):
        names.append(name)
        return Longest()

    monkeypatch.setattr(index, "open_model", open_model)
    monkeypatch.setattr(search, "open_model", open_model)
    monkeypatch.setattr(search, "open_reranker", open_reranker)
    return names


@pytest.fixture(scope="module")
def fakes():
    import importlib.util

    spec = importlib.util.spec_from_file_location("fake_model", Path(__file__).parents[1] / "search" / "fake_model.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def asked(monkeypatch, capsys, tmp_path, loaded):
    """Index the rows; then return a function that searches and gives (texts, error, code)."""
    monkeypatch.chdir(tmp_path)
    run = inside(monkeypatch, capsys)
    (tmp_path / "rows.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in ROWS))
    assert run("index", "rows.jsonl").code == 0
    loaded.clear()

    def ask(*arguments):
        ended = run("search", *arguments, "--json")
        return [json.loads(line)["text"].split()[0] for line in ended.out.splitlines()], ended.err, ended.code

    ask.run = run
    return ask


def test_a_filter(asked):
    assert set(asked("night", "--where", '{"year": {">": 2020}}')[0]) == {"Dogs", "Owls", "黑猫警长抓老鼠。"}
    assert asked("night", "--where", '{"year": {">": 2020}, "lang": "zh"}')[0] == ["黑猫警长抓老鼠。"]


def test_words_alone_need_no_model(asked, loaded):
    assert set(asked("night", "barking", "--words")[0]) == {"Dogs", "Owls"}
    assert asked("警长", "--words", "--where", '{"lang": "zh"}')[0] == ["黑猫警长抓老鼠。"]
    assert loaded == []
    ended = asked.run("search", "zebra", "--words")
    assert (ended.code, ended.out) == (0, "") and "holds nothing that answers." in ended.err
    ended = asked.run("search", "bark", "--words", "--where", '{"year": {">": "2020"}}')
    assert ended.out == "" and 'meets --where. Cells of CSV and TSV are texts: "2020", not 2020.' in ended.err
    assert "Dogs bark at night." in asked.run("search", "bark", "--words").out


def test_both_and_a_reranker(asked, loaded):
    assert set(asked("who barks at night", "--hybrid")[0][:2]) == {"Dogs", "Owls"}
    assert asked("night", "-k", 1, "--rerank", "judge")[0] != []
    assert loaded[-1] == "judge"


def test_like_a_passage(asked, loaded):
    ended = asked.run("search", "night", "--words", "--json")
    first, second = (json.loads(line)["id"] for line in ended.out.splitlines())
    found, _, code = asked("--like", first, "-k", 1)
    assert code == 0 and found == [json.loads(ended.out.splitlines()[1])["text"].split()[0]]
    assert second != first and loaded == []
    assert asked("--like", "zebra")[1:] == (
        "error: There is no passage 'zebra' in the collection; give the id of one.\n",
        1,
    )


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ((), "Give either a question or --like"),
        (("night", "--like", "x"), "Give either a question or --like"),
        (("--like", "x", "--hybrid"), "cannot be used with --like"),
        (("night", "--words", "--hybrid"), "--words ranks by words alone"),
        (("night", "--words", "--diversity", 0.5), "--words ranks by words alone"),
        (("night", "--where", "year > 2020"), "is no JSON"),
        (("night", "--where", "[" * 100_000), "is no JSON"),
        (("night", "--where", "[]"), "accepted: a dict"),
        (("night", "--where", '{"year": {"$gt": 5}}'), "operator '$gt' of 'year' is not known"),
        (("night", "--where", '{"year": {"$gt": 5}}', "--store", "rows.sv"), "operator '$gt' of 'year' is not known"),
        (("  ",), "The query is empty"),
        (("  ", "--words"), "The query is empty"),
        (("  ", "--store", "rows.sv"), "The query is empty"),
    ],
    ids=str,
)
def test_what_cannot_be_asked_is_told_before_a_model_is_loaded(asked, loaded, arguments, told):
    _, err, code = asked(*arguments)
    assert code == 1 and told in err and loaded == []
