"""A collection and another model in, the same passages with that model's vectors out; the old ones serve until then."""

from __future__ import annotations

import os
import time
import zlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from sentvec.errors import InvalidInput
from sentvec.progress import Advance, track
from sentvec.runtime.report import gathered
from sentvec.search import ledger, questions
from sentvec.search.disk import reached
from sentvec.search.encoding import BATCH, Encoding
from sentvec.search.opening import Identity, check_is_model, folder_of, identity, metric_of
from sentvec.search.questions import Questions
from sentvec.search.store import Store
from sentvec.search.types import ReencodeReport, TextEncoder, text_digest
from sentvec.search.upkeep import build, check_recall, remove_old, upkeep

_NEXT = """
CREATE TABLE next_vectors(
    row INTEGER PRIMARY KEY REFERENCES passages(row) ON DELETE CASCADE,
    vector BLOB NOT NULL, crc32 INTEGER NOT NULL) STRICT;
"""
_MISSING = """SELECT row, text FROM passages p WHERE row > ?
    AND NOT EXISTS (SELECT 1 FROM next_vectors n WHERE n.row = p.row) ORDER BY row LIMIT ?"""

_INTO = "INSERT INTO next_vectors SELECT ?, ?, ? WHERE EXISTS (SELECT 1 FROM passages WHERE row = ?)"
_TEXTS = "SELECT row, text FROM passages WHERE row > ? ORDER BY row LIMIT ?"


def reencode(
    path: str | os.PathLike[str],
    model: TextEncoder,
    *,
    recall: float | None = None,
    busy_timeout: float = 10.0,
    progress: bool | None = False,
) -> ReencodeReport:
    """Give a collection the vectors of another model, and switch to them at once when all are there.

    Until then others search and write with the old model; after it they are told to open the collection again. New
    vectors are committed 512 at a time: a run that was killed goes on where it was. Passages stay as they were cut, so
    that a model which reads less than the old one takes longer ones by their beginnings.

    Args:
        path: the collection's folder.
        model: the new model.
        recall: that of the new index, where the collection has one that does not compare every vector; that asked for
            last, if None.
        busy_timeout: seconds to wait for another process that is writing.
        progress: as in `sentvec.progress.track`.

    Raises:
        InvalidInput: the model is that of the collection already, or is none.
        CollectionNotFound, CollectionCorrupt: as for `Collection.open`.
        CollectionBusy: another process is compacting, or writing.
    """
    check_recall(recall)
    check_is_model(model)
    begun = time.monotonic()
    folder = folder_of(path)
    store = Store(folder, busy_timeout)
    try:
        old = identity(store)
        if (old.fingerprint, old.dim) == (model.fingerprint, model.dim):
            raise InvalidInput(f"The collection {str(folder)!r} is made with the model {model.name!r} already.")
        new = Identity(model.name, model.fingerprint, model.dim, metric_of(model))
        with upkeep(folder):
            remove_old(folder, store)
            wanted = ledger.recall(store) if recall is None else recall
            asked = questions.anew(store, old.dim, model)
            with gathered():
                encoding = Encoding(model, model.dim)
                encoded, passages = _switched(folder, store, new, encoding, wanted, asked, progress)
            remove_old(folder, store)
    finally:
        store.close()
    return ReencodeReport(passages, encoded, time.monotonic() - begun)


def _switched(
    folder: Path,
    store: Store,
    new: Identity,
    encoding: Encoding,
    recall: float,
    asked: Questions | None,
    progress: bool | None,
) -> tuple[int, int]:
    """Encode what is not encoded yet, build the index, and switch; returns (encoded, passages)."""
    _begin(store, new)
    total = store.counts()[0]
    with track("Encoding anew (passages)", total, progress) as advance:
        advance(ledger.size(store, "next_vectors"))
        encoded = _encoded(store, encoding, advance)
        active, seq = ledger.active(store), 0
        if active is not None:
            active, seq = build(store, new, active.kind, recall, progress, "next_vectors", asked)
        while True:
            encoded += _encoded(store, encoding, advance)  # what others have written meanwhile
            reached("before the new vectors")
            with store.writing():
                if not list(store.select(_MISSING, (0, 1))):
                    _switch(store, new)
                    ledger.activate(store, active, seq)
                    questions.keep(store, asked or Questions(None, np.zeros((0, new.dim), np.float32)))
                    passages = store.counts()[0]
                    break
        reached("after the new vectors")
    return encoded, passages


def _begin(store: Store, new: Identity) -> None:
    """Make room for the new vectors, or go on with those of a run for the same model that was stopped."""
    with store.writing():
        there = list(store.select("SELECT value FROM meta WHERE key = 'next_fingerprint'"))
        if there != [(new.fingerprint,)]:
            store.change("DROP TABLE IF EXISTS next_vectors")
            store.change(_NEXT)
            store.change("INSERT OR REPLACE INTO meta VALUES ('next_fingerprint', ?)", (new.fingerprint,))


def _encoded(store: Store, encoding: Encoding, advance: Advance) -> int:
    """Encode and commit what has no new vector yet; returns how many."""
    count, last = 0, 0
    while part := list(store.select(_MISSING, (last, BATCH))):
        last = part[-1][0]
        vectors = encoding.encoded({str(row): text for row, text in part}, advance)
        _put(store, [(row, vectors[str(row)]) for row, _ in part])
        count += len(part)
    return count


def _put(store: Store, vectors: Sequence[tuple[int, bytes]]) -> None:
    with store.writing():
        for row, vector in vectors:
            values = (row, vector, zlib.crc32(vector), row)  # unless it was removed meanwhile
            store.change(_INTO, values)


def _switch(store: Store, new: Identity) -> None:
    """Put the new vectors in the place of the old ones, and the model's name and texts' digests with them."""
    store.change("DROP TABLE vectors")
    store.change("ALTER TABLE next_vectors RENAME TO vectors")
    facts = {"model": new.name, "fingerprint": new.fingerprint, "dim": new.dim, "metric": new.metric}
    for key, value in facts.items():
        store.change("UPDATE meta SET value = ? WHERE key = ?", (value, key))
    store.change("DELETE FROM meta WHERE key = 'next_fingerprint'")
    last = 0
    while part := list(store.select(_TEXTS, (last, BATCH))):
        last = part[-1][0]
        for row, text in part:
            store.change("UPDATE passages SET digest = ? WHERE row = ?", (text_digest(text, new.fingerprint), row))
