"""BEIR folders give pairs, or lists where documents are graded."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import pytest

from sentvec.errors import InvalidInput
from sentvec.train.batches import Example
from sentvec.train.read import read_dataset

HEADER = "query-id\tcorpus-id\tscore\n"


def beir(folder: Path, judged: Mapping[str, str], *, empty: str = "") -> Path:
    """Write three documents, two queries and files of judgements."""
    folder.mkdir(exist_ok=True)
    documents = {"d1": "Paris is a city", "d2": "pears are sweet", "d3": "rain is wet"}
    lines = [
        {"_id": one, "title": "T" if one == "d1" else "", "text": "" if one == empty else text}
        for one, text in documents.items()
    ]
    (folder / "corpus.jsonl").write_text("".join(f"{json.dumps(line)}\n" for line in lines))
    queries = [
        {"_id": "q1", "text": "what is Paris"},
        {"_id": "q2", "text": "what is sweet"},
        {"_id": "q3", "text": "who"},
    ]
    (folder / "queries.jsonl").write_text("".join(f"{json.dumps(line)}\n" for line in queries))
    for name, rows in judged.items():
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text(HEADER + rows)
    return folder


def test_judgements_of_one_grade_give_pairs(tmp_path):
    found = read_dataset(beir(tmp_path / "set", {"qrels.tsv": "q1\td1\t1\nq2\td2\t1\nq2\td3\t1\n"}))
    assert (found.name, found.kind) == ("set", "pairs")
    assert list(found.examples) == [
        Example(("what is Paris", "T Paris is a city")),
        Example(("what is sweet", "pears are sweet")),
        Example(("what is sweet", "rain is wet")),
    ]
    assert any("1 query without a relevant document" in note for note in found.notes)


def test_grades_give_lists_or_pairs_on_demand(tmp_path):
    folder = beir(tmp_path / "set", {"qrels.tsv": "q1\td1\t2\nq1\td2\t0\nq2\td2\t1\n"})
    found = read_dataset(folder)
    assert found.kind == "lists"
    assert list(found.examples) == [
        Example(("what is Paris", "T Paris is a city", "pears are sweet"), (2.0, 0.0)),
        Example(("what is sweet", "pears are sweet"), (1.0,)),
    ]
    assert any('kind="pairs"' in note for note in found.notes)
    found = read_dataset(folder, kind="pairs")
    assert [one.texts for one in found.examples] == [
        ("what is Paris", "T Paris is a city"),
        ("what is sweet", "pears are sweet"),
    ]
    with pytest.raises(InvalidInput, match="gives pairs or lists, and no scored"):
        read_dataset(folder, kind="scored")


def test_judgements_for_training_are_taken_or_those_whose_path_is_given(tmp_path):
    train, dev = "q1\td1\t1\n", "q2\td2\t1\n"
    folder = beir(tmp_path / "set", {"qrels/train.tsv": train, "qrels/dev.tsv": dev})
    assert [one.texts[0] for one in read_dataset(folder).examples] == ["what is Paris"]
    found = read_dataset(folder / "qrels" / "dev.tsv")
    assert (found.name, [one.texts[0] for one in found.examples]) == ("set/dev", ["what is sweet"])
    (folder / "qrels" / "train.tsv").rename(folder / "qrels" / "test.tsv")
    with pytest.raises(InvalidInput, match=r"qrels/dev.tsv, qrels/test.tsv, and none for training"):
        read_dataset(folder)


def test_documents_without_a_text_are_refused_or_left_out(tmp_path):
    folder = beir(tmp_path / "set", {"qrels.tsv": "q1\td1\t1\nq2\td2\t1\n"}, empty="d2")
    with pytest.raises(InvalidInput, match=r"document 'd2' of corpus.jsonl"):
        read_dataset(folder)
    found = read_dataset(folder, skip_bad=True)
    assert [one.texts[0] for one in found.examples] == ["what is Paris"]
    assert any("d2" in note for note in found.notes)


def test_other_folders_are_refused(tmp_path):
    with pytest.raises(InvalidInput, match="is a folder; give a file"):
        read_dataset(tmp_path)
    with pytest.raises(InvalidInput, match=r"no qrels.tsv and no qrels"):
        read_dataset(beir(tmp_path / "set", {}))
