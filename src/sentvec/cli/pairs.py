"""A file of scored pairs of texts in; the pairs and their scores out. Errors name the line."""

from __future__ import annotations

import math
from pathlib import Path

from sentvec.errors import InvalidInput
from sentvec.evaluate.shapes import columns_of
from sentvec.evaluate.tables import SUFFIXES, read_table


def read_pairs(path: Path, *, labels: bool = False) -> tuple[list[tuple[str, str]], list[float]]:
    """Read pairs of texts with the score that people gave them, from what `sentvec evaluate` takes for such a file.

    Columns of other files than JSON lines are parted by tabs if the first line has one, else by commas.

    Args:
        path: the file.
        labels: scores have to lie between 0 and 1.

    Raises:
        InvalidInput: there is no such file, it is not UTF-8, it holds no scored pairs, or a row does not hold two
            texts and a number.
    """
    if not path.is_file():
        raise InvalidInput(f"{path} is no file; give one with two texts and a score in each row.")
    table = read_table(path, commas=(*SUFFIXES, path.suffix.lower()))
    columns = columns_of(table, graded=True)
    if isinstance(columns, str) or columns.value is None or len(columns.texts) != 2:
        why = columns if isinstance(columns, str) else f"it holds {columns.shape}"
        raise InvalidInput(
            f"{path} holds no scored pairs of texts ({why}). Rows are text, text, score, or the first one names the "
            "columns, such as sentence1, sentence2, score."
        )
    first, second = columns.texts
    pairs = [(table.text(row, first), table.text(row, second)) for row in table.rows]
    low, high = (0, 1) if labels else (-math.inf, math.inf)
    hint = "; say from which score on pairs are related (--related-from)"
    return pairs, [table.number(row, columns.value, low, high, hint) for row in table.rows]
