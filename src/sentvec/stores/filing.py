"""Files and folders in; a store that holds their passages, each encoded once, out."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from sentvec.errors import InvalidInput
from sentvec.progress import track
from sentvec.search.checks import vectors_of_model
from sentvec.search.ingest import GROUP, cut_file, named_records
from sentvec.search.types import Entry, IndexReport, Row, TextEncoder
from sentvec.search.walk import Found
from sentvec.stores import border
from sentvec.stores.opening import spec_of
from sentvec.stores.protocol import Array, Batch, Store


@dataclass(frozen=True, slots=True)
class _File:
    """A file that was read: what is new of it, what is there with other lines or metadata, and ids that are gone."""

    new: tuple[Entry, ...]
    moved: Batch
    gone: tuple[str, ...]
    kept: int

    @property
    def changed(self) -> bool:
        """Whether anything of it is to be written."""
        return bool(self.new or self.moved.entries or self.gone)


def file_in(found: Found, store: Store, model: TextEncoder, *, progress: bool | None = False) -> IndexReport:
    """Add files, and bring those that are there up to date: of a changed file, only new passages are encoded.

    A run that was stopped is run again: what it had written is not encoded again.

    Args:
        found: the files.
        store: where to write.
        model: the one that makes the store's vectors.
        progress: as in `sentvec.progress.track`.

    Raises:
        ModelMismatch: another model made the store's vectors.
    """
    border.agreed(store.spec, spec_of(model), store.url)
    limit = model.passage_tokens
    report = IndexReport(files=len(found.files), skipped=found.unreadable, ignored=found.ignored)
    waiting: list[_File] = []
    with track("Indexing (files)", len(found.files), progress) as advance:
        for path in found.files:
            try:
                rows, bad = cut_file(path, model, limit)
                file = _compared(path, rows, store)
            except InvalidInput as error:
                report = replace(report, skipped=(*report.skipped, (path, str(error))))
                advance(1)
                continue
            report = replace(report, bad_records=report.bad_records + named_records(path, bad))
            waiting.append(file)
            if sum(len(one.new) for one in waiting) >= GROUP:
                report = _written(waiting, store, model, report)
                waiting = []
            advance(1)
        return _written(waiting, store, model, report)


def _compared(path: str, rows: Sequence[Row], store: Store) -> _File:
    entries = [Entry(row.id, row.text, path, row.line, row.end_line, json.loads(row.metadata)) for row in rows]
    empty = np.zeros((len(entries), store.spec.dim), np.float32) + 1
    border.checked(Batch(tuple(entries), empty), store.spec, store.caps)  # a file that cannot be stored is named
    held = set(store.ids_of_source(path))
    there = store.get([entry.id for entry in entries if entry.id in held])
    before = dict(
        zip((entry.id for entry in there.entries), zip(there.entries, there.vectors, strict=True), strict=True)
    )
    moved = [entry for entry in entries if entry.id in before and before[entry.id][0] != entry]
    vectors = [before[entry.id][1] for entry in moved]
    return _File(
        tuple(entry for entry in entries if entry.id not in before),
        Batch(tuple(moved), np.array(vectors, np.float32).reshape(-1, store.spec.dim)),
        tuple(held - {entry.id for entry in entries}),
        len(before),
    )


def _written(waiting: Sequence[_File], store: Store, model: TextEncoder, report: IndexReport) -> IndexReport:
    new = [entry for file in waiting for entry in file.new]
    for first in range(0, len(new), GROUP):
        part = new[first : first + GROUP]
        store.upsert(Batch(tuple(part), _vectors(part, model)))
    removed = 0
    for file in waiting:
        if file.moved.entries:
            store.upsert(file.moved)
        if file.gone:  # only after what came in its place is there
            removed += store.delete(list(file.gone))
    changed = sum(file.changed for file in waiting)
    return replace(
        report,
        changed_files=report.changed_files + changed,
        unchanged_files=report.unchanged_files + len(waiting) - changed,
        added=report.added + len(new),
        unchanged=report.unchanged + sum(file.kept for file in waiting),
        removed=report.removed + removed,
        encoded=report.encoded + len(new),
    )


def _vectors(part: Sequence[Entry], model: TextEncoder) -> Array:
    vectors = model.encode_document([entry.text for entry in part], progress=False)
    return vectors_of_model(vectors, (len(part), model.dim), model.name)
