"""Files become sets, and a row that is broken is an error that names it."""

from __future__ import annotations

import json

import numpy as np
import pytest
from tests.evaluate.given import Given

from sentvec.errors import InvalidInput, NonFiniteOutput
from sentvec.evaluate.classify import Classification, Clustering, evaluate_classification, evaluate_clustering
from sentvec.evaluate.pairs import LabelledPairs
from sentvec.evaluate.read import read_aligned, read_clusters, read_file, read_polarity, read_sts_task
from sentvec.evaluate.sts import Sts, evaluate_sts


@pytest.fixture
def read(tmp_path):
    def read(name, lines, train=None, highest=5.0):
        (tmp_path / name).write_text("\n".join(lines), encoding="utf-8")
        return read_file(tmp_path / name, train, "set", "both", highest)

    return read


def test_scored_pairs(read):
    (one,) = read("a.csv", ["sentence1,sentence2,score,genre", "a,b,5,x", "c,d,0.5,y", "e,f,2,x"])
    assert isinstance(one, Sts) and one.left == ("a", "c", "e") and one.right == ("b", "d", "f")
    assert one.scores.tolist() == [5, 0.5, 2] and one.subsets.tolist() == [0, 1, 0] and one.notes == ("subsets: x, y",)


def test_pairs_with_yes_and_no(read):
    (one,) = read("a.jsonl", [json.dumps({"text1": "a", "text2": "b", "label": i % 2}) for i in range(4)])
    assert isinstance(one, LabelledPairs) and one.labels.tolist() == [0, 1, 0, 1]


@pytest.mark.parametrize(
    ("lines", "told"),
    [
        (
            ["sentence1,sentence2,score", "a,b,1", "c,d,5.1", "e,f,2"],
            "a.csv, line 3: column 'score' is 5.1, which is not between 0 and 5; if scores go further, .*--max-score",
        ),
        (["sentence1,sentence2,score", "a,b,1.5", "c,d,-1", "e,f,2"], "line 3: column 'score' is -1"),
        (["sentence1,sentence2,score", "a,b,1.5", '"c\nd",e,x', "e,f,2"], "line 3: column 'score' is 'x', which is"),
        (["sentence1,sentence2,score", "a,b,1", "c,d,2", "e,f,inf"], "line 4: column 'score' is 'inf', which is not a"),
        (["a,b,1.5", "c,d,2", "e,f,three"], "line 3: column 3 is 'three', which is not a number"),
        (["text,label", "a,x", "b,", "c,y"], "line 3: column 'label' is '', which names no class"),
    ],
)
def test_rows_that_are_broken(read, lines, told):
    with pytest.raises(InvalidInput, match=told):
        read("a.csv", lines)


def test_a_label_that_is_neither_yes_nor_no_after_many_that_are(read):
    rows = ["sentence1,sentence2,label", *(f"a{i},b{i},{i % 2}" for i in range(1200))]
    with pytest.raises(InvalidInput, match="line 1202: column 'label' is 0.5, which is neither 0 nor 1"):
        read("a.csv", [*rows, "a,b,0.5"])
    with pytest.raises(InvalidInput, match="line 1202: column 'label' is 3, which is not between 0 and 1"):
        read("a.csv", [*rows, "a,b,3"])


def test_scores_go_as_far_as_is_said(read):
    (one,) = read("a.csv", ["sentence1,sentence2,score", "a,b,10", "c,d,7", "e,f,0"], highest=10)
    assert one.highest == 10


@pytest.mark.parametrize(
    ("lines", "why"),
    [
        (["sentence1,sentence2,score", "a,b,3", "c,d,3", "e,f,3"], "all scores are 3"),
        (["sentence1,sentence2,label", "a,b,0", "c,d,1", "e,f,2"], "labels 0, 1 and 2, as those of inference"),
        (["sentence1,sentence2,score", "a,b,3", "c,d,4"], "a rank correlation of 2 pairs says nothing"),
        (["text,label", "a,x", "b,x"], "only one label, 'x'"),
        (["first,second,third", "a,b,c"], "3 columns without names"),
        ([""], "no rows"),
    ],
)
def test_what_is_no_set_says_why(read, lines, why):
    (told,) = read("a.csv", lines)
    assert told.startswith(why)


def test_text_files_may_be_anything(tmp_path):
    path = tmp_path / "speech.txt"
    path.write_bytes("Señor".encode("latin-1"))
    (told,) = read_file(path, None, "set", "both", 5)
    assert "not UTF-8" in told


def test_labelled_texts_with_and_without_a_file_to_learn_from(read, tmp_path):
    rows = ["text,label", *(f"text {i},class {i % 3}" for i in range(30))]
    halved, clusters = read("test.csv", rows)
    assert isinstance(halved, Classification) and isinstance(clusters, Clustering) and halved.name == "both"
    assert len(halved.train.texts) == len(halved.test.texts) == 15
    assert sorted(halved.train.texts + halved.test.texts) == sorted(clusters.parts[0].texts)
    assert all(halved.train.labels.count(f"class {i}") == 5 for i in range(3))
    assert all(label == f"class {int(text[5:]) % 3}" for text, label in zip(*vars_of(halved.test), strict=True))
    assert read("test.csv", rows)[0] == halved  # by chance, but by the same chance
    (tmp_path / "train.csv").write_text("text,label\nmore,class 0\nother,class 1\n", encoding="utf-8")
    learned, _ = read("test.csv", rows, train=tmp_path / "train.csv")
    assert learned.train.texts == ("more", "other") and len(learned.test.texts) == 30
    assert learned.notes == ("trained on train.csv, measured on test.csv",)
    (tmp_path / "train.csv").write_text("first,second\na,b\n", encoding="utf-8")
    with pytest.raises(InvalidInput, match="train.csv is not like test.csv, with texts and labels"):
        read("test.csv", rows, train=tmp_path / "train.csv")
    (tmp_path / "train.csv").write_text("text1,text2,score\na,b,3.5\n", encoding="utf-8")
    with pytest.raises(InvalidInput, match="train.csv is not like test.csv, with texts and labels: it holds sts"):
        read("test.csv", rows, train=tmp_path / "train.csv")


def vars_of(labelled):
    return labelled.texts, labelled.labels


def test_two_classes_are_not_clustered(read):
    assert [type(one) for one in read("a.csv", ["text,label", "a,x", "b,y", "c,x", "d,y"])] == [Classification]


def test_tasks_of_semeval(tmp_path):
    for name, texts, scores in (("one", "a\tb\nc\td\ng\th\n", "5\n\n2\n"), ("two", "e\tf\n", "1.25\n")):
        (tmp_path / f"STS.input.{name}.txt").write_text(texts, encoding="utf-8")
        (tmp_path / f"STS.gs.{name}.txt").write_text(scores, encoding="utf-8")
    files = ["STS.input.one.txt", "STS.input.two.txt"]
    one = read_sts_task(tmp_path, files, "set", 5)
    assert one.left == ("a", "g", "e") and one.scores.tolist() == [5, 2, 1.25] and one.subsets.tolist() == [0, 0, 1]
    assert one.notes == ("subsets: one, two",)
    assert read_sts_task(tmp_path, files[1:], "set", 5) == "a rank correlation of 1 pair says nothing"
    scores = tmp_path / "STS.gs.two.txt"
    for content, told in (
        ("9\n", r"STS.gs.two.txt, line 1: score '9'; accepted: numbers from 0 to 5"),
        ("x\n", "STS.gs.two.txt, line 1: score 'x'"),
        ("1\n2\n", "STS.input.two.txt has 1 line, but STS.gs.two.txt has 2"),
    ):
        scores.write_text(content, encoding="utf-8")
        with pytest.raises(InvalidInput, match=told):
            read_sts_task(tmp_path, files, "set", 5)
    scores.unlink()
    with pytest.raises(InvalidInput, match="STS.gs.two.txt is absent, but STS.input.two.txt needs its scores"):
        read_sts_task(tmp_path, files, "set", 5)
    (tmp_path / "STS.input.one.txt").write_text("a\tb\nno tab\n", encoding="utf-8")
    (tmp_path / "STS.gs.one.txt").write_text("1\n2\n", encoding="utf-8")
    with pytest.raises(InvalidInput, match="STS.input.one.txt, line 2: no two texts parted by a tab"):
        read_sts_task(tmp_path, files[:1], "set", 5)


def test_aligned_files(tmp_path):
    first, second = tmp_path / "a.de", tmp_path / "a.en"
    first.write_text("eins\nzwei\n", encoding="utf-8")
    second.write_text("one\ntwo\n", encoding="utf-8")
    one = read_aligned(first, second, "a")
    assert (one.left, one.right, one.notes) == (("eins", "zwei"), ("one", "two"), ("de and en",))
    second.write_text("one\n", encoding="utf-8")
    assert read_aligned(first, second, "a") == "a.de has 2 lines and a.en 1: no translations of each other"


def test_a_file_for_each_class(tmp_path):
    for name in ("neg", "pos"):
        (tmp_path / f"a.{name}").write_text("".join(f"{name} {i}\n" for i in range(4)), encoding="utf-8")
    files = [tmp_path / "a.neg", tmp_path / "a.pos"]
    one = read_polarity(files, "a")
    assert sorted(one.train.labels) == sorted(one.test.labels) == ["neg", "neg", "pos", "pos"]
    assert all(text.startswith(label) for text, label in zip(*vars_of(one.train), strict=True))
    for path in files:
        path.write_text(f"a text in {path.name}\n", encoding="utf-8")
    assert read_polarity(files, "a") == "one text of each label"
    files[0].write_text("", encoding="utf-8")
    assert read_polarity(files, "a") == "only one label, 'pos'"
    files[1].write_text("\n", encoding="utf-8")
    assert read_polarity(files, "a") == "no texts"


def test_clusters(tmp_path):
    path = tmp_path / "a.jsonl"
    good = {"sentences": ["a", "b", "c"], "labels": [1, 2, 1]}
    path.write_text(json.dumps(good), encoding="utf-8")
    (part,) = read_clusters(path, "a").parts
    assert part.texts == ("a", "b", "c") and part.labels == ("1", "2", "1")
    for change, told in (
        ({"sentences": "abc"}, "line 2: 'sentences' is 'abc'; accepted: a list of texts"),
        ({"sentences": ["a", 1, "c"]}, "line 2: 'sentences' is .*; accepted: a list of texts"),
        ({"labels": [1, 2]}, "line 2: 'labels' is no list of 3, one for each sentence"),
        ({"labels": [1, 1, 1]}, "line 2: all sentences have the same label"),
    ):
        path.write_text(f"{json.dumps(good)}\n{json.dumps(good | change)}", encoding="utf-8")
        with pytest.raises(InvalidInput, match=f"a.jsonl, {told}"):
            read_clusters(path, "a")


def test_a_vector_that_is_no_number_names_file_and_line(read, tmp_path):
    (sts,) = read("sts.csv", ["sentence1,sentence2,score", "a,b,1", '"c\nmore",d,2.5', "e,f,3"])
    vectors = {text: [1.0, 2.0] for text in (*sts.left, *sts.right)} | {"c\nmore": [1, np.inf]}
    with pytest.raises(NonFiniteOutput, match=r"sts.csv, line 3: the vector of 'c\\nmore' holds NaN or infinity"):
        evaluate_sts(sts, Given(vectors).vectors)
    classes, clusters = read("a.csv", ["text,label", *(f"t{i},c{i % 3}" for i in range(9))])
    vectors = {f"t{i}": [1.0, i] for i in range(9)} | {"t4": [np.nan, 0]}
    for evaluate, one in ((evaluate_classification, classes), (evaluate_clustering, clusters)):
        with pytest.raises(NonFiniteOutput, match="a.csv, line 6: the vector of 't4' holds NaN"):
            evaluate(one, Given(vectors).vectors)
