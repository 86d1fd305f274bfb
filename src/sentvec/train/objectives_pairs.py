"""Objectives of pairs that own a temperature or a head: vectors and a batch in, one number out."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional

from sentvec.errors import InvalidInput
from sentvec.ops.losses.common import positive
from sentvec.ops.losses.pairs import cosent, pair_features, r_drop
from sentvec.train.batches import Batch
from sentvec.train.objectives_contrastive import Temperature
from sentvec.train.objectives_plain import Vectors, as_cosines, values_of


class CoSENT(nn.Module):
    """`sentvec.ops.losses.pairs.cosent` of the cosines of a batch's pairs."""

    def __init__(self, *, temperature: float = 0.05, learn_temperature: bool = False) -> None:
        super().__init__()
        self.temperature = Temperature(temperature, learn_temperature)

    def forward(self, vectors: Vectors, batch: Batch) -> Tensor:
        """Return the loss, ()."""
        given, _ = as_cosines(vectors, batch)
        return cosent(*given, temperature=self.temperature())


class Softmax(nn.Module):
    """A linear layer over (u, v, |u - v|) that names the class of a pair.

    Args:
        dim: features of a vector.
        classes: how many.
    """

    def __init__(self, *, dim: int, classes: int) -> None:
        super().__init__()
        positive("dim", dim)
        positive("classes", classes)
        self.head = nn.Linear(3 * dim, classes)

    def forward(self, vectors: Vectors, batch: Batch) -> Tensor:
        """Return the loss, ()."""
        labels = labels_of(batch, vectors[0], self.head.out_features)
        return functional.cross_entropy(self.head(pair_features(*vectors)), labels)


class RDrop(nn.Module):
    """`Softmax` of two views, which should agree.

    Args:
        dim: features of a vector.
        classes: how many.
        weight: of the divergence of both.
    """

    def __init__(self, *, dim: int, classes: int, weight: float = 1.0) -> None:
        super().__init__()
        positive("dim", dim)
        positive("classes", classes)
        self.head = nn.Linear(3 * dim, classes)
        self.weight = weight

    def forward(self, vectors: Vectors, batch: Batch) -> Tensor:
        """Return the loss, ()."""
        first, second = (self.head(pair_features(*view)) for view in (vectors[:2], vectors[2:]))
        return r_drop(first, second, labels_of(batch, first, self.head.out_features), weight=self.weight)


def labels_of(batch: Batch, like: Tensor, classes: int) -> Tensor:
    """Return the numbers of the classes, (examples,) int64.

    Raises:
        InvalidInput: a number is not that of a class.
    """
    labels = values_of(batch, like).long()
    if bool(((labels < 0) | (labels >= classes)).any()):
        raise InvalidInput(f"labels are from {int(labels.min())} to {int(labels.max())}; there are {classes} classes.")
    return labels
