"""What files do that nobody expects: odd names, sizes, dates and rights, and more metadata than text."""

from __future__ import annotations

import json
import os
import re
from functools import partial
from pathlib import Path

import pytest
from fake_model import FakeModel, write

from sentvec.errors import ConfigError, InvalidInput
from sentvec.search import encoding as module
from sentvec.search import ingest
from sentvec.search.collection import Collection


def test_a_name_that_is_not_utf8_is_shown_escaped_and_the_others_are_read(docs, collection):
    for name in (b"\xff.txt", b"caf\xe9.png"):
        Path(os.fsdecode(os.fsencode(docs) + b"/" + name)).write_text("Some text.")
    inner = Path(os.fsdecode(os.fsencode(docs) + b"/\xfe"))
    inner.mkdir()
    write(inner / "a.txt", "Some text.")
    report = collection.add_files([docs], prune=True)
    assert dict(report.skipped) == {
        f"{docs}/\\xff.txt": "its name is not UTF-8; rename it",
        f"{docs}/\\xfe/a.txt": "its name is not UTF-8; rename it",
    }
    assert report.ignored == (f"{docs}/caf\\xe9.png",)
    assert report.changed_files == 2


def test_a_folder_that_is_closed_does_not_stop_the_others(docs, collection, monkeypatch):
    (docs / "shut").mkdir()
    write(docs / "shut" / "a.txt", "Behind a closed door.")
    collection.add_files([docs])
    look, scan = os.stat, os.scandir

    def refusing(call, path, *arguments, **options):
        if "shut" in str(path) and (call is scan or not str(path).endswith("shut")):
            raise PermissionError(13, "Permission denied", str(path))
        return call(path, *arguments, **options)

    monkeypatch.setattr(os, "stat", partial(refusing, look))
    monkeypatch.setattr(os, "scandir", partial(refusing, scan))
    write(docs / "new.txt", "A new text.")
    report = collection.add_files([docs], prune=True)
    assert report.skipped == ((str(docs / "shut"), "cannot be listed: Permission denied"),)
    assert (report.changed_files, report.removed_files) == (1, 0)
    with pytest.raises(InvalidInput, match=r"shut/a\.txt"):
        collection.add_files([docs / "shut" / "a.txt"])


def test_a_file_that_is_too_large_is_not_read(docs, collection):
    with (docs / "huge.txt").open("wb") as file:
        file.truncate(100 << 30)  # takes no room on the disk
    ((path, reason),) = collection.add_files([docs]).skipped
    assert path == str(docs / "huge.txt")
    assert reason == "too large: 107374182400 bytes, of at most 1073741824; split it"
    assert len(collection) == 4


@pytest.mark.skipif(not Path("/proc/kmsg").is_file(), reason="this system has no such file")
def test_a_file_of_the_kernel_is_not_waited_for(docs, collection):
    (docs / "endless.txt").symlink_to("/proc/kmsg")
    assert collection.add_files([docs]).skipped == ((str(docs / "endless.txt"), "empty"),)


def test_a_file_that_grows_without_end(docs, collection, monkeypatch):
    monkeypatch.setattr(ingest, "_GROWTH", 5)
    write(docs / "log.txt", "one two")
    status = (docs / "log.txt").stat()
    with (docs / "log.txt").open("a") as file:
        file.write(" 3")
        file.flush()
        assert ingest._content(str(docs / "log.txt"), status) == b"one two 3"
        file.write(" and more and more")
    with pytest.raises(InvalidInput, match="grows while it is read"):
        ingest._content(str(docs / "log.txt"), status)


def test_a_file_that_the_memory_cannot_hold(docs, collection, monkeypatch):
    def full(path, status):
        if path.endswith("pets.md"):
            raise MemoryError
        return Path(path).read_bytes()

    monkeypatch.setattr(ingest, "_content", full)
    report = collection.add_files([docs])
    assert report.skipped == ((str(docs / "pets.md"), "there is not enough memory for it; split it"),)
    assert report.changed_files == 1


@pytest.mark.parametrize("age", [10_000_000_000, -10_000_000_000])
def test_a_file_of_the_far_future_or_past(docs, collection, monkeypatch, age):
    write(docs / "pets.md", "# Cats\n\nCats will sleep all day.", age=age)
    if abs((docs / "pets.md").stat().st_mtime_ns) < 1 << 63:
        pytest.skip("this file system has no such dates")
    assert collection.add_files([docs]).changed_files == 2
    assert collection.add_files([docs]).unchanged_files == 2


def test_a_prompt_that_leaves_no_room_is_one_error_before_anything_is_done(docs, tmp_path, monkeypatch):
    def full(self):
        raise ConfigError("no room for a passage")

    model = type("Full", (FakeModel,), {"passage_tokens": property(full, lambda self, tokens: None)})()
    monkeypatch.setattr(ingest, "_prepare", None)  # no file is looked at
    with Collection.open(tmp_path / "full.sv", model) as collection, pytest.raises(ConfigError, match="no room"):
        collection.add_files([docs])


@pytest.mark.parametrize("paths", [5, None, [5], ["a", None]])
def test_paths_that_are_none(collection, paths):
    with pytest.raises(InvalidInput, match="paths is one|is no path"):
        collection.add_files(paths)


def test_the_question_of_a_faq_finds_its_row_and_the_log_says_from_what(docs, collection, caplog):
    filler = "Please see the handbook on the shelf in the office for all that there is to know."
    rows = [f"{n},How can I renew my {what}?,{filler},n" for n, what in enumerate(["badge", "card", "lease"])]
    write(docs / "faq.csv", "\n".join(["id,question,answer,notes", *rows]))
    with caplog.at_level("INFO", logger="sentvec"):
        collection.add_files(docs / "faq.csv")
    assert caplog.messages == [f"{docs / 'faq.csv'}: text from question, answer, notes"]
    best = collection.search("How can I renew my card?", k=1)[0]
    assert (best.line, best.metadata["notes"]) == (3, "n")


def test_steps_grow_while_the_model_is_fast(collection, model, monkeypatch):
    calls = []
    encode = model.encode_document
    monkeypatch.setattr(model, "encode_document", lambda texts, **o: calls.append(len(texts)) or encode(texts, **o))
    monkeypatch.setattr(module, "STEP_S", float("inf"))
    collection.add(f"text {n}" for n in range(224))
    monkeypatch.setattr(module, "STEP_S", 0.0)
    collection.add(f"word {n}" for n in range(352))
    assert calls == [32, 64, 128, 256, 96]


# Metadata --------------------------------------------------------------------------------------------


def test_metadata_is_stored_once_for_a_record_of_many_passages(docs, collection):
    long = " ".join(f"Sentence {n} is here." for n in range(2000))
    write(docs / "long.jsonl", json.dumps({"text": long, "note": "n" * 60_000}))
    collection.add_files(docs / "long.jsonl")
    assert len(collection) > 200
    assert collection.stats().bytes < 2_000_000
    assert {len(hit.metadata["note"]) for hit in collection.search("sentence", k=999)} == {60_000}


def test_metadata_that_is_too_long_is_left_out_by_name_longest_first(docs, collection):
    row = {"text": "Cats sleep.", "a": "short", "b": "b" * 50_000, "c": "c" * 20_000, "d": "d" * 50_000}
    write(docs / "wide.jsonl", json.dumps(row) + '\n{"text": "fine"}\n{')
    report = collection.add_files(docs / "wide.jsonl")
    assert report.bad_records[0] == (
        *(str(docs / "wide.jsonl"), 1),
        "only the metadata 'b', 'd': more than 65536 characters in all",
    )
    assert [line for _, line, _ in report.bad_records] == [1, 3]
    assert {name: len(part) for name, part in collection.search("cats")[0].metadata.items()} == {"a": 5, "c": 20_000}


def test_a_table_of_very_many_columns(docs, collection):
    many = 30_000
    write(docs / "wide.csv", ",".join(f"name{n}" for n in range(many)) + "\n" + ",".join(map(str, range(many))))
    ((_, line, reason),) = collection.add_files(docs / "wide.csv").bad_records
    assert line == 2
    assert re.fullmatch(
        r"only the metadata '\w+', '\w+', '\w+' and \d+ more: more than 65536 characters in all", reason
    )
    assert collection.stats().bytes < 20_000_000
