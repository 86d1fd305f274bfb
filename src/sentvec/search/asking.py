"""Texts or vectors as users ask them, and options, in; one checked question, with its vectors and words, out."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any, TypedDict

import numpy as np

from sentvec.errors import InvalidInput
from sentvec.search.checks import as_list, vectors_of_model
from sentvec.search.fuse import FUSIONS
from sentvec.search.opening import Identity
from sentvec.search.query import Array, PairScorer, Question, question, worded
from sentvec.search.types import TextEncoder
from sentvec.search.words import match_query

Asked = Sequence[str] | Array
"""Texts, or vectors (n, dim): at least one."""


class How(TypedDict, total=False):
    """How a search is asked for.

    Attributes:
        where: a filter of metadata, such as ``{"year": {">": 2020}, "lang": "zh"}``; see `sentvec.search.filters`.
        hybrid: also rank by words (BM25); a number from 0 to 1 is the share of the words, True is 0.5.
        fusion: how both become one, whose scores hits have then: by "rank" (the usual) or by "score", see
            docs/search.md.
        rerank: a `Reranker`, which scores the best 50 again; scores are its own then.
        diversity: above 0, up to 1: choose passages that differ, by maximal marginal relevance.
    """

    where: Mapping[str, Any] | None
    hybrid: bool | float
    fusion: str
    rerank: PairScorer | None
    diversity: float


_KNOWN = frozenset(How.__annotations__)


def one(query: str | Array, known: Identity) -> Asked:
    """Return a query as the only one of several.

    Raises:
        InvalidInput: an empty text, or a vector of another shape or type.
    """
    if isinstance(query, str):
        return [query]
    if not isinstance(query, np.ndarray) or query.dtype != np.float32 or query.shape != (known.dim,):
        raise InvalidInput(f"query is {_told(query)}; accepted: a str, or a float32 array ({known.dim},).")
    return query.reshape(1, known.dim)


def several(queries: Iterable[str] | Array, known: Identity) -> Asked:
    """Return queries as a list, or as an array (n, dim).

    Raises:
        InvalidInput: vectors of another shape or type, or no list.
    """
    if not isinstance(queries, np.ndarray):
        return as_list(queries, "queries")
    if queries.dtype != np.float32 or queries.ndim != 2 or queries.shape[1] != known.dim:
        raise InvalidInput(
            f"queries is {_told(queries)}; accepted: a list of str, or a float32 array (n, {known.dim})."
        )
    return queries


def _told(query: object) -> str:
    return f"{query.dtype} {query.shape}" if isinstance(query, np.ndarray) else type(query).__name__


def asked(queries: Asked, k: int, how: How, model: Callable[[], TextEncoder]) -> Question:
    """Return queries with their options as a question.

    Args:
        queries: as `one` or `several` returned them.
        k: how many answers.
        how: the options.
        model: gives the collection's; called for texts, after all else has been checked.

    Raises:
        TypeError: an option that there is not.
        InvalidInput: a text that is empty, or an option that cannot be.
    """
    if unknown := how.keys() - _KNOWN:
        raise TypeError(f"There is no option {min(unknown)!r}; accepted: {', '.join(map(repr, How.__annotations__))}.")
    rerank = how.get("rerank")
    if rerank is not None and not callable(getattr(rerank, "score", None)):
        raise InvalidInput(f"rerank is {type(rerank).__name__}; accepted: a Reranker, which has `score`.")
    hybrid, again = how.get("hybrid", False), rerank is not None
    fuse = hybrid is not False
    vectors = queries if isinstance(queries, np.ndarray) else None
    if (fuse or again) and vectors is not None:
        raise InvalidInput("Words and rerankers need the question as a text; a vector was given.")
    found = question(
        k,
        how.get("where"),
        share=0.5 if isinstance(hybrid, bool) else hybrid,
        fusion=how.get("fusion", FUSIONS[0]),
        diversity=how.get("diversity", 0.0),
        again=again,
        vectors=vectors,
    )
    if isinstance(queries, np.ndarray):
        return found
    texts = [worded(text) for text in queries]
    matches = tuple(map(match_query, texts)) if fuse else None
    encoder = model()
    vectors = encoder.encode_query(texts, progress=False) if texts else np.zeros((0, encoder.dim), np.float32)
    vectors = vectors_of_model(vectors, (len(texts), encoder.dim), encoder.name)
    return replace(found, vectors=vectors, matches=matches)
