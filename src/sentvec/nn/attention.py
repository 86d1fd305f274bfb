"""Multi-head self-attention: hidden states (tokens, hidden) in, (tokens, hidden) out."""

from __future__ import annotations

from torch import Tensor, nn

from sentvec.batch import PackedBatch
from sentvec.errors import ConfigError
from sentvec.nn.kernels import attention, probabilities
from sentvec.nn.probe import Probe
from sentvec.nn.rotary import Rotary


class SelfAttention(nn.Module):
    """Self-attention with query, key and value projections fused into one matrix.

    Args:
        hidden: width of the hidden states.
        heads: number of heads; must divide `hidden`.
        dropout: share of attention probabilities dropped in training.
        bias: whether the projections have biases.
        rotary: turns queries and keys (and values, if it says so) by their places; None where positions come in
            another way.
        window: how many tokens each token sees to either side, or None for all of its text.

    Raises:
        ConfigError: `heads` does not divide `hidden`, or a head's width is odd and cannot be turned in pairs.
    """

    def __init__(
        self,
        *,
        hidden: int,
        heads: int,
        dropout: float = 0.0,
        bias: bool = True,
        rotary: Rotary | None = None,
        window: int | None = None,
    ) -> None:
        super().__init__()
        if hidden % heads:
            raise ConfigError(f"hidden size {hidden} is not a multiple of the number of heads {heads}.")
        if rotary is not None and hidden // heads % 2:
            raise ConfigError(f"heads of width {hidden // heads} cannot have rotary positions: it must be even.")
        self.heads = heads
        self.dropout = dropout
        self.rotary = rotary
        self.window = window
        self.qkv = nn.Linear(hidden, 3 * hidden, bias=bias)
        self.output = nn.Linear(hidden, hidden, bias=bias)

    @property
    def plain(self) -> bool:
        """Whether this is BERT's attention: biases, all of a text in view, no rotation."""
        return self.rotary is None and self.window is None and self.qkv.bias is not None

    def forward(
        self, states: Tensor, batch: PackedBatch, kernel: str, probe: Probe | None, relative: Tensor | None = None
    ) -> Tensor:
        """Mix each text's tokens: (tokens, hidden) -> (tokens, hidden). For `relative` see `kernels.attention`."""
        tokens, hidden = states.shape
        qkv = self.qkv(states).view(tokens, 3, self.heads, hidden // self.heads)
        q, k, v = qkv.unbind(1)  # each (tokens, heads, head_dim)
        if self.rotary is not None and self.rotary.values:
            q, k, v = self.rotary(qkv, batch.positions).unbind(1)
        elif self.rotary is not None:
            q, k = self.rotary(qkv[:, :2], batch.positions).unbind(1)
        if probe is not None and probe.attention:
            probe.attentions.append(probabilities(q, k, batch.lengths, self.window, relative))
        if probe is not None and probe.qkv:
            probe.projections.append((q, k, v))
        dropout = self.dropout if self.training else 0.0
        mixed = attention(q, k, v, batch.lengths, dropout=dropout, window=self.window, relative=relative, kernel=kernel)
        out: Tensor = self.output(mixed.reshape(tokens, hidden))
        return out
