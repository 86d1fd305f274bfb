"""Transformer-XL's attention, whose scores know distances and segments: (tokens, hidden) in, (tokens, hidden) out."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional

from sentvec.batch import PackedBatch
from sentvec.errors import ConfigError
from sentvec.nn.kernels import equal_runs
from sentvec.nn.probe import Probe

BLOCK = 256
"""Most queries whose scores are held at once, so that memory grows with a text's length and not with its square."""


def distances(longest: int, hidden: int, *, clamp: int | None = None, like: Tensor) -> Tensor:
    """Return sines and cosines of distances (Vaswani et al. 2017), query's place minus key's.

    Args:
        longest: tokens of the longest text.
        hidden: width of a row.
        clamp: distances beyond it count as this one; None for no limit.
        like: its device and number format are the result's.

    Returns:
        (2 * longest - 1, hidden), from distance longest - 1 down to 1 - longest.
    """
    # in float32 whatever the model's format: half precision cannot tell far places from their neighbours
    steps = torch.arange(longest - 1, -longest, -1, device=like.device).float()
    if clamp is not None:
        steps = steps.clamp(-clamp, clamp)
    frequencies = 1 / torch.pow(10000, torch.arange(0, hidden, 2, device=like.device).float() / hidden)
    angles = steps[:, None] * frequencies
    return torch.cat((angles.sin(), angles.cos()), dim=-1).to(like.dtype)


class RelativeAttention(nn.Module):
    """Self-attention whose scores add up what keys hold, how far they are, and whether they are of the same segment.

    Dai et al. 2019 (arXiv 1901.02860), section 3.3; segments as in Yang et al. 2019 (arXiv 1906.08237), section 2.5.
    There is one way to compute it, whatever attention kernel is asked for.

    Args:
        hidden: width of the hidden states.
        heads: number of heads; must divide `hidden`.
        dropout: share of attention probabilities dropped in training.

    Raises:
        ConfigError: `heads` does not divide `hidden`.
    """

    def __init__(self, *, hidden: int, heads: int, dropout: float = 0.0) -> None:
        super().__init__()
        if hidden % heads:
            raise ConfigError(f"hidden size {hidden} is not a multiple of the number of heads {heads}.")
        self.heads = heads
        self.dropout = dropout
        head_dim = hidden // heads

        def drawn(*shape: int) -> nn.Parameter:
            parameter = nn.Parameter(torch.empty(shape))
            nn.init.normal_(parameter, std=0.02)
            return parameter

        self.qkv = drawn(3 * hidden, heads, head_dim)  # from hidden states, one below the other
        self.output = drawn(hidden, heads, head_dim)  # to hidden states
        self.distance = drawn(hidden, heads, head_dim)
        self.segment = drawn(2, heads, head_dim)  # of the same segment, of another
        self.content_bias = drawn(heads, head_dim)
        self.distance_bias = drawn(heads, head_dim)
        self.segment_bias = drawn(heads, head_dim)

    def forward(
        self, states: Tensor, batch: PackedBatch, kernel: str, probe: Probe | None, relative: Tensor | None = None
    ) -> Tensor:
        """Mix each text's tokens: (tokens, hidden) -> (tokens, hidden). `relative` is what `distances` gives."""
        assert relative is not None
        tokens, hidden = states.shape
        head_dim = hidden // self.heads
        # (3, tokens, heads, head_dim)
        q, k, v = (states @ self.qkv.view(3, hidden, hidden)).view(3, tokens, self.heads, head_dim).unbind(0)
        far = (relative @ self.distance.view(hidden, hidden)).view(-1, self.heads, head_dim).transpose(0, 1)
        middle = far.shape[1] // 2  # distance 0

        def weights(q: Tensor, k: Tensor, span: slice, first: int) -> Tensor:
            count, _, length, _ = k.shape
            near = far[:, middle - length + 1 : middle + length]  # (heads, 2 * length - 1, head_dim)
            return self._weights(q, k, near, batch.types[span].view(count, length), first)

        dropout = self.dropout if self.training else 0.0
        mixed = mix(q, k, v, batch, weights, dropout=dropout, probe=probe)
        return functional.linear(mixed, self.output.view(hidden, hidden))

    def _weights(self, q: Tensor, k: Tensor, near: Tensor, types: Tensor, first: int) -> Tensor:
        """Return the probabilities of a block of queries, (count, heads, block, length).

        Args:
            q: the block's queries, (count, heads, block, head_dim).
            k: keys, (count, heads, length, head_dim).
            near: keys of distances from length - 1 down to 1 - length, (heads, 2 * length - 1, head_dim).
            types: segments, (count, length).
            first: place of the block's first query.
        """
        block, length = q.shape[2], k.shape[2]
        scores = (q + self.content_bias[:, None]) @ k.transpose(-1, -2)
        # of distances, the last query is the furthest from the first key: column c is distance first + block - 1 - c
        begin = length - first - block
        by_distance = (q + self.distance_bias[:, None]) @ near[:, begin : begin + length + block - 1].transpose(-1, -2)
        scores = scores + shifted(by_distance, length)
        by_segment = (q + self.segment_bias[:, None]) @ self.segment.permute(1, 2, 0)  # (count, heads, block, 2)
        same = types[:, first : first + block, None] == types[:, None, :]  # (count, block, length)
        scores = scores + torch.where(same[:, None], by_segment[..., :1], by_segment[..., 1:])
        return torch.softmax(scores / math.sqrt(q.shape[-1]), dim=-1)


Weigh = Callable[[Tensor, Tensor, slice, int], Tensor]
"""A block's queries (count, heads, block, head_dim), all keys (count, heads, length, head_dim), which tokens of the
batch these texts are, and the place of the first query -> probabilities (count, heads, block, length)."""


def mix(
    q: Tensor, k: Tensor, v: Tensor, batch: PackedBatch, weigh: Weigh, *, dropout: float, probe: Probe | None
) -> Tensor:
    """Attend with probabilities of any making, texts of one length at a time and of these a block of queries.

    Args:
        q, k, v: queries, keys and values, (tokens, heads, head_dim).
        batch: the texts that they are of.
        weigh: makes probabilities.
        dropout: share of them to drop; 0 outside training.
        probe: gets what it asks for.

    Returns:
        (tokens, hidden), before any map of the output.
    """
    if probe is not None and probe.qkv:
        probe.projections.append((q, k, v))
    mixed: list[Tensor] = []
    maps: list[Tensor] = []
    for start, count, length in equal_runs(batch.lengths):
        span = slice(start, start + count * length)
        rows = [x[span].view(count, length, *q.shape[1:]).transpose(1, 2) for x in (q, k, v)]
        parts: list[Tensor] = []
        blocks: list[Tensor] = []
        for first in range(0, length, BLOCK):
            weights = weigh(rows[0][:, :, first : first + BLOCK], rows[1], span, first)
            # (count, heads, block, head_dim)
            parts.append(functional.dropout(weights, dropout, training=dropout > 0) @ rows[2])
            if probe is not None and probe.attention:
                blocks.append(weights)
        mixed.append(torch.cat(parts, dim=2).transpose(1, 2).reshape(count * length, -1))
        if blocks:
            maps.extend(torch.cat(blocks, dim=2).unbind(0))
    if probe is not None and probe.attention:
        probe.attentions.append(maps)
    return torch.cat(mixed)


def shifted(by_distance: Tensor, length: int) -> Tensor:
    """Lay scores by distance out by key: (..., block, length + block - 1) -> (..., block, length).

    Row b, counted from 0, begins block - 1 - b columns into its distances. Behind one another, rows that lack their
    last column begin where the next should.

    >>> shifted(torch.tensor([[2, 1, 0, -1], [2, 1, 0, -1]]), 3).tolist()
    [[1, 0, -1], [2, 1, 0]]
    """
    block, width = by_distance.shape[-2:]
    if block == 1:
        return by_distance
    flat = by_distance.flatten(-2)[..., block - 1 : block - 1 + block * (width - 1)]
    return flat.view(*flat.shape[:-1], block, width - 1)[..., :length]
