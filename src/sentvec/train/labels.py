"""A column of labels in; a number for each label, and the names that belong to the numbers, out."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sentvec.errors import InvalidInput
from sentvec.evaluate.tables import shortly
from sentvec.train.sources import Columns

INFERENCE = ("contradiction", "entailment", "neutral")
"""Classes of natural language inference in the order of their numbers."""

# names of two classes of pairs: apart, and together
OPPOSITES = (
    *(("0", "1"), ("false", "true"), ("no", "yes"), ("not_entailment", "entailment"), ("negative", "positive")),
    *(("irrelevant", "relevant"), ("different", "same"), ("not_duplicate", "duplicate")),
    ("not_equivalent", "equivalent"),
)
_NO_LABEL = frozenset({"", "-", "-1"})
_SHOWN = 8


@dataclass(frozen=True)
class Labels:
    """Numbers of labels.

    Attributes:
        column: the column's name.
        numbers: of each label, as `_plain` writes it.
        names: of the classes, in the order of their numbers.
        positive: of pairs, the number of those that belong together; None where that is not known.
        notes: what a user should know, a sentence each.
    """

    column: str
    numbers: Mapping[str, int]
    names: tuple[str, ...]
    positive: int | None = None
    notes: tuple[str, ...] = ()

    def number(self, cell: Any) -> int | None:
        """Return a label's number; None where it names no class."""
        return self.numbers.get(_plain(cell))

    def refusal(self, cell: Any) -> str:
        """Say why a cell names no class."""
        if cell is None or _plain(cell) in _NO_LABEL:
            return f"column {self.column!r} is {shortly(cell)}, which names no class"
        return f"column {self.column!r} is {shortly(cell)}, which is not known (known: {_few(self.names)})"


def find_labels(table: Columns, column: str, given: Sequence[str] | None, *, pairs: bool) -> Labels:
    """Number the classes of a column.

    Args:
        table: its cells.
        column: its name.
        given: names in the order of their numbers, if they are known; others are unknown then.
        pairs: are these labels of pairs, which belong together, or do not, or follow from each other?

    Raises:
        InvalidInput: names are given twice, or the column names no class at all.
    """
    counts = Counter(map(_plain, table.cells[column]))
    seen = [label for label in counts if label not in _NO_LABEL]
    told = table.classes.get(column)
    if given is not None:
        if len(set(given)) != len(given):
            raise InvalidInput(f"labels has a name twice: {', '.join(given)}.")
        numbers, names = {_plain(name): number for number, name in enumerate(given)}, tuple(given)
    elif not seen:
        raise InvalidInput(f"{table.origin}: column {column!r} names no class in any row.")
    elif told is not None and all(map(_is_whole, seen)):  # numbers of names that the source tells
        # GLUE has sets in which 0 says that two texts belong together
        names = (_opposites(told) if pairs else None) or told
        numbers = {str(at): at if names is told else names.index(name.casefold()) for at, name in enumerate(told)}
    else:
        names = _names(counts, seen, pairs)
        folded = names in (INFERENCE, *OPPOSITES)
        by_name = {name: number for number, name in enumerate(names)}
        numbers = {label: by_name[key] for label in seen if (key := label.casefold() if folded else label) in by_name}
    return _labels(column, numbers, names, pairs)


def _names(counts: Mapping[str, int], seen: Sequence[str], pairs: bool) -> tuple[str, ...]:
    """Return the classes that are meant by labels, some of which may be mistakes."""
    if pairs and len({label.casefold() for label in seen}.intersection(INFERENCE)) > 1:
        return INFERENCE
    whole = [label for label in seen if _is_whole(label)]
    if 2 * sum(counts[label] for label in whole) > sum(counts[label] for label in seen):
        # a name among numbers is a mistake
        return OPPOSITES[0] if pairs and set(whole) <= set(OPPOSITES[0]) else tuple(sorted(whole, key=int))
    return (_opposites(seen) if pairs else None) or tuple(sorted(seen))


def _opposites(seen: Sequence[str]) -> tuple[str, ...] | None:
    """Return names of which the second says that a pair belongs together, if these are such."""
    return next((names for names in OPPOSITES if {label.casefold() for label in seen} == set(names)), None)


def _labels(column: str, numbers: Mapping[str, int], names: tuple[str, ...], pairs: bool) -> Labels:
    notes = []
    moved = all(map(_is_whole, names)) and names != tuple(map(str, range(len(names))))
    if moved:
        notes.append(f"Labels in {column!r} are numbered anew, from 0: {_few(names)}.")
    if len(names) == 1:
        notes.append(f"All rows have the same label in {column!r}, {names[0]!r}.")
    positive = None
    if pairs:
        lower = tuple(name.casefold() for name in names)
        together = "entailment" if "entailment" in lower else lower[1] if lower in OPPOSITES else None
        positive = None if together is None else lower.index(together)
        if positive is None and len(names) == 2:
            notes.append(
                f"Of the labels in {column!r}, {names[0]!r} is taken as 0 (apart), {names[1]!r} as 1 (together)."
            )
            positive = 1
    return Labels(column, numbers, names, positive, tuple(notes))


def _few(names: Sequence[str]) -> str:
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return ", ".join(names[:_SHOWN]) + more


def _plain(cell: Any) -> str:
    """Return a cell as the name of a class; nothing where it can be none.

    >>> _plain(" x "), _plain(3), _plain("3.0"), _plain(2.0), _plain(True), _plain(None), _plain([1])
    ('x', '3', '3', '2', 'true', '', '')
    """
    if isinstance(cell, bool):
        return str(cell).lower()
    if isinstance(cell, str):
        text = cell.strip()
        return text.removesuffix(".0") if _is_whole(text.removesuffix(".0")) else text
    if isinstance(cell, int):
        return str(cell)
    return str(int(cell)) if isinstance(cell, float) and cell.is_integer() else ""


def _is_whole(label: str) -> bool:
    return label.isascii() and label.isdecimal()
