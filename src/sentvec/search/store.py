"""The collection on disk: rows and vectors in, one durable SQLite transaction per change out."""

from __future__ import annotations

import hashlib
import json
import os
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any, TypeVar

from sentvec.errors import CollectionCorrupt, CollectionError, CollectionNotFound, InvalidInput
from sentvec.extras import require
from sentvec.search.mark import acknowledge, acknowledged
from sentvec.search.passages import BY_ID, TOGETHER, Passage, by_row, entry
from sentvec.search.schema import (
    APPLICATION_ID,
    CHECKED,
    FILE,
    SCHEMA_VERSION,
    Moment,
    changed,
    connect,
    damaged,
    translated,
    upgrade,
)
from sentvec.search.types import Entry, FileState, Row
from sentvec.search.words import segmented

CACHE_MIB = 64
"""Of pages, where many are read or written: those of some 60,000 short passages, or of their indexes."""

_LONGEST_S = 1_000_000  # of waiting; SQLite counts milliseconds by 32 bits

_Key = TypeVar("_Key", int, str)


class Store:
    """One connection to a collection's database. Not for two threads at once.

    Attributes:
        folder: the collection's folder.
    """

    def __init__(self, folder: Path, busy_s: float, *, mend: bool = False, cache_mib: int = 2) -> None:
        """Open the database that is in `folder`.

        Args:
            folder: the collection's.
            busy_s: seconds to wait for another process that is writing.
            mend: open it even where commits are lost, to go on without them.
            cache_mib: memory for pages that were read; each one that is not there is held against its checksum anew.

        Raises:
            CollectionNotFound: there is none.
            CollectionCorrupt: the file is damaged, is no collection, or has lost commits.
            CollectionError: it cannot be read or written.
        """
        self.folder = folder
        require("apsw", extra="search")
        self._errors: AbstractContextManager[None] = translated(folder)
        self._file = folder / FILE
        with self._errors:
            if not self._file.is_file():
                raise CollectionNotFound(
                    f"There is no collection in {str(folder)!r}. Make one with `sentvec index PATH -c {folder}`, "
                    "or Collection.open(path, model=...)."
                )
            if not isinstance(busy_s, int | float) or not 0 <= busy_s <= _LONGEST_S:
                raise InvalidInput(f"busy_timeout is {busy_s!r}; accepted: seconds, from 0 to {_LONGEST_S}.")
            self._opened, self._failed = self._file.stat(), False
            log = Path(f"{self._file}-wal")
            logged = log.exists() and log.stat().st_size > 0
            self._db: Any = connect(self._file)
            self._moment = Moment(self._db, self._errors)
            try:
                self._db.set_busy_timeout(int(busy_s * 1000))
                self._db.execute("PRAGMA synchronous=FULL")  # with WAL: one fdatasync before commit returns
                self._db.execute(f"PRAGMA foreign_keys=ON; PRAGMA cache_size=-{cache_mib << 10}")
                if not logged and self._opened.st_size % self._value("PRAGMA page_size"):
                    raise damaged(folder, "its file ends within a page")  # SQLite would fill it up with zeros
                self._check(mend=mend)
                self._fingerprint = self._made_by()
            except BaseException:
                self._db.close()
                raise

    def _check(self, *, mend: bool) -> None:
        application = self._value("PRAGMA application_id")
        version = self._value("PRAGMA user_version")
        if application != APPLICATION_ID:
            raise CollectionCorrupt(
                f"{self.folder / FILE} is not a sentvec collection, or is damaged. Nothing was changed. "
                "Restore it from a backup, or index your files into a new folder."
            )
        if version == 1:
            upgrade(self._db)
        elif version != SCHEMA_VERSION:
            raise CollectionError(
                f"The collection {str(self.folder)!r} has format {version}; this sentvec reads format "
                f"{SCHEMA_VERSION}. Use the sentvec that made it, or index your files into a new folder."
            )
        checked = self._value("SELECT coalesce((SELECT value FROM meta WHERE key = 'checksums'), -1)")
        if checked != int(self._db.reserve_bytes() == CHECKED):
            raise damaged(self.folder, "it does not say whether its pages carry checksums")
        known = acknowledged(self.folder)  # before the commits are counted: another process may add to both
        lost = known - self.commits()
        if lost > 0 and not mend:
            raise damaged(
                self.folder,
                f"its last {lost} commits are missing, though they were acknowledged: its write-ahead log was cut, or "
                "an older database put in its place; `sentvec verify --repair` goes on with what is there",
            )
        if lost > 0:
            acknowledge(self.folder, known - lost)

    def reading(self) -> AbstractContextManager[None]:
        """See one state of the collection throughout, whatever others commit meanwhile."""
        return self._moment

    @contextmanager
    def writing(self) -> Iterator[None]:
        """Do all that is inside, or none of it. On return it is on the disk.

        Raises:
            CollectionBusy: another writer did not finish within the busy timeout.
            CollectionError: the database has been deleted or replaced since it was opened.
            ModelMismatch: its vectors have been made anew with another model since then.
        """
        with self._errors:
            self._check_place()
            self._db.execute("BEGIN IMMEDIATE")
            try:
                if self._made_by() != self._fingerprint:
                    raise changed(self.folder)
                yield
                commits = self._value("UPDATE meta SET value = value + 1 WHERE key = 'commits' RETURNING value")
                self._check_place()
                self._db.execute("COMMIT")
            except BaseException as error:
                # After a disk has failed once, what it says next is not to be trusted: Linux forgets such errors.
                self._failed = isinstance(error, require("apsw", extra="search").IOError)
                if self._db.in_transaction:
                    self._db.execute("ROLLBACK")
                raise
            acknowledge(self.folder, commits)

    def _made_by(self) -> Any:
        return self._value("SELECT coalesce((SELECT value FROM meta WHERE key = 'fingerprint'), '')")

    def _check_place(self) -> None:
        """Refuse to write to a file that has no name any more, where what it holds ends with this process."""
        if self._failed:
            raise CollectionError(
                f"Writing to the collection {str(self.folder)!r} has failed before. What was committed is safe. Look "
                "after the disk, open the collection again and `sentvec verify` it."
            )
        try:
            same = os.path.samestat(self._file.stat(), self._opened)
        except FileNotFoundError:
            same = False
        if not same:
            raise CollectionError(
                f"The collection {str(self.folder)!r} was deleted or replaced while it was open. Nothing was "
                "written; open it again."
            )

    def close(self) -> None:
        """Close the connection; the last one to close folds the write-ahead log into the database."""
        with self._errors:
            self._db.close()

    def select(self, sql: str, values: Sequence[Any] = ()) -> Iterator[tuple[Any, ...]]:
        """Give the rows of a query of our own, one after the other."""
        with self._errors:
            yield from self._db.execute(sql, tuple(values))

    def change(self, sql: str, values: Sequence[Any] = ()) -> None:
        """Run a statement of our own, within `writing()`."""
        with self._errors:
            self._db.execute(sql, tuple(values)).fetchall()

    # What is stored ---------------------------------------------------------------------------------

    def meta(self) -> dict[str, Any]:
        """Return the collection's own facts: model, fingerprint, dim, metric, commits, the active generation."""
        with self._errors:
            return dict(self._db.execute("SELECT key, value FROM meta").fetchall())

    def commits(self) -> int:
        """Return how many commits there have been."""
        with self._errors:
            found = self._db.execute("SELECT value FROM meta WHERE key = 'commits'").get
            if not isinstance(found, int):
                raise damaged(self.folder, "it does not count its changes")
            return found

    def counts(self) -> tuple[int, int]:
        """Return (passages, files)."""
        with self._errors:
            return self._value("SELECT count(*) FROM passages"), self._value("SELECT count(*) FROM files")

    def rows_where(self, condition: str, values: Sequence[Any] = ()) -> list[int]:
        """Return the rows whose metadata meets a condition, in order.

        Args:
            condition: SQL on the column `metadata`, our own text.
            values: what its question marks stand for.
        """
        with self._errors:
            found = self._db.execute(
                # S608: the names are our own, values are bound
                f"SELECT row FROM passages JOIN records USING (record) WHERE {condition} ORDER BY row",  # noqa: S608
                tuple(values),
            )
            return [row for (row,) in found]

    def rows_of_words(self, match: str, most: int, allowed: Sequence[int] | None = None) -> list[tuple[int, float]]:
        """Return (row, score) of the passages that a full-text query finds, by BM25, best first; greater is better.

        Args:
            match: the query, as `sentvec.search.words.match_query` writes it.
            most: how many at most.
            allowed: rows that may be found; None is all.
        """
        condition = "" if allowed is None else "AND rowid IN (SELECT value FROM json_each(?)) "
        values = (match, most) if allowed is None else (match, json.dumps(list(allowed)), most)
        with self._errors:
            found = self._db.execute(
                # S608: the names are our own, values are bound
                f"SELECT rowid, -rank FROM words WHERE words MATCH ? {condition}ORDER BY rank, rowid LIMIT ?",  # noqa: S608
                values,
            )
            return list(found)

    def with_words(self, match: str) -> int:
        """Return how many passages a full-text query finds."""
        with self._errors:
            return int(self._value("SELECT count(*) FROM words WHERE words MATCH ?", (match,)))

    def row_of(self, id_: str) -> int | None:
        """Return the row of a passage, if it is there."""
        with self._errors:
            found = self._db.execute("SELECT row FROM passages WHERE id = ?", (id_,)).fetchall()
            return int(found[0][0]) if found else None

    def vectors_after(self, row: int, many: int, table: str = "vectors") -> list[tuple[int, bytes]]:
        """Return up to `many` (row, vector) past `row`, in order."""
        sql = f"SELECT row, vector, crc32 FROM {table} WHERE row > ? ORDER BY row LIMIT ?"  # noqa: S608, our own names
        with self._errors:
            return [self._sound(*one) for one in self._db.execute(sql, (row, many))]

    def vectors_of(self, digests: Iterable[str]) -> dict[str, bytes]:
        """Return digest -> vector of those texts that are stored."""
        with self._errors:
            found = self._db.execute(
                "SELECT p.digest, v.vector, v.crc32 FROM json_each(?) j "
                "JOIN passages p ON p.digest = j.value JOIN vectors v USING (row)",
                (json.dumps(list(digests)),),
            )
            return dict(self._sound(*one) for one in found)

    def _sound(self, key: _Key, vector: bytes, crc32: int) -> tuple[_Key, bytes]:
        """Return a vector as it was written: SQLite itself does not see when bits of it have changed."""
        if zlib.crc32(vector) != crc32:
            raise damaged(self.folder, f"the vector of {key!r} is not as it was written")
        return key, vector

    def entries(self, ids: Sequence[str]) -> dict[str, Entry]:
        """Return id -> entry of those ids that are stored."""
        with self._errors:
            found = self._db.execute(BY_ID, (json.dumps(list(ids)),))
            return {held[1]: entry(self.folder, held) for held in found}

    def entries_of_rows(self, rows: Sequence[int]) -> dict[int, Entry]:
        """Return row -> entry of those rows that are stored."""
        with self._errors:
            return {row: entry(self.folder, held) for row, held in self.passages(list(rows)).items()}

    def passages(self, rows: Sequence[int]) -> dict[int, Passage]:
        """Return row -> what is stored, for those rows that are."""
        found: dict[int, Passage] = {}
        with self._errors:
            for first in range(0, len(rows), TOGETHER):
                part = rows[first : first + TOGETHER]
                found.update((held[0], held) for held in self._db.execute(by_row(len(part)), part).fetchall())
        return found

    def file(self, path: str) -> FileState | None:
        """Return what is known of a file."""
        with self._errors:
            found = self._db.execute(
                "SELECT path, size, mtime_ns, sha256, read_ns FROM files WHERE path = ?", (path,)
            ).fetchall()
            return FileState(*found[0]) if found else None

    def paths(self) -> list[str]:
        """Return the paths of all files."""
        with self._errors:
            return [path for (path,) in self._db.execute("SELECT path FROM files ORDER BY path")]

    # Changes: within `writing()` only ---------------------------------------------------------------

    def touch(self, state: FileState) -> int:
        """Store a file's state; returns its number."""
        return int(
            self._value(
                "INSERT INTO files(path, size, mtime_ns, sha256, read_ns) VALUES (?, ?, ?, ?, ?) "
                "ON CONFLICT(path) DO UPDATE SET size = excluded.size, mtime_ns = excluded.mtime_ns, "
                "sha256 = excluded.sha256, read_ns = excluded.read_ns RETURNING file",
                (state.path, state.size, state.mtime_ns, state.sha256, state.read_ns),
            )
        )

    def put(self, rows: Sequence[Row], vectors: Mapping[str, bytes], file: int | None) -> tuple[int, int]:
        """Insert passages, replacing those of the same id. Returns (new, replaced).

        A passage whose text is the same keeps its row and vector; only lines and metadata are updated.
        """
        new = replaced = 0
        for row in rows:
            there = self._db.execute("SELECT row, digest FROM passages WHERE id = ?", (row.id,)).fetchall()
            if there and there[0][1] == row.digest:
                self._db.execute(
                    "UPDATE passages SET file = ?, line = ?, end_line = ?, record = ? WHERE row = ?",
                    (file, row.line, row.end_line, self._record(row.metadata), there[0][0]),
                )
                replaced += 1
                continue
            if there:
                self._remove("id = ?", (row.id,))
                replaced += 1
            else:
                new += 1
            self._db.execute(
                "INSERT INTO passages(id, digest, file, line, end_line, text, record) VALUES (?, ?, ?, ?, ?, ?, ?)",
                (row.id, row.digest, file, row.line, row.end_line, row.text, self._record(row.metadata)),
            )
            number, vector = self._db.last_insert_rowid(), vectors[row.digest]
            self._db.execute("INSERT INTO vectors VALUES (?, ?, ?)", (number, vector, zlib.crc32(vector)))
            self._db.execute("INSERT INTO words(rowid, text) VALUES (?, ?)", (number, segmented(row.text)))
        return new, replaced

    def _record(self, metadata: str) -> int:
        """Return the number under which metadata is stored, once however many passages refer to it."""
        digest = hashlib.blake2b(metadata.encode(), digest_size=16).digest()
        found = self._db.execute("SELECT record FROM records WHERE digest = ?", (digest,)).fetchall()
        if found:
            return int(found[0][0])
        self._db.execute("INSERT INTO records(digest, metadata) VALUES (?, ?)", (digest, metadata))
        return int(self._db.last_insert_rowid())

    def remove(self, ids: Sequence[str]) -> int:
        """Delete passages by id. Returns how many there were."""
        return self._remove("id IN (SELECT value FROM json_each(?))", (json.dumps(list(ids)),))

    def remove_where(self, condition: str, values: Sequence[Any]) -> int:
        """Delete the passages whose metadata meets a condition, as for `rows_where`. Returns how many there were."""
        inside = f"row IN (SELECT row FROM passages JOIN records USING (record) WHERE {condition})"  # noqa: S608, ours
        return self._remove(inside, tuple(values))

    def remove_of_file(self, file: int, keep: Sequence[str]) -> int:
        """Delete the passages of a file, except those whose ids are to be kept."""
        return self._remove("file = ? AND id NOT IN (SELECT value FROM json_each(?))", (file, json.dumps(list(keep))))

    def forget_file(self, path: str) -> int:
        """Delete a file and its passages. Returns how many passages there were."""
        file = self._value("SELECT coalesce((SELECT file FROM files WHERE path = ?), -1)", (path,))
        removed = self._remove("file = ?", (file,))
        self._db.execute("DELETE FROM files WHERE file = ?", (file,))
        return removed

    def _remove(self, condition: str, values: tuple[Any, ...]) -> int:
        self._db.execute(f"DELETE FROM passages WHERE {condition}", values)  # noqa: S608, our own text
        return int(self._db.changes())

    def _value(self, sql: str, values: tuple[Any, ...] = ()) -> Any:
        return self._db.execute(sql, values).fetchall()[0][0]
