"""Texts of a batch in, which documents may not count against which query out."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Hashable, Sequence

import torch
from torch import Tensor


def known_positives(
    queries: Sequence[Hashable], positives: Sequence[Hashable], documents: Sequence[Hashable]
) -> Tensor:
    """Find the documents that are a positive of a query, by what the batch itself says.

    Those are documents with the text of the query, with the text of its positive, and with the text of any positive
    that the same query has elsewhere in the batch.

    Args:
        queries: texts, or anything that is equal where the texts are.
        positives: one for each query.
        documents: all that the queries are compared with.

    Returns:
        (queries, documents) bool. A query's own positive may be true as well.

    >>> known_positives(["a", "b", "a"], ["x", "y", "z"], ["x", "y", "z", "b"]).int().tolist()
    [[1, 0, 1, 0], [0, 1, 0, 1], [1, 0, 1, 0]]
    """
    places = defaultdict(list)
    for column, text in enumerate(documents):
        places[text].append(column)
    rows = defaultdict(list)
    belong: defaultdict[Hashable, set[Hashable]] = defaultdict(set)
    for row, (query, text) in enumerate(zip(queries, positives, strict=True)):
        rows[query].append(row)
        belong[query] |= {query, text}
    mask = torch.zeros(len(queries), len(documents), dtype=torch.bool)
    for query, members in rows.items():
        columns = [column for text in belong[query] for column in places.get(text, ())]
        mask[torch.tensor(members)[:, None], torch.tensor(columns, dtype=torch.int64)] = True
    return mask
