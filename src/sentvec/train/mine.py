"""Pairs of queries and positives in; the same with hard negatives, found by a model among documents, out.

Hard negatives are documents that a model ranks high for a query and that do not answer it (Xiong et al. 2021, ANCE,
arXiv 2007.00808). Many that rank high do answer it, and nobody said so: those must be left out, or they teach the model
to be wrong (Moreira et al. 2024, NV-Retriever, arXiv 2407.15831, for the margins).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from sentvec.errors import InvalidInput
from sentvec.evaluate.topk import TopK
from sentvec.ops.similarity import paired
from sentvec.train.batches import Dataset, Example, Examples

Floats = NDArray[np.float32]
Score = Callable[[Sequence[tuple[str, str]]], Floats]
"""Pairs of query and document -> how well each document answers, (pairs,): a `Reranker.score`, for example."""

SHOWN = 10
_BLOCK = 16_384


class Model(Protocol):
    """What mining asks of a model; `Embedder` is one."""

    @property
    def similarity_name(self) -> str:
        """The similarity that it was trained for."""

    def encode_query(self, texts: Sequence[str], *, progress: bool | None = None) -> Floats:
        """Encode queries, (n, dim)."""

    def encode_document(self, texts: Sequence[str], *, progress: bool | None = None) -> Floats:
        """Encode documents, (n, dim)."""


@dataclass(frozen=True, kw_only=True)
class MineConfig:
    """What a hard negative is.

    Attributes:
        negatives: how many to find for each pair; a pair with fewer keeps what there is.
        first, last: ranks among which they are looked for, from 1; the first ranks are likely to be right.
        margin: they must score so much less than the positive; None asks for nothing.
        relative_margin: they must score less than the positive's score times one minus this; None asks for nothing.
        highest: they must not score more; None asks for nothing.
        draw: "top" takes those that rank highest, "random" any of them.
        seed: of the random ones.
        check_margin: for a cross-encoder: they must score so much less by it than the positive does.
    """

    negatives: int = 5
    first: int = 1
    last: int = 100
    margin: float | None = None
    relative_margin: float | None = 0.05
    highest: float | None = None
    draw: str = "top"
    seed: int = 0
    check_margin: float = 0.0

    def __post_init__(self) -> None:
        """Refuse what is not possible.

        Raises:
            InvalidInput: a value is not possible.
        """
        if not 1 <= self.first <= self.last:
            raise InvalidInput(f"ranks are {self.first} to {self.last}; accepted: 1 or more, in rising order.")
        if not 1 <= self.negatives <= self.last - self.first + 1:
            raise InvalidInput(
                f"negatives is {self.negatives}; accepted: 1 to the number of ranks, {self.last - self.first + 1}."
            )
        if self.draw not in ("top", "random"):
            raise InvalidInput(f"draw is {self.draw!r}. Known: top, random.")
        if self.relative_margin is not None and not 0 <= self.relative_margin < 1:
            raise InvalidInput(f"relative_margin is {self.relative_margin}; accepted: 0 to below 1.")


@dataclass(frozen=True)
class Doubt:
    """A document that ranks above a query's positive, and may be right itself.

    Attributes:
        query, positive, document: the texts.
        positive_score, score: similarities to the query.
    """

    query: str
    positive: str
    document: str
    positive_score: float
    score: float


@dataclass(frozen=True)
class Mined:
    """What was found.

    Attributes:
        dataset: (query, positive, negative …) of the kind "tuples".
        found: negatives of all pairs together.
        without: pairs for which there was none; they are in the data set no longer.
        left_out: how many documents among the ranks were left out, by reason.
        doubts: the documents that score most above a positive: likely to be false negatives.
        above: share of pairs for which some document that is not known as right scores above the positive.
    """

    dataset: Dataset
    found: int
    without: int
    left_out: dict[str, int]
    doubts: tuple[Doubt, ...]
    above: float

    def __str__(self) -> str:
        """Tell it in some lines."""
        pairs = len(self.dataset) + self.without
        lines = [f"{self.found} hard negatives for {len(self.dataset)} of {pairs} pairs"]
        lines += [f"left out, {reason}: {count}" for reason, count in self.left_out.items() if count]
        lines.append(f"{100 * self.above:.1f} % of pairs have a document above their positive that nobody called right")
        lines += [
            f"  {one.score:.3f} > {one.positive_score:.3f}: {one.query[:60]!r}: {one.document[:60]!r}"
            for one in self.doubts[:3]
        ]
        return "\n".join(lines)


def mine(
    model: Model,
    pairs: Dataset,
    documents: Sequence[str] | None = None,
    config: MineConfig | None = None,
    *,
    check: Score | None = None,
    progress: bool | None = None,
) -> Mined:
    """Find hard negatives.

    Args:
        model: what ranks documents.
        pairs: of the kind "pairs", or "tuples", whose own negatives are left away.
        documents: where to look; None looks among all positives.
        config: what a hard negative is.
        check: a cross-encoder's scores, to leave out documents that it finds as good as the positive.
        progress: see `Embedder.encode`.

    Raises:
        InvalidInput: the examples are no pairs, or no pair has a negative.
    """
    if pairs.kind not in ("pairs", "tuples"):
        raise InvalidInput(
            f"{pairs.name} holds {pairs.kind}; negatives are found for pairs of a query and a positive. Give a file "
            "with two columns of these names, and no score or label beside them."
        )
    chosen = config or MineConfig()
    known: dict[str, set[str]] = {}
    for one in pairs.examples:
        known.setdefault(one.texts[0], set()).add(one.texts[1])
    pool = list(dict.fromkeys(documents)) if documents is not None else sorted(set().union(*known.values()))
    if not pool:
        raise InvalidInput("there are no documents to look among; give some, or none to look among all positives.")
    ranked = _ranked(model, known, pool, chosen.last, progress)
    own = _positives(model, known, progress)
    found = [_looked(one.texts[0], one.texts[1], ranked, own, chosen) for one in pairs.examples]
    fit = [one.fit for one in found]
    refused = 0
    if check is not None:
        fit = _checked(pairs.examples, fit, check, chosen.check_margin)
        refused = sum(len(one.fit) for one in found) - sum(map(len, fit))
    draw = np.random.default_rng(chosen.seed)
    examples = []
    for example, some in zip(pairs.examples, fit, strict=True):
        count = min(chosen.negatives, len(some))
        places = sorted(draw.choice(len(some), count, replace=False)) if chosen.draw == "random" else range(count)
        if count:
            examples.append(Example((*example.texts[:2], *(some[place] for place in places))))
    if not examples:
        raise InvalidInput(
            f"no pair of {pairs.name} has a negative among ranks {chosen.first} to {chosen.last} of {len(pool)} "
            "documents. Give more documents, or smaller margins."
        )
    doubts = sorted((one.doubt for one in found if one.doubt), key=lambda doubt: doubt.positive_score - doubt.score)
    return Mined(
        Dataset(pairs.name, "tuples", examples),
        sum(len(one.texts) - 2 for one in examples),
        len(pairs) - len(examples),
        {
            "above the score limit": sum(one.high for one in found),
            "within the margin": sum(one.near for one in found),
            "by the cross-encoder": refused,
        },
        tuple(doubts[:SHOWN]),
        len(doubts) / len(pairs),
    )


@dataclass(frozen=True)
class _Looked:
    """The documents of one pair: those that are fit, how many were left out, and one that is in doubt."""

    fit: list[str]
    high: int
    near: int
    doubt: Doubt | None


def _ranked(
    model: Model, known: Mapping[str, set[str]], pool: Sequence[str], last: int, progress: bool | None
) -> dict[str, list[tuple[str, float]]]:
    """Return each query's documents that are not known as right, with their similarities, the best first."""
    queries = list(known)
    most = max(map(len, known.values())) + 1  # what may have to be passed over: all positives, and the query itself
    best = TopK(model.encode_query(queries, progress=progress), min(last + most, len(pool)), model.similarity_name)
    for start in range(0, len(pool), _BLOCK):  # vectors of a block at a time, however many documents there are
        vectors = model.encode_document(pool[start : start + _BLOCK], progress=progress)
        best.add(vectors, np.arange(start, start + len(vectors)))
    ranked = {}
    for query, scores, places in zip(queries, *best.best(), strict=True):
        named = [(pool[place], score) for place, score in zip(places.tolist(), scores.tolist(), strict=True)]
        ranked[query] = [(text, score) for text, score in named if text not in known[query] and text != query]
    return ranked


def _positives(model: Model, known: Mapping[str, set[str]], progress: bool | None) -> dict[tuple[str, str], float]:
    """Return the similarity of each query to each of its positives."""
    pairs = [(query, text) for query, texts in known.items() for text in sorted(texts)]
    scores: list[float] = []
    for start in range(0, len(pairs), _BLOCK):
        queries, texts = zip(*pairs[start : start + _BLOCK], strict=True)
        left, right = model.encode_query(queries, progress=progress), model.encode_document(texts, progress=progress)
        scores += paired(model.similarity_name, left, right).tolist()
    return dict(zip(pairs, scores, strict=True))


def _looked(
    query: str,
    positive: str,
    ranked: Mapping[str, Sequence[tuple[str, float]]],
    own: Mapping[tuple[str, str], float],
    config: MineConfig,
) -> _Looked:
    there, right = ranked[query], own[query, positive]
    doubt = None
    if there and there[0][1] > right:
        doubt = Doubt(query, positive, there[0][0], right, there[0][1])
    limit = np.inf if config.margin is None else right - config.margin
    if config.relative_margin is not None:
        limit = min(limit, right - abs(right) * config.relative_margin)
    highest = np.inf if config.highest is None else config.highest
    some = there[config.first - 1 : config.last]
    low = [(text, score) for text, score in some if score <= highest]
    fit = [text for text, score in low if score <= limit]
    return _Looked(fit, len(some) - len(low), len(low) - len(fit), doubt)


def _checked(examples: Examples, fit: Sequence[list[str]], check: Score, margin: float) -> list[list[str]]:
    """Leave out what a cross-encoder finds as good as the positive."""
    pairs = [(one.texts[0], text) for one, some in zip(examples, fit, strict=True) for text in (one.texts[1], *some)]
    scores = iter(check(pairs).tolist())
    kept = []
    for some in fit:
        right = next(scores)
        kept.append([text for text in some if next(scores) < right - margin])
    return kept
