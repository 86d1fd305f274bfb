"""Rows or ids of passages in, the statements that fetch what is stored of them out; and what they fetch, as objects."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

from sentvec.search.schema import damaged
from sentvec.search.types import Entry, Hit

Passage = tuple[int, str, str, str | None, int | None, int | None, str | None]
"""Row, id, text, path, first and last line, and metadata as JSON."""

TOGETHER = 64
"""Rows that are asked for by one statement; apsw keeps it prepared for each number of them."""

_HELD = """SELECT p.row, p.id, p.text, f.path, p.line, p.end_line, r.metadata
    FROM {asked} JOIN passages p ON p.{column} = a.{value} LEFT JOIN records r USING (record)
    LEFT JOIN files f USING (file)"""
BY_ID = _HELD.format(asked="json_each(?) a", column="id", value="value")
_decoded = json.JSONDecoder().raw_decode


@cache
def by_row(count: int) -> str:
    """Return the statement that fetches so many rows."""
    asked = ", ".join(["(?)"] * count)  # faster by a quarter than a list in JSON
    return _HELD.format(asked=f"(VALUES {asked}) a", column="row", value="column1")


def entry(folder: Path, held: Passage) -> Entry:
    """Return a passage as it is stored; raises as `hits`."""
    return Entry(held[1], held[2], held[3], held[4], held[5], _metadata(folder, held))


def hits(folder: Path, held: Mapping[int, Passage], found: Sequence[tuple[int, float]]) -> tuple[Hit, ...]:
    """Return passages as answers, by their rows and scores.

    Raises:
        CollectionCorrupt: one is not there, or its metadata is gone.
        json.JSONDecodeError: its metadata cannot be read.
    """
    there = []
    for row, score in found:
        if (p := held.get(row)) is None:
            raise damaged(folder, "an index has a row that is no passage")
        there.append(Hit(p[1], score, p[2], p[3], p[4], p[5], _metadata(folder, p)))
    return tuple(there)


def _metadata(folder: Path, held: Passage) -> Mapping[str, Any]:
    # By the decoder itself: `json.loads` takes longer to find it than it takes to read a few fields.
    stored = held[6] or "null"
    metadata, end = _decoded(stored)
    if not isinstance(metadata, dict) or end < len(stored):
        raise damaged(folder, f"the metadata of {held[1]!r} is gone")
    return metadata
