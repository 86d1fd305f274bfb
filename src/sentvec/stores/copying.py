"""Everything of one store in; the same in another, counted, out. What is there already is not written again."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass

import numpy as np

from sentvec.errors import CollectionError, InvalidInput
from sentvec.progress import track
from sentvec.search.types import Entry
from sentvec.stores.protocol import Array, Batch, Store

_NEAR = 1e-5  # by which numbers of vectors of length 1 may differ: servers scale them in float32


@dataclass(frozen=True, slots=True)
class CopyReport:
    """What `copy` did. Numbers of passages.

    Attributes:
        read: what the source holds.
        added: passages that were not in the target.
        updated: passages whose text, metadata or vector was another one there.
        unchanged: passages that were there already.
        others: passages that the target holds and the source does not.
        seconds: how long it took.
    """

    read: int
    added: int
    updated: int
    unchanged: int
    others: int
    seconds: float


def copy(source: Store, target: Store, *, many: int = 256, progress: bool | None = False) -> CopyReport:
    """Copy all passages with their vectors; no model is needed. What only the target holds stays.

    A run that was stopped is run again: it reads everything, and writes what is not there yet.

    Args:
        source: where to read; nothing should be written to it meanwhile.
        target: where to write, opened with the spec of the source.
        many: passages read and written at once.
        progress: as in `sentvec.progress.track`.

    Raises:
        InvalidInput: both are the same, or a passage cannot be stored in the target.
        CollectionError: the numbers do not agree in the end, because others wrote meanwhile.
    """
    if source.url == target.url:
        raise InvalidInput(f"{source.url} cannot be copied to itself; give another target.")
    begun, before, total = time.monotonic(), target.count(), source.count()
    read = added = updated = 0
    with track("Copying (passages)", total, progress) as advance:
        for batch in source.scan(many):
            new, changed = _missing(batch, target)
            if places := sorted(new + changed):
                target.upsert(Batch(tuple(batch.entries[n] for n in places), batch.vectors[places]))
            read, added, updated = read + len(batch.entries), added + len(new), updated + len(changed)
            advance(len(batch.entries))
    there = target.count()
    if (read, there) != (total, before + added):
        raise CollectionError(
            f"{read} of {total} passages of {source.url} were read, and {target.url} holds {there}, not "
            f"{before + added}: one of both was written to meanwhile. Run the same again when they rest."
        )
    return CopyReport(read, added, updated, read - added - updated, there - read, time.monotonic() - begun)


def _missing(batch: Batch, target: Store) -> tuple[list[int], list[int]]:
    """Return the places of passages that are not in the target, and of those that are others there."""
    held = target.get([entry.id for entry in batch.entries])
    there = {entry.id: n for n, entry in enumerate(held.entries)}
    new, changed = [], []
    for n, entry in enumerate(batch.entries):
        if (place := there.get(entry.id)) is None:
            new.append(n)
        elif not (_same(entry, held.entries[place]) and _near(batch.vectors[n], held.vectors[place], target)):
            changed.append(n)
    return new, changed


def _same(a: Entry, b: Entry) -> bool:
    plain = (a.text, a.source, a.line, a.end_line) == (b.text, b.source, b.line, b.end_line)
    # as JSON, because to Python 1 equals true
    return plain and json.dumps(dict(a.metadata), sort_keys=True) == json.dumps(dict(b.metadata), sort_keys=True)


def _near(a: Array, b: Array, target: Store) -> bool:
    if target.spec.metric != "cosine":
        return bool(np.array_equal(a, b))
    return bool(np.abs(a / np.linalg.norm(a) - b / np.linalg.norm(b)).max(initial=0) <= _NEAR)
