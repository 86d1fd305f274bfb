"""Entities and answers are counted as conlleval and SQuAD's own script count them."""

from __future__ import annotations

import random

import pytest

from sentvec.train.spans import answer_scores, entities, entity_f1


@pytest.mark.parametrize(
    ("labels", "found"),
    [
        ("O O", set()),
        ("B-PER I-PER O", {("PER", 0, 1)}),
        ("B-PER B-PER", {("PER", 0, 0), ("PER", 1, 1)}),
        ("I-PER I-PER", {("PER", 0, 1)}),  # IOB1
        ("I-PER B-PER I-PER", {("PER", 0, 0), ("PER", 1, 2)}),
        ("B-PER I-LOC", {("PER", 0, 0), ("LOC", 1, 1)}),  # another kind begins
        ("O I-LOC O I-LOC", {("LOC", 1, 1), ("LOC", 3, 3)}),
        ("S-PER E-PER", {("PER", 0, 0), ("PER", 1, 1)}),  # IOBES: a single one has ended
        ("B-PER I-PER E-PER S-PER", {("PER", 0, 2), ("PER", 3, 3)}),
        ("B-PER E-PER I-PER", {("PER", 0, 1), ("PER", 2, 2)}),
        ("B-A-B I-A-B", {("A-B", 0, 1)}),
        ("NAME NAME O", {("NAME", 0, 0), ("NAME", 1, 1)}),  # no scheme: each word by itself
    ],
)
def test_entities(labels, found):
    assert entities(labels.split()) == found


def test_entities_of_iob2_are_those_of_a_naive_reading():
    draw = random.Random(0)
    for _ in range(200):
        labels, last = [], "O"
        for _ in range(12):
            kind = draw.choice(["PER", "LOC"])
            last = draw.choice(["O", f"B-{kind}"] + ([f"I-{last[2:]}"] if last != "O" else []))
            labels.append(last)
        begun = [place for place, label in enumerate(labels) if label.startswith("B-")]
        wanted = set()
        for first in begun:
            end = first
            while end + 1 < len(labels) and labels[end + 1] == f"I-{labels[first][2:]}":
                end += 1
            wanted.add((labels[first][2:], first, end))
        assert entities(labels) == wanted


def test_f1_of_entities_needs_kind_and_both_ends():
    wanted = [["B-PER", "I-PER", "O", "B-LOC"], ["O", "B-ORG"]]
    assert entity_f1(wanted, wanted) == {"f1": 1.0, "precision": 1.0, "recall": 1.0}
    found = [["B-PER", "O", "O", "B-LOC"], ["B-ORG", "B-ORG"]]  # one is too short, and one is nowhere
    scores = entity_f1(found, wanted)
    assert scores == {"f1": pytest.approx(4 / 7), "precision": 0.5, "recall": pytest.approx(2 / 3)}
    nothing = [["O"] * 4, ["O", "O"]]
    assert entity_f1(nothing, wanted) == {"f1": 0.0, "precision": 0.0, "recall": 0.0}
    assert entity_f1([["O"]], [["O"]])["f1"] == 0.0
    with pytest.raises(ValueError, match="zip"):
        entity_f1(wanted[:1], wanted)


@pytest.mark.parametrize(
    ("found", "rights", "f1", "exact"),
    [
        ("Paris", ["Paris"], 1, 1),
        ("the  Paris!", ["paris"], 1, 1),  # articles, blanks, punctuation and case do not count
        ("in Paris", ["Paris"], 2 / 3, 0),
        ("Paris", ["Lyon", "Paris"], 1, 1),  # the nearest counts
        ("a b b", ["b b c"], 0.8, 0),  # "a" is an article; words count as often as they occur
        ("", [], 1, 1),
        ("Paris", [], 0, 0),
        ("", ["Paris"], 0, 0),
        ("the", ["the"], 1, 1),  # nothing is left of either
        ("北京市", ["北京"], 0.8, 0),  # letters of Chinese are words
    ],
)
def test_answers(found, rights, f1, exact):
    assert answer_scores([found], [rights]) == {"f1": pytest.approx(f1), "exact": exact}


def test_answers_are_averaged():
    assert answer_scores(["a b", "c"], [["b"], ["d"]]) == {"f1": 0.5, "exact": 0.5}
    assert answer_scores([], []) == {"f1": 0.0, "exact": 0.0}
