"""A file of scored pairs of texts in; the pairs and their scores out. Errors name the line."""

from __future__ import annotations

import csv
import math
from pathlib import Path

from sentvec.errors import InvalidInput

# what published sets call the two texts and the score
_COLUMNS = (
    ("sentence1", "sentence_a", "text1", "a"),
    ("sentence2", "sentence_b", "text2", "b"),
    ("score", "relatedness_score", "similarity_score", "similarity", "label"),
)


def read_pairs(path: Path) -> tuple[list[tuple[str, str]], list[float]]:
    """Read pairs of texts with the score that people gave them.

    Columns are parted by tabs if the first line has one, else by commas. A first line with known names says where
    the texts and the score are; without one they are the first three columns, as in the STS benchmark.

    Raises:
        InvalidInput: there is no such file, it is not UTF-8, or a row does not hold two texts and a number.
    """
    if not path.is_file():
        raise InvalidInput(f"{path} is no file; give one with two texts and a score in each row.")
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            lines = iter(file)
            first = next(lines, "")
            tabs = "\t" in first
            rows = (
                csv.reader([first, *lines], delimiter="\t", quoting=csv.QUOTE_NONE)  # such sets do not quote
                if tabs
                else csv.reader([first, *lines])
            )
            return _read(list(rows), path)
    except UnicodeDecodeError as error:
        raise InvalidInput(f"{path}: not UTF-8 ({error.reason} at byte {error.start}).") from None
    except csv.Error as error:
        raise InvalidInput(f"{path}: {error}.") from None


def _read(rows: list[list[str]], path: Path) -> tuple[list[tuple[str, str]], list[float]]:
    header = [cell.strip().lower() for cell in rows[0]] if rows else []
    named = [next((header.index(name) for name in names if name in header), None) for names in _COLUMNS]
    places = [0, 1, 2] if None in named else [place for place in named if place is not None]
    pairs, scores = [], []
    for number, row in enumerate(rows, start=1):
        if not row or (number == 1 and None not in named):
            continue
        score = _number(row[places[2]]) if len(row) > max(places) else None
        if score is None:
            raise InvalidInput(
                f"{path}, row {number}: no two texts and a number. Rows are text, text, score, or the first one names "
                f"the columns: {'; '.join(', '.join(names) for names in _COLUMNS)}."
            )
        pairs.append((row[places[0]], row[places[1]]))
        scores.append(score)
    return pairs, scores


def _number(cell: str) -> float | None:
    try:
        value = float(cell)
    except ValueError:
        return None
    return value if math.isfinite(value) else None
