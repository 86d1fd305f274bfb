"""Pairs that belong together or not: the scores of sentence-transformers and scikit-learn, equal similarities too."""

from __future__ import annotations

import numpy as np
import pytest
from tests.evaluate.given import Given, Peer

from sentvec.evaluate.pairs import LabelledPairs, best_accuracy, best_f1, evaluate_pairs
from sentvec.ops.similarity import paired


def make(kind, seed=0, count=300):
    random = np.random.default_rng(seed)
    left = random.normal(size=(count, 6))
    labels = random.integers(0, 2, count)
    right = left + random.normal(size=(count, 6)) * np.where(labels, 0.9, 1.6)[:, None]
    if kind == "dot":  # whole numbers, so that many products are equal
        left, right = left.round(), right.round()
    names = [f"left {i}" for i in range(count)], [f"right {i}" for i in range(count)]
    vectors = dict(zip((*names[0], *names[1]), np.concatenate([left, right]), strict=True))
    return LabelledPairs("set", tuple(names[0]), tuple(names[1]), labels), Given(vectors, kind)


@pytest.mark.oracle
@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("kind", ["cosine", "dot", "euclidean", "manhattan"])
def test_scores_are_those_of_sentence_transformers(kind, seed):
    from sentence_transformers.sentence_transformer.evaluation import BinaryClassificationEvaluator

    one, model = make(kind, seed)
    ours = evaluate_pairs(one, model.vectors)
    theirs = BinaryClassificationEvaluator(list(one.left), list(one.right), one.labels.tolist())(Peer(model))
    for name in ("ap", "accuracy", "f1"):
        assert ours.scores[name] == pytest.approx(theirs[f"{kind}_{name}"], abs=1e-6)
    sign = -1 if kind in ("euclidean", "manhattan") else 1  # it takes distances there, and we larger-is-nearer
    for name in ("accuracy", "f1"):
        assert ours.scores[f"{name} threshold"] == pytest.approx(sign * theirs[f"{kind}_{name}_threshold"], abs=1e-6)
    assert ours.main == "ap" and ours.sizes == {"pairs": 300, "positive": int(one.labels.sum())}


@pytest.mark.parametrize("kind", ["cosine", "dot"])
def test_thresholds_do_what_is_said_of_them_and_none_does_better(kind):
    from sklearn.metrics import accuracy_score, f1_score

    one, model = make(kind)
    scores = paired(kind, model.encode(one.left), model.encode(one.right))
    for best, metric in ((best_accuracy, accuracy_score), (best_f1, f1_score)):
        cut = best(scores, one.labels)
        assert metric(one.labels, scores >= cut.at) == pytest.approx(cut.value)
        assert all(metric(one.labels, scores >= at) <= cut.value + 1e-12 for at in np.unique(scores))


def test_equal_similarities_are_not_parted():
    scores, labels = np.array([0.9, 0.5, 0.5, 0.5], np.float32), np.array([1, 1, 0, 0])
    assert best_accuracy(scores, labels).value == 0.75  # at 0.9, not between those of 0.5
    assert best_accuracy(scores, labels).at == pytest.approx(0.7)
    assert best_f1(scores, labels).value == pytest.approx(2 / 3)


def test_taking_no_pair_may_be_best():
    scores, labels = np.array([0.9, 0.5, 0.1], np.float32), np.array([0, 0, 1])
    cut = best_accuracy(scores, labels)
    assert cut.value == pytest.approx(2 / 3) and not (scores >= cut.at).any()


def test_numbers_with_nothing_between_them_are_parted_at_the_upper():
    upper = np.float32(0.5)
    scores = np.array([upper, np.nextafter(upper, np.float32(0))], np.float32)
    cut = best_accuracy(scores, np.array([1, 0]))
    assert cut.value == 1 and (scores >= cut.at).tolist() == [True, False]


def test_draws_without_a_positive_pair_say_nothing():
    one, model = make("cosine")
    score = evaluate_pairs(one, model.vectors).sample.score
    assert np.isnan(score(np.flatnonzero(one.labels == 0)))
    assert score(np.arange(300)) == pytest.approx(evaluate_pairs(one, model.vectors).value)
