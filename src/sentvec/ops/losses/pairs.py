"""Losses of pairs with a score or with 0 or 1: two columns of vectors, or their cosines, in, one number out."""

from __future__ import annotations

import torch
from torch import Tensor

from sentvec.ops.losses.common import positive, same_shape, wide


def cosent(similarities: Tensor, scores: Tensor, *, temperature: float | Tensor = 0.05) -> Tensor:
    """Put pairs into the order of their scores (Su 2022, CoSENT, https://kexue.fm/archives/8847).

    log(1 + Σ exp((s_i - s_j) / temperature)) over all pairs i, j where i has the lower score. How far scores lie apart
    does not count, nor do pairs of equal scores.

    Args:
        similarities: (n,), such as cosines.
        scores: (n,)
        temperature: what similarities are divided by.

    Returns:
        () loss; 0 where all scores are equal.

    Raises:
        InvalidInput: the shapes differ, or the temperature is not above 0.

    >>> cosines = torch.tensor([0.0, 1.0])
    >>> round(float(cosent(cosines, torch.tensor([0.2, 0.9]), temperature=1.0)), 4)  # log(1 + 1 / e)
    0.3133
    >>> round(float(cosent(cosines, torch.tensor([0.9, 0.2]), temperature=1.0)), 4)  # log(1 + e)
    1.3133
    """
    same_shape(similarities, scores)
    positive("temperature", temperature)
    scaled = wide(similarities) / temperature
    wrong = scaled[:, None] - scaled[None, :]  # (n, n), above 0 where the row's pair is more alike
    wrong = wrong.masked_fill(scores[:, None] >= scores[None, :], -torch.inf).flatten()
    return torch.cat([wrong.new_zeros(1), wrong]).logsumexp(dim=0)  # the zero is the 1 in log(1 + ...)
