"""One transformer layer: hidden states (tokens, hidden) in, (tokens, hidden) out."""

from __future__ import annotations

from typing import Protocol

from torch import Tensor, nn

from sentvec.batch import PackedBatch
from sentvec.nn.attention import SelfAttention
from sentvec.nn.feedforward import FeedForward, GatedFeedForward
from sentvec.nn.probe import Probe


class Attention(Protocol):
    """What mixes a text's tokens: a module."""

    def __call__(
        self, states: Tensor, batch: PackedBatch, kernel: str, probe: Probe | None, relative: Tensor | None = None, /
    ) -> Tensor:
        """Return (tokens, hidden). What `relative` is, each kind says for itself."""
        ...


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
        attention: Attention,
        feed_forward: FeedForward | GatedFeedForward,
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

    def forward(
        self, states: Tensor, batch: PackedBatch, kernel: str, probe: Probe | None, relative: Tensor | None = None
    ) -> Tensor:
        """Return the next hidden states, (tokens, hidden). What `relative` is, attention says."""
        states = self.attention_norm(states + self.dropout(self.attention(states, batch, kernel, probe, relative)))
        out: Tensor = self.feed_forward_norm(states + self.dropout(self.feed_forward(states)))
        return out


class PreNormLayer(nn.Module):
    """Attention and feed-forward, each on a normalised input and added to what came in (Xiong et al. 2020, 2002.04745).

    Args:
        attention: the attention part.
        feed_forward: the feed-forward part.
        hidden: width of the hidden states.
        norm_eps: epsilon of both layer normalisations.
        norm_bias: whether they have biases.
        attention_norm: whether there is a normalisation before attention: none is needed right after another.
        dropout: dropped share of attention's output in training.
        feed_forward_dropout: dropped share of the feed-forward part's output in training.
    """

    def __init__(
        self,
        attention: SelfAttention,
        feed_forward: FeedForward | GatedFeedForward,
        *,
        hidden: int,
        norm_eps: float,
        norm_bias: bool = True,
        attention_norm: bool = True,
        dropout: float = 0.0,
        feed_forward_dropout: float = 0.0,
    ) -> None:
        super().__init__()
        self.attention_norm = nn.LayerNorm(hidden, eps=norm_eps, bias=norm_bias) if attention_norm else nn.Identity()
        self.attention = attention
        self.feed_forward_norm = nn.LayerNorm(hidden, eps=norm_eps, bias=norm_bias)
        self.feed_forward = feed_forward
        self.dropout = nn.Dropout(dropout)
        self.feed_forward_dropout = nn.Dropout(feed_forward_dropout)

    def forward(self, states: Tensor, batch: PackedBatch, kernel: str, probe: Probe | None) -> Tensor:
        """Return the next hidden states, (tokens, hidden)."""
        states = states + self.dropout(self.attention(self.attention_norm(states), batch, kernel, probe))
        out: Tensor = states + self.feed_forward_dropout(self.feed_forward(self.feed_forward_norm(states)))
        return out
