"""Objectives that are a loss and nothing else: a function, and what of a batch it reads, in; a module out."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from sentvec.errors import InvalidInput
from sentvec.ops.losses.common import row_cosines
from sentvec.ops.losses.pairs import row_angles
from sentvec.train.batches import Batch
from sentvec.train.objectives_masks import known_positives

Vectors = tuple[Tensor, ...]
Arguments = tuple[tuple[Tensor, ...], Mapping[str, Tensor]]
Read = Callable[[Vectors, Batch], Arguments]
"""A batch's vectors and the batch -> what a loss takes by place and by name."""


class LossOf(nn.Module):
    """A loss of what is read from a batch, with its options set."""

    def __init__(self, loss: Callable[..., Tensor], read: Read, options: Mapping[str, Any]) -> None:
        super().__init__()
        self.loss = loss
        self.read = read
        self.options = dict(options)

    def forward(self, vectors: Vectors, batch: Batch) -> Tensor:
        """Return the loss, ()."""
        given, named = self.read(vectors, batch)
        return self.loss(*given, **named, **self.options)


@dataclass(frozen=True)
class Plain:
    """Builds `LossOf`; its options are those of the loss.

    Attributes:
        loss: a function of `sentvec.ops.losses`.
        read: what it is given of a batch.
    """

    loss: Callable[..., Tensor]
    read: Read

    def __call__(self, **options: Any) -> LossOf:
        """Set the options."""
        return LossOf(self.loss, self.read, options)

    @property
    def __signature__(self) -> inspect.Signature:
        """What may be set: all that the loss takes by name, but what is read from the batch."""
        known = inspect.signature(self.loss).parameters.values()
        named = [one for one in known if one.kind is one.KEYWORD_ONLY and one.name not in ("targets", "mask")]
        return inspect.Signature(named)


def as_contrast(vectors: Vectors, batch: Batch) -> Arguments:
    """Read pairs, tuples, or texts encoded twice as queries, documents, and the mask of what may be a positive.

    Document i is the positive of query i. Every hard negative counts against every query, not against its own alone.

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
    return (queries, torch.cat(others)), {"mask": mask.to(queries.device)}


def as_triplets(vectors: Vectors, batch: Batch) -> Arguments:
    """Read tuples as rows of an anchor, its positive, and one of its own negatives.

    Raises:
        InvalidInput: there is no negative.
    """
    anchors, positives, negatives = vectors
    if batch.owners is None or not len(negatives):
        raise InvalidInput("a batch of tuples without any negative has no triplet; give tuples of three texts or more.")
    owners = batch.owners.to(anchors.device)
    return (anchors[owners], positives[owners], negatives), {}


def as_cosines(vectors: Vectors, batch: Batch) -> Arguments:
    """Read scored or labelled pairs as cosines and scores."""
    return (row_cosines(*vectors), scores_of(batch, vectors[0])), {}


def as_angles(vectors: Vectors, batch: Batch) -> Arguments:
    """Read scored or labelled pairs as angles of complex numbers and scores."""
    return (row_angles(*vectors), scores_of(batch, vectors[0])), {}


def as_pairs(vectors: Vectors, batch: Batch) -> Arguments:
    """Read pairs as two columns of vectors."""
    return vectors, {}


def as_classes(vectors: Vectors, batch: Batch) -> Arguments:
    """Read classes as vectors and the numbers of their classes."""
    return (vectors[0], values_of(batch, vectors[0]).long()), {}


def values_of(batch: Batch, like: Tensor) -> Tensor:
    """Return the batch's values where the vectors are; `Objective` has seen to it that there are any."""
    assert batch.values is not None
    return batch.values.to(like.device)


def scores_of(batch: Batch, like: Tensor) -> Tensor:
    """Return the scores of pairs; labels must be 0 and 1, for numbers of classes have no order.

    Raises:
        InvalidInput: a label is another number.
    """
    values = batch.values
    if values is not None and batch.kind == "labelled_pairs" and not bool(((values == 0) | (values == 1)).all()):
        raise InvalidInput(
            f"labels are {sorted(set(values.tolist()))}; this objective learns from 0 and 1. "
            "Classes of inference are learnt by 'softmax' or 'r_drop'."
        )
    return values_of(batch, like)
