"""Folders are walked, sets are recognised by their files, and splits are chosen as is said."""

from __future__ import annotations

import json
import os

import pytest

from sentvec.errors import InvalidInput
from sentvec.evaluate.classify import Classification
from sentvec.evaluate.find import KINDS, find_sets
from sentvec.evaluate.sts import Sts

SCORED = "sentence1,sentence2,score\na,b,1\nc,d,2.5\ne,f,5\n"
LABELLED = "text,label\n" + "".join(f"text {i},class {i % 3}\n" for i in range(12))


def write(folder, **files):
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        path = folder / name.replace("__", ".")
        path.write_text(content, encoding="utf-8")
    return folder


def kinds(found):
    names = {kind: name for name, kind in KINDS.items()}
    return [(one.name, names[type(one)]) for one in found.sets]


def test_every_kind_is_found_by_its_files(tmp_path):
    write(
        tmp_path / "beir",
        corpus__jsonl='{"_id": "1", "text": "a"}',
        queries__jsonl='{"_id": "q", "text": "b"}',
        qrels__tsv="q\t1\t1",
    )
    write(tmp_path / "sts", one__csv=SCORED)
    (tmp_path / "sts" / "STS.input.news.txt").write_text("a\tb\nc\td\ne\tf\n", encoding="utf-8")
    (tmp_path / "sts" / "STS.gs.news.txt").write_text("3\n2\n1\n", encoding="utf-8")
    write(tmp_path / "pairs", two__tsv="".join(f"{i}\ta text\tanother\t{i % 2}\n" for i in range(9)))
    write(tmp_path / "topics", test__csv=LABELLED, train__csv=LABELLED)
    write(tmp_path / "talk", talk__de="eins\nzwei\n", talk__en="one\ntwo\n")
    write(tmp_path / "films", rt__pos="good\nfine\n", rt__neg="bad\nawful\n")
    write(
        tmp_path,
        order__jsonl=json.dumps({"query": "a", "positive": ["b"], "negative": ["c"]}),
        groups__jsonl=json.dumps({"sentences": ["a", "b"], "labels": [1, 2]}),
        README__txt="nothing",
    )
    write(tmp_path / ".hidden", broken__csv='"')
    found = find_sets(tmp_path)
    assert kinds(found) == [
        ("beir", "retrieval"),
        ("films", "classification"),
        ("groups", "clustering"),
        ("order", "rerank"),
        ("pairs/two", "pairs"),
        ("sts", "sts"),
        ("sts/one", "sts"),
        ("talk/talk", "bitext"),
        ("topics", "classification"),
        ("topics", "clustering"),
    ]
    assert not found.passed


@pytest.mark.parametrize(
    ("split", "names"),
    [
        ("auto", ["a-test", "b_dev", "c"]),
        ("test", ["a-test", "c"]),
        ("dev", ["a-dev", "b_dev", "c"]),
        ("train", ["a-train", "b_train", "c"]),
        ("all", ["a-dev", "a-test", "a-train", "b_dev", "b_train", "c"]),
    ],
)
def test_of_files_that_differ_by_their_split_one_is_taken(tmp_path, split, names):
    files = ("a-test", "a-dev", "a-train", "b_dev", "b_train", "c")
    write(tmp_path, **{f"{name}__csv": SCORED for name in files})
    found = find_sets(tmp_path, split=split)
    assert [one.name for one in found.sets] == names
    assert {path.stem for path, why in found.passed if "--split" in why} == set(files) - set(names)


def test_qrels_of_several_splits(tmp_path):
    write(tmp_path, corpus__jsonl='{"_id": "1", "text": "a"}', queries__jsonl='{"_id": "q", "text": "b"}')
    write(tmp_path / "qrels", test__tsv="q\t1\t1", dev__tsv="q\t1\t2")
    (found,) = find_sets(tmp_path).sets
    assert found.name.endswith("/test") and found.judged == {"q": {"1": 1}}
    assert len(find_sets(tmp_path, split="all").sets) == 2


def test_one_file_is_one_set(tmp_path):
    write(tmp_path, some__csv=SCORED)
    assert kinds(find_sets(tmp_path / "some.csv")) == [("some", "sts")]


def test_what_is_no_set_is_passed_over_with_the_reason(tmp_path):
    write(tmp_path, good__csv=SCORED, words__txt="one\ntwo\n", headless__csv="first,second\n1,2\n")
    (tmp_path / "old.txt").write_bytes(b"caf\xe9\n")
    write(tmp_path / "half", corpus__jsonl="", queries__jsonl="")
    told = {path.name: why for path, why in find_sets(tmp_path).passed}
    assert set(told) == {"words.txt", "headless.csv", "old.txt", "half"}
    assert told["words.txt"] == "one column" and told["half"] == "no qrels.tsv and no qrels/*.tsv"
    assert told["headless.csv"] == "two columns, but not a text and a label" and "line 1: not UTF-8" in told["old.txt"]


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ("sentence1,sentence2,score\na,b,1\nc,d,7\ne,f,5\n", "bad.csv, line 3: column 'score' is 7"),
        ("text,label\na,x\n,y\nb,\nc,x\n", "bad.csv, line 4: column 'label' is ''"),
        ('sentence1,sentence2,score\n"a,b,1\n', "bad.csv, line 2: unexpected end of data"),
    ],
)
def test_a_broken_set_is_an_error_before_anything_is_encoded(tmp_path, content, told):
    write(tmp_path, bad__csv=content, good__csv=SCORED)
    with pytest.raises(InvalidInput, match=told):
        find_sets(tmp_path)


def test_what_cannot_be_searched_is_refused(tmp_path):
    with pytest.raises(InvalidInput, match="does not exist; give a folder"):
        find_sets(tmp_path / "none")
    with pytest.raises(InvalidInput, match="split 'tests' is not known. Known: auto, all, test, dev, train"):
        find_sets(tmp_path, split="tests")
    with pytest.raises(InvalidInput, match=r"holds no set that can be evaluated \(no data files\)"):
        find_sets(tmp_path)
    write(tmp_path, words__txt="one\n")
    with pytest.raises(InvalidInput, match=r"holds no set that can be evaluated \(words.txt: one column\)"):
        find_sets(tmp_path)


def test_what_is_no_file_is_named_and_neither_waited_for_nor_walked(tmp_path):
    sets = write(tmp_path / "sets", one__csv=SCORED)
    write(tmp_path / "other", two__csv=SCORED)
    (sets / "linked").symlink_to(tmp_path / "other")
    (sets / "loop").symlink_to(sets)
    (sets / "nowhere.csv").symlink_to(tmp_path / "gone.csv")
    (sets / "file.csv").symlink_to(tmp_path / "other" / "two.csv")
    os.mkfifo(sets / "pipe.tsv")
    found = find_sets(sets)
    assert kinds(found) == [("file", "sts"), ("one", "sts")]
    why = {path.name: reason for path, reason in found.passed}
    assert sorted(why) == ["linked", "loop", "nowhere.csv", "pipe.tsv"]
    assert "link to a folder, which is not followed" in why["linked"] and "leads nowhere, or a pipe" in why["pipe.tsv"]
    with pytest.raises(InvalidInput, match="pipe.tsv is neither a folder nor a file"):
        find_sets(sets / "pipe.tsv")


def test_sets_that_would_share_a_name_are_called_by_their_files(tmp_path):
    write(tmp_path, a__csv=SCORED, a__tsv=SCORED.replace(",", "\t"), b__csv=SCORED)
    for stem in ("films", "books"):
        write(tmp_path, **{f"{stem}__pos": "good\nfine\n", f"{stem}__neg": "bad\nawful\n"})
    found = find_sets(tmp_path)
    assert [one.name for one in found.sets if isinstance(one, Sts)] == ["a (a.csv)", "a (a.tsv)", "b"]
    films, books = (f"{tmp_path.name} ({stem}.neg)" for stem in ("films", "books"))
    assert {one.name for one in found.sets if isinstance(one, Classification)} == {films, books}


@pytest.mark.parametrize("highest", [0, -1, float("nan"), float("inf")])
def test_an_impossible_highest_score_is_refused(tmp_path, highest):
    with pytest.raises(InvalidInput, match="the highest score is .*; accepted: numbers above 0"):
        find_sets(write(tmp_path, one__csv=SCORED), highest=highest)


@pytest.mark.data
def test_real_folders(shared_data):
    found = find_sets(shared_data / "sts")
    assert kinds(found) == [("sick/SICK_trial", "sts"), ("stsb/stsb-en-test", "sts"), ("stsb/stsb-zh-test", "sts")]
    found = find_sets(shared_data / "classification" / "banking77")
    assert kinds(found) == [("banking77", "classification"), ("banking77", "clustering")]
    assert len(found.sets[0].train.texts) == 10_003 and len(found.sets[0].test.texts) == 3080
