"""Losses of vectors that nobody labelled: two views of texts, or vectors alone, in, one number out."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional

from sentvec.errors import InvalidInput
from sentvec.ops.losses.common import same_shape, unit, wide

BLOCK = 1024
"""Rows of all pairs that are in memory at once where no gradient is taken."""


def contrastive_tension(first: Tensor, second: Tensor, same: Tensor) -> Tensor:
    """Let two models agree on equal texts and disagree on others (Carlsson et al. 2021, ICLR, contrastive tension).

    Args:
        first: (n, dim) vectors of one model.
        second: (n, dim) vectors of the other, of the same text or of another one.
        same: (n,) bool or 0 and 1, whether both texts are the same.

    Returns:
        () sum of the cross entropies of σ(inner product).

    Raises:
        InvalidInput: the shapes do not fit.

    >>> vector = torch.tensor([[1.0, 0.0]])
    >>> round(float(contrastive_tension(vector, vector, torch.tensor([True]))), 4)  # log(1 + 1 / e)
    0.3133
    """
    same_shape(first, second)
    products = (wide(first) * wide(second)).sum(dim=1)
    same_shape(products, same)
    return functional.binary_cross_entropy_with_logits(products, same.to(products), reduction="sum")


def alignment(left: Tensor, right: Tensor) -> Tensor:
    """Mean squared distance, on the sphere, of what belongs together (Wang and Isola 2020, arXiv 2005.10242, α = 2).

    Args:
        left: (n, dim)
        right: (n, dim)

    Returns:
        () from 0 to 4.

    Raises:
        InvalidInput: the shapes differ.

    >>> float(alignment(torch.tensor([[1.0, 0.0]]), torch.tensor([[0.0, 3.0]])))
    2.0
    """
    same_shape(left, right)
    return (unit(left) - unit(right)).square().sum(dim=-1).mean()


def uniformity(vectors: Tensor) -> Tensor:
    """Log of the mean of exp(-2 d²) over all pairs, on the sphere (Wang and Isola 2020, arXiv 2005.10242, t = 2).

    Args:
        vectors: (n, dim), two or more.

    Returns:
        () 0 where all vectors are one, lower where they lie more evenly.

    Raises:
        InvalidInput: there are fewer than two vectors.

    >>> round(float(uniformity(torch.tensor([[1.0, 0.0], [0.0, 1.0]]))), 4)  # -2 * 2
    -4.0
    """
    count = len(vectors)
    if count < 2:
        raise InvalidInput(f"{count} vectors have no distances; give two or more.")
    scaled, sums = unit(vectors), []
    for start in range(0, count, BLOCK):
        nearness = 4 * (scaled[start : start + BLOCK] @ scaled.T - 1)  # d² = 2 - 2 cos
        nearness.diagonal(start).fill_(-torch.inf)  # a vector is no pair with itself
        sums.append(nearness.flatten().logsumexp(dim=0))
    return torch.stack(sums).logsumexp(dim=0) - math.log(count * (count - 1))
