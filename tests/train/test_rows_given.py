"""Rows to learn from that come from memory, and what is wrong in rows wherever they come from."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import ClassVar

import pytest

from sentvec.errors import InvalidInput
from sentvec.train.batches import Dataset, Example
from sentvec.train.read import read_dataset

Row = Mapping[str, object]


def text(path: Path, content: str) -> Path:
    path.write_text(content, encoding="utf-8")
    return path


def said(found: Dataset) -> str:
    return " ".join(found.notes)


def test_anything_that_gives_mappings_is_read_once_through():
    def rows() -> Iterator[Row]:
        yield from ({"query": f"q{i}", "positive": f"p{i}"} for i in range(3))

    assert len(read_dataset(rows())) == 3


def test_a_set_like_those_of_hugging_face_tells_the_names_of_its_classes():
    class Rows(list[Row]):
        features: ClassVar = {
            "text": SimpleNamespace(dtype="string"),
            "label": SimpleNamespace(names=["neg", "pos", "mixed"]),
        }

    found = read_dataset(Rows([{"text": "a", "label": 1}, {"text": "b", "label": 0}]))
    assert found.labels == ("neg", "pos", "mixed")
    assert [one.value for one in found.examples] == [1, 0]
    with pytest.raises(InvalidInput, match="row 1: column 'label' is -1, which names no class"):
        read_dataset(Rows([{"text": "a", "label": -1}, {"text": "b", "label": 0}]))


def test_names_of_classes_that_a_set_tells_say_which_pairs_belong_together():
    class Rows(list[Row]):
        features: ClassVar = {"label": SimpleNamespace(names=["entailment", "not_entailment"])}

    found = read_dataset(
        Rows([{"query": "a", "positive": "b", "label": 0}, {"query": "c", "positive": "d", "label": 1}])
    )
    assert found.labels == ("not_entailment", "entailment")
    assert [one.value for one in found.examples] == [1, 0]


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ([{}], "no row has a column"),
        ({"train": [], "test": []}, r"2 sets \(train, test\).*as data\['train'\]"),
        (7, "7 is no file and gives no rows"),
        ([], "the rows given holds no rows"),
        ([("a", "b")], "row 1: .* is neither a mapping"),
        ("no/such/file.csv", "does not exist"),
    ],
)
def test_what_cannot_be_read_is_refused(source, message):
    with pytest.raises(InvalidInput, match=message):
        read_dataset(source)


# what is wrong in rows


def test_rows_that_cannot_be_used_are_shown_with_their_lines(tmp_path):
    lines = [
        '{"query": "a", "positive": "b"}',
        "",
        '{"query": "", "positive": "b"}',
        '{"query": 3, "positive": "c"}',
        "[]",
    ]
    path = text(tmp_path / "train.jsonl", "\n".join(lines))
    with pytest.raises(InvalidInput) as error:
        read_dataset(path)
    message = str(error.value)
    assert "3 of 4 rows cannot be used" in message
    assert "line 3: column 'query' is empty" in message
    assert "line 4: column 'query' is 3, which is not a text" in message
    assert "line 5: [] is no JSON object" in message
    assert "--skip-bad" in message
    found = read_dataset(path, skip_bad=True)
    assert [one.texts for one in found.examples] == [("a", "b")]
    assert "3 rows left out" in said(found)


def test_no_more_than_ten_rows_are_shown(tmp_path):
    path = text(tmp_path / "train.csv", "query,positive\na,b\n" + "c,\n" * 25)
    with pytest.raises(InvalidInput, match=r"25 of 26 rows .*lines 3, 4, 5, 6, 7, 8, 9, 10, 11, 12: .*; and 15 more"):
        read_dataset(path)


def test_rows_with_too_many_or_too_few_cells_are_bad(tmp_path):
    path = text(tmp_path / "train.csv", "query,positive\na,b\nc,d,e\nf\n")
    with pytest.raises(
        InvalidInput, match="line 3: it has 3 cells, the first row has 2; line 4: column 'positive' is missing"
    ):
        read_dataset(path)


def test_numbers_of_scores_and_documents_must_agree():
    with pytest.raises(InvalidInput, match="row 1: 1 score for 2 documents"):
        read_dataset([{"query": "a", "documents": ["b", "c"], "scores": [1]}])
    rows = [
        {"text": "a", "vector": [1.0, 2.0]},
        {"text": "b", "vector": [1.0]},
        {"text": "c", "vector": [1.0, float("nan")]},
    ]
    with pytest.raises(
        InvalidInput, match="row 2: column 'vector' has 1 number, and 2 in the rows before; row 3: .* not finite"
    ):
        read_dataset(rows)


def test_vectors_are_kept_as_one_matrix_and_come_as_examples():
    found = read_dataset([{"text": str(i), "vector": [float(i), 0.5]} for i in range(4)])
    assert [one.value for one in found.examples] == [(float(i), 0.5) for i in range(4)]
    assert [one.texts for one in found.examples[1:3]] == [("1",), ("2",)]
    assert found.examples[-1] == Example(("3",), (3.0, 0.5))


def test_half_characters_are_no_text():
    with pytest.raises(InvalidInput, match="half of a surrogate pair"):
        read_dataset([{"query": "\ud800", "positive": "b"}])


def test_nothing_left_is_an_error():
    with pytest.raises(InvalidInput, match="no row that can be used"):
        read_dataset([{"query": "", "positive": "b"}], skip_bad=True)


def test_a_column_that_no_row_has_is_named(tmp_path):
    with pytest.raises(InvalidInput, match="pairs need positive, and column 'positive' is empty in every row"):
        read_dataset(text(tmp_path / "data.csv", "query,positive\na\n"), kind="pairs")
