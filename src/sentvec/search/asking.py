"""Texts or vectors as users ask them, and options, in; one checked question, with its vectors and words, out."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from sentvec.errors import InvalidInput
from sentvec.search.checks import as_list, vectors_of_model
from sentvec.search.opening import Identity
from sentvec.search.query import Array, Question, question, worded
from sentvec.search.types import TextEncoder
from sentvec.search.words import match_query

Asked = Sequence[str] | Array
"""Texts, or vectors (n, dim): at least one."""


@dataclass(frozen=True, slots=True)
class Options:
    """How a search is asked for; see `Collection.search`."""

    k: int
    where: Mapping[str, Any] | None
    hybrid: bool | float
    fusion: str
    diversity: float
    again: bool


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


def asked(queries: Asked, options: Options, model: Callable[[], TextEncoder]) -> Question:
    """Return queries with their options as a question.

    Args:
        queries: as `one` or `several` returned them.
        options: how they are asked.
        model: gives the collection's; called for texts, after all else has been checked.

    Raises:
        InvalidInput: a text that is empty, or an option that cannot be.
    """
    fuse = options.hybrid is not False
    if (fuse or options.again) and isinstance(queries, np.ndarray):
        raise InvalidInput("Words and rerankers need the question as a text; a vector was given.")
    share = 0.5 if isinstance(options.hybrid, bool) else options.hybrid
    vectors = queries if isinstance(queries, np.ndarray) else None
    found = question(
        options.k, options.where, share=share, fusion=options.fusion, diversity=options.diversity, again=options.again,
        vectors=vectors,
    )  # fmt: skip
    if isinstance(queries, np.ndarray):
        return found
    texts = [worded(text) for text in queries]
    matches = tuple(map(match_query, texts)) if fuse else None
    encoder = model()
    vectors = encoder.encode_query(texts, progress=False) if texts else np.zeros((0, encoder.dim), np.float32)
    vectors = vectors_of_model(vectors, (len(texts), encoder.dim), encoder.name)
    return replace(found, vectors=vectors, matches=matches)
