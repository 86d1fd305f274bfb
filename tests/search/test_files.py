"""Files come in whole, changes cost only what is new, and nothing is lost by what cannot be read."""

from __future__ import annotations

import os
import random
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import apsw
import pytest
from fake_model import LONG_AGO, FakeModel, write

from sentvec.errors import CollectionBusy, InvalidInput
from sentvec.search import ingest
from sentvec.search.collection import Collection


def stored(collection):
    """All passages of a collection that holds fewer than a thousand, in order of place."""
    hits = collection.search("anything at all", k=1000)
    return sorted((Path(hit.source).name, hit.line, hit.end_line, hit.text) for hit in hits)


def test_files_become_passages_with_file_and_line(docs, collection):
    report = collection.add_files([docs])
    assert stored(collection) == [
        ("pets.md", 1, 3, "# Cats\n\nCats sleep all day."),
        ("pets.md", 5, 7, "# Dogs\n\nDogs bark at night."),
        ("rows.csv", 2, 2, "Fish swim in water."),
        ("rows.csv", 3, 3, "Birds fly in the air."),
    ]
    assert (report.files, report.changed_files, report.added, report.encoded) == (2, 2, 4, 4)
    assert (report.skipped, report.bad_records, report.ignored) == ((), (), ())
    hit = collection.search("fish swim", k=1)[0]
    assert (hit.source, hit.metadata) == (str(docs / "rows.csv"), {"id": "1"})
    assert collection.stats().files == 2


def test_long_files_are_cut_within_the_models_limit(docs, collection, model):
    write(docs / "long.txt", " ".join(f"Sentence {n} is here." for n in range(200)))
    collection.add_files(docs / "long.txt")
    assert len(collection) > 20
    assert all(len(model.token_spans(text)) <= 30 for text in model.encoded)


def test_the_same_again_does_nothing(docs, collection, model):
    collection.add_files([docs])
    model.encoded.clear()
    before = stored(collection)
    report = collection.add_files([docs])
    assert (report.unchanged_files, report.changed_files, report.added, report.encoded) == (2, 0, 0, 0)
    assert (stored(collection), model.encoded) == (before, [])


def test_an_edit_encodes_only_what_is_new(docs, collection, model):
    collection.add_files([docs])
    model.encoded.clear()
    write(docs / "pets.md", "New first line.\n\n# Cats\n\nCats sleep all day.\n\n# Cows\n\nCows eat grass.\n")
    report = collection.add_files([docs])
    assert model.encoded == ["New first line.", "# Cows\n\nCows eat grass."]
    assert (report.changed_files, report.unchanged_files) == (1, 1)
    assert (report.added, report.unchanged, report.removed, report.encoded) == (2, 1, 1, 2)
    assert [row for row in stored(collection) if row[0] == "pets.md"] == [
        ("pets.md", 1, 1, "New first line."),
        ("pets.md", 3, 5, "# Cats\n\nCats sleep all day."),
        ("pets.md", 7, 9, "# Cows\n\nCows eat grass."),
    ]


def test_an_edit_of_the_same_size_and_time_is_seen_if_it_was_just_read(docs, collection):
    file = docs / "just.txt"
    file.write_text("aaa bbb")
    collection.add_files([file])
    time = file.stat().st_mtime_ns
    file.write_text("aaa ccc")
    os.utime(file, ns=(time, time))
    assert collection.add_files([file]).changed_files == 1


def test_touched_files_are_read_once_and_share_one_commit(docs, collection, monkeypatch):
    collection.add_files([docs])
    for file in docs.iterdir():
        os.utime(file, (LONG_AGO + 5, LONG_AGO + 5))
    before = collection._writer.commits()
    report = collection.add_files([docs])
    assert (report.unchanged_files, report.changed_files, report.added) == (2, 0, 0)
    assert collection._writer.commits() - before == 1
    monkeypatch.setattr(ingest, "_content", None)  # known by size and time now: not opened at all
    assert collection.add_files([docs]).unchanged_files == 2


def test_a_moved_file_is_not_encoded_again(docs, collection, model):
    collection.add_files([docs])
    model.encoded.clear()
    (docs / "pets.md").rename(docs / "animals.md")
    report = collection.add_files([docs], prune=True)
    assert (report.added, report.removed_files, report.removed, report.encoded) == (2, 1, 2, 0)
    assert model.encoded == []


def test_equal_passages_of_one_file_are_all_kept(docs, collection, model):
    write(docs / "same.csv", "text\nsame\nsame\nsame\n")
    report = collection.add_files(docs / "same.csv")
    assert (report.added, report.encoded) == (3, 1)
    write(docs / "same.csv", "text\nsame\nsame\n")
    assert collection.add_files(docs / "same.csv").removed == 1
    assert [row[1] for row in stored(collection)] == [2, 3]


def test_prune_removes_what_is_gone_from_the_given_folders_only(docs, collection, tmp_path):
    other = tmp_path / "docs2"
    other.mkdir()
    write(other / "kept.txt", "Kept text.")
    collection.add_files([docs, other])
    (docs / "pets.md").unlink()
    (other / "kept.txt").unlink()
    assert collection.add_files([docs]).removed_files == 0
    report = collection.add_files([docs], prune=True)
    assert (report.removed_files, report.removed) == (1, 2)
    assert {row[0] for row in stored(collection)} == {"rows.csv", "kept.txt"}


def test_what_is_gone_is_told_until_it_is_pruned(docs, collection):
    collection.add_files([docs])
    (docs / "pets.md").rename(docs / "animals.md")
    assert collection.add_files([docs / "rows.csv"]).gone == ()
    assert collection.add_files([docs]).gone == (str(docs / "pets.md"),)
    assert collection.add_files([docs], prune=True).gone == ()
    assert collection.add_files([docs]).gone == ()


@pytest.mark.parametrize("name", ["", "pets.md"])
def test_a_path_that_is_gone_is_pruned_only_if_it_was_known(docs, collection, name):
    collection.add_files([docs])
    shutil.rmtree(docs)
    with pytest.raises(InvalidInput, match="remove it with --prune"):
        collection.add_files([docs / name])
    with pytest.raises(InvalidInput, match="check the path"):
        collection.add_files([docs / name, docs / "other"], prune=True)
    assert collection.add_files([docs / name], prune=True).removed_files == (1 if name else 2)
    with pytest.raises(InvalidInput, match="check the path"):
        collection.add_files([docs / name], prune=True)


def test_what_builds_leave_behind_is_passed_over(docs, collection):
    for name in ("a.egg-info", "b.dist-info", "site-packages", "build", "inner/build"):
        (docs / name).mkdir(parents=True)
        write(docs / name / "a.txt", "Litter.")
    write(docs / "pyproject.toml", "")
    assert collection.add_files([docs]).files == 3  # in a folder that is no project, `build` is a name like others
    assert collection.files()[0] == str(docs / "inner/build/a.txt")
    assert collection.add_files([docs / "build"]).files == 1


def test_prune_keeps_what_could_not_be_listed(docs, collection, monkeypatch):
    (docs / "shut").mkdir()
    write(docs / "shut" / "a.txt", "Behind a closed door.")
    collection.add_files([docs])
    scandir = os.scandir

    def refusing(path):
        if str(path).endswith("shut"):
            raise PermissionError(13, "Permission denied", str(path))
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refusing)
    report = collection.add_files([docs], prune=True)
    assert report.removed_files == 0
    assert report.skipped == ((str(docs / "shut"), "cannot be listed: Permission denied"),)
    assert "a.txt" in {row[0] for row in stored(collection)}


def test_what_cannot_be_read_is_counted_and_named(docs, collection, monkeypatch):
    write(docs / "binary.txt", b"\x89PNG\r\n\x00\x00")
    write(docs / "empty.md", b"")
    write(docs / "latin.txt", "café au lait".encode("latin-1"))
    write(docs / "bad.jsonl", b"{\n")
    write(docs / "some.jsonl", b'{"text": "good"}\n{"text": 5}\n')
    write(docs / "image.png", b"\x89PNG")
    (docs / "broken.txt").symlink_to(docs / "nowhere")
    os.mkfifo(docs / "pipe.txt")
    report = collection.add_files([docs])
    reasons = {Path(path).name: reason for path, reason in report.skipped}
    assert reasons.keys() == {"binary.txt", "empty.md", "latin.txt", "bad.jsonl", "broken.txt", "pipe.txt"}
    assert reasons["binary.txt"].startswith("binary file")
    assert reasons["empty.md"] == "empty"
    assert reasons["latin.txt"] == "not UTF-8 text (byte 0xe9 at 3); save it as UTF-8"
    assert reasons["bad.jsonl"].startswith("no record could be read; line 1: not a JSON object")
    assert reasons["broken.txt"] == "cannot be read: No such file or directory"
    assert reasons["pipe.txt"] == "not a regular file"
    assert report.bad_records == (
        (str(docs / "some.jsonl"), 2, "not a JSON object with text: its field 'text' is a number, not text"),
    )
    assert report.ignored == (str(docs / "image.png"),)
    assert (report.files, report.changed_files) == (9, 3)
    assert len(collection) == 5


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_file_without_permission(docs, collection):
    (docs / "pets.md").chmod(0)
    assert collection.add_files([docs]).skipped == ((str(docs / "pets.md"), "cannot be read: Permission denied"),)


@pytest.mark.parametrize("now", [b"", b"\0\1\2", "é".encode("latin-1")])
def test_what_was_stored_of_a_file_stays_when_it_cannot_be_read_any_more(docs, collection, now):
    collection.add_files([docs])
    before = stored(collection)
    write(docs / "pets.md", now)
    ((path, reason),) = collection.add_files([docs], prune=True).skipped
    assert path == str(docs / "pets.md")
    assert reason.endswith("; what was indexed of it before is kept")
    assert stored(collection) == before


def test_a_path_that_does_not_exist_is_an_error_before_anything_is_written(docs, collection):
    with pytest.raises(InvalidInput, match="nope"):
        collection.add_files([docs, docs / "nope"])
    assert len(collection) == 0


def test_the_collections_own_folder_is_passed_over(docs, model):
    with Collection.open(docs / "own.sv", model) as collection:
        write(docs / "own.sv" / "stray.txt", "Not to be read.")
        assert collection.add_files([docs]).files == 2


def test_the_same_files_from_another_folder_and_under_a_relative_name(docs, collection, monkeypatch):
    collection.add_files([docs])
    monkeypatch.chdir(docs)
    report = collection.add_files(["pets.md", Path("../docs/rows.csv")])
    assert report.unchanged_files == 2


def test_bad_lines_beyond_a_hundred_are_counted(docs, collection):
    write(docs / "bad.jsonl", '{"text": "good"}\n' + "{\n" * 250)
    bad = collection.add_files(docs / "bad.jsonl").bad_records
    assert len(bad) == 100
    assert bad[-1][2].endswith("(and 150 more lines of this file)")


def test_small_files_share_one_encoding_and_one_commit(tmp_path, collection, model, monkeypatch):
    folder = tmp_path / "many"
    folder.mkdir()
    for n in range(30):
        write(folder / f"{n:02}.txt", f"Text number {n}.")
    calls = []
    encode = model.encode_document
    monkeypatch.setattr(model, "encode_document", lambda texts, **o: calls.append(len(texts)) or encode(texts, **o))
    monkeypatch.setattr(ingest, "GROUP", 10)
    before = collection._writer.commits()
    collection.add_files([folder])
    assert calls == [10, 10, 10]
    assert collection._writer.commits() - before == 3


def test_a_model_that_fails_leaves_what_was_committed(docs, collection, model, monkeypatch):
    monkeypatch.setattr(ingest, "GROUP", 1)
    encode = model.encode_document

    def failing(texts, **options):
        if any("Birds" in text for text in texts):
            raise RuntimeError("out of memory")
        return encode(texts, **options)

    monkeypatch.setattr(model, "encode_document", failing)
    with pytest.raises(RuntimeError):
        collection.add_files([docs])
    assert {row[0] for row in stored(collection)} == {"pets.md"}  # whole, and nothing of the other
    monkeypatch.setattr(model, "encode_document", encode)
    assert collection.add_files([docs]).changed_files == 1


def test_a_writer_that_is_kept_out_loses_nothing(docs, collection, tmp_path, model):
    db = apsw.Connection(str(tmp_path / "c.sv" / "db.sqlite"))
    db.execute("BEGIN IMMEDIATE")
    with Collection.open(tmp_path / "c.sv", model, busy_timeout=0.01) as second:
        with pytest.raises(CollectionBusy):
            second.add_files([docs])
        db.execute("ROLLBACK")
        assert second.add_files([docs]).added == 4
    db.close()


def test_killed_at_any_moment_every_file_is_whole(tmp_path):
    """Real processes, killed while they write; what they said was done must be there, whole, and nothing half."""
    chance = random.Random(7)
    folder, files = tmp_path / "c.sv", tmp_path / "files"
    files.mkdir()
    torn = 0
    for round_ in range(10):
        steps = chance.randrange(1, 8000) if round_ % 5 else 0
        process = subprocess.Popen(
            [sys.executable, Path(__file__).with_name("writer.py"), folder, files, str(round_), str(steps)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        done = -1
        for line in process.stdout:
            done = int(line)
            if not steps and done == 5:
                process.kill()
                break
        rest, errors = process.communicate()
        assert (process.returncode, errors) == (-signal.SIGKILL, "")
        done = max([done, *map(int, re.findall(r"^\d+$", rest, re.MULTILINE))])
        log = folder / "db.sqlite-wal"
        torn += log.exists() and log.stat().st_size > 0
        check_whole(folder, done, round_)
    assert torn >= 5  # these left a log for the next to recover


def check_whole(folder, done, round_):
    db = apsw.Connection(str(folder / "db.sqlite"))
    assert db.pragma("integrity_check") == "ok"
    assert db.execute("PRAGMA foreign_key_check").fetchall() == []
    assert db.execute("SELECT count(*) FROM passages p LEFT JOIN vectors v USING (row) WHERE v.row IS NULL").get == 0
    db.close()
    with Collection.open(folder, FakeModel()) as collection:
        held = {}
        for hit in collection.search("sentence", k=100_000):
            held.setdefault(int(Path(hit.source).stem), []).append(hit)
        for place, hits in held.items():
            versions = {tuple(map(int, v)) for hit in hits for v in re.findall(r"file (\d+) in round (\d+)", hit.text)}
            assert len(versions) == 1  # one version of the file, not a mixture
            ((number, made),) = versions
            sentences = {int(n) for hit in hits for n in re.findall(r"Sentence (\d+)", hit.text)}
            assert sentences == set(range(40))
            last = max((n for n in range(done + 1) if n % 5 == place), default=None)
            if last is not None:  # acknowledged in this round: this version, or the one after it
                assert made == round_
                assert number in (last, done + 1)
        assert set(range(min(done + 1, 5))) <= held.keys()


def test_a_cell_is_a_text_to_a_filter_and_a_number_of_json_lines_a_number(tmp_path, model):
    write(tmp_path / "a.csv", "text,year\nA pool.,2019\nA park.,2024\n")
    write(tmp_path / "b.jsonl", '{"text": "A zoo.", "year": 2024}\n')
    with Collection.open(tmp_path / "c.sv", model) as collection:
        collection.add_files([tmp_path / "a.csv", tmp_path / "b.jsonl"])
        for value, text in (("2020", "A park."), (2020, "A zoo.")):
            assert [hit.text for hit in collection.search("a", where={"year": {">": value}})] == [text]
