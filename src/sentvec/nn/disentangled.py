"""DeBERTa's attention, whose scores know content and distance apart: (tokens, hidden) in, (tokens, hidden) out."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional

from sentvec.batch import PackedBatch
from sentvec.errors import ConfigError
from sentvec.nn.probe import Probe
from sentvec.nn.relative import mix, shifted


class DisentangledAttention(nn.Module):
    """Self-attention whose scores add up what keys hold, how far they are from a query, and queries from them.

    He et al. 2021 (arXiv 2006.03654), section 3.1; content and distances go through the same matrices, as in versions 2
    and 3. There is one way to compute it, whatever attention kernel is asked for.

    Args:
        hidden: width of the hidden states.
        heads: number of heads; must divide `hidden`.
        to_position: whether what queries hold meets how far keys are ("c2p").
        from_position: whether how far queries are meets what keys hold ("p2c").
        dropout: share of attention probabilities dropped in training.
        distance_dropout: dropped share of the distances' embeddings in training.

    Raises:
        ConfigError: `heads` does not divide `hidden`.
    """

    def __init__(
        self,
        *,
        hidden: int,
        heads: int,
        to_position: bool = True,
        from_position: bool = True,
        dropout: float = 0.0,
        distance_dropout: float = 0.0,
    ) -> None:
        super().__init__()
        if hidden % heads:
            raise ConfigError(f"hidden size {hidden} is not a multiple of the number of heads {heads}.")
        self.heads = heads
        self.to_position = to_position
        self.from_position = from_position
        self.dropout = dropout
        self.distance_dropout = nn.Dropout(distance_dropout)
        self.qkv = nn.Linear(hidden, 3 * hidden)
        self.output = nn.Linear(hidden, hidden)

    def forward(
        self, states: Tensor, batch: PackedBatch, kernel: str, probe: Probe | None, relative: Tensor | None = None
    ) -> Tensor:
        """Mix each text's tokens: (tokens, hidden) -> (tokens, hidden).

        `relative` embeds each distance from longest - 1 down to 1 - longest: (2 * longest - 1, hidden).
        """
        assert relative is not None
        hidden = states.shape[1]
        q, k, v = self.qkv(states).view(len(states), 3, self.heads, -1).unbind(1)  # each (tokens, heads, head_dim)
        both = functional.linear(
            self.distance_dropout(relative), self.qkv.weight[: 2 * hidden], self.qkv.bias[: 2 * hidden]
        )
        # each (heads, 2 * longest - 1, head_dim)
        far_q, far_k = both.view(len(relative), 2, self.heads, -1).permute(1, 2, 0, 3).unbind(0)

        def weights(q: Tensor, k: Tensor, _: slice, first: int) -> Tensor:
            return self._weights(q, k, far_q, far_k, first)

        dropout = self.dropout if self.training else 0.0
        out: Tensor = self.output(mix(q, k, v, batch, weights, dropout=dropout, probe=probe))
        return out

    def _weights(self, q: Tensor, k: Tensor, far_q: Tensor, far_k: Tensor, first: int) -> Tensor:
        """Return the probabilities of a block of queries, (count, heads, block, length).

        Args:
            q: the block's queries, (count, heads, block, head_dim).
            k: keys, (count, heads, length, head_dim).
            far_q, far_k: queries and keys of distances, (heads, 2 * longest - 1, head_dim).
            first: place of the block's first query.
        """
        block, length, longest = q.shape[2], k.shape[2], (far_k.shape[1] + 1) // 2
        scores = q @ k.transpose(-1, -2)
        if self.to_position:
            # of these distances, the last query is the furthest from the first key
            begin = longest - first - block
            near = far_k[:, begin : begin + length + block - 1]
            scores = scores + shifted(q @ near.transpose(-1, -2), length)
        if self.from_position:
            # rows are keys here, for which distances grow with the query's place
            begin = longest - length + first
            near = far_q.flip(1)[:, begin : begin + length + block - 1]
            scores = scores + shifted(k @ near.transpose(-1, -2), block).transpose(-1, -2)
        terms = 1 + self.to_position + self.from_position
        return torch.softmax(scores / math.sqrt(q.shape[-1] * terms), dim=-1)
