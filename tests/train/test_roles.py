"""Columns are known by what they are called, never by where they stand."""

from __future__ import annotations

import itertools

import pytest

from sentvec.errors import InvalidInput
from sentvec.train.roles import NAMES, find_roles, given_roles, is_known


@pytest.mark.parametrize(
    ("names", "columns"),
    [
        (("anchor", "positive"), {"query": ("anchor",), "positive": ("positive",)}),
        (("query", "document", "score"), {"query": ("query",), "positive": ("document",), "score": ("score",)}),
        (("sentence1", "sentence2", "similarity"),
         {"query": ("sentence1",), "positive": ("sentence2",), "score": ("similarity",)}),
        (("premise", "hypothesis", "gold_label"),
         {"query": ("premise",), "positive": ("hypothesis",), "label": ("gold_label",)}),
        (("text", "text_pos", "text_neg"), {"text": ("text",), "positive": ("text_pos",), "negative": ("text_neg",)}),
        (("query", "pos", "neg"), {"query": ("query",), "positive": ("pos",), "negative": ("neg",)}),
        (("text", "category"), {"text": ("text",), "label": ("category",)}),
        (("query", "positive", "negative_10", "negative_2", "negative1"),
         {"query": ("query",), "positive": ("positive",), "negative": ("negative1", "negative_2", "negative_10")}),
    ],
)  # fmt: skip
def test_columns_are_known_in_any_order(names, columns):
    for turn in itertools.permutations(names):
        assert dict(find_roles(turn).columns) == columns


def test_of_two_columns_for_one_role_the_usual_one_is_taken_and_the_other_told():
    found = find_roles(["answer", "question", "positive"])
    assert found.columns["positive"] == ("positive",)
    assert found.rivals == (("positive", "positive", "answer"),)


def test_the_users_word_goes_before_names():
    given = given_roles({"query": "Answer", "document": 1}, ["question", "answer"])
    assert given == {"query": ("answer",), "positive": ("question",)}
    assert find_roles(["question", "answer"], given).columns == given


def test_several_negatives_may_be_given():
    assert given_roles({"negative": ["n", 1]}, ["m", "n"]) == {"negative": ("n", "m")}
    assert given_roles({"negative1": "n", "negative2": "m"}, ["m", "n"]) == {"negative": ("n", "m")}


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"colour": "a"}, "columns has 'colour', which is not known. Known: query, positive"),
        ({"query": "c"}, r"columns\['query'\] is 'c'; there are 'a', 'b'"),
        ({"query": 0}, r"columns\['query'\] is 0; .* counted from 1"),
        ({"query": 3}, r"columns\['query'\] is 3"),
        ({"query": ["a", "b"]}, "names 2 columns; accepted: one"),
    ],
)
def test_what_is_not_there_is_refused(columns, message):
    with pytest.raises(InvalidInput, match=message):
        given_roles(columns, ["a", "b"])


def test_every_name_is_known_and_others_are_not():
    assert all(is_known(name) for names in NAMES.values() for name in names)
    assert not any(map(is_known, ("id", "pair_id", "my_col", "")))
