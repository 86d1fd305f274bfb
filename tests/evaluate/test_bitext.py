"""Translations: the accuracy of sentence-transformers in both directions."""

from __future__ import annotations

import numpy as np
import pytest
from tests.evaluate.given import Given, Peer, near

from sentvec.evaluate.bitext import Bitext, evaluate_bitext


@pytest.mark.oracle
def test_accuracies_are_those_of_sentence_transformers():
    from sentence_transformers.sentence_transformer.evaluation import TranslationEvaluator

    random = np.random.default_rng(8)
    left = random.normal(size=(200, 8))
    names = tuple(f"one {i % 190}" for i in range(200)), tuple(f"eins {i % 195}" for i in range(200))  # some twice
    vectors = dict(zip((*names[0], *names[1]), np.concatenate([left, near(left, 0.8, random)]), strict=True))
    model = Given(vectors)
    ours = evaluate_bitext(Bitext("set", *names), model.vectors)
    theirs = TranslationEvaluator(list(names[0]), list(names[1]))(Peer(model))
    assert 0.2 < ours.value < 0.9
    assert ours.scores == {
        "accuracy (both directions)": pytest.approx(theirs["mean_accuracy"], abs=1e-6),
        "accuracy (first to second)": pytest.approx(theirs["src2trg_accuracy"], abs=1e-6),
        "accuracy (second to first)": pytest.approx(theirs["trg2src_accuracy"], abs=1e-6),
    }
    assert ours.sample.items.mean() == pytest.approx(ours.value)
    assert ours.sizes == {"pairs": 200}


def test_directions_differ():
    vectors = {"a": [1, 0], "b": [0.9, 0.4], "A": [1, 0], "B": [1, 0.1]}  # both of the left are nearest to one
    found = evaluate_bitext(Bitext("set", ("a", "b"), ("A", "B")), Given(vectors).vectors)
    assert found.scores["accuracy (first to second)"] == 1.0
    assert found.scores["accuracy (second to first)"] == 0.5
