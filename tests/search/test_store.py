"""What is on the disk: metadata once, damage named, nothing half made, nothing written where nobody will look."""

from __future__ import annotations

import os
import shutil
import zlib

import apsw
import numpy as np
import pytest
from fake_model import FakeModel

from sentvec.errors import CollectionCorrupt, CollectionError
from sentvec.search.collection import Collection

PETS = ["Cats sleep all day.", "Dogs bark at night.", "Fish swim in water."]


@pytest.fixture
def folder(tmp_path):
    with Collection.open(tmp_path / "pets.sv", FakeModel()) as pets:
        pets.add(PETS, ids=["cat", "dog", "fish"], metadata=[{"legs": 4}, {"legs": 4}, {}])
    return tmp_path / "pets.sv"


def sql(folder, *statements):
    db = apsw.Connection(str(folder / "db.sqlite"))
    found = [db.execute(statement).fetchall() for statement in statements]
    db.close()
    return found[-1]


def records(folder):
    return sorted(metadata for (metadata,) in sql(folder, "SELECT metadata FROM records"))


def test_equal_metadata_is_stored_once_and_goes_with_its_last_passage(folder):
    assert records(folder) == ['{"legs": 4}', "{}"]
    with Collection.open(folder, FakeModel()) as pets:
        pets.add(PETS[:1], ids=["cat"], metadata=[{"legs": 3}])
        assert records(folder) == ['{"legs": 3}', '{"legs": 4}', "{}"]
        pets.add(["Dogs are loud."], ids=["dog"], metadata=[{"legs": 4}])  # another text: its row goes first
        assert [entry.metadata for entry in pets.get(["cat", "dog", "fish"])] == [{"legs": 3}, {"legs": 4}, {}]
        pets.delete(["cat", "fish"])
    assert records(folder) == ['{"legs": 4}']
    assert sql(folder, "PRAGMA foreign_key_check") == []


# Damage ----------------------------------------------------------------------------------------------

NAN = np.full(32, np.nan, dtype="<f4").tobytes()
DAMAGE = {
    "no table": "DROP TABLE vectors",
    "vector of NaN": f"UPDATE vectors SET vector = x'{NAN.hex()}', crc32 = {zlib.crc32(NAN)} WHERE row = 2",
    "text": "UPDATE passages SET text = CAST(x'ff' AS TEXT)",
    "id": "UPDATE passages SET id = CAST(x'ff' AS TEXT) WHERE row = 2",
    "metadata cut": "UPDATE records SET metadata = '{'",
    "metadata deep": f"UPDATE records SET metadata = '{'[' * 5000}'",
    "metadata no object": "UPDATE records SET metadata = '[]'",
    "metadata no text": "UPDATE records SET metadata = CAST(x'7bff' AS TEXT)",
    "no record": "DELETE FROM records",
    "no passage": "DELETE FROM passages WHERE row = 2",
    "no vector": "DELETE FROM vectors WHERE row = 2",
    "negative row": "UPDATE vectors SET row = -5 WHERE row = 2",
    "another row": "UPDATE vectors SET row = 77 WHERE row = 2",
    "vector of zeros": "UPDATE vectors SET vector = zeroblob(128) WHERE row = 2",
    "short vector": "UPDATE vectors SET vector = x'00', crc32 = 3523407757 WHERE row = 2",
    "no clock": "DELETE FROM meta WHERE key = 'commits'",
    "no model": "DELETE FROM meta WHERE key = 'model'",
    "model no text": "UPDATE meta SET value = CAST(x'ff' AS TEXT) WHERE key = 'model'",
    "no dim": "DELETE FROM meta WHERE key = 'dim'",
    "dim below 1": "UPDATE meta SET value = -1 WHERE key = 'dim'",
    "dim beyond faiss": "UPDATE meta SET value = 1 << 40 WHERE key = 'dim'",
    "dim no number": "UPDATE meta SET value = 'many' WHERE key = 'dim'",
    "metric": "UPDATE meta SET value = 'l7' WHERE key = 'metric'",
}


@pytest.mark.parametrize("damage", DAMAGE.values(), ids=DAMAGE.keys())
def test_damage_of_any_kind_is_named(folder, damage):
    sql(folder, damage)
    with pytest.raises(CollectionCorrupt, match=r"pets\.sv.*damaged"), Collection.open(folder, FakeModel()) as pets:
        pets.search("cats sleep", k=9)


def test_damaged_metadata_is_named_by_get(folder):
    sql(folder, "UPDATE records SET metadata = '{'")
    with Collection.open(folder) as pets, pytest.raises(CollectionCorrupt):
        pets.get(["cat"])


def test_a_damaged_vector_is_not_passed_on_to_an_equal_text(folder):
    sql(folder, "UPDATE vectors SET vector = zeroblob(128)")
    with Collection.open(folder, FakeModel()) as pets, pytest.raises(CollectionCorrupt):
        pets.add(PETS[:1], ids=["twin"])


def test_a_trigger_that_is_not_ours(folder):
    sql(folder, "CREATE TRIGGER no BEFORE INSERT ON passages BEGIN SELECT RAISE(ABORT, 'not ours'); END")
    with Collection.open(folder, FakeModel()) as pets, pytest.raises(CollectionCorrupt, match="not ours"):
        pets.add(["new"])


def test_a_damaged_path(folder, tmp_path):
    (tmp_path / "a.txt").write_text("Some text.")
    with Collection.open(folder, FakeModel()) as pets:
        pets.add_files([tmp_path / "a.txt"])
        sql(folder, "UPDATE files SET path = CAST(x'ff' AS TEXT)")
        with pytest.raises(CollectionCorrupt):
            pets.search("some text", k=9)
        with pytest.raises(CollectionCorrupt):
            pets.add_files([tmp_path / "a.txt"], prune=True)


@pytest.mark.parametrize("kind", ["empty", "garbage", "text", "other"])
def test_a_damaged_database_is_named_and_not_touched(tmp_path, model, kind):
    file = tmp_path / "db.sqlite"
    if kind == "other":
        db = apsw.Connection(str(file))
        db.execute("CREATE TABLE mine(x)")
        db.close()
    else:
        file.write_bytes({"empty": b"", "garbage": os.urandom(9000), "text": b"hello " * 1000}[kind])
    before = file.read_bytes()
    for given in (model, None):
        with pytest.raises(CollectionCorrupt, match=r"db\.sqlite|is damaged"):
            Collection.open(tmp_path, given)
    assert file.read_bytes() == before


def test_damage_inside_is_an_error_of_ours(tmp_path, model):
    with Collection.open(tmp_path / "c", model) as collection:
        collection.add([f"text number {n}" for n in range(400)])
    file = tmp_path / "c" / "db.sqlite"
    data = bytearray(file.read_bytes())
    data[8192:] = os.urandom(len(data) - 8192)
    file.write_bytes(data)
    with pytest.raises(CollectionCorrupt):
        Collection.open(tmp_path / "c", model)
    assert file.read_bytes() == data


# Folders ---------------------------------------------------------------------------------------------


@pytest.fixture
def hooked():
    """Let a test have a say in each connection that is opened."""
    yield apsw.connection_hooks
    apsw.connection_hooks.clear()


def test_a_full_disk_leaves_nothing_of_a_new_collection(tmp_path, hooked):
    hooked.append(lambda db: db.execute("PRAGMA max_page_count=3"))
    with pytest.raises(CollectionError, match=r"new\.sv.*full"):
        Collection.open(tmp_path / "deep" / "new.sv", FakeModel())
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_sqlite_cannot_write_to(tmp_path, hooked):
    def refuse(db):
        raise apsw.CantOpenError("unable to open database file")

    hooked.append(refuse)
    (tmp_path / "new.sv").mkdir()
    with pytest.raises(CollectionError, match=r"new\.sv.*unable to open.*writable even for searching"):
        Collection.open(tmp_path / "new.sv", FakeModel())
    assert list((tmp_path / "new.sv").iterdir()) == []


@pytest.mark.parametrize("path", ["a\0b", "x" * 300, "file/c.sv", "\ud800", "\udcff.sv", 5, b"\xff"], ids=ascii)
@pytest.mark.parametrize("model", [FakeModel(), None], ids=["model", "none"])
def test_paths_that_can_be_no_folder(tmp_path, monkeypatch, path, model):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").write_text("x")
    with pytest.raises(CollectionError) as caught:
        Collection.open(path, model)
    assert str(caught.value).isprintable()
    assert [file.name for file in tmp_path.iterdir()] == ["file"]


@pytest.mark.parametrize("replaced", [False, True])
def test_work_on_a_collection_that_was_deleted_is_not_acknowledged(folder, replaced):
    with Collection.open(folder, FakeModel()) as pets:
        shutil.rmtree(folder)
        if replaced:
            Collection.open(folder, FakeModel()).close()
        for work in (lambda: pets.add(["new"]), lambda: pets.delete(["cat"])):
            with pytest.raises(CollectionError, match=r"pets\.sv.*deleted or replaced"):
                work()
    assert folder.exists() == replaced


def test_a_collection_that_is_deleted_in_the_middle_of_a_write(folder):
    with Collection.open(folder, FakeModel()) as pets:
        with pytest.raises(CollectionError, match="deleted or replaced"), pets._writer.writing():
            shutil.rmtree(folder)
        assert len(pets) == 3  # what is still open can be read


def test_after_the_disk_has_failed_nothing_more_is_written_until_it_is_opened_again(folder):
    with Collection.open(folder, FakeModel()) as pets:
        with pytest.raises(CollectionError, match="disk I/O error"), pets._writer.writing():
            raise apsw.IOError("disk I/O error")
        for work in (lambda: pets.add(["new"]), lambda: pets.delete(["cat"])):
            with pytest.raises(CollectionError, match="has failed before"):
                work()
        assert len(pets.search("cats", k=9)) == 3
    with Collection.open(folder, FakeModel()) as pets:
        pets.add(["new"])
        assert len(pets) == 4
