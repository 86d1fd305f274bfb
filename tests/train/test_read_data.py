"""Published sets are read as they are."""

from __future__ import annotations

from pathlib import Path

import pytest

from sentvec.errors import InvalidInput
from sentvec.train.read import read_dataset

pytestmark = pytest.mark.data
INFERENCE = ("contradiction", "entailment", "neutral")


@pytest.mark.parametrize(
    ("path", "options", "kind", "count", "labels"),
    [
        ("sts/stsb/stsb-en-train.csv", {"columns": {"sentence1": 1, "sentence2": 2, "score": 3}}, "scored", 5749, ()),
        ("sts/sick/SICK_train.txt", {}, "scored", 4500, ()),
        ("sts/sick/SICK_train.txt", {"kind": "labelled_pairs"}, "labelled_pairs", 4500, INFERENCE),
        ("nli/conjnli/conj_dev.tsv", {}, "labelled_pairs", 623, INFERENCE),
        ("nli/snli/snli-dev.tsv", {}, "labelled_pairs", 9842, INFERENCE),
        ("nli/breaking_nli/dataset.jsonl", {}, "labelled_pairs", 8193, INFERENCE),
        ("retrieval/triples-bge-zh/bge_finetune_data.jsonl", {}, "tuples", 2701, ()),
        ("retrieval/cisi", {}, "pairs", 3114, ()),
        ("retrieval/cran", {"skip_bad": True}, "lists", 225, ()),
        ("classification/sst2/dev.tsv", {"columns": {"text": 1, "label": 2}}, "classes", 872, ("0", "1")),
        ("corpora/wikitext-2/valid.txt", {}, "texts", 2461, ()),
    ],
)
def test_a_set_is_what_it_is_known_to_be(shared_data: Path, path, options, kind, count, labels):
    found = read_dataset(shared_data / path, **options)
    assert (found.kind, len(found), found.labels) == (kind, count, labels)


def test_banking77_has_77_classes(shared_data: Path):
    train, test = (shared_data / "classification/banking77" / name for name in ("train.csv", "test.csv"))
    found = read_dataset(train)
    assert (len(found), len(found.labels)) == (10_003, 77)
    assert read_dataset(test, labels=found.labels).labels == found.labels


def test_rows_without_a_label_are_counted(shared_data: Path):
    path = shared_data / "nli/ocnli/train.10k.json"
    with pytest.raises(InvalidInput, match=r"15 of 10,000 rows cannot be used: lines 1297, .*'-'.*; and 5 more"):
        read_dataset(path)
    assert len(read_dataset(path, skip_bad=True)) == 9985


def test_a_label_that_stands_second_is_noticed(shared_data: Path):
    with pytest.raises(InvalidInput, match="If the label stands second"):
        read_dataset(shared_data / "classification/sst2/dev.tsv", kind="classes")
