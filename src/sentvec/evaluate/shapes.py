"""A table in; whether it holds scored pairs, labelled texts, or translations, and where, out."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

from sentvec.evaluate.tables import FIRST, LABEL, SCORE, SECOND, SUBSET, TEXT, Table, as_number

Shape = Literal["sts", "pairs", "labelled", "bitext"]
HEAD = 1000
"""Rows that are enough to see what a table holds."""
_LABEL_LENGTH = 40
_TEXT_LENGTH = 4  # letters, on average, below which a column holds signs or names of tags
_PER_LABEL = 20  # rows a label, at least, before a column without a name counts as labels


@dataclass(frozen=True)
class Columns:
    """Where things are in a table.

    Attributes:
        shape: sts, texts in pairs with scores; pairs, with 0 or 1; labelled, texts with classes; bitext, translations.
        texts: places of the texts.
        value: place of the score or label; None where there is none.
        subset: place of the name of the subset; None where there is none.
    """

    shape: Shape
    texts: tuple[int, ...]
    value: int | None = None
    subset: int | None = None


def columns_of(table: Table, *, graded: bool = False) -> Columns | str:
    """Return where things are, or in words why nothing can be evaluated on the table.

    Args:
        table: the table, or its first rows.
        graded: labels 0, 1 and 2 are known to be scores, and not those of inference.
    """
    if not table.rows:
        return "no rows"
    return _by_name(table, graded) if table.names else _by_content(table, graded)


def _by_name(table: Table, graded: bool) -> Columns | str:
    first, second = table.place(FIRST), table.place(SECOND)
    subset = table.place(SUBSET)
    if first is not None and second is not None:
        score = table.place((*SCORE, "label", "is_duplicate", "gold_label"))
        if score is None:
            return Columns("bitext", (first, second)) if table.names[first] != "premise" else "pairs without labels"
        values = _numbers(table, score)
        if not values:
            return "pairs of texts whose labels are no numbers"
        return _scored(values, (first, second), score, subset, graded or table.names[score] in SCORE)
    text, label = table.place(TEXT), table.place(LABEL)
    if text is not None and label is not None:
        return Columns("labelled", (text,), label)
    return f"columns {', '.join(table.names[:6])} name no texts with scores or labels"


def _by_content(table: Table, graded: bool) -> Columns | str:
    rows = table.rows[:HEAD]
    widths = [len(row.cells) for row in rows]
    width = max(set(widths), key=lambda one: (widths.count(one), one))
    if width == 2:
        labels = [str(row.cells[1]) for row in rows if len(row.cells) == 2]
        few = len(set(labels)) * _PER_LABEL <= len(rows) and max(map(len, labels)) <= _LABEL_LENGTH
        long = sum(len(str(row.cells[0])) for row in rows) >= _TEXT_LENGTH * len(rows)
        return Columns("labelled", (0,), 1) if few and long else "two columns, but not a text and a label"
    if width < 2:
        return "one column"
    values = _numbers(table, width - 1)
    texts = (width - 3, width - 2)
    if not values or any(
        _mostly(as_number(row.cells[i]) is not None for row in rows if i < len(row.cells)) for i in texts
    ):
        return f"{width} columns without names, of which the last three are not text, text and number"
    return _scored(values, texts, width - 1, None, graded)


def _scored(values: set[float], texts: tuple[int, int], value: int, subset: int | None, graded: bool) -> Columns | str:
    if values <= {0.0, 1.0}:
        return Columns("pairs", texts, value, subset)
    if values <= {0.0, 1.0, 2.0} and not graded:
        return "labels 0, 1 and 2, as those of inference: neither scores nor yes and no"
    return Columns("sts", texts, value, subset)


def _numbers(table: Table, column: int) -> set[float]:
    """Return the different numbers of a column; none where most of its cells are no numbers."""
    cells = [as_number(row.cells[column]) if column < len(row.cells) else None for row in table.rows]
    return {cell for cell in cells if cell is not None} if _mostly(cell is not None for cell in cells) else set()


def _mostly(answers: Iterable[bool]) -> bool:
    known: Sequence[bool] = list(answers)
    return 2 * sum(known) > len(known)
