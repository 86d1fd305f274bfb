"""Questions in, their answers out: by vectors, by words or by both, filtered, scored again, and unlike each other."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from sentvec.errors import InvalidInput, NonFiniteOutput
from sentvec.search import passages
from sentvec.search.checks import storable
from sentvec.search.filters import Filter, parse, sql
from sentvec.search.fuse import FUSIONS, blended, diverse, fused
from sentvec.search.passages import Passage
from sentvec.search.schema import damaged
from sentvec.search.store import Store
from sentvec.search.types import Hit
from sentvec.search.view import View

Array = NDArray[np.float32]
Ids = NDArray[np.int64]

DEEP = 100  # of each ranking that are fused
AGAIN = 50  # answers that a reranker reads, and of which unlike ones are chosen
# The recall of an index under a filter that leaves too many rows to compare each: 0.99 is promised, and passages that
# were held back to measure it are a little easier than questions.
_FILTERED = 0.999
_MANY = 10_000  # passages from which words that most of them have are left out
_ALL = 1 << 48  # more than any collection holds; twice as many are still a number of SQLite's
_HELD = 8  # filters whose rows are kept


class PairScorer(Protocol):
    """What reranks; `sentvec.Reranker` is one."""

    def score(self, pairs: Sequence[tuple[str, str]], *, progress: bool | None = None) -> NDArray[np.float32]:
        """Return how well each document answers its question, (n,); greater is better."""


@dataclass(frozen=True, slots=True)
class Question:
    """What is asked of a collection, once or many times in the same way.

    Attributes:
        k: how many answers at most.
        vectors: (n, dim) of what is asked, or None for words alone.
        matches: FTS5 queries (n,) of its words, "" where there are none; None for vectors alone.
        share: of the words in a fused ranking, from 0 to 1.
        fusion: one of `FUSIONS`.
        where: what answers must meet.
        diversity: 0 to 1; how much they should differ.
        depth: how many to find, of which k are left in the end.
        without: a row that is no answer.
    """

    k: int
    vectors: Array | None = None
    matches: tuple[str, ...] | None = None
    share: float = 0.5
    fusion: str = FUSIONS[0]
    where: Filter | None = None
    diversity: float = 0.0
    depth: int = 0
    without: int | None = None


@dataclass(frozen=True, slots=True)
class Answers:
    """What was found: hits, the best first, and their vectors (n, dim) where they are needed."""

    hits: tuple[Hit, ...]
    vectors: Array | None = None


def question(
    k: int,
    where: Mapping[str, Any] | None = None,
    *,
    share: float = 0.5,
    fusion: str = FUSIONS[0],
    diversity: float = 0.0,
    again: bool = False,
    vectors: Array | None = None,
) -> Question:
    """Check the options of a question, before anything is encoded.

    Args:
        k: how many answers.
        where: a filter.
        share: of the words.
        fusion: one of `FUSIONS`.
        diversity: from 0 to 1.
        again: a reranker scores the best answers again.
        vectors: (n, dim) of what is asked, where they are given.

    Raises:
        InvalidInput: a value that cannot be.
    """
    if isinstance(k, bool) or not isinstance(k, int) or k < 1:
        raise InvalidInput(f"k is {k!r}; accepted: a whole number of 1 or more.")
    for name, value in (("diversity", diversity), ("hybrid", share)):
        if not isinstance(value, int | float) or not 0 <= value <= 1:
            raise InvalidInput(f"{name} is {value!r}; accepted: a number from 0 to 1.")
    if fusion not in FUSIONS:
        raise InvalidInput(f"fusion is {fusion!r}; accepted: {', '.join(map(repr, FUSIONS))}.")
    k = min(k, _ALL)
    depth = max(2 * k if diversity else k, AGAIN) if again or diversity else k
    found = None if where is None else parse(where)
    return Question(k, vectors, None, float(share), fusion, found, float(diversity), depth)


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


def answers(asked: Question, store: Store, view: View, allowed: Allowed) -> list[Answers]:
    """Find the answers to each question, as of the read transaction that the view was refreshed in."""
    rows = None if asked.where is None else allowed.rows(asked.where, store)
    ranked = _ranked(asked, store, view, rows)
    if asked.without is not None:
        ranked = [[one for one in found if one[0] != asked.without] for found in ranked]
    ranked = [found[: asked.depth] for found in ranked]
    held = store.passages(list({row for found in ranked for row, _ in found}))
    return [_answers(asked, found, held, store, view) for found in ranked]


def _answers(
    asked: Question, found: Sequence[tuple[int, float]], held: Mapping[int, Passage], store: Store, view: View
) -> Answers:
    there = passages.hits(store.folder, held, found)
    if not asked.diversity:
        return Answers(there)
    wanted = np.array([row for row, _ in found], dtype=np.int64)
    rows, vectors = view.vectors_of(wanted)
    order = np.argsort(rows)
    return Answers(there, vectors[order][np.searchsorted(rows[order], wanted)])


def _ranked(asked: Question, store: Store, view: View, rows: Ids | None) -> list[list[tuple[int, float]]]:
    """Return (row, score) of what is found for each question."""
    many = asked.depth + (asked.without is not None)
    deep = many if asked.vectors is None or asked.matches is None else max(DEEP, many)
    near = [] if asked.vectors is None else _by_vectors(asked.vectors, view, rows, deep)
    if asked.matches is None:
        return near
    worded = [_by_words(match, store, rows, deep) for match in asked.matches]
    if asked.vectors is None:
        return worded
    return [_both(*one, asked) for one in zip(near, worded, strict=True)]


def _both(near: list[tuple[int, float]], worded: list[tuple[int, float]], asked: Question) -> list[tuple[int, float]]:
    if asked.fusion == "score":
        return blended(near, worded, asked.share)
    rankings = [[row for row, _ in one] for one in (near, worded)]
    found = fused(rankings, (1 - asked.share, asked.share))
    if worded:
        return found
    scores = dict(found)  # where words alone would count and there are none, all scores are 0: vectors decide then
    return [(row, scores[row]) for row in rankings[0]]


def _by_vectors(vectors: Array, view: View, rows: Ids | None, many: int) -> list[list[tuple[int, float]]]:
    found = view.nearest(vectors, many, allowed=rows, recall=None if rows is None else _FILTERED)
    return [list(zip(there.tolist(), scores.tolist(), strict=True)) for scores, there in found]


def _by_words(match: str, store: Store, rows: Ids | None, many: int) -> list[tuple[int, float]]:
    if not match or (rows is not None and not len(rows)):
        return []
    allowed = None if rows is None else rows.tolist()
    total = store.counts()[0]
    if total >= _MANY:
        # A word that half of all texts have tells nothing, by BM25; but every text with it would have to be scored.
        rare = " OR ".join(word for word in match.split(" OR ") if 2 * store.with_words(word) <= total)
        found = store.rows_of_words(rare, many, allowed) if rare else []
        if len(found) == many:
            return found
    return store.rows_of_words(match, many, allowed)


def hits(asked: Question, found: Answers, text: str | None = None, rerank: PairScorer | None = None) -> list[Hit]:
    """Score the answers again by a reranker if there is one, choose those that differ, and return the best k.

    Raises:
        InvalidInput: a reranker without a text to compare answers with, or with several scores a pair.
        NonFiniteOutput: its score is NaN or infinity.
    """
    given, order = found.hits, list(range(len(found.hits)))
    if rerank is not None and given:
        again = _again(text, given, rerank)
        given = tuple(replace(one, score=float(score)) for one, score in zip(given, again, strict=True))
        order = np.argsort(-again, kind="stable").tolist()
    if found.vectors is not None:
        scores, picked = np.array([given[n].score for n in order]), np.array(order, dtype=np.int64)
        order = picked[diverse(scores, found.vectors[picked], asked.k, asked.diversity)].tolist()
    return [given[n] for n in order[: asked.k]]


def _again(text: str | None, found: Sequence[Hit], rerank: PairScorer) -> NDArray[np.float64]:
    if text is None:
        raise InvalidInput("A reranker compares texts: give the question as a text, not as a vector or an id.")
    told = rerank.score([(text, one.text) for one in found], progress=False)
    try:
        scores = np.asarray(told, np.float64)
    except (TypeError, ValueError):
        raise InvalidInput(f"The reranker gave {type(told).__name__} that holds no numbers; accepted: (n,).") from None
    if scores.shape != (len(found),):
        raise InvalidInput(
            f"The reranker gave scores of shape {scores.shape} for {len(found)} pairs; accepted: one score a pair, "
            "from a model with one label."
        )
    if not np.isfinite(scores).all():
        raise NonFiniteOutput(
            f"The reranker gave NaN or infinity for {found[int(np.argmin(np.isfinite(scores)))].id!r}."
        )
    return scores


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
    asked = replace(asked, vectors=vectors, without=row)
    return answers(asked, store, view, allowed)[0], asked
