"""Columns and what they are in; what an example is, which columns it takes, and what was open to choose, out."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from sentvec.errors import InvalidInput
from sentvec.evaluate.tables import as_number
from sentvec.train.batches import Kind
from sentvec.train.roles import Role, Roles
from sentvec.train.sources import Columns

MEANINGS: Mapping[Kind, tuple[tuple[Role, ...], ...]] = {
    "pairs": (("query", "positive"),),
    "tuples": (("query", "positive", "negative"),),
    "scored": (("query", "positive", "score"),),
    "labelled_pairs": (("query", "positive", "label"),),
    "classes": (("text", "label"), ("query", "positive", "label")),
    "lists": (("query", "documents", "scores"),),
    "texts": (("text",), ("query", "positive")),
    "taught_scores": (
        ("query", "positive", "negative", "teacher"),
        ("query", "positive", "negative", "positive_scores", "negative_scores"),
        ("query", "documents", "teacher"),
        ("query", "positive", "teacher"),
    ),
    "taught_vectors": (("text", "vector"),),
}
"""Roles that each kind takes: the usual ones, then others that will do."""

_SHARED: tuple[Role, ...] = ("score", "label", "scores")
_TWO: tuple[Role, ...] = ("query", "positive")
_TEXTS: frozenset[Role] = frozenset({"query", "positive", "negative", "documents", "text"})
_CLASSES_OF_PAIRS = {-1.0, 0.0, 1.0, 2.0}  # apart and together, or the three of inference; -1 where nobody said


@dataclass(frozen=True)
class Choice:
    """What examples are.

    Attributes:
        kind: what an example is.
        used: columns by role.
        notes: what a user should know of the choice, a sentence each.
    """

    kind: Kind
    used: Mapping[Role, tuple[str, ...]]
    notes: tuple[str, ...]


def choose(roles: Roles, table: Columns, kind: Kind | None) -> Choice:
    """Find out what examples are, by the columns that are there and what is in them.

    Args:
        roles: what the columns are by their names.
        table: their cells.
        kind: what examples are by the user's word; None leaves it to the columns.

    Raises:
        InvalidInput: there are not the columns that a kind needs.
    """
    found = _settled(roles, table)
    notes = [
        f"{left!r} could be the {role} as well as {chosen!r}, which was taken; say it with "
        f'columns={{"{role}": "{left}"}} (--column {role}={left}).'
        for role, chosen, left in roles.rivals
        if chosen in found.get(role, ()) and left in table.cells and _filled(table.cells[left])
    ]
    if kind is None:
        kind = _kind(found, table, notes)
    elif kind == "scored" and "score" not in found and "label" in found:
        found["score"] = found["label"]
    elif kind == "labelled_pairs" and "label" not in found and "score" in found:
        found["label"] = found["score"]
    elif kind == "taught_vectors" and "vector" not in found and "score" in found:
        found["vector"] = found["score"]  # a regression: a vector of one number
    elif kind == "taught_scores" and "teacher" not in found and ("scores" in found or "score" in found):
        found["teacher"] = found.get("scores") or found["score"]
    elif kind == "texts" and _has(found, ("query", "positive")):
        found.pop("text", None)
    needed = next((row for row in MEANINGS[kind] if _has(found, row)), None)
    if needed is None:
        lacks = [role for role in MEANINGS[kind][0] if role not in found]
        void = [name for role in lacks for name in roles.columns.get(role, ())]
        if void:
            what = "holds no list" if _filled(table.cells[void[0]]) else "is empty in every row"
            raise InvalidInput(f"{table.origin}: {kind} need {lacks[0]}, and column {void[0]!r} {what}.")
        raise InvalidInput(
            f"{table.origin}: {kind} need {', '.join(MEANINGS[kind][0])}, and no column is known to be the "
            f"{' or the '.join(lacks)}; there are {', '.join(map(repr, table.names))}. Say which it is, as "
            f'columns={{"{lacks[0]}": "..."}} (--column {lacks[0]}=...), or pass another kind (--kind).'
        )
    used = {role: found[role] for role in needed}
    if kind == "pairs" and "label" in found:
        used["label"] = found["label"]
    return Choice(kind, used, tuple(notes))


def _settled(roles: Roles, table: Columns) -> dict[Role, tuple[str, ...]]:
    """Tell apart by their cells the roles that share names."""
    found: dict[Role, tuple[str, ...]] = {}
    for role, names in roles.columns.items():
        # some sets carry columns of nulls; a column of empty texts is a mistake, but one of empty labels is none at all
        filled = tuple(name for name in names if _filled(table.cells[name], blank=role in _TEXTS))
        if filled:
            found[role] = filled
    _part_lists(found, table)
    _part_texts(found, table)
    return found


def _part_lists(found: dict[Role, tuple[str, ...]], table: Columns) -> None:
    """Make of a `label` or `score` that is a list what it is beside the other columns."""
    lists = [found[role] for role in _SHARED if role in found and _is_list(table.cells[found[role][0]])]
    for role in _SHARED:
        if role == "scores" or found.get(role) in lists:
            found.pop(role, None)
    if not lists:
        return
    if "documents" in found:
        found["scores"] = lists[0]
    elif "negative" in found:
        found.setdefault("teacher", lists[0])
    elif not _has(found, ("query", "positive")):
        found.setdefault("vector", lists[0])


def _part_texts(found: dict[Role, tuple[str, ...]], table: Columns) -> None:
    """Make a `text` the first of two where there is a second, and a text that stands alone a `text`."""
    if "positive" in found:
        alone = found.pop("text", None)
        if "query" not in found and alone is not None:
            found["query"] = alone
    elif _has(found, ("text", "query")):
        text, query = found["text"][0], found["query"][0]
        raise InvalidInput(
            f"{table.origin}: {text!r} may belong to {query!r}, or be meant without it. Say it, as "
            f'columns={{"positive": "{text}"}} (--column "positive={text}"), or give rows without the other column.'
        )
    if not _has(found, ("query", "positive")) and "documents" not in found and "text" not in found:
        alone = found.get("query") or found.get("positive")
        if alone is not None:
            found["text"] = alone


def _kind(found: dict[Role, tuple[str, ...]], table: Columns, notes: list[str]) -> Kind:
    if _has(found, ("query", "documents")):
        return "taught_scores" if "teacher" in found else "lists"
    if _has(found, ("query", "positive")):
        if "negative" in found:
            return _kind_with_negatives(found, notes)
        return "taught_scores" if "teacher" in found else _kind_of_two(found, table, notes)
    if _has(found, ("text", "vector")):
        return "taught_vectors"
    return "classes" if _has(found, ("text", "label")) else "texts"


def _kind_with_negatives(found: dict[Role, tuple[str, ...]], notes: list[str]) -> Kind:
    if "teacher" not in found and "score" in found and len(found["negative"]) == 1:
        found["teacher"] = found["score"]
        notes.append(f"{found['score'][0]!r} is taken as how far a teacher puts the positive above the negative.")
    return "taught_scores" if "teacher" in found or _has(found, ("positive_scores", "negative_scores")) else "tuples"


def _kind_of_two(found: dict[Role, tuple[str, ...]], table: Columns, notes: list[str]) -> Kind:
    name = found["label"][0] if "label" in found else None
    if "score" in found:
        if name is not None:
            notes.append(
                f'{found["score"][0]!r} is taken as the score; to learn from {name!r} pass kind="labelled_pairs" '
                "(--kind labelled_pairs)."
            )
        return "scored"
    if name is None:
        return "pairs"
    query, positive = (table.cells[found[role][0]] for role in _TWO)
    if not any(a and b for a, b in zip(query, positive, strict=True)):
        notes.append("No row has both texts, so each is a text with its class.")
        return "classes"
    numbers = [number for cell in table.cells[name] if (number := as_number(cell)) is not None]
    if 2 * len(numbers) < len(table.lines) or name in table.classes:
        return "labelled_pairs"
    if set(numbers) <= _CLASSES_OF_PAIRS:
        notes.append(f'{name!r} holds whole numbers, taken as labels; if they are scores, pass kind="scored" (--kind).')
        return "labelled_pairs"
    found["score"] = found["label"]
    notes.append(f'{name!r} holds numbers, taken as scores; if they are classes, pass kind="labelled_pairs" (--kind).')
    return "scored"


def _has(found: Mapping[Role, tuple[str, ...]], roles: Iterable[Role]) -> bool:
    return all(role in found for role in roles)


def _filled(cells: Sequence[Any], *, blank: bool = False) -> bool:
    return any(cell is not None and (blank or not isinstance(cell, str) or cell != "") for cell in cells)


def _is_list(cells: Sequence[Any]) -> bool:
    first = next(cell for cell in cells if cell is not None and not (isinstance(cell, str) and not cell))
    return isinstance(first, list | tuple | np.ndarray) or (isinstance(first, str) and first.startswith("["))
