"""Multi-head self-attention: hidden states (tokens, hidden) in, (tokens, hidden) out."""

from __future__ import annotations

from torch import Tensor, nn

from sentvec.batch import PackedBatch
from sentvec.errors import ConfigError
from sentvec.nn.kernels import attention, probabilities
from sentvec.nn.probe import Probe


class SelfAttention(nn.Module):
    """Self-attention with query, key and value projections fused into one matrix.

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
        self.qkv = nn.Linear(hidden, 3 * hidden)
        self.output = nn.Linear(hidden, hidden)

    def forward(self, states: Tensor, batch: PackedBatch, kernel: str, probe: Probe | None) -> Tensor:
        """Mix each text's tokens: (tokens, hidden) -> (tokens, hidden)."""
        tokens, hidden = states.shape
        qkv = self.qkv(states).view(tokens, 3, self.heads, hidden // self.heads)
        q, k, v = qkv.unbind(1)  # each (tokens, heads, head_dim)
        if probe is not None and probe.attention:
            probe.attentions.append(probabilities(q, k, batch.lengths))
        if probe is not None and probe.qkv:
            probe.projections.append((q, k, v))
        dropout = self.dropout if self.training else 0.0
        mixed = attention(q, k, v, batch.lengths, dropout=dropout, kernel=kernel)
        out: Tensor = self.output(mixed.reshape(tokens, hidden))
        return out
