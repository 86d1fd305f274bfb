"""Bring files into a collection: their passages in, one commit per file or group of small files out."""

from __future__ import annotations

import hashlib
import logging
import os
import stat
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from sentvec.errors import InvalidInput
from sentvec.progress import Advance, track
from sentvec.search.checks import bounded
from sentvec.search.readers import read
from sentvec.search.store import Store
from sentvec.search.tables import Record
from sentvec.search.types import FileState, IndexReport, Row, TextEncoder, text_digest
from sentvec.search.walk import Found, belongs, shown
from sentvec.text.chunking import passages

_log = logging.getLogger("sentvec")

GROUP = 128  # passages of small files that are committed together: a run that is stopped loses seconds
RECENT_NS = 2_000_000_000  # a file written this shortly before it was read may have changed since, unseen
NAMED_BAD_RECORDS = 100  # of one file; the rest are counted in the last one's reason
FILE_LIMIT = 1 << 30  # bytes; a file is read whole, and its tokens take several times its size in memory
_CHOSEN = 10  # columns of a table that are named
_GROWTH = 1 << 20  # bytes by which a file may grow between being looked at and being read
_LATEST_NS = (1 << 63) - 1  # in the year 2262: SQLite's largest number; its opposite is in 1677

Vectors = Callable[[Sequence[Row], Advance], tuple[Mapping[str, bytes], int]]


@dataclass(frozen=True, slots=True)
class _Prepared:
    """A file that has been looked at.

    Attributes:
        state: what to store of it, or None where nothing is new.
        rows: its passages, to be encoded and stored; none where its content is as it was.
        bad: (line, reason) of records left out, or stored in part.
    """

    state: FileState | None
    rows: tuple[Row, ...] = ()
    bad: tuple[tuple[int, str], ...] = ()


def index_files(
    found: Found, store: Store, model: TextEncoder, vectors: Vectors, *, prune: bool, progress: bool | None
) -> IndexReport:
    """Read, cut, encode and store all files that have changed.

    Each file is committed whole, so that a process that is killed loses only files not yet committed.

    Args:
        found: the files.
        store: where to write.
        model: gives the tokens by which files are cut.
        vectors: (rows, advance) -> digest -> vector of each of them, and how many went through the model.
        prune: also delete files of the given folders that are gone.
        progress: as in `sentvec.progress.track`.
    """
    limit = model.passage_tokens  # asked for once, before anything is done: a prompt may leave no room at all
    report = IndexReport(files=len(found.files), skipped=found.unreadable, ignored=found.ignored)
    waiting: list[_Prepared] = []
    with track("Indexing (bytes)", sum(map(_size, found.files)), progress) as advance:
        for path in found.files:
            try:
                file = _prepare(path, store, model, limit)
            except InvalidInput as error:
                report = replace(report, skipped=(*report.skipped, (shown(path), _reason(error, path, store))))
                advance(_size(path))
                continue
            report = replace(report, bad_records=report.bad_records + named_records(path, file.bad))
            if not file.rows:
                report = replace(report, unchanged_files=report.unchanged_files + 1)
                advance(_size(path))
            if file.state is not None:
                waiting.append(file)
            if sum(max(1, len(one.rows)) for one in waiting) >= GROUP:
                report = _commit(waiting, store, vectors, advance, report)
                waiting = []
        report = _commit(waiting, store, vectors, advance, report)
    gone = _gone(found, store)
    return _pruned(gone, store, report) if prune else replace(report, gone=gone)


def _prepare(path: str, store: Store, model: TextEncoder, limit: int) -> _Prepared:
    """Look at a file, and read and cut it where it has changed.

    Raises:
        InvalidInput: it cannot be read; the message is the reason.
    """
    if shown(path) != path:
        raise InvalidInput("its name is not UTF-8; rename it")
    before = store.file(path)
    read_ns = time.time_ns()
    try:
        status = Path(path).stat()
        mtime_ns = max(-_LATEST_NS, min(status.st_mtime_ns, _LATEST_NS))
        same = before is not None and (before.size, before.mtime_ns) == (status.st_size, mtime_ns)
        if same and before is not None and before.read_ns - before.mtime_ns > RECENT_NS:
            return _Prepared(None)
        data = _content(path, status)
        sha256 = hashlib.sha256(data).hexdigest()
        state = FileState(path, status.st_size, mtime_ns, sha256, read_ns)
        if before is not None and before.sha256 == sha256:
            return _Prepared(state)
        rows, bad = _cut(path, data, model, limit)
    except OSError as error:
        raise InvalidInput(f"cannot be read: {error.strerror}") from None
    except MemoryError:
        raise InvalidInput("there is not enough memory for it; split it") from None
    return _Prepared(state, rows, bad)


def cut_file(path: str, model: TextEncoder, limit: int) -> tuple[tuple[Row, ...], tuple[tuple[int, str], ...]]:
    """Read a file and cut it; returns its passages, and (line, reason) of records left out or stored in part.

    Raises:
        InvalidInput: it cannot be read; the message is the reason.
    """
    if shown(path) != path:
        raise InvalidInput("its name is not UTF-8; rename it")
    try:
        return _cut(path, _content(path, Path(path).stat()), model, limit)
    except OSError as error:
        raise InvalidInput(f"cannot be read: {error.strerror}") from None
    except MemoryError:
        raise InvalidInput("there is not enough memory for it; split it") from None


def _cut(path: str, data: bytes, model: TextEncoder, limit: int) -> tuple[tuple[Row, ...], tuple[tuple[int, str], ...]]:
    reading = read(path, data)
    if reading.chosen:
        more = ", …" * (len(reading.chosen) > _CHOSEN)
        _log.info("%s: text from %s%s", path, ", ".join(reading.chosen[:_CHOSEN]), more)
    fields = [bounded(record.metadata) for record in reading.records]
    rows = tuple(_rows(path, zip(reading.records, (text for text, _ in fields), strict=True), model, limit))
    if not rows:
        raise InvalidInput("empty")
    cut = [(record.line, told) for record, (_, told) in zip(reading.records, fields, strict=True) if told]
    return rows, tuple(sorted([*reading.bad, *cut]))


def _content(path: str, status: os.stat_result) -> bytes:
    """Read a file, but never without end.

    A size of 0 is believed: files of the kernel (/proc) have it too, and some of them wait when they are read.
    """
    if not stat.S_ISREG(status.st_mode):
        raise InvalidInput("not a regular file")
    if status.st_size > FILE_LIMIT:
        raise InvalidInput(f"too large: {status.st_size} bytes, of at most {FILE_LIMIT}; split it")
    if status.st_size == 0:
        raise InvalidInput("empty")
    with Path(path).open("rb") as file:
        data = file.read(status.st_size + _GROWTH)
    if len(data) == status.st_size + _GROWTH:
        raise InvalidInput("it grows while it is read; index it again later")
    return data


def _rows(path: str, records: Iterable[tuple[Record, str]], model: TextEncoder, limit: int) -> Iterator[Row]:
    """Cut the records of a file into passages, each with an id that stays while its text stays."""
    times: Counter[str] = Counter()
    for record, metadata in records:
        for passage in passages(record.text, model.token_spans, limit):
            key = text_digest(passage.text, model.fingerprint)
            times[key] += 1
            again = f"-{times[key]}" if times[key] > 1 else ""
            line = passage.line if record.prose else record.line
            end_line = passage.end_line if record.prose else record.line
            yield Row(f"{path}#{key[:16]}{again}", passage.text, key, line, end_line, metadata)


def _commit(
    waiting: Sequence[_Prepared], store: Store, vectors: Vectors, advance: Advance, report: IndexReport
) -> IndexReport:
    """Encode what is new in the waiting files, and commit them all at once."""
    if not waiting:
        return report
    changed = [(file.state, file.rows) for file in waiting if file.state is not None and file.rows]
    rows = [row for _, part in changed for row in part]
    total, done, moved = sum(state.size for state, _ in changed), 0, 0

    def encoded(steps: int, tokens: int = 0, *, label: str | None = None, note: str | None = None) -> None:
        nonlocal done, moved
        done += steps
        reached = total * done // len(rows)
        advance(reached - moved, tokens, label=label)
        moved = reached

    found, fresh = vectors(rows, encoded) if rows else ({}, 0)
    added = unchanged = removed = 0
    with store.writing():
        for file in waiting:
            if file.state is None:
                continue
            number = store.touch(file.state)
            if file.rows:
                removed += store.remove_of_file(number, [row.id for row in file.rows])
                new, there = store.put(file.rows, found, number)
                added, unchanged = added + new, unchanged + there
    advance(total - moved)
    return replace(
        report,
        changed_files=report.changed_files + len(changed),
        added=report.added + added,
        unchanged=report.unchanged + unchanged,
        removed=report.removed + removed,
        encoded=report.encoded + fresh,
    )


def _gone(found: Found, store: Store) -> tuple[str, ...]:
    """Return the files that the collection holds of the given folders and that are no longer in them.

    None is under a folder that could not be listed: its files may all be there.
    """
    there = frozenset(found.files)
    unseen = [path for path, _ in found.unreadable]
    return tuple(
        path
        for path in store.paths()
        if path not in there
        and any(belongs(path, folder) for folder in found.folders)
        and not any(belongs(path, folder) for folder in unseen)
    )


def _pruned(gone: Sequence[str], store: Store, report: IndexReport) -> IndexReport:
    if not gone:
        return report
    with store.writing():
        removed = sum(store.forget_file(path) for path in gone)
    return replace(report, removed_files=len(gone), removed=report.removed + removed)


def _reason(error: InvalidInput, path: str, store: Store) -> str:
    kept = "; what was indexed of it before is kept" if store.file(shown(path)) is not None else ""
    return f"{error}{kept}"


def named_records(path: str, bad: Sequence[tuple[int, str]]) -> tuple[tuple[str, int, str], ...]:
    """Return the path with each of these, as reports have them; beyond a hundred, counted."""
    named = [(path, line, reason) for line, reason in bad[:NAMED_BAD_RECORDS]]
    if len(bad) > len(named):
        _, line, reason = named[-1]
        named[-1] = (path, line, f"{reason} (and {len(bad) - len(named)} more lines of this file)")
    return tuple(named)


def _size(path: str) -> int:
    try:
        return Path(path).stat().st_size
    except OSError:
        return 0
