"""A model and the sets of a folder in; a report of all scores out."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from sentvec.errors import InvalidInput
from sentvec.evaluate.beir import Retrieval
from sentvec.evaluate.bitext import Bitext, evaluate_bitext
from sentvec.evaluate.classify import Classification, Clustering, evaluate_classification, evaluate_clustering
from sentvec.evaluate.find import KINDS, Set
from sentvec.evaluate.pairs import LabelledPairs, evaluate_pairs
from sentvec.evaluate.ranking import CUTOFFS, check_cutoffs
from sentvec.evaluate.rerank import Rerank, evaluate_rerank
from sentvec.evaluate.result import Result
from sentvec.evaluate.retrieval import evaluate_retrieval
from sentvec.evaluate.significance import RESAMPLES, Comparison, compare, with_interval
from sentvec.evaluate.sts import AGGREGATIONS, Sts, evaluate_sts
from sentvec.evaluate.vectors import Counts, Model, Vectors
from sentvec.extras import require
from sentvec.progress import track
from sentvec.runtime.workers import Spread


@dataclass(frozen=True, kw_only=True)
class Settings:
    """What can be chosen.

    Attributes:
        cutoffs: values of k for retrieval; the main score is nDCG at the first.
        aggregation: of STS sets with subsets: all, mean or wmean.
        resamples: draws for an interval; 0 for none.
    """

    cutoffs: tuple[int, ...] = CUTOFFS
    aggregation: str = "all"
    resamples: int = RESAMPLES

    def __post_init__(self) -> None:
        """Refuse what is not possible, before hours of work.

        Raises:
            InvalidInput: a value is not possible.
        """
        if self.aggregation not in AGGREGATIONS:
            raise InvalidInput(f"aggregation {self.aggregation!r} is not known. Known: {', '.join(AGGREGATIONS)}.")
        check_cutoffs(self.cutoffs)
        if self.resamples < 0:
            raise InvalidInput(f"resamples is {self.resamples}; accepted: 0 (no intervals) or more.")


@dataclass(frozen=True, kw_only=True)
class Report:
    """One model on all sets.

    Attributes:
        model: the model's name.
        fingerprint: what decides its vectors.
        precision: the encoder's number format.
        results: one for each set.
        counts: how many texts were encoded, and how many vectors were there already.
        seconds: how long it took.
        settings: what was chosen.
    """

    model: str
    fingerprint: str
    precision: str
    results: tuple[Result, ...]
    counts: Counts
    seconds: float
    settings: Settings = field(default_factory=Settings)

    def means(self) -> dict[str, float]:
        """Return the mean of the main scores by kind, of kinds with two sets or more."""
        by_kind: dict[str, list[float]] = defaultdict(list)
        for result in self.results:
            by_kind[result.kind].append(result.value)
        return {kind: float(np.mean(values)) for kind, values in by_kind.items() if len(values) > 1}


def evaluate(
    model: Model,
    sets: Sequence[Set],
    *,
    settings: Settings | None = None,
    cache: Path | None = None,
    workers: Spread = None,
    progress: bool | None = None,
) -> Report:
    """Evaluate a model.

    Args:
        model: an `Embedder`, or what behaves as one.
        sets: from `find_sets`, or made in code.
        settings: what can be chosen.
        cache: a folder in which vectors are kept, so that a second run need not encode; None keeps none.
        workers: as for `Embedder.encode`.
        progress: as for `Embedder.encode`.

    Raises:
        MissingExtra: the packages that compute the scores are not installed.
        InvalidInput, NonFiniteOutput, OutputError: a set, a vector or the cache cannot be used.
    """
    for package in ("pytrec_eval", "scipy", "sklearn"):
        require(package, extra="evaluate")  # what is missing is said before hours of encoding, not after them
    chosen = settings or Settings()
    if odd := next((one for one in sets if type(one) not in _EVALUATORS), None):
        known = ", ".join(kind.__name__ for kind in _EVALUATORS)
        raise InvalidInput(f"a {type(odd).__name__} is no set. Accepted: {known}; find_sets(folder).sets gives those.")
    begun = time.perf_counter()
    vectors = Vectors(model, cache=cache, workers=workers, progress=progress)
    results = []
    with track("Evaluating sets", len(sets), progress) as advance:
        for one in sets:
            advance(0, label=one.name)
            result = _EVALUATORS[type(one)](one, vectors, chosen, progress)
            results.append(with_interval(result, chosen.resamples))
            advance(1)
    return Report(
        model=model.name,
        fingerprint=model.fingerprint,
        precision=model.precision,
        results=tuple(results),
        counts=vectors.counts,
        seconds=time.perf_counter() - begun,
        settings=chosen,
    )


_EVALUATORS: dict[type, Callable[[Any, Vectors, Settings, bool | None], Result]] = {
    Sts: lambda one, vectors, chosen, _: evaluate_sts(one, vectors, chosen.aggregation),
    Retrieval: lambda one, vectors, chosen, progress: evaluate_retrieval(one, vectors, chosen.cutoffs, progress),
    Rerank: lambda one, vectors, *_: evaluate_rerank(one, vectors),
    LabelledPairs: lambda one, vectors, *_: evaluate_pairs(one, vectors),
    Classification: lambda one, vectors, *_: evaluate_classification(one, vectors),
    Clustering: lambda one, vectors, *_: evaluate_clustering(one, vectors),
    Bitext: lambda one, vectors, *_: evaluate_bitext(one, vectors),
}


def check_kinds(kinds: Sequence[str]) -> None:
    """Refuse kinds that are not known, before anything is read.

    Raises:
        InvalidInput: one is not known.
    """
    for kind in kinds:
        if kind not in KINDS:
            raise InvalidInput(f"kind {kind!r} is not known. Known: {', '.join(KINDS)}.")


def of_kinds(sets: Sequence[Set], kinds: Sequence[str]) -> tuple[Set, ...]:
    """Return the sets of these kinds; all of them where none is named.

    Raises:
        InvalidInput: a kind is not known, or none of the sets is of these kinds.
    """
    check_kinds(kinds)
    found = tuple(one for one in sets if not kinds or any(isinstance(one, KINDS[kind]) for kind in kinds))
    if not found:
        raise InvalidInput(f"there are {len(sets)} sets, but none of the kind {' or '.join(kinds)}.")
    return found


def compare_reports(first: Report, second: Report, progress: bool | None = None) -> tuple[Comparison | None, ...]:
    """Test each set's results of two models against each other; None where a score is not of single items.

    Raises:
        InvalidInput: the reports are not of the same sets, or without draws.
    """
    if first.settings.resamples == 0:
        raise InvalidInput("resamples is 0, and a test of two models needs draws; give 1000, say.")
    if [one.name for one in first.results] != [one.name for one in second.results]:
        raise InvalidInput(f"{first.model} and {second.model} were evaluated on different sets; give both the same.")
    tests: list[Comparison | None] = []
    with track("Comparing", len(first.results), progress) as advance:
        for one, other in zip(first.results, second.results, strict=True):
            advance(0, label=f"Comparing {one.name}")
            tests.append(compare(one, other, first.settings.resamples) if one.sample is not None else None)
            advance(1)
    return tuple(tests)
