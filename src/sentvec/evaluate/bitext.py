"""Sentences and their translations in; how often the nearest sentence of the other language is the right one, out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from sentvec.evaluate.checks import check_numbers
from sentvec.evaluate.result import Floats, Result, mean_of
from sentvec.evaluate.topk import TopK
from sentvec.evaluate.vectors import Array, Vectors


@dataclass(frozen=True)
class Bitext:
    """Sentences and their translations.

    Attributes:
        name: the set's name.
        left: n sentences.
        right: the n translations, in the same order.
        notes: for the result.
        files: where the texts were read.
    """

    name: str
    left: tuple[str, ...]
    right: tuple[str, ...]
    notes: tuple[str, ...] = ()
    files: tuple[Path, ...] = ()

    def __post_init__(self) -> None:
        """Refuse what is no set.

        Raises:
            InvalidInput: there are fewer than two pairs, of which one would be found without looking, or the sides
                are not as many.
        """
        check_numbers(self.name, 2, sentences=self.left, translations=self.right)


def evaluate_bitext(given: Bitext, vectors: Vectors) -> Result:
    """Look for each sentence's translation among all, in both directions; the main score is the mean accuracy.

    A sentence that is there more than once counts as found wherever it is found.
    """
    left, right = (vectors.encode(texts, files=given.files) for texts in (given.left, given.right))
    there = _found(left, right, given.right, vectors.similarity)
    back = _found(right, left, given.left, vectors.similarity)
    main = "accuracy (both directions)"
    return Result(
        name=given.name,
        kind="bitext",
        main=main,
        scores={
            main: float((there.mean() + back.mean()) / 2),
            "accuracy (first to second)": float(there.mean()),
            "accuracy (second to first)": float(back.mean()),
        },
        sizes={"pairs": len(given.left)},
        notes=(f"{vectors.similarity} similarity", *given.notes),
        sample=mean_of((there + back) / 2),
    )


def _found(asked: Array, among: Array, texts: Sequence[str], kind: str) -> Floats:
    top = TopK(asked, 1, kind)
    top.add(among, np.arange(len(among)))
    _, names = top.best()
    return np.array([texts[name] == texts[place] for place, name in enumerate(names[:, 0].tolist())], dtype=np.float64)
