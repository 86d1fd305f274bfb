"""What is wrong with a collection is named, and what can be had again is; a copy holds what the collection held."""

from __future__ import annotations

import random
import shutil

import apsw
import pytest
from fake_model import FakeModel

from sentvec.errors import CollectionCorrupt, CollectionError, SentvecError
from sentvec.search.collection import Collection
from sentvec.search.mark import MARK

PETS = {
    "cat": "Cats sleep all day.",
    "dog": "Dogs bark at night.",
    "fish": "Fish swim in water.",
    "hen": "Hens lay eggs.",
}


@pytest.fixture
def folder(tmp_path):
    with Collection.open(tmp_path / "pets.sv", FakeModel()) as pets:
        pets.add(list(PETS.values()), ids=list(PETS), metadata=[{"n": n} for n in range(4)])
        pets.compact("flat")
    return tmp_path / "pets.sv"


def sql(folder, *statements):
    db = apsw.Connection(str(folder / "db.sqlite"))
    for statement in statements:
        db.execute(statement)
    db.close()


def contents(folder):
    with Collection.open(folder, FakeModel()) as pets:
        entries = [(entry.id, entry.text, entry.metadata) for entry in pets.get(list(PETS))]
        return entries, [(hit.id, hit.score) for hit in pets.search("cats bark", k=9)]


def test_words_that_another_process_has_merged_since_are_whole(folder):
    """FTS5's own check is wrong on a connection that has not asked for words since."""
    with Collection.open(folder) as reader, Collection.open(folder, FakeModel()) as writer:
        for turn in range(40):
            names = [f"{turn} {n}" for n in range(9)]
            writer.add([f"word{n % 5} item{n}" for n in range(9)], ids=names)
            writer.delete(names[:7])
            assert turn % 8 or reader.verify().clean


def test_a_collection_that_is_whole(folder):
    with Collection.open(folder) as pets:
        report = pets.verify()
        assert report.clean
        assert (report.problems, report.passages, report.recall) == ((), 4, None)
        assert pets.repair().repaired == ()


@pytest.mark.parametrize("text", ["!?", "\u0897\u1c89", "\u0897 cat", "\U00031350", "a" * 5000])
def test_texts_without_words_that_sqlite_knows_are_whole(folder, text):
    with Collection.open(folder, FakeModel()) as pets:
        pets.add([text])
        assert pets.verify().clean


DAMAGE = {
    "words": ("DELETE FROM words WHERE rowid = 2", "words"),
    "more words": ("INSERT INTO words(rowid, text) VALUES (77, 'x')", "words"),
    "list of words' segments": ("UPDATE words_data SET block = zeroblob(9) WHERE id = 10", "words"),
    "no list of them": ("DELETE FROM words_data WHERE id = 10", "database"),
    "segments of words": ("UPDATE words_data SET block = zeroblob(length(block)) WHERE id > 10", "database"),
    "averages of words": ("UPDATE words_data SET block = zeroblob(3) WHERE id = 1", "words"),
    "number of words": ("UPDATE words_docsize SET sz = x'ff' WHERE id = 2", "words"),
    "format of words": ("DELETE FROM words_config", "database"),
    "vector": ("UPDATE vectors SET vector = zeroblob(128) WHERE row = 2", "vectors"),
    "no vector": ("DELETE FROM vectors WHERE row = 2", "vectors"),
    "vector of nothing": ("INSERT INTO vectors VALUES (99, zeroblob(128), 0)", "orphans"),
    "generation": ("UPDATE generations SET manifest = 'x'", "generation"),
}


@pytest.mark.parametrize(("damage", "kind"), DAMAGE.values(), ids=DAMAGE)
def test_what_can_be_made_again(folder, damage, kind):
    before = contents(folder)
    sql(folder, damage)
    with Collection.open(folder, FakeModel()) as pets:
        assert kind in {problem.kind for problem in pets.verify().problems}
        report = pets.repair()
        assert report.problems == ()
        assert kind in {problem.kind for problem in report.repaired}
        assert [hit.id for hit in pets.search_text("dogs")] == ["dog"]
    assert contents(folder) == before


@pytest.mark.parametrize("stored", [None, "", "[]", "null", '{"n": 2', '{"n": 2} x', ' {"n": 2}'], ids=ascii)
def test_a_passage_whose_metadata_is_damaged_is_no_answer(folder, stored):
    change = "DELETE FROM records" if stored is None else f"UPDATE records SET metadata = '{stored}'"
    sql(folder, f"{change} WHERE record = (SELECT record FROM passages WHERE id = 'dog')")
    with Collection.open(folder, FakeModel()) as pets:
        assert pets.search("cats sleep all day", k=1)[0].id == "cat"
        for ask in (lambda: pets.search("dogs bark", k=1), lambda: pets.search_many(["cats", "dogs"], k=4)):
            with pytest.raises(CollectionCorrupt, match=r"metadata of 'dog' is gone|stored text cannot be read"):
                ask()
        with pytest.raises(CollectionCorrupt):
            pets.get(["dog"])


def test_vectors_are_not_made_again_without_a_model(folder):
    sql(folder, "UPDATE vectors SET vector = zeroblob(128) WHERE row = 2")
    with Collection.open(folder) as pets:
        (problem,) = pets.repair().problems
        assert (problem.kind, problem.rows) == ("vectors", (2,))


def test_a_text_that_is_damaged_is_named_and_comes_back_with_its_file(tmp_path, folder):
    (tmp_path / "a.txt").write_text("Some text of a file.")
    with Collection.open(folder, FakeModel()) as pets:
        pets.add_files([tmp_path / "a.txt"])
        sql(folder, "UPDATE passages SET text = 'Same text of a file.' WHERE file IS NOT NULL")
        (problem,) = pets.repair().problems
        assert (problem.kind, len(problem.rows)) == ("texts", 1)
        pets.add_files([tmp_path / "a.txt"])
        assert pets.search_text("some")[0].text == "Some text of a file."
        assert pets.verify().clean


def test_metadata_that_is_damaged_is_named(folder):
    sql(folder, "UPDATE records SET metadata = '{\"n\": 8}' WHERE record = 2")
    with Collection.open(folder, FakeModel()) as pets:
        assert [problem.kind for problem in pets.verify().problems] == ["metadata"]


# Bytes -----------------------------------------------------------------------------------------------


def test_every_bit_of_the_database_counts(folder, tmp_path):
    """Flip bits all over it: each is refused, found, or of no consequence; no answer is ever another."""
    before = contents(folder)
    data = (folder / "db.sqlite").read_bytes()
    chance = random.Random(3)
    places = [*range(0, 100, 7), *(chance.randrange(len(data)) for _ in range(120))]
    refused = 0
    for place in places:
        shutil.rmtree(tmp_path / "copy", ignore_errors=True)
        shutil.copytree(folder, tmp_path / "copy")
        flipped = bytearray(data)
        flipped[place] ^= 1 << chance.randrange(8)
        (tmp_path / "copy" / "db.sqlite").write_bytes(flipped)
        try:
            assert contents(tmp_path / "copy") == before, f"another answer after a flip at {place}"
            with Collection.open(tmp_path / "copy") as pets:
                refused += not pets.verify().clean
        except CollectionError:
            refused += 1
    assert refused > 0.9 * len(places)


def test_a_database_that_was_cut(folder, tmp_path):
    data = (folder / "db.sqlite").read_bytes()
    for size in (0, 1, 100, 8192, len(data) // 2, len(data) - 8192, len(data) - 1):
        shutil.rmtree(tmp_path / "copy", ignore_errors=True)
        shutil.copytree(folder, tmp_path / "copy")
        (tmp_path / "copy" / "db.sqlite").write_bytes(data[:size])
        with pytest.raises(SentvecError):
            contents(tmp_path / "copy")


@pytest.mark.parametrize("how", ["gone", "cut", "flipped"])
def test_a_log_that_lost_commits_is_not_taken_for_whole(folder, tmp_path, how):
    """As after a kill, with the log damaged too: SQLite itself would go back to an older state without a word."""
    with Collection.open(folder, FakeModel()) as pets:
        pets.add(["Cows eat grass."], ids=["cow"])
        pets.delete(["cat"])
        shutil.copytree(folder, tmp_path / "killed")
    log = tmp_path / "killed" / "db.sqlite-wal"
    (tmp_path / "killed" / "db.sqlite-shm").unlink()
    data = bytearray(log.read_bytes())
    if how == "gone":
        log.unlink()
    elif how == "cut":
        log.write_bytes(data[: len(data) - 100])
    else:
        data[40] ^= 1
        log.write_bytes(data)
    with pytest.raises(CollectionCorrupt, match=r"its last \d commits are missing"):
        Collection.open(tmp_path / "killed", FakeModel())
    with Collection.open(tmp_path / "killed", FakeModel(), mend=True) as pets:
        report = pets.repair()
        assert report.clean
    with Collection.open(tmp_path / "killed", FakeModel()) as pets:
        assert len(pets.search("cats", k=9)) == len(pets)


@pytest.mark.parametrize("content", [b"", b"x" * 12, b"\xff" * 500])
def test_a_mark_that_is_damaged_is_none(folder, content):
    (folder / MARK).write_bytes(content)
    assert contents(folder)[0]


# Copies ----------------------------------------------------------------------------------------------


def test_a_snapshot_holds_what_the_collection_held(folder, tmp_path):
    with Collection.open(folder, FakeModel()) as pets:
        pets.delete(["hen"])
        pets.snapshot(tmp_path / "deep" / "copy.sv")
        pets.delete(["cat"])
    assert sorted(path.name for path in (tmp_path / "deep" / "copy.sv").iterdir()) == ["db.sqlite"]
    with Collection.open(tmp_path / "deep" / "copy.sv", FakeModel()) as copy:
        assert {entry.id for entry in copy.get(list(PETS))} == {"cat", "dog", "fish"}
        assert [hit.id for hit in copy.search_text("sleep")] == ["cat"]
        assert copy.verify().clean
        copy.add(["Cows eat grass."], ids=["cow"])
        copy.compact("flat")
        assert copy.search("cows eat grass")[0].id == "cow"
        assert copy._writer._db.reserve_bytes() == 8
    with Collection.open(folder, FakeModel()) as pets:
        assert {entry.id for entry in pets.get([*PETS, "cow"])} == {"dog", "fish"}


def test_a_snapshot_never_replaces_anything(folder, tmp_path):
    (tmp_path / "thesis.md").write_text("years of work")
    with Collection.open(folder) as pets:
        for place in (tmp_path, tmp_path / "thesis.md", folder):
            with pytest.raises(CollectionError, match="is there already"):
                pets.snapshot(place)
    assert (tmp_path / "thesis.md").read_text() == "years of work"
