"""Texts with ids and metadata, as users give them, in; batches of rows that can be stored, and what was stored, out."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence, Sized
from itertools import islice
from typing import Any

from sentvec.errors import InvalidInput
from sentvec.search.checks import Value, iterable, rows_to_add
from sentvec.search.encoding import BATCH
from sentvec.search.store import Store
from sentvec.search.types import AddReport, Row

Vectors = Callable[[Sequence[Row]], tuple[Mapping[str, bytes], int]]
"""Rows -> digest -> vector of each, and how many were encoded."""


def batches(
    texts: Iterable[str],
    ids: Iterable[str] | None,
    metadata: Iterable[Mapping[str, Any]] | None,
    fingerprint: str,
) -> Iterator[list[Row]]:
    """Give rows, up to 512 at a time.

    Lists are checked whole before the first batch. What can be gone through only once is checked batch by batch, and
    no more than a batch of it is held, but for its ids.

    Raises:
        InvalidInput: numbers that differ, an id given twice, or a value that cannot be stored.
    """
    iterable(texts, "texts")
    iterable(() if ids is None else ids, "ids")
    iterable(() if metadata is None else metadata, "metadata")
    if all(values is None or isinstance(values, Sized) for values in (texts, ids, metadata)):
        rows = rows_to_add(list(texts), _all(ids), _all(metadata), fingerprint)
        yield from (rows[first : first + BATCH] for first in range(0, len(rows), BATCH))
        return
    streams = iter(texts), None if ids is None else iter(ids), None if metadata is None else iter(metadata)
    seen: set[str] = set()
    while True:
        part = _next(streams[0]), _next(streams[1]), _next(streams[2])
        if not any(part):
            return
        rows = rows_to_add(part[0] or [], part[1], part[2], fingerprint, len(seen))
        if twice := seen.intersection(row.id for row in rows):
            raise InvalidInput(f"id {min(twice)!r} is given twice; ids must differ within one call.")
        seen.update(row.id for row in rows)
        yield rows


def _all(values: Iterable[Value] | None) -> list[Value] | None:
    return None if values is None else list(values)


def _next(values: Iterator[Value] | None) -> list[Value] | None:
    return None if values is None else list(islice(values, BATCH))


def add(given: Iterable[Sequence[Row]], store: Store, vectors: Vectors) -> AddReport:
    """Store batches of rows, each in one commit."""
    ids: list[str] = []
    added = updated = encoded = 0
    for rows in given:
        held, fresh = vectors(rows)
        with store.writing():
            new, there = store.put(rows, held, None)
        ids += [row.id for row in rows]
        added, updated, encoded = added + new, updated + there, encoded + fresh
    return AddReport(tuple(ids), added, updated, encoded)
