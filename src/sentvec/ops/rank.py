"""Agreement of two orders: two rows of numbers in, Spearman's rank correlation out."""

from __future__ import annotations

import torch
from torch import Tensor


def ranks(values: Tensor) -> Tensor:
    """Return the rank of each number, from 1; equal numbers share the mean of their ranks.

    Args:
        values: (..., n)

    >>> ranks(torch.tensor([0.5, 0.1, 0.5, 0.9])).tolist()
    [2.5, 1.0, 2.5, 4.0]
    """
    ordered = values.sort(dim=-1).values.contiguous()
    below = torch.searchsorted(ordered, values.contiguous(), right=False)
    up_to = torch.searchsorted(ordered, values.contiguous(), right=True)
    return (below + up_to + 1).double() / 2


def spearman(a: Tensor, b: Tensor) -> Tensor:
    """Return Spearman's rank correlation along the last dimension: Pearson's correlation of ranks (Spearman 1904).

    Args:
        a: (..., n)
        b: (..., n), or (n,) to compare one row with many.

    Returns:
        (...), from -1 to 1; NaN where all numbers of a row are equal.

    >>> up, down = torch.tensor([1.0, 2.0, 3.0]), torch.tensor([3.0, 2.0, 1.0])
    >>> spearman(torch.stack([up, down]), torch.tensor([10.0, 20.0, 40.0])).round(decimals=6).tolist()
    [1.0, -1.0]
    """
    left, right = (row - row.mean(dim=-1, keepdim=True) for row in (ranks(a), ranks(b)))
    correlation: Tensor = (left * right).sum(dim=-1) / (left.norm(dim=-1) * right.norm(dim=-1))
    return correlation
