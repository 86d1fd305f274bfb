"""Ranked documents and judgements in; nDCG, MRR, MAP, recall and precision of each query out, as trec_eval has them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from operator import itemgetter

import numpy as np

from sentvec.errors import InvalidInput
from sentvec.evaluate.result import Floats
from sentvec.extras import require

Judgements = Mapping[str, Mapping[str, int]]
"""By query: by document, the grade; 1 or more is relevant."""
Rankings = Mapping[str, Sequence[str]]
"""By query: documents, the best first."""

CUTOFFS = (10, 100)
DEEPEST = 1_000_000
"""The largest cutoff: trec_eval counts in C, and numbers without a limit would wrap there."""
_MEASURES = {"nDCG": "ndcg_cut", "MAP": "map_cut", "recall": "recall", "P": "P"}


def check_cutoffs(cutoffs: Sequence[int]) -> None:
    """Refuse values of k that are not possible.

    Raises:
        InvalidInput: one is, or there are none.
    """
    if not cutoffs or min(cutoffs) < 1 or max(cutoffs) > DEEPEST:
        raise InvalidInput(f"cutoffs are {tuple(cutoffs)}; accepted: one or more numbers from 1 to {DEEPEST}.")


def rank_scores(judged: Judgements, ranked: Rankings, cutoffs: Sequence[int] = CUTOFFS) -> dict[str, Floats]:
    """Score rankings.

    The measures are those of trec_eval, through pytrec_eval: nDCG takes grades as they are as gains, and MAP@k divides
    by all relevant documents, not by k of them. MRR@k is 0 where no relevant document is among the first k.

    Args:
        judged: grades, by query and document. Queries without a relevant document must not be among them.
        ranked: documents by query.
        cutoffs: values of k.

    Returns:
        By name, such as "nDCG@10": (queries,) float64, in the order of `judged`.

    Raises:
        InvalidInput: a cutoff is not possible, or there is none; a document is ranked twice for a query; an id cannot
            be read by trec_eval.
    """
    check_cutoffs(cutoffs)
    for query, names in ranked.items():
        if len(set(names)) < len(names):
            twice = next(name for name in names if names.count(name) > 1)
            raise InvalidInput(f"query {query!r}: document {twice!r} is ranked more than once; leave its best place.")
    for ids in (judged, ranked, *judged.values(), *ranked.values()):
        if "\0" in "".join(ids):  # where C ends a name, so that two would be one
            raise InvalidInput("an id holds the character NUL, which trec_eval cannot read; give other ids.")
    wanted = {f"{name}.{','.join(map(str, sorted(set(cutoffs))))}" for name in _MEASURES.values()}
    # trec_eval sorts by score, and equal scores by name from the last: places as scores keep the order that we have
    places = [-float(place) for place in range(max(map(len, ranked.values()), default=0))]
    run = {query: dict(zip(names, places, strict=False)) for query, names in ranked.items()}
    judge = require("pytrec_eval", extra="evaluate").RelevanceEvaluator(
        {query: dict(grades) for query, grades in judged.items()}, wanted | {"recip_rank"}
    )
    found = judge.evaluate(run)
    columns = ["recip_rank", *(f"{own}_{k}" for k in cutoffs for own in _MEASURES.values())]
    nothing = dict.fromkeys(columns, 0.0)
    cells = itemgetter(*columns)
    values = np.array([cells(found.get(query, nothing)) for query in judged], dtype=np.float64)
    by_column = dict(zip(columns, values.reshape(-1, len(columns)).T, strict=True))
    first = by_column["recip_rank"]
    scores: dict[str, Floats] = {}
    for k in cutoffs:
        scores[f"MRR@{k}"] = np.where(first * k >= 1 - 1e-9, first, 0.0)
        scores |= {f"{name}@{k}": by_column[f"{own}_{k}"] for name, own in _MEASURES.items()}
    return scores
