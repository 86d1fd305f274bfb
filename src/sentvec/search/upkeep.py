"""A collection's database in, a new generation of index files in use out; what is no longer used is removed."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

import numpy as np

from sentvec.errors import CollectionBusy, InvalidInput
from sentvec.index import kinds
from sentvec.index.menu import FLAT, factory_of
from sentvec.index.tuning import Tuning
from sentvec.progress import Advance, track
from sentvec.search import ledger, questions
from sentvec.search.disk import held, reached, remove_unused
from sentvec.search.encoding import numbers
from sentvec.search.generation import (
    Array,
    BadGeneration,
    Built,
    GoneGeneration,
    Ids,
    Source,
    read_manifest,
    write,
)
from sentvec.search.opening import Identity, identity
from sentvec.search.questions import Questions
from sentvec.search.schema import translated
from sentvec.search.store import Store
from sentvec.search.types import Active, CompactReport, Stats

LOCK = "upkeep.lock"
GENERATIONS = "gen-" + 6 * "[0-9]"
_LOAD = 8192  # vectors read from the database at once


@contextmanager
def upkeep(folder: Path) -> Iterator[None]:
    """Be the one process that builds or removes generations.

    Raises:
        CollectionBusy: another one is.
    """
    with translated(folder), held(folder / LOCK) as free:
        if not free:
            raise CollectionBusy(
                f"Another process is compacting or repairing the collection {str(folder)!r}. Try again when it has "
                "finished."
            )
        yield


def tidy(folder: Path, store: Store) -> None:
    """Remove generations that are not in use, and what a killed process left, unless another process sees to it."""
    active = ledger.active(store)
    names = [path for path in folder.glob(GENERATIONS) if active is None or path.name != f"gen-{active.generation:06d}"]
    left = [*names, *folder.glob(".tmp-*")]
    if not left:
        return
    with held(folder / LOCK) as free:
        if free:
            remove_old(folder, store)


def remove_old(folder: Path, store: Store) -> None:
    """Remove them, within `upkeep`. A generation that a reader still holds stays until the next upkeep."""
    active = ledger.active(store)  # again: it may have changed until the lock was held
    for path in [*folder.glob(GENERATIONS), *folder.glob(".tmp-*")]:
        if active is None or path.name != f"gen-{active.generation:06d}":
            remove_unused(path)


def compact(
    folder: Path,
    busy_s: float,
    kind: str | None,
    recall: float | None,
    progress: bool | None,
    given: Questions | None = None,
) -> CompactReport:
    """Build a generation of all passages and put it in use; see `Collection.compact`.

    Args:
        folder: the collection's.
        busy_s: seconds to wait for another process that is writing.
        kind: the index, that of the last generation if None.
        recall: that it should have, that asked for last if None.
        progress: as in `sentvec.progress.track`.
        given: questions to measure it with from now on; those that are kept, if None.
    """
    begun = time.monotonic()
    store = Store(folder, busy_s)
    try:
        with upkeep(folder):
            remove_old(folder, store)
            known, before = identity(store), ledger.active(store)
            wanted = ledger.recall(store) if recall is None else recall
            asked = kind if kind is not None else "auto" if before is None else before.kind
            factory_of(asked, known.dim, 1 << 20, known.metric)  # a mistyped kind should not cost reading everything
            measured = questions.kept(store, known.dim) if given is None else given
            active, seq = build(store, known, asked, wanted, progress, measured=measured)
            reached("before the switch")
            with store.writing():
                ledger.activate(store, active, seq)
                ledger.remember_recall(store, wanted)
                if given is not None:
                    questions.keep(store, given)
            reached("after the switch")
            remove_old(folder, store)
            reached("after the removal")
    finally:
        store.close()
    rows, number = (0, 0) if active is None else (active.rows, active.generation)
    return CompactReport(number, active.kind if active else FLAT, rows, time.monotonic() - begun)


def build(
    store: Store,
    known: Identity,
    kind: str,
    recall: float,
    progress: bool | None,
    table: str = "vectors",
    measured: Questions | None = None,
) -> tuple[Active | None, int]:
    """Write a generation of what the database holds at this moment, within `upkeep`.

    Args:
        store: the database.
        known: what made the vectors.
        kind: the index.
        recall: that it should have.
        progress: as in `sentvec.progress.track`.
        table: where the vectors are.
        measured: questions to measure the recall with; without them, passages stand for questions.

    Returns:
        The generation, None where there are no vectors, and the last removal before that moment.
    """
    folder = store.folder
    with ExitStack() as moment:
        moment.enter_context(store.reading())
        seq, last_row = ledger.last_removal(store), ledger.last_row(store, table)
        count, number = ledger.size(store, table), 1 + max([ledger.last_generation(store), *_numbers(folder)])
        if not count:
            return None, seq
        steps = count if factory_of(kind, known.dim, count, known.metric) == FLAT else 2 * count
        with track("Building the index (vectors)", steps, progress) as advance, translated(folder):
            blocks = _blocks(store, known, table, advance, moment.close)
            source = Source(known.metric, known.dim, known.fingerprint, last_row, blocks)
            asked = measured.vectors if measured else None
            manifest, sha256 = write(
                folder, number, source, lambda rows: _index(rows, known, kind, recall, asked, advance)
            )
    return Active(number, kind, manifest.rows, last_row, sha256), seq


def _numbers(folder: Path) -> list[int]:
    return [int(path.name[4:]) for path in folder.glob(GENERATIONS)]


def _blocks(
    store: Store, known: Identity, table: str, advance: Advance, done: Callable[[], None]
) -> Iterator[tuple[Ids, Array]]:
    row = 0
    while part := store.vectors_after(row, _LOAD, table):
        row = part[-1][0]
        yield np.array([one for one, _ in part], dtype=np.int64), numbers(store.folder, part, known.dim)
        advance(len(part))
    done()  # the index is built without a transaction, which would keep the write-ahead log from being emptied


def _index(vectors: Array, known: Identity, kind: str, recall: float, queries: Array | None, advance: Advance) -> Built:
    if factory_of(kind, known.dim, len(vectors), known.metric) == FLAT:
        return Built(FLAT)
    built = kinds.build(
        *(kind, kinds.in_blocks(vectors), len(vectors), known.dim, known.metric),
        recall=recall,
        queries=queries,
        advance=advance,
    )
    return Built(built.factory, built.write, {"tuning": built.tuning.as_dict()})


def stats(store: Store, known: Identity, bad: Mapping[int, str]) -> Stats:
    """Return the state of a collection.

    Args:
        store: the database.
        known: what made the vectors.
        bad: generations that a search has found damaged, and in what.
    """
    with store.reading():
        (count, files), active, asked = store.counts(), ledger.active(store), questions.count(store)
        removed = 0 if active is None else ledger.removed_until(store, active.last_row)
    rows = 0 if active is None else active.rows
    manifest = None
    damage = None if active is None else bad.get(active.generation)
    if active is not None and damage is None:
        try:
            manifest = read_manifest(store.folder, active.generation, active.manifest)
        except (BadGeneration, GoneGeneration) as error:
            damage = str(error)
    tuning = Tuning.from_dict(manifest.index["tuning"]) if manifest is not None and manifest.index else None
    return Stats(
        path=str(store.folder),
        passages=count,
        files=files,
        model=known.name,
        fingerprint=known.fingerprint,
        dim=known.dim,
        bytes=_size(store.folder),
        metric=known.metric,
        generation=0 if active is None else active.generation,
        index=FLAT if manifest is None else manifest.kind,
        indexed=rows - removed,
        later=count - (rows - removed),
        removed=removed,
        recall=None if tuning is None else tuning.chosen.recall,
        curve=() if tuning is None else tuple((p.effort, p.factor, p.recall, p.seconds) for p in tuning.curve),
        damage=damage,
        questions=asked,
    )


def _size(folder: Path) -> int:
    total = 0
    for file in folder.rglob("*"):
        with suppress(FileNotFoundError):  # another process has just removed it
            total += file.stat().st_size if file.is_file() else 0
    return total


def check_recall(recall: float | None) -> None:
    """Refuse a recall that is no share; None is that asked for last.

    Raises:
        InvalidInput: it is none.
    """
    if recall is None:
        return
    if isinstance(recall, bool) or not isinstance(recall, int | float) or not 0 < recall <= 1:
        raise InvalidInput(f"recall is {recall!r}; accepted: above 0, at most 1.")
