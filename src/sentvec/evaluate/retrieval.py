"""A retrieval set in; how well a model ranks its documents out, in memory that does not grow with their number."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

from sentvec.errors import InvalidInput
from sentvec.evaluate.beir import QUERIES, Retrieval
from sentvec.evaluate.ranking import CUTOFFS, Rankings, rank_scores
from sentvec.evaluate.result import Result, mean_of
from sentvec.evaluate.topk import TopK
from sentvec.evaluate.vectors import Array, Vectors
from sentvec.progress import track


def evaluate_retrieval(
    given: Retrieval, vectors: Vectors, cutoffs: Sequence[int] = CUTOFFS, progress: bool | None = None
) -> Result:
    """Rank all documents for every query, exactly, and score the rankings; the main score is nDCG at the first cutoff.

    Documents are read, encoded and compared in blocks, and only the best of each query are kept.

    Raises:
        InvalidInput: a cutoff is below 1.
        NonFiniteOutput: a vector holds NaN or infinity.
    """

    def blocks() -> Iterable[Array]:
        with track(f"Documents of {given.name}", len(given.ids), progress) as advance:
            for texts in given.blocks():
                yield vectors.encode(texts, "document", (given.corpus,))
                advance(len(texts))

    asked = vectors.encode(list(given.queries.values()), "query", (given.corpus.with_name(QUERIES),))
    ranked = rank(list(given.queries), asked, given.ids, blocks(), max(cutoffs, default=1), vectors.similarity)
    scores = rank_scores(given.judged, ranked, cutoffs)
    main = f"nDCG@{cutoffs[0]}"
    return Result(
        name=given.name,
        kind="retrieval",
        main=main,
        scores={name: float(values.mean()) for name, values in scores.items()},
        sizes={"queries": len(given.queries), "documents": len(given.ids)},
        notes=(f"{vectors.similarity} similarity, equal scores by id", *given.notes),
        sample=mean_of(scores[main]),
    )


def rank(
    queries: Sequence[str],
    asked: Array,
    documents: Sequence[str],
    blocks: Iterable[Array],
    k: int,
    kind: str = "cosine",
) -> Rankings:
    """Rank documents by exact comparison with every query; equal scores are ordered by the documents' ids.

    Ids must differ, or the ranking of one would hide that of another.

    Args:
        queries: q ids.
        asked: (q, dim) their vectors.
        documents: n ids.
        blocks: the documents' vectors in their order, (some, dim) at a time, n rows in all.
        k: how many documents to keep for each query.
        kind: a similarity of `sentvec.ops.similarity`.

    Raises:
        InvalidInput: k is below 1, an id is doubled, or vectors do not fit ids or each other.
        NonFiniteOutput: a vector holds NaN or infinity.
    """
    for what, ids in (("query", queries), ("document", documents)):
        if len(set(ids)) < len(ids):
            raise InvalidInput(f"an id of a {what} is doubled; ids must differ.")
    if len(queries) != len(asked):
        raise InvalidInput(f"{len(queries)} ids of queries came with {len(asked)} vectors; give one for each.")
    by_id = sorted(range(len(documents)), key=documents.__getitem__)
    order: NDArray[np.int64] = np.empty(len(documents), np.int64)
    order[by_id] = np.arange(len(documents))
    top = TopK(asked, min(k, max(1, len(documents))), kind)  # there is no room to be kept for more than there are
    seen = 0
    for block in blocks:
        seen += len(block)
        if seen <= len(documents):
            top.add(block, order[seen - len(block) : seen])
    if seen != len(documents):
        raise InvalidInput(f"{len(documents)} ids of documents came with {seen} vectors; give one for each.")
    _, names = top.best()
    found = np.array([documents[place] for place in by_id], dtype=object)[names]  # (queries, k)
    return dict(zip(queries, found.tolist(), strict=True))
