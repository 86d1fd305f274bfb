"""The database of a collection: an empty folder in, its tables made out; SQLite's errors in, ours out."""

from __future__ import annotations

import json
import os
import uuid
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, suppress
from functools import cache
from pathlib import Path
from types import TracebackType
from typing import Any

from sentvec.errors import CollectionBusy, CollectionCorrupt, CollectionError, ModelMismatch
from sentvec.extras import require
from sentvec.search.words import segmented

FILE = "db.sqlite"
APPLICATION_ID = 0x5356_4543  # "SVEC": tells a collection from any other SQLite file
SCHEMA_VERSION = 2
CHECKED = 8  # bytes at the end of each page, in which SQLite's cksumvfs keeps its checksum

# A row number is never used twice (AUTOINCREMENT): an index that lags behind never mistakes one for another.
# Equal metadata is stored once, and goes with the last passage that refers to it.
_ONE = """
CREATE TABLE meta(key TEXT PRIMARY KEY, value ANY NOT NULL) STRICT, WITHOUT ROWID;
CREATE TABLE files(
    file INTEGER PRIMARY KEY, path TEXT NOT NULL UNIQUE,
    size INTEGER NOT NULL, mtime_ns INTEGER NOT NULL, sha256 TEXT NOT NULL, read_ns INTEGER NOT NULL) STRICT;
CREATE TABLE records(record INTEGER PRIMARY KEY, digest BLOB NOT NULL UNIQUE, metadata TEXT NOT NULL) STRICT;
CREATE TABLE passages(
    row INTEGER PRIMARY KEY AUTOINCREMENT, id TEXT NOT NULL UNIQUE, digest TEXT NOT NULL,
    file INTEGER REFERENCES files(file), line INTEGER, end_line INTEGER,
    text TEXT NOT NULL, record INTEGER NOT NULL REFERENCES records(record)) STRICT;
CREATE INDEX passages_by_file ON passages(file);
CREATE INDEX passages_by_digest ON passages(digest);
CREATE INDEX passages_by_record ON passages(record);
CREATE TABLE vectors(
    row INTEGER PRIMARY KEY REFERENCES passages(row) ON DELETE CASCADE,
    vector BLOB NOT NULL, crc32 INTEGER NOT NULL) STRICT;
CREATE TRIGGER deleted AFTER DELETE ON passages
    WHEN NOT EXISTS (SELECT 1 FROM passages WHERE record = old.record)
    BEGIN DELETE FROM records WHERE record = old.record; END;
CREATE TRIGGER updated AFTER UPDATE OF record ON passages
    WHEN NOT EXISTS (SELECT 1 FROM passages WHERE record = old.record)
    BEGIN DELETE FROM records WHERE record = old.record; END;
INSERT INTO meta VALUES ('commits', 0);
"""

# What version 2 adds. `words`: the text of each passage, cut to words, for search by words. `removed`: which rows went,
# in order, so that an index in memory need not compare all rows; those that a new generation does not hold are
# forgotten when it becomes active. `generations`: the folder of index files that is in use, at most one. `shards`:
# parts of bulk encoding that are in already.
WORDS = """
CREATE VIRTUAL TABLE words USING fts5(
    text, content='', contentless_delete=1, tokenize='porter unicode61 remove_diacritics 2');
"""
_REST = """
CREATE TABLE removed(seq INTEGER PRIMARY KEY AUTOINCREMENT, row INTEGER NOT NULL) STRICT;
CREATE TABLE generations(
    generation INTEGER PRIMARY KEY, kind TEXT NOT NULL, rows INTEGER NOT NULL, last_row INTEGER NOT NULL,
    manifest TEXT NOT NULL) STRICT;
CREATE TABLE shards(key TEXT PRIMARY KEY, rows INTEGER NOT NULL) STRICT, WITHOUT ROWID;
CREATE TRIGGER removing AFTER DELETE ON passages BEGIN
    DELETE FROM words WHERE rowid = old.row;
    INSERT INTO removed(row) VALUES (old.row);
END;
INSERT INTO meta VALUES ('generation', 0);
"""
_TWO = WORDS + _REST


@cache
def _checksums() -> bool:
    """Make SQLite's checksums of pages known to this process; tell whether this build of apsw brings them."""
    apsw_ = require("apsw", extra="search")
    try:
        extra = require("apsw.sqlite_extra", extra="search")
        memory = apsw_.Connection(":memory:")
        try:
            extra.load(memory, "cksumvfs")
        finally:
            memory.close()
    except Exception:  # an older apsw, or a build without it: pages go unchecked, as in most databases
        return False
    return True


def connect(file: Path, *, new: bool = False) -> Any:
    """Open a database so that a page that is not as it was written is an error, where its pages carry checksums.

    Raises:
        CollectionError: they do, and this build of apsw cannot write them.
    """
    apsw_ = require("apsw", extra="search")
    flags = apsw_.SQLITE_OPEN_READWRITE | (apsw_.SQLITE_OPEN_CREATE if new else 0)
    db = apsw_.Connection(str(file), flags=flags, vfs="cksmvfs" if _checksums() else None)
    try:
        if new and _checksums():
            db.reserve_bytes(reserve=CHECKED)
        elif not _checksums() and db.reserve_bytes() == CHECKED:
            raise CollectionError(
                f"The collection {str(file.parent)!r} keeps checksums of its pages, which this build of apsw cannot. "
                'Install another: pip install -U "sentvec[search]"'
            )
    except BaseException:
        db.close()
        raise
    return db


def create(folder: Path, meta: Mapping[str, str | int]) -> None:
    """Make an empty collection, whole or not at all; one that is there already is left alone.

    The database is built beside its place and linked into it: a process killed half-way leaves no database
    that looks damaged, and of two that create at once, one wins and both use it.

    Raises:
        CollectionError: it cannot be written; what was made on the way is removed again.
    """
    require("apsw", extra="search")
    new = [part for part in (folder, *folder.parents) if not os.path.lexists(part)]
    building = folder / f".{FILE}.{uuid.uuid4().hex}"
    with translated(folder), _no_leftovers(building, new):
        folder.mkdir(parents=True, exist_ok=True)
        db = connect(building, new=True)
        try:
            checked = db.reserve_bytes() == CHECKED
            db.execute("PRAGMA page_size=8192; PRAGMA journal_mode=WAL").fetchall()
            db.execute("PRAGMA synchronous=FULL; BEGIN")
            db.execute(_ONE + _TWO)
            db.executemany("INSERT INTO meta VALUES (?, ?)", {**meta, "checksums": int(checked)}.items())
            db.execute(f"PRAGMA application_id={APPLICATION_ID}; PRAGMA user_version={SCHEMA_VERSION}; COMMIT")
        finally:
            db.close()  # the last connection: folds the log into the file and syncs it
        _place(building, folder / FILE)


def upgrade(db: Any) -> None:
    """Bring a database of version 1 to this version, whole or not at all; one that another process has is left."""
    db.execute("BEGIN IMMEDIATE")
    try:
        if db.execute("PRAGMA user_version").fetchall() == [(1,)]:
            db.execute(_TWO)
            db.execute("DELETE FROM meta WHERE key = 'removals'; INSERT INTO meta VALUES ('checksums', 0)")
            rows = db.execute("SELECT row, text FROM passages")
            db.executemany(
                "INSERT INTO words(rowid, text) VALUES (?, ?)", ((row, segmented(text)) for row, text in rows)
            )
            db.execute(f"PRAGMA user_version={SCHEMA_VERSION}")
        db.execute("COMMIT")
    except BaseException:
        if db.in_transaction:
            db.execute("ROLLBACK")
        raise


@contextmanager
def _no_leftovers(building: Path, new: list[Path]) -> Iterator[None]:
    """Remove the file that was built under another name and, after an error, the folders that are new."""
    try:
        yield
    except BaseException:
        with suppress(OSError):
            _unlink(building)
        with suppress(OSError):  # not there, or another process has put something in it
            for folder in new:
                folder.rmdir()
        raise
    _unlink(building)


def _unlink(building: Path) -> None:
    for rest in building.parent.glob(f"{building.name}*"):
        rest.unlink(missing_ok=True)


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


def damaged(folder: Path, reason: object) -> CollectionCorrupt:
    """Return the error that says that a collection is damaged, and what to do."""
    return CollectionCorrupt(
        f"The database of the collection {str(folder)!r} is damaged ({reason}). Nothing was changed. "
        "Restore it from a backup, or index your files into a new folder."
    )


def changed(folder: Path) -> ModelMismatch:
    """Return the error that says that a collection has another model than when it was opened."""
    return ModelMismatch(
        f"The model of the collection {str(folder)!r} was changed while it was open. Open it again with the new one, "
        "which `sentvec stats` names."
    )


def closed(folder: Path) -> CollectionError:
    """Return the error that says that a collection is closed."""
    return CollectionError(f"The collection {str(folder)!r} is closed; open it again.")


class Moment:
    """A read transaction, as often as it is entered; a generator would take longer than SQLite does."""

    def __init__(self, db: Any, errors: AbstractContextManager[None]) -> None:
        self._db, self._errors = db, errors

    def __enter__(self) -> None:
        with self._errors:
            self._db.execute("BEGIN")

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            with self._errors:
                if self._db.in_transaction:  # SQLite has ended it where the disk or the database is at fault
                    self._db.execute("ROLLBACK")
        finally:
            self._errors.__exit__(kind, error, trace)


def translated(folder: Path) -> AbstractContextManager[None]:
    """Turn errors of SQLite and of the file system into ours, each with its next step; it may be entered again."""
    return _Translated(folder)


class _Translated:
    """Costs next to nothing where there is no error: every statement is run within one."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def __enter__(self) -> None:
        pass

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is not None and (told := _told(self._folder, error)) is not None:
            raise told from error


def _told(folder: Path, error: BaseException) -> CollectionError | None:
    """Return our error for one of SQLite or of the file system; None for any other."""
    a = require("apsw", extra="search")
    where = repr(str(folder))
    if isinstance(error, a.BusyError | a.LockedError):
        return CollectionBusy(f"Another process is writing to the collection {where}. Try again when it has finished.")
    if isinstance(
        error, a.CorruptError | a.NotADBError | a.FormatError | a.SQLError | a.ConstraintError | a.MismatchError
    ):
        # Our own statements and values are right, so a table, a column or a reference must be gone or changed.
        return damaged(folder, error)
    if isinstance(error, UnicodeDecodeError | json.JSONDecodeError | RecursionError):
        return damaged(folder, f"a stored text cannot be read: {error}")
    return _failed(folder, error) if isinstance(error, a.Error | OSError) else None


def _failed(folder: Path, error: BaseException) -> CollectionError:
    """Return our error for one that nothing more is known of than that SQLite or the file system gave it."""
    a = require("apsw", extra="search")
    if isinstance(error, a.ConnectionClosedError):
        return closed(folder)
    if getattr(error, "extendedresult", None) == a.SQLITE_IOERR_DATA:
        return damaged(folder, "a page is not as it was written: its checksum is another")
    return CollectionError(
        f"The collection {str(folder)!r} cannot be read or written ({error}). What was committed before is safe. "
        "Check the disk's space and the folder's permissions: it must be writable even for searching, "
        "since SQLite keeps its log there."
    )
