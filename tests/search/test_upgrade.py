"""A collection that an older sentvec made is brought to today's format at its first opening, whole or not at all."""

from __future__ import annotations

import zlib

import apsw
import pytest
from fake_model import FakeModel

from sentvec.errors import CollectionError
from sentvec.search import schema
from sentvec.search.collection import Collection
from sentvec.search.types import text_digest

# The tables of format 1, as sentvec 0.1 made them; kept by heart, since its code is gone.
ONE = """
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
INSERT INTO meta VALUES ('commits', 3), ('removals', 1);
"""
PETS = {"cat": "Cats sleep all day.", "dog": "Dogs bark at night.", "panda": "熊猫吃竹子。"}


@pytest.fixture
def old(tmp_path):
    """A collection of three passages in format 1."""
    model = FakeModel()
    (tmp_path / "old.sv").mkdir()
    db = apsw.Connection(str(tmp_path / "old.sv" / "db.sqlite"))
    db.execute("PRAGMA page_size=8192; PRAGMA journal_mode=WAL").fetchall()
    db.execute(ONE)
    facts = {"model": model.name, "fingerprint": model.fingerprint, "dim": model.dim, "metric": "cosine"}
    db.executemany("INSERT INTO meta VALUES (?, ?)", facts.items())
    db.execute("INSERT INTO records VALUES (1, x'00', '{\"old\": true}')")
    for row, (name, text) in enumerate(PETS.items(), 5):
        vector = model.encode_document([text])[0].astype("<f4").tobytes()
        digest = text_digest(text, model.fingerprint)
        values = (row, name, digest, text)
        db.execute("INSERT INTO passages VALUES (?, ?, ?, NULL, NULL, NULL, ?, 1)", values)
        db.execute("INSERT INTO vectors VALUES (?, ?, ?)", (row, vector, zlib.crc32(vector)))
    db.execute(f"PRAGMA application_id={schema.APPLICATION_ID}; PRAGMA user_version=1")
    db.close()
    return tmp_path / "old.sv"


def version(folder):
    db = apsw.Connection(str(folder / "db.sqlite"))
    found = db.pragma("user_version")
    db.close()
    return found


def test_an_old_collection_is_searched_written_and_found_by_words(old):
    for _ in range(2):
        with Collection.open(old, FakeModel()) as pets:
            assert [hit.id for hit in pets.search("cats sleep", k=9)][:1] == ["cat"]
            assert pets.get(["dog"])[0].metadata == {"old": True}
    assert version(old) == schema.SCHEMA_VERSION
    with Collection.open(old, FakeModel()) as pets:
        store = pets._writer
        assert [row for row, _ in store.rows_of_words('"sleep"', 9)] == [5]
        assert [row for row, _ in store.rows_of_words('"熊猫"', 9)] == [7]
        pets.add(["Hens lay eggs.", "Dogs run."], ids=["hen", "dog"])
        assert [row for row, _ in store.rows_of_words('"dogs"', 9)] == [9]
        pets.delete(["cat"])
        assert store.rows_of_words('"sleep"', 9) == []
        assert {hit.id for hit in pets.search("cats sleep", k=9)} == {"dog", "panda", "hen"}


def test_an_upgrade_that_fails_leaves_the_old_format(old, monkeypatch):
    def full(text):
        raise apsw.FullError("database or disk is full")

    before = (old / "db.sqlite").read_bytes()
    with monkeypatch.context() as patch, pytest.raises(CollectionError, match="full"):
        patch.setattr(schema, "segmented", full)
        Collection.open(old)
    assert version(old) == 1
    assert (old / "db.sqlite").read_bytes() == before
    with Collection.open(old) as pets:
        assert len(pets) == 3
