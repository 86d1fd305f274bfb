"""Losses of how much nearer the positive is than a negative: vectors in, one number out.

`targets`, `mask` and `similarity` are those of `sentvec.ops.losses.contrastive`.
"""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional

from sentvec.errors import InvalidInput
from sentvec.ops.losses.common import positive, row_cosines, same_shape, wide
from sentvec.ops.losses.contrastive import compare, mean_where

DISTANCES = ("cosine", "euclidean")
"""Distances of triplets: 1 - cosine, and the length of the difference."""


def hinge(
    queries: Tensor,
    documents: Tensor,
    *,
    targets: Tensor | None = None,
    mask: Tensor | None = None,
    margin: float = 0.2,
    similarity: str = "cosine",
) -> Tensor:
    """Want each positive nearer than each negative by a margin: max(0, s(q, n) - s(q, p) + margin).

    From Weston and Watkins 1999, "Support vector machines for multi-class pattern recognition"; with in-batch
    negatives as in Karpathy and Fei-Fei 2015, arXiv 1412.2306.

    Args:
        queries: (queries, dim)
        documents: (documents, dim); all that is not left out is a negative of all queries but its own.
        targets: which document is a query's positive.
        mask: what is left out.
        margin: in units of the similarity.
        similarity: of a query and a document.

    Returns:
        () mean over all pairs of a query and a negative; 0 where there is none.

    Raises:
        InvalidInput: shapes do not fit each other.

    >>> import torch
    >>> queries, documents = torch.tensor([[1.0, 0.0]]), torch.tensor([[1.0, 0.0], [0.6, 0.8]])
    >>> round(float(hinge(queries, documents, margin=0.5)), 4)  # 0.6 - 1 + 0.5
    0.1
    """
    of = compare(queries, documents, targets, mask, similarity)
    return mean_where(functional.relu(of.scores - of.positives + margin), of.negatives)


def bpr(
    queries: Tensor,
    documents: Tensor,
    *,
    targets: Tensor | None = None,
    mask: Tensor | None = None,
    temperature: float | Tensor = 0.05,
    similarity: str = "cosine",
) -> Tensor:
    """Want each positive above each negative: -log σ((s(q, p) - s(q, n)) / temperature).

    Bayesian personalised ranking (Rendle et al. 2009, arXiv 1205.2618).

    Args:
        queries: (queries, dim)
        documents: (documents, dim); all that is not left out is a negative of all queries but its own.
        targets: which document is a query's positive.
        mask: what is left out.
        temperature: what similarities are divided by.
        similarity: of a query and a document.

    Returns:
        () mean over all pairs of a query and a negative; 0 where there is none.

    Raises:
        InvalidInput: shapes do not fit each other, or the temperature is not above 0.

    >>> import torch
    >>> queries, documents = torch.tensor([[1.0, 0.0]]), torch.tensor([[1.0, 0.0], [0.0, 1.0]])
    >>> round(float(bpr(queries, documents, temperature=1.0)), 4)  # log(1 + 1 / e)
    0.3133
    """
    positive("temperature", temperature)
    of = compare(queries, documents, targets, mask, similarity)
    return mean_where(functional.softplus((of.scores - of.positives) / temperature), of.negatives)


def triplet(
    anchors: Tensor, positives: Tensor, negatives: Tensor, *, margin: float = 0.5, distance: str = "cosine"
) -> Tensor:
    """Want each anchor nearer to its positive than to its negative: max(0, d(a, p) - d(a, n) + margin).

    Schroff et al. 2015, FaceNet, arXiv 1503.03832; sentences: Reimers and Gurevych 2019, arXiv 1908.10084, with
    Euclidean distance and a margin of 1.

    Args:
        anchors: (n, dim)
        positives: (n, dim)
        negatives: (n, dim)
        margin: in units of the distance.
        distance: one of `DISTANCES`.

    Returns:
        () mean.

    Raises:
        InvalidInput: the shapes differ, or the distance is not known.

    >>> import torch
    >>> anchor, other = torch.tensor([[1.0, 0.0]]), torch.tensor([[0.0, 1.0]])
    >>> float(triplet(anchor, anchor, other, margin=1.5)), float(triplet(anchor, other, anchor, margin=0.5))
    (0.5, 1.5)
    """
    gap = _row_distances(anchors, positives, distance) - _row_distances(anchors, negatives, distance)
    return functional.relu(gap + margin).mean()


def check_distance(distance: str) -> None:
    """Refuse what is not one of `DISTANCES`.

    Raises:
        InvalidInput: the distance is not known.
    """
    if distance not in DISTANCES:
        raise InvalidInput(f"distance {distance!r} is not known. Known: {', '.join(DISTANCES)}.")


def _row_distances(a: Tensor, b: Tensor, distance: str) -> Tensor:
    check_distance(distance)
    same_shape(a, b)
    if distance == "cosine":
        return 1 - row_cosines(a, b)
    return functional.pairwise_distance(wide(a), wide(b), eps=0)
