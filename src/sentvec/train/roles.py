"""Names of columns in; what each column is to training, and what was left open, out."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from sentvec.errors import InvalidInput
from sentvec.evaluate import tables

Role = Literal[
    "query", "positive", "negative", "documents", "text", "score", "label", "scores", "teacher", "positive_scores",
    "negative_scores", "vector",
]  # fmt: skip

NAMES: Mapping[Role, tuple[str, ...]] = {
    "query": ("anchor", "query", "question", *tables.FIRST, "text_a"),
    "positive": (
        *("positive", "positives", "pos", "text_pos", "document", "doc", "passage", "answer", "response"),
        *(*tables.SECOND, "text_b"),
    ),
    "negative": ("negative", "negatives", "neg", "text_neg", "hard_negative", "hard_negatives"),
    "documents": ("documents", "docs", "passages", "candidates"),
    "text": ("text", "sentence", "review", "content", "title"),
    "score": (*tables.SCORE, "sim"),
    "label": tuple(
        dict.fromkeys(("label", "labels", "gold_label", "is_duplicate", "entailment_judgment", *tables.LABEL))
    ),
    "scores": ("scores", "labels", "grades", "relevance", "relevances"),
    "teacher": ("teacher_scores", "teacher_score", "taught_scores", "margin"),
    "positive_scores": ("pos_scores", "positive_scores", "pos_score", "positive_score"),
    "negative_scores": ("neg_scores", "negative_scores", "neg_score", "negative_score"),
    "vector": ("teacher_vector", "vector", "vectors", "teacher_embedding", "embedding", "embeddings"),
}
"""What columns are called, the best name first; `labels` and the like are of two roles, told apart by their cells."""

KNOWN = frozenset(name for names in NAMES.values() for name in names)
LISTS: frozenset[Role] = frozenset({"scores", "positive_scores", "negative_scores", "vector"})
"""Roles whose cells are lists, or JSON of lists where a file holds only text."""

_NUMBERED = re.compile(r"(?:negative|neg|text_neg|hard_negative)[_ -]?(\d+)")
_MANY: frozenset[Role] = frozenset({"negative"})


@dataclass(frozen=True)
class Roles:
    """Which columns are what.

    Attributes:
        columns: the columns of each role, by their names in the order that they are used in: several negatives, and
            one of everything else.
        rivals: (role, chosen, left out) where more than one column could have been chosen.
    """

    columns: Mapping[Role, tuple[str, ...]]
    rivals: tuple[tuple[Role, str, str], ...] = ()

    def one(self, role: Role) -> str | None:
        """Return the column of a role that can have only one."""
        return self.columns.get(role, (None,))[0]


def is_known(name: str) -> bool:
    """Say whether a column's name, in lower case, says what the column is.

    >>> is_known("negative_3"), is_known("anchor"), is_known("my column")
    (True, True, False)
    """
    return name in KNOWN or _NUMBERED.fullmatch(name) is not None


def find_roles(names: Sequence[str], given: Mapping[Role, tuple[str, ...]] | None = None) -> Roles:
    """Recognise columns by their names; their order says nothing.

    Args:
        names: of the columns, in lower case.
        given: columns of roles by the user's word, which goes before any name.

    >>> find_roles(["label", "sentence2", "sentence1"]).columns
    {'query': ('sentence1',), 'positive': ('sentence2',), 'label': ('label',)}
    >>> find_roles(["neg_2", "anchor", "neg_1", "positive"]).columns["negative"]
    ('neg_1', 'neg_2')
    """
    given = dict(given or {})
    taken = {name for columns in given.values() for name in columns}
    found: dict[Role, tuple[str, ...]] = {}
    rivals: list[tuple[Role, str, str]] = []
    for role, known in NAMES.items():
        if role in given:
            found[role] = given[role]
            continue
        here = [name for name in known if name in names and name not in taken]
        if role in _MANY:
            numbered = [(int(match[1]), name) for name in names if (match := _NUMBERED.fullmatch(name))]
            here += [name for _, name in sorted(numbered) if name not in taken and name not in here]
            if here:
                found[role] = tuple(here)
        elif here:
            found[role] = (here[0],)
            rivals += [(role, here[0], name) for name in here[1:]]
    return Roles(found, tuple(rivals))


def given_roles(
    columns: Mapping[str, str | int | Sequence[str | int]], names: Sequence[str]
) -> dict[Role, tuple[str, ...]]:
    """Return what a user said of columns, by role.

    Args:
        columns: for a role, or any name that `NAMES` has for it, the column's name, or its number counted from 1.
        names: of all columns, in lower case.

    Raises:
        InvalidInput: a role is not known, a column is not there, or two are given where only one can be.
    """
    found: dict[Role, tuple[str, ...]] = {}
    for key, value in columns.items():
        role = _role(key)
        wanted = [value] if isinstance(value, str | int) else list(value)
        chosen = tuple(_column(one, names, key) for one in wanted)
        found[role] = (*found.get(role, ()), *chosen) if role in _MANY else chosen
        if role not in _MANY and len(chosen) != 1:
            raise InvalidInput(
                f"columns[{key!r}] names {len(chosen)} columns; accepted: one (only negatives can be many)."
            )
    return found


def _role(key: str) -> Role:
    lower = key.strip().lower()
    if lower in NAMES:
        return lower  # type: ignore[return-value]
    if _NUMBERED.fullmatch(lower):
        return "negative"
    role = next((role for role, known in NAMES.items() if lower in known), None)
    if role is None:
        raise InvalidInput(f"columns has {key!r}, which is not known. Known: {', '.join(NAMES)}, or names for them.")
    return role


def _column(value: str | int, names: Sequence[str], key: str) -> str:
    if isinstance(value, str) and value.strip().lower() in names:
        return value.strip().lower()
    number = int(value) if isinstance(value, int) or value.strip().isdecimal() else None
    if number is not None and 1 <= number <= len(names):
        return names[number - 1]
    has = ", ".join(map(repr, names))
    raise InvalidInput(f"columns[{key!r}] is {value!r}; there are {has}. Give a name, or a number counted from 1.")


def known_names() -> str:
    """Return the names by which columns are recognised, role by role, as a message shows them."""
    return "; ".join(f"{role}: {', '.join(known[:6])}" for role, known in NAMES.items())
