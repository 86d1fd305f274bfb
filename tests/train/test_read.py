"""Reading files and rows to learn from: what is recognised, what is said of it, and what is refused."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest

from sentvec.errors import InvalidInput
from sentvec.train.batches import Dataset, Example
from sentvec.train.read import read_dataset

Row = Mapping[str, object]


def jsonl(path: Path, rows: Sequence[Row]) -> Path:
    path.write_text("".join(f"{json.dumps(row, ensure_ascii=False)}\n" for row in rows), encoding="utf-8")
    return path


def text(path: Path, content: str) -> Path:
    path.write_text(content, encoding="utf-8")
    return path


def said(found: Dataset) -> str:
    return " ".join(found.notes)


# kinds


@pytest.mark.parametrize(
    ("row", "kind", "example"),
    [
        ({"positive": "b", "anchor": "a"}, "pairs", Example(("a", "b"))),
        ({"question": "a", "answer": "b", "id": 7}, "pairs", Example(("a", "b"))),
        ({"text": "a", "text_pos": "b"}, "pairs", Example(("a", "b"))),
        ({"query": "a", "positive": "b", "negative": "c"}, "tuples", Example(("a", "b", "c"))),
        ({"negative_2": "d", "anchor": "a", "negative_1": "c", "positive": "b"},
         "tuples", Example(("a", "b", "c", "d"))),
        ({"query": "a", "pos": ["b"], "neg": ["c", "d"]}, "tuples", Example(("a", "b", "c", "d"))),
        ({"sentence1": "a", "sentence2": "b", "score": 0.25}, "scored", Example(("a", "b"), 0.25)),
        ({"sentence1": "a", "sentence2": "b", "label": 0.25}, "scored", Example(("a", "b"), 0.25)),
        ({"query": "a", "positive": "b", "label": 1}, "labelled_pairs", Example(("a", "b"), 1)),
        ({"text": "a", "label": 0}, "classes", Example(("a",), 0)),
        ({"query": "a", "documents": ["b", "c"], "scores": [1, 0.5]}, "lists", Example(("a", "b", "c"), (1.0, 0.5))),
        ({"query": "a", "docs": ["b", "c"], "labels": [1, 0]}, "lists", Example(("a", "b", "c"), (1.0, 0.0))),
        ({"text": "a"}, "texts", Example(("a",))),
        ({"title": "a", "_id": "x"}, "texts", Example(("a",))),
        ({"query": "a", "documents": ["b", "c"], "teacher_scores": [9, 3]},
         "taught_scores", Example(("a", "b", "c"), (9.0, 3.0))),
        ({"query": "a", "pos": ["b"], "neg": ["c"], "pos_scores": [9], "neg_scores": [3]},
         "taught_scores", Example(("a", "b", "c"), (9.0, 3.0))),
        ({"query": "a", "positive": "b", "negative": "c", "label": [9, 3]},
         "taught_scores", Example(("a", "b", "c"), (9.0, 3.0))),
        ({"query": "a", "positive": "b", "negative": "c", "score": 6.5},
         "taught_scores", Example(("a", "b", "c"), (6.5, 0.0))),
        ({"text": "a", "embedding": [0.5, 2]}, "taught_vectors", Example(("a",), (0.5, 2.0))),
        ({"sentence": "a", "label": [0.5, 2]}, "taught_vectors", Example(("a",), (0.5, 2.0))),
    ],
)  # fmt: skip
def test_each_kind_is_known_by_the_names_of_its_columns(tmp_path, row, kind, example):
    for found in (read_dataset(jsonl(tmp_path / "data.jsonl", [row])), read_dataset([row])):
        assert found.kind == kind
        assert list(found.examples) == [example]


def test_a_header_says_which_column_is_what_in_any_order(tmp_path):
    path = text(
        tmp_path / "train.csv", 'answer,question\n"A city, in France","What is Paris?"\nA fruit,What is a pear?\n'
    )
    found = read_dataset(path)
    assert (found.name, found.kind) == ("train", "pairs")
    assert list(found.examples) == [
        Example(("What is Paris?", "A city, in France")),
        Example(("What is a pear?", "A fruit")),
    ]
    assert found.columns == (("query", "question"), ("positive", "answer"))


def test_several_positives_are_several_examples():
    found = read_dataset([{"query": "a", "pos": ["b", "c"], "neg": ["d"]}, {"query": "e", "pos": ["f"], "neg": []}])
    assert [one.texts for one in found.examples] == [("a", "b", "d"), ("a", "c", "d"), ("e", "f")]
    assert "fewer negatives than there is room for: 1." in said(found)


def test_negatives_may_end_early_but_one_must_be_there():
    rows = [
        {"query": "a", "positive": "b", "negative_1": "c", "negative_2": None},
        {"query": "d", "positive": "e", "negative_1": "f", "negative_2": "g"},
    ]
    assert [one.texts for one in read_dataset(rows).examples] == [("a", "b", "c"), ("d", "e", "f", "g")]
    with pytest.raises(InvalidInput, match="row 3: column 'negative_1' is missing"):
        read_dataset([*rows, {"query": "h", "positive": "i"}])


def test_single_texts_are_taken_of_pairs_on_demand():
    found = read_dataset([{"sentence1": "a", "sentence2": "b", "score": 3}], kind="texts")
    assert [one.texts for one in found.examples] == [("a",), ("b",)]


def test_points_of_queries_and_documents_are_texts_with_a_class():
    rows = [{"query": "a", "document": None, "label": "x"}, {"query": None, "document": "b", "label": "y"}]
    found = read_dataset(rows)
    assert (found.kind, found.labels) == ("classes", ("x", "y"))
    assert list(found.examples) == [Example(("a",), 0), Example(("b",), 1)]


def test_a_kind_is_the_users_choice():
    rows = [{"sentence1": "a", "sentence2": "b", "score": "1"}, {"sentence1": "c", "sentence2": "d", "score": "0"}]
    assert read_dataset(rows).kind == "scored"
    found = read_dataset(rows, kind="labelled_pairs")
    assert list(found.examples) == [Example(("a", "b"), 1), Example(("c", "d"), 0)]
    with pytest.raises(InvalidInput, match=r"tuples need query, positive, negative, and no column .* the negative"):
        read_dataset(rows, kind="tuples")
    with pytest.raises(InvalidInput, match="kind 'couples' is not known. Known: pairs"):
        read_dataset(rows, kind="couples")


def test_of_labelled_pairs_those_that_belong_together_are_pairs_on_demand():
    rows = [{"premise": "a", "hypothesis": name, "label": name} for name in ("neutral", "entailment", "contradiction")]
    found = read_dataset(rows, kind="pairs")
    assert [one.texts for one in found.examples] == [("a", "entailment")]
    assert "2 rows left out" in said(found)


# scores and labels


def test_scores_from_0_to_5_are_put_between_0_and_1_and_it_is_said(tmp_path):
    rows = [{"sentence1": "a", "sentence2": "b", "score": 5}, {"sentence1": "c", "sentence2": "d", "score": 1.0}]
    found = read_dataset(jsonl(tmp_path / "sts.jsonl", rows))
    assert [one.value for one in found.examples] == [1.0, 0.2]
    assert "from 0 to 5" in said(found)
    found = read_dataset(rows, scores=(1, 5))
    assert [one.value for one in found.examples] == [1.0, 0.0]


@pytest.mark.parametrize("score", [5.5, -0.1, float("nan"), "high", None, True])
def test_scores_out_of_range_and_what_is_no_number_are_refused_with_their_line(tmp_path, score):
    rows = [{"sentence1": "a", "sentence2": "b", "score": 2}, {"sentence1": "c", "sentence2": "d", "score": score}]
    with pytest.raises(InvalidInput, match="1 of 2 rows cannot be used: line 2: column 'score' is"):
        read_dataset(jsonl(tmp_path / "sts.jsonl", rows))
    assert len(read_dataset(rows, skip_bad=True)) == 1


def test_classes_are_numbered_in_the_order_of_their_names(tmp_path):
    path = text(tmp_path / "data.tsv", "label\ttext\nsport\ta\nart\tb\nsport\tc\n")
    found = read_dataset(path)
    assert found.labels == ("art", "sport")
    assert [one.value for one in found.examples] == [1, 0, 1]
    found = read_dataset(path, labels=("sport", "art", "law"))  # as another file had them
    assert found.labels == ("sport", "art", "law")
    assert [one.value for one in found.examples] == [0, 1, 0]
    with pytest.raises(InvalidInput, match=r"lines 2, 4: column 'label' is 'sport', which is not known \(known: art\)"):
        read_dataset(path, labels=("art",))


def test_classes_by_number_keep_their_order_and_gaps_are_told():
    rows = [{"text": str(number), "label": number} for number in (10, 2, 0)]
    found = read_dataset(rows)
    assert found.labels == ("0", "2", "10")
    assert [one.value for one in found.examples] == [2, 1, 0]
    assert "numbered anew" in said(found)
    assert "numbered anew" not in said(read_dataset([{"text": "a", "label": "1"}, {"text": "b", "label": "0"}]))


def test_labels_of_inference_have_their_own_order_and_others_are_unknown(tmp_path):
    rows = [
        {"sentence1": "a", "sentence2": f"{i}", "label": name}
        for i, name in enumerate(["Neutral", "entailment", "-", "contradiction"])
    ]
    with pytest.raises(InvalidInput, match="line 3: column 'label' is '-', which names no class"):
        read_dataset(jsonl(tmp_path / "nli.jsonl", rows))
    found = read_dataset(rows, skip_bad=True)
    assert (found.kind, found.labels) == ("labelled_pairs", ("contradiction", "entailment", "neutral"))
    assert [one.value for one in found.examples] == [2, 1, 0]


@pytest.mark.parametrize(
    ("names", "numbers"),
    [
        (("0", "1"), [0, 1]),
        (("no", "yes"), [0, 1]),
        (("not_entailment", "entailment"), [0, 1]),
        ((True, False), [1, 0]),
        ((1, 1), [1, 1]),
    ],
)
def test_pairs_that_belong_together_are_1(names, numbers):
    found = read_dataset([{"query": "a", "positive": str(i), "label": name} for i, name in enumerate(names)])
    assert found.kind == "labelled_pairs"
    assert [one.value for one in found.examples] == numbers
    assert len(found.labels) == 2


def test_labels_and_scores_that_no_column_has_are_said_to_be_idle():
    rows = [{"text": "a", "positive": "b"}]
    assert said(read_dataset(rows)) == ""
    assert "labels (--labels) are given, and no column of pairs has any" in said(read_dataset(rows, labels=["x", "y"]))
    assert "scores (--scores) are given, and no column of pairs has any" in said(read_dataset(rows, scores=(0, 5)))
    scored = [{"text": "a", "positive": "b", "score": 3}]
    assert "not used" not in said(read_dataset(scored, scores=(0, 5)))


def test_a_label_that_is_lacking_makes_no_classes_of_scores():
    rows = [{"sentence1": "a", "sentence2": str(score), "label": score} for score in (0.5, 0.25, None)]
    assert [one.value for one in read_dataset(rows, skip_bad=True).examples] == [0.5, 0.25]


def test_whole_numbers_as_labels_are_told_as_what_they_were_taken_for():
    found = read_dataset([{"query": "a", "positive": "b", "label": 1}, {"query": "c", "positive": "d", "label": 0}])
    assert 'pass kind="scored"' in said(found)


# files


def test_texts_of_a_plain_file_are_its_lines(tmp_path):
    found = read_dataset(text(tmp_path / "words.txt", "one line\n\nanother, with a comma\r\na\ttab\nlast"))
    assert found.kind == "texts"
    assert [one.texts[0] for one in found.examples] == ["one line", "another, with a comma", "a\ttab", "last"]


def test_a_label_and_a_text_parted_by_a_tab(tmp_path):
    path = text(tmp_path / "train.txt", "good\tI liked it\nbad\tnever again\ngood\tlovely\n")
    with pytest.raises(InvalidInput, match=r"first line names none of its 2 columns.*counted from 1"):
        read_dataset(path)
    found = read_dataset(path, kind="classes")
    assert list(found.examples) == [Example(("I liked it",), 1), Example(("never again",), 0), Example(("lovely",), 1)]
    turned = text(tmp_path / "turned.txt", "I liked it\tgood\nnever again\tbad\nlovely\tgood\n")
    with pytest.raises(InvalidInput, match='columns={"text": 1, "label": 2}'):
        read_dataset(turned, kind="classes")
    found = read_dataset(turned, columns={"text": 1, "label": 2})
    assert found.examples[0] == Example(("I liked it",), 1)


def test_columns_without_names_are_given_by_number(tmp_path):
    path = text(tmp_path / "sts.csv", "a dog,a cat,2.5\na dog,a hound,5\n")
    found = read_dataset(path, columns={"sentence1": 1, "sentence2": "2", "score": 3})
    assert list(found.examples) == [Example(("a dog", "a cat"), 0.5), Example(("a dog", "a hound"), 1.0)]


def test_names_that_say_nothing_are_refused_with_those_that_are_known(tmp_path):
    path = jsonl(tmp_path / "data.jsonl", [{"mine": "a", "yours": "b"}])
    with pytest.raises(InvalidInput, match=r"'mine', 'yours'. Say it, as columns={\"query\": 'mine'.*anchor, query"):
        read_dataset(path)
    assert read_dataset(path, columns={"query": "yours", "positive": "mine"}).examples[0] == Example(("b", "a"))


def test_columns_beyond_the_first_rows_are_seen(tmp_path):
    rows: list[Row] = [{"query": f"q{i}", "positive": f"p{i}"} for i in range(500)]
    path = jsonl(tmp_path / "data.jsonl", [*rows, {"positive": "p", "NEG": ["n"], "query": "q"}])
    with pytest.raises(InvalidInput, match="500 of 501 rows .* column 'neg' is missing"):
        read_dataset(path)


def test_json_may_be_one_array(tmp_path):
    path = text(tmp_path / "data.json", '[\n {"query": "a", "positive": "b"},\n 3\n]')
    with pytest.raises(InvalidInput, match="row 2: 3 is neither a mapping"):
        read_dataset(path)
    assert read_dataset(path, skip_bad=True).examples == [Example(("a", "b"))]
    assert len(read_dataset(text(tmp_path / "lines.json", '{"query": "a", "positive": "b"}\n'))) == 1


def test_lists_may_stand_in_cells_of_csv_as_json(tmp_path):
    path = text(tmp_path / "data.csv", 'query,documents,scores\na,"[""b"", ""c""]","[1, 0]"\n')
    assert read_dataset(path).examples == [Example(("a", "b", "c"), (1.0, 0.0))]
    path = text(tmp_path / "pairs.csv", "query,positive\n[1] a,[see b]\n")
    assert read_dataset(path).examples == [Example(("[1] a", "[see b]"))]


def test_parquet(tmp_path):
    arrow = pytest.importorskip("pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")
    table = arrow.table(
        {"query": ["a", "b", None], "positive": ["c", "d", "e"], "negative": [["f"], ["g", "h"], ["i"]]}
    )
    parquet.write_table(table, tmp_path / "data.parquet", row_group_size=2)
    with pytest.raises(InvalidInput, match="row 3: column 'query' is missing"):
        read_dataset(tmp_path / "data.parquet")
    found = read_dataset(tmp_path / "data.parquet", skip_bad=True)
    assert [one.texts for one in found.examples] == [("a", "c", "f"), ("b", "d", "g", "h")]
    with pytest.raises(InvalidInput, match="cannot be read as Parquet"):
        read_dataset(text(tmp_path / "no.parquet", "no"))


def test_two_columns_of_one_name_are_refused(tmp_path):
    with pytest.raises(InvalidInput, match="two columns are called 'query'"):
        read_dataset(text(tmp_path / "data.csv", "query,query,positive\na,b,c\n"))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"sentence1;sentence2;score\na;b;3\n", "parted by semicolons.*save it again"),
        ("sentence1,sentence2,score\na,b,3\n".encode("utf-16"), "not UTF-8 .*iconv -f UTF-16 -t UTF-8"),
        ("sentence1,sentence2,score\nCafé,b,3\n".encode("latin-1"), "line 2: not UTF-8 .*WINDOWS-1252"),
    ],
)
def test_what_spreadsheets_save_is_answered_by_what_to_do(tmp_path, content, message):
    (tmp_path / "a.csv").write_bytes(content)
    with pytest.raises(InvalidInput, match=message):
        read_dataset(tmp_path / "a.csv")
