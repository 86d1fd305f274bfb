"""What a dataset is, said before training begins."""

from __future__ import annotations

from sentvec.train.read import read_dataset
from sentvec.train.report import describe


def test_what_was_found_is_said_before_training():
    rows = [{"sentence2": "b " * 200, "sentence1": "a\nb", "score": 4, "id": 1}] * 2
    shown = describe(read_dataset(rows))
    assert "rows: 2 scored (pairs with a score)" in shown
    assert "query = sentence1, positive = sentence2, score = score" in shown
    assert "first 3, second 400 characters" in shown
    assert 'first "a b" | second "b b b' in shown and "-> 0.8" in shown
    assert "1 example repeating an earlier one" in shown
    assert "not used: id" in shown
    assert max(map(len, shown.splitlines())) < 240


def test_classes_are_shown_by_name():
    shown = describe(read_dataset([{"text": "a", "label": "good"}, {"text": "b", "label": "bad"}]))
    assert "classes: 0 = bad, 1 = good" in shown
    assert "-> 1 (good)" in shown
