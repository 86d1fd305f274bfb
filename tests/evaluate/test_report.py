"""The same figures as a table, as Markdown and as JSON, for one model and for two side by side."""

from __future__ import annotations

import json

import pytest
from tests.evaluate.reports import report, result

from sentvec.errors import InvalidInput
from sentvec.evaluate.report import beside, columns, how, markdown, models, to_json

ITEMS = [0.0, 1.0] * 50
FIRST = report(
    result("a|b", 0.82031, ends=(0.79, 0.84), notes=("cosine similarity",)),
    result("other", 0.5, ends=(0.4, 0.6)),
    result("topics", 0.5, kind="clustering", main="v-measure", sizes={"texts": 90, "classes": 3}),
    result("wide", float("nan"), kind="classification", main="accuracy", sizes={"train": 10, "test": 100}),
)
ONE = report(result("x", 0.5, items=ITEMS), result("topics", 0.5, kind="clustering", main="v"), model="m/one")
OTHER = report(result("x", 1.0, items=[1.0] * 100), result("topics", 0.25, kind="clustering", main="v"), model="m/two")


def table(shown, *names):
    found = {column.name: column.cells for column in columns(shown)}
    return list(zip(*(found[name] for name in names or found), strict=True))


def test_a_row_for_each_set_and_for_the_mean_of_each_kind_with_several():
    assert table(FIRST) == [
        ("a|b", "sts", "spearman (all)", "82.03", "79.00 to 84.00", "500 pairs"),
        ("other", "sts", "spearman (all)", "50.00", "40.00 to 60.00", "500 pairs"),
        ("topics", "clustering", "v-measure", "50.00", "", "90 texts, 3 classes"),
        ("wide", "classification", "accuracy", "none", "", "10 train, 100 test"),
        ("mean of sts", "sts", "", "66.02", "", "2 sets"),
    ]
    assert models(FIRST) == ["a/model (float32)"]
    assert how(FIRST) == ["Intervals are 95 % percentile bootstraps of 1000 draws."]


def test_two_models_stand_beside_each_other_with_a_test():
    side = beside(ONE, OTHER)
    row, topics = table(side, "set", "first", "second", "diff.", "95 % interval", "p", "items")
    assert row[:4] == ("x", "50.00", "100.00", "-50.00") and row[5:] == ("< 0.001", "500 pairs")
    assert row[4].startswith("-6") and " to -4" in row[4]
    assert topics == ("topics", "50.00", "25.00", "25.00", "", "", "500 pairs")
    assert models(side) == ["first: m/one (float32)", "second: m/two (float32)"]
    assert "the first model less the second" in how(side)[0] and "paired permutation test" in how(side)[0]


def test_what_a_narrow_table_leaves_out():
    assert [column.name for column in columns(FIRST) if not column.needed] == ["items"]
    assert [column.name for column in columns(beside(ONE, OTHER)) if not column.needed] == ["kind", "items"]


def test_markdown_has_the_table_all_scores_and_the_notes():
    lines = markdown(FIRST).splitlines()
    assert lines[:3] == ["# Evaluation", "", "- a/model (float32)"]
    assert r"| a\|b | sts | spearman (all) | 82.03 | 79.00 to 84.00 | 500 pairs |" in lines
    assert r"| a\|b | sts | spearman (all) 0.8203 |" in lines
    assert "| wide | classification | accuracy none |" in lines
    assert r"| a\|b | sts | cosine similarity |" in lines
    both = markdown(beside(ONE, OTHER))
    assert "## All scores of m/one (float32)" in both and "## All scores of m/two (float32)" in both


def test_json_reads_back_with_null_for_what_is_no_number():
    content = json.loads(to_json(FIRST))
    (model,) = content["models"]
    assert (model["model"], model["fingerprint"], model["precision"]) == ("a/model", "f" * 64, "float32")
    assert model["texts"] == {"encoded": 7, "cached": 3} and model["means"] == {"sts": pytest.approx(0.660155)}
    assert model["settings"] == {"cutoffs": [10, 100], "aggregation": "all", "resamples": 1000}
    first, *_, last = model["results"]
    assert first == {
        "set": "a|b",
        "kind": "sts",
        "main": "spearman (all)",
        "value": 0.82031,
        "interval": {"low": 0.79, "high": 0.84, "level": 0.95},
        "scores": {"spearman (all)": 0.82031},
        "sizes": {"pairs": 500},
        "notes": ["cosine similarity"],
    }
    assert (last["value"], last["scores"], last["interval"]) == (None, {"accuracy": None}, None)
    assert "tests" not in content


def test_json_of_two_models_has_the_tests_of_what_can_be_tested():
    content = json.loads(to_json(beside(ONE, OTHER)))
    assert [model["model"] for model in content["models"]] == ["m/one", "m/two"]
    (test,) = content["tests"]
    assert (test["set"], test["difference"], test["method"]) == ("x", -0.5, "paired permutation test")
    assert test["p"] < 0.001 and test["interval"]["low"] < -0.5 < test["interval"]["high"] < 0


def test_reports_of_different_sets_are_not_put_side_by_side():
    with pytest.raises(InvalidInput, match="a/model and m/two were evaluated on different sets"):
        beside(FIRST, OTHER)


def test_without_draws_there_are_no_intervals_and_no_tests():
    bare = report(result("x", 0.5, items=ITEMS), resamples=0)
    assert how(bare) == ["No intervals were asked for."]
    with pytest.raises(InvalidInput, match="resamples is 0, and a test of two models needs draws"):
        beside(bare, bare)


def test_where_nothing_can_be_tested_no_test_is_named():
    only = report(result("topics", 0.5, kind="clustering", main="v"))
    assert how(beside(only, only)) == [
        "Differences are the first model less the second. No score is one of single items, so none is tested."
    ]
