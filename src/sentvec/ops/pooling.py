"""Pool token states into one vector per text: (tokens, hidden) -> (seqs, hidden).

Each function takes the hidden states of a packed batch and the `offsets` (seqs + 1,) at which texts begin.
A text with no tokens gives a vector of zeros.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from sentvec.errors import UnknownPooling

Pooling = Callable[..., Tensor]


def first(hidden: Tensor, offsets: Tensor) -> Tensor:
    """State of the first token ([CLS] in BERT).

    >>> first(torch.tensor([[1.0], [2.0], [5.0]]), torch.tensor([0, 2, 3])).flatten().tolist()
    [1.0, 5.0]
    """
    return _at(hidden, offsets, offsets[:-1])


def last(hidden: Tensor, offsets: Tensor) -> Tensor:
    """State of the last token ([SEP] in BERT)."""
    return _at(hidden, offsets, offsets[1:] - 1)


def maximum(hidden: Tensor, offsets: Tensor) -> Tensor:
    """Largest value of each feature over the text's tokens."""
    return _reduce(hidden, offsets, "max")


def mean(hidden: Tensor, offsets: Tensor) -> Tensor:
    """Average over the text's tokens (Reimers & Gurevych 2019).

    >>> mean(torch.tensor([[1.0], [2.0], [5.0]]), torch.tensor([0, 2, 3])).flatten().tolist()
    [1.5, 5.0]
    """
    return _reduce(hidden, offsets, "sum") / _lengths(offsets, hidden).clamp(min=1)


def mean_sqrt(hidden: Tensor, offsets: Tensor) -> Tensor:
    """Sum over the text's tokens divided by the square root of their number."""
    return _reduce(hidden, offsets, "sum") / _lengths(offsets, hidden).clamp(min=1).sqrt()


def weighted_mean(hidden: Tensor, offsets: Tensor, *, left_out: int = 0) -> Tensor:
    """Average weighted by place: the i-th token counts i times (Muennighoff 2022, SGPT).

    Args:
        hidden: (tokens, hidden)
        offsets: (seqs + 1,)
        left_out: tokens of every text before the first one given, which count as places.
    """
    lengths = offsets.diff()
    starts = offsets[:-1].repeat_interleave(lengths)
    weights = (torch.arange(1 + left_out, len(hidden) + 1 + left_out, device=hidden.device) - starts).to(hidden.dtype)[
        :, None
    ]
    total = _reduce(weights, offsets, "sum").clamp(min=1)
    return _reduce(hidden * weights, offsets, "sum") / total


def first_last_mean(hidden: Tensor, offsets: Tensor) -> Tensor:
    """Average of the first and the last transformer layer, then over tokens (Li et al. 2020; Su et al. 2021).

    Args:
        hidden: both layers' states stacked, (2, tokens, hidden). The first layer is the output of
            transformer layer 1; averaging the *embeddings* with the last layer is another method.
        offsets: (seqs + 1,)
    """
    return mean(hidden.mean(dim=0), offsets)


POOLINGS: dict[str, Pooling] = {
    "first": first,
    "last": last,
    "max": maximum,
    "mean": mean,
    "mean_sqrt": mean_sqrt,
    "weighted_mean": weighted_mean,
    "first_last_mean": first_last_mean,
    # The model's own pooler is a learned map of the first token's state; the map itself belongs to the model.
    "pooler": first,
}


BOTH_ENDS = frozenset({"first_last_mean"})
"""Poolings that read the states of the first and the last layer, stacked: (2, tokens, hidden)."""
BY_PLACE = frozenset({"weighted_mean"})
"""Poolings that must know how many tokens of a prompt were left out before the first: their argument `left_out`."""
LEARNED = frozenset({"pooler"})
"""Poolings whose vectors go through the encoder's own pooler, which reads a text's first token whatever is left out."""


def check_pooling(name: str, origin: str = "the argument pooling") -> str:
    """Return `name` if there is a pooling of that name.

    Raises:
        UnknownPooling: there is none; the message says where the name came from.
    """
    if name not in POOLINGS:
        raise UnknownPooling(
            f'pooling {name!r} in {origin} is not known. Known: {", ".join(POOLINGS)}. Pass pooling="mean" to override.'
        )
    return name


def drop_prefix(hidden: Tensor, offsets: Tensor, tokens: int) -> tuple[Tensor, Tensor]:
    """Leave out the first `tokens` tokens of every text: a prompt that must not count in the average.

    Returns:
        hidden (tokens left, hidden) and the offsets (seqs + 1,) that belong to it.
    """
    lengths = offsets.diff()
    starts = offsets[:-1].repeat_interleave(lengths)
    keep = torch.arange(hidden.shape[-2], device=hidden.device) - starts >= tokens
    left = (lengths - tokens).clamp(min=0).cumsum(0)
    return hidden[..., keep, :], torch.cat([left.new_zeros(1), left])


def _lengths(offsets: Tensor, like: Tensor) -> Tensor:
    return offsets.diff()[:, None].to(like.dtype)  # (seqs, 1)


def _reduce(hidden: Tensor, offsets: Tensor, how: str) -> Tensor:
    if len(offsets) == 1:  # no texts; segment_reduce wants at least one
        return hidden.new_zeros(0, hidden.shape[-1])
    reduced = torch.segment_reduce(hidden, how, offsets=offsets, axis=0)
    # without this the largest of nothing would be minus infinity
    return reduced.masked_fill((offsets.diff() == 0)[:, None], 0.0)


def _at(hidden: Tensor, offsets: Tensor, index: Tensor) -> Tensor:
    if len(hidden) == 0:
        return hidden.new_zeros(len(offsets) - 1, hidden.shape[-1])
    found = hidden[index.clamp(min=0, max=len(hidden) - 1)]
    return found * (offsets.diff() > 0)[:, None]
