"""Losses that set a query's positive against all other documents: two sets of vectors in, one number out.

All take the same three ways of saying what belongs together:

- `targets`: (queries,) int64, which document is the query's positive; None: document i is query i's.
- `mask`: (queries, documents) bool, true where a document is left out for a query because it may be a positive too.
  A query's own positive is never left out.
- `similarity`: one of `sentvec.ops.similarity.SIMILARITIES`.

There may be any number of documents: gathered from processes, hard negatives, a queue.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from sentvec.errors import InvalidInput
from sentvec.ops.losses.common import positive, wide
from sentvec.ops.similarity import similarity as similarity_of


@dataclass(frozen=True)
class Scores:
    """Similarities of queries and documents.

    Attributes:
        scores: (queries, documents), float32 or wider.
        targets: (queries,) int64, each query's positive.
        left_out: (queries, documents) bool, what counts neither for nor against; never a positive.
    """

    scores: Tensor
    targets: Tensor
    left_out: Tensor

    @property
    def positives(self) -> Tensor:
        """Scores of the positives, (queries, 1)."""
        return self.scores.gather(1, self.targets[:, None])

    @property
    def negatives(self) -> Tensor:
        """Which documents count against a query, (queries, documents) bool."""
        return ~self.left_out.scatter(1, self.targets[:, None], True)

    def back(self) -> Scores:
        """Turn round: the positives ask, the queries are what they are compared with."""
        # two queries with one positive do not speak against each other
        shared = self.targets[:, None] == self.targets[None, :]
        diagonal = torch.arange(len(self.targets), device=self.targets.device)
        left_out = (shared | self.left_out.T[self.targets]).scatter(1, diagonal[:, None], False)
        return Scores(self.scores.T[self.targets], diagonal, left_out)


def compare(queries: Tensor, documents: Tensor, targets: Tensor | None, mask: Tensor | None, similarity: str) -> Scores:
    """Compare queries with documents; see above for the arguments.

    Raises:
        InvalidInput: shapes do not fit each other, or the similarity is not known.
    """
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
    shape = (count, len(documents))
    if mask is None:
        mask = torch.zeros(shape, dtype=torch.bool, device=queries.device)
    if mask.shape != shape:
        raise InvalidInput(f"mask is {tuple(mask.shape)}; it must be (queries, documents), {shape}.")
    scores = similarity_of(similarity)(wide(queries), wide(documents))  # (queries, documents)
    return Scores(scores, targets, mask.scatter(1, targets[:, None], False))


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
        documents: (documents, dim)
        targets: see above.
        mask: see above.
        temperature: what similarities are divided by.
        label_smoothing: part of the probability, from 0 to below 1, that is spread evenly over the documents that
            are not left out.
        symmetric: whether each positive is also classified among the queries, and the two losses averaged.
        similarity: see above.

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
    positive("temperature", temperature)
    if not 0 <= label_smoothing < 1:
        raise InvalidInput(f"label_smoothing is {label_smoothing}; it must be from 0 to below 1.")
    there = compare(queries, documents, targets, mask, similarity)
    loss = _classify(there, temperature, label_smoothing)
    return (loss + _classify(there.back(), temperature, label_smoothing)) / 2 if symmetric else loss


def _classify(of: Scores, temperature: float | Tensor, smoothing: float) -> Tensor:
    scores = (of.scores / temperature).masked_fill(of.left_out, -torch.inf)
    loss = functional.cross_entropy(scores, of.targets)
    if smoothing == 0:
        return loss
    # torch's own smoothing would give part of the probability to what is left out, at infinite cost
    even = scores.log_softmax(dim=1).masked_fill(of.left_out, 0).sum(dim=1) / (~of.left_out).sum(dim=1)
    return (1 - smoothing) * loss - smoothing * even.mean()


def decoupled(
    queries: Tensor,
    documents: Tensor,
    *,
    targets: Tensor | None = None,
    mask: Tensor | None = None,
    temperature: float | Tensor = 0.1,
    symmetric: bool = False,
    similarity: str = "cosine",
) -> Tensor:
    """InfoNCE without the positive in the denominator (Yeh et al. 2021, arXiv 2110.06848).

    A positive that is already near does not weaken the gradient of the negatives, which helps small batches.

    Args:
        queries: (queries, dim)
        documents: (documents, dim)
        targets: see above.
        mask: see above.
        temperature: what similarities are divided by.
        symmetric: whether each positive is also set against the queries, and the two losses averaged.
        similarity: see above.

    Returns:
        () mean over the queries that have a negative; it may be below 0. 0 where none has.

    Raises:
        InvalidInput: shapes do not fit each other, or the temperature is not above 0.

    >>> queries = torch.tensor([[1.0, 0.0], [0.0, 1.0]])
    >>> float(decoupled(queries, queries, temperature=1.0))
    -1.0
    """
    positive("temperature", temperature)
    there = compare(queries, documents, targets, mask, similarity)
    loss = _decouple(there, temperature)
    return (loss + _decouple(there.back(), temperature)) / 2 if symmetric else loss


def _decouple(of: Scores, temperature: float | Tensor) -> Tensor:
    negatives = of.negatives
    some = negatives.any(dim=1)
    # a row with no negatives keeps its numbers, for the gradient of the log of nothing is not a number
    scores = (of.scores / temperature).masked_fill(~negatives & some[:, None], -torch.inf)
    rows = scores.logsumexp(dim=1) - (of.positives / temperature).squeeze(1)
    return mean_where(rows, some)


def sigmoid(
    queries: Tensor,
    documents: Tensor,
    *,
    targets: Tensor | None = None,
    mask: Tensor | None = None,
    temperature: float | Tensor = 0.1,
    bias: float | Tensor = -10.0,
    similarity: str = "cosine",
) -> Tensor:
    """Decide for each query and document by itself whether they belong together (Zhai et al. 2023, arXiv 2303.15343).

    Args:
        queries: (queries, dim)
        documents: (documents, dim)
        targets: see above.
        mask: see above.
        temperature: what similarities are divided by; the paper learns it, from 0.1.
        bias: what is added then; the paper learns it, from -10, for most pairs do not belong together.
        similarity: see above.

    Returns:
        () sum over documents, mean over queries.

    Raises:
        InvalidInput: shapes do not fit each other, or the temperature is not above 0.

    >>> queries = torch.tensor([[1.0, 0.0], [0.0, 1.0]])
    >>> round(float(sigmoid(queries, queries, temperature=1.0, bias=0.0)), 4)  # log(1 + 1 / e) + log 2
    1.0064
    """
    positive("temperature", temperature)
    of = compare(queries, documents, targets, mask, similarity)
    logits = of.scores / temperature + bias
    apart = torch.where(of.negatives, functional.softplus(logits), 0).sum()
    together = functional.softplus(-logits.gather(1, of.targets[:, None])).sum()
    return (apart + together) / len(queries)


def guide_mask(
    queries: Tensor,
    documents: Tensor,
    *,
    targets: Tensor | None = None,
    margin: float = 0.0,
    relative: bool = False,
    similarity: str = "cosine",
) -> Tensor:
    """Leave out what a guide finds nearer than the positive (Solatorio 2024, GISTEmbed, arXiv 2402.16829).

    Args:
        queries: (queries, dim) vectors that another model, the guide, gives to the queries.
        documents: (documents, dim) the guide's.
        targets: see above.
        margin: how much nearer than the positive a document may at most come: it is left out above
            s(positive) - margin.
        relative: whether the margin is a part of |s(positive)|.
        similarity: see above.

    Returns:
        (queries, documents) bool, the `mask` of the losses here.

    Raises:
        InvalidInput: shapes do not fit each other.

    >>> queries = torch.tensor([[1.0, 0.0], [0.0, 1.0]])
    >>> documents = torch.tensor([[1.0, 1.0], [1.0, 0.0]])
    >>> guide_mask(queries, documents).tolist()  # query 0 is nearer to document 1 than to its own
    [[False, True], [True, False]]
    """
    with torch.no_grad():
        of = compare(queries, documents, targets, None, similarity)
        own = of.positives
        limit = own - own.abs() * margin if relative else own - margin
        return (of.scores > limit) & of.negatives


def mean_where(values: Tensor, counts: Tensor) -> Tensor:
    """Average the numbers that count; 0, with a gradient of 0, where none does.

    Args:
        values: of any shape, finite.
        counts: of the same shape, bool.
    """
    return torch.where(counts, values, 0).sum() / counts.sum().clamp(min=1)
