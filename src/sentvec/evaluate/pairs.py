"""Pairs of texts with 0 or 1 in; how well one threshold on the similarity tells them apart, out."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from sentvec.errors import InvalidInput
from sentvec.evaluate.checks import check_classes, check_numbers
from sentvec.evaluate.result import Floats, Places, Result, Sample
from sentvec.evaluate.vectors import Vectors
from sentvec.extras import require
from sentvec.ops.similarity import paired


@dataclass(frozen=True)
class LabelledPairs:
    """Pairs of texts that belong together, or do not.

    Attributes:
        name: the set's name.
        left: n texts.
        right: n texts.
        labels: (n,) 1 where they belong together, else 0; both occur.
        notes: for the result.
        files: where the texts were read.
    """

    name: str
    left: tuple[str, ...]
    right: tuple[str, ...]
    labels: NDArray[np.int64]
    notes: tuple[str, ...] = ()
    files: tuple[Path, ...] = ()

    def __post_init__(self) -> None:
        """Refuse what is no set.

        Raises:
            InvalidInput: texts and labels are not as many, a label is neither 0 nor 1, or all are the same.
        """
        check_numbers(self.name, left=self.left, right=self.right)
        check_numbers(self.name, texts=self.left, labels=self.labels)
        known = set(np.unique(self.labels).tolist())
        if odd := sorted(known - {0, 1}):
            raise InvalidInput(f"the set {self.name!r} has the label {odd[0]}; accepted: 0 and 1.")
        check_classes(self.name, known, "labels")


@dataclass(frozen=True)
class Threshold:
    """A cut through scores, and how good it is."""

    at: float
    value: float


def evaluate_pairs(given: LabelledPairs, vectors: Vectors) -> Result:
    """Score average precision, and the best accuracy and F1 that a threshold reaches on these very pairs."""
    left, right = (vectors.encode(texts, files=given.files) for texts in (given.left, given.right))
    guessed = paired(vectors.similarity, left, right)
    best, f1 = best_accuracy(guessed, given.labels), best_f1(guessed, given.labels)
    precision = require("sklearn.metrics", extra="evaluate").average_precision_score

    def again(places: Places) -> float:
        labels = given.labels[places]
        return float(precision(labels, guessed[places])) if labels.any() else float("nan")

    return Result(
        name=given.name,
        kind="pairs",
        main="ap",
        scores={
            "ap": float(precision(given.labels, guessed)),
            "accuracy": best.value,
            "accuracy threshold": best.at,
            "f1": f1.value,
            "f1 threshold": f1.at,
        },
        sizes={"pairs": len(given.left), "positive": int(given.labels.sum())},
        notes=(f"{vectors.similarity} similarity; thresholds are the best on these pairs", *given.notes),
        sample=Sample(len(guessed), again),
    )


def best_accuracy(scores: NDArray[np.float32], labels: NDArray[np.int64]) -> Threshold:
    """Return the threshold, taking scores from it on as 1, under which most labels are right."""
    cuts = _Cuts(scores, labels)
    right = np.concatenate([[cuts.negatives], cuts.hits + cuts.negatives - (cuts.taken - cuts.hits)])
    place = int(np.argmax(right))
    # taking none may be best; then the threshold is just above the highest score
    at = np.nextafter(cuts.scores[0], np.inf, dtype=scores.dtype) if place == 0 else cuts.below(place - 1)
    return Threshold(float(at), float(right[place]) / len(labels))


def best_f1(scores: NDArray[np.float32], labels: NDArray[np.int64]) -> Threshold:
    """Return the threshold with the highest F1, the harmonic mean of precision and recall."""
    cuts = _Cuts(scores, labels)
    f1: Floats = 2 * cuts.hits / (cuts.taken + cuts.hits[-1])
    place = int(np.argmax(f1))
    return Threshold(float(cuts.below(place)), float(f1[place]))


class _Cuts:
    """All places where scores can be cut, from the highest: after `taken` pairs, of which `hits` belong together."""

    def __init__(self, scores: NDArray[np.float32], labels: NDArray[np.int64]) -> None:
        order = np.argsort(-scores, kind="stable")
        ranked = scores[order]
        ends = np.flatnonzero(np.append(ranked[1:] != ranked[:-1], True))  # equal scores stay together
        self.scores = ranked[ends]
        self.taken = ends + 1
        self.hits = np.cumsum(labels[order])[ends]
        self.negatives = int((labels == 0).sum())

    def below(self, place: int) -> np.float32:
        """Return the middle between a score and the next lower one, or the score itself where nothing lies between."""
        here = np.float32(self.scores[place])
        if place + 1 == len(self.scores):
            return here
        after = np.float32(self.scores[place + 1])
        middle = np.float32((here + after) / 2)
        return here if middle == after else middle
