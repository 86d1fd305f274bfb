"""Losses that set a query's positive against all other documents: two sets of vectors in, one number out."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from sentvec.errors import InvalidInput
from sentvec.ops.losses.common import positive, wide
from sentvec.ops.similarity import similarity as similarity_of


def info_nce(
    queries: Tensor,
    documents: Tensor,
    *,
    targets: Tensor | None = None,
    mask: Tensor | None = None,
    temperature: float | Tensor = 0.05,
    label_smoothing: float = 0.0,
    symmetric: bool = False,
    similarity: str = "cosine",
) -> Tensor:
    """Classify each query's positive among all documents (van den Oord et al. 2018, arXiv 1807.03748).

    The same loss is known as multiple negatives ranking (Henderson et al. 2017, arXiv 1705.00652) and NT-Xent.

    Args:
        queries: (queries, dim)
        documents: (documents, dim), any number of them: gathered from processes, hard negatives, a queue.
        targets: (queries,) int64, which document is the query's positive; None: document i is query i's.
        mask: (queries, documents) bool, true where a document is left out for a query because it may be a positive too.
            A query's own positive is never left out.
        temperature: what similarities are divided by.
        label_smoothing: part of the probability, from 0 to below 1, that is spread evenly over the documents that
            are not left out.
        symmetric: whether each positive is also classified among the queries, and the two losses averaged.
        similarity: one of `sentvec.ops.similarity.SIMILARITIES`.

    Returns:
        () mean over queries.

    Raises:
        InvalidInput: shapes do not fit each other, or a number is out of range.

    >>> queries = torch.tensor([[1.0, 0.0], [0.0, 1.0]])
    >>> round(float(info_nce(queries, queries, temperature=1.0)), 4)  # log(1 + 1 / e)
    0.3133
    >>> float(info_nce(queries, queries, mask=~torch.eye(2, dtype=torch.bool)))  # nothing left to confuse it with
    0.0
    """
    targets = _targets(queries, documents, targets, mask)
    positive("temperature", temperature)
    if not 0 <= label_smoothing < 1:
        raise InvalidInput(f"label_smoothing is {label_smoothing}; it must be from 0 to below 1.")
    scores = similarity_of(similarity)(wide(queries), wide(documents)) / temperature  # (queries, documents)
    loss = _classify(scores, targets, mask, label_smoothing)
    if not symmetric:
        return loss
    back = scores.T[targets]  # (queries, queries), its diagonal the positives
    shared = targets[:, None] == targets[None, :]  # two queries with one positive do not speak against each other
    left_out = shared if mask is None else shared | mask.T[targets]
    diagonal = torch.arange(len(targets), device=targets.device)
    return (loss + _classify(back, diagonal, left_out, label_smoothing)) / 2


def _targets(queries: Tensor, documents: Tensor, targets: Tensor | None, mask: Tensor | None) -> Tensor:
    count = len(queries)
    if count == 0 or queries.shape[1:] != documents.shape[1:]:
        raise InvalidInput(
            f"queries are {tuple(queries.shape)} and documents {tuple(documents.shape)}; "
            "give at least one query, and vectors of one width."
        )
    if targets is None:
        if len(documents) < count:
            raise InvalidInput(f"{count} queries have {len(documents)} documents; pass targets, or one for each query.")
        targets = torch.arange(count, device=queries.device)
    if targets.shape != (count,):
        raise InvalidInput(f"targets are {tuple(targets.shape)}; give one number for each of the {count} queries.")
    if mask is not None and mask.shape != (count, len(documents)):
        raise InvalidInput(f"mask is {tuple(mask.shape)}; it must be (queries, documents), {(count, len(documents))}.")
    return targets


def _classify(scores: Tensor, targets: Tensor, mask: Tensor | None, smoothing: float) -> Tensor:
    if mask is not None:
        mask = mask.scatter(1, targets[:, None], False)
        scores = scores.masked_fill(mask, -torch.inf)
    loss = functional.cross_entropy(scores, targets)
    if smoothing == 0:
        return loss
    logs = scores.log_softmax(dim=1)
    # torch's own smoothing would give part of the probability to what is left out, at infinite cost
    even = logs.mean(dim=1) if mask is None else logs.masked_fill(mask, 0).sum(dim=1) / (~mask).sum(dim=1)
    return (1 - smoothing) * loss - smoothing * even.mean()
