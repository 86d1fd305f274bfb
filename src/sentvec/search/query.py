"""A question in, its answers out: by vectors, by words or by both, filtered, scored again, and unlike each other."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from sentvec.errors import InvalidInput, NonFiniteOutput
from sentvec.search.checks import storable
from sentvec.search.filters import Filter, parse, sql
from sentvec.search.fuse import diverse, fused
from sentvec.search.schema import damaged
from sentvec.search.store import Store
from sentvec.search.types import Entry, Hit
from sentvec.search.view import View

Array = NDArray[np.float32]
Ids = NDArray[np.int64]

DEEP = 100  # of each ranking that are fused
AGAIN = 50  # answers that a reranker reads, and of which unlike ones are chosen
_FILTERED = 0.99  # the recall of an index under a filter that leaves too many rows to compare each
_MANY = 10_000  # passages from which words that most of them have are left out
_HELD = 8  # filters whose rows are kept


class PairScorer(Protocol):
    """What reranks; `sentvec.Reranker` is one."""

    def score(self, pairs: Sequence[tuple[str, str]], *, progress: bool | None = None) -> NDArray[np.float32]:
        """Return how well each document answers its question, (n,); greater is better."""


@dataclass(frozen=True, slots=True)
class Question:
    """What is asked of a collection.

    Attributes:
        k: how many answers at most.
        vector: (dim,) of what is asked, or None for words alone.
        match: an FTS5 query of its words; "" where it has none, or they are not asked for.
        share: of the words in a fused ranking, from 0 to 1.
        where: what answers must meet.
        diversity: 0 to 1; how much they should differ.
        depth: how many to find, of which k are left in the end.
        without: a row that is no answer.
    """

    k: int
    vector: Array | None = None
    match: str = ""
    share: float = 0.5
    where: Filter | None = None
    diversity: float = 0.0
    depth: int = 0
    without: int | None = None


@dataclass(frozen=True, slots=True)
class Answers:
    """What was found: entries with their scores, the best first, and their vectors (n, dim) where they are needed."""

    entries: tuple[Entry, ...]
    scores: tuple[float, ...]
    vectors: Array | None = None


def question(
    k: int,
    *,
    where: Mapping[str, Any] | None = None,
    share: float = 0.5,
    diversity: float = 0.0,
    again: bool = False,
) -> Question:
    """Check the options of a question, before anything is encoded.

    Args:
        k: how many answers.
        where: a filter.
        share: of the words.
        diversity: from 0 to 1.
        again: a reranker scores the best answers again.

    Raises:
        InvalidInput: a value that cannot be.
    """
    if isinstance(k, bool) or not isinstance(k, int) or k < 1:
        raise InvalidInput(f"k is {k!r}; accepted: a whole number of 1 or more.")
    for name, value in (("diversity", diversity), ("hybrid", share)):
        if not isinstance(value, int | float) or not 0 <= value <= 1:
            raise InvalidInput(f"{name} is {value!r}; accepted: a number from 0 to 1.")
    depth = max(2 * k if diversity else k, AGAIN) if again or diversity else k
    found = None if where is None else parse(where)
    return Question(k, share=float(share), where=found, diversity=float(diversity), depth=depth)


def worded(text: str) -> str:
    """Return a question that is a text.

    Raises:
        InvalidInput: it is none, is empty, or cannot be stored.
    """
    if not storable(text, "the query").strip():
        raise InvalidInput("The query is empty; give some words.")
    return text


class Allowed:
    """The rows that filters leave, kept until the collection changes. Not for two threads at once."""

    def __init__(self) -> None:
        self._held: OrderedDict[tuple[object, ...], Ids] = OrderedDict()
        self._commits = -1

    def rows(self, where: Filter, store: Store) -> Ids:
        """Return the rows, ascending, as of the current read transaction."""
        commits = store.commits()
        if commits != self._commits:
            self._held.clear()
            self._commits = commits
        # By its SQL, not by itself: to Python a filter for 1 equals one for true.
        condition, values = key = sql(where, "metadata")
        if key not in self._held:
            self._held[key] = np.array(store.rows_where(condition, values), dtype=np.int64)
        self._held.move_to_end(key)
        while len(self._held) > _HELD:
            self._held.popitem(last=False)
        return self._held[key]


def answers(asked: Question, store: Store, view: View, allowed: Allowed) -> Answers:
    """Find the answers, as of the read transaction that the view was refreshed in."""
    rows = None if asked.where is None else allowed.rows(asked.where, store)
    found = _ranked(asked, store, view, rows)
    found = [one for one in found if one[0] != asked.without][: asked.depth]
    entries = store.entries_of_rows([row for row, _ in found])
    if len(entries) < len(found):
        raise damaged(store.folder, "an index has a row that is no passage")
    vectors = None
    if asked.diversity:
        wanted = np.array([row for row, _ in found], dtype=np.int64)
        there, some = view.vectors_of(wanted)
        order = np.argsort(there)
        vectors = some[order][np.searchsorted(there[order], wanted)]
    return Answers(tuple(entries[row] for row, _ in found), tuple(score for _, score in found), vectors)


def _ranked(asked: Question, store: Store, view: View, rows: Ids | None) -> list[tuple[int, float]]:
    many = asked.depth + (asked.without is not None)
    if asked.vector is None:
        return _by_words(asked, store, rows, many)
    if not asked.match:
        return _by_vector(asked.vector, view, rows, many)
    deep = max(DEEP, many)
    both = (_by_vector(asked.vector, view, rows, deep), _by_words(asked, store, rows, deep))
    rankings = [[row for row, _ in one] for one in both]
    return fused(rankings, (1 - asked.share, asked.share))


def _by_vector(vector: Array, view: View, rows: Ids | None, many: int) -> list[tuple[int, float]]:
    recall = None if rows is None else _FILTERED
    scores, found = view.nearest(vector[None, :], many, allowed=rows, recall=recall)[0]
    return list(zip(found.tolist(), scores.tolist(), strict=True))


def _by_words(asked: Question, store: Store, rows: Ids | None, many: int) -> list[tuple[int, float]]:
    if not asked.match or (rows is not None and not len(rows)):
        return []
    allowed = None if rows is None else rows.tolist()
    total = store.counts()[0]
    if total >= _MANY:
        # A word that half of all texts have tells nothing, by BM25; but every text with it would have to be scored.
        rare = " OR ".join(word for word in asked.match.split(" OR ") if 2 * store.with_words(word) <= total)
        found = store.rows_of_words(rare, many, allowed) if rare else []
        if len(found) == many:
            return found
    return store.rows_of_words(asked.match, many, allowed)


def hits(asked: Question, found: Answers, text: str | None = None, rerank: PairScorer | None = None) -> list[Hit]:
    """Score the answers again by a reranker if there is one, choose those that differ, and return the best k.

    Raises:
        InvalidInput: a reranker without a text to compare answers with, or with several scores a pair.
        NonFiniteOutput: its score is NaN or infinity.
    """
    entries, scores, vectors = list(found.entries), np.array(found.scores, np.float64), found.vectors
    order: Sequence[int] = range(len(entries))
    if rerank is not None and entries:
        scores = _again(text, entries, rerank)
        order = np.argsort(-scores, kind="stable").tolist()
    if asked.diversity and vectors is not None:
        picked = np.array(order, dtype=np.int64)
        order = picked[diverse(scores[picked], vectors[picked], asked.k, asked.diversity)].tolist()
    return [_hit(entries[n], float(scores[n])) for n in order[: asked.k]]


def _again(text: str | None, entries: Sequence[Entry], rerank: PairScorer) -> NDArray[np.float64]:
    if text is None:
        raise InvalidInput("A reranker compares texts: give the question as a text, not as a vector or an id.")
    scores = np.asarray(rerank.score([(text, entry.text) for entry in entries], progress=False), np.float64)
    if scores.shape != (len(entries),):
        raise InvalidInput(
            f"The reranker gave scores of shape {scores.shape} for {len(entries)} pairs; accepted: one score a pair, "
            "from a model with one label."
        )
    if not np.isfinite(scores).all():
        raise NonFiniteOutput(
            f"The reranker gave NaN or infinity for {entries[int(np.argmin(np.isfinite(scores)))].id!r}."
        )
    return scores


def _hit(entry: Entry, score: float) -> Hit:
    return Hit(entry.id, score, entry.text, entry.source, entry.line, entry.end_line, entry.metadata)


def like(asked: Question, id_: str, store: Store, view: View, allowed: Allowed) -> tuple[Answers, Question]:
    """Find what is like a passage, which is no answer to it; see `answers`.

    Raises:
        InvalidInput: there is no such passage.
    """
    row = store.row_of(storable(id_, "the id"))
    if row is None:
        raise InvalidInput(f"There is no passage {ascii(id_)[:80]} in the collection; give the id of one.")
    _, vectors = view.vectors_of(np.array([row], dtype=np.int64))
    if not len(vectors):
        raise damaged(store.folder, f"the passage {id_!r} has no vector")
    asked = replace(asked, vector=np.ascontiguousarray(vectors[0]), without=row)
    return answers(asked, store, view, allowed), asked
