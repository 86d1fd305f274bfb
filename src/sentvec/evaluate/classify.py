"""Texts with classes in; how well a plain classifier on the vectors tells the classes out, and how well clusters do."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from sentvec.evaluate.checks import check_classes, check_numbers
from sentvec.evaluate.result import Result, mean_of
from sentvec.evaluate.vectors import Array, Vectors
from sentvec.extras import require

NEIGHBOURS = 5
STEPS = 1000
SEEDS = 5


@dataclass(frozen=True)
class Labelled:
    """Texts with their classes.

    Attributes:
        texts: n texts.
        labels: n names of classes.
        files: where they were read.
    """

    texts: tuple[str, ...]
    labels: tuple[str, ...]
    files: tuple[Path, ...] = ()


@dataclass(frozen=True)
class Classification:
    """Texts to learn from, and texts to be judged by.

    Attributes:
        name: the set's name.
        train: texts to learn from, of two classes or more.
        test: texts to be judged by.
        notes: for the result.
    """

    name: str
    train: Labelled
    test: Labelled
    notes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        """Refuse what is no set.

        Raises:
            InvalidInput: there are no texts, texts and labels are not as many, or there is one class to learn.
        """
        for part in (self.train, self.test):
            check_numbers(self.name, texts=part.texts, labels=part.labels)
        check_classes(self.name, set(self.train.labels), "labels to learn from")


@dataclass(frozen=True)
class Clustering:
    """Texts whose classes should come out as clusters.

    Attributes:
        name: the set's name.
        parts: sets of texts, each of which is clustered by itself.
        notes: for the result.
    """

    name: str
    parts: tuple[Labelled, ...]
    notes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        """Refuse what is no set.

        Raises:
            InvalidInput: there are no parts, texts and labels are not as many, or all texts of a part are of one class.
        """
        check_numbers(self.name, parts=self.parts)
        for part in self.parts:
            check_numbers(self.name, texts=part.texts, labels=part.labels)
            check_classes(self.name, set(part.labels), "labels in a part")


def evaluate_classification(given: Classification, vectors: Vectors) -> Result:
    """Train logistic regression (scikit-learn's defaults) on the vectors, and ask the five nearest by cosine.

    The main score is the accuracy of logistic regression.
    """
    linear = require("sklearn.linear_model", extra="evaluate")
    near = require("sklearn.neighbors", extra="evaluate")
    metrics = require("sklearn.metrics", extra="evaluate")
    learned, asked = (vectors.encode(part.texts, files=part.files) for part in (given.train, given.test))
    truth = np.array(given.test.labels)
    model = linear.LogisticRegression(max_iter=STEPS)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that it did not settle is said below, with the result
        model.fit(learned, given.train.labels)
    unsettled = int(np.max(model.n_iter_)) >= STEPS
    notes = (f"logistic regression had not settled after {STEPS} steps",) if unsettled else ()
    guessed = model.predict(asked)
    asked_of = min(NEIGHBOURS, len(learned))
    neighbours = near.KNeighborsClassifier(asked_of, metric="cosine").fit(learned, given.train.labels)
    right = (guessed == truth).astype(np.float64)
    return Result(
        name=given.name,
        kind="classification",
        main="accuracy (logistic regression)",
        scores={
            "accuracy (logistic regression)": float(right.mean()),
            "f1 macro (logistic regression)": float(metrics.f1_score(truth, guessed, average="macro")),
            f"accuracy (kNN, k={asked_of})": float((neighbours.predict(asked) == truth).mean()),
        },
        sizes={"train": len(learned), "test": len(asked), "classes": len(set(given.train.labels))},
        notes=(*given.notes, *notes),
        sample=mean_of(right),
    )


def evaluate_clustering(given: Clustering, vectors: Vectors) -> Result:
    """Cluster each part by k-means into as many clusters as classes; the mean v-measure over parts and seeds.

    The v-measure (Rosenberg and Hirschberg 2007) is the harmonic mean of homogeneity and completeness.
    """
    rows = [vectors.encode(part.texts, files=part.files) for part in given.parts]
    scores = [
        v_measure(of, part.labels, seed) for of, part in zip(rows, given.parts, strict=True) for seed in range(SEEDS)
    ]
    by_seed = np.array(scores).reshape(len(given.parts), SEEDS).mean(axis=0)
    return Result(
        name=given.name,
        kind="clustering",
        main="v-measure",
        scores={"v-measure": float(np.mean(scores)), "deviation over seeds": float(by_seed.std(ddof=1))},
        sizes={
            "texts": sum(len(part.texts) for part in given.parts),
            "classes": len({label for part in given.parts for label in part.labels}),
        },
        notes=(f"mini-batch k-means, mean of {SEEDS} seeds", *given.notes),
    )


def v_measure(vectors: Array, labels: Sequence[str], seed: int) -> float:
    """Cluster vectors by mini-batch k-means into as many clusters as labels, and compare.

    Args:
        vectors: (n, dim)
        labels: n of them.
        seed: where k-means begins.
    """
    cluster = require("sklearn.cluster", extra="evaluate")
    metrics = require("sklearn.metrics", extra="evaluate")
    model = cluster.MiniBatchKMeans(len(set(labels)), batch_size=512, n_init="auto", random_state=seed)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # fewer different vectors than labels: the score says so
        found = model.fit_predict(vectors)
    return float(metrics.v_measure_score(labels, found))
