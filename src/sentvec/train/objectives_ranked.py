"""Objectives of lists, classes and a teacher's vectors: vectors and a batch in, one number out."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_args

import torch
from torch import Tensor, nn

from sentvec.errors import InvalidInput
from sentvec.ops.losses.classes import adaptive_margins, arcface
from sentvec.ops.losses.common import positive, row_cosines
from sentvec.ops.losses.distil import vector_cosine, vector_mse
from sentvec.ops.losses.unsupervised import alignment, uniformity
from sentvec.train.batches import Batch
from sentvec.train.objectives_pairs import labels_of
from sentvec.train.objectives_plain import Vectors, values_of

Likeness = Literal["cosine", "dot"]
Measure = Literal["cosine", "mse"]


class ListLoss(nn.Module):
    """A loss of `sentvec.ops.losses.lists` of the similarities of each list's query and documents.

    Args:
        loss: the loss.
        scale: what similarities are multiplied with, for cosines alone are too near each other to rank by.
        similarity: of a query and a document.
        options: those of the loss.
    """

    def __init__(
        self, loss: Callable[..., Tensor], scale: float, similarity: Likeness, options: Mapping[str, Any]
    ) -> None:
        super().__init__()
        positive("scale", scale)
        self.loss = loss
        self.scale = scale
        self.similarity = similarity
        self.options = dict(options)

    def forward(self, vectors: Vectors, batch: Batch) -> Tensor:
        """Return the loss, ()."""
        queries, documents = vectors
        if batch.owners is None:
            raise InvalidInput(f"a batch of {batch.kind} has no owners; say which example each document belongs to.")
        owners = batch.owners.to(queries.device)
        asked = queries[owners]
        alike = row_cosines(asked, documents) if self.similarity == "cosine" else (asked * documents).sum(dim=1)
        return self.loss(alike * self.scale, values_of(batch, queries), owners, **self.options)


@dataclass(frozen=True)
class Listed:
    """Builds `ListLoss`; its options are `scale`, `similarity`, and those of the loss.

    Attributes:
        loss: one of `sentvec.ops.losses.lists.RANKINGS`.
    """

    loss: Callable[..., Tensor]

    def __call__(self, *, scale: float = 20.0, similarity: Likeness = "cosine", **options: Any) -> ListLoss:
        """Set the options."""
        return ListLoss(self.loss, scale, similarity, options)

    @property
    def __signature__(self) -> inspect.Signature:
        """What may be set."""
        loss, own = (inspect.signature(one).parameters.values() for one in (self.loss, Listed.__call__))
        return inspect.Signature([one for one in (*own, *loss) if one.kind is one.KEYWORD_ONLY])


class ArcFace(nn.Module):
    """`sentvec.ops.losses.classes.arcface` with learned centres.

    Args:
        dim: features of a vector.
        classes: how many.
        margin: angle in radians, for all classes.
        scale: what cosines are multiplied with.
        counts: examples of each class, for margins that are wider where there are few; None: `margin` for all.
    """

    margins: Tensor | None

    def __init__(
        self,
        *,
        dim: int,
        classes: int,
        margin: float = 0.2,
        scale: float = 30.0,
        counts: Sequence[int] | None = None,
    ) -> None:
        super().__init__()
        positive("dim", dim)
        positive("classes", classes)
        positive("scale", scale)
        if counts is not None and len(counts) != classes:
            raise InvalidInput(f"counts are of {len(counts)} classes, and there are {classes}.")
        self.centres = nn.Parameter(nn.init.xavier_uniform_(torch.empty(classes, dim)))
        self.register_buffer("margins", None if counts is None else adaptive_margins(torch.tensor(counts)))
        self.margin = margin
        self.scale = scale

    def forward(self, vectors: Vectors, batch: Batch) -> Tensor:
        """Return the loss, ()."""
        margin = self.margin if self.margins is None else self.margins
        labels = labels_of(batch, vectors[0], len(self.centres))
        return arcface(vectors[0], self.centres, labels, margin=margin, scale=self.scale)


class TaughtVectors(nn.Module):
    """The distance to a teacher's vectors, `sentvec.ops.losses.distil`.

    Args:
        measure: 1 - cosine, or the mean squared error of the features.
        dim: features of a vector, and
        teacher_dim: of the teacher's, where they differ: a linear layer between them is learned.
    """

    def __init__(self, *, measure: Measure = "cosine", dim: int | None = None, teacher_dim: int | None = None) -> None:
        super().__init__()
        if measure not in get_args(Measure):
            raise InvalidInput(f"measure {measure!r} is not known. Known: {', '.join(get_args(Measure))}.")
        if (dim is None) != (teacher_dim is None):
            raise InvalidInput("dim and teacher_dim go together: the widths of the layer between them.")
        self.measure = measure
        self.between = None if dim is None or teacher_dim is None else nn.Linear(dim, teacher_dim, bias=False)

    def forward(self, vectors: Vectors, batch: Batch) -> Tensor:
        """Return the loss, ()."""
        ours, taught = vectors[0], values_of(batch, vectors[0])
        ours = ours if self.between is None else self.between(ours)
        if ours.shape != taught.shape:
            raise InvalidInput(
                f"vectors are {tuple(ours.shape)}, the teacher's {tuple(taught.shape)}; "
                "pass dim= and teacher_dim= to learn a layer between them."
            )
        return vector_cosine(ours, taught) if self.measure == "cosine" else vector_mse(ours, taught)


class AlignmentUniformity(nn.Module):
    """Alignment of pairs plus the mean uniformity of both columns (Wang and Isola 2020).

    Args:
        weight: of the uniformity.
    """

    def __init__(self, *, weight: float = 1.0) -> None:
        super().__init__()
        self.weight = weight

    def forward(self, vectors: Vectors, batch: Batch) -> Tensor:
        """Return the loss, ()."""
        left, right = vectors
        return alignment(left, right) + self.weight * (uniformity(left) + uniformity(right)) / 2
