"""Objectives that set a positive against the rest of the batch: vectors and a batch in, one number out."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from sentvec.ops.losses.common import positive
from sentvec.ops.losses.contrastive import info_nce
from sentvec.train.batches import Batch
from sentvec.train.objectives_masks import known_positives


@dataclass(frozen=True)
class Contrast:
    """Queries and all that they are compared with.

    Attributes:
        queries: (queries, dim).
        documents: (documents, dim), document i the positive of query i, what else there is behind them.
        mask: (queries, documents) bool, true where a document does not count against a query.
    """

    queries: Tensor
    documents: Tensor
    mask: Tensor


def contrast(vectors: tuple[Tensor, ...], batch: Batch) -> Contrast:
    """Lay out pairs, tuples, or texts encoded twice as queries and documents, and mask what may be a positive.

    Every hard negative counts against every query, not against its own alone.

    Args:
        vectors: (queries, positives), (queries, positives, negatives), or two views of the same texts.
        batch: whose texts say which documents are positives too.
    """
    queries, *others = vectors
    if batch.kind == "texts":
        texts = batch.columns[0]
        mask = known_positives(texts, texts, texts)
    else:
        asked, right, *rest = batch.columns
        mask = known_positives(asked, right, [*right, *(text for column in rest for text in column)])
    return Contrast(queries, torch.cat(others), mask.to(queries.device))


class Temperature(nn.Module):
    """A temperature, fixed or learned: nothing in, what similarities are divided by out.

    A learned one is kept as log(1 / temperature), and 1 / temperature stays from 1 to 100 (Radford et al. 2021,
    CLIP, arXiv 2103.00020, section 2.5, for the upper limit).
    """

    def __init__(self, temperature: float, learned: bool) -> None:
        super().__init__()
        positive("temperature", temperature)
        self.fixed = temperature
        self.log_scale = nn.Parameter(torch.tensor(-math.log(temperature))) if learned else None

    def forward(self) -> float | Tensor:
        """Return the temperature of this step."""
        if self.log_scale is None:
            return self.fixed
        with torch.no_grad():  # clamped in place: a clamp on the way would stop the gradient at the limit for good
            self.log_scale.clamp_(0, math.log(100))
        return (-self.log_scale).exp()


class InfoNCE(nn.Module):
    """`sentvec.ops.losses.contrastive.info_nce` of a batch, known positives left out."""

    def __init__(
        self,
        *,
        temperature: float = 0.05,
        learn_temperature: bool = False,
        label_smoothing: float = 0.0,
        symmetric: bool = False,
        similarity: str = "cosine",
    ) -> None:
        super().__init__()
        self.temperature = Temperature(temperature, learn_temperature)
        self.label_smoothing = label_smoothing
        self.symmetric = symmetric
        self.similarity = similarity

    def forward(self, vectors: tuple[Tensor, ...], batch: Batch) -> Tensor:
        """Return the loss, ()."""
        sides = contrast(vectors, batch)
        return info_nce(
            sides.queries,
            sides.documents,
            mask=sides.mask,
            temperature=self.temperature(),
            label_smoothing=self.label_smoothing,
            symmetric=self.symmetric,
            similarity=self.similarity,
        )
