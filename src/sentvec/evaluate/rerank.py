"""Queries with documents that answer them and documents that do not, in; how far up the answers come out."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate, pairwise
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sentvec.errors import InvalidInput
from sentvec.evaluate.checks import check_numbers
from sentvec.evaluate.ranking import rank_scores
from sentvec.evaluate.result import Result, mean_of
from sentvec.evaluate.tables import objects_of, shortly
from sentvec.evaluate.vectors import Vectors
from sentvec.ops.similarity import paired
from sentvec.progress import counted

CUTOFF = 10


@dataclass(frozen=True)
class Candidates:
    """One query with the documents to order."""

    query: str
    positive: tuple[str, ...]
    negative: tuple[str, ...]


@dataclass(frozen=True)
class Rerank:
    """Queries with documents to order.

    Attributes:
        name: the set's name.
        samples: the queries; each has documents of both kinds.
        notes: for the result.
        files: where the texts were read.
    """

    name: str
    samples: tuple[Candidates, ...]
    notes: tuple[str, ...] = ()
    files: tuple[Path, ...] = ()

    def __post_init__(self) -> None:
        """Refuse what is no set.

        Raises:
            InvalidInput: there are no queries, or one has not documents of both kinds.
        """
        check_numbers(self.name, queries=self.samples)
        for sample in self.samples:
            check_numbers(f"{self.name}: {shortly(sample.query)}", positives=sample.positive)
            check_numbers(f"{self.name}: {shortly(sample.query)}", negatives=sample.negative)


def evaluate_rerank(given: Rerank, vectors: Vectors) -> Result:
    """Order each query's documents by similarity; the main score is MAP over all of them.

    Of equal scores, those that do not answer come first, so that a model that cannot tell gains nothing.
    """
    asked = vectors.encode([sample.query for sample in given.samples], "query", given.files)
    found = vectors.encode([text for _, text in _pairs(given)], "document", given.files)
    scores = np.empty(len(found), np.float32)
    for query, (start, end) in zip(asked, _places(given), strict=True):
        # pair by pair: a matrix product may give equal vectors similarities that differ in their last bit
        scores[start:end] = paired(vectors.similarity, query[None].repeat(end - start, axis=0), found[start:end])
    return _result(given, scores, f"{vectors.similarity} similarity")


def evaluate_reranker(given: Rerank, score: Callable[[Sequence[tuple[str, str]]], NDArray[np.float32]]) -> Result:
    """Order each query's documents by what a cross-encoder says, and score as `evaluate_rerank` does.

    Args:
        given: the set.
        score: (query, document) pairs -> (n,), larger is better: `Reranker.score`.
    """
    return _result(given, score(_pairs(given)), "scores of pairs")


def _pairs(given: Rerank) -> list[tuple[str, str]]:
    return [(one.query, text) for one in given.samples for text in (*one.negative, *one.positive)]


def _places(given: Rerank) -> Iterator[tuple[int, int]]:
    """Yield where each query's documents begin and end."""
    ends = accumulate((len(one.negative) + len(one.positive) for one in given.samples), initial=0)
    return pairwise(ends)


def _result(given: Rerank, scores: NDArray[np.float32], note: str) -> Result:
    """Score the order of documents, of each query those that do not answer first."""
    ranked, judged = {}, {}
    for place, (sample, (start, end)) in enumerate(zip(given.samples, _places(given), strict=True)):
        order = np.argsort(-scores[start:end], kind="stable")  # the negative ones stand first
        ranked[str(place)] = [str(i) for i in order]
        judged[str(place)] = {str(i): 1 for i in range(len(sample.negative), end - start)}
    longest = max(map(len, ranked.values()))
    scores_of = rank_scores(judged, ranked, (CUTOFF, longest))
    main = scores_of[f"MAP@{longest}"]
    return Result(
        name=given.name,
        kind="rerank",
        main="MAP",
        scores={"MAP": float(main.mean())}
        | {name: float(scores_of[name].mean()) for name in (f"MRR@{CUTOFF}", f"nDCG@{CUTOFF}")},
        sizes={"queries": len(given.samples), "documents": len(scores)},
        notes=(note, *given.notes),
        sample=mean_of(main),
    )


def read_rerank(path: Path, name: str) -> Rerank:
    """Read JSON lines with "query", "positive" (or "pos") and "negative" (or "neg"); those are texts or lists of texts.

    Queries that lack one of the two kinds are left out, as every order of theirs is the same; a note says how many.

    Raises:
        InvalidInput: something is not a text, or no query is left; the message names the line.
    """
    samples, left_out = [], 0
    for line, row in objects_of(path):
        query = row.get("query")
        if not isinstance(query, str):
            raise InvalidInput(f"{path}, line {line}: 'query' is {shortly(query)}, which is not a text.")
        positive, negative = (_texts(row, names, path, line) for names in (("positive", "pos"), ("negative", "neg")))
        if positive and negative:
            samples.append(Candidates(query, positive, negative))
        else:
            left_out += 1
    if not samples:
        raise InvalidInput(f"{path} has no query with documents that answer it and documents that do not.")
    notes = (f"{counted(left_out, 'query')} without both kinds left out",) if left_out else ()
    return Rerank(name, tuple(samples), notes, (path,))


def _texts(row: dict[str, Any], names: tuple[str, ...], path: Path, line: int) -> tuple[str, ...]:
    name = next((name for name in names if name in row), names[0])
    value = row.get(name)
    texts = [value] if isinstance(value, str) else value
    if not isinstance(texts, list) or not all(isinstance(text, str) for text in texts):
        raise InvalidInput(f"{path}, line {line}: {name!r} is {shortly(value)}; accepted: a list of texts.")
    return tuple(texts)
