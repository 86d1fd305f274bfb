"""Classes: the scores are scikit-learn's on the same vectors, and clusters are compared as it compares them."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
from tests.evaluate.given import Given

from sentvec.evaluate import classify
from sentvec.evaluate.classify import (
    Classification,
    Clustering,
    Labelled,
    evaluate_classification,
    evaluate_clustering,
    v_measure,
)


def make(count, classes=4, spread=1.2, seed=0):
    random = np.random.default_rng(seed)
    centres = np.random.default_rng(99).normal(size=(classes, 10))
    labels = random.integers(0, classes, count)
    rows = (centres[labels] + spread * random.normal(size=(count, 10))).astype(np.float32)
    texts = tuple(f"text {seed} {i}" for i in range(count))
    return Labelled(texts, tuple(f"class {label}" for label in labels)), dict(zip(texts, rows, strict=True))


def test_accuracies_and_f1_are_those_of_scikit_learn():
    from sklearn.linear_model import LogisticRegression
    from sklearn.metrics import accuracy_score, f1_score
    from sklearn.neighbors import KNeighborsClassifier

    (train, one), (test, other) = make(300), make(200, seed=1)
    found = evaluate_classification(Classification("set", train, test), Given(one | other).vectors)
    learned, asked = np.stack(list(one.values())), np.stack(list(other.values()))
    guessed = LogisticRegression(max_iter=1000).fit(learned, train.labels).predict(asked)
    near = KNeighborsClassifier(5, metric="cosine").fit(learned, train.labels).predict(asked)
    assert found.scores == {
        "accuracy (logistic regression)": pytest.approx(accuracy_score(test.labels, guessed), abs=1e-6),
        "f1 macro (logistic regression)": pytest.approx(f1_score(test.labels, guessed, average="macro"), abs=1e-6),
        "accuracy (kNN, k=5)": pytest.approx(accuracy_score(test.labels, near), abs=1e-6),
    }
    assert 0.4 < found.value < 1 and found.scores["accuracy (kNN, k=5)"] != found.value
    assert found.sample.items.mean() == found.value
    assert found.sizes == {"train": 300, "test": 200, "classes": 4}
    assert not found.notes


def test_that_the_regression_did_not_settle_is_said(monkeypatch):
    monkeypatch.setattr(classify, "STEPS", 2)
    train, one = make(100)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = evaluate_classification(Classification("set", train, train), Given(one).vectors)
    assert found.notes == ("logistic regression had not settled after 2 steps",)


def test_fewer_texts_than_neighbours_and_a_class_that_was_never_seen():
    train = Labelled(("a", "b"), ("x", "y"))
    test = Labelled(("c", "d"), ("x", "z"))
    vectors = {"a": [1, 0], "b": [0, 1], "c": [1, 0.1], "d": [0.1, 1]}
    found = evaluate_classification(Classification("set", train, test), Given(vectors).vectors)
    assert found.value == 0.5


def test_v_measure_is_that_of_scikit_learn_on_the_clusters_of_scikit_learn():
    from sklearn.cluster import MiniBatchKMeans
    from sklearn.metrics import v_measure_score

    parts = [make(150, seed=1), make(90, classes=3, seed=2)]
    found = evaluate_clustering(
        Clustering("set", tuple(part for part, _ in parts)), Given(parts[0][1] | parts[1][1]).vectors
    )
    each = []
    for part, vectors in parts:
        for seed in range(5):
            means = MiniBatchKMeans(len(set(part.labels)), batch_size=512, n_init="auto", random_state=seed)
            each.append(v_measure_score(part.labels, means.fit_predict(np.stack(list(vectors.values())))))
    assert found.value == pytest.approx(np.mean(each), abs=1e-6)
    assert found.scores["deviation over seeds"] == pytest.approx(
        np.reshape(each, (2, 5)).mean(axis=0).std(ddof=1), abs=1e-6
    )
    assert found.sample is None  # clusters are not scores of single texts
    assert found.sizes == {"texts": 240, "classes": 4}


def test_classes_that_lie_apart_are_found_and_those_that_do_not_are_not():
    for spread, low, high in ((0.01, 0.99, 1), (50, 0, 0.1)):
        part, vectors = make(200, spread=spread)
        assert low <= v_measure(np.stack(list(vectors.values())), part.labels, 0) <= high


def test_texts_are_encoded_once_for_all_seeds():
    part, vectors = make(60)
    model = Given(vectors)
    evaluate_clustering(Clustering("set", (part,)), model.vectors)
    assert model.encoded == 60
