"""The database of a collection: an empty folder in, its tables made out; SQLite's errors in, ours out."""

from __future__ import annotations

import json
import os
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

from sentvec.errors import CollectionBusy, CollectionCorrupt, CollectionError
from sentvec.extras import require

FILE = "db.sqlite"
APPLICATION_ID = 0x5356_4543  # "SVEC": tells a collection from any other SQLite file
SCHEMA_VERSION = 1

# A row number is never used twice (AUTOINCREMENT): an index that lags behind never mistakes one for another.
# Equal metadata is stored once, and goes with the last passage that refers to it.
_SCHEMA = """
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
INSERT INTO meta VALUES ('commits', 0), ('removals', 0);
"""


def create(folder: Path, meta: Mapping[str, str | int]) -> None:
    """Make an empty collection, whole or not at all; one that is there already is left alone.

    The database is built beside its place and linked into it: a process killed half-way leaves no database
    that looks damaged, and of two that create at once, one wins and both use it.

    Raises:
        CollectionError: it cannot be written; what was made on the way is removed again.
    """
    apsw_ = require("apsw", extra="search")
    new = [part for part in (folder, *folder.parents) if not os.path.lexists(part)]
    building = folder / f".{FILE}.{uuid.uuid4().hex}"
    with translated(folder), _no_leftovers(building, new):
        folder.mkdir(parents=True, exist_ok=True)
        db = apsw_.Connection(str(building))
        try:
            db.execute("PRAGMA page_size=8192; PRAGMA journal_mode=WAL").fetchall()
            db.execute("PRAGMA synchronous=FULL; BEGIN")
            db.execute(_SCHEMA)
            db.executemany("INSERT INTO meta VALUES (?, ?)", meta.items())
            db.execute(f"PRAGMA application_id={APPLICATION_ID}; PRAGMA user_version={SCHEMA_VERSION}; COMMIT")
        finally:
            db.close()  # the last connection: folds the log into the file and syncs it
        _place(building, folder / FILE)


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


@contextmanager
def translated(folder: Path) -> Iterator[None]:
    """Turn errors of SQLite and of the file system into ours, each with its next step."""
    a = require("apsw", extra="search")
    where = repr(str(folder))
    try:
        yield
    except (a.BusyError, a.LockedError) as error:
        raise CollectionBusy(
            f"Another process is writing to the collection {where}. Try again when it has finished."
        ) from error
    except (a.CorruptError, a.NotADBError, a.FormatError, a.SQLError, a.ConstraintError, a.MismatchError) as error:
        # Our own statements and values are right, so a table, a column or a reference must be gone or changed.
        raise damaged(folder, error) from error
    except (UnicodeDecodeError, json.JSONDecodeError, RecursionError) as error:
        raise damaged(folder, f"a stored text cannot be read: {error}") from error
    except (a.Error, OSError) as error:
        raise CollectionError(
            f"The collection {where} cannot be read or written ({error}). What was committed before is safe. "
            "Check the disk's space and the folder's permissions: it must be writable even for searching, "
            "since SQLite keeps its log there."
        ) from error
