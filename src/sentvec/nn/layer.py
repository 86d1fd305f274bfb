"""One transformer layer: hidden states (tokens, hidden) in, (tokens, hidden) out."""

from __future__ import annotations

from torch import Tensor, nn

from sentvec.batch import PackedBatch
from sentvec.nn.attention import SelfAttention
from sentvec.nn.feedforward import FeedForward
from sentvec.nn.probe import Probe


class PostNormLayer(nn.Module):
    """Attention and feed-forward, each added to its input and then normalised (Vaswani et al. 2017).

    Args:
        attention: the attention part.
        feed_forward: the feed-forward part.
        hidden: width of the hidden states.
        norm_eps: epsilon of both layer normalisations.
        dropout: dropped share of each part's output in training.
    """

    def __init__(
        self,
        attention: SelfAttention,
        feed_forward: FeedForward,
        *,
        hidden: int,
        norm_eps: float,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        self.attention = attention
        self.attention_norm = nn.LayerNorm(hidden, eps=norm_eps)
        self.feed_forward = feed_forward
        self.feed_forward_norm = nn.LayerNorm(hidden, eps=norm_eps)
        self.dropout = nn.Dropout(dropout)

    def forward(self, states: Tensor, batch: PackedBatch, kernel: str, probe: Probe | None) -> Tensor:
        """Return the next hidden states, (tokens, hidden)."""
        states = self.attention_norm(states + self.dropout(self.attention(states, batch, kernel, probe)))
        out: Tensor = self.feed_forward_norm(states + self.dropout(self.feed_forward(states)))
        return out
