"""Generations of index files: answers are the same with and without, readers stay right, damage is gone around."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from fake_model import FakeModel

from sentvec.errors import CollectionBusy, InvalidInput
from sentvec.search import generation as module
from sentvec.search.collection import Collection
from sentvec.search.disk import held

WORDS = [f"word{n}" for n in range(40)]
KINDS = ["flat", "hnsw", "ivf-flat", "sq8"]


def texts(count, seed=0):
    chosen = np.random.default_rng(seed).integers(0, len(WORDS), size=(count, 5))
    return [" ".join(WORDS[n] for n in line) for line in chosen]


def answers(collection, k=12):
    return [[(hit.id, hit.score) for hit in collection.search(word, k=k)] for word in WORDS[:6]]


@pytest.fixture
def many(tmp_path, model):
    """400 passages that no generation holds yet."""
    with Collection.open(tmp_path / "c", model) as collection:
        collection.add(texts(400), ids=[f"i{n}" for n in range(400)], metadata=[{"n": n} for n in range(400)])
        yield collection


def generations(collection):
    folder = collection.stats().path
    return sorted(name for name in os.listdir(folder) if name.startswith(("gen-", ".tmp-")))  # noqa: PTH208


@pytest.mark.parametrize("kind", KINDS)
def test_answers_are_the_same_with_an_index_and_without(many, tmp_path, kind):
    before = answers(many)
    report = many.compact(kind, recall=1.0)
    assert (report.generation, report.kind, report.rows) == (1, kind, 400)
    assert answers(many) == before
    stats = many.stats()
    assert (stats.generation, stats.indexed, stats.later, stats.removed) == (1, 400, 0, 0)
    assert (stats.recall is None, stats.curve == ()) == (kind == "flat", kind == "flat")
    with Collection.open(tmp_path / "c", FakeModel()) as again:
        assert answers(again) == before


@pytest.mark.parametrize("kind", KINDS)
def test_what_comes_and_goes_after_it_counts_at_once(many, kind):
    many.compact(kind, recall=1.0)
    many.delete([f"i{n}" for n in range(0, 400, 3)])
    many.upsert(texts(50, seed=1), [f"i{n}" for n in range(1, 101, 2)])
    many.add(texts(30, seed=2), ids=[f"new{n}" for n in range(30)])
    many.delete(["new3", "i1"])
    later = answers(many)
    stats = many.stats()
    assert (stats.indexed, stats.later, stats.removed) == (400 - 134 - 50 + 17, 78, 134 + 50 - 17)
    many.compact(recall=1.0)
    assert many.stats().later == 0
    assert answers(many) == later
    assert generations(many) == ["gen-000002"]


def test_filters_are_exact_in_both_parts(many):
    many.compact("hnsw")
    many.add(texts(20, seed=3), ids=[f"new{n}" for n in range(20)], metadata=[{"n": n} for n in range(20)])
    many.delete(["i1"])
    for where in ({"n": {"<": 5}}, {"n": {">": 5}}, {"n": 1}, {"n": -1}):
        with_index = [hit.id for hit in many.search(WORDS[0], k=9, where=where)]
        assert with_index == [hit.id for hit in sifted(many, where)][:9]
    assert many.delete(where={"n": {"<": 5}}) == 9
    assert many.search(WORDS[0], k=500, where={"n": {"<": 5}}) == []


def sifted(collection, where):
    ((_, condition),) = where.items()
    hits = collection.search(WORDS[0], k=999)
    if isinstance(condition, int):
        return [hit for hit in hits if hit.metadata["n"] == condition]
    ((operator, value),) = condition.items()
    return [hit for hit in hits if (hit.metadata["n"] < value) == (operator == "<") and hit.metadata["n"] != value]


def test_a_filter_that_leaves_most_goes_through_the_index(many, monkeypatch):
    monkeypatch.setattr("sentvec.search.view.NARROW", 10)
    many.compact("hnsw", recall=1.0)
    where = {"n": {">": 40}}
    assert [hit.id for hit in many.search(WORDS[0], k=9, where=where)] == [hit.id for hit in sifted(many, where)][:9]


def test_an_empty_collection_has_no_generation(tmp_path, model):
    with Collection.open(tmp_path / "c", model) as collection:
        assert collection.compact().generation == 0
        collection.add(["one"], ids=["one"])
        assert collection.compact("hnsw").rows == 1
        collection.delete(["one"])
        assert collection.compact().rows == 0
        assert generations(collection) == []
        assert collection.search("one") == []
        collection.add(["two"])
        assert collection.compact().generation == 2
        assert len(collection.search("two")) == 1


def test_row_numbers_beyond_32_bits(many):
    with many._writer.writing():
        many._writer.change("UPDATE sqlite_sequence SET seq = ? WHERE name = 'passages'", (1 << 40,))
    many.add(["anchor alone"], ids=["anchor"])
    many.compact("hnsw")
    many.add(["anchor too"], ids=["later"])
    assert {hit.id for hit in many.search("anchor", k=2)} == {"anchor", "later"}
    many.delete(["anchor"])
    assert many.search("anchor", k=1)[0].id == "later"
    assert many.verify().clean


@pytest.mark.parametrize("kind", ["best", "HNSW", "", 7])
def test_a_kind_that_is_not_known(many, kind):
    with pytest.raises(InvalidInput, match="kind of index"):
        many.compact(kind)
    assert generations(many) == []


@pytest.mark.parametrize("recall", [0, 1.5, True, "all"])
def test_a_recall_that_is_none(many, recall):
    with pytest.raises(InvalidInput, match="recall is"):
        many.compact("flat", recall=recall)


def test_the_recall_that_was_asked_for_is_asked_for_again(many, tmp_path):
    def target():
        manifest = next(tmp_path.glob("c/gen-*/MANIFEST.json"))
        return json.loads(manifest.read_text())["index"]["tuning"]["target"]

    many.compact("hnsw")
    assert target() == 0.95
    many.compact(recall=0.7)
    many.compact()
    assert target() == 0.7
    many.compact("flat", recall=0.8)  # which has no recall, but remembers
    damage(tmp_path / "c" / "gen-000004" / module.ROWS, "cut")
    many.repair()
    many.compact("hnsw")
    assert target() == 0.8


def test_only_one_compacts_at_a_time(many, tmp_path):
    with held(tmp_path / "c" / "upkeep.lock"), pytest.raises(CollectionBusy, match="compacting or repairing"):
        many.compact("flat")
    many.compact("flat")


# Readers ---------------------------------------------------------------------------------------------


def test_a_reader_keeps_its_generation_and_goes_on_to_the_next(many, tmp_path):
    many.compact("flat")
    with Collection.open(tmp_path / "c", FakeModel()) as reader:
        before = answers(reader)
        many.delete([before[0][0][0]])
        many.compact("hnsw", recall=1.0)
        assert generations(many) == ["gen-000001", "gen-000002"]  # the reader still has the first
        assert answers(reader) == answers(many) != before
        many.compact("flat")
        assert generations(many) == ["gen-000002", "gen-000003"]
    many.compact("flat")
    assert generations(many) == ["gen-000004"]


def test_processes_that_read_are_right_while_another_writes_and_compacts(many, tmp_path):
    many.add(["anchor alone"], ids=["anchor"])
    command = [sys.executable, Path(__file__).with_name("searcher.py"), tmp_path / "c", tmp_path / "stop"]
    readers = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    assert [reader.stdout.readline() for reader in readers] == ["begun\n"] * 2
    for n in range(8):
        many.upsert(texts(40, seed=n), [f"i{m}" for m in range(n, n + 40)])
        many.delete([f"i{m}" for m in range(200 + 10 * n, 210 + 10 * n)])
        many.compact("flat" if n % 2 else "hnsw")
    (tmp_path / "stop").touch()
    searches = [reader.communicate(timeout=60)[0] for reader in readers]
    assert [reader.returncode for reader in readers] == [0, 0]
    assert all(int(count) > 1 for count in searches)


@pytest.mark.parametrize("between", [False, True])
def test_a_reader_without_a_generation_sees_what_goes_when_the_last_passage_does(many, tmp_path, between):
    with Collection.open(tmp_path / "c", FakeModel()) as reader:
        assert len(reader.search("word1", k=400)) == 400
        many.delete(["i0"])
        if between:
            many.compact("flat")
        many.delete(where={})
        assert many.compact("flat").generation == 0
        assert reader.search("word1") == []
        many.add(["word1"], ids=["new"])
        assert [hit.id for hit in reader.search("word1")] == ["new"]
        assert many.verify().clean


def test_what_a_killed_compaction_left_is_removed_at_the_next_opening(many, tmp_path):
    many.compact("flat")
    shutil.copytree(tmp_path / "c" / "gen-000001", tmp_path / "c" / "gen-000007")
    (tmp_path / "c" / ".tmp-gen-000008-0").mkdir()
    before = answers(many)
    with Collection.open(tmp_path / "c", FakeModel()) as again:
        assert generations(again) == ["gen-000001"]
        assert answers(again) == before


# Damage ----------------------------------------------------------------------------------------------

FILES = (module.VECTORS, module.ROWS, module.CHECKS, module.INDEX, module.MANIFEST)


def damage(path, how):
    data = bytearray(path.read_bytes())
    if how == "flipped":
        data[len(data) // 2] ^= 4
    if how == "cut":
        del data[len(data) // 2 :]
    path.write_bytes(data)
    if how == "gone":
        path.unlink()


@pytest.mark.parametrize("kind", ["flat", "hnsw"])
@pytest.mark.parametrize("file", FILES)
@pytest.mark.parametrize("how", ["flipped", "cut", "gone"])
def test_a_damaged_file_never_changes_an_answer_and_is_repaired(many, tmp_path, caplog, kind, file, how):
    many.compact(kind, recall=1.0)
    before = answers(many)
    many.close()
    path = tmp_path / "c" / "gen-000001" / file
    if not path.exists():
        return
    damage(path, how)
    with Collection.open(tmp_path / "c", FakeModel()) as again:
        assert answers(again) == before
        report = again.verify()
        assert [problem.kind for problem in report.problems] == ["generation"]
        flipped_vector = file == module.VECTORS and kind == "hnsw" and how == "flipped"
        if not flipped_vector:  # that one is seen when it is fetched, or when all are compared
            assert again.stats().damage
            assert "is damaged" in caplog.text
        report = again.repair()
        assert report.clean
        assert [problem.kind for problem in report.repaired] == ["generation"]
        assert answers(again) == before
        assert again.stats().damage is None
        assert again.stats().generation == 2


def test_a_flipped_vector_is_seen_when_it_is_fetched(many, tmp_path):
    many.compact("hnsw", recall=1.0)
    before = answers(many, k=400)
    many.close()
    damage(tmp_path / "c" / "gen-000001" / module.VECTORS, "flipped")
    with Collection.open(tmp_path / "c", FakeModel()) as again:
        assert again.stats().damage is None
        assert answers(again, k=400) == before
        assert "vectors.f32 is not as it was written" in again.stats().damage


def test_a_flipped_vector_is_seen_after_others_were_found_whole(many, tmp_path):
    many.compact("hnsw", recall=1.0)
    before, like = answers(many), many.search_like("i200", k=3)
    many.close()
    damage(tmp_path / "c" / "gen-000001" / module.VECTORS, "flipped")
    with Collection.open(tmp_path / "c", FakeModel()) as again:
        for _ in range(2):
            assert again.search(WORDS[0], k=1)[0].id == before[0][0][0]
        assert again.stats().damage is None
        assert again.search_like("i200", k=3) == like
        assert "vectors.f32 is not as it was written" in again.stats().damage


def test_folders_of_two_generations_that_were_swapped(many, tmp_path):
    many.compact("flat")
    shutil.copytree(tmp_path / "c" / "gen-000001", tmp_path / "old")
    many.delete(["i7"])
    many.compact("flat")
    before = answers(many)
    many.close()
    shutil.rmtree(tmp_path / "c" / "gen-000002")
    (tmp_path / "old").rename(tmp_path / "c" / "gen-000002")
    with Collection.open(tmp_path / "c", FakeModel()) as again:
        assert answers(again) == before
        assert again.stats().damage == "MANIFEST.json is not as it was written"


def test_a_full_disk_leaves_the_last_generation_in_use(many, tmp_path, monkeypatch):
    many.compact("flat")
    before = answers(many)

    def full(path):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(module, "sync", full)
    with pytest.raises(Exception, match=r"No space left.*committed before is safe"):
        many.compact("flat")
    assert generations(many) == ["gen-000001"]
    assert answers(many) == before
