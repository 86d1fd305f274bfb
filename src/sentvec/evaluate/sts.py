"""Pairs of texts with people's scores in; how well similarities agree with them, under each aggregation, out."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from sentvec.errors import InvalidInput
from sentvec.evaluate.checks import check_numbers, check_scores
from sentvec.evaluate.geometry import alignment, geometry
from sentvec.evaluate.result import Floats, Places, Result, Sample
from sentvec.evaluate.vectors import Vectors
from sentvec.ops.rank import spearman
from sentvec.ops.similarity import paired

AGGREGATIONS = ("all", "mean", "wmean")
ALIKE = 0.8
"""Pairs count as alike from this share of the highest score on: 4 of 5, as Gao, Yao and Chen 2021 have it."""


@dataclass(frozen=True)
class Sts:
    """Pairs of texts that people scored.

    Attributes:
        name: the set's name.
        left: n texts.
        right: n texts.
        scores: (n,) what people said; larger is more alike.
        subsets: (n,) number of the subset of each pair.
        highest: the highest score that could be given.
        notes: for the result.
        files: where the texts were read.
    """

    name: str
    left: tuple[str, ...]
    right: tuple[str, ...]
    scores: Floats
    subsets: NDArray[np.int64]
    highest: float = 5.0
    notes: tuple[str, ...] = ()
    files: tuple[Path, ...] = ()

    def __post_init__(self) -> None:
        """Refuse what is no set.

        Raises:
            InvalidInput: there are no pairs, texts and scores are not as many, or a score is no number.
        """
        check_numbers(self.name, left=self.left, right=self.right)
        check_numbers(self.name, texts=self.left, scores=self.scores, subsets=self.subsets)
        check_scores(self.name, self.scores)


def evaluate_sts(given: Sts, vectors: Vectors, aggregation: str = "all") -> Result:
    """Correlate the model's similarity with people's scores.

    "all" takes all pairs of the set at once, "mean" is the mean over its subsets, and "wmean" the mean weighted by
    their numbers of pairs. Papers report all three without saying so (Gao, Yao and Chen 2021, arXiv 2104.08821,
    appendix B), so the name of every score says which it is; of a set without subsets only "all" is given.

    Raises:
        InvalidInput: the aggregation is not known.
    """
    if aggregation not in AGGREGATIONS:
        raise InvalidInput(f"aggregation {aggregation!r} is not known. Known: {', '.join(AGGREGATIONS)}.")
    left, right = (vectors.encode(texts, files=given.files) for texts in (given.left, given.right))
    guessed = paired(vectors.similarity, left, right).astype(np.float64)
    groups = int(given.subsets.max()) + 1
    ways = AGGREGATIONS if groups > 1 else ("all",)
    scores = {
        f"{name} ({way})": _aggregated(correlation, guessed, given.scores, given.subsets, way)
        for name, correlation in (("spearman", _spearman), ("pearson", _pearson))
        for way in ways
    }
    way = aggregation if groups > 1 else "all"
    alike = given.scores >= ALIKE * given.highest
    if alike.any():
        scores["alignment"] = alignment(left[alike], right[alike])
    once = {text: place for place, text in enumerate((*given.left, *given.right))}
    if len(once) > 1:
        shape = geometry(np.concatenate([left, right])[sorted(once.values())])
        scores |= {"uniformity": shape.uniformity, "anisotropy": shape.anisotropy}

    def again(places: Places) -> float:
        return _aggregated(_spearman, guessed[places], given.scores[places], given.subsets[places], way)

    sizes = {"pairs": len(given.left)} | ({"subsets": groups} if groups > 1 else {})
    return Result(
        name=given.name,
        kind="sts",
        main=f"spearman ({way})",
        scores=scores,
        sizes=sizes,
        notes=(f"{vectors.similarity} similarity", *given.notes),
        sample=Sample(len(guessed), again),
    )


def _aggregated(
    correlation: Callable[[Floats, Floats], float],
    guessed: Floats,
    wanted: Floats,
    subsets: NDArray[np.int64],
    way: str,
) -> float:
    if way == "all":
        return correlation(guessed, wanted)
    names, counts = np.unique(subsets, return_counts=True)
    each = [correlation(guessed[subsets == name], wanted[subsets == name]) for name in names]
    return float(np.average(each, weights=counts if way == "wmean" else None))


def _spearman(guessed: Floats, wanted: Floats) -> float:
    return float(spearman(torch.from_numpy(guessed), torch.from_numpy(wanted)))  # NaN where there is no order


def _pearson(guessed: Floats, wanted: Floats) -> float:
    if np.ptp(guessed) == 0 or np.ptp(wanted) == 0:
        return float("nan")  # no order, so nothing to agree with
    return float(np.corrcoef(guessed, wanted)[0, 1])
