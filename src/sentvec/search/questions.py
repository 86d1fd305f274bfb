"""Questions of users in, kept with a collection, and the same as vectors out: what a new index is measured with."""

from __future__ import annotations

import zlib
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from sentvec.errors import NonFiniteOutput
from sentvec.search.asking import Asked, asked
from sentvec.search.encoding import numbers
from sentvec.search.query import Array
from sentvec.search.store import Store
from sentvec.search.types import TextEncoder

MOST = 1000
"""Questions that are kept; of more, so many are drawn: beyond, a recall is not told more sharply."""

_TABLE = """
CREATE TABLE IF NOT EXISTS questions(row INTEGER PRIMARY KEY, text TEXT, vector BLOB NOT NULL, crc32 INTEGER NOT NULL)
    STRICT
"""
_THERE = "SELECT 1 FROM sqlite_schema WHERE name = 'questions'"


@dataclass(frozen=True, slots=True)
class Questions:
    """Questions (n,) as texts, None where only vectors were given, and their vectors (n, dim)."""

    texts: tuple[str, ...] | None
    vectors: Array

    def __len__(self) -> int:
        return len(self.vectors)


def questions(given: Asked, model: Callable[[], TextEncoder]) -> Questions:
    """Encode questions, at most `MOST` of them.

    Args:
        given: as `sentvec.search.asking.several` returned them.
        model: gives the collection's; called for texts.

    Raises:
        InvalidInput: a text that is empty; NonFiniteOutput: a vector holds NaN or infinity.
    """
    chosen = np.sort(np.random.default_rng(0).permutation(len(given))[:MOST])
    if isinstance(given, np.ndarray):
        finite = np.isfinite(given).all(axis=1)
        if not finite.all():
            raise NonFiniteOutput(
                f"The queries hold NaN or infinity: the vector {int(np.argmin(finite))} of {len(given)}."
            )
        return Questions(None, given[chosen])
    texts = tuple(given[n] for n in chosen)
    vectors = asked(texts, 1, {}, model).vectors
    assert vectors is not None  # texts have them
    return Questions(texts, vectors)


def keep(store: Store, found: Questions) -> None:
    """Keep questions in place of those before, within `writing()`."""
    store.change(_TABLE)
    store.change("DELETE FROM questions")
    for row, vector in enumerate(found.vectors, 1):
        data = vector.astype("<f4").tobytes()
        text = None if found.texts is None else found.texts[row - 1]
        store.change("INSERT INTO questions VALUES (?, ?, ?, ?)", (row, text, data, zlib.crc32(data)))


def count(store: Store) -> int:
    """Return how many questions are kept."""
    if not list(store.select(_THERE)):
        return 0
    ((many,),) = store.select("SELECT count(*) FROM questions")
    return int(many)


def kept(store: Store, dim: int) -> Questions | None:
    """Return the questions that are kept; None where there are none."""
    if not count(store):
        return None
    texts = [text for (text,) in store.select("SELECT text FROM questions ORDER BY row")]
    vectors = numbers(store.folder, store.vectors_after(0, MOST, "questions"), dim)
    return Questions(None if None in texts else tuple(texts), vectors)


def anew(store: Store, old_dim: int, model: TextEncoder) -> Questions | None:
    """Encode the questions that are kept with another model; None where there are none, or only vectors."""
    found = kept(store, old_dim)
    if found is None or found.texts is None:
        return None
    return questions(found.texts, lambda: model)
