"""Reading files and rows to learn from: what is recognised, what is said of it, and what is refused."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import pytest

from sentvec.errors import InvalidInput
from sentvec.train.batches import Example
from sentvec.train.read import read_dataset


def jsonl(path: Path, rows: list[Mapping[str, object]]) -> Path:
    path.write_text("".join(f"{json.dumps(row, ensure_ascii=False)}\n" for row in rows), encoding="utf-8")
    return path


def test_a_header_says_which_column_is_what_in_any_order(tmp_path):
    path = tmp_path / "train.csv"
    path.write_text('answer,question\n"A city, in France","What is Paris?"\nA fruit,What is a pear?\n')
    found = read_dataset(path)
    assert (found.name, found.kind) == ("train", "pairs")
    assert list(found.examples) == [
        Example(("What is Paris?", "A city, in France")),
        Example(("What is a pear?", "A fruit")),
    ]


def test_scores_from_0_to_5_are_put_between_0_and_1_and_it_is_said(tmp_path):
    rows = [{"sentence1": "a", "sentence2": "b", "score": 5}, {"sentence1": "c", "sentence2": "d", "score": 1.0}]
    found = read_dataset(jsonl(tmp_path / "sts.jsonl", rows))
    assert found.kind == "scored"
    assert [one.value for one in found.examples] == [1.0, 0.2]
    assert any("from 0 to 5" in note for note in found.notes)


def test_rows_that_cannot_be_used_are_shown_with_their_lines(tmp_path):
    path = tmp_path / "train.jsonl"
    path.write_text(
        '{"query": "a", "positive": "b"}\n\n{"query": "", "positive": "b"}\n{"query": 3, "positive": "c"}\n[]\n'
    )
    with pytest.raises(InvalidInput) as error:
        read_dataset(path)
    message = str(error.value)
    assert "3 of 4 rows cannot be used" in message
    assert "line 3: column 'query' is empty" in message
    assert "line 4: column 'query' is 3, which is not a text" in message
    assert "line 5: [] is no JSON object" in message
    found = read_dataset(path, skip_bad=True)
    assert [one.texts for one in found.examples] == [("a", "b")]
    assert any("3 rows left out" in note for note in found.notes)
