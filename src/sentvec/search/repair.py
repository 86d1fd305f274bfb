"""A damaged collection in, what can be had again of it out: from the texts the vectors, from the vectors the index."""

from __future__ import annotations

import time
import zlib
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from sentvec.errors import CollectionCorrupt
from sentvec.progress import track
from sentvec.search import ledger
from sentvec.search.encoding import Encoding
from sentvec.search.opening import Identity
from sentvec.search.schema import WORDS
from sentvec.search.store import Store
from sentvec.search.types import Problem, VerifyReport
from sentvec.search.upkeep import upkeep
from sentvec.search.verify import verify
from sentvec.search.words import segmented

_TEXTS = "SELECT row, text FROM passages WHERE row > ? ORDER BY row LIMIT 512"


def repair(
    folder: Path, busy_s: float, known: Identity, encoding: Encoding | None, build: Callable[[str], object]
) -> VerifyReport:
    """Repair what can be repaired; see `Collection.repair`.

    Args:
        folder: the collection's.
        busy_s: seconds to wait for another process that is writing.
        known: what made the vectors.
        encoding: makes vectors again; None where there is no model.
        build: a kind -> a new generation of it.
    """
    begun = time.monotonic()
    store = Store(folder, busy_s, mend=True)
    try:
        with store.reading():
            before = verify(store, None, known)
        kind = None
        with upkeep(folder):
            for problem in before.problems:
                if problem.kind in _MEND:
                    with store.writing():
                        _MEND[problem.kind](store, problem, encoding)
            active = ledger.active(store)
            stale = {"generation", "orphans"} | ({"vectors"} if encoding is not None else set())
            if active is not None and any(problem.kind in stale for problem in before.problems):
                kind = active.kind
                with store.writing():
                    ledger.activate(store, None, 0)
        if kind is not None:
            with suppress(CollectionCorrupt):  # vectors that cannot be had again, which the report names
                build(kind)
        with store.reading():
            after = verify(store, None, known)
    finally:
        store.close()
    still = {(problem.kind, problem.told) for problem in after.problems}
    mended = tuple(one for one in before.problems if (one.kind, one.told) not in still)
    return replace(after, seconds=time.monotonic() - begun, repaired=mended)


def _database(store: Store, problem: Problem, encoding: Encoding | None) -> None:
    """Make again what follows from tables that can be read: the words by FTS5, whose tables no REINDEX makes again."""
    if "fts5" in problem.told:
        _words(store, problem, encoding)
    else:
        store.change("REINDEX")


def _words(store: Store, problem: Problem, encoding: Encoding | None) -> None:
    """Cut the text of every passage to words again, into a new table: the old one may not even be emptied."""
    store.change("INSERT OR IGNORE INTO words_config VALUES ('version', 4)")  # without it, it cannot be dropped
    store.change("DROP TABLE words")
    store.change(WORDS)
    last = 0
    while part := list(store.select(_TEXTS, (last,))):
        last = part[-1][0]
        for row, text in part:
            store.change("INSERT INTO words(rowid, text) VALUES (?, ?)", (row, segmented(text)))


def _orphans(store: Store, problem: Problem, encoding: Encoding | None) -> None:
    """Delete vectors of no passage."""
    for row in problem.rows:
        store.change("DELETE FROM vectors WHERE row = ?", (row,))


def _vectors(store: Store, problem: Problem, encoding: Encoding | None) -> None:
    """Encode the texts again whose vectors are damaged."""
    if encoding is None:
        return
    for row in problem.rows:
        for digest, text in list(store.select("SELECT digest, text FROM passages WHERE row = ?", (row,))):
            with track("", 1, False) as advance:
                vector = encoding.encoded({digest: text}, advance)[digest]
            store.change("INSERT OR REPLACE INTO vectors VALUES (?, ?, ?)", (row, vector, zlib.crc32(vector)))


def _texts(store: Store, problem: Problem, encoding: Encoding | None) -> None:
    """Let damaged texts be replaced when they are added again, and their files be read again."""
    for row in problem.rows:
        changed = "size = -1, sha256 = '' WHERE file = (SELECT file FROM passages WHERE row = ?)"
        store.change(f"UPDATE files SET {changed}", (row,))  # noqa: S608, our own text
        store.change("UPDATE passages SET digest = '' WHERE row = ?", (row,))


_MEND = {"database": _database, "words": _words, "orphans": _orphans, "vectors": _vectors, "texts": _texts}
