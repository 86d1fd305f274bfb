"""A collection in, all that is wrong with it out: every page, text, vector and file is held against its check."""

from __future__ import annotations

import hashlib
import json
import time
import zlib
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import groupby
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from sentvec.errors import CollectionCorrupt
from sentvec.index.rows import unit
from sentvec.search import ledger
from sentvec.search.generation import (
    ROWS,
    VECTORS,
    BadGeneration,
    GoneGeneration,
    Manifest,
    check,
    place,
    read_manifest,
)
from sentvec.search.opening import Identity
from sentvec.search.store import Store
from sentvec.search.types import Active, Problem, VerifyReport, text_digest
from sentvec.search.view import View
from sentvec.search.words import match_query

_LOAD = 4096
_ASKED = 500  # passages that are asked for by their words, and ranked
_RANKED = "SELECT rank FROM words WHERE words MATCH ? AND rowid = ?"
_LONG = "SELECT 1 FROM words_docsize WHERE id = ? AND sz <> x'00'"  # not of letters alone that SQLite does not know
_SAMPLE = 50  # vectors that are asked for their neighbours
_SLACK = 0.1  # by which their recall may lie below the measured one: they are few


@dataclass
class _Findings:
    """Problems as they come, those of one kind and wording together."""

    found: dict[tuple[str, str], list[int]] = field(default_factory=dict)

    def add(self, kind: str, told: str, row: int | None = None) -> None:
        self.found.setdefault((kind, told), []).extend([] if row is None else [row])

    def problems(self) -> tuple[Problem, ...]:
        return tuple(Problem(kind, told, tuple(rows)) for (kind, told), rows in self.found.items())


def verify(store: Store, view: View | None, known: Identity) -> VerifyReport:
    """Read all of a collection, within one read transaction.

    Args:
        store: where the transaction is.
        view: as of that transaction, to measure its index; None leaves this out.
        known: what made the vectors.
    """
    begun = time.monotonic()
    findings = _Findings()
    passages = 0
    try:
        for told in _database(store):
            findings.add("database", told)
        passages = _texts(store, known, findings)
        _words(store, findings)
        held = _generation(store, known, findings)
        _vectors(store, known, held, findings)
    except CollectionCorrupt as error:
        findings.add("database", str(error))
    recall = None if view is None or findings.found else _recall(store, view, known, findings)
    return VerifyReport(findings.problems(), passages, recall, time.monotonic() - begun)


def _database(store: Store) -> Iterator[str]:
    """Let SQLite look at every page, index and reference."""
    # FTS5 checks by a list of segments from its last query, and takes those that others have merged since for lost.
    with suppress(CollectionCorrupt):
        list(store.select("SELECT rowid FROM words WHERE words MATCH 'a' LIMIT 1"))
    for (told,) in store.select("PRAGMA integrity_check"):
        if told != "ok":
            yield told
    for table, row, parent, _ in store.select("PRAGMA foreign_key_check"):
        yield f"row {row} of {table} refers to nothing in {parent}"


def _missing(store: Store, here: str, key: str, there: str, other: str) -> list[int]:
    """Return the keys of one table that another has not."""
    sql = f"SELECT {key} FROM {here} WHERE {key} NOT IN (SELECT {other} FROM {there})"  # noqa: S608, our own names
    return [row for (row,) in store.select(sql)]


def _rows_until(store: Store, last: int) -> NDArray[np.int64]:
    found = store.select("SELECT row FROM passages WHERE row <= ?", (last,))
    return np.fromiter((row for (row,) in found), dtype=np.int64)


def _texts(store: Store, known: Identity, findings: _Findings) -> int:
    """Hold texts and metadata against the digests that they were stored under."""
    count = 0
    for row, text, digest in store.select("SELECT row, text, digest FROM passages"):
        count += 1
        if text_digest(text, known.fingerprint) != digest:
            findings.add("texts", "texts are not as they were written", row)
    for record, digest, metadata in store.select("SELECT record, digest, metadata FROM records"):
        if hashlib.blake2b(metadata.encode(), digest_size=16).digest() != digest or not _is_object(metadata):
            findings.add("metadata", "metadata is not as it was written", record)
    for (row,) in store.select(
        "SELECT row FROM passages p WHERE NOT EXISTS (SELECT 1 FROM records r WHERE r.record = p.record)"
    ):
        findings.add("metadata", "passages have no metadata", row)
    return count


def _is_object(metadata: str) -> bool:
    try:
        return isinstance(json.loads(metadata), dict)
    except (ValueError, RecursionError):
        return False


def _words(store: Store, findings: _Findings) -> None:
    for row in _missing(store, "passages", "row", "words_docsize", "id"):
        findings.add("words", "passages are not found by their words", row)
    for row in _missing(store, "words_docsize", "id", "passages", "row"):
        findings.add("words", "words are kept of passages that are gone", row)
    # FTS5's own check does not see that its list of segments, its averages or lengths are others than were written.
    step = 1 + store.counts()[0] // _ASKED
    for row, text in store.select("SELECT row, text FROM passages WHERE row % ? = 0", (step,)):
        match = match_query(text)
        try:
            if match and not list(store.select(_RANKED, (match, row))) and list(store.select(_LONG, (row,))):
                findings.add("words", "passages are not found by their words", row)
        except CollectionCorrupt:
            findings.add("words", "words cannot be ranked", row)


def _vectors(store: Store, known: Identity, held: _Held | None, findings: _Findings) -> None:
    """Hold each vector against its check, and against what the generation has of it."""
    for row in _missing(store, "passages", "row", "vectors", "row"):
        findings.add("vectors", "passages have no vector", row)
    for row in _missing(store, "vectors", "row", "passages", "row"):
        findings.add("orphans", "vectors are kept of passages that are gone", row)
    for part in _parts(store):
        good = []
        for row, vector, crc32 in part:
            if zlib.crc32(vector) != crc32 or len(vector) != 4 * known.dim:
                findings.add("vectors", "vectors are not as they were written", row)
            else:
                good.append((row, vector))
        if not good:
            continue
        stored = np.frombuffer(b"".join(vector for _, vector in good), "<f4").reshape(len(good), known.dim)
        finite = np.isfinite(stored).all(axis=1)
        for row in np.array([row for row, _ in good])[~finite].tolist():
            findings.add("vectors", "vectors are not finite", row)
        if held is not None and bool(finite.all()):
            rows = np.array([row for row, _ in good], dtype=np.int64)
            held.compare(rows, unit(stored) if known.metric == "cosine" else stored.astype(np.float32), findings)


def _parts(store: Store) -> Iterator[list[tuple[int, bytes, int]]]:
    found = store.select("SELECT row, vector, crc32 FROM vectors ORDER BY row")
    for _, part in groupby(enumerate(found), lambda one: one[0] // _LOAD):
        yield [(row, vector, crc32) for _, (row, vector, crc32) in part]


class _Held:
    """What a generation holds, to be compared with the database."""

    def __init__(self, folder: Path, active: Active, manifest: Manifest) -> None:
        where = place(folder, active.generation)
        self.last_row = active.last_row
        self.rows: NDArray[np.int64] = np.fromfile(where / ROWS, "<i8").astype(np.int64)
        shape = (manifest.rows, manifest.dim)
        self.vectors: NDArray[np.float32] = np.memmap(where / VECTORS, "<f4", "r", shape=shape)

    def compare(self, rows: NDArray[np.int64], vectors: NDArray[np.float32], findings: _Findings) -> None:
        mine = rows <= self.last_row
        rows, vectors = rows[mine], vectors[mine]
        places = np.minimum(np.searchsorted(self.rows, rows), len(self.rows) - 1)
        there = self.rows[places] == rows
        for row in rows[~there].tolist():
            findings.add("generation", "passages are not in the generation", row)
        wrong = (self.vectors[places[there]] != vectors[there]).any(axis=1)
        for row in rows[there][wrong].tolist():
            findings.add("generation", "the generation has other vectors than the database", row)


def _generation(store: Store, known: Identity, findings: _Findings) -> _Held | None:
    """Hold the files of the active generation against their hashes, and its rows against what was removed."""
    active = ledger.active(store)
    if active is None:
        return None
    try:
        manifest = read_manifest(store.folder, active.generation, active.manifest)
        check(store.folder, manifest, manifest.files)
        about = (manifest.dim, manifest.metric, manifest.fingerprint, manifest.rows, manifest.last_row)
        if about != (known.dim, known.metric, known.fingerprint, active.rows, active.last_row):
            raise BadGeneration("its manifest is that of another collection")
        held = _Held(store.folder, active, manifest)
    except (BadGeneration, GoneGeneration) as error:
        findings.add("generation", str(error))
        return None
    gone = np.setdiff1d(held.rows, _rows_until(store, active.last_row), assume_unique=True)
    for row in np.setdiff1d(gone, ledger.removed_after(store, 0)[0]).tolist():
        findings.add("generation", "passages were removed that the generation still answers with", row)
    return held


def _recall(store: Store, view: View, known: Identity, findings: _Findings) -> float | None:
    """Ask for the neighbours of some vectors, by the index and by comparing all."""
    if view.tuning is None:
        return None
    rows = _rows_until(store, view.active.last_row if view.active else 0)
    chosen = np.random.default_rng(0).permutation(rows)[:_SAMPLE]
    _, vectors = view.vectors_of(np.sort(chosen))
    recall = _shared(view.nearest(vectors, 10), view.nearest(vectors, 10, exact=True))
    if recall < view.tuning.chosen.recall - _SLACK:
        findings.add("generation", f"its index finds {recall:.2f} of the nearest; {view.tuning.chosen.recall:.2f} were")
    return recall


def _shared(
    found: Sequence[tuple[object, NDArray[np.int64]]], true: Sequence[tuple[object, NDArray[np.int64]]]
) -> float:
    total = sum(len(rows) for _, rows in true)
    kept = sum(len(np.intersect1d(a, b)) for (_, a), (_, b) in zip(found, true, strict=True))
    return kept / total if total else 1.0
