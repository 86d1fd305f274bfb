"""What a table holds is seen by its columns' names, or without names by what is in them."""

from __future__ import annotations

from pathlib import Path

import pytest

from sentvec.evaluate.shapes import Columns, columns_of
from sentvec.evaluate.tables import Row, Table


def table(names, *rows):
    return Table(Path("a.csv"), names, tuple(Row(i, row) for i, row in enumerate(rows, 1)))


NAMED = [
    (("sentence1", "sentence2", "score"), ("a", "b", "2.5"), Columns("sts", (0, 1), 2)),
    (("id", "score", "genre", "sentence_a", "sentence_b"), ("1", "4", "n", "a", "b"), Columns("sts", (3, 4), 1, 2)),
    (("question1", "question2", "is_duplicate"), ("a", "b", "1"), Columns("pairs", (0, 1), 2)),
    (("source", "target"), ("a", "b"), Columns("bitext", (0, 1))),
    (("text", "label"), ("a", "x"), Columns("labelled", (0,), 1)),
    (("category", "text"), ("x", "a"), Columns("labelled", (1,), 0)),
    (("premise", "hypothesis"), ("a", "b"), "pairs without labels"),
    (("premise", "hypothesis", "label"), ("a", "b", "neutral"), "pairs of texts whose labels are no numbers"),
    (("sentence1", "sentence2", "label"), ("a", "b", "2"), "labels 0, 1 and 2, as those of inference"),
    (("text", "more"), ("a", "b"), "columns text, more name no texts with scores or labels"),
]


@pytest.mark.parametrize(("names", "row", "wanted"), NAMED)
def test_by_name(names, row, wanted):
    found = columns_of(table(names, row))
    assert found == wanted if isinstance(wanted, Columns) else found.startswith(wanted)


def test_by_content():
    scored = [(f"one {i}", f"two {i}", str(i % 7 / 2)) for i in range(50)]
    assert columns_of(table((), *scored)) == Columns("sts", (0, 1), 2)
    assert columns_of(table((), *((str(i), *row) for i, row in enumerate(scored)))) == Columns("sts", (1, 2), 3)
    asked = [(a, b, str(i % 2)) for i, (a, b, _) in enumerate(scored)]
    assert columns_of(table((), *asked)) == Columns("pairs", (0, 1), 2)
    labelled = [(f"some text {i}", f"c{i % 2}") for i in range(50)]
    assert columns_of(table((), *labelled)) == Columns("labelled", (0,), 1)


@pytest.mark.parametrize(
    ("rows", "why"),
    [
        ([], "no rows"),
        ([("a line",)] * 9, "one column"),
        ([(f"a text {i}", f"another {i}") for i in range(50)], "two columns, but not a text and a label"),
        ([("O", "x")] * 50, "two columns, but not a text and a label"),
        ([("a", "b", "neutral")] * 9, "3 columns without names, of which the last three are not text, text and number"),
        ([("1", "2", "3")] * 9, "3 columns without names"),
    ],
)
def test_what_cannot_be_evaluated_says_why(rows, why):
    assert columns_of(table((), *rows)).startswith(why)


def test_one_broken_cell_does_not_change_what_a_table_is():
    rows = [("a", "b", "3"), ("a", "b", "x"), ("a", "b", "1.5"), ("a", "b"), ("c", "d", "0")]
    assert columns_of(table(("sentence1", "sentence2", "score"), *rows)) == Columns("sts", (0, 1), 2)
