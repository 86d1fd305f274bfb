"""The collection on disk: rows and vectors in, one durable SQLite transaction per change out."""

from __future__ import annotations

import json
import os
import uuid
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sentvec.errors import (
    CollectionBusy,
    CollectionCorrupt,
    CollectionError,
    CollectionNotFound,
)
from sentvec.extras import require
from sentvec.search.types import Entry, FileState, Row

FILE = "db.sqlite"
APPLICATION_ID = 0x5356_4543  # "SVEC": tells a collection from any other SQLite file
SCHEMA_VERSION = 1

# A row number is never used twice (AUTOINCREMENT): an index that lags behind never mistakes one for another.
_SCHEMA = """
CREATE TABLE meta(key TEXT PRIMARY KEY, value ANY NOT NULL) STRICT, WITHOUT ROWID;
CREATE TABLE files(
    file INTEGER PRIMARY KEY, path TEXT NOT NULL UNIQUE,
    size INTEGER NOT NULL, mtime_ns INTEGER NOT NULL, sha256 TEXT NOT NULL, read_ns INTEGER NOT NULL) STRICT;
CREATE TABLE passages(
    row INTEGER PRIMARY KEY AUTOINCREMENT, id TEXT NOT NULL UNIQUE, digest TEXT NOT NULL,
    file INTEGER REFERENCES files(file), line INTEGER, end_line INTEGER,
    text TEXT NOT NULL, metadata TEXT NOT NULL) STRICT;
CREATE INDEX passages_by_file ON passages(file);
CREATE INDEX passages_by_digest ON passages(digest);
CREATE TABLE vectors(
    row INTEGER PRIMARY KEY REFERENCES passages(row) ON DELETE CASCADE, vector BLOB NOT NULL) STRICT;
INSERT INTO meta VALUES ('commits', 0), ('removals', 0);
"""
_ENTRIES = """SELECT p.row, p.id, p.text, f.path, p.line, p.end_line, p.metadata
    FROM json_each(?) j JOIN passages p ON p.{column} = j.value LEFT JOIN files f USING (file)"""
_ENTRIES_BY_ID = _ENTRIES.format(column="id")
_ENTRIES_BY_ROW = _ENTRIES.format(column="row")


class Store:
    """One connection to a collection's database. Not for two threads at once.

    Attributes:
        folder: the collection's folder.
    """

    def __init__(self, folder: Path, busy_s: float) -> None:
        """Open the database that is in `folder`.

        Raises:
            CollectionNotFound: there is none.
            CollectionCorrupt: the file is damaged, or is no collection.
        """
        self.folder = folder
        self._apsw = require("apsw", extra="search")
        file = folder / FILE
        if not file.is_file():
            raise CollectionNotFound(
                f"There is no collection in {str(folder)!r}. Make one with `sentvec index PATH -c {folder}`, "
                "or Collection.open(path, model=...)."
            )
        with self._errors():
            self._db: Any = self._apsw.Connection(str(file), flags=self._apsw.SQLITE_OPEN_READWRITE)
            try:
                self._db.set_busy_timeout(int(busy_s * 1000))
                self._check()
                self._db.execute("PRAGMA synchronous=FULL")  # with WAL: one fdatasync before commit returns
                self._db.execute("PRAGMA foreign_keys=ON")
            except BaseException:
                self._db.close()
                raise

    def _check(self) -> None:
        application = self._value("PRAGMA application_id")
        version = self._value("PRAGMA user_version")
        if application != APPLICATION_ID:
            raise CollectionCorrupt(
                f"{self.folder / FILE} is not a sentvec collection, or is damaged. Nothing was changed. "
                "Restore it from a backup, or index your files into a new folder."
            )
        if version != SCHEMA_VERSION:
            raise CollectionError(
                f"The collection {str(self.folder)!r} has format {version}; this sentvec reads format "
                f"{SCHEMA_VERSION}. Use the sentvec that made it, or index your files into a new folder."
            )

    @classmethod
    def create(cls, folder: Path, meta: Mapping[str, str | int]) -> None:
        """Make an empty collection, whole or not at all; one that is there already is left alone.

        The database is built beside its place and linked into it: a process killed half-way leaves no
        database that looks damaged, and of two that create at once, one wins and both use it.
        """
        apsw_ = require("apsw", extra="search")
        folder.mkdir(parents=True, exist_ok=True)
        building = folder / f".{FILE}.{uuid.uuid4().hex}"
        db = apsw_.Connection(str(building))
        try:
            db.execute("PRAGMA page_size=8192; PRAGMA journal_mode=WAL").fetchall()
            db.execute("PRAGMA synchronous=FULL; BEGIN")
            db.execute(_SCHEMA)
            db.executemany("INSERT INTO meta VALUES (?, ?)", meta.items())
            db.execute(f"PRAGMA application_id={APPLICATION_ID}; PRAGMA user_version={SCHEMA_VERSION}; COMMIT")
            db.close()  # the last connection: folds the log into the file and syncs it
            _place(building, folder / FILE)
        finally:
            db.close()
            for rest in folder.glob(f"{building.name}*"):
                rest.unlink(missing_ok=True)

    @contextmanager
    def _errors(self) -> Iterator[None]:
        """Turn SQLite's errors into ours, each with its next step."""
        a = self._apsw
        where = repr(str(self.folder))
        try:
            yield
        except (a.BusyError, a.LockedError) as error:
            raise CollectionBusy(
                f"Another process is writing to the collection {where}. Try again when it has finished."
            ) from error
        except (a.CorruptError, a.NotADBError, a.FormatError, a.SQLError) as error:
            # SQLError: our own statements are right, so a table or column that they name must be gone.
            raise CollectionCorrupt(
                f"The database of the collection {where} is damaged ({error}). Nothing was changed. "
                "Restore it from a backup, or index your files into a new folder."
            ) from error
        except (a.FullError, a.IOError, a.ReadOnlyError, a.CantOpenError, a.PermissionsError) as error:
            raise CollectionError(
                f"The collection {where} cannot be read or written ({error}). What was committed before is "
                "safe. Check the disk's space and the folder's permissions."
            ) from error

    @contextmanager
    def reading(self) -> Iterator[None]:
        """See one state of the collection throughout, whatever others commit meanwhile."""
        with self._errors():
            self._db.execute("BEGIN")
            try:
                yield
            finally:
                self._db.execute("ROLLBACK")

    @contextmanager
    def writing(self) -> Iterator[None]:
        """Do all that is inside, or none of it. On return it is on the disk.

        Raises:
            CollectionBusy: another writer did not finish within the busy timeout.
        """
        with self._errors():
            self._db.execute("BEGIN IMMEDIATE")
            try:
                yield
                self._db.execute("UPDATE meta SET value = value + 1 WHERE key = 'commits'")
                self._db.execute("COMMIT")
            except BaseException:
                if self._db.in_transaction:
                    self._db.execute("ROLLBACK")
                raise

    def close(self) -> None:
        """Close the connection; the last one to close folds the write-ahead log into the database."""
        with self._errors():
            self._db.close()

    # What is stored ---------------------------------------------------------------------------------

    def meta(self) -> dict[str, Any]:
        """Return the collection's own facts: model, fingerprint, dim, metric, commits, removals."""
        with self._errors():
            return dict(self._db.execute("SELECT key, value FROM meta").fetchall())

    def clock(self) -> tuple[int, int]:
        """Return (commits, commits that removed rows) so far."""
        with self._errors():
            found = dict(
                self._db.execute("SELECT key, value FROM meta WHERE key IN ('commits', 'removals')").fetchall()
            )
            return found["commits"], found["removals"]

    def counts(self) -> tuple[int, int]:
        """Return (passages, files)."""
        with self._errors():
            return self._value("SELECT count(*) FROM passages"), self._value("SELECT count(*) FROM files")

    def rows(self) -> list[int]:
        """Return the rows of all passages."""
        with self._errors():
            return [row for (row,) in self._db.execute("SELECT row FROM passages")]

    def vectors_after(self, row: int, many: int) -> list[tuple[int, bytes]]:
        """Return up to `many` (row, vector) past `row`, in order."""
        with self._errors():
            return list(
                self._db.execute("SELECT row, vector FROM vectors WHERE row > ? ORDER BY row LIMIT ?", (row, many))
            )

    def vectors_of(self, digests: Iterable[str]) -> dict[str, bytes]:
        """Return digest -> vector of those texts that are stored."""
        with self._errors():
            return dict(
                self._db.execute(
                    "SELECT p.digest, v.vector FROM json_each(?) j "
                    "JOIN passages p ON p.digest = j.value JOIN vectors v USING (row)",
                    (json.dumps(list(digests)),),
                ).fetchall()
            )

    def entries(self, ids: Sequence[str]) -> dict[str, Entry]:
        """Return id -> entry of those ids that are stored."""
        with self._errors():
            found = self._db.execute(_ENTRIES_BY_ID, (json.dumps(list(ids)),))
            return {entry.id: entry for _, entry in map(_entry, found)}

    def entries_of_rows(self, rows: Sequence[int]) -> dict[int, Entry]:
        """Return row -> entry of those rows that are stored."""
        with self._errors():
            found = self._db.execute(_ENTRIES_BY_ROW, (json.dumps(list(rows)),))
            return dict(map(_entry, found))

    def file(self, path: str) -> FileState | None:
        """Return what is known of a file."""
        with self._errors():
            found = self._db.execute(
                "SELECT path, size, mtime_ns, sha256, read_ns FROM files WHERE path = ?", (path,)
            ).fetchall()
            return FileState(*found[0]) if found else None

    def paths(self) -> list[str]:
        """Return the paths of all files."""
        with self._errors():
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
                    "UPDATE passages SET file = ?, line = ?, end_line = ?, metadata = ? WHERE row = ?",
                    (file, row.line, row.end_line, row.metadata, there[0][0]),
                )
                replaced += 1
                continue
            if there:
                self._remove("id = ?", (row.id,))
                replaced += 1
            else:
                new += 1
            self._db.execute(
                "INSERT INTO passages(id, digest, file, line, end_line, text, metadata) VALUES (?, ?, ?, ?, ?, ?, ?)",
                (row.id, row.digest, file, row.line, row.end_line, row.text, row.metadata),
            )
            self._db.execute("INSERT INTO vectors VALUES (?, ?)", (self._db.last_insert_rowid(), vectors[row.digest]))
        return new, replaced

    def remove(self, ids: Sequence[str]) -> int:
        """Delete passages by id. Returns how many there were."""
        return self._remove("id IN (SELECT value FROM json_each(?))", (json.dumps(list(ids)),))

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
        removed: int = self._db.changes()
        if removed:
            self._db.execute("UPDATE meta SET value = value + 1 WHERE key = 'removals'")
        return removed

    def _value(self, sql: str, values: tuple[Any, ...] = ()) -> Any:
        return self._db.execute(sql, values).fetchall()[0][0]


def _entry(found: tuple[Any, ...]) -> tuple[int, Entry]:
    row, id_, text, source, line, end_line, metadata = found
    return row, Entry(id_, text, source, line, end_line, json.loads(metadata))


def _place(building: Path, file: Path) -> None:
    """Give a finished file its name, without replacing one that is there; both survive a power cut."""
    try:
        os.link(building, file)
    except FileExistsError:
        return
    except OSError:  # a file system without hard links
        if not file.exists():
            building.rename(file)
    folder = os.open(file.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
