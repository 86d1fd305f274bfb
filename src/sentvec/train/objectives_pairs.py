"""Objectives of pairs with a score or a label: vectors and a batch in, one number out."""

from __future__ import annotations

from torch import Tensor, nn

from sentvec.ops.losses.common import row_cosines
from sentvec.ops.losses.pairs import cosent
from sentvec.train.batches import Batch
from sentvec.train.objectives_contrastive import Temperature


def given(batch: Batch, like: Tensor) -> Tensor:
    """Return the batch's values where the vectors are; every kind that has any is checked to bring them."""
    assert batch.values is not None
    return batch.values.to(like.device)


class CoSENT(nn.Module):
    """`sentvec.ops.losses.pairs.cosent` of the cosines of a batch's pairs."""

    def __init__(self, *, temperature: float = 0.05, learn_temperature: bool = False) -> None:
        super().__init__()
        self.temperature = Temperature(temperature, learn_temperature)

    def forward(self, vectors: tuple[Tensor, ...], batch: Batch) -> Tensor:
        """Return the loss, ()."""
        return cosent(row_cosines(*vectors), given(batch, vectors[0]), temperature=self.temperature())
